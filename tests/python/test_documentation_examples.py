"""Every example of the README and the documentation is run, and prints what stands there."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarifai_annotations.emulator import Emulator
from documented import ROOT, Block, blocks, follow, is_shown, pages
from spark_cluster import why_not

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python" and not block.title]

# Clarifai's SDK, or its stubs for gRPC.
OF_CLARIFAI = re.compile(r"^\s*(?:from|import) (clarifai|clarifai_grpc)[. ]", re.MULTILINE)

SUITES = [block for block in PYTHON if block.code.startswith("# test_")]
# In a process of its own: a session of Spark's, and what an official client sets up, is for the whole process.
SPARKS = [block for block in PYTHON if "pyspark" in block.code]
OFFICIAL = [block for block in PYTHON if OF_CLARIFAI.search(block.code)]
EXAMPLES = [block for block in PYTHON if block not in SUITES + SPARKS + OFFICIAL]

# What a page may show besides what is run: output beside its example, and what needs the world outside.
NOT_RUN = {"text", "sh"}

pytest_plugins = ["pytester"]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An account with the annotations of the examples, and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    with Emulator() as emulator:
        for app_id in ("cats", "dogs"):
            for input_id in ("photo-1", "photo-2", "photo-3"):
                for annotation_id in ("box-7", "box-8", "box-9"):
                    emulator.add_annotation(input_id, annotation_id, user_id="me", app_id=app_id)
        monkeypatch.setenv("CLARIFAI_API_BASE", emulator.base_url)
        monkeypatch.setenv("CLARIFAI_USER_ID", "me")
        monkeypatch.setenv("CLARIFAI_APP_ID", "cats")
        monkeypatch.setenv("CLARIFAI_PAT", "made-up")
        yield


def run_alone(block: Block) -> str:
    ran = subprocess.run([sys.executable, "-c", block.code], capture_output=True, text=True)
    assert ran.returncode == 0, f"{block}\n{ran.stderr}"
    return ran.stdout


def assert_shown(block: Block, printed: str) -> None:
    assert block.output is None or is_shown(block.output, printed), f"{block} prints\n{printed}"


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("block", EXAMPLES, ids=str)
async def test_an_example_prints_what_the_page_shows(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(block.code, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, {"__name__": "__main__"})
    if inspect.isawaitable(running):
        await running
    assert_shown(block, capsys.readouterr().out)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("block", OFFICIAL, ids=str)
def test_an_example_with_an_official_client_prints_what_the_page_shows(block: Block) -> None:
    if "clarifai" in OF_CLARIFAI.findall(block.code):
        if importlib.util.find_spec("clarifai") is None:
            pytest.skip("Clarifai's SDK is not installed: pip install '.[peers]'")
        if sys.version_info >= (3, 13):
            pytest.skip("importing clarifai 12.5 ends CPython 3.13.0 with a segmentation fault")
    assert_shown(block, run_alone(block))


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("block", SPARKS, ids=str)
def test_an_example_of_spark_prints_what_the_page_shows(
    block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    assert_shown(block, run_alone(block))


@pytest.mark.parametrize("block", SUITES, ids=str)
def test_an_example_of_a_suite_passes(block: Block, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_cleaning=block.code)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}, outcomes


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    if "$ curl" in page.read_text(encoding="utf-8") and shutil.which("curl") is None:
        pytest.skip("the page calls curl, which is not installed")
    # Installing is done by .ci/run, which follows the page that begins with it in an empty environment.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    follow(page, tmp_path, environment, skipped="pip install")


def test_every_block_is_an_example_that_is_run_or_of_a_kind_that_cannot_be() -> None:
    kinds = {"python", "console"} | NOT_RUN
    assert [str(block) for block in BLOCKS if block.language not in kinds and not block.title] == []


def test_every_output_stands_below_what_prints_it() -> None:
    # The messages of that page are provoked by `test_first_minutes.py`.
    elsewhere = [block for block in BLOCKS if block.page.name != "first-minutes.md"]
    outputs = sum(block.output is not None for block in PYTHON if block in elsewhere)
    assert outputs == sum(block.language == "text" for block in elsewhere)


def test_each_kind_of_example_is_found() -> None:
    assert min(map(len, (EXAMPLES, SUITES, SPARKS, OFFICIAL))) > 0


@pytest.mark.parametrize(
    ("shown", "printed", "is_it"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\n", False),
        ("a … c", "a b c\n", True),
        ("a … c", "a b d\n", False),
        ("a\n…\nd", "a\nb\nc\nd\n", True),
        ("a\n…\nd", "a\nb\nc\n", False),
    ],
)
def test_what_is_printed_is_held_against_what_is_shown(shown: str, printed: str, is_it: bool) -> None:
    assert is_shown(shown, printed) is is_it
