"""What would be deleted: `clarifai-annotations plan`, and what is shown before the question is asked."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from .. import Client, DeletionPlan, PlannedAnnotation
from .display import Bar, counted, duration, print_json, print_table, results
from .endings import ending
from .id_files import Row, id_file
from .new_files import new_csv
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
from .run import Deadline, calls

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
    with ending(), ExitStack() as opened:
        client = opened.enter_context(client_of(user_id, app_id, base_url, requests_per_second))
        ids = opened.enter_context(id_file(file, file_format, columns))
        if inputs and not all_annotations:
            refuse_annotations(file, ids, input_column, "plan")
        written = None if rows is None else opened.enter_context(PlanRows(rows))
        found, deadline = Found(duplicates=ids.count - ids.distinct), Deadline(timeout)
        with Bar("Looking up", ids.distinct) as bar:
            for part in calls(ids):
                planned = plan_deletion(client, part, progress=bar.progress, timeout=deadline.left)
                found.add(planned)
                if written is not None:
                    written.add(planned)
        if output is Output.JSON:
            files = {"rows_file": rows and str(rows)}
            print_json({"command": "plan", **about(client), "rows": ids.count, **found.as_json(), **files})
        else:
            found.show(results)


def plan_deletion(
    client: Client,
    rows: Sequence[Row],
    *,
    progress: Bar | Literal[False] = False,
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
    """A CSV of every annotation of a plan."""

    def __init__(self, path: Path) -> None:
        """Write to this path, where nothing is yet."""
        self._path = path

    def __enter__(self) -> PlanRows:
        self._file = new_csv(self._path)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, planned: DeletionPlan) -> None:
        """Write every annotation of a plan."""
        self._rows.writerows([getattr(it, name) for name in COLUMNS] for it in planned.annotations)
