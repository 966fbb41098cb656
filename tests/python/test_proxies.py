"""HTTP proxies from the environment: who is reached through one, and what it says when that fails."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clarifai_annotations import Client, ConfigurationError, TransportError, delete_annotation
from clarifai_annotations.emulator import Emulator
from conftest import KEY

PASSWORD = "made-up-password"


@dataclass
class Proxy:
    """A proxy in a process of its own."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def tunnels(self) -> str:
        """The log of what it carried, which it writes as connections end."""
        self.process.terminate()
        self.process.wait(timeout=30)
        return self.log.read_text()


@contextlib.contextmanager
def running_proxy(folder: Path, *options: str) -> Iterator[Proxy]:
    """`proxy.py`, on a free loopback port."""
    port_file, log = folder / "port", folder / "proxy.log"
    command = [
        sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file),
        "--num-workers", "1", "--num-acceptors", "1", "--log-file", str(log), "--data-dir", str(folder), *options,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not (port_file.exists() and port_file.read_text()):
                assert process.poll() is None, "the proxy ended"
                time.sleep(0.01)
            yield Proxy(int(port_file.read_text()), log, process)
        finally:
            process.terminate()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with running_proxy(tmp_path) as proxy:
        yield proxy


@pytest.fixture
def service() -> Iterator[Emulator]:
    """A service that speaks TLS."""
    with Emulator(tls=True) as emulator:
        emulator.add_annotation("photo", "box")
        yield emulator


def client_of(service: Emulator) -> Client:
    return Client(
        user_id="emulator-user", app_id="emulator-app", pat=KEY, base_url=service.base_url, max_attempts=1,
        root_certificates_path=service.root_certificates_path,
    )  # fmt: skip


def host_and_port(service: Emulator) -> str:
    return service.base_url.partition("://")[2]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_service_over_https_is_reached_through_the_proxy(
    name: str, proxy: Proxy, service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    with client_of(service) as client:
        client.delete_annotation("photo", "box")
    assert [request.method for request in service.requests] == ["DeleteAnnotation"]
    assert f"CONNECT {host_and_port(service)}" in proxy.tunnels()


def test_the_proxy_sees_neither_the_key_nor_the_ids(
    proxy: Proxy, service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    with client_of(service) as client:
        client.delete_annotation("photo", "box")
    carried = proxy.tunnels()
    assert KEY not in carried
    assert "photo" not in carried


@pytest.mark.parametrize("exempt", ["127.0.0.1", "*", "10.0.0.0/8, 127.0.0.0/8"])
def test_a_host_in_no_proxy_is_reached_without_it(
    exempt: str, service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", exempt)
    with client_of(service) as client:
        client.delete_annotation("photo", "box")


def test_a_service_over_plain_http_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Emulator() as service, client_of(service) as client:
        client.delete_annotation("photo", "box", missing_ok=True)


def test_a_proxy_that_is_not_there_is_named_in_the_error(
    service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@127.0.0.1:1")
    with client_of(service) as client, pytest.raises(TransportError) as raised:
        client.delete_annotation("photo", "box")
    assert (
        "could not be reached through the proxy http://127.0.0.1:1: Connection refused (os error 111) "
        "(the proxy is from HTTPS_PROXY; hosts in NO_PROXY are reached without it). Nothing was sent"
    ) in str(raised.value)
    assert PASSWORD not in str(raised.value) + repr(client)


def test_a_proxy_that_wants_a_password_gets_it_from_its_address(
    tmp_path: Path, service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_proxy(tmp_path, "--basic-auth", f"me:{PASSWORD}") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with (
            client_of(service) as client,
            pytest.raises(TransportError, match=r"http://user:password@host:port"),
        ):
            client.delete_annotation("photo", "box")
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}")
        with client_of(service) as client:
            client.delete_annotation("photo", "box")


@pytest.mark.parametrize(
    "address", ["socks5://127.0.0.1:1080", "https://127.0.0.1:3128", f"http://{PASSWORD}@", "%"]
)
def test_what_is_no_http_proxy_is_refused_and_not_shown(
    address: str, service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigurationError) as raised:
        client_of(service)
    assert str(raised.value) == (
        "HTTPS_PROXY is not the address of an HTTP proxy: write http://host:port, or put the host of base_url into "
        "NO_PROXY to reach it without one"
    )


def test_the_shared_client_follows_the_proxy_of_the_environment(
    service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIFAI_API_BASE", service.base_url)
    monkeypatch.setenv("CLARIFAI_ROOT_CERTIFICATES_PATH", str(service.root_certificates_path))
    for name, value in {"USER_ID": "emulator-user", "APP_ID": "emulator-app", "PAT": KEY}.items():
        monkeypatch.setenv(f"CLARIFAI_{name}", value)
    delete_annotation("photo", "box")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(TransportError, match="through the proxy"):
        delete_annotation("photo", "box", timeout=0.5)
