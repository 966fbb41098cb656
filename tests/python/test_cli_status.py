"""`clarifai-annotations status`, and what a run with a journal says of an earlier one."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from clarifai_annotations import JournalError
from clarifai_annotations._native import journal_status
from clarifai_annotations.cli import run as run_module
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY
from copies import seed, sent
from official_service import OfficialService, deletion_answer
from test_cli import COMMAND, invoke, run, write

HEAD = "input_id,annotation_id"
PAIRS = [(f"photo-{number}", "box") for number in range(6)]
DELETE = ["delete", "labels.csv", "--yes", "--no-backup", "--journal", "run.journal"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of pairs."""
    monkeypatch.chdir(tmp_path)
    write("labels.csv", HEAD, *map(",".join, PAIRS))
    return tmp_path


@pytest.fixture
def emulator(clarifai_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The service of the environment."""
    monkeypatch.setenv("CLARIFAI_USER_ID", "emulator-user")
    monkeypatch.setenv("CLARIFAI_APP_ID", "emulator-app")
    monkeypatch.setenv("CLARIFAI_PAT", KEY)
    monkeypatch.setenv("CLARIFAI_API_BASE", clarifai_emulator.base_url)
    seed(clarifai_emulator, PAIRS)
    return clarifai_emulator


@pytest.fixture
def two_rows_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "ROWS_PER_CALL", 2)


def status(*options: str) -> Any:
    done = invoke("status", "run.journal", *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout) if options else done.stdout


@pytest.mark.usefixtures("emulator")
def test_the_status_of_a_run_that_is_done() -> None:
    assert invoke(*DELETE).exit_code == 0
    said = status("--output", "json")
    counts = {name: said[name] for name in ("requested", "deleted", "absent", "failed", "unknown", "unsent")}
    assert counts == {"requested": 6, "deleted": 6, "absent": 0, "failed": 0, "unknown": 0, "unsent": 0}
    assert (said["command"], said["journal"], said["state"]) == ("status", "run.journal", "finished")
    assert said["started_at"] <= said["finished_at"]
    assert "Deleted 6 of 6 annotations." in status()
    assert re.search(r"^Finished, since 2.*, finished on 2", status(), re.MULTILINE)


@pytest.mark.usefixtures("two_rows_a_call")
def test_the_status_of_a_run_that_was_stopped_counts_what_it_did_not_come_to(emulator: Emulator) -> None:
    emulator.inject(Fault.none(), Fault.status(11009))
    assert invoke(*DELETE).exit_code == 1
    said = status("--output", "json")
    assert {
        name: said[name] for name in ("state", "requested", "deleted", "failed", "unsent", "finished_at")
    } == {
        "state": "stopped",
        "requested": 6,
        "deleted": 2,
        "failed": 2,
        "unsent": 2,
        "finished_at": None,
    }
    assert [(part["part"], part["deleted"], part["failed"]) for part in said["parts"]] == [
        (0, 2, 0),
        (1, 0, 2),
    ]
    shown = status()
    assert ("Deleted 2 of 6 annotations." in shown, "Not sent yet: 2" in shown) == (True, True)


def test_the_status_of_a_run_is_seen_while_it_runs_and_after_a_kill(
    service: OfficialService, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"USER_ID": "me", "APP_ID": "cats", "PAT": KEY, "API_BASE": service.base_url}
    for name, value in settings.items():
        monkeypatch.setenv(f"CLARIFAI_{name}", value)
    never_answered = threading.Event()

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        if request.input_ids[0] != "photo-0":
            never_answered.set()
            return service.never_answer(request, context)
        return deletion_answer(10000)(request, context)

    service.on_delete = answer
    write("labels.csv", HEAD, *(f"photo-{number},box" for number in range(200)))
    with subprocess.Popen([COMMAND, *DELETE], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert never_answered.wait(timeout=30)
        seen = [status("--output", "json")]
        # The first answer is on its way to the log.
        while not seen[-1]["deleted"]:
            seen.append(status("--output", "json"))
        other = run("status", "run.journal")
        process.kill()
    after = status("--output", "json")
    expected = {"deleted": 128, "unknown": 72, "unsent": 0, "requested": 200}
    assert {name: seen[-1][name] for name in expected} == expected
    assert {name: after[name] for name in expected} == expected
    assert (seen[-1]["state"], after["state"]) == ("running", "stopped")
    assert ("Running, since" in other.stdout, "Deleted 128 of 200 annotations." in other.stdout) == (
        True,
        True,
    )


@pytest.mark.usefixtures("emulator")
def test_the_status_of_inputs_counts_inputs() -> None:
    write("inputs.csv", "input_id", "photo-0")
    assert invoke("delete-inputs", "inputs.csv", *DELETE[2:]).exit_code == 0
    assert "Deleted 1 of 1 input." in status()


@pytest.mark.parametrize("output", [[], ["--output", "json"]])
def test_there_is_no_status_of_a_journal_that_is_not_there(output: list[str]) -> None:
    done = invoke("status", "run.journal", *output)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: journal run.journal: cannot be used: there is no such journal\n"


def test_there_is_no_status_of_another_file() -> None:
    done = invoke("status", "labels.csv")
    assert done.exit_code == 2
    assert done.stderr == "Error: journal labels.csv: is there and is no journal: give another path\n"


@pytest.mark.usefixtures("two_rows_a_call")
def test_a_run_that_is_done_says_when_it_was_and_that_nothing_was_sent(emulator: Emulator) -> None:
    invoke(*DELETE)
    emulator.clear_requests()
    again = invoke(*DELETE)
    assert re.match(
        r"Finished on 2\d\d\d-\d\d-\d\d .* UTC, by the journal; nothing was sent\.\n", again.stdout
    )
    assert (again.exit_code, emulator.requests) == (0, [])
    said = json.loads(invoke(*DELETE, "--output", "json").stdout)
    assert (said["from_journal"], said["deleted"], said["requests"]) == (6, 6, 0)
    assert said["finished_at"] == status("--output", "json")["finished_at"]


@pytest.mark.usefixtures("two_rows_a_call")
def test_a_run_that_goes_on_says_how_much_an_earlier_one_did(emulator: Emulator) -> None:
    emulator.inject(Fault.none(), Fault.status(11009))
    invoke(*DELETE)
    emulator.clear_requests()
    again = invoke(*DELETE)
    assert "Of 2 annotations, the journal says what became of them earlier." in again.stdout
    assert "Finished on" not in again.stdout
    assert sent(emulator, "DeleteAnnotations") == PAIRS[2:]


@pytest.mark.usefixtures("emulator", "two_rows_a_call")
def test_a_journal_is_one_file_when_a_run_of_several_calls_is_done(folder: Path) -> None:
    invoke(*DELETE)
    assert sorted(it.name for it in folder.iterdir() if it.name.startswith("run.journal")) == ["run.journal"]


@pytest.mark.usefixtures("two_rows_a_call")
def test_what_an_earlier_run_left_and_cannot_be_folded_refuses_the_run(emulator: Emulator) -> None:
    Path("run.journal.partial").write_text("notes")
    first = invoke(*DELETE)
    assert first.exit_code == 0
    assert "run.journal.partial is there and is something else. Move it away" in first.stderr
    assert "The same command finds what it has to know in the logs beside it" in first.stderr
    emulator.clear_requests()
    again = invoke(*DELETE)
    assert (again.exit_code, emulator.requests) == (2, [])
    assert again.stderr.strip().endswith("Move it away. Nothing was sent")
    Path("run.journal.partial").unlink()
    assert "nothing was sent" in invoke(*DELETE).stdout


def test_no_status_is_read_of_a_folder(folder: Path) -> None:
    with pytest.raises(JournalError, match="it is a folder"):
        journal_status(folder)
