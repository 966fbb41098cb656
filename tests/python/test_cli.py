"""The command line as a whole: help, completion, the demo, and what its tests share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from clarifai_annotations import Client, __version__
from clarifai_annotations.cli import app, demo
from clarifai_annotations.emulator import Emulator
from documented import ROOT

COMMAND = str(Path(sysconfig.get_path("scripts")) / "clarifai-annotations")
COMMANDS = ["delete", "delete-inputs", "delete-one", "plan", "restore", "status", "demo", "serve"]
QUICK = "--requests-per-second=1000"


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program as a process of its own."""
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60, **options)


IN_LITTLE_ROOM = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


def limited(most_bytes: int, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program, of which no file may grow beyond so many bytes."""
    command = [sys.executable, "-c", IN_LITTLE_ROOM, str(most_bytes), COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def invoke(*arguments: str | Path, given: str | bytes | None = None) -> Any:
    """The program in this process, where there is no terminal. Gives exit code, stdout and stderr."""
    result = CliRunner().invoke(app, [str(it) for it in arguments], input=given, catch_exceptions=False)
    assert "Traceback" not in result.stderr, result.stderr
    return result


def left(emulator: Emulator) -> list[tuple[str, str]]:
    """What is there, save input-level annotations."""
    return [(it.input_id, it.annotation_id) for it in emulator.annotations() if not it.input_level]


def write(path: str, *lines: str) -> Path:
    """A file of these lines in the current folder."""
    Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return Path(path)


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


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_fits_a_screen(command: str) -> None:
    text = run(command, "--help", env={**os.environ, "COLUMNS": "80"}).stdout
    assert len(text.splitlines()) <= 40, text
    assert max(map(len, text.splitlines())) <= 80, text


@pytest.mark.parametrize("command", ["delete", "delete-inputs", "delete-one", "plan", "restore", "serve"])
def test_the_help_of_a_command_has_an_example(command: str) -> None:
    assert f"  clarifai-annotations {command} " in invoke(command, "--help").stdout


@pytest.mark.parametrize("command", ["delete", "delete-inputs", "restore"])
def test_the_help_of_a_command_tells_the_exit_codes(command: str) -> None:
    text = " ".join(invoke(command, "--help").stdout.split())
    assert all(f"{code} " in text.partition("Exit codes: ")[2] for code in (0, 1, 2, 130)), text


def test_no_option_takes_a_key() -> None:
    options = " ".join(invoke(command, "--help").stdout for command in COMMANDS)
    assert "--pat" not in options
    assert "--session-token" not in options


@pytest.mark.skipif(sys.platform == "win32", reason="asks bash")
def test_it_prints_a_completion_script() -> None:
    # The `;` keeps bash from giving its process to the command, which looks for the shell that started it.
    command = ["bash", "-c", f"{COMMAND} --show-completion; exit $?"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "complete" in done.stdout) == (0, True), done.stderr


def test_its_completion_knows_the_commands() -> None:
    asked = {"_CLARIFAI_ANNOTATIONS_COMPLETE": "complete_bash", "COMP_WORDS": "x ", "COMP_CWORD": "1"}
    done = run(env={**os.environ, **asked})
    assert set(COMMANDS) <= set(done.stdout.split()), done.stdout + done.stderr


def options_of_the_program() -> set[tuple[str, str]]:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        (name, option)
        for name in set(COMMANDS) - {"demo", "serve"}
        for parameter in commands[name].params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }


def options_of_the_page() -> set[tuple[str, str]]:
    page = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    return {
        (name, option)
        for row in re.findall(r"^\| (`--.*)\|$", page, re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", row.split("|")[1])
        for option in re.findall(r"`(--[\w-]+)", row.split("|")[0])
    }


def test_the_documentation_has_every_option_of_every_command() -> None:
    assert options_of_the_page() == options_of_the_program()
