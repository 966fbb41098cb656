"""What people see: messages, bars, plans, reports. IDs are shown as they are, never read as markup or as control codes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .. import Progress as CallProgress

results = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
"""Standard output: what a command was asked for."""

notes = Console(markup=False, highlight=False, emoji=False, soft_wrap=True, stderr=True)
"""Standard error: everything else."""


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
    except EOFError:
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

    @property
    def progress(self) -> Literal[False] | Bar:
        """What the next call takes as its ``progress``."""
        return self if notes.is_interactive else False

    def __call__(self, progress: CallProgress) -> None:
        """Show how far the call, and so the run, is."""
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
