"""The emulator as a process of its own: `clarifai-annotations serve`."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..emulator import Emulator, annotation_from_json

USER_ID = "emulator-user"
APP_ID = "emulator-app"


EXAMPLES = """\b
Example:
  clarifai-annotations serve --seed-file labels.jsonl --requests-per-second 15"""


class SeedFileError(Exception):
    """A line of the seed file is no annotation."""


def serve(
    port: Annotated[int, typer.Option(help="The port to listen on; 0 for a free one.")] = 18080,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS, with a throw-away authority.")] = False,
    requests_per_second: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="What a user may send; no limit unless given.")
    ] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="Milliseconds that a request takes.")] = 0,
    missing_pair: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="A batch with a missing one: success, refused, mixed or failure."),
    ] = None,
    refused_pair: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="A batch with one that may not go: refused, mixed or failure."),
    ] = None,
    missing_single: Annotated[
        str | None, typer.Option(metavar="HOW", help="A single that is missing: success, status or grpc.")
    ] = None,
    missing_input: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="A list of a missing input: empty, does_not_exist or input_does_not_exist."
        ),
    ] = "empty",
    max_message_bytes: Annotated[
        int, typer.Option(metavar="N", min=0, help="The most bytes in a message; 0 for no limit.")
    ] = 10_485_760,
    success_code: Annotated[
        int, typer.Option(metavar="CODE", help="The code of a success: 10000, 10001, 10002 or 10070.")
    ] = 10000,
    seed_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Annotations to begin with: JSON lines, as in REST."),
    ] = None,
) -> None:
    """Serve the emulator on this machine, until Ctrl-C.

    It speaks gRPC and REST on one port.
    """
    console = Console()
    try:
        emulator = Emulator(
            port=port,
            tls=tls,
            requests_per_second=requests_per_second,
            latency=latency_ms / 1000,
            # The emulator says which words will do.
            missing_pair=missing_pair,  # type: ignore[arg-type]
            refused_pair=refused_pair,  # type: ignore[arg-type]
            missing_single=missing_single,  # type: ignore[arg-type]
            missing_input=missing_input,  # type: ignore[arg-type]
            max_message_bytes=max_message_bytes or None,
            success_code=success_code,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except OSError as error:
        raise typer.BadParameter(f"port {port}: {error.strerror or error}") from None
    with emulator:
        if seed_file is not None:
            try:
                console.print(f"{seed(emulator, seed_file)} annotations from {seed_file}")
            except SeedFileError as error:
                raise typer.BadParameter(str(error)) from None
        serve_until_stopped(emulator, console)


def serve_until_stopped(emulator: Emulator, console: Console) -> None:
    """Tell where the emulator is and how to point clients at it, and wait for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    for line in directions(emulator):
        console.print(Text(line), soft_wrap=True)
    while not stopped.wait(timeout=1.0):  # a wait without end keeps signals out on Windows
        pass
    console.print(Text("Stopped."))


def directions(emulator: Emulator) -> Iterator[str]:
    """Say how to point each kind of client at it."""
    base, roots = emulator.base_url, emulator.root_certificates_path
    host, _, port = base.partition("://")[2].partition(":")
    yield f"Listening on {base} (gRPC and REST). Any key, user and app will do. Ctrl-C stops it."
    yield ""
    yield "This package and Clarifai's SDK, by the environment:"
    yield f"  export CLARIFAI_API_BASE={base} CLARIFAI_PAT=emulator-key"
    yield f"  export CLARIFAI_USER_ID={USER_ID} CLARIFAI_APP_ID={APP_ID}"
    if roots is None:
        yield "clarifai-grpc:"
        yield f'  ClarifaiChannel.get_insecure_grpc_channel("{host}", {port})'
    else:
        yield f"  export CLARIFAI_ROOT_CERTIFICATES_PATH={roots}"
        yield "clarifai-grpc:"
        yield f'  ClarifaiChannel.get_grpc_channel("{host}:{port}", "{roots}")'
    yield "curl:"
    trust = "" if roots is None else f"--cacert {roots} "
    path = f"/v2/users/{USER_ID}/apps/{APP_ID}/annotations"
    yield f"  curl {trust}-H 'Authorization: Key emulator-key' '{base}{path}?list_all_annotations=true'"


def seed(emulator: Emulator, path: Path) -> int:
    """Put the annotations of a file there, JSON as in the REST API, one a line. Tells how many.

    Raises:
        SeedFileError: A line is not an annotation with an ``id`` and an ``input_id``, or is there already.

    """
    count = 0
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                message = annotation_from_json(line)
                emulator.add_annotation(item["input_id"], item["id"], message=message)
            except KeyError as missing:
                raise SeedFileError(f"{path}, line {number}: {missing.args[0]} is missing") from None
            except ValueError as error:
                raise SeedFileError(f"{path}, line {number}: {error}") from None
            count += 1
    return count
