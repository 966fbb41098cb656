"""What is published agrees with itself: one version everywhere, and the wheels that are promised are those that are built."""

from __future__ import annotations

import importlib.metadata
import re
from datetime import date

import checked_maturin
import clarifai_annotations
from documented import ROOT


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def cargo(field: str, path: str = "Cargo.toml") -> str:
    """What a field of our package says in one of Cargo's files."""
    [package] = re.findall(
        r'^\[+package\]+\nname = "clarifai-annotations"\n.*?(?=^\[|\Z)', text(path), re.DOTALL | re.MULTILINE
    )
    [value] = re.findall(rf'^{field} = "(.*)"$', package, re.MULTILINE)
    return str(value)


def test_the_module_has_the_version_of_cargo() -> None:
    assert clarifai_annotations.__version__ == cargo("version")


def test_the_installed_distribution_has_the_version_of_cargo() -> None:
    assert importlib.metadata.version("clarifai-annotations") == cargo("version")


def test_the_lock_file_has_the_version_of_cargo() -> None:
    assert cargo("version", "Cargo.lock") == cargo("version")


def test_the_version_stands_nowhere_else() -> None:
    assert 'dynamic = ["version"]' in text("pyproject.toml")
    assert not re.search(r'^version = "', text("pyproject.toml"), re.MULTILINE)


def test_the_changelog_begins_with_this_version_or_with_what_comes_after_it() -> None:
    newest, *older = re.findall(r"^## \[(.*?)\](?: - (.*))?$", text("CHANGELOG.md"), re.MULTILINE)
    if newest[0] == "Unreleased":
        assert newest[1] == ""
        released = older
    else:
        released = [newest, *older]
    for _, day in released:
        date.fromisoformat(day)
    # Before the first release there is none; after it the newest one is what the code calls itself.
    assert [version for version, _ in released[:1]] in ([], [cargo("version")])


def test_the_platforms_that_a_build_from_source_names_are_those_that_are_released() -> None:
    machines = {"Linux": "unknown-linux-", "Darwin": "apple-darwin", "Windows": "pc-windows-msvc"}
    called = {"arm64": "aarch64", "AMD64": "x86_64"}
    named = {
        (called.get(machine, machine), machines[system])
        for system, (its_machines, _) in checked_maturin.WHEELS.items()
        for machine in its_machines
    }
    built = re.findall(
        r"(\w+)-(unknown-linux-|apple-darwin|pc-windows-msvc)", text(".github/workflows/release.yml")
    )
    assert named == set(built)


def test_every_wheel_of_linux_that_is_released_is_one_that_the_script_builds() -> None:
    target = r"\w+-unknown-linux-(?:gnu|musl)"
    assert set(re.findall(target, text(".github/workflows/release.yml"))) == set(
        re.findall(rf"\[({target})\]", text(".ci/wheels"))
    )
