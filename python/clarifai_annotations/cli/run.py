"""A run: one deletion of any length as calls of a fixed length, one after the other, their reports added up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain, islice
from types import TracebackType
from typing import TypeVar, cast

from .. import (
    ClarifaiError,
    DeleteReport,
    DeletionError,
    DeletionPlan,
    JournalError,
    Progress,
    RestoreError,
    RestoreReport,
)
from .._native import fold_backup, fold_journal
from .display import Bar, notes, print_table, results
from .endings import RefusedError, reason
from .id_files import Row, Rows
from .output_files import CallFile, CsvFile, lacking
from .stop_signals import StopSignals

AnyReport = TypeVar("AnyReport", DeleteReport, DeletionPlan, RestoreReport)

ROWS_PER_CALL = 262_144
"""How many IDs are in memory at once."""

ROWS_PER_READ = 1_024
"""How many IDs are in memory at once while those are written that were in no call."""

GRACE = 2.0
"""Seconds for which the files of a run are completed once a signal has come."""

SHOWN_FAILURES = 5

LONGEST_MESSAGE = 10_000
"""Characters of a service's message that are written."""

ADDED = ("deleted", "absent", "failed", "unknown", "unsent", "requests", "retries", "throttled")
"""The counts of a report that add up over calls."""


@dataclass
class Totals:
    """What became of every ID of a run. The counts are those of `DeleteReport`."""

    requested: int
    deleted: int = 0
    absent: int = 0
    failed: int = 0
    unknown: int = 0
    unsent: int = 0
    requests: int = 0
    retries: int = 0
    throttled: int = 0
    from_journal: int = 0
    calls_finished_at: list[datetime | None] = field(default_factory=list)
    elapsed: float = 0.0
    ok: bool = True
    stopped_by: BaseException | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def accounted(self) -> int:
        """How many IDs have been in a call."""
        return self.deleted + self.absent + self.failed + self.unknown + self.unsent

    @property
    def finished_at(self) -> datetime | None:
        """When an earlier run finished all of it, by its journal: nothing was sent."""
        times = [at for at in self.calls_finished_at if at is not None]
        is_finished = len(times) == len(self.calls_finished_at) and self.accounted == self.requested
        return max(times, default=None) if is_finished else None

    def add(self, report: DeleteReport) -> None:
        """Add the report of a call."""
        for name in ADDED:
            setattr(self, name, getattr(self, name) + getattr(report, name))
        self.ok = self.ok and report.ok
        self.warnings.extend(report.warnings)
        self.from_journal += report.from_journal
        self.calls_finished_at.append(report.finished_at)

    def counts(self) -> dict[str, int]:
        """Tell the counts by name."""
        return {name: getattr(self, name) for name in ("requested", *ADDED)}


class FailuresFile:
    """The CSV of what was not done. It is made at the start, when it can still be refused, and kept only with rows in it.

    Its columns begin with ``input_id`` and, unless it is ``of_inputs``, ``annotation_id``, so that it can be given to the
    same command again.

    Attributes:
        count: How many failures there are.
        first: The first of them.

    """

    def __init__(
        self,
        place: CallFile | None,
        *,
        is_wanted: bool = True,
        fine: frozenset[str] = frozenset(),
        of_inputs: bool = False,
    ) -> None:
        """Write to this place, or under a dated name in the current folder.

        Outcomes that are ``fine`` are left out. A file that is not wanted is not made: failures are only counted.
        """
        self.count = 0
        self._place, self._is_wanted = place, is_wanted
        self._ids = ["input_id"] if of_inputs else ["input_id", "annotation_id"]
        self.first: list[tuple[str, str | None, str, str]] = []
        self._fine = fine
        self._file: CsvFile | None = None
        self._missing: str | None = None

    def __enter__(self) -> FailuresFile:
        if self._is_wanted:
            header = [*self._ids, "outcome", "code", "name", "message"]
            self._file = CsvFile(self._place, header, kind="failures")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def name(self) -> str | None:
        """What messages call it, if there are failures in it."""
        return self._file.name if self._file is not None and self._file.written else None

    @property
    def lacks(self) -> str | None:
        """What it lacks, and why. It is known for certain when the file is closed."""
        if self._file is None:
            return None
        why = self._file.why or self._missing
        return None if why is None else lacking(self._file.written, self.count, "failures", why)

    def add(self, report: DeleteReport | RestoreReport) -> None:
        """Write every failure of a call."""
        for failure in report.failures:
            if failure.outcome not in self._fine:
                row = failure.input_id, failure.annotation_id
                self._write(*row, failure.outcome, failure.message, failure.code, failure.name)
        if self._file is not None:
            self._file.flush()

    def add_rows(self, rows: Iterable[Row], outcome: str, message: str) -> None:
        """Write IDs that are in no report."""
        for input_id, *annotation_id in rows:
            self._write(input_id, annotation_id[0] if annotation_id else None, outcome, message)

    def compare(self, totals: Totals, why: str) -> None:
        """Note which failures of a run could not be written, if there are any, and why."""
        outcomes = {"absent", "failed", "unknown", "unsent"} - self._fine
        count = sum(getattr(totals, outcome) for outcome in outcomes)
        if self.count < count:
            self.count, self._missing = count, why

    def show(self) -> None:
        """Show the first failures on standard error, and tell where all are."""
        if self.count:
            print_table(notes, ["input", "annotation", "outcome", "why"], self.first)
        where = ", ".join(part for part in (self.name, self.lacks) if part)
        if where:
            results.print(f"Failures: {where}")

    def _write(
        self,
        input_id: str,
        annotation_id: str | None,
        outcome: str,
        message: str,
        code: int | None = 0,
        name: str | None = "",
    ) -> None:
        if self._file is not None:
            ids = [input_id, annotation_id][: len(self._ids)]
            self._file.add([*ids, outcome, code, name, message[:LONGEST_MESSAGE]])
        self.count += 1
        if len(self.first) < SHOWN_FAILURES:
            self.first.append((input_id, annotation_id, outcome, message))


