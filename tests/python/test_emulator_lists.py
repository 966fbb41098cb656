"""What the emulator lists, and what of an annotation a list shows, to Clarifai's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

from clarifai_annotations.emulator import Emulator
from official_client import METADATA, USER_APP, delete_inputs, official_stub, outcome

CAT = resources_pb2.Data(concepts=[resources_pb2.Concept(id="cat", value=1.0)])


def by_user(user_id: str) -> resources_pb2.Worker:
    return resources_pb2.Worker(user=resources_pb2.User(id=user_id))


def by_model(version_id: str) -> resources_pb2.Worker:
    version = resources_pb2.ModelVersion(id=version_id)
    return resources_pb2.Worker(model=resources_pb2.Model(id="detector", model_version=version))


def by_workflow(version_id: str) -> resources_pb2.Worker:
    version = resources_pb2.WorkflowVersion(id=version_id)
    return resources_pb2.Worker(workflow=resources_pb2.Workflow(id="flow", version=version))


ANNOTATIONS = {
    "alice": resources_pb2.Annotation(data=CAT, worker=by_user("alice"), task_id="night"),
    "alice-old": resources_pb2.Annotation(data=CAT, user_id="alice"),
    "bob": resources_pb2.Annotation(
        data=CAT,
        worker=by_user("bob"),
        status=status_pb2.Status(code=status_code_pb2.ANNOTATION_PENDING),
        task_id="night",
    ),
    "model": resources_pb2.Annotation(data=CAT, worker=by_model("v1")),
    "model-old": resources_pb2.Annotation(data=CAT, model_version_id="v1", user_id="alice"),
    "workflow": resources_pb2.Annotation(data=CAT, worker=by_workflow("w1")),
}
"""On the input "p", by ID."""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        fill(emulator)
        yield emulator


def fill(emulator: Emulator) -> None:
    for annotation_id, annotation in ANNOTATIONS.items():
        emulator.add_annotation("p", annotation_id, message=annotation.SerializeToString())


def listed(emulator: Emulator, **filters: Any) -> dict[str, Any]:
    """The annotations of a list by ID, save the input-level one."""
    request = service_pb2.ListAnnotationsRequest(user_app_id=USER_APP, **filters)
    with official_stub(emulator) as stub:
        answer = stub.ListAnnotations(request, metadata=METADATA, timeout=30)
    assert answer.status.code == status_code_pb2.SUCCESS
    return {it.id: it for it in answer.annotations if not it.input_level}


def refused_list(emulator: Emulator, **filters: Any) -> str:
    """The status of a list by name."""
    request = service_pb2.ListAnnotationsRequest(user_app_id=USER_APP, **filters)
    with official_stub(emulator) as stub:
        return outcome(lambda: stub.ListAnnotations(request, metadata=METADATA, timeout=30))


MODELS = ["model", "model-old", "workflow"]
USERS = ["alice", "alice-old", "bob"]


@pytest.mark.parametrize("annotation_id", MODELS)
def test_a_list_leaves_out_what_a_model_found_unless_it_is_asked_for(
    annotation_id: str, emulator: Emulator
) -> None:
    assert not listed(emulator, list_all_annotations=True)[annotation_id].HasField("data")


@pytest.mark.parametrize("annotation_id", MODELS)
def test_a_list_with_return_model_output_shows_an_annotation_of_a_model_whole(
    annotation_id: str, emulator: Emulator
) -> None:
    shown = listed(emulator, list_all_annotations=True, return_model_output=True)[annotation_id]
    stored = next(it for it in emulator.annotations() if it.annotation_id == annotation_id)
    assert shown.SerializeToString(deterministic=True) == resources_pb2.Annotation.FromString(
        stored.message
    ).SerializeToString(deterministic=True)
    assert shown.data == CAT


@pytest.mark.parametrize("annotation_id", USERS)
def test_a_list_shows_what_a_user_found_in_any_case(annotation_id: str, emulator: Emulator) -> None:
    assert listed(emulator)[annotation_id].data == CAT


def test_a_list_leaves_out_nothing_but_the_model_output(emulator: Emulator) -> None:
    shown = listed(emulator, input_ids=["p"], ids=["model"])["model"]
    assert shown == resources_pb2.Annotation(id="model", input_id="p", worker=by_model("v1"))


@pytest.mark.parametrize("annotation_id", MODELS)
def test_get_shows_an_annotation_of_a_model_whole(annotation_id: str, emulator: Emulator) -> None:
    request = service_pb2.GetAnnotationRequest(
        user_app_id=USER_APP, input_id="p", annotation_id=annotation_id
    )
    with official_stub(emulator) as stub:
        answer = stub.GetAnnotation(request, metadata=METADATA, timeout=30)
    assert answer.annotation.data == CAT


FILTERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "none": ({}, USERS),
    "all": ({"list_all_annotations": True}, [*USERS, *MODELS]),
    "a user": ({"user_ids": ["bob"]}, ["bob"]),
    "a user by both fields": ({"user_ids": ["alice"]}, ["alice", "alice-old", "model-old"]),
    "a user in capitals": ({"user_ids": ["BOB"]}, ["bob"]),
    "a model's version by both fields": ({"model_version_ids": ["v1"]}, ["model", "model-old"]),
    "a workflow's version": ({"workflow_version_ids": ["w1"]}, ["workflow"]),
    "the union of all three": (
        {"user_ids": ["bob"], "model_version_ids": ["v1"], "workflow_version_ids": ["w1"]},
        ["bob", "model", "model-old", "workflow"],
    ),
    "a task": ({"task_id": "night"}, ["alice", "bob"]),
    "a task of a user": ({"task_id": "night", "user_ids": ["bob"]}, ["bob"]),
    "a status": ({"statuses": [status_pb2.Status(code=status_code_pb2.ANNOTATION_PENDING)]}, ["bob"]),
    "a status and another user": (
        {"statuses": [status_pb2.Status(code=status_code_pb2.ANNOTATION_PENDING)], "user_ids": ["alice"]},
        [],
    ),
    "nobody": ({"user_ids": ["carol"], "workflow_version_ids": ["w2"]}, []),
}


@pytest.mark.parametrize(("filters", "ids"), FILTERS.values(), ids=FILTERS)
def test_authors_are_joined_and_other_filters_narrow(
    filters: dict[str, Any], ids: list[str], emulator: Emulator
) -> None:
    assert list(listed(emulator, **filters)) == ids


def test_annotation_ids_without_input_ids_are_refused(emulator: Emulator) -> None:
    assert refused_list(emulator, ids=["alice"]) == "CONN_INVALID_REQUEST"


def test_a_list_of_the_whole_app_goes_by_the_age_of_the_inputs(emulator: Emulator) -> None:
    emulator.add_annotation("q", "on-q")
    emulator.add_annotation("p", "late")
    assert list(listed(emulator)) == [*USERS, "late", "on-q"]


MISSING: dict[str, str] = {
    "empty": "SUCCESS",
    "does_not_exist": "CONN_DOES_NOT_EXIST",
    "input_does_not_exist": "INPUT_DOES_NOT_EXIST",
}


@pytest.mark.parametrize("filters", [{}, {"ids": ["alice", "alice"]}], ids=["inputs", "pairs"])
@pytest.mark.parametrize(("how", "seen"), MISSING.items())
def test_a_list_of_an_input_that_is_missing_goes_the_way_it_was_told_to(
    how: Any, seen: str, filters: dict[str, Any]
) -> None:
    with Emulator(missing_input=how) as emulator:
        fill(emulator)
        assert refused_list(emulator, input_ids=["p", "missing"], **filters) == seen


@pytest.mark.parametrize("how", MISSING)
def test_a_list_of_inputs_that_are_all_there_is_answered_in_every_way(how: Any) -> None:
    with Emulator(missing_input=how) as emulator:
        fill(emulator)
        assert list(listed(emulator, input_ids=["p"])) == USERS


def test_by_default_a_missing_input_just_has_nothing(emulator: Emulator) -> None:
    assert list(listed(emulator, input_ids=["p", "missing"])) == USERS


@pytest.mark.parametrize(
    ("how", "seen"), [*MISSING.items(), ("empty", "INPUT_DOES_NOT_EXIST")][1:], ids=lambda it: str(it)
)
def test_a_deletion_on_a_missing_input_is_refused_with_the_code_of_its_lists(how: Any, seen: str) -> None:
    with Emulator(missing_input=how, missing_pair="refused") as emulator, official_stub(emulator) as stub:
        assert delete_inputs(stub, "missing") == seen


@pytest.mark.parametrize("how", MISSING)
def test_an_app_that_is_missing_does_not_exist_in_every_way(how: Any) -> None:
    with Emulator(missing_input=how, apps=[("somebody", "else")]) as emulator:
        assert refused_list(emulator, input_ids=["p"]) == "CONN_DOES_NOT_EXIST"
