"""What all tests share: an environment without a Clarifai account, and peers to talk to."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import is_hypothesis_test

import missing
import random_cases
from clarifai_annotations import Client
from official_service import OfficialService, official_service
from spark_cluster import Cluster, spark_cluster, spark_session, why_not

if TYPE_CHECKING:
    from child_calls import ChildCalls

KEY = "made-up-key-0123456789"
"""A personal access token that looks like one and is none."""

MOST_WORKERS = 8
"""Each has everything imported, which is some 300 MB."""

DEAR = {"cluster", "ran", "sdist", "site"}
"""Fixtures that are made once: a Spark cluster, the notebooks that were run, the sdist and the site that were built."""

GROUPS = ("test_spark", "test_notebooks", "test_sdist", "test_site")
"""How the names of the files begin whose tests share one of them."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the option `--missing`. Know the option of pytest-xdist in pyproject.toml also under `-p no:xdist`."""
    parser.addoption(
        "--missing",
        choices=list(missing.OPTIONS),
        default="success",
        help="How an Emulator answers deletions of missing annotations, where a test does not say (default: success).",
    )
    if not pluginmanager.has_plugin("xdist"):
        parser.addoption("--numprocesses")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two tests at a time on each core, for most of them wait."""
    if count := os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return int(count)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Send each test to the next free worker, and those that share something dear to one.

    `--dist=loadgroup` is for this, but pytest-xdist 3.8 finds no groups with pytest 9.2.
    """
    if config.getoption("--dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class LoadGroups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            name = nodeid.partition("::")[0].rpartition("/")[2]
            return next((group for group in GROUPS if name.startswith(group)), nodeid)

    return LoadGroups(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Settle on one seed for the run before the workers start, apply `--missing`, and let Ctrl-C through."""
    missing.choose(config.getoption("--missing"))
    random_cases.choose_seed(config.getoption("--hypothesis-seed"))
    # A shell starts a background job with SIGINT ignored. The programs of the tests would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell how the random cases of this run can be repeated, and how missing annotations are answered."""
    cases = f"random cases: HYPOTHESIS_PROFILE={random_cases.PROFILE} HYPOTHESIS_SEED={os.environ['HYPOTHESIS_SEED']}"
    return [cases, f"missing annotations: {config.getoption('--missing')}"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test with random cases the seed, and mark as slow what begins with something dear."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if is_hypothesis_test(item.obj):
            random_cases.seeded(item.obj)
        if DEAR & {*item.fixturenames}:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Keep the garbage collector off what was imported: some tests collect garbage, and would wait for it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Whoever runs the tests may have an account, or a proxy: neither their variables nor their files are seen."""
    for name in os.environ:
        if name.startswith("CLARIFAI_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    # Tests do not slow each other down, nor a program of the user's.
    monkeypatch.setenv("CLARIFAI_ANNOTATIONS_RUNTIME_DIR", str(home / "runtime"))
    return home


@pytest.fixture
def hangups_count() -> Iterator[None]:
    """Have the children of a test notice SIGHUP, also in a run that `nohup` began: to ignore it is inherited."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def service() -> Iterator[OfficialService]:
    """Clarifai's own stubs as the service, over plain HTTP/2."""
    with official_service() as service:
        yield service


@pytest.fixture
def account(service: OfficialService, monkeypatch: pytest.MonkeyPatch) -> OfficialService:
    """`service`, with the environment pointing at it."""
    settings = {"API_BASE": service.base_url, "PAT": KEY, "USER_ID": "me", "APP_ID": "cats"}
    for name, value in settings.items():
        monkeypatch.setenv(f"CLARIFAI_{name}", value)
    return service


@pytest.fixture
def calls() -> Iterator[ChildCalls]:
    """Calls in child processes."""
    from child_calls import child_calls  # which needs the key above

    if sys.platform == "win32":
        pytest.skip("Windows does not fork")
    with child_calls() as calls:
        yield calls


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
