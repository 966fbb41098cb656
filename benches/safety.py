"""What safety costs: all annotations of many inputs deleted, bare and with a backup and a journal.

    python benches/safety.py [--annotations 1000000]
    python benches/safety.py --growth

Each way is a process of its own, against an emulator in another, without a quota and without latency: what is
measured is our own work. The threads' processor times tell what it is spent on. Prints a table; ends with 1 when a
way deletes less than all, takes more than 1.6 times the requests of the bare deletion with its lists, or more than
200 MB.

With --growth it prints how the cost of a backup and a journal grows: with 1, 2 and 10 million annotations, and in a paced run
of 5,000 syncs. It ends with 1 when 10 million take 15 % more than ten times what one million takes, in seconds, in bytes
written or in the size of the backup, or when a run writes more than 2.5 times its final files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from clarifai_annotations import Client
from service import PER_INPUT, annotation_id, input_id, service

MOST_REQUESTS = 1.6
MOST_MEGABYTES = 200
CLIENT: dict[str, Any] = {
    "user_id": "emulator-user",
    "app_id": "emulator-app",
    "pat": "made-up",
    "requests_per_second": None,
}


def by_inputs(client: Client, ids: list[str], **safety: Any) -> int:
    """Delete by inputs; tell how many requests it took."""
    return client.delete_input_annotations(ids, **safety).requests


def planned(client: Client, ids: list[str], **safety: Any) -> int:
    """Plan, and delete what the plan lists."""
    plan = client.plan_input_deletion(ids)
    return plan.requests + plan.execute(**safety).requests


def lists(client: Client, ids: list[str]) -> int:
    """Only plan."""
    return client.plan_input_deletion(ids).requests


WAYS: dict[str, tuple[Callable[..., int], list[str]]] = {
    "bare: lists, then pairs": (planned, []),
    "lists alone": (lists, []),
    "by inputs, as the service offers it": (by_inputs, []),
    "with a backup": (by_inputs, ["backup"]),
    "with a backup and a journal": (by_inputs, ["backup", "journal"]),
    "with a backup and a journal, planned": (planned, ["backup", "journal"]),
}


GROWTH = [1_000_000, 2_000_000, 10_000_000]
MOST_GROWTH = 1.15
MOST_WRITTEN = 2.5
SYNCS, PER_SYNC, SYNCS_PER_SECOND = 5000, 16, 200
PACED = "paced"


def paced(base_url: str, folder: str) -> int:
    """Delete pair by pair with a backup, a batch at a time, so that each batch is a sync of its own."""
    input_ids, annotation_ids = zip(
        *((input_id(n), annotation_id(n)) for n in range(SYNCS * PER_SYNC)), strict=True
    )
    settings = {
        **CLIENT,
        "requests_per_second": 2 * SYNCS_PER_SECOND,
        "batch_size": PER_SYNC,
        "max_in_flight": 1,
    }
    with Client(base_url=base_url, **settings) as client:
        return client.delete_annotations(
            input_ids, annotation_ids, backup=Path(folder) / "backup", journal=Path(folder) / "journal"
        ).requests


class WrittenFiles(threading.Thread):
    """The bytes written to the files of a folder: the largest size of each file that was there.

    No file is written over, so this is what was written; a page that a sync wrote twice counts once. A file that is
    renamed keeps its inode number, and one that shrinks is another that got the number.
    """

    def __init__(self, folder: str) -> None:
        """Begin to sample."""
        super().__init__()
        self._folder, self._over = folder, threading.Event()
        self._sizes: dict[int, int] = {}
        self._earlier = 0
        self.start()

    def run(self) -> None:
        """Sample."""
        while not self._over.wait(0.002):
            self._look()

    def _look(self) -> None:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    before = self._sizes.get(status.st_ino, 0)
                    if status.st_size < before:
                        self._earlier += before
                    self._sizes[status.st_ino] = status.st_size

    def end(self) -> int:
        """Stop, and tell."""
        self._over.set()
        self.join()
        self._look()
        return self._earlier + sum(self._sizes.values())


def disk_bytes() -> int:
    """The bytes that this process made the disk write, in whole pages."""
    [line] = [it for it in Path("/proc/self/io").read_text().splitlines() if it.startswith("write_bytes")]
    return int(line.split()[1])


def megabytes(field: str) -> float:
    """A field of this process's status, in megabytes."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024 / 1e6


