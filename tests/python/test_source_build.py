"""The build from source on a machine that cannot: what somebody without Rust reads, and that maturin does the rest."""

from __future__ import annotations

import inspect
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import maturin
import pytest

import checked_maturin
from documented import ROOT

HOOKS = [name for name in dir(maturin) if re.match("get_requires_for_|prepare_metadata_for_|build_", name)]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs on the PATH are shell scripts")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, with all that a build needs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    put(folder, "cargo", "echo 'cargo 1.99.1 (0000000 2026-11-24)'")
    put(folder, "rustc", "echo 'rustc 1.99.1-nightly (0000000 2026-11-24)'")
    put(folder, "cc", "exit 0")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    return folder


def put(folder: Path, name: str, script: str) -> None:
    """A program that does what the script says."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def asked(hook: str = "get_requires_for_build_wheel", *given: str) -> subprocess.CompletedProcess[str]:
    """The hook, in the folder in which pip calls it."""
    program = f"import checked_maturin; print(checked_maturin.{hook}(*{given}))"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "building"},
        capture_output=True,
        text=True,
    )


def message(hook: str = "get_requires_for_build_wheel", *given: str) -> str:
    """What the hook ends with."""
    ended = asked(hook, *given)
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.usefixtures("programs")
def test_where_everything_is_there_nothing_more_is_wanted() -> None:
    ended = asked()
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "[]", "")


def test_without_cargo_it_says_how_to_get_rust_and_fetches_none(programs: Path) -> None:
    (programs / "cargo").unlink()
    told = message()
    assert "cannot be compiled here: `cargo` is not on the PATH." in told
    assert "install Rust from https://rustup.rs" in told
    assert "run the same command again" in told


def test_without_rustc_it_says_so(programs: Path) -> None:
    (programs / "rustc").unlink()
    assert "`rustc` is not on the PATH" in message()


@pytest.mark.parametrize("program", ["cargo", "rustc"])
def test_a_rust_that_is_too_old_is_named_with_what_is_needed(programs: Path, program: str) -> None:
    put(programs, program, f"echo '{program} 1.63.0'")
    [least] = re.findall('^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert f"it needs Rust {least} or later, and the one on the PATH is {program} 1.63.0" in message()


def test_the_least_rust_itself_is_enough(programs: Path) -> None:
    [least] = re.findall('^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    put(programs, "rustc", f"echo 'rustc {least}.0 (0000000 2026-01-01)'")
    assert asked().returncode == 0


def test_what_rustup_says_of_a_toolchain_that_is_not_there_is_shown(programs: Path) -> None:
    put(programs, "rustc", "echo 'error: rustup could not choose a version of rustc' >&2; exit 1")
    assert "`rustc --version` fails: error: rustup could not choose a version of rustc" in message()


def test_without_a_c_compiler_it_says_how_to_get_one(programs: Path) -> None:
    (programs / "cc").unlink()
    told = message()
    assert "`cc` is not on the PATH" in told
    assert "apt install build-essential" in told


def test_all_that_is_missing_is_said_at_once(programs: Path) -> None:
    (programs / "cargo").unlink()
    (programs / "cc").unlink()
    told = message()
    assert "`cargo` is not on the PATH; `cc` is not on the PATH." in told
    assert "install Rust from https://rustup.rs" in told
    assert "install a C compiler" in told


def test_what_it_says_stands_on_the_page_of_the_first_minutes(programs: Path) -> None:
    (programs / "cargo").unlink()
    (programs / "cc").unlink()
    page = (ROOT / "docs/first-minutes.md").read_text(encoding="utf-8")
    quoted = "".join(re.findall("^> ?(.*\n)", page, re.MULTILINE))
    assert quoted.strip()
    assert quoted.strip() in message()


def test_a_c_compiler_without_its_headers_is_not_enough(programs: Path) -> None:
    put(programs, "cc", "echo 'fatal error: stdlib.h: No such file or directory' >&2; exit 1")
    assert "fatal error: stdlib.h" in message()


def test_another_c_compiler_is_taken_from_the_environment(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (programs / "cc").rename(programs / "my-cc")
    monkeypatch.setenv("CC", "my-cc -m64")
    assert asked().returncode == 0


def test_an_sdist_is_made_without_a_c_compiler(programs: Path) -> None:
    (programs / "cc").unlink()
    assert asked("get_requires_for_build_sdist").returncode == 0


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_looks_first(programs: Path, hook: str) -> None:
    (programs / "cargo").unlink()
    first = next(iter(inspect.signature(getattr(maturin, hook)).parameters))
    assert "`cargo` is not on the PATH" in message(
        hook, *(["nowhere"] if first.endswith("directory") else [])
    )


def test_it_has_every_hook_of_maturin_with_its_signature() -> None:
    assert len(HOOKS) == 8
    for name in HOOKS:
        assert inspect.signature(getattr(checked_maturin, name)) == inspect.signature(getattr(maturin, name))


def test_pip_shows_the_message_and_no_traceback(programs: Path, tmp_path: Path) -> None:
    (programs / "cargo").unlink()
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index"]
    ended = subprocess.run([*command, "--target", tmp_path / "there", ROOT], capture_output=True, text=True)
    shown = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "clarifai-annotations cannot be compiled here: `cargo` is not on the PATH." in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("system", "machine"),
    [("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64")],
)
def test_it_says_that_releases_have_a_wheel(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert "releases have one for this Python, CPython 3." in checked_maturin.of_wheels()
    assert "python -m pip install --upgrade pip" in checked_maturin.of_wheels()


@pytest.mark.parametrize(
    ("system", "machine"), [("Linux", "armv7l"), ("Windows", "ARM64"), ("FreeBSD", "amd64")]
)
def test_it_says_which_wheels_there_are_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    told = checked_maturin.of_wheels()
    assert "there is none for this Python, CPython 3." in told
    assert "Linux x86_64 and aarch64, glibc 2.17 or musl 1.2 or later" in told
