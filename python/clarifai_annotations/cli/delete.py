"""The deletions: `clarifai-annotations delete`, `delete-inputs` and `delete-one`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Client, DeleteReport, DeletionLimitError
from .display import Bar, ask, counted, duration, notes, print_counts, print_json, results
from .endings import RefusedError, ending, exit_code, is_expected, reason
from .id_files import Row, Rows, id_file
from .options import (
    DEFAULT_REQUESTS_PER_SECOND,
    AllAnnotations,
    AnnotationColumn,
    AppId,
    Backup,
    BaseUrl,
    Failures,
    File,
    FileFormat,
    InputColumn,
    Journal,
    LookFirst,
    MaxDeletions,
    MissingOk,
    NoBackup,
    Output,
    OutputFormat,
    RequestsPerSecond,
    Timeout,
    UserId,
    Yes,
    about,
    client_of,
    refuse_annotations,
    refuse_silence,
)
from .output_files import CallFile, claim_backup, read_file, refuse_shared_files, written_file
from .plan import Found, plan_deletion
from .run import Deadline, FailuresFile, Totals, calls, count_of_calls, folded, progress_of, run
from .stop_signals import StopSignals

if TYPE_CHECKING:
    from .._types import RequestsPerSecond as Rate

ENDS = """Exit codes: 0 all deleted, 1 not all, 2 refused before anything was sent,
128+N stopped by signal N, so 130 by Ctrl-C.

What was not deleted is in a CSV that can be given to the same command again."""

DELETE_EXAMPLES = f"""\b
Examples:
  clarifai-annotations delete doubtful.csv
  clarifai-annotations delete doubtful.parquet --yes --journal run.journal
  zcat doubtful.csv.gz | clarifai-annotations delete - --yes --output json

{ENDS}"""

DELETE_INPUTS_EXAMPLES = f"""\b
Examples:
  clarifai-annotations delete-inputs blurred.csv --max-deletions 10000
  clarifai-annotations delete-inputs blurred.jsonl --yes --no-backup

{ENDS}"""

DELETE_ONE_EXAMPLES = """\b
Example:
  clarifai-annotations delete-one photo-1 box-7"""

PLANNED_ROWS = 10_000
"""Of a longer file, so many rows are looked up before the question. `plan` looks up all."""

BATCH = 128
"""What a request carries."""


def delete(
    file: File,
    file_format: FileFormat = None,
    input_column: InputColumn = "input_id",
    annotation_column: AnnotationColumn = "annotation_id",
    missing_ok: MissingOk = False,
    max_deletions: MaxDeletions = None,
    yes: Yes = False,
    backup: Backup = None,
    no_backup: NoBackup = False,
    look_first: LookFirst = False,
    journal: Journal = None,
    failures: Failures = None,
    requests_per_second: RequestsPerSecond = None,
    timeout: Timeout = None,
    user_id: UserId = None,
    app_id: AppId = None,
    base_url: BaseUrl = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Delete the annotations that a file names in pairs of IDs.

    Every row is checked before anything is sent. You are shown what will go, and asked.
    """
    with ending() as signals:
        refuse_silence(yes)
        files = chosen_files(file, backup, no_backup, journal, failures)
        with (
            client_of(user_id, app_id, base_url, requests_per_second) as client,
            id_file(file, file_format, [input_column, annotation_column]) as rows,
        ):
            if max_deletions is not None and rows.distinct > max_deletions:
                raise RefusedError(
                    f"{file} names {rows.distinct:,} annotations, and --max-deletions is {max_deletions:,}. Nothing was sent"
                )
            job = Job(
                "delete",
                client,
                rows,
                files,
                requests_per_second,
                missing_ok=missing_ok,
                look_first=look_first,
            )
            carry_out(job, signals, yes=yes, timeout=timeout, output=output)


