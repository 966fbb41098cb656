"""Our proto files say of the wire what Clarifai's own descriptors say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clarifai_grpc.grpc.api import service_pb2  # noqa: F401 (fills the pool)
from clarifai_grpc.grpc.auth.scope import scope_pb2
from clarifai_grpc.grpc.auth.util import extension_pb2
from google.protobuf import descriptor_pb2, descriptor_pool

from clarifai_annotations._native import FILE_DESCRIPTOR_SET

OURS = descriptor_pb2.FileDescriptorSet.FromString(FILE_DESCRIPTOR_SET)
OFFICIAL = descriptor_pool.Default()

SERVICE_PAGE = Path(__file__).parents[2] / "docs" / "service.md"


def messages() -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    """Our messages by full name, nested ones too."""

    def walk(
        scope: str, found: descriptor_pb2.DescriptorProto
    ) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
        yield f"{scope}.{found.name}", found
        for nested in found.nested_type:
            yield from walk(f"{scope}.{found.name}", nested)

    for file in OURS.file:
        for message in file.message_type:
            yield from walk(file.package, message)


FIELDS = {f"{name}.{field.name}": (name, field) for name, message in messages() for field in message.field}
METHODS = {
    f"{file.package}.{service.name}.{method.name}": method
    for file in OURS.file
    for service in file.service
    for method in service.method
}
CODES = {
    value.name: value.number
    for file in OURS.file
    for enum in file.enum_type
    if enum.name == "StatusCode"
    for value in enum.value
}


def official(message: str) -> dict[str, descriptor_pb2.FieldDescriptorProto]:
    """The fields of a message by name, as Clarifai declares them."""
    declared = descriptor_pb2.DescriptorProto()
    OFFICIAL.FindMessageTypeByName(message).CopyToProto(declared)
    return {field.name: field for field in declared.field}


@pytest.mark.parametrize(("message", "field"), FIELDS.values(), ids=FIELDS)
def test_a_field_has_the_official_name_number_type_and_label(
    message: str, field: descriptor_pb2.FieldDescriptorProto
) -> None:
    theirs = official(message)[field.name]
    assert (field.number, field.type, field.label, field.type_name) == (
        theirs.number,
        theirs.type,
        theirs.label,
        theirs.type_name,
    )


@pytest.mark.parametrize(("name", "method"), METHODS.items(), ids=METHODS)
def test_a_method_has_the_official_path_request_and_answer(
    name: str, method: descriptor_pb2.MethodDescriptorProto
) -> None:
    theirs = OFFICIAL.FindMethodByName(name)
    assert (method.input_type, method.output_type, method.client_streaming, method.server_streaming) == (
        f".{theirs.input_type.full_name}",
        f".{theirs.output_type.full_name}",
        False,
        False,
    )


@pytest.mark.parametrize(("name", "number"), CODES.items(), ids=CODES)
def test_a_status_code_has_the_official_number(name: str, number: int) -> None:
    enum = OFFICIAL.FindEnumTypeByName("clarifai.api.status.StatusCode")
    assert enum.values_by_name[name].number == number


def documented_scopes() -> dict[str, set[str]]:
    """The scopes of each method by the table of docs/service.md."""
    rows = (
        line.split("|") for line in SERVICE_PAGE.read_text(encoding="utf-8").splitlines() if "_Get`" in line
    )
    named = (tuple(re.findall(r"`(\w+)`", cell) for cell in row[1:3]) for row in rows)
    return {method: set(scopes) for methods, scopes in named for method in methods}


@pytest.mark.parametrize(("method", "scopes"), documented_scopes().items(), ids=documented_scopes())
def test_the_documentation_has_the_official_scopes_of_a_method(method: str, scopes: set[str]) -> None:
    options = OFFICIAL.FindMethodByName(f"clarifai.api.V2.{method}").GetOptions()
    needed = options.Extensions[extension_pb2.cl_depending_scopes]
    assert scopes == {scope_pb2.S.Name(scope) for scope in needed}


def test_everything_that_is_compared_is_there_to_compare() -> None:
    assert (len(METHODS), len(FIELDS) > 50, len(CODES) > 30) == (6, True, True)
