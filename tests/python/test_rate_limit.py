"""One quota, whoever sends: clients, threads, forks and processes of one user share a rate limit."""

from __future__ import annotations

import logging
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import clarifai_annotations
from clarifai_annotations import Client
from clarifai_annotations.emulator import Emulator
from conftest import KEY

QUOTA = 15
EACH = 20
"""Requests that each of several sends: two that do not share send more than the quota in the first second."""

PROGRAM = """
import os, sys
from clarifai_annotations import Client

base_url, name, count, shared = sys.argv[1:]
settings = {"user_id": "emulator-user", "app_id": "emulator-app", "pat": "made-up", "base_url": base_url, "batch_size": 1}
client = Client(**settings, shared_rate_limit=shared == "True")
if name == "forks":
    client.delete_annotation("forks", "0")
print("ready", flush=True)
sys.stdin.readline()
if name == "forks":
    name = "parent" if os.fork() else "child"
client.delete_annotations([name] * int(count), [str(n) for n in range(int(count))], missing_ok=True)
"""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(requests_per_second=QUOTA, latency=0.01) as emulator:
        yield emulator


def throttled(emulator: Emulator) -> int:
    return sum(request.name == "CONN_THROTTLED" for request in emulator.requests)


def seed(emulator: Emulator, name: str, count: int = EACH) -> None:
    for n in range(count):
        emulator.add_annotation(name, str(n))


def client_of(emulator: Emulator, **settings: object) -> Client:
    own = {
        "user_id": "emulator-user",
        "app_id": "emulator-app",
        "pat": KEY,
        "base_url": emulator.base_url,
        "batch_size": 1,
    }
    return Client(**{**own, **settings})  # type: ignore[arg-type]


def delete(emulator: Emulator, *clients: Client) -> None:
    """Let each client delete at the same time."""
    boxes = [str(n) for n in range(EACH)]
    for number, client in enumerate(clients):
        for box in boxes:
            emulator.add_annotation(f"p{number}", box, user_id=client.user_id, app_id=client.app_id)
    with ThreadPoolExecutor(len(clients)) as threads:
        calls = [
            threads.submit(client.delete_annotations, [f"p{number}"] * EACH, boxes)
            for number, client in enumerate(clients)
        ]
        for call in calls:
            call.result()


