"""What people see: messages, bars, plans, reports. IDs are shown as they are, never read as markup or as control codes."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .. import Progress as CallProgress


class _Stream:
    """Standard output or standard error, which may fail while a command runs.

    The reader of a pipe ends, a terminal is closed, a disk is full. That is no error here, because the command has more
    to do than to print. What nobody can read any more goes nowhere; what a disk does not take goes to the substitute.
    """

    def __init__(self, name: str, substitute: _Stream | None = None) -> None:
        self._name, self._substitute = name, substitute
        self._unflushed = ""
        self.has_failed = False

    @property
    def _stream(self) -> IO[str]:
        stream = getattr(sys, self._name)
        # While a bar is shown, Rich puts something there that prints to the console of this stream.
        return cast("IO[str]", getattr(stream, "rich_proxied_file", stream))

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        if self.has_failed:
            return len(text) if self._substitute is None else self._substitute.write(text)
        self._unflushed += text
        try:
            return self._stream.write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        if self.has_failed:
            return
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)
        else:
            self._unflushed = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _fail(self, error: OSError) -> None:
        self.has_failed = True
        # What Python still holds of it is flushed when it ends, and would be an error then.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if error.errno in (errno.EPIPE, errno.EIO):
            self._substitute = None
        elif self._substitute is not None:
            self._substitute.write(f"Standard output cannot be written: {error.strerror}\n{self._unflushed}")
            self._substitute.flush()


_errors = _Stream("stderr")
_output = _Stream("stdout", _errors)

results = Console(file=cast("IO[str]", _output), markup=False, highlight=False, emoji=False, soft_wrap=True)
"""Standard output: what a command was asked for."""

notes = Console(
    file=cast("IO[str]", _errors), markup=False, highlight=False, emoji=False, soft_wrap=True, stderr=True
)
"""Standard error: everything else."""


def results_are_lost() -> bool:
    """Tell whether standard output took less than what a command printed."""
    return _output.has_failed


def print_json(result: dict[str, Any]) -> None:
    """Print the result as one JSON object on standard output."""
    results.out(json.dumps(result, indent=2, ensure_ascii=False))


def print_table(console: Console, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, of which the last column may take several lines."""
    table = Table(box=None, padding=(0, 1))
    for head in heads:
        table.add_column(Text(head, style="bold"), no_wrap=head != heads[-1], overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console.print(table, soft_wrap=False)


def print_counts(counts: dict[str, int]) -> None:
    """Print those of the counts that are not 0, a line each."""
    for text, count in counts.items():
        if count:
            results.print(f"{text}: {count:,}")


def ask(question: str) -> bool:
    """Ask at the terminal. Anything but yes is no."""
    try:
        answer = notes.input(f"{question} [y/N] ", markup=False)
    except (EOFError, OSError):  # the latter where the terminal is closed
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def visible(value: object) -> str:
    """Show a value in a line: what cannot be printed is escaped, a number is grouped."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text if text.isprintable() else repr(text)


def counted(number: int, noun: str) -> str:
    """Say a number of things, for example ``1 row`` and ``2,000 rows``."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def duration(seconds: float) -> str:
    """Say how long, as exactly as anybody wants to know."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.95 else f"{seconds:.2f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class Bar:
    """The bar of a run of several calls, on standard error; none where that is no terminal."""

    def __init__(self, verb: str, total: int | None = None) -> None:
        """Make the bar of a run over so many IDs; ``None`` for those of its one call."""
        columns = (TextColumn(verb), BarColumn(), TextColumn("{task.fields[pace]}"))
        self._bar = Progress(*columns, console=notes, transient=True)
        self._task = self._bar.add_task(verb, total=total, pace="")
        self._total, self._begin = total, time.monotonic()
        self._done_before = self._throttled_before = 0

    def __enter__(self) -> Bar:
        if notes.is_interactive:  # elsewhere it would print an empty line
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if notes.is_interactive:
            self._bar.stop()

    def __call__(self, progress: CallProgress) -> None:
        """Show how far the call, and so the run, is."""
        if not notes.is_interactive:
            return
        done, throttled = self._done_before + progress.done, self._throttled_before + progress.throttled
        total = self._total or progress.requested
        rate = done / max(time.monotonic() - self._begin, 0.001)
        pace = f"{done:,}/{total:,}, {rate:,.0f}/s"
        if done:
            pace += f", {duration((total - done) / rate)} left"
        if throttled:
            pace += f", throttled {throttled:,} times"
        self._bar.update(self._task, completed=done, total=total, pace=pace)
        if progress.finished:
            self._done_before, self._throttled_before = done, throttled
