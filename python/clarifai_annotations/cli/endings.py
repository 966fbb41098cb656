"""How a command ends: its exit codes, and errors as messages instead of tracebacks."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from .. import (
    BackupError,
    ClarifaiError,
    ConfigurationError,
    DeletionLimitError,
    IdError,
    JournalError,
)
from .display import notes

NOT_ALL_DONE = 1
REFUSED = 2
INTERRUPTED = 130


class RefusedError(Exception):
    """A command cannot be carried out as it stands. Nothing was sent."""


def exit_code(ok: bool, stopped_by: BaseException | None) -> int:
    """Tell what a command that sent something ends with."""
    if isinstance(stopped_by, KeyboardInterrupt):
        return INTERRUPTED
    return 0 if ok else NOT_ALL_DONE


def reason(stopped_by: BaseException | None) -> str | None:
    """Say what stopped a run, if anything did: without the counts of its last call, and where Python finds them."""
    if isinstance(stopped_by, ClarifaiError):
        return stopped_by.reason
    return None if stopped_by is None else str(stopped_by) or "interrupted"


@contextmanager
def ending() -> Iterator[None]:
    """End the command with a message and the right exit code, whatever a user's error, the service or Ctrl-C raises."""
    try:
        yield
    except (
        RefusedError,
        BackupError,
        ConfigurationError,
        DeletionLimitError,
        IdError,
        JournalError,
    ) as error:
        notes.print(f"Error: {error}")
        raise typer.Exit(REFUSED) from None
    except ClarifaiError as error:
        notes.print(f"Error: {error}")
        raise typer.Exit(NOT_ALL_DONE) from None
    except KeyboardInterrupt:
        notes.print("Interrupted.")
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # nobody reads any more: typer's to end
            raise
        notes.print(f"Error: {error}")
        raise typer.Exit(NOT_ALL_DONE) from None
