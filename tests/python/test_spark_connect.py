"""Deletions over Spark Connect, where the caller's process has no Spark of its own: as on Databricks."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest

from clarifai_annotations.emulator import Emulator
from spark_cluster import Cluster, connect_server
from test_spark import PAIRS, app_of, left

pytestmark = pytest.mark.skipif(
    int(pyspark.__version__.partition(".")[0]) < 4, reason="PySpark 3.5 comes without its Connect server"
)

PROGRAM = """
import json, sys
from pyspark.sql import SparkSession
from clarifai_annotations import IdError
from clarifai_annotations.spark import delete_annotations
options = json.loads(sys.argv[2])
pairs = options.pop("pairs")
spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
frame = lambda rows: spark.createDataFrame(rows, "input_id string, annotation_id string")
print("SESSION", type(spark).__module__)
try:
    delete_annotations(frame([("p", None)]), **options)
except IdError as error:
    print("REFUSED", error)
try:
    report = delete_annotations(frame(pairs), **options)
    print("REPORT", report)
    print("TOLD", sorted(report.outcomes.groupBy("outcome").count().collect()))
    print("AGAIN", delete_annotations(frame(pairs), resume=True, **options))
except KeyboardInterrupt as interrupt:
    print("INTERRUPTED", interrupt.report)
"""


@pytest.fixture(scope="module")
def remote(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Connect server on the cluster."""
    with connect_server(cluster, tmp_path_factory.mktemp("connect")) as remote:
        yield remote


def arguments(emulator: Emulator, folder: Path, pairs: list[tuple[str, str]], **options: Any) -> str:
    given = {"outcomes": str(folder), "pairs": pairs, "requests_per_second": None, "tasks": 2}
    return json.dumps({**given, **app_of(emulator), **options})


def test_a_deletion_over_connect_is_like_any_other(cluster: Cluster, remote: str, tmp_path: Path) -> None:
    with Emulator(missing_pair="refused") as emulator:
        for pair in PAIRS:
            emulator.add_annotation(*pair)
        given = arguments(emulator, tmp_path / "outcomes", [*PAIRS[:30], ("p0", "never")])
        with cluster.client_program(PROGRAM, remote, given) as driver:
            output, _ = driver.communicate(timeout=180)
        assert "SESSION pyspark.sql.connect.session" in output, output
        assert (
            "REFUSED in 1 row of 1, 'annotation_id' is missing (null), one where 'input_id' is 'p'" in output
        )
        assert "REPORT SparkDeleteReport(requested=31, deleted=30, absent=1" in output, output
        assert "TOLD [Row(outcome='absent', count=1), Row(outcome='deleted', count=30)]" in output, output
        assert "AGAIN SparkDeleteReport(requested=31, deleted=30, absent=1" in output, output
        assert left(emulator) == PAIRS[30:]


def test_ctrl_c_cancels_the_jobs_of_the_server(cluster: Cluster, remote: str, tmp_path: Path) -> None:
    pairs = [(f"p{n % 70}", f"a{n}") for n in range(3000)]
    with Emulator(latency=0.1) as emulator:
        for pair in pairs:
            emulator.add_annotation(*pair)
        given = arguments(emulator, tmp_path / "outcomes", pairs, max_in_flight=1, rows_per_job=400)
        with cluster.client_program(PROGRAM, remote, given) as driver:
            while len(emulator.requests) < 8:
                time.sleep(0.005)
            os.kill(driver.pid, signal.SIGINT)
            output, _ = driver.communicate(timeout=120)
        assert "INTERRUPTED SparkDeleteReport(requested=3000, " in output, output
        # Nothing goes on behind the caller's back.
        seen = len(left(emulator))
        assert 0 < seen < len(pairs)
