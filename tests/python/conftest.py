"""What all tests share: an environment without a Clarifai account, and peers to talk to."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import is_hypothesis_test

import random_cases
from clarifai_annotations import Client
from official_service import OfficialService, official_service
from spark_cluster import Cluster, spark_cluster, spark_session, why_not

KEY = "made-up-key-0123456789"
"""A personal access token that looks like one and is none."""


def pytest_configure(config: pytest.Config) -> None:
    """Settle on one seed for the run before the workers start, and let Ctrl-C through."""
    random_cases.choose_seed(config.getoption("--hypothesis-seed"))
    # A shell starts a background job with SIGINT ignored. The programs of the tests would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Tell how the random cases of this run can be repeated."""
    return f"random cases: HYPOTHESIS_PROFILE={random_cases.PROFILE} HYPOTHESIS_SEED={os.environ['HYPOTHESIS_SEED']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test with random cases the seed."""
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            random_cases.seeded(item.obj)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Whoever runs the tests may have an account, or a proxy: neither their variables nor their files are seen."""
    for name in os.environ:
        if name.startswith("CLARIFAI_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def service() -> Iterator[OfficialService]:
    """Clarifai's own stubs as the service, over plain HTTP/2."""
    with official_service() as service:
        yield service


def client_of(service: OfficialService, **settings: Any) -> Client:
    """A client of that service, with little patience unless told otherwise."""
    settings = {
        "user_id": "me",
        "app_id": "cats",
        "pat": KEY,
        "max_attempts": 1,
        "request_timeout": 3,
        **settings,
    }
    return Client(base_url=service.base_url, **settings)


@pytest.fixture
def client(service: OfficialService) -> Iterator[Client]:
    """A client of `service`."""
    with client_of(service) as client:
        yield client


@pytest.fixture
def network_namespace() -> Iterator[str]:
    """A network of its own, with nothing but a loopback interface."""
    name = f"annotations-{os.getpid()}"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to make network namespaces, and iproute2")
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Spark cluster whose executors have the key; all tests of Spark share it."""
    if reason := why_not():
        pytest.skip(reason)
    with spark_cluster(tmp_path_factory.mktemp("spark"), CLARIFAI_PAT=KEY) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def spark(cluster: Cluster) -> Iterator[Any]:
    """A Spark session of this process on the cluster."""
    with spark_session(cluster) as session:
        yield session


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
