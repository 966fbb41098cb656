"""What the client writes to its log: the logger `clarifai_annotations`."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from clarifai_annotations import Client
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY, client_of
from official_service import OfficialService, deletion_answer


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="clarifai_annotations")


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    ours = [record for record in caplog.records if record.name == "clarifai_annotations"]
    return [record.getMessage() for record in ours if record.levelno == level]


def test_a_run_ends_with_its_counts(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.delete_annotations(["p", "q"], ["a", "b"])
    [line] = lines(caplog, logging.INFO)
    assert line.startswith("2 deleted (1 requests, 0 retries, 0 throttled) in ")


def test_a_run_that_is_stopped_says_why(
    service: OfficialService, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    service.on_delete = deletion_answer(11009, "API key not found")
    client.delete_annotations(["p"], ["a"], on_failure="report")
    [line] = lines(caplog, logging.INFO)
    assert line.startswith("1 failed (1 requests")
    assert line.endswith("CONN_KEY_NOT_FOUND (11009): API key not found")


def test_somebody_else_who_uses_the_quota_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with Emulator(requests_per_second=3) as emulator:
        for n in range(12):
            emulator.add_annotation("p", f"a{n}")
        with emulator.client(requests_per_second=5, batch_size=1) as client:
            client.delete_annotations(["p"] * 12, [f"a{n}" for n in range(12)])
    assert lines(caplog, logging.WARNING) == [
        "the service throttles: somebody else uses the same quota. The rate limit is lowered from 5 to 3 requests at a "
        "time, and is raised as far as the service lets it"
    ]


def test_what_is_retried_and_split_is_told_for_those_who_look_closely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Emulator() as emulator, emulator.client() as client:
        for box in "abcd":
            emulator.add_annotation("p", box)
        emulator.lock("p", "c")
        emulator.inject(Fault.throttled())
        client.delete_annotations(["p"] * 4, list("abcd"), on_failure="report")
    told = lines(caplog, logging.DEBUG)
    assert told[0].startswith("attempt 1 of a request failed and is retried: CONN_THROTTLED (11005)")
    assert told[1].startswith("a request failed: ANNOTATION_PERMISSION_DENIED (24156)")
    assert "a refused batch of 4 is split" in told


def test_the_key_is_in_no_line(service: OfficialService, caplog: pytest.LogCaptureFixture) -> None:
    for code in [10000, 11009, 11005, 24156, 10020]:
        service.on_delete = deletion_answer(code)
        with client_of(service, max_attempts=2) as client:
            client.delete_annotations(["p", "q"], ["a", "b"], on_failure="report")
    assert len(caplog.records) > 5
    assert all(KEY not in record.getMessage() + str(record.__dict__) for record in caplog.records)


def test_libraries_below_write_nothing_under_our_name_or_theirs(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.delete_annotation("p", "a")
    assert {record.name.partition(".")[0] for record in caplog.records} <= {"asyncio", "clarifai_annotations"}


def test_a_program_that_does_not_ask_for_logs_sees_only_warnings() -> None:
    program = """
from clarifai_annotations.emulator import Emulator
with Emulator(requests_per_second=3) as emulator, emulator.client(requests_per_second=5, batch_size=1) as client:
    boxes = [f"a{n}" for n in range(12)]
    for box in boxes:
        emulator.add_annotation("p", box)
    client.delete_annotations(["p"] * 12, boxes)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    [line] = run.stderr.splitlines()
    assert line.startswith("the service throttles: somebody else uses the same quota.")
