"""`clarifai-annotations delete`, `delete-inputs` and `delete-one`: what is asked, kept, noted and said."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest

from clarifai_annotations import Client
from clarifai_annotations.cli import delete as delete_module
from clarifai_annotations.cli import run as run_module
from clarifai_annotations.cli.endings import RefusedError
from clarifai_annotations.cli.id_files import Rows
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY
from official_service import OfficialService, deletion_answer
from test_cli import COMMAND, QUICK, invoke, left, run, write

pytestmark = pytest.mark.usefixtures("folder", "hangups_count")

ALL = [(f"photo-{photo}", f"box-{box}") for photo in (1, 2) for box in (1, 2, 3)]
HEAD = "input_id,annotation_id"


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """With two inputs of three annotations each."""
    for pair in ALL:
        clarifai_emulator.add_annotation(*pair)
    return clarifai_emulator


def names(suffix: str) -> list[str]:
    """Files in the current folder."""
    return sorted(path.name for path in Path().iterdir() if path.name.endswith(suffix))


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sent(emulator: Emulator) -> list[tuple[str, str]]:
    """The pairs that deletions named, as often as they did."""
    deletions = [it for it in emulator.requests if it.method.startswith("Delete")]
    return [pair for it in deletions for pair in zip(it.input_ids, it.ids, strict=True)]


# Asking


@contextmanager
def at_a_terminal(
    *arguments: str,
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str], Callable[[str], None]]]:
    """The program at a pseudo-terminal: the process, a function that reads up to a text, and one that types."""
    pty = pytest.importorskip("pty")
    ours, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(
        [COMMAND, *arguments], stdin=its, stdout=its, stderr=its, env=environment
    ) as process:
        os.close(its)
        patience = threading.Timer(60, process.kill)
        patience.start()

        def read(until: str) -> str:
            text = ""
            while not text.endswith(until) or not until:
                try:
                    byte = os.read(ours, 1)
                except OSError:  # how Linux says that the other side is gone
                    break
                if not byte:
                    break
                text += byte.decode("latin-1")
            return text.replace("\r\n", "\n")

        try:
            yield process, read, lambda text: (os.write(ours, text.encode()), None)[1]
        finally:
            patience.cancel()
            process.kill()
            os.close(ours)


def answered(answer: str, *arguments: str) -> tuple[int, str, str]:
    """The exit code, what was shown before the question, and what after."""
    with at_a_terminal(*arguments) as (process, read, type_in):
        before = read("[y/N] ")
        type_in(answer)
        after = read("")
        return process.wait(timeout=60), before, after


def test_at_a_terminal_it_deletes_when_the_answer_is_yes(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    code, before, after = answered("y\n", "delete", "labels.csv")
    assert (code, left(emulator)) == (0, ALL[1:]), before + after


@pytest.mark.parametrize(
    "answer", ["n\n", "\n", "delete\n", "\x04"], ids=["n", "nothing", "a word", "end of file"]
)
def test_at_a_terminal_it_deletes_nothing_when_the_answer_is_not_yes(answer: str, emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    code, _, after = answered(answer, "delete", "labels.csv")
    assert (code, "Nothing was deleted" in after, left(emulator)) == (2, True, ALL), after


def test_ctrl_c_at_the_question_deletes_nothing(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    with at_a_terminal("delete", "labels.csv") as (process, read, type_in):
        read("[y/N] ")
        process.send_signal(signal.SIGINT)
        type_in("y\n")  # it may have come just before Python began to read
        read("")
        assert (process.wait(timeout=60), left(emulator)) == (130, ALL)


def test_the_question_comes_after_the_plan(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1", "photo-1,box-2", "photo-1,no-such", "photo-1,box-1")
    _, before, _ = answered("n\n", "delete", "labels.csv")
    for text in (
        f"App emulator-user/emulator-app at {emulator.base_url}",
        "To delete: 2 annotations",
        "Not there: 1",
        "Rows that repeat another: 1",
        "Backup: clarifai-backup-20",
        "Delete 2 annotations? [y/N] ",
    ):
        assert text in before


@pytest.mark.usefixtures("emulator")
def test_the_plan_of_inputs_says_what_is_left_alone() -> None:
    write("inputs.csv", "input_id", "photo-1")
    _, before, _ = answered("n\n", "delete-inputs", "inputs.csv")
    assert "Left alone: 1 input-level annotation\n" in before


@pytest.mark.usefixtures("emulator")
def test_the_plan_says_that_there_will_be_no_backup() -> None:
    _, before, _ = answered("n\n", "delete-one", "photo-1", "box-1", "--no-backup")
    assert "Backup: none. What is deleted cannot be brought back." in before


def test_what_is_beyond_the_cap_is_not_asked_for(emulator: Emulator) -> None:
    write("inputs.csv", "input_id", "photo-1")
    with at_a_terminal("delete-inputs", "inputs.csv", "--max-deletions", "2") as (process, read, _):
        shown = read("")
        assert (process.wait(timeout=60), "[y/N]" in shown, left(emulator)) == (2, False, ALL)


@pytest.mark.usefixtures("emulator")
def test_of_a_long_file_the_first_rows_are_looked_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delete_module, "PLANNED_ROWS", 2)
    monkeypatch.setattr("builtins.input", lambda: "n")
    with Client() as client:
        files = delete_module.Files(None, None, None)
        rows = Rows(*ALL)
        with pytest.raises(RefusedError):
            delete_module._ask(delete_module.Job("delete", client, rows, files))
    shown = capsys.readouterr().err
    assert "Of 6 annotations, the first 2 were looked up." in shown
    assert "Delete 6 annotations?" in shown


COMMANDS = {
    "delete": ["delete", "labels.csv"],
    "delete-inputs": ["delete-inputs", "inputs.csv"],
    "delete-one": ["delete-one", "photo-1", "box-1"],
}


@pytest.fixture
def files(folder: Path) -> Path:
    """What the commands are given."""
    write("labels.csv", HEAD, "photo-1,box-1")
    write("inputs.csv", "input_id", "photo-1")
    return folder


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.usefixtures("files")
def test_without_a_terminal_it_needs_to_be_told_yes(command: list[str], emulator: Emulator) -> None:
    done = invoke(*command)
    assert (done.exit_code, "say --yes" in done.stderr, emulator.requests) == (2, True, [])


# Backups


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.usefixtures("emulator", "files")
def test_a_dated_backup_is_kept_by_default(command: list[str]) -> None:
    assert invoke(*command, "--yes").exit_code == 0
    [name] = names(".parquet")
    assert re.fullmatch(r"clarifai-backup-\d{4}-\d\d-\d\dT\d{6}(-\d+)?\.parquet", name)
    assert "box-1" in pl.read_parquet(name)["annotation_id"].to_list()


@pytest.mark.usefixtures("emulator")
def test_the_default_backup_is_never_one_that_is_there() -> None:
    invoke("delete-one", "photo-1", "box-1", "--yes")
    invoke("delete-one", "photo-1", "box-2", "--yes")
    assert [pl.read_parquet(name).height for name in names(".parquet")] == [1, 1]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.usefixtures("emulator", "files")
def test_no_backup_keeps_none(command: list[str]) -> None:
    assert invoke(*command, "--yes", "--no-backup").exit_code == 0
    assert names(".parquet") == []


@pytest.mark.usefixtures("emulator")
def test_a_backup_that_is_named_is_added_to() -> None:
    for annotation_id in ("box-1", "box-2"):
        invoke("delete-one", "photo-1", annotation_id, "--yes", "--backup", "kept.parquet")
    assert pl.read_parquet("kept.parquet")["annotation_id"].to_list() == ["box-1", "box-2"]


def test_a_backup_and_none_exclude_each_other(emulator: Emulator) -> None:
    done = invoke("delete-one", "photo-1", "box-1", "--yes", "--backup", "kept.parquet", "--no-backup")
    assert (done.exit_code, "exclude each other" in done.stderr, emulator.requests) == (2, True, [])


def test_a_backup_that_cannot_be_written_stops_the_deletion(emulator: Emulator) -> None:
    done = invoke("delete-one", "photo-1", "box-1", "--yes", "--backup", "no-such-folder/kept.parquet")
    assert (done.exit_code, "no-such-folder" in done.stderr, left(emulator)) == (2, True, ALL)


@pytest.mark.usefixtures("emulator")
def test_the_backup_of_a_journal_stands_beside_it() -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    invoke("delete", "labels.csv", "--yes", "--journal", "run.journal")
    assert names(".parquet") == ["run.journal.backup.parquet"]


# Journals


def test_a_run_with_a_journal_goes_on_where_it_was_killed(account: OfficialService) -> None:
    pairs = [(f"photo-{number}", "box") for number in range(600)]
    write("labels.csv", HEAD, *map(",".join, pairs))
    account.there = set(pairs)
    confirmed: list[tuple[str, str]] = []
    third = threading.Event()

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        if len(account.deletions) > 2:
            third.set()
            return account.never_answer(request, context)
        return confirm(request, context)

    def confirm(request: Any, context: grpc.ServicerContext) -> Any:
        named = list(zip(request.input_ids, request.ids, strict=True))
        confirmed.extend(named)
        account.there -= set(named)
        return deletion_answer(10000)(request, context)

    account.on_delete = answer
    command = [COMMAND, "delete", "labels.csv", "--yes", "--no-backup", "--journal", "run.journal"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert third.wait(timeout=30)
        process.kill()
    account.on_delete = confirm
    done = run(*command[1:], "--output", "json")
    assert (done.returncode, json.loads(done.stdout)["deleted"]) == (0, 600), done.stderr
    assert sorted(confirmed) == sorted(pairs)


def test_a_journal_of_other_ids_is_refused(emulator: Emulator) -> None:
    for pair in ("photo-1,box-1", "photo-1,box-2"):
        write("labels.csv", HEAD, pair)
        done = invoke("delete", "labels.csv", "--yes", "--no-backup", "--journal", "run.journal")
    assert (done.exit_code, "run.journal" in done.stderr) == (2, True), done.stderr
    assert left(emulator) == ALL[1:]


def test_each_call_of_a_run_has_its_part_of_the_journal(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 2)
    write("labels.csv", HEAD, *map(",".join, ALL))
    command = ["delete", "labels.csv", "--yes", "--no-backup", "--journal", "run.journal"]
    assert invoke(*command).exit_code == 0
    emulator.clear_requests()
    done = invoke(*command, "--output", "json")
    assert (json.loads(done.stdout)["deleted"], sent(emulator)) == (6, [])


# Runs of several calls


def test_a_pair_that_is_repeated_in_another_call_is_sent_once(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 2)
    write("labels.csv", HEAD, *map(",".join, [*ALL, ALL[0], ALL[5]]))
    done = invoke("delete", "labels.csv", "--yes", "--no-backup", "--output", "json")
    counts = json.loads(done.stdout)
    assert (counts["rows"], counts["requested"], counts["deleted"], counts["duplicates"]) == (8, 6, 6, 2)
    assert sorted(sent(emulator)) == ALL


@pytest.mark.usefixtures("emulator")
def test_all_calls_share_one_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 2)
    write("labels.csv", HEAD, *map(",".join, ALL))
    invoke("delete", "labels.csv", "--yes", "--backup", "kept.parquet")
    assert pl.read_parquet("kept.parquet").height == 6


def test_a_call_with_failures_does_not_stop_the_next(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 2)
    emulator.lock(*ALL[0])
    write("labels.csv", HEAD, *map(",".join, ALL))
    assert invoke("delete", "labels.csv", "--yes", QUICK).exit_code == 1
    assert left(emulator) == ALL[:1]


def test_a_run_that_is_stopped_leaves_the_other_calls_unsent(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 2)
    emulator.inject(Fault.none(), Fault.status(11002))
    write("labels.csv", HEAD, *map(",".join, ALL))
    done = invoke(
        "delete", "labels.csv", "--yes", "--no-backup", "--output", "json", "--failures", "failed.csv"
    )
    counts = json.loads(done.stdout)
    assert (done.exit_code, counts["failed"], counts["unsent"]) == (1, 2, 2), done.stdout
    assert counts["stopped_by"].startswith("CONN_CREDENTIALS_INVALID (11002): ")
    assert [(it["input_id"], it["annotation_id"]) for it in rows_of("failed.csv")] == ALL[2:]


# Caps


def test_a_file_of_more_pairs_than_allowed_sends_nothing(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 2)
    write("labels.csv", HEAD, *map(",".join, ALL))
    done = invoke("delete", "labels.csv", "--yes", "--max-deletions", "5")
    assert (done.exit_code, "names 6 annotations" in done.stderr, emulator.requests) == (2, True, [])


@pytest.mark.usefixtures("emulator")
def test_repeated_pairs_count_once_for_the_cap() -> None:
    write("labels.csv", HEAD, *["photo-1,box-1"] * 3)
    assert invoke("delete", "labels.csv", "--yes", "--max-deletions", "1").exit_code == 0


@pytest.mark.parametrize("rows_per_call", [100, 1], ids=["in one call", "in two calls"])
def test_inputs_with_more_annotations_than_allowed_keep_all(
    rows_per_call: int, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", rows_per_call)
    write("inputs.csv", "input_id", "photo-1", "photo-2")
    done = invoke("delete-inputs", "inputs.csv", "--yes", "--max-deletions", "5")
    assert (done.exit_code, "more than 5" in done.stderr, left(emulator)) == (2, True, ALL), done.stderr


@pytest.mark.parametrize("rows_per_call", [100, 1], ids=["in one call", "in two calls"])
def test_inputs_with_as_many_annotations_as_allowed_lose_them(
    rows_per_call: int, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", rows_per_call)
    write("inputs.csv", "input_id", "photo-1", "photo-2")
    done = invoke("delete-inputs", "inputs.csv", "--yes", "--max-deletions", "6", QUICK)
    assert (done.exit_code, left(emulator)) == (0, []), done.stderr


# What is said


def test_the_counts_are_a_json_object_and_nothing_else(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1", "photo-1,no-such")
    done = invoke(
        "delete", "labels.csv", "--yes", "--backup", "b.parquet", "--failures", "f.csv", "--output", "json"
    )
    counts = json.loads(done.stdout)
    assert counts.pop("elapsed") >= 0
    assert counts.pop("requests") >= 2
    assert counts == {
        "command": "delete",
        "user_id": "emulator-user",
        "app_id": "emulator-app",
        "base_url": emulator.base_url,
        "rows": 2,
        "requested": 2,
        "deleted": 1,
        "absent": 1,
        "failed": 0,
        "unknown": 0,
        "unsent": 0,
        "retries": 0,
        "throttled": 0,
        "from_journal": 0,
        "finished_at": None,
        "duplicates": 0,
        "ok": False,
        "stopped_by": None,
        "warnings": [],
        "backup": "b.parquet",
        "journal": None,
        "failures": "f.csv",
        "failures_lacking": None,
    }


@pytest.mark.usefixtures("emulator")
def test_nothing_is_said_beside_the_result_where_there_is_no_terminal() -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    assert invoke("delete", "labels.csv", "--yes").stderr == ""


def test_a_bar_is_shown_at_a_terminal(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    with at_a_terminal("delete", "labels.csv", "--yes") as (process, read, _):
        assert re.search(r"Deleting .* 1/1, [\d,]+/s", read(""))
        assert (process.wait(timeout=60), left(emulator)) == (0, ALL[1:])


@pytest.mark.usefixtures("emulator")
def test_the_counts_are_told_in_words() -> None:
    write("labels.csv", HEAD, "photo-1,box-1", "photo-1,no-such", "photo-1,box-1")
    lines = invoke(
        "delete", "labels.csv", "--yes", "--backup", "b.parquet", "--failures", "f.csv"
    ).stdout.splitlines()
    assert lines[0].startswith("Deleted 1 of 2 annotations in ")
    assert lines[1:] == [
        "Not there: 1",
        "Rows that repeat another: 1",
        "Backup: b.parquet",
        "To take it back: clarifai-annotations restore b.parquet",
        "Failures: f.csv",
    ]


def test_failures_are_written_with_their_reasons(emulator: Emulator) -> None:
    emulator.lock(*ALL[0])
    write("labels.csv", HEAD, "photo-1,box-1", "photo-1,no-such", "photo-2,box-1")
    invoke("delete", "labels.csv", "--yes", QUICK)
    [name] = [name for name in names(".csv") if name.startswith("clarifai-failures-")]
    locked, absent = rows_of(name)
    assert (locked["input_id"], locked["annotation_id"], locked["outcome"]) == ("photo-1", "box-1", "failed")
    assert (locked["code"], locked["name"]) == ("24156", "ANNOTATION_PERMISSION_DENIED")
    assert (absent["annotation_id"], absent["outcome"]) == ("no-such", "absent")


def test_what_failed_can_be_tried_again_from_the_failures(emulator: Emulator) -> None:
    emulator.inject(Fault.status(11002))
    write("labels.csv", HEAD, *map(",".join, ALL))
    assert invoke("delete", "labels.csv", "--yes", "--no-backup", "--failures", "failed.csv").exit_code == 1
    assert invoke("delete", "failed.csv", "--yes", "--no-backup").exit_code == 0
    assert left(emulator) == []


@pytest.mark.usefixtures("emulator")
def test_without_failures_there_is_no_file_of_them() -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    invoke("delete", "labels.csv", "--yes")
    assert names(".csv") == ["labels.csv"]


@pytest.mark.usefixtures("emulator")
def test_what_is_missing_is_no_failure_when_that_is_ok() -> None:
    write("labels.csv", HEAD, "photo-1,no-such")
    assert invoke("delete", "labels.csv", "--yes", "--missing-ok").exit_code == 0
    assert names(".csv") == ["labels.csv"]


def test_a_failures_file_that_is_there_is_not_written_over(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    write("failed.csv", HEAD, "photo-1,box-2")
    done = invoke("delete", "labels.csv", "--yes", "--failures", "failed.csv")
    assert (done.exit_code, "failed.csv is there already" in done.stderr, emulator.requests) == (2, True, [])


def test_one_that_is_not_there_is_a_failure(emulator: Emulator) -> None:
    done = invoke("delete-one", "photo-1", "no-such", "--yes")
    assert (done.exit_code, "Not there: 1" in done.stdout, left(emulator)) == (1, True, ALL)


def test_an_id_can_begin_with_a_hyphen(emulator: Emulator) -> None:
    emulator.add_annotation("-photo", "--yes")
    assert invoke("delete-one", "--yes", "--", "-photo", "--yes").exit_code == 0
    assert left(emulator) == ALL


def test_a_blank_id_on_the_command_line_is_refused(emulator: Emulator) -> None:
    done = invoke("delete-one", "photo-1", " ", "--yes")
    assert (done.exit_code, "blank" in done.stderr, emulator.requests) == (2, True, [])


@pytest.mark.usefixtures("emulator")
def test_ids_cannot_draw_on_the_terminal() -> None:
    done = invoke("delete-one", "photo-1", "\x1b[2J[bold]", "--yes")
    assert "'\\x1b[2J[bold]'" in done.stderr


# How it ends


def test_a_setting_that_is_missing_is_bad_use(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLARIFAI_PAT")
    done = invoke("delete-one", "photo-1", "box-1", "--yes")
    assert (done.exit_code, "CLARIFAI_PAT" in done.stderr, emulator.requests) == (2, True, [])


@pytest.mark.parametrize(
    "option",
    ["--requests-per-second=0", "--timeout=nan", "--timeout=-1", "--max-deletions=-1", "--format=xls"],
)
def test_an_option_that_is_not_valid_is_bad_use(option: str, emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    assert invoke("delete", "labels.csv", "--yes", option).exit_code == 2
    assert emulator.requests == []


def test_options_come_before_the_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER_ID", "APP_ID", "API_BASE"):
        monkeypatch.delenv(f"CLARIFAI_{name}")
    emulator.add_annotation("photo", "box", user_id="me", app_id="dogs")
    options = ["--user-id", "me", "--app-id", "dogs", "--base-url", emulator.base_url]
    assert invoke("delete-one", "photo", "box", "--yes", *options).exit_code == 0
    assert left(emulator) == ALL


def test_a_run_that_is_out_of_time_says_so(account: OfficialService) -> None:
    account.on_delete = account.never_answer
    done = run("delete-one", "photo", "box", "--yes", "--no-backup", "--timeout", "0.1")
    assert (done.returncode, "Stopped: " in done.stderr) == (1, True), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to one process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_interrupted_reports_what_it_did(name: str, account: OfficialService) -> None:
    number = signal.Signals[name]
    account.on_delete = account.never_answer
    write("labels.csv", HEAD, "photo,box-1", "photo,box-2")
    command = [
        COMMAND,
        "delete",
        "labels.csv",
        "--yes",
        "--no-backup",
        "--output",
        "json",
        "--failures",
        "f.csv",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert account.arrived.wait(timeout=30)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    counts = json.loads(output)
    reason = "interrupted" if number == signal.SIGINT else f"interrupted by {name}"
    assert (process.returncode, counts["unknown"], counts["stopped_by"]) == (128 + number, 2, reason), errors
    assert [it["outcome"] for it in rows_of("f.csv")] == ["unknown", "unknown"]


def test_a_service_that_cannot_be_reached_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", KEY)
    options = ["--user-id=me", "--app-id=cats", "--base-url=http://127.0.0.1:1", "--timeout=1"]
    done = run("delete-one", "photo", "box", "--yes", "--no-backup", *options)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr


@pytest.mark.usefixtures("emulator")
def test_nobody_who_reads_the_result_is_no_traceback() -> None:
    command = f"{COMMAND} delete-one photo-1 box-1 --yes | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_the_key_is_in_nothing_that_is_said_or_written(account: OfficialService, folder: Path) -> None:
    account.on_delete = deletion_answer(11002, "bad key", f"the key was {KEY}")
    write("labels.csv", HEAD, "photo,box")
    done = run("delete", "labels.csv", "--yes", "--no-backup", "--journal", "j", "--failures", "f.csv")
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert account.deletions[0].metadata["authorization"] == f"Key {KEY}"
    assert KEY not in done.stdout + done.stderr + written.decode(errors="replace")
