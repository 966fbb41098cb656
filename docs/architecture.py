"""Draws the page "Architecture" from the code as it stands: the picture, and the tables of files.

    python docs/architecture.py

What a file is for is the first sentence of its own documentation; what it uses is what it imports, tests left out. By hand are only the
layers below: whatever is not in them, or an arrow that does not run down, is an error.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent

LAYERS = [
    {"cli": 150, "spark": 320, "pytest plugin": 490},
    {"package": 320},
    {"python": 320},
    {"client": 230, "emulator": 580},
    {"backup": 80, "journal": 230, "config": 410},
    {"report": 230, "plan": 410},
    {"columns": 70, "error": 215, "ids": 360, "wire": 505, "process": 650},
]
"""From above to below, each with where its middle is in the picture. Who is in a layer uses those below it, and
nothing beside it."""

PYTHON = {
    "cli": "python/clarifai_annotations/cli",
    "spark": "python/clarifai_annotations/spark",
    "pytest plugin": "python/pytest_clarifai_annotations",
    "package": "python/clarifai_annotations",
}
"""Where the parts that are written in Python are; the others are the modules of `src/`."""


@dataclass(frozen=True)
class File:
    """A file of the project."""

    path: Path
    part: str
    job: str
    uses: dict[str, int]
    """The parts that it uses, each with the first line that does."""

    @property
    def name(self) -> str:
        """Its path from the checkout's root."""
        return self.path.relative_to(ROOT).as_posix()


def files() -> list[File]:
    """Read every file."""
    rust = [file for path in sorted((ROOT / "src").rglob("*.rs")) if (file := rust_file(path))]
    package = ROOT / PYTHON["package"]
    python = [
        python_file(path, "package") for path in sorted(package.glob("*.py")) if path.name != "__main__.py"
    ]
    for part in ("cli", "spark", "pytest plugin"):
        python += [python_file(path, part) for path in sorted((ROOT / PYTHON[part]).rglob("*.py"))]
    return python + rust


def rust_file(path: Path) -> File | None:
    """Read a Rust file; the crate's root is no part of its own."""
    part = path.relative_to(ROOT / "src").parts[0].removesuffix(".rs")
    if part == "lib":
        return None
    text = path.read_text(encoding="utf-8")
    job = first_sentence("\n".join(re.findall(r"^//! ?(.*)$", text, re.MULTILINE)))
    code = re.sub(r"//.*", "", text.partition("#[cfg(test)]\nmod ")[0])
    uses: dict[str, int] = {}
    for found in re.finditer(r"\bcrate::(\w+|\{)", code):
        names = [found[1]] if found[1] != "{" else list(of_group(code[found.end() :]))
        for name in names:
            # The rest of what stands in the crate's root are constants.
            if name != part and name.islower():
                uses.setdefault(name, code.count("\n", 0, found.start()) + 1)
    return File(path, part, job, uses)


def of_group(code: str) -> Iterator[str]:
    """Give the first names of what stands in the braces of `use crate::{`."""
    depth = 0
    for token in re.finditer(r"[{},]|\w+(?=\s*(?:::|,|\}))|\bself\b", code):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth < 0:
                return
        elif depth == 0 and token[0] != "," and code[: token.start()].rstrip()[-1:] in ("", ",", "{"):
            yield token[0]


def python_file(path: Path, part: str) -> File:
    """Read a Python file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    uses: dict[str, int] = {}
    for node in run_time(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [absolute(path, node)]
        else:
            continue
        for name in names:
            used = python_part(name)
            if used and used != part:
                uses.setdefault(used, node.lineno)
    return File(path, part, first_sentence(ast.get_docstring(tree) or ""), uses)


def run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what is there when the code runs: not what is for type checkers only."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from run_time(child)


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """Give the whole name of the module that a statement imports from."""
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT / "python").parts[: -node.level]
    return ".".join([*package, node.module or node.names[0].name])


def python_part(name: str) -> str | None:
    """Give the part that a module belongs to; ``None`` for what others wrote."""
    top, _, rest = name.partition(".")
    if top == "pytest_clarifai_annotations":
        return "pytest plugin"
    if top != "clarifai_annotations":
        return None
    below = rest.partition(".")[0]
    return "python" if below == "_native" else below if below in PYTHON else "package"


def first_sentence(text: str) -> str:
    """Give the first sentence of a text, on one line, with Rust's links as plain code."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[.:])\s+(?=[A-Z]|[a-z]+ →)", paragraph)[0].rstrip(":.")
    return re.sub(r"\[(`[^`]+`)\]", r"\1", sentence)


