"""The bar of ``progress=True``: tqdm's, for a notebook or a terminal."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._native import Progress


def bar_or_none(work: str) -> Bar | None:
    """Make a bar that is called after the work; ``None``, with a warning, where tqdm is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        text = (
            "progress=True shows a bar by tqdm, which is not installed: pip install 'clarifai-annotations[progress]', "
            "or pass a callable"
        )
        warnings.warn(text, stacklevel=2)
        return None
    return Bar(tqdm, work)


class Bar:
    """Shows what is done, the rate, the time left, and how often the service throttled."""

    def __init__(self, tqdm: Any, work: str) -> None:
        """Make a bar of this kind of tqdm's when it is known how much there is to do."""
        self._tqdm = tqdm
        self._work = work
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        """Show how far the call is."""
        if self._bar is None:
            # What a restoration has to do is known only once its backup is read, and a bar in a notebook keeps its length.
            if not progress.requested and not progress.finished:
                return
            self._bar = self._tqdm(total=progress.requested, desc=self._work, unit=" IDs")
        # What was turned away counts as open again: the bar never moves back.
        self._bar.n = max(self._bar.n, progress.done)
        self._bar.set_postfix(throttled=progress.throttled, refresh=False)
        self._bar.refresh()
        if progress.finished:
            self._bar.close()
