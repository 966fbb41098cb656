"""Draws the architecture from the sources: `architecture.svg`, and the tables of `architecture.md`.

    python docs/architecture.py

What a file uses is read from its `use` lines and paths (Rust) or its imports (Python), and its one job is the first
sentence of its module comment. By hand are only `LAYERS`, which say what may use what, and `ONLY`, which say who may know
a library. `faults` holds the sources against both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path
from textwrap import wrap
from typing import Literal
from xml.sax.saxutils import escape

ROOT = Path(__file__).parent.parent
SVG, PAGE = "docs/architecture.svg", "docs/architecture.md"
PACKAGE = "python/clarifai_annotations"


@dataclass(frozen=True)
class Part:
    """A box: files that may use each other as they like."""

    name: str
    language: Literal["Rust", "Python"]
    sources: tuple[str, ...]
    """Folders, which end with a slash, and files."""


@dataclass(frozen=True)
class Layer:
    """Parts that do not use each other."""

    name: str
    parts: tuple[Part, ...]


# A part may use what is in a layer below its own, and nothing else.
LAYERS = (
    Layer(
        "ways in",
        (
            Part("cli/", "Python", (f"{PACKAGE}/cli/", f"{PACKAGE}/__main__.py")),
            Part("spark/", "Python", (f"{PACKAGE}/spark/",)),
            Part("pytest plugin", "Python", ("python/pytest_clarifai_annotations/",)),
        ),
    ),
    Layer(
        "the package",
        (
            Part(
                "clarifai_annotations/",
                "Python",
                (
                    f"{PACKAGE}/__init__.py",
                    f"{PACKAGE}/_interpreter.py",
                    f"{PACKAGE}/_functions.py",
                    f"{PACKAGE}/emulator.py",
                ),
            ),
        ),
    ),
    Layer(
        "the binding",
        (
            Part(
                "src/python/",
                "Rust",
                (
                    "src/python/",
                    f"{PACKAGE}/_native.pyi",
                    f"{PACKAGE}/_types.py",
                    # The classes are the face of native ones, which name them in turn.
                    f"{PACKAGE}/_client.py",
                    f"{PACKAGE}/_plan.py",
                ),
            ),
        ),
    ),
    Layer(
        "the two halves",
        (
            Part("src/client/", "Rust", ("src/client/",)),
            Part("src/emulator/", "Rust", ("src/emulator/",)),
            Part("errors.py, progress.py", "Python", (f"{PACKAGE}/errors.py", f"{PACKAGE}/progress.py")),
        ),
    ),
    Layer(
        "files that stay",
        (
            Part("src/backup/", "Rust", ("src/backup/",)),
            Part("src/journal/", "Rust", ("src/journal/",)),
            Part("plan_file.rs", "Rust", ("src/plan_file.rs",)),
        ),
    ),
    Layer(
        "outcomes, plans, settings",
        (
            Part("files/", "Rust", ("src/files/",)),
            Part("report.rs", "Rust", ("src/report.rs",)),
            Part("plan.rs", "Rust", ("src/plan.rs",)),
            Part("config.rs", "Rust", ("src/config.rs",)),
        ),
    ),
    Layer(
        "the ground",
        (
            Part("columns.rs", "Rust", ("src/columns.rs",)),
            Part("error.rs", "Rust", ("src/error.rs",)),
            Part("ids.rs", "Rust", ("src/ids.rs",)),
            Part("wire.rs", "Rust", ("src/wire.rs",)),
            Part("process.rs", "Rust", ("src/process.rs",)),
            Part("machine.rs", "Rust", ("src/machine.rs",)),
            Part("_columns.py", "Python", (f"{PACKAGE}/_columns.py",)),
        ),
    ),
)

# Who may know a library.
ONLY = {
    "pyo3": {"src/python/"},
    "pyo3_arrow": {"src/python/"},
    "pyo3_log": {"src/python/"},
    "rusqlite": {"src/journal/"},
    "parquet": {"src/backup/", "columns.rs", "plan_file.rs"},
    "rustix": {"files/", "machine.rs"},
    "zstd": {"files/"},
    "axum": {"src/emulator/"},
    "prost_reflect": {"src/emulator/"},
    "rich": {"cli/"},
    "typer": {"cli/"},
    "pyspark": {"spark/"},
    "tqdm": {"errors.py, progress.py"},
}

# The map of the crate, whose modules are what counts.
MAP = "src/lib.rs"


@dataclass(frozen=True)
class Use:
    """A place where a file uses another, or a library."""

    line: int
    what: str


@dataclass
class Source:
    """A file, and what it says of itself."""

    path: str
    job: str
    files: list[Use] = field(default_factory=list)
    libraries: list[Use] = field(default_factory=list)


# -- Rust ---------------------------------------------------------------------------------------------------------


# Comments, then literals: a lifetime is no character, and a raw string has no escapes.
NO_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(?P<hashes>\#+)".*?"(?P=hashes)|b?r"[^"]*"|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'""",
    re.DOTALL,
)
IMPORTED_PYTHON = re.compile(r'import\([^"]*"clarifai_annotations((?:\.\w+)*)"')


