"""A deletion taken back: `clarifai-annotations restore`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .. import BackupError, Client, RestoreReport, open_backup
from .display import Bar, counted, duration, notes, print_counts, print_json, results
from .endings import ending, exit_code, is_expected, reason
from .id_files import id_file
from .options import (
    AppId,
    BaseUrl,
    Failures,
    FileFormat,
    InputColumn,
    Output,
    OutputFormat,
    RequestsPerSecond,
    Timeout,
    UserId,
    about,
    client_of,
)
from .output_files import read_file, refuse_shared_files, written_file
from .run import FailuresFile, attempt, progress_of

EXAMPLES = """\b
Examples:
  clarifai-annotations restore clarifai-backup-2026-01-31T120000.parquet
  clarifai-annotations restore backup.parquet --input-id photo-1

Exit codes: 0 all there again, 1 not all, 2 refused before anything was sent,
128+N stopped by signal N, so 130 by Ctrl-C."""

COUNTS = (
    "requested",
    "restored",
    "present",
    "failed",
    "unknown",
    "unsent",
    "duplicates",
    "requests",
    "retries",
    "throttled",
)


def restore(
    backup: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="What a deletion saved.", show_default=False)
    ],
    input_id: Annotated[
        list[str], typer.Option(metavar="ID", help="Only this input's. Can be said several times.")
    ] = [],  # noqa: B006 - typer copies it
    input_ids: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only those of the inputs in this file.")
    ] = None,
    file_format: FileFormat = None,
    input_column: InputColumn = "input_id",
    as_caller: Annotated[
        bool,
        typer.Option(
            "--as-caller", help="Post what others made as your own: only an app's owner may do else."
        ),
    ] = False,
    failures: Failures = None,
    requests_per_second: RequestsPerSecond = None,
    timeout: Timeout = None,
    user_id: UserId = None,
    app_id: AppId = None,
    base_url: BaseUrl = None,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Post the annotations of a backup again.

    Those that are there are left alone.
    """
    with ending() as signals, ExitStack() as opened:
        place = None if failures is None else written_file("--failures", failures)
        files = [read_file("BACKUP", backup, has_side_files=True), *([] if place is None else [place])]
        if input_ids is not None:
            files.append(read_file("--input-ids", input_ids))
        refuse_shared_files(files)
        path = backup.absolute()
        client = opened.enter_context(client_of(user_id, app_id, base_url, requests_per_second))
        wanted = list(input_id) if input_id or input_ids else None
        if wanted is not None and input_ids is not None:
            wanted += [
                named for (named,) in opened.enter_context(id_file(input_ids, file_format, [input_column]))
            ]
        with ExitStack() as written:
            with signals.deferred():
                failed = written.enter_context(FailuresFile(place, fine=frozenset({"present"})))
            refuse_shared_files(files)
            _say_what_it_holds(backup, path)
            with Bar("Restoring") as bar:
                progress = progress_of(bar, signals)
                restoring = partial(
                    client.restore_annotations,
                    path,
                    input_ids=wanted,
                    progress=progress,
                    timeout=timeout,
                    as_caller=as_caller,
                )
                report, stopped_by = attempt(restoring, signals)
            if report is None:
                assert stopped_by is not None
                raise stopped_by
            failed.add(report)
        if output is Output.JSON:
            _print_json(backup, client, report, stopped_by, failed)
        else:
            _print_text(report, stopped_by, failed)
        if not is_expected(stopped_by):
            assert stopped_by is not None
            raise stopped_by
        raise typer.Exit(exit_code(report.ok and failed.lacks is None, stopped_by))


def _say_what_it_holds(backup: Path, path: Path) -> None:
    try:
        apps = open_backup(path).count_by_app()
    except BackupError:
        return  # what is wrong with it, the restoration says better
    for (user_id, app_id), count in apps.items():
        notes.print(f"{backup} holds {counted(count, 'annotation')} of {user_id}/{app_id}.")


def _print_json(
    backup: Path,
    client: Client,
    report: RestoreReport,
    stopped_by: BaseException | None,
    failed: FailuresFile,
) -> None:
    print_json(
        {
            "command": "restore",
            **about(client),
            **{name: getattr(report, name) for name in COUNTS},
            "elapsed": round(report.elapsed, 3),
            "ok": report.ok,
            "stopped_by": reason(stopped_by),
            "warnings": list(report.warnings),
            "backup": str(backup),
            "failures": failed.name,
            "failures_lacking": failed.lacks,
        }
    )
    if failed.lacks is not None:
        notes.print(f"Failures: {failed.lacks}")


def _print_text(report: RestoreReport, stopped_by: BaseException | None, failed: FailuresFile) -> None:
    results.print(
        f"Restored {report.restored:,} of {counted(report.requested, 'annotation')} in {duration(report.elapsed)}, "
        f"with {counted(report.requests, 'request')}."
    )
    print_counts(
        {
            "There already": report.present,
            "Refused": report.failed,
            "Sent, and what became of it is not known": report.unknown,
            "Not sent": report.unsent,
            "Saved several times, the last taken": report.duplicates,
        }
    )
    failed.show()
    if stopped_by is not None:
        notes.print(f"Stopped: {reason(stopped_by)}")
