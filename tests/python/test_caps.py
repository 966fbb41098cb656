"""`max_deletions`: beyond it nothing is deleted, whatever was named."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from clarifai_annotations import Client, DeletionLimitError, Progress
from clarifai_annotations.emulator import Emulator
from copies import Pair, columns, seed, sent, stored

PAIRS: list[Pair] = [(f"p{n}", annotation_id) for n in range(3) for annotation_id in "ab"]
INPUTS = ["p0", "p1", "p2"]


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """Three inputs with two annotations each, beside their input-level ones."""
    seed(clarifai_emulator, PAIRS)
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Client:
    return emulator.client(request_timeout=3)


CALLS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "pairs": ("delete_annotations", columns(PAIRS), {}),
    "inputs": ("delete_input_annotations", (INPUTS,), {}),
    "inputs, one a request": ("delete_input_annotations", (INPUTS,), {"batch_size": 1}),
}
each_call = pytest.mark.parametrize(("method", "named", "limits"), CALLS.values(), ids=CALLS)


async def made(client: Client, method: str, *named: list[str], **options: Any) -> Any:
    """What a call gives, blocking or awaited."""
    result = getattr(client, method)(*named, **options)
    return await result if inspect.isawaitable(result) else result


@each_call
@pytest.mark.parametrize("twin", ["", "_async"])
@pytest.mark.parametrize("most", [0, 5])
async def test_beyond_the_cap_nothing_is_deleted(
    method: str, named: Any, limits: dict[str, Any], twin: str, most: int, emulator: Emulator
) -> None:
    before = stored(emulator)
    with emulator.client(**limits) as client, pytest.raises(DeletionLimitError, match=f"is {most}. Nothing"):
        await made(client, method + twin, *named, max_deletions=most)
    assert stored(emulator) == before


@each_call
@pytest.mark.parametrize("twin", ["", "_async"])
async def test_as_many_as_the_cap_are_deleted(
    method: str, named: Any, limits: dict[str, Any], twin: str, emulator: Emulator
) -> None:
    with emulator.client(**limits) as client:
        assert (await made(client, method + twin, *named, max_deletions=6)).ok
    assert stored(emulator) == {}


def test_a_call_that_names_more_pairs_sends_nothing(emulator: Emulator, client: Client) -> None:
    with pytest.raises(DeletionLimitError, match="the call names 6 annotations, and max_deletions is 5"):
        client.delete_annotations(*columns(PAIRS), max_deletions=5)
    assert emulator.requests == []


def test_a_repeated_pair_counts_once(client: Client) -> None:
    assert client.delete_annotations(*columns(PAIRS * 2), max_deletions=6).deleted == 6


def test_a_pair_that_is_named_counts_though_it_is_not_there(client: Client) -> None:
    with pytest.raises(DeletionLimitError):
        client.delete_annotations(["p0", "nowhere"], ["a", "a"], max_deletions=1)


def test_input_level_annotations_do_not_count(client: Client) -> None:
    assert client.delete_input_annotations(["p0"], max_deletions=2).deleted == 1


def test_no_more_is_listed_than_it_takes_to_pass_the_cap(emulator: Emulator) -> None:
    with (
        emulator.client(batch_size=1, max_in_flight=1) as client,
        pytest.raises(DeletionLimitError, match="more than 1 annotations are on these inputs"),
    ):
        client.delete_input_annotations(INPUTS, max_deletions=1)
    assert [request.method for request in emulator.requests] == ["ListAnnotations"]


def test_a_capped_deletion_of_inputs_names_each_annotation(emulator: Emulator, client: Client) -> None:
    client.delete_input_annotations(INPUTS, max_deletions=6)
    assert sorted(sent(emulator, "DeleteAnnotations")) == PAIRS


@pytest.mark.clarifai_emulator(latency=0.4)
def test_what_comes_after_the_count_is_spared(emulator: Emulator, client: Client) -> None:
    late = ("p0", "late")

    def come(_: Progress) -> None:
        # The list is made, and the deletion not yet in.
        if len(emulator.requests) == 1 and late not in stored(emulator):
            seed(emulator, [late])

    report = client.delete_input_annotations(INPUTS, max_deletions=6, progress=come)
    assert (report.deleted, list(stored(emulator))) == (3, [late])


def test_a_cap_over_several_batches_counts_them_all_before_it_deletes(emulator: Emulator) -> None:
    with emulator.client(batch_size=1) as client:
        client.delete_input_annotations(INPUTS, max_deletions=6)
    methods = [request.method for request in emulator.requests]
    assert methods == ["ListAnnotations"] * 3 + ["DeleteAnnotations"] * 6


def test_inputs_that_are_not_there_are_absent_within_the_cap(client: Client) -> None:
    report = client.delete_input_annotations(["p0", "nowhere"], max_deletions=2, on_failure="report")
    assert (report.deleted, report.absent) == (1, 1)


def test_a_plan_stops_when_it_has_found_more(client: Client) -> None:
    with pytest.raises(DeletionLimitError, match="more than 5 annotations would be deleted"):
        client.plan_input_deletion(INPUTS, max_deletions=5)
    assert client.plan_input_deletion(INPUTS, max_deletions=6).deletions == 6


async def test_an_awaited_plan_has_a_cap_too(client: Client) -> None:
    with pytest.raises(DeletionLimitError):
        await client.plan_input_deletion_async(INPUTS, max_deletions=5)


def test_the_execution_of_a_plan_has_a_cap_of_its_own(emulator: Emulator, client: Client) -> None:
    plan = client.plan_input_deletion(INPUTS)
    emulator.clear_requests()
    with pytest.raises(DeletionLimitError, match="the call names 6 annotations, and max_deletions is 5"):
        plan.execute(max_deletions=5)
    assert emulator.requests == []


WRONG = {"negative": (-1, ValueError), "a text": ("3", TypeError), "a float": (3.0, TypeError)}


@pytest.mark.parametrize(("most", "error"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(
    ("method", "named"),
    [
        ("delete_annotations", columns(PAIRS)),
        ("delete_input_annotations", (INPUTS,)),
        ("plan_input_deletion", (INPUTS,)),
    ],
    ids=["pairs", "inputs", "a plan"],
)
def test_a_cap_that_is_no_count_is_refused(
    method: str, named: Any, most: Any, error: type[Exception], emulator: Emulator, client: Client
) -> None:
    with pytest.raises(error):
        getattr(client, method)(*named, max_deletions=most)
    assert emulator.requests == []
