"""Makes the pictures of the README: what the real program shows at a terminal, against the emulator.

    pip install '.[cli]' pyte && python docs/pictures.py [FOLDER]

The commands run one after the other in a pseudo-terminal with a folder of their own; pyte is the terminal, and rich
draws what stands on it at the end of each.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

from clarifai_annotations.emulator import Emulator, annotation_from_json

COLUMNS, LINES = 100, 60
MADE_BY = [("labeller-7", {"user_id": "labeller-7"}), ("detector-v3", {"model_version_id": "detector-v3"})]

PICTURES = {
    "plan": (["plan", "doubtful.csv"], ""),
    "delete": (["delete", "doubtful.csv", "--backup", "doubtful.parquet"], "y\n"),
    "restore": (["restore", "doubtful.parquet", "--input-id", "street-01.jpg"], ""),
}
"""For each picture a command, and what is typed."""


def label_set(emulator: Emulator, folder: Path) -> None:
    """Put a label set there, and a file that names the doubtful part of it."""
    rows = ["input_id,annotation_id,confidence"]
    for n in range(300):
        input_id, annotation_id = f"street-{n // 10:02}.jpg", f"box-{n:03}"
        about = {"status": {"code": "ANNOTATION_SUCCESS"}, "created_at": f"2026-0{1 + n % 9}-14T10:00:00Z"}
        message = annotation_from_json(json.dumps(about | MADE_BY[n % 3 > 0][1]))
        emulator.add_annotation(input_id, annotation_id, user_id="me", app_id="streets", message=message)
        if n % 2:
            rows.append(f"{input_id},{annotation_id},0.{n % 40:02}")
    rows.append("street-29.jpg,box-999,0.07")
    (folder / "doubtful.csv").write_text("\n".join(rows) + "\n")


def at_a_terminal(arguments: list[str], typed: str, folder: Path, emulator: Emulator) -> pyte.Screen:
    """Run the program in a pseudo-terminal, type when it asks, and give the screen as it stands in the end."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = os.environ | {
        "CLARIFAI_API_BASE": emulator.base_url,
        "CLARIFAI_USER_ID": "me",
        "CLARIFAI_APP_ID": "streets",
        "CLARIFAI_PAT": "made-up",
        "TERM": "xterm-256color",
    }
    command = [sys.executable, "-m", "clarifai_annotations", *arguments]
    stream.feed(f"$ clarifai-annotations {' '.join(arguments)}\r\n".encode())
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, cwd=folder, env=environment) as process:
        os.close(its)
        for shown in iter_output(mine):
            stream.feed(shown)
            if typed and b"[y/N]" in shown:
                os.write(mine, typed.encode())
                typed = ""
    os.close(mine)
    if process.returncode not in (0, 1):  # 1: one of the pairs is not there
        sys.exit(f"{command} ended with {process.returncode}:\n" + "\n".join(screen.display))
    return screen


def iter_output(terminal: int) -> Iterator[bytes]:
    """Give what a program writes, until it ends."""
    while True:
        try:
            shown = os.read(terminal, 65536)
        except OSError:  # Linux tells the end in this way
            return
        if not shown:
            return
        yield shown


def drawn(screen: pyte.Screen) -> Iterator[Text]:
    """Lines of a screen, down to the last that is not empty."""
    last = max(number for number, line in enumerate(screen.display) if line.strip())
    for number in range(last + 1):
        line = Text()
        cells = [screen.buffer[number][column] for column in range(COLUMNS)]
        for (color, bold), run in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
            style = f"{'bold ' if bold else ''}{color_of(color)}"
            line.append("".join(cell.data for cell in run), style=style.strip())
        line.rstrip()
        yield line


def color_of(name: str) -> str:
    """Name a color of pyte's as rich does."""
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return {"default": "", "brown": "yellow"}.get(name, name)


def main(target: Path) -> None:
    """Make every picture in a folder."""
    with tempfile.TemporaryDirectory() as folder, Emulator(latency=0.02) as emulator:
        label_set(emulator, Path(folder))
        for name, (arguments, typed) in PICTURES.items():
            screen = at_a_terminal(arguments, typed, Path(folder), emulator)
            console = Console(record=True, width=COLUMNS, file=io.StringIO())
            for line in drawn(screen):
                console.print(line, soft_wrap=True)
            path = target / f"{name}.svg"
            console.save_svg(str(path), title="clarifai-annotations", unique_id=name)
            print(path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
