"""The demonstration: a small labelled image set, the three deletions, and two mistakes that delete nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import Client, DeleteReport, IdError
from ..emulator import Emulator
from .endings import NOT_ALL_DONE

LABELS: dict[str, list[str]] = {
    "street-1.jpg": ["car-1", "car-2", "pedestrian-1"],
    "street-2.jpg": ["car-1", "cyclist-1"],
    "street-3.jpg": ["blurred-1", "blurred-2", "blurred-3"],
    "street-4.jpg": ["bus-1", "bus-1-again"],
}
"""Annotation IDs by input ID. Each input has its input-level annotation besides."""

KEPT: dict[str, list[str]] = {
    "street-1.jpg": ["car-1"],
    "street-2.jpg": ["car-1"],
    "street-3.jpg": [],
    "street-4.jpg": ["bus-1"],
}
"""What should be left of them in the end."""

INPUT_LEVEL = "(input-level)"

Labels = dict[str, list[str]]


def demo() -> None:
    """Perform every kind of deletion on made-up labels.

    Needs no account and no network: the service is in this process. The exit code is 0 only if what is left is what should be.
    """
    if not run_demo(Console()):
        raise typer.Exit(NOT_ALL_DONE)


def seed(emulator: Emulator) -> None:
    """Put the label set there."""
    for input_id, annotation_ids in LABELS.items():
        emulator.add_input(input_id)
        for annotation_id in annotation_ids:
            emulator.add_annotation(input_id, annotation_id)


def labels(emulator: Emulator) -> Labels:
    """Tell what is there, by input; input-level annotations by a name of our own."""
    found: Labels = {}
    for annotation in emulator.annotations():
        name = INPUT_LEVEL if annotation.input_level else annotation.annotation_id
        found.setdefault(annotation.input_id, []).append(name)
    return found


def expected() -> Labels:
    """Tell what should be there in the end."""
    return {input_id: [INPUT_LEVEL, *annotation_ids] for input_id, annotation_ids in KEPT.items()}


def run_demo(console: Console) -> bool:
    """Show everything on an emulator of its own. Tells whether what is left is what should be."""
    with Emulator() as emulator, emulator.client() as client:
        console.print(f"[bold]An emulated service[/] at {emulator.base_url}, with a labelled image set:")
        seed(emulator)
        console.print(table(labels(emulator)))
        refused = show_mistakes(console, emulator, client)
        show_deletions(console, client)
        left = labels(emulator)
        console.print("\n[bold]What is left[/]")
        console.print(table(left))
        right = refused and left == expected()
        console.print(
            "[green]Exactly what was asked for is gone, and nothing else.[/]"
            if right
            else f"[red]This should be left: {expected()}[/]"
        )
        return right


def show_mistakes(console: Console, emulator: Emulator, client: Client) -> bool:
    """Make two calls that must delete nothing. Tells whether both were refused and none was sent."""
    console.print("\n[bold]Two mistakes[/]: other clients read an empty list of annotations as “all of them”")
    mistakes: list[tuple[str, Callable[[], object]]] = [
        (
            'delete_annotations(["street-1.jpg", "street-2.jpg"], ["car-1"])',
            lambda: client.delete_annotations(["street-1.jpg", "street-2.jpg"], ["car-1"]),
        ),
        (
            'delete_annotations(["street-1.jpg", "street-2.jpg"], [])',
            lambda: client.delete_annotations(["street-1.jpg", "street-2.jpg"], []),
        ),
    ]
    before, refused = labels(emulator), 0
    for text, call in mistakes:
        console.print(indented(text, 2, "cyan"))
        try:
            call()
        except IdError as error:
            refused += 1
            console.print(indented(f"IdError: {error}", 4, "yellow"))
    unharmed = not emulator.requests and labels(emulator) == before
    console.print(f"  The service saw {len(emulator.requests)} requests.")
    return refused == len(mistakes) and unharmed


def show_deletions(console: Console, client: Client) -> None:
    """Perform the three deletions, in place and awaited, and show what each returns."""

    def show(text: str, report: DeleteReport | None = None) -> None:
        console.print(indented(text, 2, "cyan"))
        if report is not None:
            console.print(indented(repr(report), 4, "dim"))

    console.print("\n[bold]Three deletions[/]")
    client.delete_annotation("street-4.jpg", "bus-1-again")
    show('delete_annotation("street-4.jpg", "bus-1-again")')
    report = client.delete_annotations(["street-1.jpg", "street-1.jpg"], ["car-2", "pedestrian-1"])
    show('delete_annotations(["street-1.jpg", "street-1.jpg"], ["car-2", "pedestrian-1"])', report)

    async def awaited() -> None:
        await client.delete_annotation_async("street-2.jpg", "cyclist-1")
        show('await delete_annotation_async("street-2.jpg", "cyclist-1")')
        report = await client.delete_input_annotations_async(["street-3.jpg"])
        show('await delete_input_annotations_async(["street-3.jpg"])', report)

    asyncio.run(awaited())


def table(there: Labels) -> Table:
    """Show what is there, and what was there at first."""
    shown = Table("input", "there", "deleted")
    for input_id, annotation_ids in LABELS.items():
        left = there.get(input_id, [])
        gone = [name for name in [INPUT_LEVEL, *annotation_ids] if name not in left]
        shown.add_row(input_id, "  ".join(left), Text("  ".join(gone), style="red"))
    return shown


def indented(text: str, columns: int, style: str) -> Padding:
    """Make text that keeps its indentation where it is wrapped."""
    return Padding(Text(text, style=style), (0, 0, 0, columns), expand=False)
