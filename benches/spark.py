"""Deletion by Spark: how much of the quota its tasks use up together, beside Clarifai's SDK called from the same cluster.

``python benches/spark.py`` starts a standalone cluster of two workers and the emulator, each in processes of their own, and
prints a table. It needs Java 17 and ``pip install '.[bench,spark]'``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from clarifai_annotations.spark import delete_annotations
from official_clients import BATCH, QUOTA, share
from service import PER_INPUT, Service, service
from workloads import APP_ID, PAT, USER_ID

sys.path.append(str(Path(__file__).parents[1] / "tests/python"))
from spark_cluster import spark_cluster, spark_session

LATENCY = 0.02


def pairs(spark: SparkSession, count: int) -> DataFrame:
    """The seeded annotations as a frame."""
    input_id, annotation_id = f"concat('photo-', floor(id / {PER_INPUT}))", "concat('box-', id)"
    return spark.range(count).selectExpr(f"{input_id} AS input_id", f"{annotation_id} AS annotation_id")


def ours(spark: SparkSession, peer: Service, count: int, folder: Path, **options: Any) -> dict[str, float]:
    """One call: seconds of the whole of it, and from when it begins to send until the last outcome is written."""
    app: dict[str, Any] = {"base_url": peer.base_url, "user_id": USER_ID, "app_id": APP_ID}
    report = delete_annotations(pairs(spark, count), folder, **app, **options)
    assert report.deleted == count
    begin = (folder / "_runs/run=0/_SUCCESS").stat().st_mtime
    end = max(path.stat().st_mtime for path in folder.glob("run=0/**/_SUCCESS"))
    return {"whole": report.elapsed, "sending": end - begin}


def sdk(spark: SparkSession, peer: Service, count: int) -> dict[str, float]:
    """What one writes without this package: a partition a core, each with Clarifai's SDK, batch by batch."""
    base_url = peer.base_url

    def delete(rows: Iterator[Any]) -> None:
        from clarifai.client.input import Inputs

        inputs = Inputs(user_id=USER_ID, app_id=APP_ID, pat=PAT, base_url=base_url)
        held = list(rows)
        for first in range(0, len(held), BATCH):
            batch = held[first : first + BATCH]
            inputs.delete_annotations([row.input_id for row in batch], [row.annotation_id for row in batch])

    begin = time.monotonic()
    pairs(spark, count).repartition(4).foreachPartition(delete)
    elapsed = time.monotonic() - begin
    return {"whole": elapsed, "sending": elapsed}


def main() -> None:
    """Run all ways in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="pairs of a call of ours")
    parser.add_argument(
        "--sdk-count", type=int, default=20_000, help="pairs for the SDK, which takes its time"
    )
    given = parser.parse_args()
    ways: list[tuple[str, int, dict[str, Any] | None]] = [
        ("ours, as it comes (1 task)", given.count, {}),
        ("ours, tasks=3", given.count, {"tasks": 3}),
        ("ours, tasks=5, jobs of 10,000 rows", given.count, {"tasks": 5, "rows_per_job": 10_000}),
        ("Clarifai's SDK in foreachPartition, 4 partitions", given.sdk_count, None),
    ]
    print("| way | pairs | requests | throttled | sending | share of the ceiling | whole call |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with (
            spark_cluster(root / "cluster", CLARIFAI_PAT=PAT) as cluster,
            spark_session(cluster, **{"spark.cores.max": "6", "spark.executor.cores": "3"}) as spark,
        ):
            for number, (name, count, options) in enumerate(ways):
                with service(count, requests_per_second=QUOTA, latency=LATENCY) as peer:
                    if options is None:
                        took = sdk(spark, peer, count)
                    else:
                        took = ours(spark, peer, count, root / str(number), **options)
                    saw = peer.saw()
                reached = share(count, took["sending"])
                print(
                    f"| {name} | {count:,} | {saw['requests']:,} | {saw['throttled']:,} | {took['sending']:.1f} s "
                    f"| {reached:.2f} | {took['whole']:.1f} s |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
