"""The pytest plugin: the fixture `clarifai_emulator` and the marker of the same name.

pytest loads this module in every suite of an environment, so it stands apart from the package and imports
nothing of it before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from clarifai_annotations.emulator import Emulator

MARKER = "clarifai_emulator(**options): options of the Emulator that the fixture clarifai_emulator hands out"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def _clarifai_emulator_port() -> list[int]:
    """Keep the port of a session's first emulator for the later ones.

    Clarifai's SDK reads CLARIFAI_API_BASE once, when it is imported: with a port for each test it would go on
    calling the first.
    """
    return []


@pytest.fixture
def clarifai_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _clarifai_emulator_port: list[int]
) -> Iterator[Emulator]:
    """Hand out an annotation service of this test alone, and point the environment at it.

    The functions of `clarifai_annotations`, a ``Client()`` and Clarifai's SDK made from the environment talk
    to it. Options come from ``@pytest.mark.clarifai_emulator(requests_per_second=15)``.
    """
    from clarifai_annotations.emulator import Emulator

    marker = request.node.get_closest_marker("clarifai_emulator")
    options = {} if marker is None else dict(marker.kwargs)
    if marker is not None and marker.args:
        raise pytest.UsageError("the marker clarifai_emulator takes options by name only")
    emulator = _start(Emulator, options, _clarifai_emulator_port)
    with emulator:
        for name in ("CLARIFAI_SESSION_TOKEN", "CLARIFAI_GRPC_BASE", "CLARIFAI_ROOT_CERTIFICATES_PATH"):
            monkeypatch.delenv(name, raising=False)
        if emulator.root_certificates_path is not None:
            monkeypatch.setenv("CLARIFAI_ROOT_CERTIFICATES_PATH", str(emulator.root_certificates_path))
        user_id, app_id = sorted(options.get("apps") or [("emulator-user", "emulator-app")])[0]
        monkeypatch.setenv("CLARIFAI_USER_ID", user_id)
        monkeypatch.setenv("CLARIFAI_APP_ID", app_id)
        monkeypatch.setenv("CLARIFAI_PAT", sorted(options.get("pats") or ["emulator-key"])[0])
        monkeypatch.setenv("CLARIFAI_API_BASE", emulator.base_url)
        yield emulator


def _start(emulator: type[Emulator], options: dict[str, object], port: list[int]) -> Emulator:
    """Start on the session's port, or on another where that one is taken by now."""
    if "port" not in options and port:
        try:
            return emulator(**options, port=port[0])  # type: ignore[arg-type]
        except OSError:
            port.clear()
    started = emulator(**options)  # type: ignore[arg-type]
    port[:] = [int(started.base_url.rpartition(":")[2])]
    return started
