"""What would be deleted: `clarifai-annotations plan`, and what is shown before the question is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer
from rich.console import Console

from .. import Client, DeletionPlan, PlannedAnnotation, Progress
from .display import Bar, counted, duration, notes, print_json, print_table, results
from .endings import ending, exit_code, is_expected, reason
from .id_files import Row, Rows, id_file
from .options import (
    AllAnnotations,
    AnnotationColumn,
    AppId,
    BaseUrl,
    File,
    FileFormat,
    InputColumn,
    Output,
    OutputFormat,
    RequestsPerSecond,
    Timeout,
    UserId,
    about,
    client_of,
    refuse_annotations,
)
from .output_files import CallFile, CsvFile, lacking, read_file, refuse_shared_files, written_file
from .run import Deadline, attempt, calls, progress_of
from .stop_signals import StopSignals

EXAMPLES = """\b
Examples:
  clarifai-annotations plan doubtful.csv
  clarifai-annotations plan --inputs blurred.parquet --rows plan.csv"""

SHOWN_ROWS = 5

COLUMNS = ("action", "input_id", "annotation_id", "creator", "status", "created_at", "made_by_model")
"""What `--rows` writes of each annotation."""


def plan(
    file: File,
    inputs: Annotated[
        bool, typer.Option("--inputs", help="FILE names inputs, as for delete-inputs.")
    ] = False,
    rows: Annotated[
        Path | None, typer.Option(metavar="PATH", help="CSV to write: what is to become of each annotation.")
    ] = None,
    file_format: FileFormat = None,
    input_column: InputColumn = "input_id",
    annotation_column: AnnotationColumn = "annotation_id",
    all_annotations: AllAnnotations = False,
    requests_per_second: RequestsPerSecond = None,
    timeout: Timeout = None,
    user_id: UserId = None,
    app_id: AppId = None,
    base_url: BaseUrl = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Look up what a deletion would delete. Deletes nothing."""
    columns = [input_column] if inputs else [input_column, annotation_column]
    with ending() as signals, ExitStack() as opened:
        place = None if rows is None else written_file("--rows", rows)
        files = [read_file("FILE", file), *([] if place is None else [place])]
        refuse_shared_files(files)
        client = opened.enter_context(client_of(user_id, app_id, base_url, requests_per_second))
        ids = opened.enter_context(id_file(file, file_format, columns))
        if inputs and not all_annotations:
            refuse_annotations(file, ids, input_column, "plan")
        found = Found(duplicates=ids.count - ids.distinct)
        with ExitStack() as written:
            with signals.deferred():
                plan_rows = None if place is None else written.enter_context(PlanRows(place))
            refuse_shared_files(files)
            stopped_by = look_up(client, ids, found, plan_rows, Deadline(timeout), signals)
        if stopped_by is not None and not found.requested:
            raise stopped_by
        lacks = plan_rows and plan_rows.lacks
        if lacks is None and plan_rows is not None and stopped_by is not None:
            lacks = f"only the first {found.requested:,} of {counted(ids.distinct, 'ID')} were looked up"
        if output is Output.JSON:
            print_json(
                {
                    "command": "plan",
                    **about(client),
                    "rows": ids.count,
                    **found.as_json(),
                    "stopped_by": reason(stopped_by),
                    "rows_file": plan_rows and plan_rows.name,
                    "rows_lacking": lacks,
                }
            )
        else:
            found.show(results)
        if plan_rows is not None and lacks is not None:
            # In JSON it was said already, but perhaps to a program.
            where = ", ".join(part for part in (plan_rows.name, lacks) if part)
            (notes if output is Output.JSON else results).print(f"Rows: {where}")
        if stopped_by is not None:
            notes.print(f"Stopped: {reason(stopped_by)}")
            if not is_expected(stopped_by):
                raise stopped_by
        if lacks is not None or stopped_by is not None:
            raise typer.Exit(exit_code(False, stopped_by))


def look_up(
    client: Client,
    rows: Rows,
    found: Found,
    plan_rows: PlanRows | None,
    deadline: Deadline,
    signals: StopSignals,
) -> BaseException | None:
    """Plan call after call, and add up what is found. Tells what stopped that, if anything did."""
    try:
        with Bar("Looking up", rows.distinct) as bar:
            signals.defer()
            progress = progress_of(bar, signals)
            for part in calls(rows):
                look = partial(plan_deletion, client, part, progress=progress, timeout=deadline.left)
                planned, stopped_by = attempt(look, signals)
                if planned is not None:
                    found.add(planned)
                    if plan_rows is not None:
                        plan_rows.add(planned)
                if stopped_by is not None:
                    return stopped_by
            if plan_rows is not None:
                plan_rows.complete()
    except BaseException as error:
        return error
    return None


