"""The command `clarifai-annotations`. Needs the extra ``[cli]``.

Results go to standard output; questions, plans, bars and errors to standard error. Exit codes:

| code | means |
|---|---|
| 0 | done |
| 1 | something was not done, or the run was stopped: the report says what |
| 2 | refused before anything was sent: a bad file, option or setting, or the question was not answered with yes |
| 128+N | stopped by signal N: 130 by Ctrl-C, 143 by SIGTERM, 129 when its terminal closes; what was done is reported |
"""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import delete, demo, plan, restore, serve, status

EPILOG = """\b
Examples:
  clarifai-annotations plan doubtful.csv
  clarifai-annotations delete doubtful.csv
  clarifai-annotations restore clarifai-backup-2026-01-31T120000.parquet

The key comes from CLARIFAI_PAT or from `clarifai login`. It is never an option, for options stand in
the list of processes.

Exit codes: 0 done, 1 something was not done, 2 refused before anything was sent, 128+N stopped by
signal N, so 130 by Ctrl-C."""

app = typer.Typer(
    name="clarifai-annotations",
    help="Delete Clarifai annotations. Never wider than asked.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
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


app.command(epilog=delete.DELETE_EXAMPLES)(delete.delete)
app.command(epilog=delete.DELETE_INPUTS_EXAMPLES)(delete.delete_inputs)
app.command(epilog=delete.DELETE_ONE_EXAMPLES)(delete.delete_one)
app.command(epilog=plan.EXAMPLES)(plan.plan)
app.command(epilog=restore.EXAMPLES)(restore.restore)
app.command(epilog=status.EXAMPLES)(status.status)
app.command()(demo.demo)
app.command(epilog=serve.EXAMPLES)(serve.serve)
