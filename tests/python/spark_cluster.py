"""A Spark cluster in processes of its own: a standalone master and two workers on the loopback interface.

Its executors find the key in the workers' environment, as on a real cluster, and nothing of it is known to the driver.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from parent_death import end_with_parent

WORKERS, CORES_OF_A_WORKER = 2, 4

JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For programs that end before the better compiler has paid."""


def why_not() -> str | None:
    """Say what keeps Spark from running here, if anything does."""
    if sys.platform == "win32":
        return "Spark's standalone cluster is not for Windows"
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "Spark needs Java 17 or later, and none is installed"
    return None


@dataclass
class Cluster:
    """A running cluster."""

    url: str
    folder: Path
    workers: dict[str, subprocess.Popen[str]]
    """By the host that each is, as Spark sees it."""

    def kill_executor(self, spark: Any, which: int = 0) -> None:
        """End an executor of a session as a lost machine would: one that has a task, and another one if none has."""
        tracker = spark.sparkContext._jsc.sc().statusTracker()
        # Spark learns of a task that began some time later.
        until = time.monotonic() + 3
        busy: list[str] = []
        while not busy and time.monotonic() < until:
            known = tracker.getExecutorInfos()
            busy = sorted({it.host() for it in known if it.numRunningTasks()} & {*self.workers})
        hosts = busy or sorted(self.workers)
        worker = self.workers[hosts[which % len(hosts)]]
        for children in Path(f"/proc/{worker.pid}/task").glob("*/children"):
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGKILL)

    @contextmanager
    def program(
        self, source: str, *arguments: str, output: Path | None = None, **options: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a driver program of its own on this cluster. All its processes are a group, and end with the block.

        What it says goes to a file, or can be read from the process.
        """
        conf = [f"--conf '{name}={value}'" for name, value in {**self.options(), **options}.items()]
        submit = " ".join([*conf, "pyspark-shell"])
        environment = {"PYSPARK_SUBMIT_ARGS": submit, "SPARK_LOCAL_IP": "127.0.0.1"}
        with ExitStack() as stack:
            log = subprocess.PIPE if output is None else stack.enter_context(output.open("w"))
            yield stack.enter_context(_program(source, arguments, log, environment))

    @contextmanager
    def client_program(self, source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program that has Spark by Connect only."""
        with _program(source, arguments, subprocess.PIPE, {}) as process:
            yield process

    def options(self) -> dict[str, str]:
        """Give the options of a driver program that runs on this cluster, as `spark-submit --conf` takes them."""
        return {
            "spark.master": self.url,
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            # One executor on each worker; as much is left for a second program.
            "spark.cores.max": "4",
            "spark.executor.cores": "2",
            "spark.executor.memory": "512m",
            "spark.driver.extraJavaOptions": JVM,
            "spark.executor.extraJavaOptions": JVM,
            "spark.sql.shuffle.partitions": "4",
            "spark.ui.showConsoleProgress": "false",
            "spark.ui.port": "0",
            "spark.log.level": "ERROR",
        }


@contextmanager
def _program(
    source: str, arguments: tuple[str, ...], output: IO[str] | int, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", source, *arguments],
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, **environment},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def spark_cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    """Run a cluster whose workers have these variables, until the end of the block. Its files go to this folder."""
    variables = {
        **_environment(folder),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_DAEMON_JAVA_OPTS": JVM,
    }
    variables |= environment
    with ExitStack() as stack:
        begin = [*_class("master.Master"), "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
        log = _started(stack, begin, folder / "master", variables)[1]
        url = wait_for_line(log, r"Starting Spark master at (spark://\S+)")
        workers = {}
        for number in range(WORKERS):
            work = folder / f"worker-{number}"
            # Each a host of its own, as Spark sees it: it starts no copy of a task on the same one.
            host = f"127.0.0.{number + 1}"
            begin = [*_class("worker.Worker"), "--host", host, "--webui-port", "0"]
            begin += ["--cores", str(CORES_OF_A_WORKER), "--memory", "2g", "--work-dir", str(work), url]
            worker, log = _started(stack, begin, work, {**variables, "SPARK_LOCAL_IP": host})
            wait_for_line(log, r"(Successfully registered with master)")
            workers[host] = worker
        yield Cluster(url, folder, workers)


@contextmanager
def connect_server(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Run a Connect server as a driver on this cluster. Gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = cluster.options() | {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.log.level": "INFO",
    }
    conf = [word for name, value in options.items() for word in ("--conf", f"{name}={value}")]
    server = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    with ExitStack() as stack:
        command = [*_class("SparkSubmit"), *conf, *server]
        log = _started(stack, command, folder / "server", _environment(folder))[1]
        wait_for_line(log, "(Spark Connect server started)")
        yield f"sc://127.0.0.1:{port}"


def _environment(folder: Path) -> dict[str, str]:
    """The variables of a process of Spark's: no key is among them."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLARIFAI_", "SPARK_")) and not name.lower().endswith("_proxy")
    }
    return inherited | {"HOME": str(folder), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


def _class(name: str) -> list[str]:
    import pyspark

    return [f"{Path(pyspark.__file__).parent}/bin/spark-class", f"org.apache.spark.deploy.{name}"]


def _started(
    stack: ExitStack, command: list[str], folder: Path, environment: dict[str, str]
) -> tuple[subprocess.Popen[str], IO[str]]:
    """Start a process that is stopped with the stack, and follow what it says."""
    folder.mkdir(parents=True)
    log = stack.enter_context((folder / "log").open("w+", encoding="utf-8"))
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        # A worker that is left alone starts its executors again and again.
        preexec_fn=end_with_parent(),
    )
    stack.callback(_stop, process)
    return process, stack.enter_context((folder / "log").open(encoding="utf-8"))


def _stop(process: subprocess.Popen[str]) -> None:
    # A worker ends its executors when it is asked to end.
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_line(log: IO[str], pattern: str) -> str:
    """Wait for a line of a log."""
    text = ""
    for _ in range(1800):
        text += log.read()
        if found := re.search(pattern, text):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"Spark did not start: {text}")


@contextmanager
def spark_session(cluster: Cluster, **options: str) -> Iterator[Any]:
    """A session of this process on a cluster; the JVM behind it ends with the block."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    handler = signal.getsignal(signal.SIGINT)
    with patch.dict(os.environ, PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1"):
        builder = SparkSession.builder
        for name, value in {**cluster.options(), **options}.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
    # Spark's own would be that of all later tests.
    signal.signal(signal.SIGINT, handler)
    try:
        yield session
    finally:
        session.stop()
        gateway = SparkContext._gateway
        assert gateway is not None
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait()
        SparkContext._gateway = SparkContext._jvm = None
