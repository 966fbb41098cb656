"""Signals that end a run of the command line: it is reported, and its files are complete."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from clarifai_grpc.grpc.api import service_pb2

from official_service import OfficialService, deletion_answer, status, when_released
from test_cli import COMMAND, write

pytestmark = [
    pytest.mark.usefixtures("folder", "hangups_count"),
    pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to one process"),
]

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

HEAD = "input_id,annotation_id"
DELETE = ["delete", "labels.csv", "--yes", "--no-backup", "--failures=f.csv", "--output=json"]

IN_CALLS_OF_ONE_ROW = """
from clarifai_annotations.__main__ import main
from clarifai_annotations.cli import run
run.ROWS_PER_CALL = 1
main()
"""

WITHOUT_HANGUPS = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""

# Only the first process of a session can have a terminal that sends it SIGHUP.
AT_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def account(account: OfficialService, folder: Path) -> OfficialService:
    """The same, with a file of IDs in the current folder."""
    assert Path().samefile(folder)
    write("labels.csv", HEAD, "photo,box-1", "photo,box-2", "photo,box-3")
    return account


@contextmanager
def start(
    *arguments: str, program: list[str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """The program as a process that does not outlive the test."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen([*(program or [COMMAND]), *arguments], text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def outcomes(path: str = "f.csv") -> list[str]:
    """The outcomes of a failures file."""
    with open(path, encoding="utf-8", newline="") as file:
        return [row["outcome"] for row in csv.DictReader(file)]


def after_the_first(account: OfficialService) -> threading.Event:
    """Have the service confirm the first deletion, and answer no other. Set when the second has arrived."""
    second = threading.Event()

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        if len(account.deletions) > 1:
            second.set()
            return account.never_answer(request, context)
        return deletion_answer(10000)(request, context)

    account.on_delete = answer
    return second


@pytest.mark.parametrize("number", STOPPING)
def test_a_run_of_several_calls_that_is_stopped_accounts_for_every_id(
    number: signal.Signals, account: OfficialService
) -> None:
    second = after_the_first(account)
    with start(*DELETE, program=[sys.executable, "-c", IN_CALLS_OF_ONE_ROW]) as process:
        assert second.wait(timeout=30)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    counts = json.loads(output)
    assert process.returncode == 128 + number, errors
    assert (counts["deleted"], counts["unknown"], counts["unsent"]) == (1, 1, 1)
    assert outcomes() == ["unknown", "unsent"]
    reason = "interrupted" if number == signal.SIGINT else f"interrupted by {number.name}"
    assert counts["stopped_by"] == reason


def test_a_second_signal_loses_nothing(account: OfficialService) -> None:
    second = after_the_first(account)
    with start(*DELETE, program=[sys.executable, "-c", IN_CALLS_OF_ONE_ROW]) as process:
        assert second.wait(timeout=30)
        for number in [*STOPPING, *STOPPING]:
            process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    counts = json.loads(output)
    assert process.returncode in {128 + number for number in STOPPING}, errors
    assert (counts["deleted"], counts["unknown"], counts["unsent"]) == (1, 1, 1)
    assert outcomes() == ["unknown", "unsent"]


def test_a_run_that_ignores_hangups_goes_on(account: OfficialService) -> None:
    account.on_delete = when_released(released := threading.Event())
    with start(*DELETE, program=[sys.executable, "-c", WITHOUT_HANGUPS, COMMAND]) as process:
        assert account.arrived.wait(timeout=30)
        process.send_signal(signal.SIGHUP)
        released.set()
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, json.loads(output)["deleted"]) == (0, 3), errors


def test_a_result_that_nobody_can_take_costs_no_failures_file(account: OfficialService) -> None:
    account.on_delete = account.never_answer
    reads, writes = os.pipe()
    with start(*DELETE, stdout=writes, stderr=writes) as process:
        os.close(writes)
        assert account.arrived.wait(timeout=30)
        os.close(reads)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert outcomes() == ["unknown"] * 3


@contextmanager
def at_its_own_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The program at a terminal that sends SIGHUP when it is closed: the process, and what closes the terminal."""
    pty = pytest.importorskip("pty")
    ours, its = pty.openpty()

    terminal: dict[str, Any] = {"stdin": its, "stdout": its, "stderr": its, "start_new_session": True}
    program = [sys.executable, "-c", AT_ITS_TERMINAL, COMMAND]
    with start(*arguments, program=program, **terminal) as process:
        os.close(its)
        yield process, ours


def test_a_terminal_that_closes_costs_no_failures_file(account: OfficialService) -> None:
    account.on_delete = account.never_answer
    with at_its_own_terminal(*DELETE) as (process, terminal):
        assert account.arrived.wait(timeout=30)
        os.close(terminal)
        assert process.wait(timeout=30) == 128 + signal.SIGHUP
    assert outcomes() == ["unknown"] * 3


def test_a_terminal_that_closes_at_the_question_leaves_nothing_behind(account: OfficialService) -> None:
    with at_its_own_terminal("delete", "labels.csv") as (process, terminal):
        shown = b""
        while not shown.endswith(b"[y/N] "):
            shown += os.read(terminal, 1)
        os.close(terminal)
        assert process.wait(timeout=30) in (2, 128 + signal.SIGHUP)
    assert account.deletions == []
    assert [path.name for path in Path().iterdir()] == ["labels.csv"]


def test_a_plan_that_is_stopped_reports_what_it_found(account: OfficialService) -> None:
    second = threading.Event()

    def answer(_request: Any, _context: grpc.ServicerContext) -> Any:
        if len(account.calls) > 1:
            second.set()
            account.released.wait()
        return service_pb2.MultiAnnotationResponse(status=status(10000))

    account.on_list = answer
    program = [sys.executable, "-c", IN_CALLS_OF_ONE_ROW]
    plan = ["plan", "labels.csv", "--rows=rows.csv", "--output=json"]
    with start(*plan, program=program) as process:
        assert second.wait(timeout=30)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    counts = json.loads(output)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert (counts["requested"], counts["absent"]) == (1, 1)
    assert counts["stopped_by"] == "interrupted by SIGTERM"
    assert Path("rows.csv").read_text().splitlines()[1:] == ["absent,photo,box-1,,,,"]
    assert counts["rows_lacking"] == "only the first 1 of 3 IDs were looked up"


def test_a_plan_that_is_stopped_before_it_found_anything_leaves_no_rows(account: OfficialService) -> None:
    account.on_list = account.never_answer
    with start("plan", "labels.csv", "--rows=rows.csv") as process:
        assert account.arrived.wait(timeout=30)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, Path("rows.csv").exists()) == (128 + signal.SIGTERM, "", False), (
        errors
    )
