"""Networks that fail: what became of every annotation, and what the error tells its reader to do."""

from __future__ import annotations

import contextlib
import datetime
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from clarifai_annotations import Client, DeadlineError, Progress, TransportError
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY
from official_client import left
from official_service import certificate, official_service


def client_at(base_url: str, **settings: Any) -> Client:
    """A client of an emulator's app, or of any app, at that address."""
    settings = {"requests_per_second": None, **settings}
    return Client(user_id="emulator-user", app_id="emulator-app", pat=KEY, base_url=base_url, **settings)


def seeded(count: int, **conduct: Any) -> Emulator:
    """An emulator with so many annotations on one photo."""
    emulator = Emulator(**conduct)
    for n in range(count):
        emulator.add_annotation("photo", f"box-{n}")
    return emulator


def boxes(count: int) -> list[str]:
    return [f"box-{n}" for n in range(count)]


def test_a_run_outlives_a_restart_of_the_service() -> None:
    with seeded(400, latency=0.01) as emulator, client_at(emulator.base_url, batch_size=1) as client:
        gone = threading.Event()

        def restart(_: Progress) -> None:
            if not gone.is_set():
                emulator.suspend()
                gone.set()
            else:
                emulator.resume()

        report = client.delete_annotations(["photo"] * 400, boxes(400), progress=restart)
        assert gone.is_set()
        assert (report.deleted, left(emulator)) == (400, [])


class Until(logging.Handler):
    """Sees the log for a line with this text, and does something once."""

    def __init__(self, text: str, then: Callable[[], object]) -> None:
        super().__init__(logging.DEBUG)
        self.text, self.then, self.seen = text, then, False

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage() and not self.seen:
            self.seen = True
            self.then()


@contextlib.contextmanager
def once_logged(text: str, then: Callable[[], object]) -> Iterator[Until]:
    logger, until = logging.getLogger("clarifai_annotations"), Until(text, then)
    level = logger.level
    logger.addHandler(until)
    logger.setLevel(logging.DEBUG)
    try:
        yield until
    finally:
        logger.removeHandler(until)
        logger.setLevel(level)


@pytest.mark.parametrize("form", ["single", "pairs"])
def test_a_service_that_is_not_up_yet_is_waited_for(form: str) -> None:
    with (
        seeded(1) as emulator,
        client_at(emulator.base_url) as client,
        once_logged("Connection refused", emulator.resume) as refused,
    ):
        emulator.suspend()
        if form == "single":
            client.delete_annotation("photo", "box-0")
        else:
            client.delete_annotations(["photo"], ["box-0"])
        assert refused.seen
        assert left(emulator) == []


def test_a_goaway_with_32_requests_under_way_loses_no_outcome() -> None:
    with seeded(400, latency=0.02) as emulator, client_at(emulator.base_url, batch_size=1) as client:
        # After the 40th, 32 are under way.
        emulator.inject(*[Fault.none()] * 40, Fault.goaway())
        report = client.delete_annotations(["photo"] * 400, boxes(400))
        assert (report.deleted, left(emulator)) == (400, [])


def test_a_connection_that_is_cut_with_32_requests_under_way_loses_no_outcome() -> None:
    with seeded(400, latency=0.02) as emulator, client_at(emulator.base_url, batch_size=1) as client:
        emulator.inject(*[Fault.none()] * 40, Fault.dropped_after())
        report = client.delete_annotations(["photo"] * 400, boxes(400))
        assert (report.deleted, left(emulator)) == (400, [])
        assert [it.fault for it in emulator.requests].count("dropped_after") == 1


