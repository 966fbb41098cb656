"""The command `clarifai-annotations`. Needs the extra ``[cli]``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from . import __version__
from .demo import run_demo

app = typer.Typer(
    name="clarifai-annotations",
    help="Delete Clarifai annotations. Never wider than asked.",
    no_args_is_help=True,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clarifai-annotations {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo() -> None:
    """Perform every kind of deletion on a made-up label set, against a service in this process.

    Needs no account and touches no network. The exit code is 0 only if what is left is what should be.
    """
    if not run_demo(Console()):
        raise typer.Exit(1)
