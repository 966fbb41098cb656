"""The options that several commands share, and what follows from them."""

from __future__ import annotations

import math
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Client
from .endings import RefusedError
from .id_files import Format, Rows

if TYPE_CHECKING:
    from .._types import RequestsPerSecond as Rate

DEFAULT_REQUESTS_PER_SECOND = 15.0


class Output(str, Enum):
    """How a command says what it did."""

    TEXT = "text"
    JSON = "json"


def _above_zero(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise typer.BadParameter("give a number of seconds above 0")
    return seconds


def _rate(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter('give a number, or "auto" to find out how many the service allows') from None


File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="CSV, TSV, JSON lines or Parquet; - for stdin.", show_default=False),
]
FileFormat = Annotated[
    Format | None,
    typer.Option("--format", metavar="NAME", help="csv, tsv, jsonl or parquet, if no suffix says so."),
]
InputColumn = Annotated[str, typer.Option(metavar="NAME", help="Column of inputs.")]
AnnotationColumn = Annotated[str, typer.Option(metavar="NAME", help="Column of annotations.")]
AllAnnotations = Annotated[
    bool,
    typer.Option(
        "--all-annotations-of-these-inputs",
        help="FILE names annotations too. Delete everything on its inputs all the same.",
        # The refusal tells of it, at the moment when it has to be thought about.
        hidden=True,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed where there is no terminal.")]
MissingOk = Annotated[bool, typer.Option("--missing-ok", help="Not there is as good as deleted.")]
MaxDeletions = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Delete nothing if it were more than N.")
]
LookFirst = Annotated[bool, typer.Option("--look-first", help="List first: tells absent from deleted.")]
Backup = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Where copies go. Default: a dated file, here."),
]
NoBackup = Annotated[
    bool, typer.Option("--no-backup", help="Keep no copy: what is deleted is gone for good.")
]
Journal = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Keep track here, to go on after a stop."),
]
Failures = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="CSV of what was not done. Default: dated, here."),
]
RequestsPerSecond = Annotated[
    Any,
    typer.Option(
        metavar="N",
        parser=_rate,
        help="Clarifai's quota for you, if not 15; or auto.",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", callback=_above_zero, help="Stop after so long.")
]
UserId = Annotated[str | None, typer.Option(metavar="ID", help="Owner of the app [CLARIFAI_USER_ID].")]
AppId = Annotated[str | None, typer.Option(metavar="ID", help="The app [CLARIFAI_APP_ID].")]
BaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="The service [CLARIFAI_API_BASE].")]
OutputFormat = Annotated[Output, typer.Option("--output", metavar="NAME", help="text or json.")]


def client_of(
    user_id: str | None, app_id: str | None, base_url: str | None, requests_per_second: Rate = None
) -> Client:
    """Make a client of what was given, and of the environment for the rest.

    Raises:
        ConfigurationError: A setting is missing or not valid.

    """
    rate: dict[str, Any] = {} if requests_per_second is None else {"requests_per_second": requests_per_second}
    return Client(user_id=user_id, app_id=app_id, base_url=base_url, **rate)


def about(client: Client) -> dict[str, str]:
    """Tell which app a client is of."""
    return {"user_id": client.user_id, "app_id": client.app_id, "base_url": client.base_url}


def can_ask() -> bool:
    """Tell whether somebody sits there who sees a question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def refuse_silence(yes: bool) -> None:
    """Make sure that a deletion is confirmed in one way or the other.

    Raises:
        RefusedError: There is nobody to ask.

    """
    if not yes and not can_ask():
        raise RefusedError("there is no terminal to ask at: say --yes to delete. Nothing was sent")


def refuse_annotations(file: Path, rows: Rows, input_column: str, instead: str) -> None:
    """Make sure that a file of inputs is not one that names annotations.

    Args:
        file: What messages call it.
        rows: Its rows, checked.
        input_column: The column with the inputs.
        instead: The command for annotations.

    Raises:
        RefusedError: It has a column that names annotations.

    """
    if rows.annotation_columns:
        columns = " and ".join(map(repr, [input_column, *rows.annotation_columns]))
        raise RefusedError(
            f"{file} has the columns {columns}, so it seems to name annotations, and this command is for every annotation on "
            f"the inputs. For the annotations that it names: clarifai-annotations {instead} {shlex.quote(str(file))}. "
            "For everything on these inputs: add --all-annotations-of-these-inputs. Nothing was sent"
        )
