"""Deletions by Spark where executors, jobs and drivers end in the middle: every row keeps one outcome, and a true one.

`SPARK_CASES` is the number of random histories.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import random_cases
from clarifai_annotations.emulator import Emulator, Fault
from clarifai_annotations.spark import SparkDeletionError, delete_annotations
from copies import Pair
from spark_cluster import Cluster
from test_spark import app_of, frame, left, outcomes

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of Py4J

CASES = int(os.environ.get("SPARK_CASES", "4"))

PAIRS: list[Pair] = [(f"p{n % 70}", f"a{n}") for n in range(3000)]
NEVER: list[Pair] = [(f"p{n}", "never") for n in range(20)]

SLOW: dict[str, Any] = {"requests_per_second": None, "tasks": 2, "max_in_flight": 1}
"""Beside a latency of 50 ms: some 2,500 pairs a second and task."""

REPEATED = "gone: an earlier try of this call may have deleted it"


@contextmanager
def seeded(pairs: list[Pair] = PAIRS, **options: Any) -> Iterator[Emulator]:
    with Emulator(**{"latency": 0.05, "missing_pair": "refused", **options}) as emulator:
        for pair in pairs:
            emulator.add_annotation(*pair)
        yield emulator


def delete(spark: Any, rows: Any, folder: Path, emulator: Emulator, **options: Any) -> Any:
    df = frame(spark, rows) if isinstance(rows, list) else rows
    return delete_annotations(df, folder, **{**SLOW, **app_of(emulator), **options})


def while_running(call: Callable[[], Any], emulator: Emulator, requests: int, then: Callable[[], Any]) -> Any:
    """Does something once the emulator has seen so many requests of a call. Gives what the call returns."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(call)
        while len(emulator.requests) < requests and not result.done():
            time.sleep(0.005)
        then()
        return result.result()


def told(report: Any) -> dict[Pair, Any]:
    """What is told of each pair; it is told once."""
    rows = report.outcomes.collect()
    found = {(row.input_id, row.annotation_id): row for row in rows}
    assert len(rows) == len(found) == report.requested
    return found


# --- An executor


def test_an_executor_that_is_lost_loses_no_row_and_no_outcome(
    spark: Any, cluster: Cluster, tmp_path: Path
) -> None:
    with seeded(latency=0.4) as emulator:
        report = while_running(
            lambda: delete(spark, PAIRS, tmp_path / "outcomes", emulator, on_failure="report"),
            emulator,
            10,
            lambda: cluster.kill_executor(spark),
        )
        assert outcomes(report) == dict.fromkeys(PAIRS, "deleted")
        assert left(emulator) == []
        # It was struck in the middle.
        assert report.outcomes.where("task.attempt = 1").count() >= 1


def test_a_row_that_the_first_try_deleted_is_no_failure_of_the_second(
    spark: Any, cluster: Cluster, tmp_path: Path
) -> None:
    with seeded(latency=0.4) as emulator:
        report = while_running(
            lambda: delete(spark, PAIRS, tmp_path / "outcomes", emulator, tasks=1, missing_ok=False),
            emulator,
            10,
            lambda: cluster.kill_executor(spark),
        )
        assert report.deleted == len(PAIRS)
        assert report.outcomes.where(f"description = '{REPEATED}'").count() >= 9 * 128


def test_one_that_was_never_there_is_absent_where_nothing_was_lost(spark: Any, tmp_path: Path) -> None:
    with seeded(PAIRS[:100], latency=0.0) as emulator:
        report = delete(spark, PAIRS[:100] + NEVER, tmp_path / "outcomes", emulator)
    assert (report.deleted, report.absent) == (100, len(NEVER))


# --- The driver

PROGRAM = """
import json, sys
from pyspark.sql import SparkSession
from clarifai_annotations.spark import delete_annotations
options = json.loads(sys.argv[1])
spark = SparkSession.builder.getOrCreate()
df = spark.range(options.pop("rows")).selectExpr("concat('p', id % 70) AS input_id", "concat('a', id) AS annotation_id")
try:
    print("RESULT", delete_annotations(df, **options))
except KeyboardInterrupt as interrupt:
    print("INTERRUPTED", interrupt.report)
"""


def arguments(emulator: Emulator, folder: Path, **options: Any) -> str:
    """What `PROGRAM` takes."""
    return json.dumps({"outcomes": str(folder), "rows": len(PAIRS), **SLOW, **app_of(emulator), **options})


