"""How the emulator answers deletions of what is missing and of what may not be deleted, as Clarifai's client sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from clarifai_annotations.emulator import Emulator
from official_client import delete, delete_inputs, delete_one, left, official_stub


@contextmanager
def emulated(**options: Any) -> Iterator[tuple[Emulator, Any]]:
    """An emulator with p/a, p/b and q/c, where q/c is locked, and the official stub on it."""
    with Emulator(**options) as emulator:
        for input_id, annotation_id in (("p", "a"), ("p", "b"), ("q", "c")):
            emulator.add_annotation(input_id, annotation_id)
        emulator.lock("q", "c")
        with official_stub(emulator) as stub:
            yield emulator, stub


def test_where_the_missing_is_passed_over_the_rest_of_a_batch_goes_and_the_answer_is_success() -> None:
    with emulated(missing_pair="success") as (emulator, stub):
        assert delete(stub, ("p", "a"), ("p", "missing"), ("missing", "a")) == "SUCCESS"
        assert left(emulator) == ["p/b", "q/c"]


def test_where_the_missing_is_passed_over_a_batch_of_nothing_else_succeeds() -> None:
    with emulated(missing_pair="success") as (emulator, stub):
        assert delete(stub, ("p", "missing")) == "SUCCESS"
        assert emulator.requests[0].applied == 0


def test_where_the_missing_is_passed_over_so_is_a_missing_input() -> None:
    with emulated(missing_pair="success") as (emulator, stub):
        assert delete_inputs(stub, "missing", "p") == "SUCCESS"
        assert left(emulator) == ["q/c"]


def test_where_a_missing_single_is_passed_over_the_answer_is_success() -> None:
    with emulated(missing_single="success") as (_, stub):
        assert delete_one(stub, "p", "missing") == "SUCCESS"


def test_a_single_that_is_there_and_locked_is_refused_where_a_missing_one_is_passed_over() -> None:
    with emulated(missing_single="success") as (_, stub):
        assert delete_one(stub, "q", "c") == "ANNOTATION_PERMISSION_DENIED"


Deletion = Callable[[Any], str]

WITH_LOCKED: dict[str, Deletion] = {
    "a pair": lambda stub: delete(stub, ("p", "a"), ("q", "c")),
    "an input": lambda stub: delete_inputs(stub, "p", "q"),
}
"""Batches with one that is locked."""

each_batch = pytest.mark.parametrize("deletion", WITH_LOCKED.values(), ids=WITH_LOCKED)


@each_batch
def test_where_the_missing_is_passed_over_a_batch_with_a_locked_one_is_refused_whole(
    deletion: Deletion,
) -> None:
    with emulated(missing_pair="success") as (emulator, stub):
        assert deletion(stub) == "ANNOTATION_PERMISSION_DENIED"
        assert left(emulator) == ["p/a", "p/b", "q/c"]


@each_batch
@pytest.mark.parametrize(("how", "seen"), [("mixed", "MIXED_STATUS"), ("failure", "FAILURE")])
@pytest.mark.parametrize("missing_pair", ["success", "refused", "mixed", "failure"])
def test_a_batch_with_a_locked_one_goes_its_own_way(
    missing_pair: str, how: str, seen: str, deletion: Deletion
) -> None:
    with emulated(missing_pair=missing_pair, refused_pair=how) as (emulator, stub):
        assert deletion(stub) == seen
        assert "q/c" in left(emulator)
        assert "p/a" not in left(emulator)


@each_batch
@pytest.mark.parametrize(("how", "seen"), [("mixed", "MIXED_STATUS"), ("failure", "FAILURE")])
def test_a_locked_one_goes_the_way_of_a_missing_one_unless_told(
    how: str, seen: str, deletion: Deletion
) -> None:
    with emulated(missing_pair=how) as (_, stub):
        assert deletion(stub) == seen


@each_batch
def test_a_locked_one_may_be_refused_where_a_missing_one_is_reported(deletion: Deletion) -> None:
    with emulated(missing_pair="mixed", refused_pair="refused") as (emulator, stub):
        assert deletion(stub) == "ANNOTATION_PERMISSION_DENIED"
        assert left(emulator) == ["p/a", "p/b", "q/c"]


def test_an_input_level_annotation_is_no_missing_one() -> None:
    with emulated(missing_pair="success") as (emulator, stub):
        own = next(it.annotation_id for it in emulator.annotations() if it.input_level)
        assert delete(stub, ("p", "a"), ("p", own)) == "ANNOTATION_INVALID_ARGUMENT"


def test_beside_a_missing_one_that_is_passed_over_a_locked_one_is_reported() -> None:
    with emulated(missing_pair="success", refused_pair="mixed") as (_, stub):
        assert delete(stub, ("p", "missing"), ("q", "c")) == "MIXED_STATUS"


def test_a_batch_of_which_nothing_can_be_deleted_is_refused_with_the_first_reason() -> None:
    with emulated(missing_pair="mixed") as (_, stub):
        assert delete(stub, ("p", "missing"), ("q", "c")) == "CONN_DOES_NOT_EXIST"


def test_where_a_batch_with_a_missing_pair_is_refused_nothing_goes() -> None:
    with emulated(missing_pair="refused") as (emulator, stub):
        assert delete(stub, ("p", "a"), ("p", "missing")) == "CONN_DOES_NOT_EXIST"
        assert left(emulator) == ["p/a", "p/b", "q/c"]


def test_a_missing_single_may_be_answered_with_a_status() -> None:
    with emulated(missing_single="status") as (_, stub):
        assert delete_one(stub, "p", "missing") == "CONN_DOES_NOT_EXIST"


def test_by_default_the_missing_is_passed_over() -> None:
    # `None` is the default, also where `pytest --missing` says something else.
    with emulated(missing_pair=None, missing_single=None) as (emulator, stub):
        assert delete(stub, ("p", "a"), ("p", "missing")) == "SUCCESS"
        assert delete_inputs(stub, "missing") == "SUCCESS"
        assert delete_one(stub, "p", "missing") == "SUCCESS"
        assert left(emulator) == ["p/b", "q/c"]
