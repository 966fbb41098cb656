"""The emulator as a process of its own: `clarifai-annotations serve`."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from .emulator import Emulator, annotation_from_json

USER_ID = "emulator-user"
APP_ID = "emulator-app"


class SeedFileError(Exception):
    """A line of the seed file is no annotation."""


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
