"""How a command ends: its exit codes, and errors as messages instead of tracebacks."""

from __future__ import annotations

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
from .display import notes, results_are_lost
from .stop_signals import Interrupted, StopSignals

NOT_ALL_DONE = 1
REFUSED = 2
INTERRUPTED = 130


class RefusedError(Exception):
    """A command cannot be carried out as it stands. Nothing was sent."""


def exit_code(ok: bool, stopped_by: BaseException | None) -> int:
    """Tell what a command that sent something ends with."""
    if isinstance(stopped_by, Interrupted):
        return 128 + stopped_by.number
    if isinstance(stopped_by, KeyboardInterrupt):
        return INTERRUPTED
    return 0 if ok and not results_are_lost() else NOT_ALL_DONE


def is_expected(error: BaseException | None) -> bool:
    """Tell whether an error can happen to a program without a fault."""
    return error is None or isinstance(
        error, ClarifaiError | RefusedError | OSError | KeyboardInterrupt | MemoryError
    )


def reason(stopped_by: BaseException | None) -> str | None:
    """Say what stopped a run, if anything did: without the counts of its last call, and where Python finds them."""
    if isinstance(stopped_by, ClarifaiError):
        return stopped_by.reason
    if stopped_by is None:
        return None
    if isinstance(stopped_by, KeyboardInterrupt):
        return str(stopped_by) or "interrupted"
    if isinstance(stopped_by, RefusedError | OSError):
        return str(stopped_by)
    return f"{type(stopped_by).__name__}: {stopped_by}".removesuffix(": ")


@contextmanager
def ending() -> Iterator[StopSignals]:
    """End the command with a message and the right exit code, whatever a user's error, the service or a signal raises."""
    with StopSignals() as signals, _explained():
        yield signals


@contextmanager
def _explained() -> Iterator[None]:
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
    except KeyboardInterrupt as error:
        notes.print("Interrupted.")
        raise typer.Exit(exit_code(False, error)) from None
    except OSError as error:
        notes.print(f"Error: {error}")
        raise typer.Exit(NOT_ALL_DONE) from None
