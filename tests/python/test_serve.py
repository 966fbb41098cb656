"""`clarifai-annotations serve` as a process of its own, driven by curl and by our client."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clarifai_annotations import Client, ThrottledError
from parent_death import end_with_parent
from test_cli import COMMAND, run

SEED = [
    {"id": "a", "input_id": "p", "data": {"concepts": [{"id": "cat", "value": 1.0}]}},
    {"id": "b", "input_id": "p"},
    {"id": "c", "input_id": "q"},
]


@pytest.fixture
def seed_file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(json.dumps(item) for item in SEED) + "\n\n")
    return path


@contextmanager
def served(*options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A server process, and the lines that it begins with."""
    command = [COMMAND, "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=end_with_parent()
    ) as process:
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip())
                if line.lstrip().startswith("curl "):
                    break
            yield process, lines
        finally:
            process.kill()


def environment(lines: list[str]) -> dict[str, str]:
    """The variables that it says to export."""
    return dict(re.findall(r"(CLARIFAI_\w+)=(\S+)", "\n".join(lines)))


def client_of(lines: list[str], monkeypatch: pytest.MonkeyPatch, **settings: object) -> Client:
    """A client made from nothing but what it says to export."""
    for name, value in environment(lines).items():
        monkeypatch.setenv(name, value)
    return Client(**settings)  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("tls", [[], ["--tls"]], ids=["plain", "TLS"])
def test_the_curl_command_that_it_prints_lists_the_seed(tls: list[str], seed_file: Path) -> None:
    with served("--seed-file", str(seed_file), *tls) as (_, lines):
        listed = subprocess.run(lines[-1].strip(), shell=True, capture_output=True, check=True, timeout=30)
    annotations = json.loads(listed.stdout)["annotations"]
    assert [it for it in annotations if not it.get("input_level")] == SEED


@pytest.mark.parametrize("tls", [[], ["--tls"]], ids=["plain", "TLS"])
def test_the_environment_that_it_prints_points_our_client_at_it(
    tls: list[str], seed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served("--seed-file", str(seed_file), *tls) as (_, lines):
        client = client_of(lines, monkeypatch)
        assert client.delete_annotations(["p", "q"], ["a", "c"]).deleted == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(number: signal.Signals) -> None:
    with served() as (process, _):
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "Stopped.\n")


PATH = "/v2/users/emulator-user/apps/emulator-app"


def status_of_deletion(url: str, body: object) -> int:
    """The status code of a deletion over REST."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Authorization": "Key emulator-key"}, method="DELETE")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["status"]["code"])
    except urllib.error.HTTPError as error:
        return int(json.load(error)["status"]["code"])


def test_its_quota_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with served("--requests-per-second", "1", "--latency-ms", "1") as (_, lines):
        client = client_of(lines, monkeypatch, requests_per_second=None, max_attempts=1)
        client.delete_annotation("p", "a", missing_ok=True)
        with pytest.raises(ThrottledError, match="exceeded limit of 1 requests per second"):
            client.delete_annotation("p", "a", missing_ok=True)


def test_a_missing_annotation_is_answered_as_its_options_say() -> None:
    options = ("--missing-pair", "success", "--missing-single", "success", "--success-code", "10001")
    with served(*options) as (_, lines):
        base = environment(lines)["CLARIFAI_API_BASE"]
        assert status_of_deletion(f"{base}{PATH}/inputs/p/annotations/a", None) == 10001
        assert status_of_deletion(f"{base}{PATH}/annotations", {"input_ids": ["p"], "ids": ["a"]}) == 10001


def test_a_request_over_its_limit_is_refused() -> None:
    with served("--max-message-bytes", "10") as (_, lines):
        base = environment(lines)["CLARIFAI_API_BASE"]
        assert status_of_deletion(f"{base}{PATH}/annotations", {"input_ids": ["p"], "ids": ["a"]}) == 40033


BAD_OPTIONS = {
    "--missing-pair": ("x", 'missing_pair is "x": give one of "success", "refused", "mixed", "failure"'),
    "--refused-pair": ("success", 'refused_pair is "success": give one of'),
    "--missing-single": ("x", 'missing_single is "x": give one of'),
    "--missing-input": ("x", 'missing_input is "x": give one of'),
    "--success-code": ("10010", "success_code is 10010: give one of"),
}


@pytest.mark.parametrize(("option", "value", "message"), [(it, *BAD_OPTIONS[it]) for it in BAD_OPTIONS])
def test_an_option_that_will_not_do_is_refused(option: str, value: str, message: str) -> None:
    done = run("serve", "--port", "0", option, value)
    text = re.sub(r"[\s│]+", " ", done.stderr)  # unwrap the box
    assert (done.returncode, message in text) == (2, True), text


BAD_SEEDS = {
    "not JSON": ("{", "line 2: "),
    "no ID": ('{"input_id": "p"}', "line 2: id is missing"),
    "a field that is not there": ('{"id": "z", "input_id": "p", "label": "cat"}', "line 2: .*label"),
    "there already": ('{"id": "a", "input_id": "p"}', "line 2: .*is there already"),
}


@pytest.mark.parametrize(("line", "message"), BAD_SEEDS.values(), ids=BAD_SEEDS)
def test_a_bad_line_of_the_seed_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": "a", "input_id": "p"}\n' + line)
    done = run("serve", "--port", "0", "--seed-file", str(path))
    text = re.sub(r"[\s│]+", " ", done.stderr)  # unwrap the box
    assert (done.returncode, bool(re.search(message, text))) == (2, True), text


def test_a_port_that_is_taken_is_named() -> None:
    with served() as (_, lines):
        port = environment(lines)["CLARIFAI_API_BASE"].rpartition(":")[2]
        done = run("serve", "--port", port)
    assert (done.returncode, f"port {port}" in done.stderr) == (2, True)