def plan_deletion(
    client: Client,
    rows: Sequence[Row],
    *,
    progress: Callable[[Progress], None],
    timeout: float | None = None,
) -> DeletionPlan:
    """Plan the deletion of pairs, or of the annotations of inputs, as the rows are wide."""
    input_ids, *annotation_ids = (list(column) for column in zip(*rows, strict=True))
    if annotation_ids:
        return client.plan_deletion(input_ids, *annotation_ids, progress=progress, timeout=timeout)
    return client.plan_input_deletion(input_ids, progress=progress, timeout=timeout)


@dataclass
class Found:
    """The counts of one or several plans, and whose annotations are to be deleted."""

    requested: int = 0
    deletions: int = 0
    absent: int = 0
    spared: int = 0
    duplicates: int = 0
    requests: int = 0
    elapsed: float = 0.0
    kinds: Counter[tuple[str | None, bool | None, str | None]] = field(default_factory=Counter)
    first: list[PlannedAnnotation] = field(default_factory=list)

    def add(self, planned: DeletionPlan) -> None:
        """Add a plan."""
        for name in ("requested", "deletions", "absent", "spared", "requests", "elapsed"):
            setattr(self, name, getattr(self, name) + getattr(planned, name))
        for it in planned.annotations:
            if it.action == "delete":
                self.kinds[it.creator, it.made_by_model, it.status] += 1
            if len(self.first) < SHOWN_ROWS:
                self.first.append(it)

    def as_json(self) -> dict[str, Any]:
        """Tell the counts, and those of each kind of annotation."""
        names = ("requested", "deletions", "absent", "spared", "duplicates", "requests")
        kinds = [
            {"creator": creator, "made_by_model": made_by_model, "status": status, "deletions": count}
            for (creator, made_by_model, status), count in self.kinds.most_common()
        ]
        return {
            **{name: getattr(self, name) for name in names},
            "elapsed": round(self.elapsed, 3),
            "kinds": kinds,
        }

    def show(self, console: Console) -> None:
        """Show the counts, each kind of annotation, and the first rows."""
        console.print(f"To delete: {counted(self.deletions, 'annotation')}")
        if self.kinds:
            kinds = self.kinds.most_common(10)
            print_table(
                console, ["number", "by", "by a model", "status"], [(count, *kind) for kind, count in kinds]
            )
            if len(self.kinds) > len(kinds):
                console.print(f"  and {counted(len(self.kinds) - len(kinds), 'more kind')}")
        if self.absent:
            console.print(f"Not there: {self.absent:,}")
        if self.spared:
            console.print(f"Left alone: {counted(self.spared, 'input-level annotation')}")
        if self.duplicates:
            console.print(f"Rows that repeat another: {self.duplicates:,}")
        if self.first:
            heads = ["", "input", "annotation", "by", "status", "created"]
            rows = [
                (
                    it.action,
                    it.input_id,
                    it.annotation_id,
                    it.creator,
                    it.status,
                    it.created_at and it.created_at.date(),
                )
                for it in self.first
            ]
            print_table(console, heads, rows)
        console.print(f"Looked up with {counted(self.requests, 'request')} in {duration(self.elapsed)}.")


class PlanRows:
    """A CSV of every annotation of a plan. It is kept with rows in it, or when there are none."""

    def __init__(self, place: CallFile) -> None:
        """Write to this place, where nothing is yet."""
        self._place, self._count, self._is_complete = place, 0, False

    def __enter__(self) -> PlanRows:
        self._file = CsvFile(self._place, COLUMNS, kind="plan")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close(keep_empty=self._is_complete and not self._count)

    @property
    def name(self) -> str | None:
        """What messages call it, if it was kept."""
        return self._file.name if self._file.written or (self._is_complete and not self._count) else None

    @property
    def lacks(self) -> str | None:
        """What could not be written, and why. It is known for certain when the file is closed."""
        why = self._file.why
        return None if why is None else lacking(self._file.written, self._count, "rows", why)

    def add(self, planned: DeletionPlan) -> None:
        """Write every annotation of a plan."""
        for it in planned.annotations:
            self._count += 1
            self._file.add([getattr(it, name) for name in COLUMNS])
        self._file.flush()

    def complete(self) -> None:
        """Note that everything was looked up."""
        self._is_complete = True