def until_it_saw(emulator: Emulator, requests: int) -> None:
    while len(emulator.requests) < requests:
        time.sleep(0.005)


def test_what_a_lost_driver_left_is_gone_on_with(spark: Any, cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "outcomes"
    with seeded() as emulator:
        with cluster.program(PROGRAM, arguments(emulator, folder, rows_per_job=400)) as driver:
            until_it_saw(emulator, 15)
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
        kept = spark.read.parquet(str(folder)).where("outcome = 'deleted'").count()
        assert 0 < kept < len(PAIRS)
        report = delete(
            spark, PAIRS + NEVER, folder, emulator, missing_ok=False, resume=True, on_failure="report"
        )
        found = told(report)
        assert {found[pair].outcome for pair in PAIRS} == {"deleted"}
        # What the last jobs did is known by what is gone; the others never came to the driver's end.
        assert report.outcomes.where("run = 0").count() == kept
        assert {found[pair].outcome for pair in NEVER} == {"absent"}
        assert left(emulator) == []


def test_of_a_lost_driver_the_first_untold_job_may_have_been_sent_and_later_ones_were_not(
    spark: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "outcomes"
    with seeded(PAIRS[:6], latency=0.0) as emulator:
        delete(spark, PAIRS[:6], folder, emulator, tasks=1, rows_per_job=1)
        jobs = {int(it.name.removeprefix("job=")): it for it in folder.glob("run=0/partition=0/job=*")}
        *_, under_way, later = sorted(jobs)
        assert later >= len(jobs)  # some have no rows: the numbers have gaps
        planned = spark.read.parquet(str(next(folder.glob("_calls/*/planned")))).collect()
        shutil.rmtree(jobs[under_way])
        shutil.rmtree(jobs[later])
        report = delete(
            spark, PAIRS[:6], folder, emulator, missing_ok=False, on_failure="report", resume=True
        )
    was = {(row.input_id, row.annotation_id): row.job for row in planned}
    assert {was[pair] for pair, row in told(report).items() if row.description == REPEATED} == {under_way}
    assert {was[pair] for pair, row in told(report).items() if row.outcome == "absent"} == {later}


def test_ctrl_c_cancels_the_jobs_and_tells_what_is_not_known(
    spark: Any, cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "outcomes"
    with seeded() as emulator:
        with cluster.program(PROGRAM, arguments(emulator, folder, rows_per_job=400)) as driver:
            until_it_saw(emulator, 15)
            driver.send_signal(signal.SIGINT)
            output, _ = driver.communicate(timeout=120)
        assert "INTERRUPTED SparkDeleteReport(requested=3000, " in output, output
        rows = spark.read.parquet(str(folder)).groupBy("outcome").count().collect()
        counts = dict(rows)
        assert set(counts) == {"deleted", "unknown", "unsent"}
        assert sum(counts.values()) == len(PAIRS)
        assert spark.read.parquet(str(folder)).where("description = 'interrupted'").count() == sum(
            counts[it] for it in ("unknown", "unsent")
        )
        assert delete(spark, PAIRS, folder, emulator, missing_ok=False, resume=True).deleted == len(PAIRS)
        assert left(emulator) == []


# --- Spark itself


def test_a_job_that_spark_cannot_do_leaves_its_rows_unknown_and_later_ones_unsent(
    spark: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "outcomes"
    with seeded() as emulator:
        with pytest.raises(SparkDeletionError) as raised:
            while_running(
                lambda: delete(spark, PAIRS, folder, emulator, tasks=1, rows_per_job=1000),
                emulator,
                1,
                # In the way of the second job.
                lambda: (folder / "run=0/partition=0/job=1").mkdir(parents=True),
            )
        report: Any = raised.value.report
        assert " unsent): [PATH_ALREADY_EXISTS] " in str(raised.value)
        assert str(raised.value).endswith("Call again with resume=True to go on. See .report")
        assert (report.deleted > 0, report.unknown > 0, report.unsent > 0, report.failed) == (
            True,
            True,
            True,
            0,
        )
        assert report.deleted + report.unknown + report.unsent == len(PAIRS)
        assert len(left(emulator)) == report.unknown + report.unsent
        again = delete(spark, PAIRS, folder, emulator, missing_ok=False, resume=True)
        assert (again.deleted, left(emulator)) == (len(PAIRS), [])


def test_where_nothing_can_be_kept_any_more_the_call_says_so_and_can_be_resumed(
    spark: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "outcomes"
    with seeded(PAIRS[:1000]) as emulator:

        def block() -> None:
            (folder / "run=0").write_text("a file where the folder should be")

        with pytest.raises(SparkDeletionError) as raised:
            while_running(
                lambda: delete(spark, PAIRS[:1000], folder, emulator),
                emulator,
                0,
                lambda: until(folder, block),
            )
        assert str(raised.value).startswith("Spark cannot go on (")
        assert str(raised.value).endswith(f"is in {folder}. Call again with resume=True to go on")
        (folder / "run=0").unlink()
        again = delete(spark, PAIRS[:1000], folder, emulator, missing_ok=False, resume=True)
        assert (again.deleted, left(emulator)) == (1000, [])


def until(folder: Path, then: Callable[[], None]) -> None:
    """Does something when a call begins to send."""
    while not (folder / "_runs/run=0/_SUCCESS").exists():
        time.sleep(0.002)
    then()


def test_a_copy_that_spark_starts_of_a_slow_task_makes_no_failure(cluster: Cluster, tmp_path: Path) -> None:
    speculation: dict[str, Any] = {
        "spark.speculation": "true",
        "spark.speculation.interval": "100ms",
        "spark.speculation.task.duration.threshold": "200ms",
    }
    with seeded(latency=0.1) as emulator:
        given = arguments(emulator, tmp_path / "outcomes", tasks=1, missing_ok=False, on_failure="report")
        with cluster.program(PROGRAM, given, **speculation) as driver:
            output, _ = driver.communicate(timeout=120)
        assert "RESULT SparkDeleteReport(requested=3000, deleted=3000, absent=0" in output, output
        # There was one.
        sent = [pair for it in emulator.requests for pair in zip(it.input_ids, it.ids, strict=True)]
        assert len(sent) > len(PAIRS)


# --- Any history

FAULTS = {Fault.throttled(): 0.02, Fault.dropped_after(): 0.04, Fault.grpc(14): 0.02}


@pytest.mark.parametrize("seed", range(CASES))
def test_any_history_keeps_the_invariants(seed: int, spark: Any, cluster: Cluster, tmp_path: Path) -> None:
    chance = random_cases.generator("history", seed)
    there = PAIRS[: chance.randint(500, len(PAIRS))]
    named = chance.sample(there, chance.randint(300, len(there)))
    locked = set(chance.sample(named, chance.randint(0, 3)))
    never = NEVER[: chance.randint(0, 20)]
    again = chance.sample(named, 50)
    tasks = chance.randint(1, 4)
    options = {
        "tasks": tasks,
        "rows_per_job": chance.choice([None, 300, 1000]),
        "batch_size": chance.choice([16, 128]),
        "max_in_flight": chance.choice([1, 4]),
        "missing_ok": False,
        "on_failure": "report",
        "request_timeout": 2.0,
    }
    df = frame(spark, [*named, *never, *again]).repartition(chance.randint(1, 9))
    kill_after, which = chance.randint(1, 20), chance.randint(0, 9)
    rates = FAULTS if chance.random() < 0.5 else {}
    missing_pair = chance.choice(["refused", "mixed"])
    with seeded(there, fault_rates=rates, seed=seed, missing_pair=missing_pair) as emulator:
        for pair in locked:
            emulator.lock(*pair)
        report = while_running(
            lambda: delete(spark, df, tmp_path / "outcomes", emulator, **options),
            emulator,
            kill_after,
            lambda: cluster.kill_executor(spark, which),
        )
        found, still = told(report), set(left(emulator))
        assert set(found) == {*named, *never}
        assert set(there) - still <= set(named)
        counts = [report.deleted, report.absent, report.failed, report.unknown, report.unsent]
        assert (sum(counts), report.duplicates) == (report.requested, len(again))
        for pair, row in found.items():
            if row.outcome in ("deleted", "absent"):
                assert pair not in still
            elif row.outcome in ("failed", "unsent"):
                assert pair in still
        assert {pair for pair, row in found.items() if row.outcome == "failed"} == locked
        assert [found[pair] for pair in set(named) - locked if found[pair].outcome != "deleted"] == []
        for pair in never:
            if found[pair].outcome != "absent":
                # What is gone after an answer that was mixed or lost counts as deleted, and so after a lost try.
                assert found[pair].outcome == "deleted"
                assert rates or missing_pair == "mixed" or found[pair].description == REPEATED
        asked = set(named) | set(never)
        for request in emulator.requests:
            assert len(request.ids) == len(request.input_ids)
            assert set(zip(request.input_ids, request.ids, strict=True)) <= asked
