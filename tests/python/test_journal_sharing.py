"""The files of a journal: who may open them, lock them, read them and write parts of them, while a call runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from child_calls import ChildCalls, child_calls
from clarifai_annotations import Client, JournalError
from clarifai_annotations._native import fold_journal, journal_status
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY, client_of
from copies import Pair, columns, seed, stored
from official_service import OfficialService, when_released
from test_journal import outcomes, outcomes_by_now

PAIRS: list[Pair] = [("p", "a"), ("q", "a"), ("p", "b")]

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no fork, and no named pipes in folders"
)


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    seed(clarifai_emulator, PAIRS)
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with emulator.client(request_timeout=3) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@contextlib.contextmanager
def call_under_way(service: OfficialService, path: Path) -> Iterator[tuple[Client, Future[Any]]]:
    """A call with a journal whose request has arrived and is not answered before `service.released` is set."""
    service.on_delete = when_released(service.released)
    with client_of(service, request_timeout=30) as client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.delete_annotations, *columns(PAIRS), journal=path)
        try:
            assert service.arrived.wait(timeout=30)
            yield client, call
        finally:
            service.released.set()


def of_several(path: Path, part: int) -> Any:
    """The journal of a call of a run of three IDs, which leaves its log: what the command line gives."""
    return path, part, 3


def in_another_process(calls: ChildCalls, service: OfficialService, path: Path) -> Any:
    """What the same call comes to that another process makes now."""
    settings = {"user_id": "me", "app_id": "cats", "pat": KEY, "base_url": service.base_url}
    calls.begin(service, "delete_annotations", *columns(PAIRS), settings=settings, journal=path)
    return calls.result()


def files_of(path: Path) -> list[str]:
    return sorted(it.name for it in path.parent.iterdir() if it.name.startswith(path.name))


# Exclusion


def test_a_part_that_another_call_writes_is_refused(service: OfficialService, path: Path) -> None:
    with call_under_way(service, path) as (client, first):
        with pytest.raises(JournalError) as raised:
            client.delete_annotations(*columns(PAIRS), journal=path)
        service.released.set()
        assert first.result(timeout=30).deleted == 3
    assert str(raised.value) == (
        f"journal {path}: is in use by another call: part 0 is being written. Wait for it, or give each call a part or a "
        "file of its own. Nothing was sent"
    )
    assert len(service.calls) == 1


def test_another_part_is_written_meanwhile(service: OfficialService, path: Path) -> None:
    with call_under_way(service, path) as (client, first), ThreadPoolExecutor(1) as pool:
        second = pool.submit(client.delete_annotations, *columns(PAIRS), journal=(path, 1))
        service.released.set()
        assert (first.result(timeout=30).deleted, second.result(timeout=30).deleted) == (3, 3)
    assert [outcome for part in (0, 1) for *_, outcome in outcomes(path, part)] == ["deleted"] * 6


@pytest.mark.parametrize("opener", ["sqlite3", "bytes", "a refused call"])
def test_whoever_opens_and_closes_the_files_lets_no_other_process_in(
    opener: str, calls: ChildCalls, service: OfficialService, path: Path
) -> None:
    with call_under_way(service, path) as (client, first):
        if opener == "sqlite3" and path.exists():
            with contextlib.closing(sqlite3.connect(path)) as journal, contextlib.suppress(sqlite3.Error):
                journal.execute("SELECT * FROM sqlite_schema").fetchall()
        elif opener == "bytes":
            for file in path.parent.iterdir():
                if file.is_file() and not file.name.endswith(".lock"):
                    file.read_bytes()
        else:
            with pytest.raises(JournalError):
                client.delete_annotations(*columns(PAIRS), journal=path)
        second = in_another_process(calls, service, path)
        service.released.set()
        assert first.result(timeout=30).deleted == 3
    assert (second["error"], "is in use by another call" in second["message"]) == ("JournalError", True)
    assert [outcome for *_, outcome in outcomes(path)] == ["deleted"] * 3


# Refused, so that the first call has an ID that it did not delete: a call that deleted everything raises nothing.
@pytest.mark.clarifai_emulator(missing_pair="refused")
def test_a_call_whose_lock_was_dropped_sends_nothing_more_once_another_has_its_part(
    calls: ChildCalls, emulator: Emulator, path: Path
) -> None:
    dropped = threading.Event()
    emulator.inject(Fault.none(), Fault.delayed(30))

    def drop_the_lock(_: Any) -> None:
        if not dropped.is_set() and len(emulator.requests) > 1:
            # To close a file drops the locks that its process has on it.
            path.with_name("journal.0.lock").read_bytes()
            calls.begin(emulator, "delete_annotations", *columns(PAIRS), journal=path)
            assert calls.result()["error"] is None
            dropped.set()

    with emulator.client(batch_size=1, max_in_flight=1, request_timeout=2) as client:
        report = None
        with pytest.raises(JournalError) as raised:
            client.delete_annotations(*columns(PAIRS), journal=path, progress=drop_the_lock)
        report = raised.value.report
    assert report is not None
    assert "journal.0.lock was removed" in str(raised.value) or "was moved or removed" in str(raised.value)
    assert (stored(emulator), [outcome for *_, outcome in outcomes(path)]) == ({}, ["deleted"] * 3)


FORKING = """
import json, os, sys, threading
from clarifai_annotations import Client, JournalError
from clarifai_annotations._native import journal_status

