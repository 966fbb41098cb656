"""Draws the plots of the documentation from the figures that were measured.

    pip install matplotlib && python docs/plots.py

`ceiling.svg` from `benches/figures.json` (`benches/official_clients.py`), `pace.svg` from `benches/pace.json` (`benches/pace.py`). Their
colours can be told from white and from near-black, for a page shows one file in both schemes.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
BENCHES = HERE.parent / "benches"

INK, OURS, OTHER = "#808080", "#009688", "#e6872a"
LATENCIES = (5, 20, 100, 400)

mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "clarifai-annotations",
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        **dict.fromkeys(
            ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK
        ),
    }
)


def read(name: str) -> Any:
    """Read figures."""
    return json.loads((BENCHES / name).read_text(encoding="utf-8"))


def save(figure: Any, name: str) -> None:
    """Write a plot; without a date, so that the same figures give the same file."""
    figure.savefig(HERE / name, transparent=True, metadata={"Date": None})


def ceiling() -> None:
    """Draw the share of what the quota allows, by latency."""
    rows = {row["name"]: row["runs"] for row in read("figures.json")["rows"]}
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for offset, workload, colour, label in (
        (-0.2, "ours_pairs", OURS, "this package"),
        (0.2, "sdk_batches", OTHER, "Clarifai's SDK"),
    ):
        runs = [[run for run in rows[f"pace-{ms}"] if run["workload"] == workload] for ms in LATENCIES]
        shares = [sum(run["share"] for run in of_one) / len(of_one) for of_one in runs]
        bars = axes.bar(
            [place + offset for place in range(len(LATENCIES))], shares, 0.36, color=colour, label=label
        )
        axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=2)
    axes.axhline(1, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(LATENCIES)), [f"{ms} ms" for ms in LATENCIES])
    axes.set(xlabel="latency of a request", ylabel="share of the ceiling", ylim=(0, 1.15))
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    save(figure, "ceiling.svg")


def pace() -> None:
    """Draw the requests that the service let through, from one burst of ours to the next, and those that it throttled."""
    measured = read("pace.json")
    rows = [dict(zip(measured["columns"], row, strict=True)) for row in measured["seen"]]
    # A burst ends where nothing of ours is added for two samples.
    quiet = [at for at in range(1, len(rows)) if rows[at]["ours"] == rows[at - 1]["ours"]]
    ends = [rows[at] for at in quiet if at - 1 not in quiet]
    pairs = list(itertools.pairwise(ends))
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    below = [0] * len(pairs)
    places = [this["seconds"] for this, _ in pairs]
    for name, colour, label in (("ours", OURS, "this package"), ("other", OTHER, "the other program")):
        through = [after[name] - this[name] for this, after in pairs]
        axes.bar(places, through, 0.75, bottom=below, color=colour, label=label)
        below = [sum(both) for both in zip(below, through, strict=True)]
    throttled = [
        at
        for at, (this, after) in zip(places, pairs, strict=True)
        if after["ours_throttled"] > this["ours_throttled"]
    ]
    axes.plot(
        throttled, [16.5] * len(throttled), "x", color=OURS, markersize=8, label="one of ours throttled"
    )
    axes.axhline(measured["quota"], color=INK, linewidth=0.8, linestyle=":")
    for at in (measured["other_from"], measured["other_to"]):
        axes.axvline(at, color=INK, linewidth=0.8, linestyle="--")
    axes.set(
        xlabel="seconds since the call began",
        ylabel="requests let through",
        ylim=(0, 18),
        xlim=(-0.5, places[-1] + 0.5),
    )
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    save(figure, "pace.svg")


if __name__ == "__main__":
    ceiling()
    pace()
