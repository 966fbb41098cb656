"""The command line."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from rich.console import Console

from clarifai_annotations import Client, __version__, demo
from clarifai_annotations.emulator import Emulator

COMMAND = str(Path(sysconfig.get_path("scripts")) / "clarifai-annotations")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60)


def test_the_demo_shows_every_deletion_and_leaves_what_should_be_left() -> None:
    done = run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 input_ids but 1 annotation_ids" in done.stdout
    assert "2 input_ids but 0 annotation_ids" in done.stdout
    assert "The service saw 0 requests." in done.stdout
    assert "await delete_input_annotations_async" in done.stdout
    assert "Exactly what was asked for is gone, and nothing else." in done.stdout


def test_the_demo_fails_when_something_else_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(demo.KEPT, "street-1.jpg", ["car-1", "car-2"])
    assert not demo.run_demo(Console(quiet=True))


def test_the_demo_fails_when_a_mistake_goes_through() -> None:
    class Careless:
        def delete_annotations(self, input_ids: list[str], _annotation_ids: list[str]) -> None:
            emulator.client().delete_input_annotations(input_ids)

    with Emulator() as emulator:
        demo.seed(emulator)
        careless: Client = Careless()  # type: ignore[assignment]
        assert not demo.show_mistakes(Console(quiet=True), emulator, careless)


def test_it_tells_its_version() -> None:
    assert run("--version").stdout == f"clarifai-annotations {__version__}\n"


def test_without_the_extra_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['typer'] = None; from clarifai_annotations.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, "pip install 'clarifai-annotations[cli]'" in done.stderr) == (1, True)
