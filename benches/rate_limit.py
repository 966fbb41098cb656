"""How well our client uses a rate limit: alone, with other processes, and on a bad network.

    pip install '.[bench]' && python benches/rate_limit.py

prints a table (about eleven minutes). The service is made of Clarifai's own stubs and shares no code with our
emulator. It, the relay that stands in for the network, and each client run in a process of their own.
``--only one-50`` runs one row and may be repeated; ``--full`` takes the two longest rows at their full length.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trustme

HERE = Path(__file__).parent
QUOTA = 15
BATCH = 128
SMALL_BATCH = 16
"""For a client that does not run out of work: fewer IDs have to be made."""
MINUTE = 60.0
TIMEOUT = 300.0
"""Seconds after which a client that should have ended has failed."""


@dataclass
class Row:
    """One line of the table."""

    name: str
    what: str
    wanted: str
    share: float
    observed: Observation
    fairness: str
    is_reached: bool | None
    """``None`` where nothing is wanted."""

    def __str__(self) -> str:
        """Format it as a line of a Markdown table."""
        reached = {True: "yes", False: "NO", None: ""}[self.is_reached]
        observed = self.observed
        cells = [
            self.name,
            self.what,
            self.wanted,
            f"{self.share:.4f}",
            observed.throttled,
            observed.requests,
        ]
        return (
            f"| {' | '.join(map(str, cells))} | {observed.most_in_a_second} | {self.fairness} | {reached} |"
        )


HEADER = """\
| row | what | wanted | share | throttled | requests | most in a second | fairness | reached |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Arrival:
    """A request as the service saw it."""

    at: float
    client: str
    is_accepted: bool


@dataclass
class Observation:
    """All requests that the service saw."""

    arrivals: list[Arrival]
    most_in_a_second: int

    @property
    def requests(self) -> int:
        """How many there were."""
        return len(self.arrivals)

    @property
    def throttled(self) -> int:
        """How many were refused."""
        return sum(not it.is_accepted for it in self.arrivals)

    @property
    def throttled_share(self) -> float:
        """The part of all requests that was refused."""
        return self.throttled / self.requests

    @property
    def accepted(self) -> list[Arrival]:
        """Those that were not refused, in order."""
        return [it for it in self.arrivals if it.is_accepted]

    @property
    def began_at(self) -> float:
        """When the first request arrived."""
        return self.arrivals[0].at

    def share(self, without: float = 0.0, quota: int = QUOTA) -> float:
        """Tell which share of the ceiling was reached: the least time for so many requests, by the time they took.

        So many seconds in which nothing could pass are left out.
        """
        seconds = self.accepted[-1].at - self.began_at - without
        return least_seconds(len(self.accepted), quota) / seconds

    def within(self, begin: float, end: float) -> list[Arrival]:
        """List the accepted requests between two times, in seconds since the first request."""
        return [it for it in self.accepted if begin <= it.at - self.began_at < end]

    def finish_times(self) -> dict[str, float]:
        """Tell when the last accepted request of each client arrived, in seconds since the first request."""
        return {it.client: it.at - self.began_at for it in self.accepted}


def least_seconds(requests: int, quota: int = QUOTA) -> int:
    """Seconds from the first to the last of so many requests that a quota allows in any rolling second."""
    return (requests - 1) // quota


def jain_index(counts: Iterable[int]) -> float:
    """Jain's fairness index: 1 where all get the same, 1/n where one of n gets everything."""
    values = list(counts)
    squares = len(values) * sum(it * it for it in values)
    return sum(values) ** 2 / squares if squares else 0.0


