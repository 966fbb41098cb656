"""The quota of a deletion by Spark is one, however many tasks share it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clarifai_annotations import ConfigurationError
from clarifai_annotations.spark import delete_annotations
from clarifai_annotations.spark.settings import ROUNDING, RateShares
from test_serve import environment, served

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of Py4J

COUNT = 200_000

rates = st.one_of(st.integers(1, 300).map(float), st.floats(0.05, 300.0))


@given(requests_per_second=rates, tasks=st.integers(1, 40))
@example(requests_per_second=1.9999999999999432, tasks=1)
# Multiplied and divided by 3, and by 14, these are rounded up to 4 and to 15.
@example(requests_per_second=3.9999999999999996, tasks=1)
@example(requests_per_second=14.999999999999998, tasks=1)
def test_the_shares_of_all_tasks_are_the_quota(requests_per_second: float, tasks: int) -> None:
    divided = RateShares(requests_per_second, min(tasks, RateShares(requests_per_second, 1).slots))
    shares = [divided.share(partition) or 0.0 for partition in range(divided.tasks)]
    assert sum(shares) == pytest.approx(requests_per_second)
    # A client sends the whole part of its share at a time. Together the tasks send what one window has room for.
    requests = [max(1, math.floor(share + ROUNDING)) for share in shares]
    assert sum(requests) == divided.slots
    windows = [count / share for count, share in zip(requests, shares, strict=True)]
    assert windows == pytest.approx([divided.slots / requests_per_second] * divided.tasks)


@given(requests_per_second=rates)
def test_as_few_tasks_share_a_quota_as_can_use_it_up(requests_per_second: float) -> None:
    shares = RateShares.divide(requests_per_second, None)
    assert (shares.tasks - 1) * 30 < requests_per_second <= shares.tasks * 30


def test_clarifais_quota_is_for_one_task() -> None:
    assert (RateShares.divide(15.0, None).tasks, RateShares.divide(None, None).tasks) == (1, 4)


def test_no_more_tasks_than_requests_can_share_a_quota() -> None:
    with pytest.raises(ConfigurationError, match=r"^tasks=2: from 1 to 1 can share 0\.5 requests a second"):
        RateShares.divide(0.5, 2)


def test_200_000_pairs_keep_to_a_quota_that_four_tasks_share(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = tmp_path / "labels.jsonl"
    with seed.open("w") as file:
        for n in range(COUNT):
            file.write(json.dumps({"id": f"a{n}", "input_id": f"p{n // 10}"}) + "\n")
    with served("--requests-per-second", "15", "--latency-ms", "20", "--seed-file", str(seed)) as (_, lines):
        for name, value in environment(lines).items():
            monkeypatch.setenv(name, value)
        df = spark.range(COUNT).selectExpr(
            "concat('p', floor(id / 10)) AS input_id", "concat('a', id) AS annotation_id"
        )
        # More jobs than by default, so that tasks follow on tasks.
        report = delete_annotations(df, tmp_path / "outcomes", tasks=4, rows_per_job=20_000)
    assert (report.requested, report.deleted, report.ok) == (COUNT, COUNT, True)
    assert report.throttled * 100 <= report.requests
    tasks = report.outcomes.where("task IS NOT NULL").collect()
    assert len(tasks) == 12
    # Each job's last request may have room left, and every throttled one is repeated; no other is too many.
    assert report.requests <= -(-COUNT // 128) + len(tasks) + report.throttled