def rust_sources(root: Path) -> Iterator[Source]:
    """Every Rust file of the crate."""
    files = {module_of(path.relative_to(root)): path for path in sorted((root / "src").rglob("*.rs"))}
    for module, path in files.items():
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        source = Source(name, first_sentence("\n".join(re.findall(r"^//! ?(.*)$", text, re.MULTILINE))))
        if name != MAP:
            code = without_tests(NO_CODE.sub(blank, text))
            for line, used in rust_paths(code, module, set(files)):
                if used[0] != "crate":
                    source.libraries.append(Use(line, used[0]))
                    continue
                target = next(files[used[:n]] for n in range(len(used), 0, -1) if used[:n] in files)
                source.files.append(Use(line, target.relative_to(root).as_posix()))
            for imported in IMPORTED_PYTHON.finditer(text):
                target = root / "python/clarifai_annotations" / Path(*imported[1].split("."))
                used_file = target.with_suffix(".py").relative_to(root).as_posix()
                source.files.append(Use(line_of(text, imported.start()), used_file))
        yield source


def module_of(path: Path) -> tuple[str, ...]:
    """`src/client/call.rs` is `crate::client::call`."""
    inside = path.relative_to("src").with_suffix("").parts
    return ("crate", *(inside[:-1] if inside[-1] in ("lib", "mod") else inside))


def blank(found: re.Match[str]) -> str:
    """As many lines of nothing."""
    return "\n" * found[0].count("\n")


