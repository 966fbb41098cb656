"""The signals that stop a command: Ctrl-C, SIGTERM, and the SIGHUP of a terminal that closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(KeyboardInterrupt):
    """A signal stops the command.

    Attributes:
        number: Which signal.

    """

    def __init__(self, number: int) -> None:
        """Say which signal it was."""
        is_ctrl_c = number == signal.SIGINT
        super().__init__("interrupted" if is_ctrl_c else f"interrupted by {signal.Signals(number).name}")
        self.number = number


class StopSignals:
    """Handles these signals while it is open, except those that the process ignores, as under ``nohup``.

    The first one raises `Interrupted`, at once or, where that could lose what is already known, as soon as it is
    safe. All others are only noted: they must not break off what the first one brought about.
    """

    def __init__(self) -> None:
        """Handle nothing yet."""
        self._received: int | None = None
        self._raises = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        # After one has come, others must not change how the process ends.
        if self._received is None:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @property
    def has_come(self) -> bool:
        """Whether one has come."""
        return self._received is not None

    def check(self) -> None:
        """Stop the command if a signal has come.

        Raises:
            Interrupted: One has.

        """
        if self._received is not None:
            raise Interrupted(self._received)

    def defer(self) -> None:
        """Only note signals from now on."""
        self._raises = False

    def raise_at_once(self) -> None:
        """Raise the first signal at once from now on, or now.

        Raises:
            Interrupted: It has come.

        """
        if self._received is None:
            self._raises = True
        self.check()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note signals for a while, and raise the first one after it.

        Raises:
            Interrupted: One has come.

        """
        self.defer()
        try:
            yield
        finally:
            self._raises = self._received is None
        self.check()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._received is None:
            self._received = number
        if self._raises:
            self._raises = False
            raise Interrupted(self._received)
