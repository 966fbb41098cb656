"""The stub is the reference, and what `help()` shows is the same text."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import clarifai_annotations
from clarifai_annotations import _native, emulator, errors
from documented import ROOT

STUB = ast.parse((Path(clarifai_annotations.__file__).parent / "_native.pyi").read_text(encoding="utf-8"))


PUBLIC = {
    name
    for package in (clarifai_annotations, emulator)
    for name in package.__all__
    if getattr(_native, name, None) is getattr(package, name)
}


THIN = ("CallFuture", "NativeClient", "NativePlan")
"""What is behind public classes, and documented there."""


def documented(
    scope: ast.Module | ast.ClassDef, owner: Any, prefix: str = ""
) -> Iterator[tuple[str, Any, str]]:
    """Every public object of the stub with its docstring there."""
    for node in scope.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        text = ast.get_docstring(node)
        if node.name in THIN or (not prefix and text is None and node.name not in PUBLIC):
            continue
        target = inspect.getattr_static(owner, node.name)
        assert text, f"{prefix}{node.name} has no docstring in the stub"
        yield f"{prefix}{node.name}", getattr(target, "__func__", target), text
        if isinstance(node, ast.ClassDef):
            yield from documented(node, target, f"{node.name}.")


DOCUMENTED = list(documented(STUB, _native))


@pytest.mark.parametrize(("name", "target", "text"), DOCUMENTED, ids=[name for name, *_ in DOCUMENTED])
def test_help_shows_what_the_stub_says(name: str, target: Any, text: str) -> None:
    assert inspect.cleandoc(target.__doc__) == text, name


def test_every_public_name_is_documented() -> None:
    for name in clarifai_annotations.__all__:
        assert name == "__version__" or getattr(clarifai_annotations, name).__doc__, name


def rows_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "ClarifaiError"])
def test_the_page_of_errors_says_of_each_when_it_comes_and_what_to_do(name: str) -> None:
    [row] = re.findall(rf"^\| `{name}` \|.*$", rows_of("outcomes-and-errors.md"), re.MULTILINE)
    _, _, _, when, what_to_do, _ = re.split(r"\s*\|\s*", row)
    assert when
    assert what_to_do


def test_the_page_of_settings_has_every_argument_of_a_client() -> None:
    shown = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", rows_of("settings.md"), re.MULTILINE)))
    )
    assert shown == set(inspect.signature(clarifai_annotations.Client).parameters)
