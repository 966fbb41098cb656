"""The sdist: what a build needs, and no more."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile

import pytest

from documented import ROOT

[VERSION] = re.findall('^version = "(.+)"$', (ROOT / "Cargo.toml").read_text("utf-8"), re.MULTILINE)


OTHERS = {
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "pyproject.toml",
    "PKG-INFO",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benches/emulator.rs",  # named in Cargo.toml, and cargo wants to see it
    "tests/smoke.py",
}
"""What it holds besides the folders that are built from."""


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an sdist of this checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run(
        [sys.executable, "-m", "maturin", "sdist", "--out", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [archive] = folder.iterdir()
    assert archive.name == f"clarifai_annotations-{VERSION}.tar.gz"
    with tarfile.open(archive) as opened:
        found = {
            member.name.partition("/")[2]: opened.extractfile(member)
            for member in opened.getmembers()
            if member.isfile()
        }
        return {name: file.read() for name, file in found.items() if file}


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_the_sdist_holds(sdist: dict[str, bytes], name: str) -> None:
    assert sdist[name]


@pytest.mark.parametrize("folder", ["src", "proto", "python", "building"])
def test_the_sdist_holds_all_that_is_built_from(sdist: dict[str, bytes], folder: str) -> None:
    tracked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".so", ".pyd", ".pyc")
    }
    assert {name for name in sdist if name.startswith(f"{folder}/")} == tracked


def test_the_sdist_holds_nothing_else(sdist: dict[str, bytes]) -> None:
    others = {name for name in sdist if not name.startswith(("src/", "proto/", "python/", "building/"))}
    assert others == OTHERS


def test_the_sdist_builds_by_the_locked_versions(sdist: dict[str, bytes]) -> None:
    assert sdist["Cargo.lock"] == (ROOT / "Cargo.lock").read_bytes()
