"""Processes that end with the test run that started them, also where that is killed and cannot stop them."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
"""Of `prctl(2)`: the signal that a process gets when its parent ends. It outlives `exec`."""


def end_with_parent() -> Callable[[], None] | None:
    """Return the `preexec_fn` for such a process: Linux alone has a way to ask for it."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
