"""What runs on the executors: a client is made, the rows of one job go through it, and an outcome a row comes out.

Nothing is raised here that can be told as an outcome: Spark would try the same rows again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext

from .. import ApiError, ClarifaiError, Client, DeleteReport, DeletionError, __version__
from .settings import Settings

REPEATED = "gone: an earlier try of this call may have deleted it"
"""Why a row is ``deleted`` that a list shows gone, where another try may have carried it."""

TASK = pa.struct(
    [
        ("attempt", pa.int32()),
        ("requests", pa.int64()),
        ("retries", pa.int64()),
        ("throttled", pa.int64()),
        ("stopped_by", pa.string()),
    ]
)
"""What there is to tell of a task; on the first of its rows."""

ROWS_PER_BATCH = 65_536

API_ERROR = ("code", "name", "description", "details", "request_id")


def problems(batches: Iterator[pa.RecordBatch], settings: Settings, version: str) -> Iterator[pa.RecordBatch]:
    """Say what would keep this executor from deleting. Nothing is sent."""
    for _ in batches:
        pass
    found = []
    if __version__ != version:
        found.append(f"it has clarifai-annotations {__version__}, and the driver {version}: install the same")
    try:
        settings.client(0).close()
    except ClarifaiError as error:
        found.append(error.reason)
    yield pa.RecordBatch.from_pydict({"problem": pa.array(found, pa.string())})


def delete_pairs(
    batches: Iterator[pa.RecordBatch], settings: Settings, partition: int, look_first: bool
) -> Iterator[pa.RecordBatch]:
    """Delete the annotations that the rows of one job name in pairs. Gives the outcome of each row."""

    def call(client: Client, rows: pa.Table) -> DeleteReport:
        return client.delete_annotations(rows["input_id"], rows["annotation_id"], look_first=look_first)

    return _delete(batches, settings, partition, call)


def delete_inputs(
    batches: Iterator[pa.RecordBatch], settings: Settings, partition: int, look_first: bool
) -> Iterator[pa.RecordBatch]:
    """Delete all annotations of the inputs that the rows of one job name. Gives the outcome of each row."""

    def call(client: Client, rows: pa.Table) -> DeleteReport:
        return client.delete_input_annotations(rows["input_id"], look_first=look_first)

    return _delete(batches, settings, partition, call)


def _delete(
    batches: Iterator[pa.RecordBatch],
    settings: Settings,
    partition: int,
    call: Callable[[Client, pa.Table], DeleteReport],
) -> Iterator[pa.RecordBatch]:
    held = list(batches)
    if not any(batch.num_rows for batch in held):
        return
    rows = pa.Table.from_batches(held)
    context = TaskContext.get()
    assert context is not None
    attempt = context.attemptNumber()
    report: DeleteReport | None = None
    stop: ClarifaiError | None = None
    try:
        with settings.client(partition) as client:
            report = call(client, rows)
    except DeletionError as error:
        report = error.report
    except ClarifaiError as error:
        report, stop = cast("DeleteReport | None", error.report), error
    outcomes = _outcomes(rows.num_rows, report, stop)
    tried = pc.or_(rows["tried"].combine_chunks(), pa.scalar(attempt > 0))
    repeated = pc.and_(tried, pc.equal(outcomes["outcome"], "absent"))
    told = {
        "attempt": attempt,
        "requests": 0 if report is None else report.requests,
        "retries": 0 if report is None else report.retries,
        "throttled": 0 if report is None else report.throttled,
        "stopped_by": None if stop is None else dumped(stop),
    }
    result = pa.table(
        {
            **{name: rows[name] for name in rows.column_names if name != "tried"},
            "outcome": pc.if_else(repeated, "deleted", outcomes["outcome"]),
            "code": outcomes["code"],
            "description": pc.if_else(repeated, REPEATED, outcomes["description"]),
            "request_id": outcomes["request_id"],
            "task": pa.chunked_array([pa.array([told], TASK), pa.nulls(rows.num_rows - 1, TASK)]),
        }
    )
    yield from result.combine_chunks().to_batches(max_chunksize=ROWS_PER_BATCH)


def _outcomes(count: int, report: DeleteReport | None, stop: ClarifaiError | None) -> dict[str, pa.Array]:
    """Lay the report of what was not deleted over as many rows that were."""
    if report is None:
        return {
            "outcome": pa.repeat("unsent", count),
            "code": pa.nulls(count, pa.int32()),
            "description": pa.repeat("" if stop is None else stop.reason, count),
            "request_id": pa.nulls(count, pa.string()),
        }
    failures = pa.table(report)
    is_failure = np.zeros(count, dtype=bool)
    # The rows are distinct, so that a failure's position in the call is its row.
    is_failure[failures["position"].to_numpy()] = True
    of_failures = {
        "outcome": failures["outcome"],
        "code": _null_where(failures["code"], 0),
        "description": failures["message"],
        "request_id": _null_where(failures["request_id"], ""),
    }
    deleted = {name: pa.nulls(count, column.type) for name, column in of_failures.items()}
    deleted["outcome"] = pa.repeat("deleted", count)
    return {
        name: pc.replace_with_mask(deleted[name], pa.array(is_failure), column.combine_chunks())
        for name, column in of_failures.items()
    }


def _null_where(column: pa.ChunkedArray, nothing: object) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(column, nothing), None, column)


def dumped(stop: ClarifaiError) -> str:
    """Write what stopped a task, for the driver to raise again."""
    told = {"error": type(stop).__name__, "reason": stop.reason}
    if isinstance(stop, ApiError):
        told |= {name: getattr(stop, name) for name in API_ERROR}
    return json.dumps(told)
