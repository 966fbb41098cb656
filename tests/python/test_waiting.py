"""How calls wait: in threads, in event loops, in notebooks; and how they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import nbformat
import pytest
from nbclient import NotebookClient

from clarifai_annotations import ClarifaiError, Client
from conftest import KEY, client_of
from official_service import OfficialService, arrival, deletion_answer, when_released


async def test_a_sync_call_works_inside_a_running_event_loop(
    service: OfficialService, client: Client
) -> None:
    client.delete_annotation("photo", "box")
    assert len(service.calls) == 1


def test_a_blocked_call_lets_other_threads_run(service: OfficialService, client: Client) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(client.delete_annotation, "photo", "box")
        # Only a thread that gets the GIL can see the arrival and release the answer.
        assert service.arrived.wait(timeout=30)
        released.set()
        blocked.result(timeout=30)


async def test_an_awaited_call_lets_the_event_loop_run(service: OfficialService, client: Client) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    deletion = asyncio.ensure_future(client.delete_annotation_async("photo", "box"))
    await arrival(service)
    released.set()
    await deletion


async def test_awaited_calls_run_side_by_side(service: OfficialService, client: Client) -> None:
    together = threading.Barrier(3)

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        together.wait(timeout=30)
        return deletion_answer(10000)(request, context)

    service.on_delete = answer
    await asyncio.gather(*(client.delete_annotations_async(["photo"], [f"box-{n}"]) for n in range(3)))
    assert len(service.calls) == 3


async def test_cancelling_an_awaited_call_cancels_its_request(
    service: OfficialService, client: Client
) -> None:
    cancelled = threading.Event()

    def answer(_request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(cancelled.set)
        service.released.wait()

    service.on_delete = answer
    deletion = asyncio.ensure_future(client.delete_annotation_async("photo", "box"))
    await arrival(service)
    deletion.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deletion
    assert await asyncio.to_thread(cancelled.wait, 30)


async def test_a_cancelled_call_sends_nothing_more(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    with client_of(service, batch_size=1, max_in_flight=1, requests_per_second=None) as client:
        deletion = asyncio.ensure_future(client.delete_annotations_async(["p", "q", "r"], ["a", "b", "c"]))
        await arrival(service)
        deletion.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await deletion
        service.on_delete = deletion_answer(10000)
        await client.delete_annotation_async("other", "box")
    assert [call.method for call in service.calls] == ["DeleteAnnotations", "DeleteAnnotation"]


async def test_bad_ids_are_refused_before_anything_is_sent(service: OfficialService, client: Client) -> None:
    with pytest.raises(ValueError, match="input_id is an empty string"):
        await client.delete_annotation_async("", "box")
    assert service.calls == []


@pytest.mark.parametrize("timeout", [1e12, 1e300])
async def test_a_timeout_that_no_clock_can_hold_is_refused(
    timeout: float, service: OfficialService, client: Client
) -> None:
    with pytest.raises(ValueError, match="give at most 31536000 seconds, which is a year"):
        await client.delete_annotation_async("photo", "box", timeout=timeout)
    assert service.calls == []


def test_one_client_serves_many_threads_and_loops(service: OfficialService) -> None:
    async def awaited(client: Client, n: int) -> None:
        await client.delete_annotation_async("photo", f"box-{n}")

    with client_of(service, requests_per_second=None) as client, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(client.delete_annotation, "photo", f"box-{n}") for n in range(20)]
        calls += [pool.submit(lambda n=n: asyncio.run(awaited(client, n))) for n in range(20, 40)]  # type: ignore[misc]
        for call in calls:
            call.result(timeout=60)
    named = sorted(pair for call in service.calls for pair in call.pairs)
    assert named == sorted(("photo", f"box-{n}") for n in range(40))
    assert len({call.peer for call in service.calls}) == 1, "one connection for all of them"


async def test_a_client_is_an_async_context_manager_and_closes_at_the_end(service: OfficialService) -> None:
    async with client_of(service) as client:
        await client.delete_annotation_async("photo", "box")
    with pytest.raises(ClarifaiError, match="closed"):
        await client.delete_annotation_async("photo", "box")


BLOCKED = f"""
import sys
from clarifai_annotations import Client
client = Client(user_id="me", app_id="cats", pat="{KEY}", base_url=sys.argv[1])
try:
    client.delete_annotation("photo", "box")
except KeyboardInterrupt:
    print("interrupted")
"""


needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")


@contextlib.contextmanager
def running(program: str, service: OfficialService) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, service.base_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert service.arrived.wait(timeout=30)
            yield process
        finally:
            process.kill()


@needs_signals
def test_ctrl_c_ends_a_blocked_call(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    with running(BLOCKED, service) as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert output == "interrupted\n"


BLOCKED_MANY = f"""
import signal, sys, threading
from clarifai_annotations import Client

interrupted = threading.Event()
def interrupt(*frame):
    interrupted.set()
    signal.default_int_handler(*frame)
