"""Event loops of every kind: asyncio's, uvloop's and anyio's tasks; many at once, in turn, closed too early.

And cancellation at every step that a loop takes: no outcome is lost, and no task is left.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread
import pytest

import clarifai_annotations
from clarifai_annotations import Client, NotFoundError
from clarifai_annotations._native import live_tasks  # for tests alone
from clarifai_annotations.emulator import Emulator
from conftest import KEY, client_of
from official_service import OfficialService, Recorded, arrival, when_released

Pair = tuple[str, str]

LOOPS = ["asyncio", "uvloop"]
PATIENCE = 30.0
"""Seconds after which something that has to come is a failure."""


def becomes_true(is_so: Callable[[], bool]) -> bool:
    """Whether it is so before patience is over: for what other threads do and nobody can await."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


@pytest.fixture(autouse=True)
def no_task_is_left() -> Iterator[None]:
    """Whatever a test does to its loops: once its clients are closed, the library has no task more."""
    # Other tests may have let go of clients without closing them, and some keep one: that of the functions.
    gc.collect()
    before = live_tasks()
    yield
    assert becomes_true(lambda: live_tasks() <= before), f"{live_tasks()} tasks, {before} before"


def new_event_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "asyncio":
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return loop


def run_in(kind: str, main: Callable[[], Awaitable[Any]]) -> Any:
    """Run it in a new loop of that kind, which is closed at the end."""

    async def within_patience() -> Any:
        task = asyncio.ensure_future(main())
        # Not `wait_for`, which would wait for ever for a call that does not end when it is cancelled.
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        assert done, "it did not end"
        return task.result()

    with closing(new_event_loop(kind)) as loop:
        return loop.run_until_complete(within_patience())


def run_in_anyio(kind: str, main: Callable[[], Awaitable[Any]]) -> Any:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": kind == "uvloop"})


def seed(emulator: Emulator, *pairs: Pair) -> None:
    for pair in pairs:
        emulator.add_annotation(*pair)


def begin_silently(call: Coroutine[Any, Any, Any]) -> None:
    """Begin a call in a task that asyncio does not complain of when it is destroyed."""
    task = asyncio.ensure_future(call)
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def left(emulator: Emulator) -> set[Pair]:
    return {(it.input_id, it.annotation_id) for it in emulator.annotations() if not it.input_level}


# Every kind of loop.


@pytest.mark.parametrize("run", [run_in, run_in_anyio])
@pytest.mark.parametrize("kind", LOOPS)
def test_the_three_functions_can_be_awaited_in(kind: str, run: Callable[..., Any]) -> None:
    async def delete(client: Client) -> None:
        await clarifai_annotations.delete_annotation_async("p", "single", client=client)
        report = await clarifai_annotations.delete_annotations_async(["p", "q"], ["a", "a"], client=client)
        assert (report.requested, report.deleted) == (2, 2)
        report = await clarifai_annotations.delete_input_annotations_async(["r"], client=client)
        assert (report.requested, report.deleted) == (1, 1)
        with pytest.raises(NotFoundError, match="single"):
            await clarifai_annotations.delete_annotation_async("p", "single", client=client, look_first=True)

    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, ("p", "single"), ("p", "a"), ("q", "a"), ("r", "a"), ("r", "b"), ("other", "a"))
        run(kind, lambda: delete(client))
        assert left(emulator) == {("other", "a")}


@pytest.mark.parametrize("kind", LOOPS)
def test_a_cancelled_task_waits_for_the_answer_on_its_way_in(
    kind: str, service: OfficialService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="clarifai_annotations")
    released = threading.Event()
    service.on_delete = when_released(released)

    async def cancel(client: Client) -> None:
        async def delete() -> None:
            await client.delete_annotations_async(["p", "q"], ["a", "b"])

        task = asyncio.ensure_future(delete())
        await arrival(service)
        # However often it is asked.
        for _ in range(3):
            assert task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    with client_of(service, batch_size=1, max_in_flight=1) as client:
        run_in(kind, lambda: cancel(client))
    assert "1 deleted, 1 unsent" in caplog.text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with Python 3.11")
