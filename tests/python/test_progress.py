"""How far a call for many is: told to a callable, or shown as a bar."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
import pytest
import tqdm.notebook
from nbclient import NotebookClient

from clarifai_annotations import Client, DeletionError, Progress
from clarifai_annotations.emulator import Emulator
from clarifai_annotations.progress import Bar
from conftest import client_of
from official_service import OfficialService, deletion_answer

PAIRS = (["photo"] * 6, list("abcdef"))


def emulator_with(count: int, **options: Any) -> Emulator:
    emulator = Emulator(**options)
    for n in range(count):
        emulator.add_annotation("photo", f"box-{n}")
    return emulator


def test_a_callable_is_told_at_the_beginning_and_at_the_end(client: Client) -> None:
    told: list[Progress] = []
    client.delete_annotations(*PAIRS, progress=told.append)
    first, last = told[0], told[-1]
    assert (first.done, first.unsent, first.requests, first.time_left, first.finished) == (
        0,
        6,
        0,
        None,
        False,
    )
    assert (last.done, last.deleted, last.requests, last.time_left, last.finished) == (6, 6, 1, 0.0, True)


def test_a_callable_is_told_while_the_call_is_under_way_and_at_most_ten_times_a_second() -> None:
    told: list[Progress] = []
    with emulator_with(30, latency=0.1) as emulator, emulator.client(batch_size=1, max_in_flight=2) as client:
        report = client.delete_annotations(
            ["photo"] * 30, [f"box-{n}" for n in range(30)], progress=told.append
        )
    assert {progress.requested for progress in told} == {30}
    assert any(0 < progress.done < 30 for progress in told)
    assert all(sum((p.deleted, p.absent, p.failed, p.unknown, p.unsent)) == 30 for p in told)
    assert len(told) <= 2 + 10 * report.elapsed


def test_whole_inputs_have_progress_too(client: Client) -> None:
    told: list[Progress] = []
    client.delete_input_annotations(["p", "q"], progress=told.append)
    assert told[-1].deleted == 2


def test_a_blocking_call_tells_on_the_thread_of_its_caller(client: Client) -> None:
    threads = set()
    client.delete_annotations(*PAIRS, progress=lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


async def test_an_awaited_call_tells_in_the_event_loop() -> None:
    loops = []
    with emulator_with(6, latency=0.1) as emulator, emulator.client(batch_size=1, max_in_flight=1) as client:
        await client.delete_annotations_async(
            ["photo"] * 6,
            [f"box-{n}" for n in range(6)],
            progress=lambda _: loops.append(asyncio.get_running_loop()),
        )
    assert set(loops) == {asyncio.get_running_loop()}
    assert len(loops) > 2


class StopHereError(Exception):
    """What a callback raises in these tests."""


def raising_when(condition: Any) -> Any:
    def callback(progress: Progress) -> None:
        if condition(progress):
            raise StopHereError

    return callback


def test_an_exception_of_the_callback_stops_the_run_and_is_raised_with_the_report() -> None:
    ids = [f"box-{n}" for n in range(50)]
    with (
        emulator_with(50, latency=0.05) as emulator,
        emulator.client(batch_size=1, max_in_flight=1) as client,
    ):
        with pytest.raises(StopHereError) as raised:
            client.delete_annotations(["photo"] * 50, ids, progress=raising_when(lambda p: p.done > 0))
        report = raised.value.report  # type: ignore[attr-defined]
        assert report.deleted == len(emulator.requests) < 50
        assert report.unsent == 50 - report.deleted


async def test_an_exception_of_the_callback_stops_an_awaited_run_too() -> None:
    ids = [f"box-{n}" for n in range(50)]
    with (
        emulator_with(50, latency=0.05) as emulator,
        emulator.client(batch_size=1, max_in_flight=1) as client,
    ):
        with pytest.raises(StopHereError) as raised:
            await client.delete_annotations_async(
                ["photo"] * 50, ids, progress=raising_when(lambda p: p.done > 0)
            )
        assert raised.value.report.deleted == len(emulator.requests) < 50  # type: ignore[attr-defined]


@pytest.mark.parametrize("when", ["blocking", "awaited"])
async def test_an_exception_at_the_beginning_sends_nothing(
    when: str, service: OfficialService, client: Client
) -> None:
    async def delete() -> None:
        progress = raising_when(lambda _: True)
        if when == "blocking":
            client.delete_annotations(*PAIRS, progress=progress)
        else:
            await client.delete_annotations_async(*PAIRS, progress=progress)

    with pytest.raises(StopHereError):
        await delete()
    assert service.calls == []


def test_an_exception_at_the_end_is_raised_with_the_report_of_what_was_done(client: Client) -> None:
    with pytest.raises(StopHereError) as raised:
        client.delete_annotations(*PAIRS, progress=raising_when(lambda p: p.finished))
    assert raised.value.report.deleted == 6  # type: ignore[attr-defined]


def test_failures_are_raised_after_the_last_progress(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(11101)
    told: list[Progress] = []
    with pytest.raises(DeletionError):
        client.delete_annotations(*PAIRS, progress=told.append)
    assert (told[-1].finished, told[-1].absent) == (True, 6)


def test_a_callback_may_make_calls_of_its_own(service: OfficialService, client: Client) -> None:
    def callback(progress: Progress) -> None:
        if progress.finished:
            client.delete_annotation("photo", "another")

    client.delete_annotations(*PAIRS, progress=callback)
    assert [call.method for call in service.calls] == ["DeleteAnnotations", "DeleteAnnotation"]


def test_a_callback_may_make_a_call_that_waits_for_its_turn_behind_the_run() -> None:
    told: list[Progress] = []

    def callback(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 2:
            client.delete_annotation("photo", "another", timeout=20)

    with emulator_with(8) as emulator, emulator.client(requests_per_second=3, batch_size=1) as client:
        emulator.add_annotation("photo", "another")
        report = client.delete_annotations(["photo"] * 8, [f"box-{n}" for n in range(8)], progress=callback)
    assert (report.deleted, len(emulator.requests)) == (8, 9)


def test_a_callback_that_takes_its_time_keeps_nobody_else_waiting() -> None:
    ended = threading.Event()

    def callback(progress: Progress) -> None:
        if progress.finished or progress.requests == 0:
            return
        ended.wait(timeout=30)

    with emulator_with(8) as emulator, emulator.client(requests_per_second=3, batch_size=1) as client:
        emulator.add_annotation("photo", "another")

        def delete() -> None:
            client.delete_annotation("photo", "another", timeout=20)
            ended.set()

        other = threading.Timer(0.3, delete)
        other.start()
        client.delete_annotations(["photo"] * 8, [f"box-{n}" for n in range(8)], progress=callback)
        other.join()
    assert len(emulator.requests) == 9


def test_what_is_neither_a_bool_nor_callable_is_refused(service: OfficialService, client: Client) -> None:
    with pytest.raises(TypeError, match="progress is 'yes': give True for a bar, or a callable"):
        client.delete_annotations(*PAIRS, progress="yes")  # type: ignore[arg-type]
    assert service.calls == []


def test_a_sync_call_refuses_a_coroutine_function(service: OfficialService, client: Client) -> None:
    async def callback(_: Progress) -> None: ...

    advice = "give a plain function, or await the function of the same name that ends in _async"
    with pytest.raises(TypeError, match=advice):
        client.delete_annotations(*PAIRS, progress=callback)
    assert service.calls == []


async def test_an_awaited_call_awaits_a_coroutine_function(client: Client) -> None:
    told: list[Progress] = []

    async def callback(progress: Progress) -> None:
        await asyncio.sleep(0)
        told.append(progress)

    await client.delete_annotations_async(*PAIRS, progress=callback)
    assert (told[0].done, told[-1].done, told[-1].finished) == (0, 6, True)


async def test_an_exception_of_a_coroutine_function_ends_the_call(
    service: OfficialService, client: Client
) -> None:
    async def callback(_: Progress) -> None:
        await asyncio.sleep(0)
        raise StopHereError

    with pytest.raises(StopHereError):
        await client.delete_annotations_async(*PAIRS, progress=callback)
    assert service.calls == []


def test_true_shows_a_bar_with_what_is_done_and_throttled(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.delete_annotations(*PAIRS, progress=True)
    shown = capsys.readouterr().err
    assert "deleting: 100%" in shown
    assert "6/6" in shown
    assert "throttled=0" in shown


def test_the_bar_says_what_is_done_and_only_a_deletion_deletes(
    clarifai_emulator: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    clarifai_emulator.add_annotation("p", "a")
    with clarifai_emulator.client() as client:
        client.plan_deletion(["p"], ["a"], progress=True)
        client.delete_annotations(["p"], ["a"], backup=tmp_path / "backup", progress=True)
        client.restore_annotations(tmp_path / "backup", progress=True)
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    ends = [line.partition("|")[0] for line in lines if "1/1" in line]
    assert list(dict.fromkeys(ends)) == ["looking up: 100%", "deleting: 100%", "restoring: 100%"]


def test_false_shows_none(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.delete_annotations(*PAIRS, progress=False)
    assert capsys.readouterr().err == ""


def test_without_tqdm_a_warning_says_what_to_install_and_the_deletion_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.warns(UserWarning, match=r"pip install 'clarifai-annotations\[progress\]'"):
        assert client.delete_annotations(*PAIRS, progress=True).deleted == 6


def test_a_bar_and_a_callable_work_in_a_notebook(service: OfficialService) -> None:
    cells = [
        "from clarifai_annotations import Client\n"
        f"client = Client(user_id='me', app_id='cats', pat='made-up', base_url='{service.base_url}')",
        "report = client.delete_annotations(['p'], ['a'], progress=True)",
        "report = await client.delete_annotations_async(['p'], ['b'], progress=True)",
        "report = await client.delete_annotations_async(['p'], ['c'], progress=lambda p: print(p.done))",
    ]
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]
    )
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert [output.text for output in notebook.cells[3].outputs] == ["0\n1\n"]
    assert all("deleting" in str(cell.outputs) for cell in notebook.cells[1:3])


def test_the_bar_of_a_restoration_in_a_notebook_fills(tmp_path: Path) -> None:
    with emulator_with(7) as emulator, emulator.client() as client:
        client.delete_input_annotations(["photo"], backup=tmp_path / "backup.parquet")
        bar = Bar(tqdm.notebook.tqdm, "restoring")
        client.restore_annotations(tmp_path / "backup.parquet", progress=bar)
    _, widget, _ = bar._bar.container.children
    assert (widget.value, widget.max) == (7, 7)


def test_progress_tells_what_it_is_in_a_line(client: Client) -> None:
    told: list[Progress] = []
    client.delete_annotations(*PAIRS, progress=told.append)
    assert repr(told[0]).startswith("Progress(done=0, requested=6, rate=0, throttled=0, elapsed=")


async def test_a_cancelled_call_tells_a_last_time(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    told: list[Progress] = []
    with client_of(service) as client:
        deletion = asyncio.ensure_future(client.delete_annotations_async(*PAIRS, progress=told.append))
        await asyncio.to_thread(service.arrived.wait)
        deletion.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deletion
    assert (told[-1].finished, told[-1].unknown) == (True, 6)