def without_tests(code: str) -> str:
    """Leave out the modules that only tests are built with."""
    begins = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*mod\s+\w+\s*\{")
    while found := begins.search(code):
        end = closing(code, found.end())
        code = code[: found.start()] + "\n" * code.count("\n", found.start(), end) + code[end:]
    return code


def closing(code: str, start: int) -> int:
    """Find the place after the brace that closes the one before `start`."""
    depth = 1
    for brace in re.compile(r"[{}]").finditer(code, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    raise ValueError("a brace is not closed")


def rust_paths(
    code: str, module: tuple[str, ...], modules: set[tuple[str, ...]]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Every path in the code that leads to a module of this crate or to a library, from the crate or the library on."""
    scopes = [(0, len(code), module)]
    for inner in re.finditer(r"\bmod\s+(\w+)\s*\{", code):
        outer = scope_at(scopes, inner.start())
        scopes.append((inner.end(), closing(code, inner.end()), (*outer, inner[1])))
    children = {path[-1] for path in modules if path[:-1] == module}
    rest = code
    for statement in re.finditer(r"\buse\s+([^;]+);", code):
        for place, path in use_tree(code, statement.start(1), statement.end(1)):
            yield line_of(code, place), resolved(path, scope_at(scopes, place), children)
        nothing = re.sub(r"[^\n]", " ", statement[0])
        rest = rest[: statement.start()] + nothing + rest[statement.end() :]
    for found in re.finditer(r"(?<![\w:.])[a-z]\w*(?:::\w+)+", rest):
        path = tuple(found[0].split("::"))
        yield line_of(code, found.start()), resolved(path, scope_at(scopes, found.start()), children)


def scope_at(scopes: list[tuple[int, int, tuple[str, ...]]], place: int) -> tuple[str, ...]:
    """Find the innermost module around a place."""
    return [module for start, end, module in scopes if start <= place < end][-1]


def use_tree(code: str, start: int, end: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Find the paths of `a::{b, c::d}`, and where each of them ends."""
    prefixes: list[tuple[str, ...]] = [()]
    path: tuple[str, ...] = ()
    for token in re.compile(r"\bas\s+\w+|[\w*]+|::|[{},]").finditer(code, start, end):
        if token[0] == "{":
            prefixes.append(path)
        elif token[0] in ",}":
            if len(path) > len(prefixes[-1]):
                yield token.start() - 1, path
            path = prefixes.pop() if token[0] == "}" else prefixes[-1]
        elif token[0] != "::" and not re.match(r"as\s", token[0]):
            path = (*path, token[0])
    if path:
        yield end - 1, path


def resolved(path: tuple[str, ...], module: tuple[str, ...], children: set[str]) -> tuple[str, ...]:
    """Give the path from the crate or the library on."""
    if path[0] in children:
        return (*module, *path)
    if path[0] not in ("self", "super"):
        return path
    while path and path[0] in ("self", "super"):
        module = module[:-1] if path[0] == "super" else module
        path = path[1:]
    return (*module, *path)


def line_of(text: str, place: int) -> int:
    """Count the lines up to this place."""
    return text.count("\n", 0, place) + 1


# -- Python -------------------------------------------------------------------------------------------------------


def python_sources(root: Path) -> Iterator[Source]:
    """Every Python file of the packages, and the stub."""
    folder = root / "python"
    files = sorted([*folder.rglob("*.py"), *folder.rglob("*.pyi")])
    modules = {python_module(path.relative_to(folder)): path for path in files}
    for module, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        source = Source(path.relative_to(root).as_posix(), first_sentence(ast.get_docstring(tree) or ""))
        package = module if path.name == "__init__.py" else module[:-1]
        for line, imported in python_imports(tree, package):
            target = next(
                (modules[imported[:n]] for n in range(len(imported), 0, -1) if imported[:n] in modules), None
            )
            if target is None:
                source.libraries.append(Use(line, imported[0]))
            elif target.suffix == ".pyi":
                # What the stub describes.
                source.files.append(Use(line, "src/python/mod.rs"))
            elif target != path:
                source.files.append(Use(line, target.relative_to(root).as_posix()))
        yield source


def python_module(path: Path) -> tuple[str, ...]:
    """`a/b.py` is `a.b`."""
    inside = path.with_suffix("").parts
    return inside[:-1] if inside[-1] == "__init__" else inside


def python_imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Everything that is imported when the code runs, by its full name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            of = (*above, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                yield alias.lineno, (*of, alias.name)
        else:
            yield from python_imports(node, package)


def first_sentence(comment: str) -> str:
    """Give the first sentence of a module comment, as Markdown."""
    paragraph = " ".join(comment.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s", paragraph)[0]
    return re.sub(r"\[(`[^`]+`)\]", r"\1", sentence.replace("``", "`")).replace("|", r"\|")


# -- The rules ----------------------------------------------------------------------------------------------------


def sources(root: Path) -> list[Source]:
    """Every source file."""
    return [*rust_sources(root), *python_sources(root)]


def part_of(path: str) -> Part | None:
    """Find the part that a file belongs to."""
    for layer in LAYERS:
        for part in layer.parts:
            if path in part.sources or any(path.startswith(it) for it in part.sources if it.endswith("/")):
                return part
    return None


def depth(part: Part) -> int:
    """Count the layers above a part."""
    return next(n for n, layer in enumerate(LAYERS) if part in layer.parts)


def faults(files: list[Source]) -> Iterator[str]:
    """Tell what breaks the rules, and where."""
    for source in files:
        part = part_of(source.path)
        if not source.job:
            yield f"{source.path}:1 has no module comment that tells its one job"
        if source.path == MAP:
            continue
        if part is None:
            yield f"{source.path}:1 has no place in LAYERS of docs/architecture.py"
            continue
        for use in source.files:
            used = part_of(use.what)
            if use.what == MAP or used is None or used is part or depth(used) > depth(part):
                continue
            here, there = LAYERS[depth(part)].name, LAYERS[depth(used)].name
            why = f'both are in the layer "{here}"' if here == there else f'"{there}" is above "{here}"'
            yield f"{source.path}:{use.line} uses {use.what}: {part.name} may not know {used.name}, {why}"
        for use in source.libraries:
            if use.what in ONLY and part.name not in ONLY[use.what]:
                yield f"{source.path}:{use.line} uses {use.what}, which only {' and '.join(sorted(ONLY[use.what]))} may know"


def arrows(files: list[Source]) -> set[tuple[Part, Part]]:
    """Find which part uses which, as far as it does not follow from other arrows."""
    uses: dict[Part, set[Part]] = {part: set() for layer in LAYERS for part in layer.parts}
    for source in files:
        part = part_of(source.path)
        for used in map(part_of, {use.what for use in source.files}):
            if part and used and depth(used) > depth(part):
                uses[part].add(used)
    reached = {part: set(used) for part, used in uses.items()}
    for layer in reversed(LAYERS):
        for part in layer.parts:
            reached[part].update(*(reached[used] for used in uses[part]))
    return {
        (part, used)
        for part, all_used in uses.items()
        for used in all_used
        if not any(used in reached[other] for other in all_used)
    }


# -- The tables ---------------------------------------------------------------------------------------------------


def tables(files: list[Source]) -> dict[str, str]:
    """Make a table for each layer, by the layer's name."""
    return {layer.name: table(layer, files) for layer in LAYERS}


def table(layer: Layer, files: list[Source]) -> str:
    """Tell of each file its one job and what it uses."""
    rows = ["| file | its one job | uses beside it | uses below it |", "|---|---|---|---|"]
    for part in layer.parts:
        for source in files:
            if part_of(source.path) is part:
                used = {use.what for use in source.files} - {source.path, MAP}
                beside = sorted(called(it, source) for it in used if part_of(it) is part)
                below = sorted(called(it, source) for it in used if part_of(it) is not part)
                shown = source.path.removeprefix(f"{PACKAGE}/").removeprefix("python/")
                columns = [f"`{shown}`", source.job, listed(beside), listed(below)]
                rows.append(f"| {' | '.join(columns)} |".replace("  ", " "))
    return "\n".join(rows)


def called(path: str, user: Source) -> str:
    """Name a file as another one does: a folder by its own name, and what is in the other language so that it shows."""
    file = Path(path)
    if file.suffix != Path(user.path).suffix:
        return "src/python" if path == "src/python/mod.rs" else file.name
    if file.stem == "__init__" or (file.stem == "mod" and file.parent != Path(user.path).parent):
        return file.parent.name
    return file.stem


def listed(names: Iterable[str]) -> str:
    """Write names as code."""
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


def page(text: str, files: list[Source]) -> str:
    """Put the tables as they are now on the page."""
    for name, rows in tables(files).items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"{PAGE} has no place for the table: {begin} … {end}")
        before, after = text.split(begin)[0], text.split(end)[1]
        text = f"{before}{begin}\n\n{rows}\n\n{end}{after}"
    return text


# -- The drawing --------------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT = 700.0, 112.0, 694.0
TITLE, SMALL, LINE = 12.5, 11.0, 15.0
LETTER = 0.605  # of the font size: a monospaced letter
GAP, LANE, BETWEEN = 24.0, 12.0, 46.0
FILES_A_LINE = {"src/client/": 24, "src/emulator/": 20, "src/python/": 56}
COLOURS = {"Rust": ("#9a4527", "#d98a6a"), "Python": ("#27618f", "#6fa8d6")}
GREY = "#7c838d"  # stands out from white and from black alike


@dataclass(eq=False)
class Node:
    """A box, or where an arrow passes through a layer."""

    part: Part | None
    width: float
    height: float = 0.0
    lines: list[str] = field(default_factory=list)
    x: float = 0.0
    above: list[Node] = field(default_factory=list)
    below: list[Node] = field(default_factory=list)


def box(part: Part, files: list[Source]) -> Node:
    """Make the box of a part: its name, and its files where it is a folder."""
    of = [Path(it.path) for it in files if part_of(it.path) is part and not it.path.endswith(".pyi")]
    names = [it.stem if part.language == "Rust" and it.suffix == ".rs" else it.name for it in of]
    names = [name for name in names if name not in ("mod", "__init__.py")]
    names = [name.removesuffix(".py") if part.language == "Python" else name for name in names]
    lines = wrap(" ".join(names), FILES_A_LINE.get(part.name, 24)) if part.name.endswith("/") else []
    letters = max([len(part.name) * TITLE, *(len(line) * SMALL for line in lines)])
    height = 26.0 + LINE * len(lines) + (3.0 if lines else 0.0)
    return Node(part, letters * LETTER + 20.0, height, lines)


def chains(files: list[Source]) -> tuple[list[list[Node]], list[list[Node]]]:
    """Make the nodes of each layer, and of each arrow a list of the nodes that it runs through."""
    boxes = {part: box(part, files) for layer in LAYERS for part in layer.parts}
    rows = [[boxes[part] for part in layer.parts] for layer in LAYERS]
    order = {part: n for n, part in enumerate(boxes)}
    ways = []
    for part, used in sorted(arrows(files), key=lambda it: (order[it[0]], order[it[1]])):
        lanes = [Node(None, LANE) for _ in range(depth(part) + 1, depth(used))]
        for n, lane in enumerate(lanes, depth(part) + 1):
            rows[n].append(lane)
        way = [boxes[part], *lanes, boxes[used]]
        for upper, lower in pairwise(way):
            upper.below.append(lower)
            lower.above.append(upper)
        ways.append(way)
    return rows, ways


def crossings(rows: list[list[Node]]) -> int:
    """Count the arrows that cross."""
    count = 0
    for upper, lower in pairwise(rows):
        place = {node: n for n, node in enumerate(lower)}
        ends = [(n, place[used]) for n, node in enumerate(upper) for used in node.below]
        count += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(ends, 2))
    return count


def untangle(rows: list[list[Node]]) -> None:
    """Put each layer in an order in which few arrows cross, by the exchange of two of its nodes as long as that helps."""
    for upper, lower in pairwise(rows):
        place = {node: n for n, node in enumerate(upper)}
        lower.sort(key=lambda node: sum(place[it] for it in node.above) / max(len(node.above), 1))
    best, better = crossings(rows), True
    while better:
        better = False
        for row in rows:
            for a, b in combinations(range(len(row)), 2):
                row[a], row[b] = row[b], row[a]
                if (count := crossings(rows)) < best:
                    best, better = count, True
                else:
                    row[a], row[b] = row[b], row[a]


def spread(rows: list[list[Node]]) -> None:
    """Give each node its place on the line: near what it is tied to, and none over another."""
    for row in rows:
        at = (LEFT + RIGHT) / 2 - (sum(node.width for node in row) + GAP * (len(row) - 1)) / 2
        for node in row:
            node.x, at = at + node.width / 2, at + node.width + GAP
    for _ in range(60):
        for row in [*rows, *reversed(rows)]:
            settle(row)


def settle(row: list[Node]) -> None:
    """Move the nodes of a layer as near as they can be to what they are tied to, in their order."""
    offsets, at = [], 0.0
    for before, node in pairwise([None, *row]):
        assert node is not None
        if before is not None:
            at += (before.width + node.width) / 2 + (
                GAP if before.part and node.part else GAP / 2 if before.part or node.part else 0.0
            )
        offsets.append(at)
    # Nodes that would meet are moved together: to the mean of where they want to be, by weight.
    blocks: list[tuple[float, float, int]] = []
    for node, offset in zip(row, offsets, strict=True):
        wish, weight = wanted(node)
        blocks.append((wish - offset, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, heavy, many), (b, light, few) = blocks[-2:]
            blocks[-2:] = [((a * heavy + b * light) / (heavy + light), heavy + light, many + few)]
    lowest, highest = LEFT + row[0].width / 2, RIGHT - row[-1].width / 2 - offsets[-1]
    places = [min(max(place, lowest), highest) for place, _, many in blocks for _ in range(many)]
    for node, place, offset in zip(row, places, offsets, strict=True):
        node.x = place + offset


def wanted(node: Node) -> tuple[float, float]:
    """Where a node would best be, and how much that weighs: an arrow that passes should pass straight."""
    ties = [
        (it.x, (1.0, 3.0, 9.0)[(node.part is None) + (it.part is None)]) for it in [*node.above, *node.below]
    ]
    weight = sum(tie for _, tie in ties)
    return sum(x * tie for x, tie in ties) / weight, weight


def ports(node: Node, tied: list[Node]) -> dict[Node, float]:
    """Where the arrows to others meet a node: side by side, in the order of the others."""
    step = min(16.0, (node.width - 16.0) / max(len(tied), 1)) if node.part else 0.0
    ordered = sorted(tied, key=lambda it: it.x)
    return {other: node.x + (n - (len(tied) - 1) / 2) * step for n, other in enumerate(ordered)}


def drawing(files: list[Source]) -> str:
    """Draw the picture."""
    rows, ways = chains(files)
    untangle(rows)
    spread(rows)
    heights = [max(node.height for node in row) for row in rows]
    tops = [12.0 + sum(heights[:n]) + BETWEEN * n for n in range(len(rows))]
    bottom = tops[-1] + heights[-1]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {bottom + 34:.0f}"'
        f' width="{WIDTH:.0f}" height="{bottom + 34:.0f}" role="img"'
        ' aria-label="The parts of the package in layers; arrows run down only">',
        "<style>",
        "text { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace }",
        f".title {{ font-size: {TITLE}px; font-weight: 600; fill: #ffffff }}",
        f".files {{ font-size: {SMALL}px; fill: #ffffff }}",
        f".layer {{ font-size: {SMALL}px; fill: {GREY}; font-family: system-ui, 'DejaVu Sans', sans-serif; font-weight: 600 }}",
        f".arrow {{ fill: none; stroke: {GREY}; stroke-width: 1.4 }}",
        *(
            f".{language.lower()} {{ fill: {fill}; stroke: {edge} }}"
            for language, (fill, edge) in COLOURS.items()
        ),
        "</style>",
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{GREY}"/></marker>',
    ]
    lines += [
        f'<path class="arrow" d="{arrow(way, tops, heights)}" marker-end="url(#head)"/>' for way in ways
    ]
    for layer, row, top, height in zip(LAYERS, rows, tops, heights, strict=True):
        lines += labels(layer.name, top + height / 2)
        lines += [text for node in row if node.part for text in framed(node, node.part, top)]
    lines += legend(bottom + 20)
    return "\n".join([*lines, "</svg>", ""])


def arrow(way: list[Node], tops: list[float], heights: list[float]) -> str:
    """Draw the line of an arrow."""
    start = way[0]
    assert start.part is not None
    n = depth(start.part)
    x = ports(start, start.below)[way[1]]
    line = f"M{x:.1f} {tops[n] + start.height:.1f}V{tops[n] + heights[n]:.1f}"
    for upper, lower in pairwise(way):
        y, n = tops[n] + heights[n], n + 1
        to, end = ports(lower, lower.above)[upper], tops[n]
        x = ports(upper, upper.below)[lower]
        half = (end - y) / 2
        line += f"C{x:.1f} {y + half:.1f} {to:.1f} {end - half:.1f} {to:.1f} {end:.1f}"
        if lower.part is None:
            line += f"V{end + heights[n]:.1f}"
    return line


def labels(name: str, middle: float) -> list[str]:
    """Write the name of a layer, at the left."""
    lines = wrap(name, 15)
    first = middle + 4 - (len(lines) - 1) * 7
    return [
        f'<text class="layer" x="4" y="{first + 14 * n:.1f}">{escape(line)}</text>'
        for n, line in enumerate(lines)
    ]


def framed(node: Node, part: Part, top: float) -> list[str]:
    """Draw a box with its text."""
    left = node.x - node.width / 2
    return [
        f'<rect class="{part.language.lower()}" x="{left:.1f}" y="{top:.1f}" width="{node.width:.1f}"'
        f' height="{node.height:.1f}" rx="4"/>',
        f'<text class="title" x="{left + 10:.1f}" y="{top + 17:.1f}">{escape(part.name)}</text>',
        *(
            f'<text class="files" x="{left + 10:.1f}" y="{top + 20 + LINE * n:.1f}">{escape(line)}</text>'
            for n, line in enumerate(node.lines, 1)
        ),
    ]


def legend(y: float) -> list[str]:
    """Tell what the colours mean."""
    return [
        text
        for n, language in enumerate(COLOURS)
        for text in (
            f'<rect class="{language.lower()}" x="{LEFT + 80 * n:.1f}" y="{y - 9:.1f}" width="12" height="12" rx="2"/>',
            f'<text class="layer" x="{LEFT + 18 + 80 * n:.1f}" y="{y + 1:.1f}">{language}</text>',
        )
    ]


# -----------------------------------------------------------------------------------------------------------------


def drawn(root: Path) -> dict[str, str]:
    """Give the text of each file that is drawn, as it would be drawn now."""
    files = sources(root)
    return {SVG: drawing(files), PAGE: page((root / PAGE).read_text(encoding="utf-8"), files)}


def main() -> None:
    """Draw."""
    for path, text in drawn(ROOT).items():
        (ROOT / path).write_text(text, encoding="utf-8")
    for fault in faults(sources(ROOT)):
        print(fault)


if __name__ == "__main__":
    main()
