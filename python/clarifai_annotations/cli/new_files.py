"""The files that a command writes: never over one that is there."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TextIO

from .endings import RefusedError


def new_file(given: Path | None, kind: str, suffix: str) -> Path:
    """Name a file that is not there yet: the given one, or a dated one in the current folder.

    Raises:
        RefusedError: The given one is there.

    """
    if given is not None:
        if given.exists():
            raise RefusedError(f"{given} is there already: name another. Nothing was sent")
        return given
    stamp = f"clarifai-{kind}-{datetime.now():%Y-%m-%dT%H%M%S}"
    names = (Path(f"{stamp}{count}{suffix}") for count in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(name for name in names if not name.exists())


def new_csv(path: Path) -> TextIO:
    """Make a CSV file.

    Raises:
        RefusedError: It is there, or cannot be written.

    """
    try:
        return path.open("x", encoding="utf-8", newline="")
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}. Nothing was sent") from None