@contextmanager
def program(
    emulator: Emulator, name: str, count: int = EACH, *, shared: bool = True
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, emulator.base_url, name, str(count), str(shared)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.close()


MADE: dict[str, Callable[[Emulator], list[Client]]] = {
    "one by one": lambda emulator: [client_of(emulator), client_of(emulator)],
    "of two apps": lambda emulator: [client_of(emulator), client_of(emulator).for_app("emulator-app")],
    "of one user in another spelling": lambda emulator: [
        client_of(emulator), client_of(emulator, user_id="Emulator-User", app_id="a")
    ],
    "at one service in two spellings": lambda emulator: [
        client_of(emulator, base_url=emulator.base_url.replace("127.0.0.1", "localhost")),
        client_of(emulator, base_url=emulator.base_url.replace("127.0.0.1", "LOCALHOST")),
    ],
    "of which one is not shared with other processes": lambda emulator: [
        client_of(emulator), client_of(emulator, shared_rate_limit=False)
    ],
}  # fmt: skip


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_clients_of_one_user_in_a_process_share_the_rate_limit(
    make: Callable[[Emulator], list[Client]], emulator: Emulator
) -> None:
    delete(emulator, *make(emulator))
    assert (len(emulator.requests), throttled(emulator)) == (2 * EACH, 0)


def test_a_copy_and_the_functions_of_the_module_share_it_too(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "API_BASE": emulator.base_url,
        "PAT": KEY,
        "USER_ID": "emulator-user",
        "APP_ID": "emulator-app",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"CLARIFAI_{name}", value)
    seed(emulator, "photo")
    client = Client()
    copy = pickle.loads(pickle.dumps(client))
    senders = [client.delete_annotation, copy.delete_annotation, clarifai_annotations.delete_annotation]
    for n in range(EACH):
        senders[n % 3]("photo", str(n))
    assert (len(emulator.requests), throttled(emulator)) == (EACH, 0)


def test_a_client_for_each_request_keeps_to_the_rate_limit(emulator: Emulator) -> None:
    seed(emulator, "photo")
    for n in range(EACH):
        with client_of(emulator, shared_rate_limit=False) as client:
            client.delete_annotation("photo", str(n))
    assert throttled(emulator) == 0


def test_the_strictest_client_sets_the_rate_for_all(emulator: Emulator) -> None:
    strict, other = client_of(emulator, requests_per_second=5), client_of(emulator, requests_per_second=100)
    delete(emulator, strict, other)
    assert throttled(emulator) == 0


def test_processes_of_a_user_share_the_rate_limit(emulator: Emulator) -> None:
    seed(emulator, "one")
    seed(emulator, "other")
    with program(emulator, "one") as one, program(emulator, "other") as other:
        go(one)
        go(other)
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert (len(emulator.requests), throttled(emulator)) == (2 * EACH, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_child_shares_the_rate_limit_with_its_parent(emulator: Emulator) -> None:
    for name in ("forks", "parent", "child"):
        seed(emulator, name)
    with program(emulator, "forks") as process:
        go(process)
        assert process.wait(60) == 0
        # The child's end of the pipe is closed when it is done.
        assert process.stdout is not None
        process.stdout.read()
    assert (len(emulator.requests), throttled(emulator)) == (2 * EACH + 1, 0)


def test_processes_that_do_not_share_it_are_throttled(emulator: Emulator) -> None:
    seed(emulator, "one")
    seed(emulator, "other")
    with program(emulator, "one", shared=False) as one, program(emulator, "other", shared=False) as other:
        go(one)
        go(other)
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert throttled(emulator) > 0


def test_a_killed_process_leaves_the_others_the_whole_rate(emulator: Emulator) -> None:
    seed(emulator, "one", 60)
    seed(emulator, "other", 10_000)
    with program(emulator, "one", 60) as one, program(emulator, "other", 10_000) as other:
        go(other)
        go(one)
        while not any("other" in request.input_ids for request in emulator.requests):
            assert other.poll() is None
        other.kill()
        assert one.wait(60) == 0
    assert throttled(emulator) == 0
    assert {
        it.annotation_id for it in emulator.annotations() if it.input_id == "one" and not it.input_level
    } == set()


def unwritable(folder: Path) -> None:
    folder.write_text("a file")


def open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def a_link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to("elsewhere")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
@pytest.mark.parametrize("make", [unwritable, open_to_all, a_link])
def test_a_folder_that_will_not_do_costs_the_sharing_and_one_line_of_the_log(
    make: Callable[[Path], None],
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="clarifai_annotations")
    folder = tmp_path / "shared"
    make(folder)
    monkeypatch.setenv("CLARIFAI_ANNOTATIONS_RUNTIME_DIR", str(folder))
    delete(emulator, client_of(emulator), client_of(emulator))
    assert throttled(emulator) == 0
    told = [
        record.getMessage()
        for record in caplog.records
        if "not shared with other processes" in record.getMessage()
    ]
    assert len(told) == 1
    assert f"because {folder} cannot be used: " in told[0]


def test_the_file_holds_no_id_and_no_key_and_is_the_users_alone(emulator: Emulator, home: Path) -> None:
    delete(emulator, client_of(emulator))
    [file] = (home / "runtime").iterdir()
    content = file.read_bytes()
    for secret in (KEY, "emulator-user", "emulator-app", "p0"):
        assert secret.encode() not in content
        assert secret not in file.name
    if sys.platform != "win32":
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_clients_of_an_emulator_leave_no_file(emulator: Emulator, home: Path) -> None:
    with emulator.client() as client:
        client.delete_annotations(["photo"], ["box"], missing_ok=True)
    assert not (home / "runtime").exists()


def test_a_client_may_find_out_the_rate_by_itself(emulator: Emulator) -> None:
    delete(emulator, client_of(emulator, requests_per_second="auto"))
    assert throttled(emulator) <= 1


def test_a_big_list_in_the_emulator_does_not_make_it_count_requests_late() -> None:
    with Emulator(requests_per_second=QUOTA) as emulator:
        for n in range(9_000):
            emulator.add_annotation("photo", str(n))
        with emulator.client() as client:
            report = client.delete_input_annotations(["photo"], max_deletions=10_000)
    assert (report.deleted, report.throttled) == (1, 0)


@contextmanager
def service_that_closes() -> Iterator[str]:
    """Accept connections and close each at once: a balancer without a service behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_connections_that_break_while_a_permit_is_waited_for_are_attempts() -> None:
    with (
        service_that_closes() as base_url,
        Client(
            user_id="me", app_id="cats", pat=KEY, base_url=base_url, batch_size=1, max_attempts=2, request_timeout=2,
            requests_per_second=5, max_in_flight=2,
        ) as client,
    ):  # fmt: skip
        report = client.delete_annotations(["photo"] * 4, list("abcd"), timeout=60, on_failure="report")
    assert report.deleted == 0
    assert not any("(timeout)" in failure.message for failure in report.failures)


def test_a_connection_that_closes_when_idle_does_not_keep_a_slow_client_from_sending() -> None:
    with Emulator() as emulator, client_of(emulator, requests_per_second=2) as client:
        seed(emulator, "photo", 4)
        for n in range(4):
            client.delete_annotation("photo", str(n))
            # What a balancer does to a connection that nobody uses.
            emulator.suspend()
            emulator.resume()
    assert [request.name for request in emulator.requests] == ["SUCCESS"] * 4


def test_a_closed_client_does_not_hold_the_others_down(emulator: Emulator) -> None:
    seed(emulator, "photo", 2)
    strict = client_of(emulator, requests_per_second=0.001)
    strict.delete_annotation("photo", "0")
    strict.close()
    client_of(emulator).delete_annotation("photo", "1", timeout=60)
    assert len(emulator.requests) == 2
