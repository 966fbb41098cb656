"""`plan_deletion` and `plan_input_deletion`: what would go is looked up, and exactly that is deleted when asked for."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from clarifai_grpc.grpc.api import resources_pb2
from clarifai_grpc.grpc.api.status import status_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from clarifai_annotations import (
    AuthenticationError,
    ClarifaiError,
    Client,
    DeadlineError,
    DeletionError,
    DeletionPlan,
    IdError,
    NotFoundError,
    PermissionDeniedError,
    Progress,
)
from clarifai_annotations.emulator import Emulator, Fault
from copies import CREATED_AT, Pair, columns, seed, sent, stored

PAIRS: list[Pair] = [("p", "a"), ("q", "a"), ("p", "b")]
OWN_OF_P = ("p", "emulated-00000001")
"""The emulator counts the IDs that it makes, and the input-level annotation of the first input is the first."""


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """Two inputs with annotations beside their own, and one with nothing else."""
    seed(clarifai_emulator, PAIRS)
    clarifai_emulator.add_input("bare")
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Client:
    return emulator.client(request_timeout=3)


def actions(plan: DeletionPlan) -> list[tuple[str, str, str | None]]:
    return [(it.action, it.input_id, it.annotation_id) for it in plan.annotations]


def methods(emulator: Emulator) -> list[str]:
    return [request.method for request in emulator.requests]


def test_pairs_are_planned_in_the_order_of_the_call(client: Client) -> None:
    plan = client.plan_deletion(*columns([("q", "a"), ("p", "gone"), OWN_OF_P, ("p", "a"), ("q", "a")]))
    assert actions(plan) == [
        ("delete", "q", "a"),
        ("absent", "p", "gone"),
        ("spared", *OWN_OF_P),
        ("delete", "p", "a"),
    ]
    assert (plan.requested, plan.deletions, plan.absent, plan.spared, plan.duplicates) == (4, 2, 1, 1, 1)


def test_inputs_are_planned_in_the_order_of_the_call_and_each_oldest_first(client: Client) -> None:
    plan = client.plan_input_deletion(["q", "gone", "bare", "p", "q"])
    assert actions(plan) == [
        ("spared", "q", "emulated-00000002"),
        ("delete", "q", "a"),
        ("absent", "gone", None),
        ("spared", "bare", "emulated-00000003"),
        ("spared", *OWN_OF_P),
        ("delete", "p", "a"),
        ("delete", "p", "b"),
    ]
    assert (plan.requested, plan.deletions, plan.absent, plan.spared, plan.duplicates) == (4, 3, 1, 3, 1)


def test_the_order_of_the_call_survives_lists_that_overtake_each_other(emulator: Emulator) -> None:
    pairs = [("p", f"a{n}") for n in range(12)]
    emulator.inject(*(Fault.delayed(seconds).on("ListAnnotations") for seconds in (0.3, 0.2, 0.1)))
    with emulator.client(batch_size=3) as client:
        plan = client.plan_deletion(*columns(pairs))
    assert [(it.input_id, it.annotation_id) for it in plan.annotations] == pairs


def test_a_batch_that_may_not_be_listed_whole_is_planned_in_halves(
    emulator: Emulator, client: Client
) -> None:
    pairs = [*PAIRS, ("q", "gone")]
    # The four, and the first two.
    emulator.inject(Fault.status(11102), Fault.status(11102))
    plan = client.plan_deletion(*columns(pairs))
    assert [(it.input_id, it.annotation_id) for it in plan.annotations] == pairs
    assert [len(request.ids) for request in emulator.requests] == [4, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("count", "requests"), [(1, [1]), (128, [128]), (129, [128, 1]), (300, [128, 128, 44])]
)
def test_a_list_request_carries_128_pairs(
    count: int, requests: list[int], emulator: Emulator, client: Client
) -> None:
    plan = client.plan_deletion(["p"] * count, [f"a{n}" for n in range(count)])
    assert sorted(len(request.ids) for request in emulator.requests) == sorted(requests)
    assert plan.requests == len(requests)


def test_inputs_are_listed_128_a_request(emulator: Emulator, client: Client) -> None:
    client.plan_input_deletion([f"p{n}" for n in range(129)])
    assert sorted(len(request.input_ids) for request in emulator.requests) == [1, 128]


# A page that is full may be the last or not: only the next one tells. Several are read twice, all but the last.
@pytest.mark.parametrize(("annotations", "requests"), [(998, 1), (999, 3), (1500, 3), (2500, 5)])
def test_inputs_are_listed_in_pages_of_a_thousand(annotations: int, requests: int) -> None:
    with Emulator() as emulator, emulator.client() as client:
        # Beside its own, input-level one.
        seed(emulator, [("p", f"a{n}") for n in range(annotations)])
        plan = client.plan_input_deletion(["p"])
    assert (plan.requests, plan.deletions, plan.spared) == (requests, annotations, 1)


def test_a_plan_sends_lists_alone(emulator: Emulator, client: Client) -> None:
    before = stored(emulator)
    client.plan_deletion(*columns(PAIRS))
    client.plan_input_deletion(["p", "q"])
    assert (set(methods(emulator)), stored(emulator)) == ({"ListAnnotations"}, before)


@pytest.mark.parametrize("method", ["plan_deletion", "plan_input_deletion"])
def test_empty_columns_give_an_empty_plan_and_send_nothing(
    method: str, emulator: Emulator, client: Client
) -> None:
    plan = getattr(client, method)(*([[], []] if method == "plan_deletion" else [[]]))
    assert (len(plan.annotations), plan.requested, plan.execute().requested) == (0, 0, 0)
    assert emulator.requests == []


def made_by(**fields: Any) -> bytes:
    message: bytes = resources_pb2.Annotation(**fields).SerializeToString()
    return message


def worker(**fields: Any) -> Any:
    return resources_pb2.Worker(**fields)


CREATORS = {
    "a user": (made_by(user_id="u"), "u", False),
    "a version of a model": (made_by(user_id="u", model_version_id="v"), "v", True),
    "a user at work": (
        made_by(user_id="owner", worker=worker(user=resources_pb2.User(id="u"))),
        "u",
        False,
    ),
    "a model at work": (made_by(worker=worker(model=resources_pb2.Model(id="m"))), "m", True),
    "a version at work": (
        made_by(
            worker=worker(model=resources_pb2.Model(id="m", model_version=resources_pb2.ModelVersion(id="v")))
        ),
        "v",
        True,
    ),
    "a workflow at work": (made_by(worker=worker(workflow=resources_pb2.Workflow(id="w"))), "w", True),
    "nobody": (b"", None, False),
}


@pytest.mark.parametrize(("message", "creator", "made_by_model"), CREATORS.values(), ids=CREATORS)
def test_a_plan_tells_who_made_an_annotation(
    message: bytes, creator: str | None, made_by_model: bool, emulator: Emulator, client: Client
) -> None:
    emulator.add_annotation("p", "c", message=message)
    (planned,) = client.plan_deletion(["p"], ["c"]).annotations
    assert (planned.creator, planned.made_by_model) == (creator, made_by_model)


@pytest.mark.parametrize(
    ("code", "name"), [(24150, "ANNOTATION_SUCCESS"), (424242, "UNKNOWN_CODE_424242"), (None, None)]
)
def test_a_plan_names_the_status(
    code: int | None, name: str | None, emulator: Emulator, client: Client
) -> None:
    message = b"" if code is None else made_by(status=status_pb2.Status(code=code))
    emulator.add_annotation("p", "c", message=message)
    (planned,) = client.plan_deletion(["p"], ["c"]).annotations
    assert planned.status == name


@pytest.mark.parametrize(("seconds", "nanos"), [(1_700_000_000, 123_456_789), (-1, 5_000), (0, 0)])
def test_a_plan_tells_when_an_annotation_was_made_to_the_microsecond(
    seconds: int, nanos: int, emulator: Emulator, client: Client
) -> None:
    emulator.add_annotation("p", "c", message=made_by(created_at=Timestamp(seconds=seconds, nanos=nanos)))
    (planned,) = client.plan_deletion(["p"], ["c"]).annotations
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert planned.created_at == epoch + timedelta(seconds=seconds, microseconds=nanos // 1000)
    assert planned.created_at.utcoffset() == timedelta(0)


def test_nothing_is_told_of_what_is_not_there(client: Client) -> None:
    (planned,) = client.plan_deletion(["p"], ["gone"]).annotations
    told = (planned.creator, planned.status, planned.created_at, planned.made_by_model)
    assert told == (None, None, None, None)


def test_the_annotations_of_a_plan_are_a_sequence(client: Client) -> None:
    annotations = client.plan_deletion(*columns(PAIRS)).annotations
    assert len(annotations) == 3
    assert annotations[-1].annotation_id == "b"
    assert [it.input_id for it in annotations[1:]] == ["q", "p"]
    with pytest.raises(IndexError):
        annotations[3]


def test_an_execution_deletes_the_pairs_that_were_listed_and_no_others(
    emulator: Emulator, client: Client
) -> None:
    plan = client.plan_deletion(*columns([*PAIRS[:2], ("p", "gone"), OWN_OF_P]))
    emulator.clear_requests()
    assert plan.execute().deleted == 2
    assert (sent(emulator, "DeleteAnnotations"), list(stored(emulator))) == (PAIRS[:2], [("p", "b")])


def test_what_comes_after_a_plan_of_inputs_is_spared(emulator: Emulator, client: Client) -> None:
    plan = client.plan_input_deletion(["p", "q"])
    seed(emulator, [("p", "late")])
    assert plan.execute().deleted == 3
    assert list(stored(emulator)) == [("p", "late")]


def test_an_execution_never_names_what_is_input_level(emulator: Emulator, client: Client) -> None:
    client.plan_input_deletion(["p", "q", "bare"]).execute()
    assert sorted(sent(emulator, "DeleteAnnotations")) == sorted(PAIRS)


def test_a_plan_of_nothing_to_delete_sends_nothing_when_executed(emulator: Emulator, client: Client) -> None:
    plan = client.plan_input_deletion(["bare", "gone"])
    emulator.clear_requests()
    assert plan.execute().requested == 0
    assert emulator.requests == []


def test_what_goes_between_plan_and_execution_is_absent(client: Client) -> None:
    plan = client.plan_deletion(*columns(PAIRS))
    client.delete_annotation(*PAIRS[0])
    with pytest.raises(DeletionError) as raised:
        plan.execute(look_first=True)
    assert (raised.value.report.deleted, raised.value.report.absent) == (2, 1)


def test_a_plan_can_be_executed_again(client: Client) -> None:
    plan = client.plan_deletion(*columns(PAIRS))
    assert plan.execute().deleted == 3
    assert plan.execute(missing_ok=True, look_first=True).absent == 3


async def test_plans_and_their_execution_can_be_awaited(emulator: Emulator, client: Client) -> None:
    of_pairs = await client.plan_deletion_async(*columns(PAIRS[:1]))
    of_inputs = await client.plan_input_deletion_async(["q"])
    assert (of_pairs.deletions, of_inputs.deletions) == (1, 1)
    assert [
        report.deleted for report in await asyncio.gather(of_pairs.execute_async(), of_inputs.execute_async())
    ] == [
        1,
        1,
    ]
    assert list(stored(emulator)) == [("p", "b")]


def test_a_plan_is_of_the_app_of_its_client(emulator: Emulator, client: Client) -> None:
    seed(emulator, PAIRS, app_id="dogs")
    plan = client.for_app("dogs").plan_deletion(*columns(PAIRS))
    plan.execute()
    assert (plan.user_id, plan.app_id) == ("emulator-user", "dogs")
    assert (stored(emulator, app_id="dogs"), len(stored(emulator))) == ({}, 3)


COLUMNS = ["action", "input_id", "annotation_id", "creator", "status", "created_at", "made_by_model"]
CREATED = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=CREATED_AT)
TABLE = [
    ("delete", "p", "a", "labeller", "ANNOTATION_SUCCESS", CREATED, False),
    ("absent", "gone", None, None, None, None, None),
]
READERS: dict[str, Callable[[Any], list[tuple[Any, ...]]]] = {
    "polars": lambda plan: pl.DataFrame(plan).select(COLUMNS).rows(),
    "pyarrow": lambda plan: [tuple(row.values()) for row in pa.table(plan).select(COLUMNS).to_pylist()],
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_other_libraries_read_a_plan_as_a_table(
    reader: Callable[[Any], list[tuple[Any, ...]]],
) -> None:
    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, [("p", "a")])
        rows = reader(client.plan_input_deletion(["p", "gone"]))
    assert [row for row in rows if row[0] != "spared"] == TABLE


def test_the_table_of_a_plan_says_that_its_times_are_utc(client: Client) -> None:
    field = pa.table(client.plan_deletion(*columns(PAIRS))).schema.field("created_at")
    assert field.type == pa.timestamp("us", "UTC")


def test_a_notebook_shows_a_plan_with_every_name_escaped(emulator: Emulator, client: Client) -> None:
    emulator.add_annotation("<i>", "<b>", message=made_by(user_id="<u>"))
    html = client.plan_deletion(["<i>", "<gone>"], ["<b>", "&"])._repr_html_()
    assert all(f"<td>{shown}</td>" in html for shown in ("&lt;i&gt;", "&lt;b&gt;", "&lt;u&gt;", "&amp;"))
    assert not any(bare in html for bare in ("<i>", "<u>", "<gone>"))


def test_a_notebook_shows_the_first_rows_of_a_long_plan(client: Client) -> None:
    html = client.plan_deletion(["p"] * 30, [f"a{n:02}" for n in range(30)])._repr_html_()
    assert ("a19" in html, "a20" in html, "… and 10 more" in html) == (True, False, True)


def test_the_repr_of_a_plan_has_its_counts(client: Client) -> None:
    plan = client.plan_deletion(*columns([*PAIRS, OWN_OF_P, ("p", "gone"), ("p", "gone")]))
    assert repr(plan) == (
        'DeletionPlan(user_id="emulator-user", app_id="emulator-app", requested=5, deletions=3, absent=1, '
        "spared=1, duplicates=1, requests=1)"
    )


def test_the_repr_of_its_annotations_says_what_would_become_of_each(client: Client) -> None:
    annotations = client.plan_input_deletion(["gone", "q"]).annotations
    assert repr(annotations) == (
        '<PlannedAnnotations: 3\n  absent: input "gone"\n  spared: annotation "emulated-00000002" of input "q"\n'
        '  delete: annotation "a" of input "q", by "labeller">'
    )
    assert repr(annotations[0]) == '<PlannedAnnotation: absent: input "gone">'


CALLS: dict[str, tuple[str, Any]] = {
    "pairs": ("plan_deletion", columns(PAIRS)),
    "inputs": ("plan_input_deletion", (["p", "q", "bare"],)),
}
each_call = pytest.mark.parametrize(("method", "named"), CALLS.values(), ids=CALLS)


@each_call
def test_progress_counts_what_was_looked_up_and_all_of_it_stays_unsent(
    method: str, named: Any, emulator: Emulator
) -> None:
    told: list[Progress] = []
    # One after the other, so slowly that there is something to tell in between.
    emulator.inject(*(Fault.delayed(0.15) for _ in range(3)))
    with emulator.client(batch_size=1, max_in_flight=1) as client:
        getattr(client, method)(*named, progress=told.append)
    done = [progress.done for progress in told]
    assert (done[0], done[-1], told[-1].finished) == (0, 3, True)
    assert any(0 < some < 3 for some in done)
    assert done == sorted(done)
    assert {(progress.requested, progress.unsent) for progress in told} == {(3, 3)}


FAULTS = {
    "throttled": Fault.throttled(),
    "dropped_before": Fault.dropped_before(),
    "dropped_after": Fault.dropped_after(),
    "grpc(14)": Fault.grpc(14),
    "unanswered": Fault.unanswered(),
    "goaway": Fault.goaway(),
}


@each_call
@pytest.mark.parametrize("fault", FAULTS)
def test_a_plan_under_faults_is_the_plan_without(
    fault: str, method: str, named: Any, emulator: Emulator
) -> None:
    with emulator.client(request_timeout=0.3, batch_size=1) as client:
        without = pa.table(getattr(client, method)(*named))
        emulator.inject(Fault.none(), FAULTS[fault])
        assert pa.table(getattr(client, method)(*named)) == without
    assert fault in [request.fault for request in emulator.requests]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception]]] = {
    "a wrong key": ({"pats": ["right"]}, {"pat": "wrong"}, AuthenticationError),
    "a key without the scope": (
        {"pats": {"right": ["Annotations_Delete"]}},
        {"pat": "right"},
        PermissionDeniedError,
    ),
    "an app that is not there": ({"apps": [("me", "cats")]}, {"app_id": "dogs"}, NotFoundError),
    "no time": ({"latency": 30.0}, {}, DeadlineError),
}


@each_call
@pytest.mark.parametrize(("conduct", "settings", "error"), REFUSED.values(), ids=REFUSED)
def test_a_plan_that_cannot_be_made_raises_why(
    conduct: dict[str, Any],
    settings: dict[str, Any],
    error: type[Exception],
    method: str,
    named: Any,
) -> None:
    timeout = 0.05 if error is DeadlineError else None
    with (
        Emulator(**conduct) as emulator,
        emulator.client(**settings) as client,
        pytest.raises(error) as raised,
    ):
        getattr(client, method)(*named, timeout=timeout)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


@each_call
def test_a_closed_client_plans_nothing(method: str, named: Any, client: Client) -> None:
    client.close()
    with pytest.raises(ClarifaiError, match="this client is closed"):
        getattr(client, method)(*named)


def test_a_plan_of_a_closed_client_deletes_nothing(emulator: Emulator, client: Client) -> None:
    plan = client.plan_deletion(*columns(PAIRS))
    client.close()
    with pytest.raises(ClarifaiError, match="this client is closed"):
        plan.execute()
    assert len(stored(emulator)) == 3


@pytest.mark.parametrize(
    ("method", "named", "index"),
    [("plan_deletion", (["p", " "], ["a", "b"]), 1), ("plan_input_deletion", (["p", "q", ""],), 2)],
    ids=["pairs", "inputs"],
)
def test_a_plan_of_bad_ids_is_refused_before_anything_is_sent(
    method: str, named: Any, index: int, emulator: Emulator, client: Client
) -> None:
    with pytest.raises(IdError) as raised:
        getattr(client, method)(*named)
    assert (raised.value.index, emulator.requests) == (index, [])