@pytest.mark.parametrize("kind", LOOPS)
def test_a_timeout_block_of_asyncio_ends_the_call_in(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def delete(client: Client) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.delete_annotations_async(PAIRS_OF_TEN[0], PAIRS_OF_TEN[1])

    check_a_timeout(lambda client: run_in(kind, lambda: delete(client)), caplog)


@pytest.mark.parametrize("kind", LOOPS)
def test_wait_for_ends_the_call_in(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def delete(client: Client) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.delete_annotations_async(*PAIRS_OF_TEN), 0.05)

    check_a_timeout(lambda client: run_in(kind, lambda: delete(client)), caplog)


@pytest.mark.parametrize("kind", LOOPS)
def test_move_on_after_of_anyio_ends_the_call_in(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def delete(client: Client) -> None:
        # A cancel scope asks for the cancellation again at every turn of the loop until it comes.
        with anyio.move_on_after(0.05) as scope:
            await client.delete_annotations_async(*PAIRS_OF_TEN)
        assert scope.cancelled_caught

    check_a_timeout(lambda client: run_in_anyio(kind, lambda: delete(client)), caplog)


@pytest.mark.parametrize("kind", LOOPS)
def test_fail_after_of_anyio_ends_the_call_in(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def delete(client: Client) -> None:
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await client.delete_annotations_async(*PAIRS_OF_TEN)

    check_a_timeout(lambda client: run_in_anyio(kind, lambda: delete(client)), caplog)


PAIRS_OF_TEN = (["p"] * 10, [f"a{n}" for n in range(10)])


def check_a_timeout(run: Callable[[Client], None], caplog: pytest.LogCaptureFixture) -> None:
    """Ten requests, one after the other, do not get done; but what was done is in the log."""
    caplog.set_level(logging.INFO, logger="clarifai_annotations")
    with Emulator(latency=0.02) as emulator, emulator.client(batch_size=1, max_in_flight=1) as client:
        seed(emulator, *zip(*PAIRS_OF_TEN, strict=True))
        run(client)
        gone = 10 - len(left(emulator))
    assert gone < 10
    [line] = [record.getMessage() for record in caplog.records if record.name == "clarifai_annotations"]
    assert counts_of(line) == {"deleted": gone, "unsent": 10 - gone}


def counts_of(line: str) -> dict[str, int]:
    """The outcomes that a line of the log counts; both kinds that may come up are there."""
    counts, _, cause = line.partition(" (")
    assert cause, line
    return {"deleted": 0, "unsent": 0} | {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", counts)}


# Many loops.


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_in_many_threads_share_one_client_and_each_gets_its_own_outcomes(kind: str) -> None:
    loops, each = 6, 20
    together = threading.Barrier(loops)

    def thread(client: Client, who: int) -> None:
        thread_id = threading.get_ident()
        heard: list[bool] = []

        async def delete() -> None:
            loop = asyncio.get_running_loop()

            def hear(future: asyncio.Future[Any]) -> None:
                here = asyncio.get_running_loop() is loop is future.get_loop()
                heard.append(here and threading.get_ident() == thread_id)

            here = [
                asyncio.ensure_future(client.delete_annotation_async(f"p{who}", f"a{n}")) for n in range(each)
            ]
            absent = [
                asyncio.ensure_future(
                    client.delete_annotation_async(f"p{who}", f"absent{n}", look_first=True)
                )
                for n in range(each)
            ]
            bulk = asyncio.ensure_future(
                client.delete_annotations_async([f"q{who}"] * (who + 1), [f"a{n}" for n in range(who + 1)])
            )
            inputs = asyncio.ensure_future(
                client.delete_input_annotations_async([f"r{who}-{n}" for n in range(who + 1)])
            )
            everything: list[asyncio.Future[Any]] = [*here, *absent, bulk, inputs]
            for future in everything:
                future.add_done_callback(hear)
            assert await asyncio.gather(*here) == [None] * each
            for n, error in enumerate(await asyncio.gather(*absent, return_exceptions=True)):
                assert isinstance(error, NotFoundError)
                assert f'"absent{n}" of input "p{who}"' in str(error)
            assert (await bulk).deleted == (await inputs).deleted == who + 1
            assert asyncio.get_running_loop() is loop
            # Since CPython 3.12 a gather of what is done already does not let the loop go round to their callbacks.
            await asyncio.sleep(0)
            assert heard == [True] * len(everything)

        together.wait(timeout=PATIENCE)
        run_in(kind, delete)

    with Emulator(latency=(0.0, 0.005)) as emulator, emulator.client() as client:
        for who in range(loops):
            seed(emulator, *((f"p{who}", f"a{n}") for n in range(each)), (f"other{who}", "a"))
            seed(emulator, *((f"q{who}", f"a{n}") for n in range(who + 1)))
            seed(emulator, *((f"r{who}-{n}", "a") for n in range(who + 1)))
        with ThreadPoolExecutor(loops) as pool:
            for done in [pool.submit(thread, client, who) for who in range(loops)]:
                done.result(timeout=PATIENCE)
        assert left(emulator) == {(f"other{who}", "a") for who in range(loops)}


@pytest.mark.parametrize("runs", [2, 3])
def test_a_client_of_the_module_serves_one_asyncio_run_after_the_other(runs: int) -> None:
    program = f"""
import asyncio, os, sys
os.environ.update(
    CLARIFAI_USER_ID="emulator-user", CLARIFAI_APP_ID="emulator-app", CLARIFAI_PAT="{KEY}",
    CLARIFAI_API_BASE=sys.argv[1],
)
import clarifai_annotations
from clarifai_annotations import Client, delete_annotation_async

client = Client()
loops = []

async def main(run):
    loops.append(asyncio.get_running_loop())
    await client.delete_annotation_async("p", f"client-{{run}}")
    await delete_annotation_async("p", f"shared-{{run}}")
    report, nothing = await asyncio.gather(
        client.delete_annotations_async(["q"], [f"a{{run}}"]), client.delete_input_annotations_async([])
    )
    assert report.deleted == 1 and nothing.requested == 0
    client.delete_annotation_async("p", f"left-{{run}}").close()

for run in range({runs}):
    asyncio.run(main(run))
assert len(set(loops)) == {runs}
"""
    with Emulator() as emulator:
        for run in range(runs):
            seed(emulator, ("p", f"client-{run}"), ("p", f"shared-{run}"), ("q", f"a{run}"))
        command = [sys.executable, "-X", "dev", "-c", program, emulator.base_url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert left(emulator) == set()


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_that_is_closed_with_many_calls_under_way_does_no_harm(
    kind: str, service: OfficialService, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)

    async def begin(client: Client) -> None:
        calls: list[Coroutine[Any, Any, Any]] = []
        for n in range(50):
            calls.append(client.delete_annotation_async("p", f"single-{n}"))
        for n in range(10):
            calls.append(client.delete_annotations_async(["p", "q"], [f"pair-{n}", f"pair-{n}"]))
            calls.append(client.delete_input_annotations_async([f"r{n}"], progress=lambda _progress: None))
        for call in calls:
            begin_silently(call)
        await arrival(service)

    async def later(client: Client) -> None:
        await client.delete_annotation_async("p", "later")
        assert (await client.delete_annotations_async(["p"], ["later"])).deleted == 1

    with client_of(service, requests_per_second=None) as client:
        with closing(new_event_loop(kind)) as loop:
            loop.run_until_complete(begin(client))
        released.set()
        client.delete_annotation("p", "sync")
        for other in LOOPS:
            if other == "asyncio" or kind == "uvloop":
                run_in(other, lambda: later(client))
        client.delete_annotations(["p"], ["sync"])
        # Those whose task was destroyed have ended; nothing else is sent.
        named = {("p", f"single-{n}") for n in range(50)} | {(f"r{n}", "") for n in range(10)}
        named |= {(name, f"pair-{n}") for name in "pq" for n in range(10)} | {("p", "later"), ("p", "sync")}
        gone = {pair for call in service.calls for pair in pairs_in(call)}
        assert {("p", "later"), ("p", "sync")} < gone <= named
        del loop
        gc.collect()
    # pytest makes errors of what is raised where nobody can catch it; asyncio writes to its log.
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def pairs_in(call: Recorded) -> list[Pair]:
    """What a recorded deletion names; an input without an annotation where it is of whole inputs."""
    if call.method == "DeleteAnnotations" and not call.message.ids:
        return [(input_id, "") for input_id in call.message.input_ids]
    return call.pairs


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_that_are_closed_before_the_answer_leave_nothing_behind(
    kind: str, service: OfficialService, client: Client
) -> None:
    tasks = live_tasks()
    released = threading.Event()
    service.on_delete = when_released(released)

    def loop_of_a_call() -> weakref.ref[asyncio.AbstractEventLoop]:
        async def begin() -> None:
            begin_silently(client.delete_annotation_async("p", "a"))
            await arrival(service)

        with closing(new_event_loop(kind)) as loop:
            loop.run_until_complete(begin())
            return weakref.ref(loop)

    loops = [loop_of_a_call() for _ in range(3)]
    released.set()
    client.delete_annotation("p", "sync")
    client.close()
    # What a thread of ours lets go of without the GIL is let go of at the next call of ours.
    assert becomes_true(
        lambda: live_tasks() <= tasks and gc.collect() >= 0 and not any(loop() for loop in loops)
    )


# Tasks that wait for others.


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup came with Python 3.11")
@pytest.mark.parametrize("kind", LOOPS)
def test_a_task_group_of_asyncio_deletes_in_all_its_tasks(kind: str) -> None:
    async def delete(client: Client) -> None:
        async def one(n: int) -> None:
            await client.delete_annotation_async("p", f"a{n}")

        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(one(n))

    with Emulator(latency=0.002) as emulator, emulator.client() as client:
        seed(emulator, *(("p", f"a{n}") for n in range(30)), ("p", "other"))
        run_in(kind, lambda: delete(client))
        assert left(emulator) == {("p", "other")}


async def fail_beside(
    client: Client, service: OfficialService, released: threading.Event, group: Any
) -> None:
    """Begin a call for many in a group, and fail in another task while an answer is on its way."""

    async def many() -> None:
        await client.delete_annotations_async(["p", "q"], ["a", "b"])

    async def release() -> None:
        # All tasks of the group are cancelled in one go: when this one hears of it, the call has been told.
        try:
            await asyncio.Event().wait()
        finally:
            released.set()

    async def fail() -> None:
        await arrival(service)
        raise LookupError("made up")

    async with group:
        for task in (many, release, fail):
            if isinstance(group, anyio.abc.TaskGroup):
                group.start_soon(task)
            else:
                group.create_task(task())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup came with Python 3.11")
@pytest.mark.parametrize("group", ["asyncio", "anyio"])
def test_a_task_that_fails_ends_the_calls_of_its_group_and_their_answers_are_awaited(
    group: str, service: OfficialService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="clarifai_annotations")
    released = threading.Event()
    service.on_delete = when_released(released)

    async def main(client: Client) -> None:
        of_tasks = asyncio.TaskGroup() if group == "asyncio" else anyio.create_task_group()
        with pytest.raises(Exception, match="unhandled errors in a TaskGroup") as raised:
            await fail_beside(client, service, released, of_tasks)
        [error] = raised.value.exceptions  # type: ignore[attr-defined]  # a group, from CPython 3.11 on
        assert isinstance(error, LookupError)

    with client_of(service, batch_size=1, max_in_flight=1) as client:
        run_in("asyncio", lambda: main(client))
    assert "1 deleted, 1 unsent" in caplog.text
    assert len(service.calls) == 1


async def test_a_shielded_call_goes_on_when_the_task_that_awaits_it_is_cancelled(
    service: OfficialService, client: Client
) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    call = asyncio.ensure_future(client.delete_annotations_async(["p"], ["a"]))

    async def wait() -> None:
        await asyncio.shield(call)

    task = asyncio.ensure_future(wait())
    await arrival(service)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not call.done()
    released.set()
    assert (await call).deleted == 1


async def test_calls_that_are_pending_after_asyncio_wait_go_on(
    service: OfficialService, client: Client
) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    calls = [asyncio.ensure_future(client.delete_annotations_async(["p"], [box])) for box in "ab"]
    done, pending = await asyncio.wait(calls, timeout=0.02)
    assert (done, pending) == (set(), set(calls))
    released.set()
    done, pending = await asyncio.wait(calls, timeout=PATIENCE)
    assert (done, pending) == (set(calls), set())
    assert [call.result().deleted for call in calls] == [1, 1]


async def test_a_cancelled_gather_cancels_all_its_calls(
    service: OfficialService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="clarifai_annotations")
    released = threading.Event()
    service.on_delete = when_released(released)
    with client_of(service, batch_size=1, max_in_flight=1) as client:
        calls = [
            asyncio.ensure_future(client.delete_annotations_async(["p", "q"], [box, box])) for box in "ab"
        ]
        together = asyncio.gather(*calls)
        await arrival(service)
        together.cancel()
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await together
        # What is gathered is cancelled as a whole as soon as one of it is.
        await asyncio.wait(calls, timeout=PATIENCE)
        assert all(call.cancelled() for call in calls)
    lines = [record.getMessage() for record in caplog.records if record.name == "clarifai_annotations"]
    outcomes = [counts_of(line) for line in lines]
    assert sum(counts["deleted"] for counts in outcomes) == len(service.calls) <= 2
    assert sum(counts["deleted"] + counts["unsent"] for counts in outcomes) == 4


def test_threads_of_anyio_delete_with_the_blocking_functions() -> None:
    async def main(client: Client) -> None:
        def delete(box: str) -> None:
            client.delete_annotation("p", box)
            # And back into the loop, which is not blocked meanwhile.
            anyio.from_thread.run(client_delete_async, f"{box}-async")

        async def client_delete_async(box: str) -> None:
            await client.delete_annotation_async("p", box)

        async with anyio.create_task_group() as group:
            for n in range(8):
                group.start_soon(anyio.to_thread.run_sync, delete, f"a{n}")

    with Emulator(latency=0.002) as emulator, emulator.client() as client:
        seed(emulator, *(("p", f"a{n}{end}") for n in range(8) for end in ("", "-async")), ("p", "other"))
        run_in_anyio("asyncio", lambda: main(client))
        assert left(emulator) == {("p", "other")}


def test_a_portal_of_anyio_deletes_from_threads_without_a_loop() -> None:
    async def delete(client: Client, box: str) -> None:
        await client.delete_annotation_async("p", box)

    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, ("p", "called"), ("p", "started"), ("p", "other"))
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.call(delete, client, "called")
            portal.start_task_soon(delete, client, "started").result(timeout=PATIENCE)
        assert left(emulator) == {("p", "other")}


# Cancellation at every step.


@dataclass
class Begun:
    """A call under way, and what it names."""

    future: asyncio.Future[Any]
    units: list[set[Pair]]
    """What a report of it counts: the annotations of a pair, or of an input."""
    single: bool = False
    was_cancelled: bool = False
    has_begun: bool = True
    """Whether its coroutine ran before it was cancelled."""


INPUTS = [[f"r{size}-{n}" for n in range(size)] for size in (3, 4)]
BYSTANDERS = {("p", "other"), ("q5-0", "other"), ("s", "other")}


def pairs_of(size: int) -> list[Pair]:
    return [(f"q{size}-{n}", f"a{n}") for n in range(size)]


def begin(client: Client) -> list[Begun]:
    """Start a mix of calls. No two calls for many name as many: that tells their lines in the log apart."""
    calls: list[Begun] = []
    for n in range(5):
        single = asyncio.ensure_future(client.delete_annotation_async("p", f"a{n}"))
        calls.append(Begun(single, [{("p", f"a{n}")}], single=True))
    for size in (5, 6):
        named = pairs_of(size)
        pairs = asyncio.ensure_future(
            client.delete_annotations_async([it[0] for it in named], [it[1] for it in named])
        )
        calls.append(Begun(pairs, [{pair} for pair in named]))
    for named_inputs in INPUTS:
        inputs = asyncio.ensure_future(client.delete_input_annotations_async(named_inputs))
        calls.append(Begun(inputs, [{(name, "a"), (name, "b")} for name in named_inputs]))
    return calls


@contextmanager
def seeded_service() -> Iterator[tuple[Emulator, Client]]:
    with Emulator(latency=(0.0, 0.003), latency_back=(0.0, 0.003)) as emulator:
        seed(emulator, *(("p", f"a{n}") for n in range(5)), *pairs_of(5), *pairs_of(6), *BYSTANDERS)
        seed(emulator, *((name, box) for named in INPUTS for name in named for box in "ab"))
        with emulator.client(batch_size=2, max_in_flight=3) as client:
            yield emulator, client


async def drive(client: Client, steps: Iterator[int] | None) -> tuple[list[Begun], int]:
    """Start the calls, cancel each after as many steps of the loop as `steps` says, and await their ends.

    Gives the calls too, and how many steps it took until all were done.
    """
    calls = begin(client)
    order = [] if steps is None else sorted(((next(steps), n) for n in range(len(calls))), reverse=True)
    taken = 0
    deadline = time.monotonic() + PATIENCE
    while True:
        while order and order[-1][0] <= taken:
            call = calls[order.pop()[1]]
            was_done = call.future.done()
            call.has_begun = taken > 0
            call.was_cancelled = call.future.cancel()
            assert call.was_cancelled is not was_done
        if all(call.future.done() for call in calls):
            return calls, taken
        assert time.monotonic() < deadline, "a call did not end"
        taken += 1
        await asyncio.sleep(0)


def check(calls: list[Begun], there: set[Pair], lines: list[str]) -> None:
    """What every call says became of its annotations is what became of them."""
    assert there >= BYSTANDERS
    asked = {pair for call in calls for unit in call.units for pair in unit}
    assert there <= asked | BYSTANDERS
    counted = [counts_of(line) for line in lines]
    logged = {sum(counts.values()): counts for counts in counted}
    many = sorted(len(call.units) for call in calls if not call.single and call.has_begun)
    assert sorted(sum(counts.values()) for counts in counted) == many, "a line for each call for many"
    for call in calls:
        gone = sum(not unit & there for unit in call.units)
        untouched = sum(unit <= there for unit in call.units)
        assert gone + untouched == len(call.units), "an input is emptied as a whole"
        if not call.has_begun:
            assert (call.future.cancelled(), gone) == (True, 0)
            continue
        assert call.future.cancelled() is call.was_cancelled
        if call.single:
            # The outcome of one that was cancelled is nowhere to be read.
            if not call.was_cancelled:
                assert (call.future.result(), gone) == (None, 1)
            continue
        assert logged[len(call.units)] == {"deleted": gone, "unsent": untouched}
        if not call.was_cancelled:
            report = call.future.result()
            assert (report.deleted, report.unsent, gone) == (gone, untouched, len(call.units))


def spread(total: int, turns: int) -> list[int]:
    """The first steps, where calls are made and sent, every one; then as many over the rest of a run."""
    return sorted({*range(turns), *(total * n // turns for n in range(1, turns + 1))})


STAGGERED = {"all at once": 0, "one after the other": 1, "far apart": 40}


@pytest.mark.parametrize("apart", STAGGERED.values(), ids=STAGGERED)
@pytest.mark.parametrize("kind", LOOPS)
def test_a_cancellation_at_any_step_loses_no_outcome_and_leaves_no_task(
    kind: str, apart: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="clarifai_annotations")
    before = live_tasks()

    def run(steps: Iterator[int] | None) -> tuple[list[bool], set[Pair], int]:
        caplog.clear()
        with seeded_service() as (emulator, client):
            calls, taken = run_in(kind, lambda: drive(client, steps))
            there = left(emulator)
            ours = [record for record in caplog.records if record.name == "clarifai_annotations"]
            check(calls, there, [record.getMessage() for record in ours])
        assert becomes_true(lambda: live_tasks() <= before)
        return [call.was_cancelled for call in calls], there, taken

    cancelled, there, total = run(None)
    assert not any(cancelled)
    assert there == BYSTANDERS
    runs = [run(itertools.count(first, apart))[:2] for first in spread(total, 12)]
    cancelled, there = runs[0]
    assert cancelled[0], "a call that has just begun is not done"
    if apart:
        assert any(any(some) and not all(some) for some, _ in runs), "some were cancelled, some done"
    else:
        assert all(cancelled)
        assert runs[1][1] > BYSTANDERS, "nothing more is sent, so not everything is gone"
