"""Reads the examples of the README and of the documentation, and runs those that are commands.

    python tests/python/documented.py PAGE

follows a page as a reader would: from the folder one stands in, its files written and its commands run in their
order, each compared with what the page shows. Without anything but Python, for it is run where nothing is installed yet.

What a page may hold:

- ``python``: an example on its own. Where a ``text`` block follows at once, that is what it prints.
- any block with ``title="name.py"``: a file that the page's commands use.
- ``python`` that begins with ``# test_``: a suite for pytest.
- ``console``: commands after ``$ ``, each with what it prints.

``…`` on a page stands for anything in the line; on a line of its own, for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``output`` is what the page says it prints, if it says so."""

    page: Path
    line: int
    language: str
    title: str | None
    code: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Give every page that has examples."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Give the fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    for this, after in zip(found, [*found[1:], None], strict=False):
        follows = after is not None and not text[this.end() : after.start()].strip()
        output = unindented(after) if after and follows and after["language"] == "text" else None
        title = TITLE.search(this["options"])
        line = text.count("\n", 0, this.start()) + 1
        yield Block(page, line, this["language"], title and title[1], unindented(this), output)


def unindented(fence: re.Match[str]) -> str:
    """Give the code of a fence that stands in a list or a tab as it would stand at the margin."""
    return re.sub(f"^{fence['indent']}", "", fence["code"], flags=re.MULTILINE)


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Give the commands of a console block, each with what it should print."""
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            further, _, output = output.partition("\n")
            command = f"{command}\n{further}"
        yield command, output


def is_shown(shown: str, printed: str) -> bool:
    """Tell whether what was printed is what the page shows."""
    pattern = ""
    for line in shown.rstrip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += r".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"\n"
    plain = "".join(line.rstrip() + "\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, plain) is not None


def follow(
    page: Path, folder: Path, environment: Mapping[str, str], skipped: str | tuple[str, ...] = ()
) -> int:
    """Write a page's files and run its commands, in their order.

    Args:
        page: The page.
        folder: Where its commands are run.
        environment: With what environment.
        skipped: How the commands begin that are not run.

    Returns:
        How many commands were run.

    Raises:
        AssertionError: A command prints something else than the page shows.

    """
    run = 0
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(block.code, encoding="utf-8")
        elif block.language == "console":
            for command, shown in commands(block):
                if command.startswith(skipped):
                    continue
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                )
                run += 1
                assert is_shown(shown, done.stdout), (
                    f"{block}: $ {command}\nshould print\n{shown}\nand printed\n{done.stdout}"
                )
    return run


if __name__ == "__main__":
    followed = follow(Path(sys.argv[1]).resolve(), Path.cwd(), os.environ)
    print(f"{sys.argv[1]}: {followed} commands print what the page shows")
