"""The files that the command line writes: each has a path of its own, is complete or says what it lacks, and is private."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clarifai_annotations import Client
from clarifai_annotations.cli import run as run_module
from clarifai_annotations.cli.id_files import id_file
from clarifai_annotations.cli.output_files import claim_backup, written_file
from clarifai_annotations.cli.run import FailuresFile, Totals
from clarifai_annotations.cli.run import run as run_calls
from clarifai_annotations.cli.stop_signals import StopSignals
from clarifai_annotations.emulator import Emulator, Fault
from official_service import OfficialService, deletion_answer
from test_cli import COMMAND, QUICK, invoke, left, limited, run, write

pytestmark = pytest.mark.usefixtures("folder")

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="uses what only POSIX has")

ALL = [("photo-1", "box-1"), ("photo-1", "box-2"), ("photo-2", "box-1")]
HEAD = "input_id,annotation_id"


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """With two inputs and three annotations."""
    for pair in ALL:
        clarifai_emulator.add_annotation(*pair)
    return clarifai_emulator


def rows_of(path: str | Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def there() -> set[str]:
    """The names of what is in the current folder."""
    return {path.name for path in Path().iterdir()}


# One path for two files

CLASHES: dict[str, tuple[list[str], list[str]]] = {
    "the same name": (["delete", "labels.csv", "--failures=X", "--backup=X"], ["--failures", "--backup"]),
    "a dot before it": (["delete", "labels.csv", "--failures=./X", "--backup=X"], ["--failures", "--backup"]),
    "by way of another folder": (
        ["delete", "labels.csv", "--failures=sub/../X", "--backup=X"],
        ["--failures", "--backup"],
    ),
    "by way of a linked folder": (
        ["delete", "labels.csv", "--failures=linked-sub/X", "--backup=sub/X"],
        ["--failures", "--backup"],
    ),
    "a symbolic link to nothing yet": (
        ["delete", "labels.csv", "--failures=to-X", "--backup=X"],
        ["--failures", "--backup"],
    ),
    "a symbolic link": (
        ["delete", "labels.csv", "--journal=to-kept", "--backup=kept.parquet"],
        ["--journal", "--backup"],
    ),
    "a hard link": (
        ["delete", "labels.csv", "--journal=also-kept", "--backup=kept.parquet"],
        ["--journal", "--backup"],
    ),
    "the journal and the failures": (
        ["delete", "labels.csv", "--journal=X", "--failures=X"],
        ["--journal", "--failures"],
    ),
    "the journal and the backup": (
        ["delete", "labels.csv", "--journal=X", "--backup=X"],
        ["--journal", "--backup"],
    ),
    "the backup beside a journal and the failures": (
        ["delete", "labels.csv", "--journal=X", "--failures=X.backup.parquet"],
        ["the backup beside --journal", "--failures"],
    ),
    "the IDs and the backup": (["delete", "labels.csv", "--backup=labels.csv"], ["FILE", "--backup"]),
    "the IDs and the journal": (["delete", "labels.csv", "--journal=./labels.csv"], ["FILE", "--journal"]),
    "the IDs and the failures": (["delete", "labels.csv", "--failures=labels.csv"], ["FILE", "--failures"]),
    "the inputs and the backup": (
        ["delete-inputs", "inputs.csv", "--backup=inputs.csv"],
        ["FILE", "--backup"],
    ),
    "the IDs and the rows of a plan": (["plan", "labels.csv", "--rows=labels.csv"], ["FILE", "--rows"]),
    "a backup's lock": (
        ["delete", "labels.csv", "--failures=X.lock", "--backup=X"],
        ["--failures", "--backup"],
    ),
    "a backup's log": (
        ["delete", "labels.csv", "--failures=./X.7.log", "--backup=X"],
        ["--failures", "--backup"],
    ),
    "a journal's lock": (
        ["delete", "labels.csv", "--backup=X.lock", "--journal=X"],
        ["--backup", "--journal"],
    ),
    "a journal's log of SQLite": (
        ["delete", "labels.csv", "--failures=X-wal", "--journal=X"],
        ["--failures", "--journal"],
    ),
    "the lock of a backup behind a link": (
        ["delete", "labels.csv", "--failures=kept.parquet.lock", "--backup=to-kept"],
        ["--failures", "--backup"],
    ),
    "the IDs and a backup's lock": (
        ["delete", "X.lock", "--format=csv", "--backup=X"],
        ["FILE", "--backup"],
    ),
    "the backup that is restored and the failures": (
        ["restore", "kept.parquet", "--failures=to-kept"],
        ["BACKUP", "--failures"],
    ),
    "the lock of the backup that is restored": (
        ["restore", "kept.parquet", "--failures=kept.parquet.lock"],
        ["BACKUP", "--failures"],
    ),
    "the inputs to restore and the failures": (
        ["restore", "kept.parquet", "--input-ids=inputs.csv", "--failures=inputs.csv"],
        ["--input-ids", "--failures"],
    ),
}


def content() -> dict[str, bytes]:
    """What is in every file of the current folder."""
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


@needs_posix
@pytest.mark.parametrize(("command", "options"), CLASHES.values(), ids=CLASHES)
def test_two_files_of_a_call_cannot_be_one(
    command: list[str], options: list[str], emulator: Emulator
) -> None:
    write("labels.csv", HEAD, "photo-1,box-1", "photo-1,no-such")
    write("X.lock", HEAD, "photo-1,box-1") if "X.lock" in command else None
    write("inputs.csv", "input_id", "photo-1")
    kept = ["--yes", "--backup=kept.parquet"]
    assert invoke("delete-one", "photo-2", "box-1", *kept).exit_code == 0
    Path("sub").mkdir()
    Path("linked-sub").symlink_to("sub")
    Path("to-X").symlink_to("X")
    Path("to-kept").symlink_to("kept.parquet")
    os.link("kept.parquet", "also-kept")
    emulator.clear_requests()
    before = content()
    done = invoke(*command, *([] if command[0] in ("plan", "restore") else ["--yes"]))
    assert (done.exit_code, emulator.requests) == (2, []), done.stdout + done.stderr
    assert all(option in done.stderr for option in options), done.stderr
    assert content() == before


def test_a_file_on_standard_input_cannot_be_written_to(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    before = content()
    with open("labels.csv", "rb") as given:
        done = run("delete", "-", "--yes", "--backup=labels.csv", stdin=given)
    assert (done.returncode, emulator.requests, content()) == (2, [], before), done.stderr
    assert "standard input" in done.stderr


def test_the_file_that_takes_the_result_cannot_be_the_backup(emulator: Emulator) -> None:
    with open("X", "wb") as result:
        command = [COMMAND, "delete-one", "photo-1", "box-1", "--yes", "--backup=X"]
        done = subprocess.run(command, stdout=result, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, emulator.requests) == (2, []), done.stderr
    assert "standard output" in done.stderr


@pytest.mark.usefixtures("emulator")
def test_two_files_that_are_only_read_may_be_one() -> None:
    kept = ["--yes", "--backup=kept.parquet"]
    assert invoke("delete-one", "photo-2", "box-1", *kept).exit_code == 0
    assert invoke("restore", "kept.parquet", "--input-ids=kept.parquet").exit_code == 0


@needs_posix
@pytest.mark.parametrize("option", ["--backup", "--journal", "--failures"])
def test_a_pipe_takes_no_file(option: str, emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    os.mkfifo("pipe")
    done = run("delete", "labels.csv", "--yes", f"{option}=pipe")
    assert (done.returncode, "pipe" in done.stderr, emulator.requests) == (2, True, []), done.stderr


@needs_posix
def test_a_pipe_cannot_be_restored_from(emulator: Emulator) -> None:
    os.mkfifo("pipe")
    done = run("restore", "pipe")
    assert (done.returncode, "pipe" in done.stderr, emulator.requests) == (2, True, []), done.stderr


@pytest.mark.parametrize("name", ["failed.tsv", "failed.jsonl", "failed.PARQUET"])
def test_a_name_that_says_another_format_is_refused_for_failures(name: str, emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    done = invoke("delete", "labels.csv", "--yes", "--failures", name)
    assert (done.exit_code, emulator.requests) == (2, [])
    assert f"{name} is written as CSV" in done.stderr


# A disk that is full


@pytest.fixture
def absent(folder: Path) -> Path:
    """A file of 300 pairs of which none is there."""
    assert Path().samefile(folder)
    return write("labels.csv", HEAD, *(f"photo-1,no-such-{number}" for number in range(300)))


@needs_posix
@pytest.mark.usefixtures("emulator", "absent")
def test_of_failures_that_do_not_fit_on_the_disk_the_count_is_told() -> None:
    done = limited(
        4096, "delete", "labels.csv", "--yes", "--no-backup", "--look-first", "--failures=f.csv", QUICK
    )
    written = rows_of("f.csv")
    assert 0 < len(written) < 300
    assert all(None not in row.values() for row in written)
    assert done.returncode == 1
    assert done.stdout.startswith("Deleted 0 of 300 annotations in ")
    assert "Not there: 300" in done.stdout
    lacking = f"only the first {len(written)} of 300 failures could be written: File too large"
    assert f"Failures: f.csv, {lacking}" in done.stdout


@needs_posix
@pytest.mark.usefixtures("emulator", "absent")
def test_failures_that_do_not_fit_on_the_disk_are_told_in_json() -> None:
    command = [
        "delete",
        "labels.csv",
        "--yes",
        "--no-backup",
        "--look-first",
        "--failures=f.csv",
        "--output=json",
        QUICK,
    ]
    done = limited(4096, *command)
    counts = json.loads(done.stdout)
    assert (done.returncode, counts["absent"], counts["failures"]) == (1, 300, "f.csv")
    lacking = f"only the first {len(rows_of('f.csv'))} of 300 failures could be written: File too large"
    assert counts["failures_lacking"] == lacking
    assert lacking in done.stderr


@needs_posix
def test_a_failures_file_that_cannot_be_begun_is_refused(emulator: Emulator) -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    done = limited(10, "delete", "labels.csv", "--yes", "--no-backup", "--failures=f.csv")
    assert (done.returncode, emulator.requests, there()) == (2, [], {"labels.csv"}), done.stderr
    assert "--failures f.csv cannot be written: File too large. Nothing was sent" in done.stderr


@needs_posix
def test_of_failures_to_restore_that_do_not_fit_the_count_is_told(emulator: Emulator) -> None:
    pairs = [("photo-1", f"box-{number}") for number in range(10, 110)]
    for pair in pairs:
        emulator.add_annotation(*pair)
    write("labels.csv", HEAD, *map(",".join, pairs))
    assert invoke("delete", "labels.csv", "--yes", "--backup=kept.parquet").exit_code == 0
    emulator.inject(Fault.status(11007).on("PostAnnotations"))
    done = limited(4096, "restore", "kept.parquet", "--failures=f.csv", "--output=json")
    counts = json.loads(done.stdout)
    written = len(rows_of("f.csv"))
    assert (done.returncode, 0 < written < 100) == (1, True), done.stderr
    lacking = f"only the first {written} of 100 failures could be written: File too large"
    assert counts["failures_lacking"] == lacking


@needs_posix
@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.usefixtures("emulator", "absent")
def test_of_rows_of_a_plan_that_do_not_fit_the_count_is_told(output: str) -> None:
    done = limited(4096, "plan", "labels.csv", "--rows=rows.csv", f"--output={output}", QUICK)
    written = len(rows_of("rows.csv"))
    lacking = f"only the first {written} of 300 rows could be written: File too large"
    assert (done.returncode, 0 < written < 300) == (1, True), done.stderr
    if output == "json":
        counts = json.loads(done.stdout)
        assert (counts["absent"], counts["rows_file"], counts["rows_lacking"]) == (300, "rows.csv", lacking)
    else:
        assert "Not there: 300" in done.stdout
        assert f"Rows: rows.csv, {lacking}" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="uses /dev/full")
@pytest.mark.usefixtures("emulator")
def test_counts_that_standard_output_does_not_take_go_to_standard_error() -> None:
    write("labels.csv", HEAD, "photo-1,box-1")
    with open("/dev/full", "w") as full:
        command = [COMMAND, "delete", "labels.csv", "--yes", "--no-backup", "--output=json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    reason, _, result = done.stderr.partition("\n")
    assert reason == "Standard output cannot be written: No space left on device"
    assert (done.returncode, json.loads(result)["deleted"]) == (1, 1)


# What is written can be read

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip() != "")
AWKWARD = [
    "a\rb",
    "a\r",
    "\ra",
    "\x00",
    "a\x00b",
    'a"b',
    '"',
    "a,b",
    "a\nb",
    "\r\n",
    " a ",
    "a\u2028b",
    "=1+1",
]


@given(rows=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5, unique=True), of_inputs=st.booleans())
@example(rows=[(f"x{text}", f"{text}x") for text in AWKWARD], of_inputs=False)
@example(rows=[("x" * 140_000, "y")], of_inputs=False)
def test_ids_in_the_failures_file_are_read_back_the_same(
    rows: list[tuple[str, str]], of_inputs: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("failures") / "f.csv"
    columns = ["input_id"] if of_inputs else ["input_id", "annotation_id"]
    with FailuresFile(written_file("--failures", path), of_inputs=of_inputs) as failures:
        failures.add_rows([row[: len(columns)] for row in rows], "failed", "why\rnot" * 20_000)
    with id_file(path, None, columns) as ids:
        assert list(ids) == list(dict.fromkeys(row[: len(columns)] for row in rows))


@pytest.mark.parametrize("text", AWKWARD)
def test_what_failed_can_be_tried_again_whatever_its_id(text: str, clarifai_emulator: Emulator) -> None:
    pair = (f"photo{text}1", f"box{text}1")
    clarifai_emulator.add_annotation(*pair)
    clarifai_emulator.inject(Fault.status(11002))
    Path("labels.jsonl").write_text(json.dumps({"input_id": pair[0], "annotation_id": pair[1]}))
    assert invoke("delete", "labels.jsonl", "--yes", "--no-backup", "--failures=f.csv").exit_code == 1
    assert left(clarifai_emulator) == [pair]
    done = invoke("delete", "f.csv", "--yes", "--no-backup")
    assert (done.exit_code, left(clarifai_emulator)) == (0, []), done.stderr


# Default names


def test_programs_that_start_at_once_take_names_of_their_own(emulator: Emulator) -> None:
    pairs = [("photo-3", f"box-{number}") for number in range(6)]
    for pair in pairs:
        emulator.add_annotation(*pair)
    for number, pair in enumerate(pairs):
        write(f"labels-{number}.csv", HEAD, ",".join(pair), "photo-3,no-such")
    started = [
        subprocess.Popen(
            [COMMAND, "delete", f"labels-{number}.csv", "--yes", "--output=json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(len(pairs))
    ]
    ended = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [1] * 6, ended
    results = [json.loads(output) for output, _ in ended]
    for pair, result in zip(pairs, results, strict=True):
        assert pl.read_parquet(result["backup"])["annotation_id"].to_list() == [pair[1]]
        assert [row["annotation_id"] for row in rows_of(result["failures"])] == ["no-such"]
    assert left(emulator) == ALL


def test_names_that_are_claimed_at_once_differ() -> None:
    begin = threading.Barrier(8)

    def claim(_: int) -> str:
        begin.wait()
        claimed = claimed_files.enter_context(claim_backup())
        return str(claimed)

    with ExitStack() as claimed_files, ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(claim, range(8)))) == 8
    assert there() == set()


def test_a_claim_that_another_file_has_replaced_is_left_alone() -> None:
    with claim_backup() as claimed:
        Path("other").touch()
        Path("other").replace(claimed)
    assert there() == {claimed.name}


def test_a_claim_that_holds_something_is_left_alone() -> None:
    with claim_backup() as claimed:
        claimed.write_text("annotations")
    assert there() == {claimed.name}


NOTHING_SAVED = {
    "a row is refused": ["photo-1,"],
    "nothing is there": ["photo-1,no-such"],
    "there are no rows": [],
}


@pytest.mark.parametrize("rows", NOTHING_SAVED.values(), ids=NOTHING_SAVED)
@pytest.mark.usefixtures("emulator")
def test_no_empty_file_is_left_where_nothing_was_saved_because(rows: list[str]) -> None:
    write("labels.csv", HEAD, *rows)
    done = invoke("delete", "labels.csv", "--yes", "--missing-ok")
    assert (there(), "Backup: " in done.stdout) == ({"labels.csv"}, False), done.stdout


# Rights


@needs_posix
@pytest.mark.usefixtures("emulator")
def test_what_holds_annotations_or_ids_is_for_its_owner_alone() -> None:
    write("labels.csv", HEAD, "photo-1,box-1", "photo-1,no-such")
    os.umask(umask := os.umask(0))
    assert umask & 0o044 == 0, "the test shows nothing"
    assert invoke("plan", "labels.csv", "--rows=rows.csv").exit_code == 0
    assert invoke("delete", "labels.csv", "--yes").exit_code == 1
    modes = {
        path.suffix: path.stat().st_mode & 0o777 for path in Path().iterdir() if path.name != "labels.csv"
    }
    assert modes == {".csv": 0o600, ".parquet": 0o600}


# Another folder


def test_a_run_writes_where_it_was_started_also_when_the_folder_changes(
    account: OfficialService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 1)
    write("labels.csv", HEAD, "photo,box-1", "photo,box-2")
    (elsewhere := folder / "elsewhere").mkdir()
    account.there = {("photo", "box-1"), ("photo", "box-2")}

    def change_folder(request: Any, context: grpc.ServicerContext) -> Any:
        os.chdir(elsewhere)
        account.there.clear()
        return deletion_answer(10000)(request, context)

    account.on_delete = change_folder
    options = ["--backup=kept.parquet", "--journal=run.journal", "--failures=failed.csv", "--output=json"]
    done = invoke("delete", "labels.csv", "--yes", *options)
    assert (done.exit_code, json.loads(done.stdout)["deleted"]) == (1, 1), done.stderr
    os.chdir(folder)
    assert there() >= {"kept.parquet", "run.journal", "failed.csv"}
    assert list(elsewhere.iterdir()) == []


# Errors that nobody expects


class BrokenError(Exception):
    """An error that is none of ours."""


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with emulator.client() as client:
        yield client


def stopped_in_the_second_call(error: BaseException, client: Client) -> tuple[Totals, list[dict[str, str]]]:
    """What a run of three calls comes to whose second call raises this, and its failures."""
    write("labels.csv", HEAD, *map(",".join, ALL))

    def call(number: int, part: Any) -> Any:
        if number == 1:
            raise error
        return client.delete_annotations(*(list(column) for column in zip(*part, strict=True)))

    with (
        StopSignals() as signals,
        id_file(Path("labels.csv"), None, HEAD.split(",")) as rows,
        FailuresFile(written_file("--failures", Path("f.csv"))) as failures,
    ):
        totals = run_calls(rows, call, failures, signals)
    return totals, rows_of("f.csv")


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "no luck"), BrokenError("bug"), SystemExit(1)])
def test_a_run_that_dies_of_any_error_accounts_for_every_id(
    error: BaseException, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 1)
    totals, failures = stopped_in_the_second_call(error, client)
    assert (totals.deleted, totals.unknown, totals.unsent, totals.ok) == (1, 1, 1, False)
    assert totals.stopped_by is error
    assert [(row["annotation_id"], row["outcome"]) for row in failures] == [
        ("box-2", "unknown"),
        ("box-1", "unsent"),
    ]


@needs_posix
def test_a_file_of_ids_that_vanishes_during_a_run_is_said_to_be_missing_from_the_failures(
    account: OfficialService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 1)
    write("labels.csv", HEAD, "photo,box-1", "photo,box-2", "photo,box-3")

    def remove(request: Any, context: grpc.ServicerContext) -> Any:
        Path("labels.csv").unlink(missing_ok=True)
        return deletion_answer(10000)(request, context)

    account.on_delete = remove
    done = invoke("delete", "labels.csv", "--yes", "--no-backup", "--failures=f.csv", "--output=json")
    counts = json.loads(done.stdout)
    assert (done.exit_code, counts["deleted"], counts["unsent"]) == (1, 1, 2), done.stderr
    assert counts["failures_lacking"].startswith("none of the 2 failures could be written: labels.csv")
