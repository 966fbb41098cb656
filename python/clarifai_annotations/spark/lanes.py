"""Lanes: as many as there are tasks at a time, each a thread of the driver that runs one Spark job after the other.

A job has one task. So its rows are read, deleted and told in a single stage that nothing but a lost executor makes Spark
repeat, and the number of an attempt says whether an earlier one was there; no copy of it is started for speculation; what
became of its rows is kept when it ends, whatever happens to the driver later; and no lane waits for another.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pyspark import InheritableThread
from pyspark.sql import Row, SparkSession
from pyspark.sql.utils import is_remote
from pyspark.util import inheritable_thread_target

Job = Callable[[int, int], list[Row]]
"""Runs the job of a partition with this number. Gives what there is to tell of its task."""


@dataclass
class Lane:
    """The jobs of one partition."""

    partition: int
    jobs: list[int]
    tasks: list[Row] = field(default_factory=list)
    under_way: int | None = None
    is_finished: bool = False
    error: BaseException | None = None

    def run(self, job: Job, pause: float, stopped: threading.Event) -> None:
        """Run the jobs in order until one is stopped or fails."""
        for number in self.jobs:
            if stopped.is_set():
                return
            self.under_way = number
            tasks = job(self.partition, number)
            ended = time.monotonic()
            self.under_way = None
            self.tasks += tasks
            if any(task.stopped_by is not None for task in tasks):
                stopped.set()
                return
            if number != self.jobs[-1]:
                # The next task's client knows nothing of the requests of this one.
                stopped.wait(max(0.0, pause - (time.monotonic() - ended)))
        self.is_finished = True


def run(spark: SparkSession, lanes: list[Lane], job: Job, pause: float) -> BaseException | None:
    """Run all lanes at once, to their end. Gives what broke them off, if anything did.

    Args:
        spark: The session.
        lanes: What there is to run. It is told there how far each came.
        job: Runs one job.
        pause: Seconds between two jobs of a lane.

    """
    stopped, tag = threading.Event(), f"clarifai-annotations-{uuid.uuid4().hex}"

    def work(lane: Lane) -> None:
        try:
            _add_tag(spark, tag)
            lane.run(job, pause, stopped)
        except BaseException as error:
            lane.error = error
            stopped.set()

    threads = [_thread(spark, partial(work, lane)) for lane in lanes]
    broken_off: BaseException | None = None
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:
        broken_off = error
        stopped.set()
        _cancel(spark, tag)
        for thread in threads:
            if thread.ident is not None:  # it was started
                thread.join()
    return broken_off or next((lane.error for lane in lanes if lane.error is not None), None)


def _thread(spark: SparkSession, target: Callable[[], None]) -> threading.Thread:
    """Make a thread with the Spark properties of this one: its scheduler pool, its job description."""
    if is_remote():
        return threading.Thread(target=inheritable_thread_target(spark)(target))
    return InheritableThread(target=target)


def _add_tag(spark: SparkSession, tag: str) -> None:
    """Have this thread's jobs carry a tag."""
    if is_remote():
        spark.addTag(tag)
    else:
        spark.sparkContext.addJobTag(tag)


def _cancel(spark: SparkSession, tag: str) -> None:
    """Cancel the jobs that carry a tag: Spark goes on with them else, whatever becomes of the caller."""
    if is_remote():
        spark.interruptTag(tag)
    else:
        spark.sparkContext.cancelJobsWithTag(tag)