def arrows(all_files: list[File]) -> dict[str, set[str]]:
    """Give which part uses which."""
    found: dict[str, set[str]] = {part: set() for layer in LAYERS for part in layer}
    for file in all_files:
        found[file.part] |= set(file.uses)
    return found


def wrong_ways(all_files: list[File]) -> list[str]:
    """Tell of each import that does not run down the layers."""
    layer_of = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    return [
        f"{file.name}:{line} uses {used}, which is not below {file.part}"
        for file in all_files
        for used, line in file.uses.items()
        if layer_of[used] <= layer_of[file.part]
    ]


# The picture.

WIDTH, BOX, HEIGHT, GAP = 720, 136, 44, 34
LABELS = {"package": "clarifai_annotations", "python": "src/python"}
COLOURS = {"python": "#00796b", "rust": "#9a5412"}
"""With white letters, on white and on near-black pages alike."""


def place(part: str) -> tuple[int, int]:
    """Give the middle of a part's upper edge."""
    for number, layer in enumerate(LAYERS):
        if part in layer:
            return layer[part], 10 + number * (HEIGHT + GAP)
    raise KeyError(part)


def direct(uses: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave the arrows out that lead where others lead as well."""

    def below(part: str) -> set[str]:
        return uses[part].union(*(below(used) for used in uses[part]))

    return {
        part: {used for used in targets if not any(used in below(other) for other in targets - {used})}
        for part, targets in uses.items()
    }


def picture(all_files: list[File]) -> str:
    """Draw the parts in their layers."""
    lines, boxes = [], []
    for part, targets in direct(arrows(all_files)).items():
        x, y = place(part)
        is_python = part in PYTHON
        label = LABELS.get(part, part if is_python else f"src/{part}")
        count = sum(file.part == part for file in all_files)
        boxes.append(
            f'<rect x="{x - BOX // 2}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" '
            f'fill="{COLOURS["python" if is_python else "rust"]}"/>'
            f'<text x="{x}" y="{y + 19}" font-weight="bold">{escape(label)}</text>'
            f'<text x="{x}" y="{y + 35}" font-size="11">{count} file{"s" * (count > 1)}</text>'
        )
        for used in sorted(targets):
            to_x, to_y = place(used)
            lines.append(f'<path d="M{x} {y + HEIGHT} L{to_x} {to_y - 5}" marker-end="url(#head)"/>')
    height = 10 + len(LAYERS) * (HEIGHT + GAP) - GAP + 10
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
            '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" fill="#808080"/></marker></defs>',
            '<g stroke="#808080" fill="none">',
            *lines,
            "</g>",
            '<g text-anchor="middle" font-size="13" fill="#fff">',
            *boxes,
            "</g>",
            "</svg>",
            "",
        ]
    )


# The page.


def tables(all_files: list[File]) -> str:
    """Write a table of its files for each part, from above to below."""
    written = []
    for part in [part for layer in LAYERS for part in layer]:
        rows = [file for file in all_files if file.part == part]
        folder = PYTHON.get(part, "src" if len(rows) == 1 else f"src/{part}")
        written.append(
            f"### {LABELS.get(part, part)}\n\n| file in `{folder}` | its one job | uses |\n|---|---|---|"
        )
        for file in rows:
            name = file.path.relative_to(ROOT / folder).as_posix()
            written.append(f"| `{name}` | {file.job} | {', '.join(sorted(file.uses))} |")
        written.append("")
    return "\n".join(written)


def page(all_files: list[File], text: str) -> str:
    """Give the page with its tables made anew."""
    begin, end = "<!-- made by docs/architecture.py -->\n", "<!-- end -->"
    before, _, rest = text.partition(begin)
    return before + begin + "\n" + tables(all_files) + end + rest.partition(end)[2]


def main() -> None:
    """Write the picture and the page."""
    all_files = files()
    if wrong := wrong_ways(all_files):
        sys.exit("\n".join(wrong))
    (HERE / "architecture.svg").write_text(picture(all_files), encoding="utf-8")
    path = HERE / "architecture.md"
    path.write_text(page(all_files, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