class Dripping:
    """A way to a service on which the answers come back one byte a second."""

    def __init__(self, base_url: str) -> None:
        self._to = ("127.0.0.1", int(base_url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                service = socket.create_connection(self._to)
                for carry in (self._pump, self._drip):
                    self._threads.append(threading.Thread(target=carry, args=(peer, service)))
                    self._threads[-1].start()

    def _pump(self, peer: socket.socket, service: socket.socket) -> None:
        with contextlib.suppress(OSError), service:
            while data := peer.recv(65536):
                service.sendall(data)

    def _drip(self, peer: socket.socket, service: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            while (data := service.recv(1)) and not self._ended.wait(1):
                peer.sendall(data)

    def close(self) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


def test_an_answer_that_comes_a_byte_a_second_is_given_up_in_time_and_its_outcome_is_unknown() -> None:
    with seeded(1) as emulator, contextlib.closing(Dripping(emulator.base_url)) as way:
        with (
            client_at(way.base_url, request_timeout=1, max_attempts=1) as client,
            pytest.raises(DeadlineError, match=r"was deleted is unknown: .* gave no answer within 1 s"),
        ):
            client.delete_annotation("photo", "box-0")
        assert left(emulator) == []


# Half-open: a link that swallows every packet, in both directions, and tells nobody.
HALF_OPEN = f"""
import logging, subprocess, sys
from clarifai_annotations import Client
from clarifai_annotations.emulator import Emulator

def link(*command): subprocess.run(["tc", "qdisc", *command], check=True)

class Restore(logging.Handler):
    def emit(self, record):
        if "failed" in record.getMessage() and state == ["lost"]:
            print(record.getMessage(), file=sys.stderr)
            link("del", "dev", "lo", "root")
            state[0] = "restored"

log = logging.getLogger("clarifai_annotations")
log.setLevel(logging.DEBUG)
log.addHandler(Restore())
state = ["whole"]

def lose(progress):
    if state == ["whole"] and progress.deleted:
        # A bucket of one byte lets no packet through.
        link("add", "dev", "lo", "root", "tbf", "rate", "8bit", "burst", "1", "limit", "1")
        state[0] = "lost"

with Emulator(latency=0.05) as emulator:
    boxes = [f"box-{{n}}" for n in range(200)]
    for box in boxes:
        emulator.add_annotation("photo", box)
    client = Client(
        user_id="emulator-user", app_id="emulator-app", pat="{KEY}", base_url=emulator.base_url,
        batch_size=1, max_in_flight=4, requests_per_second=None, request_timeout=300,
    )
    report = client.delete_annotations(["photo"] * 200, boxes, progress=lose)
    print(report.deleted, sum(not it.input_level for it in emulator.annotations()))
"""


@pytest.mark.slow
def test_a_connection_whose_packets_are_dropped_is_found_by_keep_alive_and_replaced(
    network_namespace: str,
) -> None:
    command = ["ip", "netns", "exec", network_namespace, sys.executable, "-c", HALF_OPEN]
    # Without keep-alive it would take the 300 s of request_timeout.
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.stdout == "200 0\n", ended.stderr
    assert "gave no answer: the connection fell silent" in ended.stderr


LONG_AGO: dict[str, Any] = {
    "not_before": datetime.datetime(2020, 1, 1),
    "not_after": datetime.datetime(2021, 1, 1),
}

AUTHORITY = trustme.CA()

REFUSED = {
    "expired": (
        lambda: certificate(AUTHORITY, **LONG_AGO),
        r"certificate expired: .* \(is the clock of this machine right\? Else the service's certificate must be",
    ),
    "of another host": (
        lambda: certificate(AUTHORITY, "example.org"),
        r"not valid for name \"localhost\".* \(base_url must be by a name that is in the certificate\)",
    ),
    "of an unknown authority": (
        lambda: certificate(trustme.CA()),
        r"UnknownIssuer \(only the authorities in .*authority\.pem are trusted: to trust the system's, leave it out",
    ),
}


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize(("credentials", "message"), REFUSED.values(), ids=REFUSED)
def test_a_certificate_that_is_refused_says_why_and_what_to_do_and_is_not_asked_again(
    credentials: Callable[[], grpc.ServerCredentials], message: str, trusted: Path
) -> None:
    with (
        official_service(credentials()) as service,
        client_at(service.base_url, root_certificates_path=trusted, batch_size=1) as client,
        once_logged("is retried", lambda: None) as retried,
        pytest.raises(TransportError, match=message + r".*Nothing was sent") as raised,
    ):
        client.delete_annotations(["photo", "photo"], ["box", "another"])
    assert raised.value.report is not None
    assert (raised.value.report.unsent, retried.seen, service.calls) == (2, False, [])