class ThreadTimes:
    """Processor seconds by the names of threads: sampled, for threads end with their work."""

    def __init__(self) -> None:
        """Begin to sample."""
        self.seconds: dict[tuple[str, str], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            for task in Path("/proc/self/task").iterdir():
                try:
                    name, fields = (
                        (task / "comm").read_text().strip(),
                        (task / "stat").read_text().rpartition(")")[2],
                    )
                except OSError:  # it has just ended
                    continue
                ticks = sum(map(int, fields.split()[11:13]))
                self.seconds[task.name, name] = ticks / os.sysconf("SC_CLK_TCK")

    def end(self) -> dict[str, float]:
        """Stop, and tell."""
        self._over.set()
        self._thread.join()
        by_name: dict[str, float] = defaultdict(float)
        for (_, name), seconds in self.seconds.items():
            by_name[name] += seconds
        return dict(by_name)


def one_way(way: str, base_url: str, annotations: int) -> None:
    """Go one way, and print what it took."""
    ids = [f"photo-{n}" for n in range(-(-annotations // PER_INPUT))]
    with Client(base_url=base_url, **CLIENT) as client, tempfile.TemporaryDirectory() as folder:
        client.plan_input_deletion(ids[:1])  # the connection, and what every call needs
        before, times, start = megabytes("VmRSS"), ThreadTimes(), time.perf_counter()
        pages, written = disk_bytes(), WrittenFiles(folder)
        if way == PACED:
            requests = paced(base_url, folder)
        else:
            go, files = WAYS[way]
            requests = go(client, ids, **{name: Path(folder) / name for name in files})
        elapsed = time.perf_counter() - start
        figures = {
            "requests": requests,
            "seconds": elapsed,
            "megabytes": megabytes("VmHWM") - before,
            "threads": times.end(),
            "written": written.end() / 1e6,
            "pages": (disk_bytes() - pages) / 1e6,
            "files": {path.name: path.stat().st_size / 1e6 for path in Path(folder).iterdir()},
        }
    print(json.dumps(figures))


def measure(way: str, base_url: str, annotations: int) -> dict[str, Any]:
    """Go one way in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--way",
        way,
        "--base-url",
        base_url,
        "--annotations",
        str(annotations),
    ]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert isinstance(figures, dict)
    return figures


def growth() -> int:
    """Print how the cost grows."""
    print("| run | requests | seconds | memory | files | written | of the files | in pages of the disk |")
    print("|---|---|---|---|---|---|---|---|")
    missed: list[str] = []
    first: dict[str, float] = {}
    runs = [(f"{count:,} annotations", "with a backup and a journal", count) for count in GROWTH]
    runs.append((f"{SYNCS:,} syncs of {PER_SYNC}, paced", PACED, SYNCS * PER_SYNC))
    for name, way, count in runs:
        with service(count, boxes=True) as peer:
            figures = measure(way, peer.base_url, count)
            left = peer.saw()["left"]
        size = sum(figures["files"].values())
        files = ", ".join(f"{name} {size:.1f} MB" for name, size in sorted(figures["files"].items()))
        print(
            f"| {name} | {figures['requests']:,} | {figures['seconds']:.1f} | {figures['megabytes']:.0f} MB "
            f"| {files} | {figures['written']:.1f} MB | {figures['written'] / size:.2f} | {figures['pages']:.1f} MB |",
            flush=True,
        )
        if left:
            missed.append(f"{name}: {left} annotations are left")
        if figures["written"] > MOST_WRITTEN * size:
            missed.append(f"{name}: {figures['written'] / size:.2f} times its files was written")
        grown = {"seconds": figures["seconds"], "written": figures["written"], "size": size}
        first = first or grown
        if count == max(GROWTH):
            times = count / GROWTH[0]
            missed += [
                f"{name}: {what} grew by {value / first[what]:.1f}, for {times:.0f} times the annotations"
                for what, value in grown.items()
                if value > MOST_GROWTH * times * first[what]
            ]
    print(*missed, sep="\n", end="\n" if missed else "")
    return int(bool(missed))


def main() -> int:
    """Go every way, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", type=int, default=1_000_000)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way is not None:
        one_way(options.way, options.base_url, options.annotations)
        return 0
    if options.growth:
        return growth()

    print("| way | requests | of the bare | seconds | memory | network, backup, journal threads | files |")
    print("|---|---|---|---|---|---|---|")
    bare, missed = 0, []
    for way in WAYS:
        with service(options.annotations, boxes=True) as peer:
            figures = measure(way, peer.base_url, options.annotations)
            saw = peer.saw()
        requests = figures["requests"]
        bare = bare or requests
        threads = figures["threads"]
        # The kernel keeps fifteen letters of a name.
        spent = [
            f"{threads.get(name, 0.0):.1f}"
            for name in ("clarifai-annota", "clarifai-backup", "clarifai-journa")
        ]
        files = ", ".join(f"{name} {size:.0f} MB" for name, size in sorted(figures["files"].items()))
        print(
            f"| {way} | {requests:,} | {requests / bare:.2f} | {figures['seconds']:.1f} "
            f"| {figures['megabytes']:.0f} MB | {', '.join(spent)} s | {files} |",
            flush=True,
        )
        if way != "lists alone" and saw["left"]:
            missed.append(f"{way}: {saw['left']} annotations are left")
        if requests > MOST_REQUESTS * bare and "planned" not in way:
            missed.append(f"{way}: {requests / bare:.2f} times the requests")
        if figures["megabytes"] > MOST_MEGABYTES:
            missed.append(f"{way}: {figures['megabytes']:.0f} MB")
    print(*missed, sep="\n", end="\n" if missed else "")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
