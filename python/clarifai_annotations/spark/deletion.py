"""The two functions, and the way of a deletion by Spark from top to bottom.

::

    frame → snapshot → checked → planned → lanes of jobs → outcomes → report
    (frames)         (outcomes)          (lanes, executor) (outcomes)
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession

from .. import ConfigurationError, DeletionLimitError, __version__, errors
from .executor import delete_inputs, delete_pairs, problems
from .frames import check_columns, check_ids, refuse_annotations
from .lanes import Lane, run
from .outcomes import Outcomes
from .report import OUTCOMES, SparkDeleteReport, SparkDeletionError
from .settings import ClientSettings, RateShares, Settings, refuse_a_key_in_the_open

if TYPE_CHECKING:
    from typing_extensions import Unpack

SECONDS_PER_JOB = 120
"""How long a job is to take at the rate of the quota: what a lost driver can leave unknown, beside what it costs to begin
another."""

ROWS_PER_JOB_WITHOUT_A_LIMIT = 250_000

RESUME = "Call again with resume=True to go on"

log = logging.getLogger("clarifai_annotations")


def delete_annotations(
    df: DataFrame,
    outcomes: str | os.PathLike[str],
    *,
    input_column: str = "input_id",
    annotation_column: str = "annotation_id",
    missing_ok: bool = True,
    on_failure: Literal["raise", "report"] = "raise",
    max_deletions: int | None = None,
    look_first: bool = False,
    resume: bool = False,
    tasks: int | None = None,
    requests_per_second: float | None = 15.0,
    rows_per_job: int | None = None,
    secret: str | None = None,
    **settings: Unpack[ClientSettings],
) -> SparkDeleteReport:
    """Delete the annotations that the rows of a Spark DataFrame name in pairs, now.

    The frame's two columns are computed once and kept in the folder of the outcomes; that copy is checked as a whole before
    anything is sent, and is what is deleted. Then its different rows are deleted by Spark jobs of one task each, as many at a
    time as ``tasks`` says, which share the quota; when a job ends, what became of its rows is kept.

    Args:
        df: The rows to delete.
        outcomes: A new folder for what becomes of them, wherever Spark can write: a row each, in Parquet.
        input_column: The column with the IDs of the inputs, strings.
        annotation_column: The column with the IDs of the annotations, strings.
        missing_ok: Whether annotations that are not there are no failures.
        on_failure: ``"raise"`` raises when not everything was deleted, after everything was attempted; ``"report"`` returns
            the report.
        max_deletions: The most annotations that may go: a frame that names more is refused before anything is sent.
        look_first: Whether all is listed before it is deleted, by one request more for each batch, so that what is not there
            is ``absent``. Without it the service may confirm the deletion of what was not there: then it is ``deleted``.
        resume: Whether ``outcomes`` may be there, from an earlier call for the same app: rows that are ``deleted`` or
            ``absent`` there are left out, the others are tried again. Whatever ended that call, it goes on where its last job
            ended. Where nothing is there, it is a first call.
        tasks: How many tasks send at a time, each with an equal share of the quota; 1 to ``requests_per_second``. ``None``: as
            few as can use it up, one for every 30 requests a second. The cluster needs as many free slots.
        requests_per_second: Requests that may be sent in any second, of all tasks together; ``None`` for no limit. Clarifai
            allows a user 15 by default.
        rows_per_job: About how many rows one job takes. ``None``: what takes two minutes at this rate; 250,000 without a limit.
        secret: Where the executors find the key: ``"env:NAME"`` for an environment variable there, ``"file:PATH"`` for a file
            there. ``None``: as `Client` finds it, there. A key itself is refused, for Spark writes down what it is given.
        settings: Those of `Client`: ``user_id``, ``app_id`` and ``base_url`` (found on the driver, by its environment and
            files), ``root_certificates_path`` (a path on the executors), ``batch_size``, ``max_in_flight`` (of one task),
            ``request_timeout``, ``max_attempts``.

    Returns:
        The counts, and the outcomes as a DataFrame read back from the folder. A pair that comes twice is sent once.

    Raises:
        IdError: A column is not there, or an ID is missing, empty or blank. Nothing was sent.
        IdTypeError: ``df`` is not a Spark DataFrame, or an ID column is not of strings. Nothing was sent.
        ConfigurationError: A setting is missing or not valid, an executor has no key or not this package, or Spark would
            publish the key. Nothing was sent.
        OutcomesError: ``outcomes`` is there already, or is of another call. Nothing was sent.
        DeletionLimitError: More would be deleted than ``max_deletions``. Nothing was sent.
        SparkDeletionError: A `DeletionError`: not everything was deleted, or Spark could not go on; ``.report``.
        AuthenticationError: The credential was refused, and the run stopped; ``.report``.
        PermissionDeniedError: A scope is missing, and the run stopped; ``.report``.
        NotFoundError: The user or the app is not there, and the run stopped; ``.report``.
        TransportError: The service cannot be reached, and the run stopped; ``.report``.
        KeyboardInterrupt: Ctrl-C. The jobs were cancelled; what was under way is ``unknown``, and ``resume=True`` finds out.

    Example:
        >>> report = delete_annotations(doubtful, "s3a://labels/runs/2026-11-24")
        >>> report.outcomes.groupBy("outcome").count().show()

    """
    return _delete(
        df,
        outcomes,
        PAIRS,
        [input_column, annotation_column],
        Settings.resolve(settings, RateShares.divide(requests_per_second, tasks), secret),
        missing_ok=missing_ok,
        on_failure=on_failure,
        max_deletions=max_deletions,
        look_first=look_first,
        resume=resume,
        rows_per_job=rows_per_job,
    )


def delete_input_annotations(
    df: DataFrame,
    outcomes: str | os.PathLike[str],
    *,
    input_column: str = "input_id",
    on_failure: Literal["raise", "report"] = "raise",
    look_first: bool = False,
    resume: bool = False,
    tasks: int | None = None,
    requests_per_second: float | None = 15.0,
    rows_per_job: int | None = None,
    secret: str | None = None,
    **settings: Unpack[ClientSettings],
) -> SparkDeleteReport:
    """Delete every annotation of the inputs that the rows of a Spark DataFrame name, save their input-level ones, now.

    As `delete_annotations` in everything else: its parameters, the folder of the outcomes, the report and the errors. The
    report and the outcomes count inputs.

    Args:
        df: The inputs, a row each, without a column that names annotations.
        outcomes: A new folder for what becomes of them.
        input_column: The column with their IDs, strings.
        on_failure: As in `delete_annotations`, like all that follow.
        look_first: Whether the inputs are listed, and what is on them is deleted pair by pair.
        resume: Whether ``outcomes`` may be there: inputs that are ``deleted`` there are left out.
        tasks: How many tasks send at a time.
        requests_per_second: Requests that may be sent in any second, of all tasks together.
        rows_per_job: About how many rows one job takes.
        secret: Where the executors find the key.
        settings: Those of `Client`.

    Returns:
        The counts, and the outcomes as a DataFrame.

    Raises:
        IdError: ``df`` has a column that names annotations. Nothing was sent.
        ClarifaiError: As `delete_annotations`.

    Example:
        >>> report = delete_input_annotations(blurred, "s3a://labels/runs/blurred")

    """
    return _delete(
        df,
        outcomes,
        INPUTS,
        [input_column],
        Settings.resolve(settings, RateShares.divide(requests_per_second, tasks), secret),
        missing_ok=False,
        on_failure=on_failure,
        max_deletions=None,
        look_first=look_first,
        resume=resume,
        rows_per_job=rows_per_job,
    )


def _delete(
    df: DataFrame,
    outcomes: str | os.PathLike[str],
    operation: Operation,
    columns: list[str],
    settings: Settings,
    *,
    missing_ok: bool,
    on_failure: str,
    max_deletions: int | None,
    look_first: bool,
    resume: bool,
    rows_per_job: int | None,
) -> SparkDeleteReport:
    begin = time.monotonic()
    if on_failure not in ("raise", "report"):
        raise ValueError(f"on_failure={on_failure!r}: 'raise' or 'report'. Nothing was sent")
    rows_per_job = rows_of_a_job(rows_per_job, settings)
    check_columns(df, columns)
    if operation is INPUTS:
        refuse_annotations(df, *columns)
    spark = df.sparkSession
    whose = {
        "operation": operation.name,
        "user_id": settings.user_id,
        "app_id": settings.app_id,
        "base_url": settings.base_url,
    }
    folder = Outcomes.open(spark, os.fspath(outcomes).rstrip("/"), operation.ids, whose, resume=resume)
    refuse_a_key_in_the_open(spark, settings.secret)
    check_executors(spark, settings)

    rows, distinct = check_ids(folder.snapshot(df, columns), dict(zip(operation.ids, columns, strict=True)))
    if max_deletions is not None and distinct > max_deletions:
        raise DeletionLimitError(
            f"df names {distinct:,} annotations, and max_deletions is {max_deletions:,}. Nothing was sent"
        )
    left, shares = folder.left(), settings.shares
    jobs = math.ceil((left.count() if folder.run else distinct) / (shares.tasks * rows_per_job))
    folder.plan(left, slots=shares.slots, tasks=shares.tasks, jobs=max(1, jobs))
    folder.begin(whose)

    lanes = [Lane(partition, numbers) for partition, numbers in folder.jobs().items()]
    log.info("%d different rows, %d tasks at a time, %d jobs each", distinct, len(lanes), jobs)
    ending = send(
        folder, lanes, partial(operation.delete, settings=settings, look_first=look_first), settings
    )
    counts = tell_all(folder, lanes, ending)
    tasks = [task for lane in lanes for task in lane.tasks]
    report = SparkDeleteReport(
        requested=distinct,
        **{outcome: counts.get(outcome, 0) for outcome in OUTCOMES},
        duplicates=rows - distinct,
        **{name: sum(task[name] for task in tasks) for name in ("requests", "retries", "throttled")},
        elapsed=round(time.monotonic() - begin, 3),
        missing_ok=missing_ok,
        path=folder.path,
        ids=operation.ids,
        calls=tuple(folder.calls),
    )
    log.info("%r", report)
    error = ending.error(report)
    if error is None or (isinstance(error, Exception) and on_failure == "report"):
        return report
    raise error


@dataclass(frozen=True)
class Operation:
    """Which of the two deletions: what the rows of the folder name, and what the executors do with them."""

    name: str
    ids: tuple[str, ...]
    delete: Callable[..., Iterator[Any]]


PAIRS = Operation("delete_annotations", ("input_id", "annotation_id"), delete_pairs)
INPUTS = Operation("delete_input_annotations", ("input_id",), delete_inputs)


@dataclass(frozen=True)
class Ending:
    """How the jobs of a call ended: what Spark or the caller broke off, what a task was stopped by, or in order."""

    broken_off: BaseException | None
    stopped_by: dict[str, Any] | None

    @property
    def why(self) -> str:
        """What kept the call from its end."""
        if self.broken_off is not None:
            lines = str(self.broken_off).strip().splitlines()
            # Py4J's own line says only which of its objects was called.
            text = next(
                (line for line in lines if not line.startswith("An error occurred while calling")), ""
            )
            return text.removeprefix(": ")[:500] or "interrupted"
        return "" if self.stopped_by is None else str(self.stopped_by["reason"])

    def error(self, report: SparkDeleteReport) -> BaseException | None:
        """Make the exception that this ending and the report call for, if any."""
        if self.broken_off is not None and not isinstance(self.broken_off, Exception):
            self.broken_off.report = report  # type: ignore[attr-defined]
            return self.broken_off
        if report.ok:
            return None
        error: BaseException
        if self.broken_off is not None:
            error = SparkDeletionError(f"{report.summary}: {self.why}. {RESUME}. See .report", report=report)
            error.__cause__ = self.broken_off
            return error
        if self.stopped_by is None:
            return SparkDeletionError(f"{report.summary}. See .report.outcomes", report=report)
        attributes = dict(self.stopped_by)
        kind, reason = getattr(errors, attributes.pop("error")), attributes.pop("reason")
        error = kind(f"{report.summary}: {reason}. See .report")
        # Not every kind takes them.
        vars(error).update(report=report, reason=reason, **attributes)
        return error


def send(
    folder: Outcomes, lanes: list[Lane], delete: Callable[..., Iterator[Any]], settings: Settings
) -> Ending:
    """Run the jobs."""

    def job(partition: int, number: int) -> list[Row]:
        # One task, however many files there are and however large: the share of the quota is for one.
        piece = folder.piece(partition, number).coalesce(1)
        of_partition = partial(delete, partition=partition)
        tasks = folder.tell(piece.mapInArrow(of_partition, folder.told_schema), partition, number)
        log.info("partition %d, job %d is done", partition, number)
        return tasks

    broken_off = run(folder.spark, lanes, job, pause=settings.shares.window)
    stops = (task.stopped_by for lane in lanes for task in lane.tasks if task.stopped_by is not None)
    return Ending(broken_off, next(map(json.loads, stops), None))


def tell_all(folder: Outcomes, lanes: list[Lane], ending: Ending) -> dict[str, int]:
    """Keep an outcome for what the jobs did not come to. Gives the counts of all outcomes.

    Raises:
        SparkDeletionError: Spark can do nothing any more.

    """
    try:
        if not all(lane.is_finished for lane in lanes):
            under_way = {lane.partition: lane.under_way for lane in lanes if lane.under_way is not None}
            folder.tell_the_rest(under_way, ending.why)
        return dict(folder.told().groupBy("outcome").count().collect())
    except Exception as error:
        if ending.broken_off is None:
            raise
        if not isinstance(ending.broken_off, Exception):
            raise ending.broken_off from error
        raise SparkDeletionError(
            f"Spark cannot go on ({ending.why}), nor tell what was not done. What its jobs told by then is in "
            f"{folder.path}. {RESUME}"
        ) from ending.broken_off


def rows_of_a_job(rows_per_job: int | None, settings: Settings) -> int:
    """Settle how many rows a job takes.

    Raises:
        ConfigurationError: It would take none.

    """
    shares = settings.shares
    if rows_per_job is None:
        if shares.requests_per_second is None:
            return ROWS_PER_JOB_WITHOUT_A_LIMIT
        rows = SECONDS_PER_JOB * shares.requests_per_second * settings.batch_size / shares.tasks
        return max(1, int(rows))
    if rows_per_job < 1:
        raise ConfigurationError(f"rows_per_job={rows_per_job}: at least 1. Nothing was sent")
    return rows_per_job


def check_executors(spark: SparkSession, settings: Settings) -> None:
    """Find out before anything is computed whether the executors can delete.

    Raises:
        ConfigurationError: One has no key, or not this package.

    """
    tasks = settings.shares.tasks
    look = partial(problems, settings=settings, version=__version__)
    try:
        found = spark.range(0, tasks, 1, tasks).mapInArrow(look, "problem string").collect()
    except PySparkException as error:
        if "No module named 'clarifai_annotations" not in str(error):
            raise
        raise ConfigurationError(
            "clarifai-annotations is not installed on the executors: install it there as here, "
            "by pip, by a cluster library or by spark.archives. Nothing was sent"
        ) from None
    if found:
        raise ConfigurationError(f"on an executor: {found[0].problem}. Nothing was sent")
