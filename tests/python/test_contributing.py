"""The tests that CONTRIBUTING.md and SECURITY.md name as the proof of something are there."""

from __future__ import annotations

import re

import pytest

from documented import ROOT

ROWS = [
    line
    for page in ("CONTRIBUTING.md", "SECURITY.md")
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
    if re.match(r"\| (?:\d|[A-Z])", line)
]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])})
FILES = [name for name in NAMED if name.endswith((".py", ".rs"))]
FUNCTIONS = [name for name in NAMED if re.fullmatch(r"\w+", name)]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_named_is_there(name: str) -> None:
    assert (ROOT / name).is_file() or (ROOT / "tests/python" / name).is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_test_that_is_named_is_there(name: str) -> None:
    tests = [ROOT / "tests/deletion.rs", *(ROOT / "tests/python").glob("*.py")]
    defined = re.compile(rf"^ *(?:fn|def) {name}\(", re.MULTILINE)
    assert any(defined.search(path.read_text(encoding="utf-8")) for path in tests)


def test_every_invariant_names_a_test() -> None:
    invariants = [row for row in ROWS if re.match(r"\| \d \|", row)]
    assert [row[2] for row in invariants] == list("123456")
    assert all(re.search(r"`[^`]+\.(?:py|rs)`", row.rsplit(" | ", 1)[1]) for row in invariants)
