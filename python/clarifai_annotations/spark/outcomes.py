"""The folder of a deletion: what was asked for, what was planned, and what became of it.

::

    outcomes/run=0/partition=2/job=5/part-….parquet   what became of the rows of one job
    outcomes/_runs/run=0/                             whose deletion this is: written before anything is sent
    outcomes/_calls/CALL/rows/                        the frame's IDs, as they were computed
    outcomes/_calls/CALL/planned/partition=2/job=5/   its different ones, shared out

A call that comes to send something is a run: the first is 0, and each that resumes it is one more. Spark and pyarrow pass
over names that begin with an underscore, so who reads the folder reads outcomes. Nothing is ever changed or removed in it.

Only Spark touches it, so it can be wherever Spark can write; this module knows nothing of Clarifai.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from ..errors import OutcomesError

TASK = "struct<attempt:int,requests:bigint,retries:bigint,throttled:bigint,stopped_by:string>"
TOLD = f"outcome string, code int, description string, request_id string, task {TASK}"
PLACE = "`partition` int, job int"

GONE = ("deleted", "absent")
"""The outcomes that a later run does not come back to."""


class Outcomes:
    """The outcomes of a call: those of its folder for the rows that it names."""

    def __init__(self, spark: SparkSession, path: str, ids: Sequence[str], calls: Sequence[str]) -> None:
        """See the folder at this path, with these columns of IDs, as the last of these calls does."""
        self.spark, self.path, self.ids, self.calls = spark, path, list(ids), list(calls)
        self.run = len(calls) - 1
        columns = ", ".join(f"{name} string" for name in ids)
        self.id_schema, self.told_schema = columns, f"{columns}, {TOLD}"

    @classmethod
    def open(
        cls, spark: SparkSession, path: str, ids: Sequence[str], whose: dict[str, str], *, resume: bool
    ) -> Outcomes:
        """See the folder as the call does that comes next.

        Args:
            spark: The session.
            path: The folder.
            ids: The columns of IDs.
            whose: What the folder must be of: the operation, the app, the service.
            resume: Whether earlier runs may be there.

        Raises:
            OutcomesError: Something is there that this call may not go on with.

        """
        runs: list[dict[str, str]] = []
        while (run := _text(spark, note := f"{path}/_runs/run={len(runs)}")) is not None:
            try:
                runs.append(json.loads(run))
            except ValueError:
                raise OutcomesError(
                    f"{note} is not complete: the call that wrote it was ended before it sent anything; remove {note} and "
                    "call again. Nothing was sent"
                ) from None
        # A call that was refused for a bad row left its rows and nothing else.
        is_ours = bool(runs) or _exists(spark, f"{path}/_calls")
        if (runs and not resume) or (not is_ours and _exists(spark, path)):
            raise OutcomesError(
                f"{path} is there already: name a new folder for the outcomes"
                + (", or go on with that call by resume=True" if runs else "")
                + ". Nothing was sent"
            )
        differ = [f"{name} {run[name]!r}" for run in runs for name in whose if run[name] != whose[name]]
        if differ:
            raise OutcomesError(
                f"{path} has the outcomes of another call: of {', '.join(dict.fromkeys(differ))}. Name another folder. "
                "Nothing was sent"
            )
        return cls(spark, path, ids, [*(run["call"] for run in runs), uuid.uuid4().hex])

    def begin(self, whose: dict[str, str]) -> None:
        """Note that from now on something may be sent.

        Raises:
            OutcomesError: Another call came first.

        """
        run = json.dumps({**whose, "call": self.calls[-1]})
        try:
            lines = self.spark.range(1).select(F.lit(run).alias("value")).coalesce(1)
            lines.write.mode("error").text(f"{self.path}/_runs/run={self.run}")
        except AnalysisException as error:
            if _condition(error) != "PATH_ALREADY_EXISTS":
                raise
            raise OutcomesError(
                f"another call has begun to delete into {self.path}: name another folder. Nothing was sent"
            ) from None

    def snapshot(self, frame: DataFrame, columns: Sequence[str]) -> DataFrame:
        """Compute the IDs of a frame, once, and keep them: what is checked is what is deleted."""
        ids = [_column(name).alias(alias) for name, alias in zip(columns, self.ids, strict=True)]
        frame.select(*ids).write.mode("error").parquet(self._rows)
        return self.requested()

    def requested(self) -> DataFrame:
        """Every row that the call names, as often as it names it."""
        return self._read(self._rows, self.id_schema)

    def plan(self, left: DataFrame, *, slots: int, tasks: int, jobs: int) -> None:
        """Share out the rows that are left to do.

        A row's place is a hash of it, so that each task gets as large a part of the rows as of the slots.

        Args:
            left: Different rows.
            slots: Slots of the rate limit.
            tasks: How many tasks take turns at the slots.
            jobs: Into how many jobs a task's rows are split.

        """
        place = F.pmod(F.xxhash64(*self.ids), F.lit(slots * jobs))
        left = left.withColumn("partition", (place % slots % tasks).cast("int"))
        left = left.withColumn("job", F.floor(place / slots).cast("int"))
        left = self._with_tried(left)
        shared_out = left.repartition("partition", "job").write.mode("error")
        shared_out.partitionBy("partition", "job").parquet(self._planned(self.run))

    def left(self) -> DataFrame:
        """Find the different rows that the call names, less those that are known to be gone."""
        distinct = self.requested().distinct()
        if not self.run:
            return distinct
        gone = self._earlier().where(F.col("outcome").isin(*GONE))
        return distinct.join(gone.select(*self.ids).distinct(), self.ids, "left_anti")

    def planned(self, run: int | None = None) -> DataFrame:
        """Read the shared-out rows of a run, with the partition and the job that each fell to."""
        run = self.run if run is None else run
        return self._read(self._planned(run), f"{self.id_schema}, tried boolean, {PLACE}")

    def jobs(self) -> dict[int, list[int]]:
        """Tell the jobs of each partition that has rows."""
        found: dict[int, list[int]] = {}
        for partition, job in sorted(self.planned().select("partition", "job").distinct().collect()):
            found.setdefault(partition, []).append(job)
        return found

    def piece(self, partition: int, job: int) -> DataFrame:
        """Read the rows of one job."""
        path = f"{self._planned(self.run)}/partition={partition}/job={job}"
        return self._read(path, f"{self.id_schema}, tried boolean")

    def tell(self, told: DataFrame, partition: int, job: int) -> list[Row]:
        """Compute what becomes of the rows of one job, and keep it. Gives what there is to tell of its task."""
        path = f"{self.path}/run={self.run}/partition={partition}/job={job}"
        told.write.mode("error").parquet(path)
        return self._read(path, self.told_schema).where("task IS NOT NULL").select("task.*").collect()

    def tell_the_rest(self, under_way: dict[int, int], why: str) -> None:
        """Keep an outcome for every row that has none.

        Args:
            under_way: The job that each partition was at: its rows may have been sent, and later ones were not.
            why: What broke the call off.

        """
        rest = self.planned().join(self._told_in(self.run), self.ids, "left_anti")
        at = [
            (F.col("partition") == partition) & (F.col("job") == job) for partition, job in under_way.items()
        ]
        may_be_sent = reduce(Column.__or__, at, F.lit(False))
        rest = rest.select(
            *self.ids,
            F.when(may_be_sent, "unknown").otherwise("unsent").alias("outcome"),
            F.lit(None).cast("int").alias("code"),
            F.lit(why).alias("description"),
            F.lit(None).cast("string").alias("request_id"),
            F.lit(None).cast(TASK).alias("task"),
            "partition",
            "job",
        )
        rest.write.mode("append").partitionBy("partition", "job").parquet(f"{self.path}/run={self.run}")

    def told(self) -> DataFrame:
        """Read what became of every row that the call names: a row each, by the latest run that came to it."""
        if not self.run:
            return self._told_in(0)
        others = [name for name in self._all().columns if name not in self.ids]
        latest = F.max_by(F.struct(*others), "run").alias("latest")
        told = self._all().where(F.col("run") <= self.run).groupBy(*self.ids).agg(latest)
        told = told.select(*self.ids, "latest.*")
        return told.join(self.requested().distinct(), self.ids, "left_semi")

    def _told_in(self, run: int) -> DataFrame:
        return self._all().where(F.col("run") == run)

    def _earlier(self) -> DataFrame:
        return self._all().where(F.col("run") < self.run)

    def _all(self) -> DataFrame:
        return self._read(self.path, f"{self.told_schema}, run int, {PLACE}")

    def _read(self, path: str, schema: str) -> DataFrame:
        return self.spark.read.schema(schema).parquet(path)

    @property
    def _rows(self) -> str:
        return f"{self.path}/_calls/{self.calls[self.run]}/rows"

    def _planned(self, run: int) -> str:
        return f"{self.path}/_calls/{self.calls[run]}/planned"

    def _with_tried(self, left: DataFrame) -> DataFrame:
        """Add whether another try may send a row, or have sent it, without telling what became of it."""
        if _copies_tasks(self.spark):
            return left.withColumn("tried", F.lit(True))
        if not self.run:
            return left.withColumn("tried", F.lit(False))
        tried = self._earlier().where("outcome = 'unknown'").select(*self.ids)
        for run in range(self.run):
            untold = self.planned(run).join(self._told_in(run), self.ids, "left_anti")
            # The jobs of a partition go one after the other: of a run that was killed, the first untold one was under way.
            under_way = untold.groupBy("partition").agg(F.min("job").alias("job"))
            tried = tried.union(untold.join(under_way, ["partition", "job"]).select(*self.ids))
        tried = tried.distinct().withColumn("tried", F.lit(True))
        left = left.join(tried, self.ids, "left")
        return left.withColumn("tried", F.coalesce("tried", F.lit(False)))


def _column(name: str) -> Column:
    """Name a column that may have dots in its name."""
    return F.col("`" + name.replace("`", "``") + "`")


def _copies_tasks(spark: SparkSession) -> bool:
    """Tell whether Spark may start a copy of a job's only task while it runs: by its speculation of slow tasks.

    It leaves stages of one task alone unless it is told what is slow (``TaskSetManager.checkSpeculatableTasks``).
    """
    speculates = str(spark.conf.get("spark.speculation", "false")).lower() == "true"
    return speculates and spark.conf.get("spark.speculation.task.duration.threshold", None) is not None


def _exists(spark: SparkSession, path: str) -> bool:
    return _text(spark, path, content=False) is not None


def _text(spark: SparkSession, path: str, *, content: bool = True) -> str | None:
    """Read a file of one line; ``None`` where nothing is there."""
    try:
        lines = spark.read.text(path)
        _ = lines.schema  # Connect asks the server only now
    except AnalysisException as error:
        if _condition(error) != "PATH_NOT_FOUND":
            raise
        return None
    return "".join(row.value for row in lines.collect()) if content else ""


def _condition(error: AnalysisException) -> str | None:
    # Called an error class before Spark 4.
    condition: str | None = getattr(error, "getCondition", error.getErrorClass)()
    return condition
