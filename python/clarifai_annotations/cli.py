"""The command `clarifai-annotations`. Needs the extra ``[cli]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import __version__
from .demo import run_demo
from .emulator import Emulator
from .serve import SeedFileError, seed, serve_until_stopped

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


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="The port to listen on; 0 for a free one.")] = 18080,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS, with a throw-away authority.")] = False,
    requests_per_second: Annotated[
        int | None, typer.Option(min=1, help="What a user may send; no limit unless given.")
    ] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="Milliseconds that a request takes.")] = 0,
    seed_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Annotations to begin with: JSON lines, as in REST."),
    ] = None,
) -> None:
    """Serve the emulator on this machine, over gRPC and REST, until Ctrl-C or SIGTERM."""
    console = Console()
    try:
        emulator = Emulator(
            port=port, tls=tls, requests_per_second=requests_per_second, latency=latency_ms / 1000
        )
    except OSError as error:
        raise typer.BadParameter(f"port {port}: {error.strerror or error}") from None
    with emulator:
        if seed_file is not None:
            try:
                console.print(f"{seed(emulator, seed_file)} annotations from {seed_file}")
            except SeedFileError as error:
                raise typer.BadParameter(str(error)) from None
        serve_until_stopped(emulator, console)
