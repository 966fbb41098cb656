"""Which random cases the tests run: the same ones every time, and new ones only under `HYPOTHESIS_PROFILE=explore`.

Hypothesis has `derandomize` and `seed` for this, but turns the example database off with either, so what is committed there
would not be replayed. Here the seed is set below its public face.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import DirectoryBasedExampleDatabase, ReadOnlyDatabase
from hypothesis.internal.conjecture import providers

Test = TypeVar("Test", bound=Callable[..., Any])

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
IS_EXPLORING = PROFILE == "explore"

EXAMPLES = Path(__file__).parent / "examples"
"""Cases that once failed. They are committed, and every run begins with them."""

DEFAULT_SEED = "0"


def cases(default: int, variable: str = "") -> int:
    """Return how many random cases a test runs: the value of its variable, or else ten times the default when exploring."""
    return int(os.environ.get(variable, default * 10 if IS_EXPLORING else default))


class GrowingDatabase(DirectoryBasedExampleDatabase):
    """The examples of a folder. New ones are added; what was there before is never deleted.

    Hypothesis deletes an example once it passes. As a regression test it has to stay.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._kept: dict[bytes, set[bytes]] = {}

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """Return the examples of a test."""
        found = set(super().fetch(key))
        self._kept.setdefault(key, found)
        return found

    def delete(self, key: bytes, value: bytes) -> None:
        """Delete an example of this run, such as one that a smaller one replaces."""
        if value not in self._kept.get(key, ()):
            super().delete(key, value)


# Windows, a debugger and a busy machine are slow; no test is about time.
settings.register_profile(
    "default",
    deadline=None,
    print_blob=True,
    database=ReadOnlyDatabase(DirectoryBasedExampleDatabase(EXAMPLES)),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore", settings.get_profile("default"), max_examples=cases(100), database=GrowingDatabase(EXAMPLES)
)
settings.load_profile(PROFILE)
if not IS_EXPLORING:
    # Hypothesis tries the constants of all local modules that are loaded: others when one file is tested alone, and
    # others when the package is installed for development.
    providers.is_local_module_file = lambda _path: False  # type: ignore[assignment, attr-defined]


def races(max_examples: int) -> settings:
    """Return settings for calls that race, which no seed repeats."""
    return settings(
        max_examples=max_examples,
        # To explain a failure takes hundreds of runs, and no two races are the same.
        phases=[phase for phase in Phase if phase is not Phase.explain],
        # These fixtures last for all cases of a test.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def choose_seed(asked_for: str | None) -> str:
    """Settle on the seed of a run: the one that is asked for, that of `HYPOTHESIS_SEED`, or that of the profile.

    The variable passes it on to the workers of pytest-xdist.
    """
    chosen = asked_for or os.environ.get("HYPOTHESIS_SEED")
    if chosen is None:
        chosen = str(secrets.randbits(32)) if IS_EXPLORING else DEFAULT_SEED
    os.environ["HYPOTHESIS_SEED"] = chosen
    return chosen


def generator(*names: object) -> random.Random:
    """Return the random numbers of this run for something with these names."""
    return random.Random(" ".join([os.environ["HYPOTHESIS_SEED"], *map(str, names)]))


def seeded(test: Test) -> Test:
    """Give a test, or the factory of a state machine, the seed of the run.

    `hypothesis.seed` does the same, but takes the example database away.
    """
    test._hypothesis_internal_use_seed = int(os.environ["HYPOTHESIS_SEED"])  # type: ignore[attr-defined]
    return test
