"""Every Python example in the README is run, each on its own, against the emulator."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarifai_annotations.emulator import Emulator
from spark_cluster import why_not

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


SUITES = [example for example in EXAMPLES if example.startswith("# test_")]
# In a process of its own: a session of Spark's is for the whole process.
SPARKS = [example for example in EXAMPLES if "pyspark" in example]
EXAMPLES = [example for example in EXAMPLES if example not in SUITES + SPARKS]

pytest_plugins = ["pytester"]


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
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


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_an_example_runs(example: str) -> None:
    code = compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, {"__name__": "__main__"})
    if inspect.isawaitable(running):
        await running


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("example", SPARKS, ids=range(len(SPARKS)))
def test_an_example_of_spark_runs(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    ran = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, "2 deleted"), ran.stderr


@pytest.mark.parametrize("suite", SUITES, ids=range(len(SUITES)))
def test_an_example_of_a_suite_passes(suite: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_cleaning=suite)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error")
    result.assert_outcomes(passed=5)


def test_there_are_examples_to_run() -> None:
    assert (len(EXAMPLES), len(SUITES), len(SPARKS)) == (11, 1, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_every_picture_is_made_from_the_real_program(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, README.parent / "docs/pictures.py", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    shown = re.findall(r"!\[\w+\]\(docs/(\w+\.svg)\)", README.read_text(encoding="utf-8"))
    made = {
        path.name: path.read_text(encoding="utf-8").replace("&#160;", " ") for path in tmp_path.glob("*.svg")
    }
    assert shown == ["plan.svg", "delete.svg", "restore.svg"]
    assert "To delete: 150 annotations" in made["plan.svg"]
    assert "Deleted 150 of 151 annotations" in made["delete.svg"]
    assert "Restored 5 of 5 annotations" in made["restore.svg"]


def test_the_commands_of_the_readme_are_the_ones_that_ci_runs() -> None:
    commands = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    commands = [command.partition("#")[0].strip() for command in commands]
    assert commands == [
        "pip install '.[cli]' && clarifai-annotations demo",
        "pip install '.[test]' && pytest",
    ]
    ci = (README.parent / ".ci/run").read_text(encoding="utf-8")
    assert all(command in ci for command in commands)
