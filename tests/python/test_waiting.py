"""How calls wait: in threads, in event loops, in notebooks; and how they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import nbformat
import pytest
from nbclient import NotebookClient

from clarifai_annotations import ClarifaiError, Client
from conftest import KEY, client_of
from official_service import OfficialService, deletion_answer


def when_released(released: threading.Event) -> Any:
    """An answer that comes once the test says so."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        released.wait()
        return deletion_answer(10000)(request, context)

    return answer


async def arrival(service: OfficialService) -> None:
    """Wait, without blocking the loop, until the service has a call."""
    await asyncio.to_thread(service.arrived.wait)


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
    deletion = client.delete_annotation_async("photo", "box")
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
    deletion = client.delete_annotation_async("photo", "box")
    await arrival(service)
    deletion.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deletion
    assert await asyncio.to_thread(cancelled.wait, 30)


async def test_a_cancelled_call_sends_nothing_more(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    with client_of(service, batch_size=1, max_in_flight=1, requests_per_second=None) as client:
        deletion = client.delete_annotations_async(["p", "q", "r"], ["a", "b", "c"])
        await arrival(service)
        deletion.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await deletion
        service.on_delete = deletion_answer(10000)
        await client.delete_annotation_async("other", "box")
    assert [call.method for call in service.calls] == ["DeleteAnnotations", "DeleteAnnotation"]


async def test_bad_ids_are_refused_at_the_call_before_anything_is_awaited(client: Client) -> None:
    with pytest.raises(ValueError, match="input_id is an empty string"):
        client.delete_annotation_async("", "box")


def test_an_awaited_call_without_a_running_loop_says_so(service: OfficialService, client: Client) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        client.delete_annotation_async("photo", "box")
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


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_a_blocked_call(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    command = [sys.executable, "-c", BLOCKED, service.base_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert service.arrived.wait(timeout=30)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert output == "interrupted\n"


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
