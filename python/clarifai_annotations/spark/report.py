"""The report of a deletion by Spark: counts, and where the outcomes are."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from pyspark.sql import DataFrame, SparkSession

from ..errors import DeletionError
from .outcomes import Outcomes

OUTCOMES = ("deleted", "absent", "failed", "unknown", "unsent")


@dataclass(frozen=True)
class SparkDeleteReport:
    """What became of every row of a frame.

    ``deleted``, ``absent``, ``failed``, ``unknown`` and ``unsent`` add up to ``requested``. Can be pickled. In a
    notebook it is a table.

    Attributes:
        requested: Different IDs that the frame names: pairs, or inputs.
        deleted: Confirmed by the service; or sent without a clear answer, and a list shows them gone. So are those gone that
            an earlier try of the same job may have carried.
        absent: The service refused the request that carried them, and a list shows that they are not there.
        failed: There still, and the service refuses to delete them.
        unknown: Sent, and what became of them could not be found out.
        unsent: Never sent: the run was stopped first.
        duplicates: Rows that repeat another. They were sent once and count once above.
        requests: Requests that this call sent: deletions and lists, first attempts and later ones. Those of a task whose
            executor was lost are not known.
        retries: Of these, the ones that repeat something that failed.
        throttled: Of these, the ones that the service answered with "too many requests".
        elapsed: Seconds that the call took, with what Spark did.
        missing_ok: Whether ``absent`` is as good as ``deleted``.
        path: The folder of the outcomes.
        ids: The columns of IDs in it.
        calls: The calls of the folder that came to send something, this one last.

    """

    requested: int
    deleted: int
    absent: int
    failed: int
    unknown: int
    unsent: int
    duplicates: int
    requests: int
    retries: int
    throttled: int
    elapsed: float
    missing_ok: bool
    path: str
    ids: tuple[str, ...] = field(repr=False)
    calls: tuple[str, ...] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything is deleted; with ``missing_ok``, or absent."""
        return not self._not_deleted

    @property
    def outcomes(self) -> DataFrame:
        """The outcomes of this call, read from the folder: a row for each of the frame's different rows.

        The columns are ``input_id``, ``annotation_id`` (where pairs were named), ``outcome``, ``code``, ``description`` and
        ``request_id`` (null where the service said nothing of the kind), ``task`` (what there is to tell of a task, on
        the first of its rows), ``run``, ``partition`` and ``job``.
        """
        spark = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
        return Outcomes(spark, self.path, self.ids, self.calls).told()

    @property
    def summary(self) -> str:
        """How many rows were not deleted, in a sentence."""
        counts = self._not_deleted
        shown = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
        return f"{sum(counts.values()):,} of {self.requested:,} IDs were not deleted ({shown})"

    @property
    def _not_deleted(self) -> dict[str, int]:
        """Count what is not as it was wanted, by outcome."""
        wanted = ("deleted", "absent") if self.missing_ok else ("deleted",)
        counts = {outcome: getattr(self, outcome) for outcome in OUTCOMES if outcome not in wanted}
        return {outcome: count for outcome, count in counts.items() if count}

    def _repr_html_(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self)[:10]}
        head = "".join(f"<th>{name}</th>" for name in (*shown, "elapsed"))
        cells = "".join(f"<td>{value}</td>" for value in (*shown.values(), f"{self.elapsed:.1f} s"))
        return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"


class SparkDeletionError(DeletionError):
    """Not every row of a frame was deleted, or Spark could not go on; see ``report``, if any."""

    report: SparkDeleteReport  # type: ignore[assignment]

    def __init__(self, message: str, *, report: SparkDeleteReport | None = None) -> None:
        """Make the error; ``message`` is its whole text."""
        super().__init__(message, report=report)  # type: ignore[arg-type]