def delete_inputs(
    file: File,
    file_format: FileFormat = None,
    input_column: InputColumn = "input_id",
    all_annotations: AllAnnotations = False,
    max_deletions: MaxDeletions = None,
    yes: Yes = False,
    backup: Backup = None,
    no_backup: NoBackup = False,
    look_first: LookFirst = False,
    journal: Journal = None,
    failures: Failures = None,
    requests_per_second: RequestsPerSecond = None,
    timeout: Timeout = None,
    user_id: UserId = None,
    app_id: AppId = None,
    base_url: BaseUrl = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Delete all annotations of the inputs that a file names.

    Input-level annotations stay: they go only with their input. Every row is checked before
    anything is sent. You are shown what will go, and asked.
    """
    with ending() as signals:
        refuse_silence(yes)
        files = chosen_files(file, backup, no_backup, journal, failures)
        with (
            client_of(user_id, app_id, base_url, requests_per_second) as client,
            id_file(file, file_format, [input_column]) as rows,
        ):
            if not all_annotations:
                refuse_annotations(file, rows, input_column, "delete")
            job = Job(
                "delete-inputs",
                client,
                rows,
                files,
                requests_per_second,
                max_deletions=max_deletions,
                look_first=look_first,
            )
            carry_out(job, signals, yes=yes, timeout=timeout, output=output)


def delete_one(
    input_id: Annotated[str, typer.Argument(metavar="INPUT_ID", show_default=False)],
    annotation_id: Annotated[str, typer.Argument(metavar="ANNOTATION_ID", show_default=False)],
    missing_ok: MissingOk = False,
    yes: Yes = False,
    backup: Backup = None,
    no_backup: NoBackup = False,
    look_first: LookFirst = False,
    timeout: Timeout = None,
    user_id: UserId = None,
    app_id: AppId = None,
    base_url: BaseUrl = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Delete one annotation."""
    with ending() as signals:
        refuse_silence(yes)
        files = chosen_files(None, backup, no_backup)
        with client_of(user_id, app_id, base_url) as client:
            rows = Rows((input_id, annotation_id))
            job = Job("delete-one", client, rows, files, missing_ok=missing_ok, look_first=look_first)
            carry_out(job, signals, yes=yes, timeout=timeout, output=output)


@dataclass(frozen=True)
class Files:
    """The files of a deletion, each ``None`` where there is none.

    Attributes:
        backup: Where copies go.
        journal: What keeps track.
        failures: Where failures go, if that was said.
        ids: What is read.
        has_dated_backup: Whether the backup is still to be given a name.

    """

    backup: CallFile | None
    journal: CallFile | None
    failures: CallFile | None
    ids: CallFile | None = None
    has_dated_backup: bool = False

    def refuse_shared(self) -> None:
        """Make sure that they are different files.

        Raises:
            RefusedError: Two are one.

        """
        files = (self.ids, self.backup, self.journal, self.failures)
        refuse_shared_files(file for file in files if file is not None)


@dataclass(frozen=True)
class Job:
    """A deletion that is to be carried out."""

    command: str
    client: Client
    rows: Rows
    files: Files
    requests_per_second: Rate = None
    missing_ok: bool = False
    max_deletions: int | None = None
    look_first: bool = False

    @property
    def noun(self) -> str:
        """What a row names."""
        return "input" if self.command == "delete-inputs" else "annotation"


def chosen_files(
    ids: Path | None,
    backup: Path | None,
    no_backup: bool,
    journal: Path | None = None,
    failures: Path | None = None,
) -> Files:
    """Choose the files of a deletion. Makes none.

    Without a path the backup goes beside a journal, so that every run of one journal adds to one backup.

    Raises:
        RefusedError: A backup is both wanted and not, or two of the files are one.

    """
    if no_backup and backup is not None:
        raise RefusedError("--backup and --no-backup exclude each other. Nothing was sent")
    option = "--backup"
    if not no_backup and backup is None and journal is not None:
        option, backup = "the backup beside --journal", journal.with_name(f"{journal.name}.backup.parquet")
    files = Files(
        None if backup is None else written_file(option, backup, has_side_files=True),
        None if journal is None else written_file("--journal", journal, has_side_files=True),
        None if failures is None else written_file("--failures", failures),
        None if ids is None else read_file("FILE", ids),
        has_dated_backup=not no_backup and backup is None,
    )
    files.refuse_shared()
    return files


@contextmanager
def _with_files(job: Job, signals: StopSignals) -> Iterator[tuple[Job, FailuresFile]]:
    """Make the files of a job that are its alone. Those that are not used are removed in the end.

    Raises:
        RefusedError: One cannot be made.

    """
    files = job.files
    failures = FailuresFile(
        files.failures,
        is_wanted=job.command != "delete-one",
        fine=frozenset({"absent"} if job.missing_ok else ()),
        of_inputs=job.noun == "input",
    )
    with ExitStack() as opened:
        with signals.deferred():
            opened.enter_context(failures)
            if files.has_dated_backup:
                claimed = opened.enter_context(claim_backup())
                backup = replace(written_file("--backup", claimed, has_side_files=True), name=claimed.name)
                files = replace(files, backup=backup, has_dated_backup=False)
        # Only now can a file system say that two names, such as `a` and `A`, are one to it.
        files.refuse_shared()
        yield replace(job, files=files), failures


def carry_out(job: Job, signals: StopSignals, *, yes: bool, timeout: float | None, output: Output) -> None:
    """Ask, delete, and say what became of every ID.

    Raises:
        Exit: With the command's exit code.

    """
    with _with_files(job, signals) as (job, failures):
        confirmed = None if yes or not job.rows.distinct else _ask(job)
        deadline = Deadline(timeout)
        caps = _caps(job, confirmed, deadline)
        backup, journal, last = job.files.backup, job.files.journal, count_of_calls(job.rows) - 1
        with Bar("Deleting", job.rows.distinct) as bar:
            progress = progress_of(bar, signals)

            def call(number: int, part: Sequence[Row]) -> DeleteReport:
                input_ids, *annotation_ids = (list(column) for column in zip(*part, strict=True))
                options: dict[str, Any] = {
                    "progress": progress,
                    "timeout": deadline.left,
                    # Its file is completed once, by the last call.
                    "backup": backup and (backup.path, number == last),
                    "journal": journal and (journal.path, number, job.rows.distinct),
                    "look_first": job.look_first,
                }
                if annotation_ids:
                    options["missing_ok"] = job.missing_ok
                    return job.client.delete_annotations(input_ids, *annotation_ids, **options)
                return job.client.delete_input_annotations(input_ids, max_deletions=caps[number], **options)

            with folded(backup, journal, signals):
                totals = run(job.rows, call, failures, signals)
    (_print_json if output is Output.JSON else _print_text)(job, totals, failures)
    if totals.stopped_by is not None and not is_expected(totals.stopped_by):
        raise totals.stopped_by
    raise typer.Exit(exit_code(totals.ok and failures.lacks is None, totals.stopped_by))


def _ask(job: Job) -> int | None:
    """Show what will go, and ask. Tells how many annotations that is, where all rows were looked up.

    Raises:
        RefusedError: They are too many, or the answer is not yes.

    """
    rows, client = job.rows, job.client
    found = Found(duplicates=rows.count - rows.distinct)
    with Bar("Looking up", min(rows.distinct, PLANNED_ROWS)) as bar:
        for part in islice(rows.parts(PLANNED_ROWS), 1):
            found.add(plan_deletion(client, part, progress=bar))
    is_complete = found.requested == rows.distinct
    notes.print(f"App {client.user_id}/{client.app_id} at {client.base_url}")
    if not is_complete:
        notes.print(
            f"Of {counted(rows.distinct, job.noun)}, the first {found.requested:,} were looked up. "
            "`clarifai-annotations plan` looks up all."
        )
    found.show(notes)
    if job.max_deletions is not None and found.deletions > job.max_deletions:
        raise RefusedError(f"that is more than --max-deletions {job.max_deletions:,}. Nothing was deleted")
    backup = job.files.backup
    notes.print(f"Backup: {backup.name if backup else 'none. What is deleted cannot be brought back.'}")
    if (seconds := _seconds(job, found)) > 1:
        notes.print(f"It will take about {duration(seconds)}.")
    if not ask(_question(job, found, is_complete)):
        raise RefusedError("not confirmed. Nothing was deleted")
    return found.deletions if is_complete else None


def _question(job: Job, found: Found, is_complete: bool) -> str:
    if is_complete and not found.deletions:
        return "There is nothing to delete. Send the deletion all the same?"
    if is_complete:
        return f"Delete {counted(found.deletions, 'annotation')}?"
    if job.noun == "annotation":
        return f"Delete {counted(job.rows.distinct, 'annotation')}?"
    return f"Delete all annotations of {counted(job.rows.distinct, 'input')}?"


def _seconds(job: Job, found: Found) -> float:
    """Estimate a deletion by what was looked up for it: for a backup, everything is looked up once more."""
    looked_up = found.requested / job.rows.distinct if job.rows.distinct else 1
    # A higher rate may be found out meanwhile.
    rate = job.requests_per_second
    rate = rate if isinstance(rate, (int, float)) else DEFAULT_REQUESTS_PER_SECOND
    if job.files.backup is None:
        return job.rows.distinct / BATCH / rate
    return (found.requests + found.deletions / BATCH) / looked_up / rate


def _caps(job: Job, confirmed: int | None, deadline: Deadline) -> list[int | None]:
    """Tell how many annotations each call may delete. What belongs to several calls is counted before the first.

    Raises:
        RefusedError: They would be too many in all.

    """
    most, count = job.max_deletions, count_of_calls(job.rows)
    if count <= 1:
        return [min((number for number in (most, confirmed) if number is not None), default=None)]
    if most is None or job.noun == "annotation":
        return [None] * count
    caps: list[int | None] = []
    left = most
    with Bar("Counting", job.rows.distinct) as bar:
        for part in calls(job.rows):
            input_ids = [input_id for (input_id,) in part]
            try:
                planned = job.client.plan_input_deletion(
                    input_ids, max_deletions=left, progress=bar, timeout=deadline.left
                )
            except DeletionLimitError:
                raise RefusedError(
                    f"more than {most:,} annotations are on these inputs, which is --max-deletions. Nothing was deleted"
                ) from None
            caps.append(planned.deletions)
            left -= planned.deletions
    return caps


def _print_json(job: Job, totals: Totals, failures: FailuresFile) -> None:
    backup, journal = job.files.backup, job.files.journal
    print_json(
        {
            "command": job.command,
            **about(job.client),
            "rows": job.rows.count,
            **totals.counts(),
            "duplicates": job.rows.count - job.rows.distinct,
            "from_journal": totals.from_journal,
            "finished_at": totals.finished_at and totals.finished_at.isoformat(),
            "elapsed": round(totals.elapsed, 3),
            "ok": totals.ok,
            "stopped_by": reason(totals.stopped_by),
            "warnings": totals.warnings,
            "backup": backup and backup.name,
            "journal": journal and journal.name,
            "failures": failures.name,
            "failures_lacking": failures.lacks,
        }
    )
    if failures.lacks is not None:
        notes.print(f"Failures: {failures.lacks}")


def _print_text(job: Job, totals: Totals, failures: FailuresFile) -> None:
    whose = "the annotations of " if job.noun == "input" else ""
    throttled = f", {totals.throttled:,} of them throttled" if totals.throttled else ""
    if totals.finished_at is not None:
        results.print(
            f"Finished on {totals.finished_at:%Y-%m-%d %H:%M:%S} UTC, by the journal; nothing was sent."
        )
    elif totals.from_journal:
        results.print(
            f"Of {counted(totals.from_journal, job.noun)}, the journal says what became of them earlier."
        )
    results.print(
        f"Deleted {whose}{totals.deleted:,} of {counted(totals.requested, job.noun)} in {duration(totals.elapsed)}, "
        f"with {counted(totals.requests, 'request')}{throttled}."
    )
    print_counts(
        {
            "Not there": totals.absent,
            "There still, refused": totals.failed,
            "Sent, and what became of it is not known": totals.unknown,
            "Not sent": totals.unsent,
            "Rows that repeat another": job.rows.count - job.rows.distinct,
        }
    )
    backup, journal = job.files.backup, job.files.journal
    if backup is not None and (status := backup.status) is not None and status.st_size:
        results.print(f"Backup: {backup.name}")
        results.print(f"To take it back: clarifai-annotations restore {shlex.quote(backup.name)}")
    failures.show()
    if totals.stopped_by is not None:
        notes.print(f"Stopped: {reason(totals.stopped_by)}")
    if journal is not None and not totals.ok:
        results.print(f"Journal: {journal.name}. The same command goes on from there.")
