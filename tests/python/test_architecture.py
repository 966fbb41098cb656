"""The page `docs/architecture.md` is of the code as it stands, and the code keeps to its layers."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from documented import ROOT

if TYPE_CHECKING:
    import architecture
else:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    architecture = sys.modules["architecture"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(architecture)

FILES = architecture.sources(ROOT)
PROSE = re.sub(
    r"<!-- begin .*?<!-- end", "", (ROOT / architecture.PAGE).read_text(encoding="utf-8"), flags=re.DOTALL
)


@pytest.mark.parametrize("path", [architecture.SVG, architecture.PAGE])
def test_what_is_drawn_is_what_the_sources_say_now(path: str) -> None:
    drawn = architecture.drawn(ROOT)[path]
    assert (ROOT / path).read_text(encoding="utf-8") == drawn, "run python docs/architecture.py"


def test_arrows_run_down_only() -> None:
    assert "\n".join(architecture.faults(FILES)) == ""


def test_every_rust_module_and_python_file_is_looked_at() -> None:
    there = {
        *(ROOT / "src").rglob("*.rs"),
        *(ROOT / "python").rglob("*.py"),
        *(ROOT / "python").rglob("*.pyi"),
    }
    assert {source.path for source in FILES} == {path.relative_to(ROOT).as_posix() for path in there}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+(?:::\w+)+)`", PROSE))))
def test_a_function_that_the_page_names_is_there(name: str) -> None:
    *_, owner, last = name.split("::")
    paths = [ROOT / source.path for source in FILES if source.path.endswith(".rs")]
    if owner[0].islower():
        paths = [path for path in paths if owner in (path.stem, path.parent.name)]
    codes = [path.read_text(encoding="utf-8") for path in paths]
    defined = re.compile(rf"\b(?:fn|struct|enum|const)\s+{last}\b|^    {last}(?:,|\()", re.MULTILINE)
    of_owner = re.compile(rf"\b(?:impl|enum)\b[^;{{]*\b{owner}\b" if owner[0].isupper() else "")
    assert any(defined.search(code) and of_owner.search(code) for code in codes), name


def written(folder: Path, files: dict[str, str]) -> list[str]:
    """What the rules say of a tree of these files; each has its module comment."""
    for path, code in {"src/lib.rs": "", "src/client/mod.rs": "", "src/emulator/mod.rs": "", **files}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        comment = '"""One job."""' if file.suffix == ".py" else "//! One job."
        file.write_text(f"{comment}\n{code}\n", encoding="utf-8")
    return list(architecture.faults(architecture.sources(folder)))


CLIENT_AND_EMULATOR = 'both are in the layer "the two halves"'


@pytest.mark.parametrize(
    ("path", "code", "fault"),
    [
        (
            "src/client/call.rs",
            "use std::sync::Arc;\nuse crate::{\n    LOGGER,\n    emulator::Emulator,\n};",
            f"src/client/call.rs:5 uses src/emulator/mod.rs: src/client/ may not know src/emulator/, {CLIENT_AND_EMULATOR}",
        ),
        (
            "src/emulator/store.rs",
            "fn a() {\n    crate::client::b();\n}",
            f"src/emulator/store.rs:3 uses src/client/mod.rs: src/emulator/ may not know src/client/, {CLIENT_AND_EMULATOR}",
        ),
        (
            "src/wire.rs",
            "mod inner {\n    use super::super::client::Call as Other;\n}",
            'src/wire.rs:3 uses src/client/mod.rs: wire.rs may not know src/client/, "the two halves" is above "the ground"',
        ),
        (
            "src/client/rate_limit/mod.rs",
            "fn a() -> pyo3::PyResult<()> { todo() }",
            "src/client/rate_limit/mod.rs:2 uses pyo3, which only src/python/ may know",
        ),
        (
            "python/clarifai_annotations/errors.py",
            "def a() -> None:\n    from . import cli\n",
            "python/clarifai_annotations/errors.py:3 uses python/clarifai_annotations/cli/__init__.py:"
            ' errors.py, progress.py may not know cli/, "ways in" is above "the two halves"',
        ),
        (
            "python/clarifai_annotations/spark/lanes.py",
            "import typer",
            "python/clarifai_annotations/spark/lanes.py:2 uses typer, which only cli/ may know",
        ),
        ("src/stray.rs", "", "src/stray.rs:1 has no place in LAYERS of docs/architecture.py"),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_line(path: str, code: str, fault: str, tmp_path: Path) -> None:
    files = {path: code}
    if path.endswith(".py"):
        files |= {
            "python/clarifai_annotations/__init__.py": "",
            "python/clarifai_annotations/cli/__init__.py": "",
        }
    assert written(tmp_path, files) == [fault]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("src/client/call.rs", "// use crate::emulator::Emulator;"),
        ("src/client/call.rs", '/* crate::emulator */ const A: &str = "crate::emulator::Emulator";'),
        ("src/client/call.rs", 'const A: &str = r#"a " crate::emulator::b "#;'),
        ("src/client/call.rs", "#[cfg(test)]\nmod tests {\n    use crate::emulator::Emulator;\n}"),
        (
            "src/client/call.rs",
            '#[cfg(all(test, feature = "loom"))]\nmod model {\n    use crate::emulator;\n}',
        ),
        ("src/client/call.rs", "use super::{Client, rate_limit::Permit};\nuse crate::error::Error;"),
        (
            "python/clarifai_annotations/errors.py",
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from .spark import SparkDeleteReport",
        ),
    ],
)
def test_what_breaks_no_rule_is_let_be(path: str, code: str, tmp_path: Path) -> None:
    files = {path: code, "src/client/rate_limit/mod.rs": "", "src/error.rs": ""}
    assert written(tmp_path, files) == []
