"""What the emulator tells of a post that it refuses, annotation by annotation, as Clarifai's own client sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2

from clarifai_annotations.emulator import Emulator
from official_client import METADATA, USER_APP, left, official_stub

NEW, THERE, NO_INPUT = ("p", "new"), ("p", "there"), ("missing", "a")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        emulator.add_annotation(*THERE)
        yield emulator


def posted(emulator: Emulator, *pairs: tuple[str, str]) -> Any:
    annotations = [resources_pb2.Annotation(input_id=pair[0], id=pair[1]) for pair in pairs]
    request = service_pb2.PostAnnotationsRequest(user_app_id=USER_APP, annotations=annotations)
    with official_stub(emulator) as stub:
        return stub.PostAnnotations(request, metadata=METADATA, timeout=30)


def names(answer: Any) -> list[str]:
    return [status_code_pb2.StatusCode.Name(it.status.code) for it in answer.annotations]


def test_a_refused_post_tells_which_annotations_are_to_blame(emulator: Emulator) -> None:
    answer = posted(emulator, NEW, THERE, NO_INPUT)
    assert names(answer) == ["ANNOTATION_PENDING", "DATABASE_DUPLICATE_KEY", "INPUT_DOES_NOT_EXIST"]


def test_a_refused_post_tells_the_ids_of_its_annotations(emulator: Emulator) -> None:
    answer = posted(emulator, NEW, THERE, NO_INPUT)
    assert [(it.input_id, it.id) for it in answer.annotations] == [NEW, THERE, NO_INPUT]


def test_a_refused_post_describes_what_is_wrong_with_an_annotation(emulator: Emulator) -> None:
    status = posted(emulator, NEW, THERE).annotations[1].status
    assert status.description == "Object has a duplicate ID"
    assert status.details == 'annotation "there" of input "p" is there already'


def test_a_refused_post_is_answered_with_its_first_problem(emulator: Emulator) -> None:
    assert posted(emulator, NEW, THERE, NO_INPUT).status.code == status_code_pb2.DATABASE_DUPLICATE_KEY
    assert posted(emulator, NEW, NO_INPUT, THERE).status.code == status_code_pb2.INPUT_DOES_NOT_EXIST


def test_a_refused_post_adds_nothing(emulator: Emulator) -> None:
    posted(emulator, NEW, THERE)
    assert left(emulator) == ["p/there"]
    assert emulator.requests[0].applied == 0


def test_the_second_of_two_with_one_id_in_a_post_is_the_duplicate(emulator: Emulator) -> None:
    assert names(posted(emulator, NEW, NEW)) == ["ANNOTATION_PENDING", "DATABASE_DUPLICATE_KEY"]


def test_a_post_that_is_taken_tells_no_status_of_an_annotation(emulator: Emulator) -> None:
    answer = posted(emulator, NEW)
    assert (answer.status.code, answer.annotations[0].HasField("status")) == (status_code_pb2.SUCCESS, False)
