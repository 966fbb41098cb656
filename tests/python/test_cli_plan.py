"""`clarifai-annotations plan` and `restore`: looking before, and taking back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from clarifai_annotations.cli import run as run_module
from clarifai_annotations.emulator import Emulator, Fault, annotation_from_json
from test_cli import QUICK, invoke, left, write

pytestmark = pytest.mark.usefixtures("folder")

ALL = [(f"photo-{photo}", f"box-{box}") for photo in (1, 2) for box in (1, 2, 3)]
BY_ALICE = '{"user_id": "alice", "status": {"code": 24150}, "created_at": "2026-01-31T12:00:00Z"}'


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """With two inputs of three annotations each."""
    for pair in ALL:
        clarifai_emulator.add_annotation(*pair, message=annotation_from_json(BY_ALICE))
    return clarifai_emulator


@pytest.fixture
def labels(emulator: Emulator) -> Path:
    """A file of two annotations that are there and one that is not; the first named twice."""
    assert emulator.requests == []
    return write(
        "labels.csv",
        "input_id,annotation_id",
        "photo-1,box-1",
        "photo-2,box-1",
        "photo-1,no-such",
        "photo-1,box-1",
    )


@pytest.fixture
def backup(emulator: Emulator) -> Path:
    """What a deletion of everything kept. Nothing is there any more."""
    write("inputs.csv", "input_id", "photo-1", "photo-2")
    assert invoke("delete-inputs", "inputs.csv", "--yes", "--backup", "kept.parquet").exit_code == 0
    assert left(emulator) == []
    return Path("kept.parquet")


# plan


def test_a_plan_deletes_nothing(labels: Path, emulator: Emulator) -> None:
    assert invoke("plan", labels).exit_code == 0
    assert (left(emulator), {it.method for it in emulator.requests}) == (ALL, {"ListAnnotations"})


def test_a_plan_says_what_would_go(labels: Path) -> None:
    text = invoke("plan", labels).stdout
    for line in ("To delete: 2 annotations", "Not there: 1", "Rows that repeat another: 1"):
        assert line in text.splitlines()


def test_a_plan_says_whose_annotations_would_go(labels: Path) -> None:
    words = [line.split() for line in invoke("plan", labels).stdout.splitlines()]
    assert ["2", "alice", "no", "ANNOTATION_SUCCESS"] in words


def test_a_plan_shows_the_first_rows(labels: Path) -> None:
    words = [line.split() for line in invoke("plan", labels).stdout.splitlines()]
    assert ["delete", "photo-1", "box-1", "alice", "ANNOTATION_SUCCESS", "2026-01-31"] in words
    assert ["absent", "photo-1", "no-such", "-", "-", "-"] in words


@pytest.mark.parametrize("rows_per_call", [100, 1], ids=["in one call", "in several calls"])
def test_a_plan_is_a_json_object_and_nothing_else(
    rows_per_call: int, labels: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", rows_per_call)
    counts = json.loads(invoke("plan", labels, "--output", "json", QUICK).stdout)
    assert counts.pop("elapsed") >= 0
    assert counts.pop("requests") == (1 if rows_per_call == 100 else 3)
    assert counts == {
        "command": "plan",
        "user_id": "emulator-user",
        "app_id": "emulator-app",
        "base_url": emulator.base_url,
        "requested": 3,
        "deletions": 2,
        "absent": 1,
        "spared": 0,
        "duplicates": 1,
        "kinds": [
            {"creator": "alice", "made_by_model": False, "status": "ANNOTATION_SUCCESS", "deletions": 2}
        ],
        "rows": 4,
        "stopped_by": None,
        "rows_file": None,
        "rows_lacking": None,
    }


def test_a_plan_of_inputs_spares_what_belongs_to_them(emulator: Emulator) -> None:
    write("inputs.csv", "input_id", "photo-1", "no-such")
    counts = json.loads(invoke("plan", "inputs.csv", "--inputs", "--output", "json").stdout)
    assert (counts["deletions"], counts["spared"], counts["absent"]) == (3, 1, 1)
    assert left(emulator) == ALL


def test_every_row_of_a_plan_can_be_written(labels: Path) -> None:
    assert invoke("plan", labels, "--rows", "rows.csv").exit_code == 0
    with open("rows.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(it["action"], it["input_id"], it["annotation_id"]) for it in rows] == [
        ("delete", "photo-1", "box-1"),
        ("delete", "photo-2", "box-1"),
        ("absent", "photo-1", "no-such"),
    ]


def test_the_rows_of_a_plan_do_not_go_over_a_file_that_is_there(labels: Path, emulator: Emulator) -> None:
    write("rows.csv", "something")
    done = invoke("plan", labels, "--rows", "rows.csv")
    assert (done.exit_code, "rows.csv is there already" in done.stderr, emulator.requests) == (2, True, [])


def test_a_plan_that_the_service_refuses_is_not_done(labels: Path, emulator: Emulator) -> None:
    emulator.inject(Fault.status(11002))
    done = invoke("plan", labels)
    assert (done.exit_code, "CONN_CREDENTIALS_INVALID" in done.stderr, done.stdout) == (1, True, "")


# restore


def test_a_backup_is_restored(backup: Path, emulator: Emulator) -> None:
    done = invoke("restore", backup)
    assert (done.exit_code, sorted(left(emulator))) == (0, ALL), done.stderr
    assert done.stdout.startswith("Restored 6 of 6 annotations in ")


def test_what_a_backup_holds_is_said_first(backup: Path) -> None:
    assert (
        "kept.parquet holds 6 annotations of emulator-user/emulator-app." in invoke("restore", backup).stderr
    )


def test_what_is_there_is_left_alone_and_no_failure(backup: Path, emulator: Emulator) -> None:
    emulator.add_annotation(*ALL[0])
    done = invoke("restore", backup)
    assert (done.exit_code, "There already: 1" in done.stdout) == (0, True)
    assert not list(Path().glob("clarifai-failures-*"))


def test_a_restoration_is_a_json_object_and_nothing_else(backup: Path, emulator: Emulator) -> None:
    emulator.add_annotation(*ALL[0])
    counts = json.loads(invoke("restore", backup, "--output", "json").stdout)
    for name in ("elapsed", "requests"):
        assert counts.pop(name) >= 0
    assert counts == {
        "command": "restore",
        "user_id": "emulator-user",
        "app_id": "emulator-app",
        "base_url": emulator.base_url,
        "requested": 6,
        "restored": 5,
        "present": 1,
        "failed": 0,
        "unknown": 0,
        "unsent": 0,
        "duplicates": 0,
        "retries": 0,
        "throttled": 0,
        "ok": True,
        "stopped_by": None,
        "warnings": [],
        "backup": "kept.parquet",
        "failures": None,
        "failures_lacking": None,
    }


def test_only_some_inputs_are_restored(backup: Path, emulator: Emulator) -> None:
    assert invoke("restore", backup, "--input-id", "photo-2").exit_code == 0
    assert left(emulator) == ALL[3:]


def test_the_inputs_to_restore_can_stand_in_a_file(backup: Path, emulator: Emulator) -> None:
    write("some.csv", "photo", "photo-1")
    options = ["--input-ids", "some.csv", "--input-column", "photo"]
    assert invoke("restore", backup, *options).exit_code == 0
    assert left(emulator) == ALL[:3]


def test_a_file_without_inputs_restores_nothing(backup: Path, emulator: Emulator) -> None:
    write("none.csv", "input_id")
    assert invoke("restore", backup, "--input-ids", "none.csv").exit_code == 0
    assert left(emulator) == []


def test_inputs_to_restore_are_checked_before_anything_is_sent(backup: Path, emulator: Emulator) -> None:
    emulator.clear_requests()
    write("some.csv", "input_id", "photo-1", " ")
    done = invoke("restore", backup, "--input-ids", "some.csv")
    assert (done.exit_code, "some.csv, line 3" in done.stderr, emulator.requests) == (2, True, [])


def test_what_is_not_restored_is_a_failure(backup: Path, emulator: Emulator) -> None:
    emulator.inject(Fault.status(11007).on("PostAnnotations"))
    done = invoke("restore", backup, "--failures", "failed.csv")
    assert (done.exit_code, left(emulator)) == (1, []), done.stdout
    assert pl.read_csv("failed.csv").height == 6


def test_what_stopped_a_restoration_is_said_in_its_own_words(backup: Path, emulator: Emulator) -> None:
    emulator.inject(Fault.status(11007).on("PostAnnotations"))
    assert "\nStopped: CONN_INSUFFICIENT_SCOPES (11007): " in invoke("restore", backup).stderr


@pytest.mark.parametrize("name", ["inputs.csv", "no-such.parquet"])
def test_what_is_no_backup_is_refused(name: str, emulator: Emulator) -> None:
    write("inputs.csv", "input_id", "photo-1")
    done = invoke("restore", name)
    assert (done.exit_code, name in done.stderr, emulator.requests) == (2, True, [])


def test_a_backup_of_another_app_is_refused(backup: Path, emulator: Emulator) -> None:
    emulator.clear_requests()
    done = invoke("restore", backup, "--app-id", "dogs")
    assert (done.exit_code, "emulator-app" in done.stderr, emulator.requests) == (2, True, [])
