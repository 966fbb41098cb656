"""Our client and Clarifai's own, side by side against the emulator: the figures of `benches/README.md`.

    pip install '.[bench]' && python benches/official_clients.py

prints a table, and writes `benches/figures.json` and `benches/figures.png`. The emulator runs in a process of its
own and so does each client; the two take turns. ``--only pace-100`` runs one row, ``--quick`` all of them in small,
to see that they work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from service import Service, service

HERE = Path(__file__).parent
QUOTA = 15
BATCH = 128


@dataclass
class Row:
    """One line of the table."""

    name: str
    what: str
    wanted: str
    figure: float
    shown: str
    official: str
    reached: bool
    runs: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Scale:
    """How large the rows are."""

    quick: bool

    def __call__(self, count: int, quick: int) -> int:
        """Say how many it is to be."""
        return quick if self.quick else count


def child(workload: str, **arguments: Any) -> subprocess.Popen[str]:
    """Start a workload in a process of its own."""
    command = [sys.executable, str(HERE / "workloads.py"), workload, json.dumps(arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run(workload: str, **arguments: Any) -> dict[str, Any]:
    """Run a workload to its end, and give what it measured."""
    with child(workload, **arguments) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{workload} failed")
    return {"workload": workload, **json.loads(output.splitlines()[-1])}


@contextmanager
def in_the_background(workload: str, **arguments: Any) -> Iterator[None]:
    """Run a workload until the block ends."""
    with child(workload, **arguments) as process:
        try:
            yield
        finally:
            process.kill()


def emptied(peer: Service, result: dict[str, Any], left: int = 0) -> dict[str, Any]:
    """Add what the service saw to what a client measured; everything must be gone."""
    saw = peer.saw()
    assert saw["left"] == left, f"{result['workload']} left {saw['left']} annotations, not {left}"
    return {**result, "saw": saw}


def share(pairs: int, seconds: float, batch: int = BATCH, quota: int = QUOTA) -> float:
    """Reached share of what the quota allows: the least time for so many requests, by the time they took.

    The first second's requests may leave at once, so the n-th one may leave when n // quota seconds are over.
    """
    requests = -(-pairs // batch)
    return (requests - 1) // quota / seconds


def pace(milliseconds: int) -> Callable[[Scale], Row]:
    """40,000 pairs at the quota, with this latency."""

    def measure(scale: Scale) -> Row:
        count, for_sdk, latency = scale(40_000, 4_000), scale(20_000, 2_500), milliseconds / 1000
        options: dict[str, Any] = {
            "requests_per_second": QUOTA,
            "latency": latency / 2,
            "latency_back": latency / 2,
        }
        with service(count, **options) as peer:
            ours = emptied(peer, run("ours_pairs", base_url=peer.base_url, count=count))
        with service(for_sdk, **options) as peer:
            sdk = emptied(peer, run("sdk_batches", base_url=peer.base_url, count=for_sdk))
        ours["share"] = share(count, ours["elapsed"] - latency)
        sdk["share"] = share(for_sdk, sdk["elapsed"] - latency)
        throttled = ours["saw"]["throttled"]
        return Row(
            f"pace-{milliseconds}",
            f"{count:,} pairs, quota {QUOTA}/s, latency {milliseconds} ms: share of the ceiling",
            "≥ 0.97, 0 throttled",
            ours["share"],
            f"{ours['share']:.3f}, {throttled} throttled of {ours['saw']['requests']}",
            f"SDK {sdk['share']:.3f}, {sdk['saw']['throttled']} throttled of {sdk['saw']['requests']}"
            f" ({for_sdk:,} pairs)",
            ours["share"] >= 0.97 and throttled == 0,
            [ours, sdk],
        )

    return measure


def jitter(scale: Scale) -> Row:
    """Requests that arrive up to 40 ms late, at random."""
    count = scale(40_000, 4_000)
    with service(count, requests_per_second=QUOTA, latency=[0.0, 0.04]) as peer:
        ours = emptied(peer, run("ours_pairs", base_url=peer.base_url, count=count))
    ours["share"] = share(count, ours["elapsed"])
    throttled, requests = ours["saw"]["throttled"], ours["saw"]["requests"]
    return Row(
        "jitter",
        f"{count:,} pairs, requests arrive 0 to 40 ms late: share of the ceiling",
        "≥ 0.95, ≤ 1 throttled in 300",
        ours["share"],
        f"{ours['share']:.3f}, {throttled} throttled of {requests}",
        "",
        ours["share"] >= 0.95 and throttled <= max(1, requests / 300),
        [ours],
    )


def shared(scale: Scale) -> Row:
    """Another client takes a third of the quota."""
    count, others = scale(40_000, 5_000), 5
    with (
        service(count, requests_per_second=QUOTA, latency=0.05, latency_back=0.05) as peer,
        in_the_background("other_client", base_url=peer.base_url, first=count),
    ):
        time.sleep(1.5)  # so that it has its part of the first second
        ours = emptied(peer, run("ours_pairs", base_url=peer.base_url, count=count))
    ours["share"] = share(count, ours["elapsed"] - 0.1, quota=QUOTA - others)
    lost = ours["saw"]["throttled"] - ours["throttled"]
    of = ours["saw"]["requests"] - ours["requests"]
    return Row(
        "shared",
        f"{count:,} pairs, latency 100 ms, another client takes {others} of {QUOTA}: share of what is left",
        "≥ 0.90",
        ours["share"],
        f"{ours['share']:.3f}, {ours['throttled']} throttled of {ours['requests']}",
        f"the other one: {lost} throttled of {of}",
        ours["share"] >= 0.90,
        [ours],
    )


def gather(scale: Scale) -> Row:
    """Single deletions, all awaited in one gather."""
    count, for_aio, latency = scale(10_000, 2_000), scale(150, 45), 0.1
    options: dict[str, Any] = {
        "requests_per_second": QUOTA,
        "latency": latency / 2,
        "latency_back": latency / 2,
    }
    with service(count, **options) as peer:
        work = run("ours_awaited", base_url=peer.base_url, first=0, count=count, pattern="all")
        ours = emptied(peer, work)
    with service(for_aio, **options) as peer:
        work = run("aio_awaited", base_url=peer.base_url, first=0, count=for_aio, pattern="all")
        aio = emptied(peer, work)
    ours["share"] = share(count, ours["elapsed"] - latency)
    requests, most = ours["saw"]["requests"], count / 10_000 * 85
    return Row(
        "gather",
        f"{count:,} `await delete_annotation_async` in one gather, quota {QUOTA}/s, latency 100 ms",
        f"≤ {most:.0f} requests, ≥ 0.90 of the ceiling",
        ours["share"],
        f"{requests} requests, {ours['share']:.3f}",
        f"grpc.aio {for_aio} requests for {for_aio}, {share(for_aio, aio['elapsed'] - latency, batch=1) / BATCH:.4f}",
        requests <= most and ours["share"] >= 0.90,
        [ours, aio],
    )


def million(scale: Scale) -> Row:
    """Many pairs without a quota, over a network."""
    count, for_sdk, latency = scale(1_000_000, 50_000), scale(25_600, 2_560), 0.05
    runs, ratios = [], []
    for _ in range(scale(2, 1)):
        with service(count, latency=latency / 2, latency_back=latency / 2) as peer:
            ours = run("ours_pairs", base_url=peer.base_url, count=count, requests_per_second=None)
        with service(for_sdk, latency=latency / 2, latency_back=latency / 2) as peer:
            sdk = emptied(peer, run("sdk_batches", base_url=peer.base_url, count=for_sdk))
        ratios.append((count / ours["elapsed"]) / (for_sdk / sdk["elapsed"]))
        runs += [ours, sdk]
    figure = median(ratios)
    return Row(
        "million",
        f"{count:,} pairs, no quota, latency 50 ms, defaults: times the SDK's pairs a second",
        "≥ 15",
        figure,
        f"{figure:.1f} ({count / runs[-2]['elapsed']:,.0f} pairs/s)",
        f"SDK {for_sdk / runs[-1]['elapsed']:,.0f} pairs/s ({for_sdk:,} pairs)",
        figure >= 15,
        runs,
    )


def cpu(columns: str, most: float) -> Callable[[Scale], Row]:
    """Our own cost: time of the processor for each pair."""

    def measure(scale: Scale) -> Row:
        count, for_stub = scale(1_000_000, 100_000), scale(100_000, 10_000)
        runs = []
        for _ in range(scale(3, 1)):
            with service(count) as peer:
                run_of = {"base_url": peer.base_url, "count": count, "columns": columns}
                runs.append(run("ours_pairs", requests_per_second=None, **run_of))
            with service(for_stub) as peer:
                runs.append(emptied(peer, run("stub_batches", base_url=peer.base_url, count=for_stub)))
        ours = median(it["cpu"] / count * 1e6 for it in runs[::2])
        stub = median(it["cpu"] / for_stub * 1e6 for it in runs[1::2])
        source = "Arrow columns" if columns == "arrow" else "Python lists"
        return Row(
            f"cpu-{columns}",
            f"processor time per pair, {count:,} pairs from {source}, no quota, no latency",
            f"≤ {most} µs",
            ours,
            f"{ours:.2f} µs",
            f"stub, batch by batch {stub:.2f} µs",
            ours <= most,
            runs,
        )

    return measure


def memory(scale: Scale) -> Row:
    """Memory above the columns themselves."""
    count = scale(10_000_000, 200_000)
    with service(count) as peer:
        ours = run("ours_pairs", base_url=peer.base_url, count=count, requests_per_second=None)
    figure = ours["memory"] / 1e6
    return Row(
        "memory",
        f"{count:,} pairs from Arrow: most memory above what was in use before the call",
        "≤ 100 MB",
        figure,
        f"{figure:.0f} MB",
        "",
        figure <= 100,
        [ours],
    )


def serial(scale: Scale) -> Row:
    """One deletion after the other."""
    count = scale(2_000, 300)
    runs = alternately("ours_serial", "stub_serial", count, scale(7, 2))
    return compared("serial", "serial `delete_annotation`, time per call", 0.50, count, runs, "stub")


def awaited(pattern: str) -> Callable[[Scale], Row]:
    """64 awaited single deletions at a time."""

    def measure(scale: Scale) -> Row:
        count = scale(20_000, 2_000)
        runs = alternately(
            "ours_awaited", "aio_awaited", count, scale(5, 1), {"requests_per_second": None}, pattern=pattern
        )
        what = {"workers": "by 64 workers", "rounds": "in gathers of 64"}[pattern]
        return compared(
            f"awaited-{pattern}",
            f"64 awaited singles at a time, {what}, time per deletion",
            0.5,
            count,
            runs,
            "grpc.aio",
        )

    return measure


def alternately(
    ours: str, official: str, count: int, rounds: int, settings: dict[str, Any] | None = None, **both: Any
) -> list[dict[str, Any]]:
    """Our client and the official one, each with its own half of what is there, in turn."""
    runs = []
    for _ in range(rounds):
        with service(2 * count) as peer:
            work = {"base_url": peer.base_url, "count": count, **both}
            runs.append(emptied(peer, run(ours, first=0, **work, **(settings or {})), left=count))
            runs.append(emptied(peer, run(official, first=count, **work)))
    return runs


def compared(name: str, what: str, most: float, count: int, runs: list[dict[str, Any]], official: str) -> Row:
    """Our time as a share of theirs."""
    ratio = median(
        our["elapsed"] / their["elapsed"] for our, their in zip(runs[::2], runs[1::2], strict=True)
    )
    ours, theirs = (median(it["elapsed"] / count * 1e6 for it in half) for half in (runs[::2], runs[1::2]))
    shown = f"{ratio:.2f} ({ours:.0f} µs)"
    return Row(
        name,
        f"{what}, no quota: ours to theirs",
        f"≤ {most}",
        ratio,
        shown,
        f"{official} {theirs:.0f} µs",
        ratio <= most,
        runs,
    )


ROWS: dict[str, Callable[[Scale], Row]] = {
    **{f"pace-{latency}": pace(latency) for latency in (5, 20, 100, 400)},
    "jitter": jitter,
    "shared": shared,
    "gather": gather,
    "million": million,
    "cpu-arrow": cpu("arrow", 0.5),
    "cpu-list": cpu("list", 1.0),
    "memory": memory,
    "serial": serial,
    "awaited-workers": awaited("workers"),
    "awaited-rounds": awaited("rounds"),
}


def machine() -> dict[str, str]:
    """Say where the figures come from."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    packages = ["clarifai-annotations", "clarifai", "clarifai-grpc", "grpcio", "protobuf"]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(total[1]) / 2**20:.0f} GiB" if total else "unknown",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def plot(rows: dict[str, Row], path: Path) -> None:
    """Draw the share of the ceiling over the latency, and our cost beside theirs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    paces = {int(name[5:]): row for name, row in rows.items() if name.startswith("pace-")}
    for place, label in enumerate(["clarifai-annotations", "clarifai SDK"]):
        shares = [row.runs[place]["share"] for row in paces.values()]
        left.plot(list(paces), shares, marker="o", label=label)
    left.axhline(1, color="grey", linewidth=0.8)
    left.set(xscale="log", ylim=(0, 1.08), xlabel="latency, ms", ylabel="share of the quota's ceiling")
    left.set_title(f"{QUOTA} requests a second, {BATCH} pairs in each")
    left.set_xticks(list(paces), [str(latency) for latency in paces])
    left.legend()
    ratios = [rows[name] for name in ("serial", "awaited-workers", "awaited-rounds") if name in rows]
    right.barh([row.name for row in ratios], [row.figure for row in ratios])
    right.axvline(1, color="grey", linewidth=0.8)
    right.set(xlim=(0, 1.08), xlabel="time of ours to the official client's")
    right.set_title("single deletions, no quota")
    right.invert_yaxis()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the rows, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=ROWS, help="run this row; may be repeated")
    parser.add_argument("--quick", action="store_true", help="all in small: whether it works, not how fast")
    parser.add_argument("--json", type=Path, default=HERE / "figures.json")
    parser.add_argument("--plot", type=Path, default=HERE / "figures.png")
    arguments = parser.parse_args()

    of = machine()
    print(", ".join(f"{name} {value}" for name, value in of.items()), end="\n\n")
    print("| row | what | wanted | ours | official | reached |\n|---|---|---|---|---|---|", flush=True)
    rows = {}
    for name in arguments.only or ROWS:
        row = rows[name] = ROWS[name](Scale(arguments.quick))
        reached = "yes" if row.reached else "NO"
        print(
            f"| {name} | {row.what} | {row.wanted} | {row.shown} | {row.official} | {reached} |", flush=True
        )
    written = {"machine": of, "quick": arguments.quick, "rows": [asdict(row) for row in rows.values()]}
    arguments.json.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if any(name.startswith("pace-") for name in rows):
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
