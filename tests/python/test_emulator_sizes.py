"""How large a message may be at the emulator, and what it answers to one that is too large."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2

from clarifai_annotations.emulator import Emulator
from official_client import METADATA, USER_APP, left, official_stub

LIMIT = 2000
PATH = "/v2/users/emulator-user/apps/emulator-app/annotations"


def heavy(annotation_id: str, size: int) -> resources_pb2.Annotation:
    return resources_pb2.Annotation(input_id="p", id=annotation_id, task_id="x" * size)


@contextmanager
def emulated(**options: Any) -> Iterator[tuple[Emulator, Any]]:
    """An emulator with a limit, an input, and the official stub on it."""
    with Emulator(**{"max_message_bytes": LIMIT, **options}) as emulator, official_stub(emulator) as stub:
        emulator.add_input("p")
        yield emulator, stub


def refusal(call: Any) -> tuple[Any, str]:
    """The gRPC status and the text that a call is refused with."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


def post_of(size: int) -> service_pb2.PostAnnotationsRequest:
    """A post that takes so many bytes on the wire."""
    request = service_pb2.PostAnnotationsRequest(user_app_id=USER_APP, annotations=[heavy("a", size)])
    surplus = request.ByteSize() - size
    return service_pb2.PostAnnotationsRequest(user_app_id=USER_APP, annotations=[heavy("a", size - surplus)])


def test_a_request_over_the_limit_is_refused_as_grpc_refuses_it() -> None:
    with emulated() as (emulator, stub):
        request = post_of(LIMIT + 1)
        assert request.ByteSize() == LIMIT + 1
        assert refusal(lambda: stub.PostAnnotations(request, metadata=METADATA, timeout=30)) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (2001 vs. 2000)",
        )
        assert left(emulator) == []


def test_a_request_over_the_limit_is_in_the_log() -> None:
    with emulated() as (emulator, stub):
        refusal(lambda: stub.PostAnnotations(post_of(LIMIT + 1), metadata=METADATA, timeout=30))
        request = emulator.requests[0]
        assert (request.method, request.ids, request.code, request.name, request.applied) == (
            "PostAnnotations",
            ["a"],
            8,
            "RESOURCE_EXHAUSTED",
            0,
        )


def test_a_request_at_the_limit_is_served() -> None:
    with emulated() as (emulator, stub):
        request = service_pb2.DeleteAnnotationRequest(
            user_app_id=USER_APP, input_id="p", annotation_id="x" * 1900
        )
        request.annotation_id += "x" * (LIMIT - request.ByteSize())
        assert request.ByteSize() == LIMIT
        emulator.add_annotation("p", request.annotation_id)
        answer = stub.DeleteAnnotation(request, metadata=METADATA, timeout=30)
        assert answer.status.code == status_code_pb2.SUCCESS


def list_of(stub: Any, **fields: Any) -> Any:
    request = service_pb2.ListAnnotationsRequest(user_app_id=USER_APP, **fields)
    return stub.ListAnnotations(request, metadata=METADATA, timeout=30)


def test_a_page_over_the_limit_is_refused_as_grpc_refuses_it() -> None:
    with emulated() as (emulator, stub):
        for n in range(3):
            emulator.add_annotation("p", f"a{n}", message=heavy(f"a{n}", 900).SerializeToString())
        code, text = refusal(lambda: list_of(stub))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text.startswith("grpc: trying to send message larger than max (")
        assert text.endswith(" vs. 2000)")
        assert emulator.requests[0].name == "RESOURCE_EXHAUSTED"


def test_a_smaller_page_of_the_same_list_is_served() -> None:
    with emulated() as (emulator, stub):
        for n in range(3):
            emulator.add_annotation("p", f"a{n}", message=heavy(f"a{n}", 900).SerializeToString())
        assert len(list_of(stub, per_page=1).annotations) == 1


def test_a_post_whose_answer_is_over_the_limit_is_applied() -> None:
    with emulated() as (emulator, stub):
        code, text = refusal(lambda: stub.PostAnnotations(post_of(LIMIT), metadata=METADATA, timeout=30))
        assert (code, text.partition(" (")[0]) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "grpc: trying to send message larger than max",
        )
        assert (left(emulator), emulator.requests[0].applied) == (["p/a"], 1)


def test_the_limit_is_ten_mebibytes_unless_told() -> None:
    with Emulator() as emulator, official_stub(emulator) as stub:
        emulator.add_input("p")
        assert refusal(lambda: stub.PostAnnotations(post_of(10_485_761), metadata=METADATA, timeout=30)) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (10485761 vs. 10485760)",
        )


def test_without_a_limit_any_request_is_served() -> None:
    with emulated(max_message_bytes=None) as (emulator, _):
        channel = grpc.insecure_channel(
            emulator.base_url.partition("://")[2], [("grpc.max_receive_message_length", -1)]
        )
        with channel:
            post = channel.unary_unary(
                "/clarifai.api.V2/PostAnnotations",
                request_serializer=service_pb2.PostAnnotationsRequest.SerializeToString,
                response_deserializer=service_pb2.MultiAnnotationResponse.FromString,
            )
            answer = post(post_of(11_000_000), metadata=METADATA, timeout=30)
        assert answer.status.code == status_code_pb2.SUCCESS
        assert left(emulator) == ["p/a"]


def rest(emulator: Emulator, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """The HTTP status and Clarifai's status."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        emulator.base_url + path, content, {"Authorization": "Key made-up"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["status"]


def test_over_rest_a_body_over_the_limit_is_refused_in_clarifais_form() -> None:
    with emulated() as (emulator, _):
        body = {"annotations": [{"input_id": "p", "id": "a", "task_id": "x" * LIMIT}]}
        http, status = rest(emulator, "POST", PATH, body)
        assert (http, status["code"]) == (413, status_code_pb2.RPC_MAX_MESSAGE_SIZE_EXCEEDED)
        assert status["details"].startswith("grpc: received message larger than max (")
        assert left(emulator) == []
        assert emulator.requests[0].name == "RPC_MAX_MESSAGE_SIZE_EXCEEDED"


def test_over_rest_a_page_over_the_limit_is_refused_in_clarifais_form() -> None:
    with emulated() as (emulator, _):
        for n in range(3):
            emulator.add_annotation("p", f"a{n}", message=heavy(f"a{n}", 900).SerializeToString())
        http, status = rest(emulator, "GET", PATH)
        assert (http, status["code"]) == (413, status_code_pb2.RPC_MAX_MESSAGE_SIZE_EXCEEDED)
        assert status["details"].startswith("grpc: trying to send message larger than max (")


def test_a_request_over_the_limit_is_not_counted_by_the_quota() -> None:
    with emulated(requests_per_second=1, halt=3600) as (_, stub):
        refusal(lambda: stub.PostAnnotations(post_of(LIMIT + 1), metadata=METADATA, timeout=30))
        assert list_of(stub).status.code == status_code_pb2.SUCCESS
