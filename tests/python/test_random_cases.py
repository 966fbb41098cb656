"""The random cases of the tests themselves: they are repeated, and what once failed is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase, ReadOnlyDatabase

from random_cases import GrowingDatabase, seeded


def drawn(database: ExampleDatabase | None, failing: int | None = None) -> list[int]:
    """The numbers that a test draws which fails at one of them, or never."""
    numbers = []

    @settings(database=database, max_examples=20)
    @given(st.integers(0, 1 << 60))
    def any_number(number: int) -> None:
        numbers.append(number)
        assert failing is None or number != failing

    if failing is None:
        seeded(any_number)()
    else:
        with pytest.raises(AssertionError):
            seeded(any_number)()
    return numbers


def test_a_run_draws_the_cases_of_the_run_before() -> None:
    assert drawn(None) == drawn(None)


def test_another_seed_draws_other_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn(None)
    monkeypatch.setenv("HYPOTHESIS_SEED", "20261125")
    assert drawn(None) != before


def test_a_case_that_failed_while_exploring_is_the_first_of_later_runs(tmp_path: Path) -> None:
    failing = drawn(None)[7]
    drawn(GrowingDatabase(tmp_path), failing)
    assert drawn(ReadOnlyDatabase(DirectoryBasedExampleDatabase(tmp_path)))[0] == failing


def test_a_case_that_does_not_fail_any_more_is_kept(tmp_path: Path) -> None:
    failing = drawn(None)[7]
    drawn(GrowingDatabase(tmp_path), failing)
    # With the database of a new run, which no longer finds it failing.
    for _ in range(2):
        assert drawn(GrowingDatabase(tmp_path))[0] == failing
