"""The page "Architecture" is drawn from the code as it stands, and imports run down the layers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from documented import ROOT

DOCS = ROOT / "docs"
DRAW_IT = "run `python docs/architecture.py`"


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    """The script that draws the page."""
    spec = importlib.util.spec_from_file_location("architecture", DOCS / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["architecture"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_import_runs_down_the_layers(architecture: ModuleType) -> None:
    assert architecture.wrong_ways(architecture.files()) == []


def test_an_import_that_runs_up_is_told_with_its_line(architecture: ModuleType) -> None:
    file = architecture.File(ROOT / "src/emulator/rest.rs", "emulator", "", {"client": 7, "wire": 8})
    assert architecture.wrong_ways([file]) == [
        "src/emulator/rest.rs:7 uses client, which is not below emulator"
    ]


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("use crate::wire::api::Annotation;", {"wire"}),
        (
            "use crate::{\n    error::{Cause, Error},\n    ids::Pairs,\n    wire,\n};",
            {"error", "ids", "wire"},
        ),
        ("fn f() -> crate::report::Report {}", {"report"}),
        ("// use crate::config;", set()),
        ("#[cfg(test)]\nmod tests {\n    use crate::client;\n}", set()),
        ("use crate::LOGGER;", set()),
    ],
)
def test_what_a_rust_file_uses_is_what_it_imports(
    code: str, uses: set[str], architecture: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(architecture, "ROOT", tmp_path)
    (tmp_path / "src").mkdir()
    path = tmp_path / "src/journal.rs"
    path.write_text(f"//! What it is for.\n{code}\n", encoding="utf-8")
    assert set(architecture.rust_file(path).uses) == uses


def test_the_picture_is_drawn_from_the_code_as_it_stands(architecture: ModuleType) -> None:
    drawn = (DOCS / "architecture.svg").read_text(encoding="utf-8")
    assert architecture.picture(architecture.files()) == drawn, DRAW_IT


def test_the_tables_are_of_the_code_as_it_stands(architecture: ModuleType) -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert architecture.page(architecture.files(), page) == page, DRAW_IT


def test_every_file_has_a_job(architecture: ModuleType) -> None:
    assert [file.name for file in architecture.files() if not file.job] == []