signal.signal(signal.SIGINT, interrupt)

noticed = threading.Event()
def told(progress):
    # The call has been told to end before it tells how far it is.
    if interrupted.is_set() and not progress.finished:
        noticed.set()

def tell():
    noticed.wait()
    print("interrupted", flush=True)
# This thread runs when the callback is over, not in the middle of it: a second Ctrl-C would be raised there.
sys.setswitchinterval(1000)
threading.Thread(target=tell, daemon=True).start()

client = Client(user_id="me", app_id="cats", pat="{KEY}", base_url=sys.argv[1], batch_size=1, max_in_flight=1)
try:
    client.delete_annotations(["p", "q"], ["a", "b"], progress=told)
except KeyboardInterrupt as interrupt:
    print(interrupt.report.deleted, interrupt.report.unknown, interrupt.report.unsent)
"""


def interrupt(process: subprocess.Popen[str]) -> None:
    """Send Ctrl-C to a process that runs `BLOCKED_MANY`, and wait until its call knows."""
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "interrupted\n"


@needs_signals
def test_ctrl_c_awaits_the_answers_on_their_way_and_brings_the_report(service: OfficialService) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    with running(BLOCKED_MANY, service) as process:
        interrupt(process)
        released.set()
        output, _ = process.communicate(timeout=30)
    assert output == "1 0 1\n"
    assert len(service.calls) == 1


@needs_signals
def test_a_second_ctrl_c_does_not_wait_for_answers(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    program = BLOCKED_MANY.replace(
        "    print(interrupt.report.deleted, interrupt.report.unknown, interrupt.report.unsent)",
        "    print(hasattr(interrupt, 'report'))",
    )
    with running(program, service) as process:
        interrupt(process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert output == "False\n"


async def test_a_cancelled_call_awaits_the_answers_on_their_way(
    service: OfficialService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="clarifai_annotations")
    released = threading.Event()
    service.on_delete = when_released(released)
    with client_of(service, batch_size=1, max_in_flight=1) as client:
        deletion = asyncio.ensure_future(client.delete_annotations_async(["p", "q"], ["a", "b"]))
        await arrival(service)
        assert deletion.cancel()
        assert not deletion.done()
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await deletion
    assert "1 deleted, 1 unsent" in caplog.text
    assert "the call was cancelled before it was done" in caplog.text


async def test_a_timeout_of_asyncio_cancels_the_call(service: OfficialService, client: Client) -> None:
    service.on_delete = service.never_answer
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.delete_annotation_async("photo", "box"), 0.05)


async def test_the_message_of_a_cancellation_is_kept(service: OfficialService, client: Client) -> None:
    service.on_delete = service.never_answer
    deletion = asyncio.ensure_future(client.delete_annotation_async("photo", "box"))
    await arrival(service)
    deletion.cancel("no longer needed")
    with pytest.raises(asyncio.CancelledError, match="no longer needed"):
        await deletion


def test_loops_that_are_gone_leave_nothing_behind(client: Client) -> None:
    def loop_of_a_call() -> weakref.ref[asyncio.AbstractEventLoop]:
        async def delete() -> weakref.ref[asyncio.AbstractEventLoop]:
            await client.delete_annotation_async("photo", "box")
            return weakref.ref(asyncio.get_running_loop())

        return asyncio.run(delete())

    loops = [loop_of_a_call() for _ in range(3)]
    # What a thread without the GIL lets go of is released by the next one that has it.
    client.delete_annotation("photo", "another")
    gc.collect()
    assert [loop() for loop in loops] == [None, None, None]


def test_a_loop_that_is_closed_before_the_answer_does_no_harm(
    service: OfficialService, client: Client
) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    loop = asyncio.new_event_loop()

    async def begin() -> asyncio.Future[None]:
        task = asyncio.ensure_future(client.delete_annotation_async("photo", "box"))
        await arrival(service)
        return task

    task = loop.run_until_complete(begin())
    loop.close()
    released.set()
    client.delete_annotation("photo", "another")
    assert len(service.calls) == 2
    # asyncio would complain of it where nobody hears of it.
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_both_kinds_of_call_work_in_the_cells_of_one_notebook(service: OfficialService) -> None:
    cells = [
        "from clarifai_annotations import Client",
        f"client = Client(user_id='me', app_id='cats', pat='{KEY}', base_url='{service.base_url}')",
        "client.delete_annotation('photo', 'box-1')",
        "await client.delete_annotation_async('photo', 'box-2')",
        "client.delete_annotations(['photo'], ['box-3'])",
        "await client.delete_annotations_async(['photo'], ['box-4'])",
        "client.delete_input_annotations(['photo-5'])",
        "await client.delete_input_annotations_async(['photo-6'])",
    ]
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]
    )
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert len(service.calls) == 6
    shown = notebook.cells[-1].outputs[0].data["text/plain"]
    assert shown.startswith("DeleteReport(requested=1, deleted=1")