base_url, path = sys.argv[1:]
client = Client(user_id="emulator-user", app_id="emulator-app", pat="made-up", base_url=base_url)

def delete():
    return client.delete_annotations(["p", "q", "p"], ["a", "a", "b"], journal=path)

def is_under_way():
    try:
        return sum(part["unknown"] for part in json.loads(journal_status(path))) == 3
    except JournalError:
        return False  # it has not begun

first = threading.Thread(target=delete)
first.start()
while first.is_alive() and not is_under_way():
    pass
go_on, to_go_on = os.pipe()
if not (child := os.fork()):
    os.read(go_on, 1)
    report = delete()
    print("child", report.from_journal, report.requests, flush=True)
    os._exit(0)
first.join()
# The child lives on: what it has of its parent must lock nobody out.
print("parent", delete().from_journal, flush=True)
os.write(to_go_on, b"x")
os.waitpid(child, 0)
"""


@posix
def test_a_child_that_was_forked_during_a_call_holds_no_lock_and_may_make_the_call_itself(
    emulator: Emulator, path: Path
) -> None:
    emulator.inject(Fault.delayed(0.5))
    command = [sys.executable, "-c", FORKING, emulator.base_url, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("parent 3\nchild 3 0\n", 0), done.stderr
    assert (len(emulator.requests), stored(emulator)) == (1, {})


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_of_two_calls_that_begin_on_one_part_at_once_one_runs(
    where: str, service: OfficialService, path: Path
) -> None:
    service.on_delete = when_released(service.released)

    def begin(calls: ChildCalls | None, client: Client, start: threading.Barrier) -> str | None:
        start.wait(timeout=30)
        if calls is not None:
            result = in_another_process(calls, service, path)
            refused: str | None = result["error"] and result["message"]
        else:
            try:
                refused = (
                    None if client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3 else "?"
                )
            except JournalError as error:
                refused = str(error)
        # Nobody waits for a call that has been refused.
        if refused:
            service.released.set()
        return refused

    if where == "processes" and sys.platform == "win32":
        pytest.skip("Windows does not fork")
    start = threading.Barrier(2)
    with (
        client_of(service, request_timeout=30) as client,
        child_calls() if where == "processes" else contextlib.nullcontext() as one,
        child_calls() if where == "processes" else contextlib.nullcontext() as other,
        ThreadPoolExecutor(2) as pool,
    ):
        begun = [pool.submit(begin, calls, client, start) for calls in (one, other)]
        refusals = [it.result(timeout=60) for it in begun]
    assert refusals.count(None) == 1, refusals
    (refusal,) = filter(None, refusals)
    assert "is in use by another call: part 0 is being written" in refusal


# Several parts at once


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_parts_that_are_written_at_once_are_all_in_the_journal(
    where: str, emulator: Emulator, path: Path
) -> None:
    parts = [[(f"p{part}", f"a{n}") for n in range(40)] for part in range(6)]
    seed(emulator, [pair for pairs in parts for pair in pairs])
    if where == "threads":
        with emulator.client(batch_size=4) as client, ThreadPoolExecutor(6) as pool:
            work = [
                pool.submit(client.delete_annotations, *columns(pairs), journal=(path, part))
                for part, pairs in enumerate(parts)
            ]
            assert [it.result(timeout=60).deleted for it in work] == [40] * 6
    else:
        if sys.platform == "win32":
            pytest.skip("Windows does not fork")
        with contextlib.ExitStack() as children:
            begun = [children.enter_context(child_calls()) for _ in parts]
            for part, (calls, pairs) in enumerate(zip(begun, parts, strict=True)):
                calls.begin(
                    emulator,
                    "delete_annotations",
                    *columns(pairs),
                    settings={"batch_size": 4},
                    journal=(str(path), part),
                )
            assert [calls.result()["report"]["deleted"] for calls in begun] == [40] * 6
    for part, pairs in enumerate(parts):
        assert outcomes(path, part) == [(n, *pair, "deleted") for n, pair in enumerate(pairs)]
    assert files_of(path) == ["journal"]


def test_calls_that_leave_their_logs_have_them_folded_at_once(
    emulator: Emulator, client: Client, path: Path
) -> None:
    for part, pair in enumerate(PAIRS):
        client.delete_annotations(*columns([pair]), journal=of_several(path, part))
    assert files_of(path) == ["journal.0.log", "journal.1.log", "journal.2.log"]
    fold_journal(path)
    assert files_of(path) == ["journal"]
    assert [outcomes(path, part) for part in range(3)] == [[(0, *pair, "deleted")] for pair in PAIRS]
    emulator.clear_requests()
    assert client.delete_annotations(*columns(PAIRS[:1]), journal=of_several(path, 0)).from_journal == 1
    assert (emulator.requests, files_of(path)) == ([], ["journal"])


# Readers


def test_a_journal_is_read_at_any_time_by_anybody(service: OfficialService, path: Path) -> None:
    with client_of(service) as client:
        client.delete_annotations(*columns(PAIRS[:1]), journal=(path, 7))
    service.released.clear()
    service.arrived.clear()
    query = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT * FROM outcomes').fetchall())"
    with call_under_way(service, path) as (_, first):
        read = subprocess.run(
            [sys.executable, "-c", query, path], capture_output=True, text=True, check=True, timeout=60
        )
        (mine, other) = json.loads(journal_status(path))
        service.released.set()
        assert first.result(timeout=30).deleted == 3
    assert read.stdout.strip() == "[(7, 0, 'p', 'a', 'deleted', None, None)]"
    assert (mine["unknown"], mine["is_running"], mine["requested"]) == (3, True, 3)
    assert (other["deleted"], other["is_running"], other["part"]) == (1, False, 7)


def test_what_a_killed_call_sent_is_in_its_status(calls: ChildCalls, emulator: Emulator, path: Path) -> None:
    emulator.inject(Fault.none(), Fault.unanswered())
    calls.begin(
        emulator,
        "delete_annotations",
        *columns(PAIRS),
        settings={"batch_size": 1, "max_in_flight": 1, "requests_per_second": 10},
        journal=path,
    )
    assert calls.kill_when(lambda: len(emulator.requests) > 1) is None
    (part,) = json.loads(journal_status(path))
    counts = {name: part[name] for name in ("deleted", "unknown", "unsent", "is_running", "finished_at")}
    assert counts == {"deleted": 1, "unknown": 1, "unsent": 1, "is_running": False, "finished_at": None}


def test_a_reader_with_a_transaction_open_does_not_hinder_a_call(client: Client, path: Path) -> None:
    client.delete_annotations(*columns(PAIRS[:1]), journal=(path, 1))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM outcomes").fetchone() == (1,)
        assert client.delete_annotations(*columns(PAIRS[1:]), journal=path).deleted == 2
        # It sees the file that it opened.
        assert reader.execute("SELECT count(*) FROM outcomes").fetchone() == (1,)
    assert len(outcomes(path)) == 2


def test_there_is_no_status_of_a_journal_that_is_not_there(path: Path) -> None:
    with pytest.raises(JournalError, match="there is no such journal"):
        journal_status(path)
    assert files_of(path) == []


# Files


@posix
def test_the_files_of_a_journal_are_for_their_owner_alone(service: OfficialService, path: Path) -> None:
    old = os.umask(0)
    try:
        with call_under_way(service, path) as (_, first):
            modes = {it.name: oct(it.stat().st_mode & 0o777) for it in path.parent.glob("journal*")}
            service.released.set()
            first.result(timeout=30)
    finally:
        os.umask(old)
    assert modes == {"journal.0.lock": "0o600", "journal.0.log": "0o600"}
    assert oct(path.stat().st_mode & 0o777) == "0o600"


@posix
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_what_is_no_plain_file_is_refused_at_once(
    kind: str, emulator: Emulator, client: Client, path: Path
) -> None:
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(JournalError, match=f"journal {path}: cannot be used: it is a .*Nothing was sent"):
        client.delete_annotations(*columns(PAIRS), journal=path, timeout=20)
    assert emulator.requests == []


@posix
def test_a_link_is_followed_once(client: Client, path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to("elsewhere/kept")
    assert client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3
    assert path.is_symlink()
    assert client.delete_annotations(*columns(PAIRS), journal=tmp_path / "elsewhere/kept").from_journal == 3
    assert files_of(tmp_path / "elsewhere/kept") == ["kept"]


def test_a_relative_path_is_of_the_folder_in_which_the_call_was_made(
    service: OfficialService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with call_under_way(service, Path("run.journal")) as (_, first):
        monkeypatch.chdir(tmp_path / "other")
        service.released.set()
        assert first.result(timeout=30).deleted == 3
    assert ((tmp_path / "run.journal").exists(), list(Path().iterdir())) == (True, [])


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_a_journal_that_another_program_writes_is_left_alone(
    suffix: str, emulator: Emulator, client: Client, path: Path
) -> None:
    client.delete_annotations(*columns(PAIRS[:1]), journal=path)
    other = path.with_name(path.name + suffix)
    other.write_bytes(b"x")
    before = path.read_bytes()
    emulator.clear_requests()
    with pytest.raises(
        JournalError, match=rf"is being written by another program.*\({other.name} is there\)"
    ):
        client.delete_annotations(*columns(PAIRS[:1]), journal=path)
    assert (emulator.requests, path.read_bytes() == before) == ([], True)


def test_a_log_that_is_something_else_is_left_alone(emulator: Emulator, client: Client, path: Path) -> None:
    log = path.with_name("journal.0.log")
    log.write_text("notes of somebody else's")
    with pytest.raises(JournalError, match=r"journal\.0\.log is there and is something else\. Move it away"):
        client.delete_annotations(*columns(PAIRS), journal=path)
    assert (emulator.requests, log.read_text()) == ([], "notes of somebody else's")


def test_an_empty_file_becomes_a_journal(client: Client, path: Path) -> None:
    path.touch()
    assert client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3
    assert len(outcomes(path)) == 3


def test_a_log_that_cannot_be_folded_fails_no_call(
    client: Client, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.with_name("journal.partial").write_text("notes of somebody else's")
    assert client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3
    assert "journal.partial is there and is something else" in caplog.text
    assert "journal.0.log, where the next call with this journal finds them" in caplog.text
    path.with_name("journal.partial").unlink()
    assert client.delete_annotations(*columns(PAIRS), journal=path).from_journal == 3
    assert files_of(path) == ["journal"]


def test_a_log_that_lost_its_name_stops_the_run(emulator: Emulator, path: Path) -> None:
    emulator.inject(Fault.none(), Fault.delayed(0.3))

    def remove(_: Any) -> None:
        if len(emulator.requests) > 1:
            path.with_name("journal.0.log").unlink(missing_ok=True)

    with (
        emulator.client(batch_size=1, max_in_flight=1, requests_per_second=10) as client,
        pytest.raises(
            JournalError, match=r"was moved or removed while it was written.*was not sent"
        ) as raised,
    ):
        client.delete_annotations(*columns(PAIRS), journal=path, progress=remove)
    assert raised.value.report is not None
    assert raised.value.report.unsent == 1


def test_a_copy_of_the_files_is_a_journal_too(client: Client, path: Path, tmp_path: Path) -> None:
    client.delete_annotations(*columns(PAIRS), journal=of_several(path, 0))
    assert [outcome for *_, outcome in outcomes_by_now(path)] == ["deleted"] * 3
    shutil.copy(path.with_name("journal.0.log"), tmp_path / "copy.0.log")
    assert client.delete_annotations(*columns(PAIRS), journal=tmp_path / "copy").from_journal == 3