@dataclass(frozen=True)
class Deadline:
    """The seconds that a run may take; ``None`` for as long as it takes."""

    seconds: float | None
    _begin: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float | None:
        """What the next call may take. When nothing is left it is refused by the call, whose report then says so."""
        if self.seconds is None:
            return None
        return max(round(self.seconds - (time.monotonic() - self._begin), 3), 0.001)


def calls(rows: Rows) -> Iterator[Sequence[Row]]:
    """Give the rows of each call."""
    return rows.parts(ROWS_PER_CALL)


def count_of_calls(rows: Rows) -> int:
    """Tell how many calls that is."""
    return -(-rows.distinct // ROWS_PER_CALL)


def run(
    rows: Rows,
    call: Callable[[int, Sequence[Row]], DeleteReport],
    failures: FailuresFile,
    signals: StopSignals,
) -> Totals:
    """Make call after call, and add up what becomes of every ID.

    Args:
        rows: What is to be deleted.
        call: Deletes the part of this number, from 0.
        failures: Where to write what is not deleted.
        signals: What may stop the run.

    Returns:
        The sums, also where the run was stopped, whatever by: what it did not come to is ``unsent``.

    Raises:
        ClarifaiError: The first call was refused. Nothing was sent; nor was with the errors below.
        RefusedError: The file was changed before the first call.
        Interrupted: A signal came before the first call.

    """
    begin, totals = time.monotonic(), Totals(requested=rows.distinct)
    try:
        signals.defer()
        for number, part in enumerate(calls(rows)):
            report, totals.stopped_by = attempt(partial(call, number, part), signals)
            if report is not None:
                totals.add(report)
                failures.add(report)
            elif not isinstance(totals.stopped_by, ClarifaiError):
                totals.unknown += len(part)
                failures.add_rows(part, "unknown", f"the call was broken off: {reason(totals.stopped_by)}")
            if totals.stopped_by is not None:
                break
    except BaseException as error:
        totals.stopped_by = error
    if totals.stopped_by is not None:
        if not totals.accounted:
            raise totals.stopped_by
        _account_for_the_rest(rows, totals, failures)
    totals.elapsed = time.monotonic() - begin
    return totals


@contextmanager
def folded(backup: CallFile | None, journal: CallFile | None, signals: StopSignals) -> Iterator[None]:
    """Fold the logs of a run's calls into its backup and its journal at the end; those of an earlier run at the start.

    Once a signal has come this is given up after a moment: everything that reads a backup or a journal reads the logs too.

    Raises:
        RefusedError: The logs of an earlier run cannot be folded into the journal.

    """
    if journal is not None and journal.path is not None:
        try:
            fold_journal(journal.path)
        except JournalError as error:
            raise RefusedError(f"{error}. Nothing was sent") from None
    try:
        yield
    finally:
        for file, fold in ((backup, fold_backup), (journal, fold_journal)):
            if file is not None and file.path is not None:
                try:
                    fold(file.path, timeout=GRACE if signals.has_come else None)
                except (ClarifaiError, KeyboardInterrupt) as error:
                    why = str(error) or f"{file} was not brought up to date"
                    notes.print(f"{why}. The same command finds what it has to know in the logs beside it")


def attempt(
    call: Callable[[], AnyReport], signals: StopSignals
) -> tuple[AnyReport | None, BaseException | None]:
    """Make a call. Gives its report, if there is one, and what stopped it before everything was attempted.

    Raises:
        Interrupted: A signal came before.

    """
    signals.raise_at_once()
    try:
        return call(), None
    except (DeletionError, RestoreError) as error:
        return cast("AnyReport", error.report), None
    except BaseException as error:
        return getattr(error, "report", None), error
    finally:
        signals.defer()


def progress_of(bar: Bar, signals: StopSignals) -> Callable[[Progress], None]:
    """Make what a call tells how far it is: the bar, and, at its end, the signals.

    A signal that comes when the report is there already must not take its place.
    """

    def show(progress: Progress) -> None:
        if progress.finished:
            signals.defer()
        bar(progress)

    return show


def _account_for_the_rest(rows: Rows, totals: Totals, failures: FailuresFile) -> None:
    """Count and write what is in no call's report."""
    totals.ok = False
    accounted = totals.accounted
    totals.unsent += totals.requested - accounted
    why = reason(totals.stopped_by) or ""
    try:
        read_again = chain.from_iterable(rows.parts(ROWS_PER_READ))
        failures.add_rows(islice(read_again, accounted, None), "unsent", why)
    except Exception as error:
        why = reason(error) or ""
    failures.compare(totals, why)
