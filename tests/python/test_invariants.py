"""The six invariants of a deletion, under random calls that race, time out and are cancelled, and random faults.

`INVARIANT_CASES` is the number of random cases that each property is held against.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import random_cases
from clarifai_annotations import ClarifaiError, Client, DeleteReport, IdError
from clarifai_annotations.emulator import Emulator, Fault, RecordedRequest
from conftest import KEY

T = TypeVar("T")
Pair = tuple[str, str]
Column = Callable[[Iterable[str]], Iterable[str]]

CASES = random_cases.races(random_cases.cases(60, "INVARIANT_CASES"))

APPS = ["cats", "dogs"]
OUTCOMES = ["deleted", "absent", "failed", "unknown", "unsent"]
INPUT_LEVEL = ("p0", "emulated-00000001")
"""The emulator counts the IDs that it makes, and the input-level annotation of the first input is the first."""

# Few, so that calls collide.
INPUT_IDS = [f"p{n}" for n in range(5)]
PAIRS = [(input_id, f"a{n}") for input_id in INPUT_IDS for n in range(8)]

input_ids = st.sampled_from(INPUT_IDS)
pairs = st.sampled_from(PAIRS)
named_pairs = st.sampled_from([*PAIRS, INPUT_LEVEL])
columns: st.SearchStrategy[Column] = st.sampled_from([list, tuple, iter])


@dataclass(frozen=True)
class Call:
    """What a call names, and how it is made and ended."""

    app: str
    kind: Literal["single", "pairs", "inputs"]
    pairs: tuple[Pair, ...] = ()
    inputs: tuple[str, ...] = ()
    column: Column = list
    missing_ok: bool = False
    look_first: bool = False
    timeout: float | None = None
    awaited: bool = True
    cancelled_after: float | None = None

    @property
    def named(self) -> list[Pair | str]:
        """What a report of it counts."""
        return [*self.pairs, *self.inputs]

    def may_send(self, pair: Pair) -> bool:
        """Whether a request of it may name this annotation: inputs that are listed first are deleted pair by pair."""
        return pair in self.pairs or (self.look_first and pair[0] in self.inputs)

    def names(self, pair: Pair) -> bool:
        """Whether it asks for this annotation, by name or with its input."""
        return pair in self.pairs or pair[0] in self.inputs

    async def end(self, client: Client) -> DeleteReport | BaseException | None:
        """Make it, and give what it returns or raises."""
        if self.app != client.app_id:
            client = client.for_app(self.app)
        columns: list[Any]
        options: dict[str, Any] = {"timeout": self.timeout, "look_first": self.look_first}
        if self.kind == "single":
            method, columns = "delete_annotation", list(self.pairs[0])
        elif self.kind == "pairs":
            # Lists first: what is lazy about an iterator is not to be the loop's variable.
            halves = [[pair[n] for pair in self.pairs] for n in (0, 1)]
            method, columns = "delete_annotations", [self.column(half) for half in halves]
        else:
            method, columns = "delete_input_annotations", [self.column(self.inputs)]
        if self.kind != "single":
            options["on_failure"] = "report"
        if self.kind != "inputs":
            options["missing_ok"] = self.missing_ok
        try:
            if not self.awaited:
                return await asyncio.to_thread(getattr(client, method), *columns, **options)
            running = asyncio.ensure_future(getattr(client, f"{method}_async")(*columns, **options))
            if self.cancelled_after is not None:
                await asyncio.sleep(self.cancelled_after)
                running.cancel()
            return await running  # type: ignore[no-any-return]
        except (ClarifaiError, asyncio.CancelledError) as error:
            return error


@dataclass(frozen=True)
class Scenario:
    """What is there, how the service misbehaves, and who deletes what meanwhile."""

    there: dict[str, list[Pair]]
    locked: list[Pair]
    conduct: dict[str, Any]
    faults: list[tuple[Fault, float]]
    limits: dict[str, Any]
    calls: list[Call]


@dataclass
class Aftermath:
    """What is known once every call has ended: what each came to, what the emulator saw, and what is left."""

    before: dict[str, dict[Pair, bool]]
    after: dict[str, dict[Pair, bool]]
    requests: list[RecordedRequest]
    ended: list[tuple[Call, DeleteReport | BaseException | None]]
    shown: list[str] = field(default_factory=list)

    def tell(self, what: str) -> str:
        """Describe a violation: a race seldom comes again, so its message says all that there is to know."""
        requests = [
            f"{request!r} fault={request.fault} applied={request.applied}" for request in self.requests
        ]
        ended = [f"{call}\n    → {result!r}" for call, result in self.ended]
        return "\n  ".join([what, "calls:", *ended, "requests:", *requests])

    def is_gone(self, app: str, pair: Pair) -> bool:
        return pair not in self.after[app]

    def is_asked_only_by(self, call: Call, pair: Pair) -> bool:
        """Whether no call but this names the annotation, so that it alone decides what becomes of it."""
        others = [other for other, _ in self.ended if other is not call and other.app == call.app]
        return not any(other.names(pair) for other in others)

    def on_input(self, app: str, input_id: str) -> list[Pair]:
        """What there was on an input that goes with a deletion of the whole input."""
        return [pair for pair, own in self.before[app].items() if pair[0] == input_id and not own]


def some_lists(
    elements: st.SearchStrategy[T], lengths: list[int], *, unique: bool = False
) -> st.SearchStrategy[list[T]]:
    """Lists of these lengths. Left alone, hypothesis prefers short ones, and few that are long enough to race."""

    def of(length: int) -> st.SearchStrategy[list[T]]:
        return st.lists(elements, min_size=length, max_size=length, unique=unique)

    return st.sampled_from(lengths).flatmap(of)


# The last four are temporary. Whether a request that one of them answers was carried out is not documented.
status_codes = st.sampled_from([10010, 10020, 10030, 24156, 99004, 40031, 98009, 99009])
grpc_codes = st.sampled_from([2, 10, 13, 14])
# "It does not exist" is no answer to a list of what is there: nothing else could tell the truth then.
said_to_be_missing = st.sampled_from([Fault.status(11101), Fault.grpc(5)]).map(
    lambda fault: fault.on("DeleteAnnotation", "DeleteAnnotations")
)
some_fault = st.one_of(
    st.just(Fault.throttled()),
    said_to_be_missing,
    st.sampled_from([40031, 98009, 99009]).map(lambda code: Fault.status(code, applied=True)),
    status_codes.map(Fault.status),
    status_codes.map(Fault.status),
    grpc_codes.map(Fault.grpc),
    grpc_codes.map(Fault.grpc),
    st.just(Fault.dropped_before()),
    st.just(Fault.dropped_after()),
    st.just(Fault.unanswered()),
    st.integers(0, 3).map(Fault.partial),
    st.just(Fault.goaway()),
    st.just(Fault.delayed(0.01)),
)
some_conduct = st.fixed_dictionaries(
    {
        "missing_pair": st.sampled_from(["success", "refused", "mixed", "failure"]),
        "missing_single": st.sampled_from(["success", "status", "grpc"]),
        # Some requests and answers of these tests exceed the small ones.
        "max_message_bytes": st.sampled_from([None, None, None, 400, 200, 100]),
        "visible_after": st.sampled_from([0.0, 0.02]),
        "latency": st.sampled_from([0.0, 0.002]),
        "latency_back": st.sampled_from([0.0, 0.002]),
        "seed": st.integers(0, 2**32),
    }
)
some_limits = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 6),
        "max_in_flight": st.sampled_from([1, 2, 32]),
        "max_attempts": st.sampled_from([3, 4]),
    }
)


@st.composite
def some_faults(draw: st.DrawFn) -> list[tuple[Fault, float]]:
    kinds = draw(some_lists(some_fault, [0, 1, 2, 3], unique=True))
    return [(kind, draw(st.sampled_from([0.05, 0.1, 0.2]))) for kind in kinds]


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    """One call, or a burst of calls for single annotations."""
    kind: Any = draw(st.sampled_from(["single", "burst", "pairs", "inputs"]))
    call = Call(
        app=draw(st.sampled_from(["cats", "cats", "cats", "dogs"])),
        kind="single" if kind == "burst" else kind,
        column=draw(columns),
        missing_ok=kind != "inputs" and draw(st.booleans()),
        look_first=draw(st.booleans()),
        timeout=draw(st.one_of(st.none(), st.none(), st.floats(0.01, 0.3))),
        awaited=kind == "burst" or draw(st.booleans()),
    )
    if call.awaited:
        moment = st.one_of(st.none(), st.none(), st.floats(0.0, 0.05))
        call = replace(call, cancelled_after=draw(moment))
    if kind == "inputs":
        return [replace(call, inputs=tuple(draw(some_lists(input_ids, [0, 1, 2, 3, 5]))))]
    # A repeated name is worth a case; but what several calls name, none of them can answer for alone.
    unique = draw(st.booleans())
    if kind == "pairs":
        return [replace(call, pairs=tuple(draw(some_lists(named_pairs, [0, 1, 3, 8, 20], unique=unique))))]
    named = draw(some_lists(named_pairs, [1] if kind == "single" else [2, 5, 15, 40], unique=unique))
    return [replace(call, pairs=(pair,)) for pair in named]


@st.composite
def some_scenario(draw: st.DrawFn) -> Scenario:
    scenario = Scenario(
        there={app: draw(some_lists(pairs, [0, 10, 30, 40], unique=True)) for app in APPS},
        locked=draw(some_lists(pairs, [0, 0, 1, 3])),
        conduct=draw(some_conduct),
        faults=draw(some_faults()),
        limits=draw(some_limits),
        calls=[call for calls in draw(some_lists(some_calls(), [1, 1, 2, 3, 6])) for call in calls],
    )
    if Fault.throttled() in dict(scenario.faults):
        # Who is throttled waits for more than a second each time: long enough for one wait, not for many.
        calls = [replace(call, timeout=call.timeout or 1.3) for call in scenario.calls]
        scenario = replace(scenario, calls=calls)
    return scenario


def emulator_of(scenario: Scenario) -> Emulator:
    emulator = Emulator(fault_rates=dict(scenario.faults), **scenario.conduct)
    for app in APPS:
        emulator.add_input(INPUT_LEVEL[0], app_id=app)
        for pair in scenario.there[app]:
            emulator.add_annotation(*pair, app_id=app)
        for pair in scenario.locked:
            emulator.lock(*pair, app_id=app)
    return emulator


def stored(emulator: Emulator) -> dict[str, dict[Pair, bool]]:
    """What is there in each app, and whether it is input-level."""
    return {
        app: {(it.input_id, it.annotation_id): it.input_level for it in emulator.annotations(app_id=app)}
        for app in APPS
    }


class Watch:
    """Looks out for requests that are sent after every call has ended.

    A new emulator listens where the old one did, and the client is left open. What comes in there was sent too
    late. The cases that run meanwhile are the time that it is given, so that no test has to sleep.
    """

    def __init__(self) -> None:
        self.open: deque[tuple[Client, Emulator, Aftermath]] = deque()

    def begin(self, client: Client, port: int, aftermath: Aftermath) -> None:
        # Another program may have taken the port, and then there is nobody to ask.
        with contextlib.suppress(OSError):
            self.open.append((client, Emulator(port=port), aftermath))
        if len(self.open) > 8:
            self.end_oldest()

    def end_oldest(self) -> None:
        client, emulator, aftermath = self.open.popleft()
        client.close()
        emulator.stop()
        assert emulator.requests == [], aftermath.tell(f"sent after all had ended: {emulator.requests}")


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    while watch.open:
        watch.end_oldest()


def run(scenario: Scenario, watch: Watch) -> Aftermath:
    """Make all calls at once, and look when the last has ended."""

    async def all_calls(client: Client) -> list[DeleteReport | BaseException | None]:
        return await asyncio.gather(*(call.end(client) for call in scenario.calls))

    with emulator_of(scenario) as emulator:
        before = stored(emulator)
        client = emulator.client(
            app_id="cats", pat=KEY, requests_per_second=None, request_timeout=0.25, **scenario.limits
        )
        results = asyncio.run(all_calls(client))
    # It is stopped: what a cancelled call had on its way has come in by now, or never will.
    ended = list(zip(scenario.calls, results, strict=True))
    aftermath = Aftermath(before, stored(emulator), emulator.requests, ended)
    aftermath.shown = [repr(client), repr(emulator), repr(client.for_app("dogs"))]
    watch.begin(client, int(emulator.base_url.rpartition(":")[2]), aftermath)
    return aftermath


def every_request_carries_only_what_a_call_of_its_app_named(aftermath: Aftermath) -> None:
    for request in aftermath.requests:
        calls = [call for call, _ in aftermath.ended if call.app == request.app_id]
        if request.ids:
            assert len(request.ids) == len(request.input_ids), aftermath.tell(f"unpaired: {request!r}")
            carried = zip(request.input_ids, request.ids, strict=True)
            others = {pair for pair in carried if not any(call.may_send(pair) for call in calls)}
            assert not others, aftermath.tell(f"{others} named by nobody: {request!r}")
        elif request.method == "GetUser" or (request.method == "ListAnnotations" and not request.input_ids):
            # It asks who the caller is, or whether the app exists. It deletes nothing.
            continue
        else:
            # A list of what is on inputs has no IDs either, and takes its right from the same call.
            assert request.method in ("DeleteAnnotations", "ListAnnotations"), aftermath.tell(f"{request!r}")
            carries = set(request.input_ids)
            assert carries, aftermath.tell(f"names nothing at all: {request!r}")
            assert any(carries <= set(call.inputs) for call in calls), aftermath.tell(
                f"no call named these inputs together: {request!r}"
            )


def what_is_gone_was_asked_for(aftermath: Aftermath) -> None:
    for app in APPS:
        assert aftermath.after[app].items() <= aftermath.before[app].items()
        for pair in aftermath.before[app].keys() - aftermath.after[app].keys():
            assert not aftermath.before[app][pair], aftermath.tell(f"{pair} of {app} is input-level and gone")
            asked = any(call.app == app and call.names(pair) for call, _ in aftermath.ended)
            assert asked, aftermath.tell(f"{pair} of {app} is gone and nobody asked for it")


def outcomes(report: DeleteReport, call: Call) -> dict[Pair | str, str]:
    """What the report says of each ID; its counts have to say the same."""
    found: dict[Pair | str, str] = dict.fromkeys(call.named, "deleted")
    assert (report.requested, report.duplicates) == (len(found), len(call.named) - len(found))
    assert len(report.failures) == report.requested - report.deleted
    for failure in report.failures:
        name = (
            failure.input_id if failure.annotation_id is None else (failure.input_id, failure.annotation_id)
        )
        assert failure.position == call.named.index(name)
        assert found[name] == "deleted", f"{name} failed twice"
        found[name] = failure.outcome
    counts = Counter(found.values())
    assert {outcome: getattr(report, outcome) for outcome in OUTCOMES} == {it: counts[it] for it in OUTCOMES}
    assert report.ok == (counts.keys() <= ({"deleted", "absent"} if call.missing_ok else {"deleted"}))
    return found


def outcome_of_single(call: Call, result: BaseException | None) -> str:
    """What a call for one annotation says of it; its error says so in words."""
    if result is None:
        return "deleted"
    (input_id, annotation_id) = call.pairs[0]
    which = f'annotation "{annotation_id}" of input "{input_id}" '
    if str(result).startswith(f"{which}is not there"):
        assert isinstance(result, LookupError)
        return "absent"
    return "failed" if str(result).startswith(f"{which}was not deleted") else "unknown"


def every_outcome_is_true(aftermath: Aftermath) -> None:
    for call, result in aftermath.ended:
        found: dict[Pair | str, str]
        if isinstance(result, asyncio.CancelledError):
            # Who cancels is told nothing.
            assert call.cancelled_after is not None, aftermath.tell(f"nobody cancelled {call}")
            continue
        if call.kind == "single":
            assert not isinstance(result, DeleteReport)
            found = {call.pairs[0]: outcome_of_single(call, result)}
        else:
            assert isinstance(result, DeleteReport), aftermath.tell(f"{result!r} for {call}")
            found = outcomes(result, call)
        for name, outcome in found.items():
            if isinstance(name, tuple):
                pair_outcome_is_true(aftermath, call, name, outcome)
            else:
                input_outcome_is_true(aftermath, call, name, outcome)


def pair_outcome_is_true(aftermath: Aftermath, call: Call, pair: Pair, outcome: str) -> None:
    gone = aftermath.is_gone(call.app, pair)
    # Without a look, the service may confirm the deletion of what was not there. A call for one returns for both alike if an
    # absent one is as good.
    tells_apart = call.look_first and not (call.kind == "single" and call.missing_ok)
    was_there = pair in aftermath.before[call.app]
    assert not tells_apart or was_there or outcome != "deleted", aftermath.tell(
        f"{pair} was absent, and is deleted, by {call}"
    )
    if outcome in ("deleted", "absent"):
        assert gone, aftermath.tell(f"{pair} is {outcome} and there, by {call}")
    elif outcome in ("failed", "unsent") and pair in aftermath.before[call.app]:
        # Another call that names it may have deleted it.
        kept = not gone or not aftermath.is_asked_only_by(call, pair)
        assert kept, aftermath.tell(f"{pair} is {outcome} and gone, by {call}")


def input_outcome_is_true(aftermath: Aftermath, call: Call, input_id: str, outcome: str) -> None:
    before = aftermath.on_input(call.app, input_id)
    left = [pair for pair in before if not aftermath.is_gone(call.app, pair)]
    own = [pair for pair in before if aftermath.is_asked_only_by(call, pair)]
    is_known = any(pair[0] == input_id for pair in aftermath.before[call.app])
    assert not call.look_first or is_known or outcome != "deleted", aftermath.tell(
        f"{input_id} was absent, and is deleted"
    )
    if outcome in ("deleted", "absent"):
        assert left == [], aftermath.tell(f"{input_id} is {outcome} and has {left}, by {call}")
    elif outcome == "unsent":
        assert set(own) <= set(left), aftermath.tell(f"{input_id} is unsent and lost some, by {call}")
    elif outcome == "failed" and before and own == before:
        assert left, aftermath.tell(f"{input_id} is failed and cleared, by {call}")


def nothing_shows_the_key(aftermath: Aftermath) -> None:
    shown: list[str | bytes] = [*aftermath.shown]
    shown += [repr((request, request.metadata)) for request in aftermath.requests]
    for _, result in aftermath.ended:
        pickled = pickle.dumps(result)
        shown += [repr(result), str(result), pickled, repr(pickle.loads(pickled))]
        if isinstance(result, BaseException):
            shown += [*traceback.format_exception(result), repr(vars(result))]
        elif result is not None:
            shown += [result._repr_html_(), repr(result.failures)]
            shown += [f"{failure!r} {failure.message} {failure.name}" for failure in result.failures]
    for text in shown:
        secret: Any = KEY.encode() if isinstance(text, bytes) else KEY
        assert secret not in text


@CASES
@given(scenario=some_scenario())
def test_whatever_races_and_fails_nothing_widens_and_every_outcome_is_true(
    scenario: Scenario, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "clarifai_annotations")
    aftermath = run(scenario, watch)
    every_request_carries_only_what_a_call_of_its_app_named(aftermath)
    what_is_gone_was_asked_for(aftermath)
    every_outcome_is_true(aftermath)
    nothing_shows_the_key(aftermath)
    assert KEY not in caplog.text
    caplog.clear()


# What stands in a column and is no ID.
not_ids = st.sampled_from(
    ["", " ", "\t\n", "\u2003", None, 7, 0, float("nan"), True, b"a1", ["a1"], ("p1", "a1")]
)
# What is no column: it has no order to pair by, or would be read letter by letter.
not_columns = st.sampled_from(["p1", b"p1", {"p1": "a1"}, {"p1", "a1"}, None, 7])


@st.composite
def bad_columns(draw: st.DrawFn) -> list[Any]:
    """Columns for pairs or, where there is one, for inputs, with something wrong about them."""
    named = draw(st.lists(pairs, min_size=1, max_size=8))
    named_columns: list[Any] = [[pair[n] for pair in named] for n in range(draw(st.sampled_from([1, 2])))]
    column = draw(st.integers(0, len(named_columns) - 1))
    wrong = draw(st.sampled_from(["an ID", "a column", "the count"]))
    if wrong == "a column":
        named_columns[column] = draw(not_columns)
        return named_columns
    if wrong == "the count" and len(named_columns) == 2:
        # An empty one as well: no annotation IDs must never mean all of them.
        named_columns[column] = named_columns[column][: draw(st.integers(0, len(named) - 1))]
    else:
        named_columns[column][draw(st.integers(0, len(named) - 1))] = draw(not_ids)
    return [*map(draw(columns), named_columns)]


async def made(client: Client, method: str, columns: list[Any], *, awaited: bool) -> None:
    """Make a call, and wait for it where it gives something to wait for."""
    if awaited:
        await getattr(client, f"{method}_async")(*columns)
    else:
        getattr(client, method)(*columns)


def nothing_is_sent(method: str, columns: list[Any], *, awaited: bool) -> None:
    with Emulator() as emulator:
        with emulator.client(requests_per_second=None, batch_size=1) as client, pytest.raises(IdError):
            asyncio.run(made(client, method, columns, awaited=awaited))
        assert emulator.requests == []


@CASES
@given(bad_columns(), st.booleans())
def test_nothing_is_sent_of_a_call_of_which_anything_is_wrong(columns: list[Any], awaited: bool) -> None:
    method = "delete_annotations" if len(columns) == 2 else "delete_input_annotations"
    nothing_is_sent(method, columns, awaited=awaited)


@CASES
@given(pairs, st.integers(0, 1), not_ids, st.booleans())
def test_nothing_is_sent_of_a_call_for_one_annotation_with_a_bad_id(
    pair: Pair, place: int, bad: Any, awaited: bool
) -> None:
    named: list[Any] = [*pair]
    named[place] = bad
    nothing_is_sent("delete_annotation", named, awaited=awaited)
