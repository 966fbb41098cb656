"""How far a run with a journal is: `clarifai-annotations status`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .._native import journal_status
from .display import counted, print_counts, print_json, print_table, results
from .endings import ending
from .options import Output, OutputFormat

EXAMPLES = """\b
Examples:
  clarifai-annotations status run.journal
  clarifai-annotations status run.journal --output json

Exit codes: 0 shown, 2 there is no such journal."""

COUNTS = ("requested", "deleted", "absent", "failed", "unknown", "unsent")
"""Counts that add up over calls."""

OPERATIONS = {"delete_annotations": "annotation", "delete_input_annotations": "input"}
"""What the calls of an operation count."""

SHOWN_PARTS = 10


def status(
    journal: Annotated[
        Path, typer.Argument(metavar="JOURNAL", help="The file of --journal.", show_default=False)
    ],
    output: OutputFormat = Output.TEXT,
) -> None:
    """Show how far a run is that has a journal.

    From another terminal, while it runs, and after it was stopped or killed. Nothing is changed.
    """
    with ending():
        parts: list[dict[str, Any]] = json.loads(journal_status(journal))
        (_print_json if output is Output.JSON else _print_text)(journal, parts)


def totals_of(parts: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Add up the counts of a run's calls. What belongs to a call that has not begun is unsent."""
    totals = {name: sum(part[name] for part in parts) for name in COUNTS}
    missing = max((part["run_requested"] or 0 for part in parts), default=0) - totals["requested"]
    for name in ("requested", "unsent"):
        totals[name] += max(missing, 0)
    return totals


def state_of(parts: Sequence[dict[str, Any]]) -> str:
    """Tell the state of a run: ``running``, ``finished`` or ``stopped``."""
    if any(part["is_running"] for part in parts):
        return "running"
    totals = totals_of(parts)
    is_finished = all(part["finished_at"] for part in parts) and not totals["unsent"]
    return "finished" if is_finished else "stopped"


def _finished_at(parts: Sequence[dict[str, Any]]) -> str | None:
    if state_of(parts) != "finished":
        return None
    return max((part["finished_at"] for part in parts), default=None)


def _print_json(journal: Path, parts: Sequence[dict[str, Any]]) -> None:
    print_json(
        {
            "command": "status",
            "journal": str(journal),
            "state": state_of(parts),
            **totals_of(parts),
            "started_at": min((part["started_at"] for part in parts), default=None),
            "finished_at": _finished_at(parts),
            "parts": parts,
        }
    )


def _print_text(journal: Path, parts: Sequence[dict[str, Any]]) -> None:
    if not parts:
        results.print(f"{journal} is a journal of no calls yet.")
        return
    totals, first = totals_of(parts), parts[0]
    noun = OPERATIONS.get(first["operation"], "ID")
    since = min(part["started_at"] for part in parts)
    until = f", finished on {finished}" if (finished := _finished_at(parts)) else ""
    results.print(f"{first['operation']} of app {first['user_id']}/{first['app_id']} at {first['base_url']}")
    results.print(f"{state_of(parts).capitalize()}, since {since}{until}.")
    of_all = counted(totals["requested"], noun)
    results.print(f"Deleted {totals['deleted']:,} of {of_all}.")
    print_counts(
        {
            "Not there": totals["absent"],
            "There still, refused": totals["failed"],
            "Sent, and what became of it is not known yet": totals["unknown"],
            "Not sent yet": totals["unsent"],
        }
    )
    if restored := [part["restored_at"] for part in parts if part["restored_at"]]:
        results.print(f"Some were restored on {max(restored)}. To delete them again, give another journal.")
    if len(parts) > 1:
        open_parts = [part for part in parts if not part["finished_at"]]
        rows = [[part["part"], *(part[name] for name in COUNTS)] for part in open_parts[:SHOWN_PARTS]]
        if rows:
            print_table(results, ["call", *COUNTS], rows)
