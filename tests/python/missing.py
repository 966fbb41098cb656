"""How emulators of the tests answer deletions of missing annotations: with SUCCESS, or with a refusal.

Clarifai does not document which of the two its service does, so every test has to pass with both. `pytest --missing=refused`
changes what an `Emulator` does where a test does not say. The options are set below its public face: programs that a test
starts keep the default.
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

    The default is left as it is, so that its run also tests the default of `Emulator`.
    """
    if missing != "success":
        emulator.Emulator = functools.partial(emulator.Emulator, **OPTIONS[missing])  # type: ignore[misc]
