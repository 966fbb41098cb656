"""What the emulators of the tests answer to the deletion of a missing annotation: SUCCESS, or a refusal.

Clarifai does not document it, so every test has to pass with both. `pytest --missing=refused` changes the default of `Emulator` in
the process of the tests. No program that a test starts has a test's expectations of an emulator of its own.
"""

from __future__ import annotations

import functools
from typing import Any

from clarifai_annotations import emulator

OPTIONS: dict[str, dict[str, Any]] = {
    "success": {"missing_pair": "success", "missing_single": "success"},
    "refused": {"missing_pair": "refused", "missing_single": "status"},
}
"""By the values of `--missing`, the options of `Emulator`."""


def choose(missing: str) -> None:
    """Have `Emulator` answer so in this process. Tests import it afterwards.

    "success" changes nothing, so that a run with it also tests the default.
    """
    if missing != "success":
        emulator.Emulator = functools.partial(emulator.Emulator, **OPTIONS[missing])  # type: ignore[assignment,misc]
