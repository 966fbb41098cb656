"""The futures of the awaitable twins. Imported at the first of them, for asyncio takes its time to load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from ._native import Inbox

_inboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Inbox] = WeakKeyDictionary()


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "no running event loop: call the functions that end in _async inside an `async def`, or the one "
            "without _async. Nothing was sent"
        ) from None


def pending(end: Callable[[], None]) -> tuple[DeletionFuture, Inbox]:
    """Make a future of the running loop, and find where its result is to be put."""
    loop = _running_loop()
    inbox = _inboxes.get(loop)
    if inbox is None:
        inbox = _inboxes[loop] = Inbox()
    return DeletionFuture(end, loop=loop), inbox


def done(value: Any) -> asyncio.Future[Any]:
    """Make a future of the running loop that has its result already."""
    future = _running_loop().create_future()
    future.set_result(value)
    return future


class DeletionFuture(asyncio.Future[Any]):
    """A future that is cancelled in two steps: nothing more is sent, then the answers on their way are in."""

    def __init__(self, end: Callable[[], None], *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._end: Callable[[], None] | None = end
        self._cancel_message: Any = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Say what is forgotten where a result's attribute is asked for."""
            raise AttributeError(
                f"this awaitable has no {name!r}: write `await` before the call to get its result"
            )

    def cancel(self, msg: Any | None = None) -> bool:
        """Ask for the end of the call. `asyncio.CancelledError` comes within two seconds."""
        if self.done():
            return False
        if self._end is not None:
            end, self._end = self._end, None
            self._cancel_message = msg
            end()
        return True

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Take the result. Called in the loop."""
        if self._end is None:
            super().cancel(self._cancel_message)
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(value)