@contextmanager
def running(
    program: str, *arguments: str, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program of this folder. At the end of the block, it and its children are killed."""
    command = [sys.executable, str(HERE / program), *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def read_line(process: subprocess.Popen[str]) -> str:
    """Read a line that a program prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended early")
    return line


def write_line(process: subprocess.Popen[str]) -> None:
    """Write an empty line to a program's standard input."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def check_running(processes: list[subprocess.Popen[str]]) -> None:
    """Fail if a client has ended that has endless work."""
    for process in processes:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended early")


def wait_for_success(process: subprocess.Popen[str]) -> None:
    """Wait until a client has done its work."""
    if process.wait(TIMEOUT):
        raise RuntimeError(f"{process.args!r} failed")


@dataclass
class RunningService:
    """A running service, and what its clients need."""

    directory: Path
    service: subprocess.Popen[str]
    port: int
    certificates: Path

    @contextmanager
    def client(
        self, workload: str, clients: list[str], runtime_dir: str = "shared", **arguments: Any
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a workload of `rate_limit_workloads.py`. It waits for a line before its first call."""
        runtime = self.directory / f"runtime-{runtime_dir}"
        runtime.mkdir(mode=0o700, exist_ok=True)
        environment = {
            "CLARIFAI_ANNOTATIONS_RUNTIME_DIR": str(runtime),
            "HOME": str(self.directory),
            "NO_PROXY": "localhost",
        }
        settings = {
            "clients": clients,
            "base_url": f"https://localhost:{self.port}",
            "root_certificates_path": str(self.certificates),
            **arguments,
        }
        with running(
            "rate_limit_workloads.py", workload, json.dumps(settings), environment=environment
        ) as process:
            read_line(process)
            yield process

    def observe(self) -> Observation:
        """Ask the service what it saw."""
        write_line(self.service)
        seen = json.loads(read_line(self.service))
        return Observation([Arrival(*it) for it in seen["arrivals"]], seen["most_in_a_second"])

    def run(self, workload: str, each: list[dict[str, Any]]) -> Observation:
        """Run clients with these arguments at the same time, until all have done their work."""
        with ExitStack() as stack:
            processes = [stack.enter_context(self.client(workload, **it)) for it in each]
            for process in processes:
                write_line(process)
            for process in processes:
                wait_for_success(process)
        return self.observe()

    def run_for(self, seconds: float, workload: str, each: list[dict[str, Any]]) -> Observation:
        """Run clients with these arguments at the same time, until so long after their first request."""
        with ExitStack() as stack:
            processes = [stack.enter_context(self.client(workload, **it)) for it in each]
            for process in processes:
                write_line(process)
            while not self.observe().arrivals:
                check_running(processes)
                time.sleep(0.01)
            time.sleep(seconds)
            check_running(processes)
            return self.observe()


@contextmanager
def run_service(network: dict[str, Any] | None = None, **options: Any) -> Iterator[RunningService]:
    """Run a service that speaks TLS, behind a relay where options of a network are given."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(directory / "authority.pem")
        issued.private_key_pem.write_to_path(directory / "key.pem")
        for blob in issued.cert_chain_pems:
            blob.write_to_path(directory / "chain.pem", append=True)
        options["certificate_chain"] = str(directory / "chain.pem")
        options["private_key"] = str(directory / "key.pem")
        service = stack.enter_context(running("independent_service.py", json.dumps(options)))
        port = int(read_line(service))
        if network is not None:
            relay = running("delay_relay.py", json.dumps({"target_port": port, **network}))
            port = int(read_line(stack.enter_context(relay)))
        yield RunningService(directory, service, port, directory / "authority.pem")


def one(round_trip: int) -> Callable[[bool], list[Row]]:
    """Measure one process, with so many milliseconds for a round trip."""

    def measure(_full: bool) -> list[Row]:
        count = 300 * BATCH
        with run_service({"round_trip": round_trip / 1000}) as service:
            observed = service.run("delete_pairs", [{"clients": ["a"], "count": count}])
        share, most = observed.share(), observed.most_in_a_second
        return [
            Row(
                f"one-{round_trip}",
                f"1 process, {count:,} pairs, round trips of {round_trip} ms",
                f"≥ 0.98, 0 throttled, ≤ {QUOTA} in any second",
                share,
                observed,
                "",
                share >= 0.98 and observed.throttled == 0 and most <= QUOTA,
            )
        ]

    return measure


def processes(number: int, *, is_forked: bool) -> Callable[[bool], list[Row]]:
    """Measure processes that share a runtime directory."""

    def measure(_full: bool) -> list[Row]:
        count = 300 // number * BATCH
        names = [f"p{n}" for n in range(number)]
        if is_forked:
            each = [{"clients": names, "count": count}]
        else:
            each = [{"clients": [name], "count": count} for name in names]
        with run_service() as service:
            observed = service.run("delete_pairs", each)
        share, times = observed.share(), observed.finish_times().values()
        ratio = max(times) / min(times)
        return [
            Row(
                f"processes-{number}-forked" if is_forked else f"processes-{number}",
                f"{number} {'forked' if is_forked else 'spawned'} processes, {count * number:,} pairs in all",
                "≥ 0.96, ≤ 0.5 % throttled, slowest ≤ 1.25 of the fastest",
                share,
                observed,
                f"slowest {ratio:.2f} of the fastest",
                share >= 0.96 and observed.throttled_share <= 0.005 and ratio <= 1.25,
            )
        ]

    return measure


def alone(number: int) -> Callable[[bool], list[Row]]:
    """Measure processes that share nothing, as if each was on a machine of its own."""

    def measure(_full: bool) -> list[Row]:
        names = [f"m{n}" for n in range(number)]
        count = round(QUOTA * MINUTE * 1.2) * SMALL_BATCH
        each = [
            {"clients": [name], "count": count, "batch_size": SMALL_BATCH, "runtime_dir": name}
            for name in names
        ]
        with run_service() as service:
            observed = service.run_for(MINUTE, "delete_pairs", each)
        accepted = observed.within(0, MINUTE)
        share = len(accepted) / (QUOTA * MINUTE)
        counts = Counter(it.client for it in accepted)
        fairness = jain_index(counts[name] for name in names)
        return [
            Row(
                f"alone-{number}",
                f"{number} processes that share nothing, for a minute",
                "≥ 0.90, ≤ 3 % throttled, Jain's index ≥ 0.95",
                share,
                observed,
                f"Jain's index {fairness:.3f} ({', '.join(str(counts[name]) for name in names)})",
                share >= 0.90 and observed.throttled_share <= 0.03 and fairness >= 0.95,
            )
        ]

    return measure


def disturbed(
    name: str, what: str, network: dict[str, Any], without: float = 0.0, **options: Any
) -> Callable[[bool], list[Row]]:
    """Measure one process whose network is disturbed."""

    def measure(_full: bool) -> list[Row]:
        count = 100 * BATCH
        with run_service({"round_trip": 0.02, **network}, **options) as service:
            observed = service.run("delete_pairs", [{"clients": ["a"], "count": count}])
        share = observed.share(without)
        return [
            Row(
                name,
                f"1 process, {count:,} pairs, {what}",
                "≥ 0.95 of what is left, ≤ 1 throttled" if without else "≥ 0.95, ≤ 1 throttled",
                share,
                observed,
                "",
                share >= 0.95 and observed.throttled <= 1,
            )
        ]

    return measure


def auto(_full: bool) -> list[Row]:
    """Measure a client that has to find a higher quota."""
    quota, begin = 100, 20.0
    work = {
        "clients": ["a"],
        "count": round(quota * MINUTE * 1.2) * SMALL_BATCH,
        "batch_size": SMALL_BATCH,
        "requests_per_second": "auto",
    }
    with run_service(quota=quota) as service:
        observed = service.run_for(MINUTE, "delete_pairs", [work])
    share = len(observed.within(begin, MINUTE)) / (quota * (MINUTE - begin))
    return [
        Row(
            "auto",
            f'requests_per_second="auto", quota {quota}, for a minute: share after {begin:.0f} s',
            "≥ 0.90, ≤ 1 % throttled",
            share,
            observed,
            "",
            share >= 0.90 and observed.throttled_share <= 0.01,
        )
    ]


def serial(full: bool) -> list[Row]:
    """Measure two processes that delete one annotation after the other."""
    count = 1000 if full else 150
    with run_service() as service:
        observed = service.run("delete_serially", [{"clients": [name], "count": count} for name in "ab"])
    ratio = max(observed.finish_times().values()) / least_seconds(2 * count)
    return [
        Row(
            "serial-2",
            f"2 processes, {count:,} serial `delete_annotation` each",
            "each ≤ 1.1 of the least time, 0 throttled",
            observed.share(),
            observed,
            f"slower one {ratio:.2f} of the least time",
            ratio <= 1.1 and observed.throttled == 0,
        )
    ]


def kills(full: bool) -> list[Row]:
    """Measure a process beside others that are killed."""
    number, chance = 100 if full else 20, random.Random(1)
    work: dict[str, Any] = {"count": QUOTA * 300 * SMALL_BATCH, "batch_size": SMALL_BATCH}
    with run_service() as service, service.client("delete_pairs", ["survivor"], **work) as survivor:
        write_line(survivor)
        for n in range(number):
            with service.client("delete_pairs", [f"killed-{n}"], **work) as killed:
                write_line(killed)
                time.sleep(chance.uniform(0.05, 1.0))
        observed = service.observe()
    share = observed.share()
    survivors = sum(it.client == "survivor" for it in observed.accepted)
    return [
        Row(
            "kills",
            f"1 process, and {number} others one after the other that are killed while they delete",
            "≥ 0.95, ≤ 0.5 % throttled",
            share,
            observed,
            f"{survivors} of {len(observed.accepted)} by the survivor",
            share >= 0.95 and observed.throttled_share <= 0.005,
        )
    ]


def official(number: int) -> Callable[[bool], list[Row]]:
    """Measure Clarifai's SDK and ours in turn."""

    def measure(_full: bool) -> list[Row]:
        rows = []
        count = 100 // number * BATCH
        each = [{"clients": [f"p{n}"], "count": count} for n in range(number)]
        for workload, client in {"delete_with_sdk": "Clarifai's SDK", "delete_pairs": "ours"}.items():
            with run_service() as service:
                observed = service.run(workload, each)
            times = observed.finish_times().values()
            row = Row(
                f"official-{number}",
                f"{client}, {number} process{'es' if number > 1 else ''}, {count * number:,} pairs in all",
                "",
                observed.share(),
                observed,
                f"slowest {max(times) / min(times):.2f} of the fastest" if number > 1 else "",
                None,
            )
            rows.append(row)
        return rows

    return measure


ROWS: dict[str, Callable[[bool], list[Row]]] = {
    **{f"one-{round_trip}": one(round_trip) for round_trip in (5, 20, 50, 200)},
    **{f"processes-{number}": processes(number, is_forked=False) for number in (2, 4, 8)},
    **{f"processes-{number}-forked": processes(number, is_forked=True) for number in (2, 4, 8)},
    **{f"alone-{number}": alone(number) for number in (2, 4)},
    "stall": disturbed("stall", "the network stalls for 1.5 s", {"stall_after": 3.0, "stall": 1.5}, 1.5),
    "slow-connect": disturbed("slow-connect", "the connection takes 2.5 s", {"connect": 2.5}),
    "goaway": disturbed("goaway", "GOAWAY every 3 s", {}, max_connection_age=3.0),
    "closed": disturbed("closed", "the connection is closed after 3 s", {"close_after": 3.0}),
    "auto": auto,
    "serial-2": serial,
    "kills": kills,
    "official-1": official(1),
    "official-2": official(2),
}


def main() -> None:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=ROWS, help="run this row; may be repeated")
    parser.add_argument("--full", action="store_true", help="1,000 serial calls and 100 killed processes")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that what was started is killed
    print(HEADER, flush=True)
    failed = []
    for name in arguments.only or ROWS:
        try:
            rows = ROWS[name](arguments.full)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed.append(f"{name}: {error}")
            continue
        for row in rows:
            print(row, flush=True)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
