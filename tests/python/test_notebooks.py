"""The notebooks that people start from: each runs as it stands, and is kept without outputs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from documented import ROOT

EXAMPLES = ROOT / "examples"
NAMES = ["await_in_a_service", "clean_a_label_set", "test_a_cleaning_script"]

# On a machine that never drew a plot, and is slow.
MATPLOTLIB_IS_NEW_HERE = "Matplotlib is building the font cache; this may take a moment.\n"


def read(folder: Path, name: str) -> Any:
    return nbformat.read(folder / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]


class Ran:
    """A notebook that was run by this interpreter, in a copy of its folder."""

    def __init__(self, folder: Path, name: str) -> None:
        home = folder / "home"
        shutil.copytree(EXAMPLES, folder / "examples")
        home.mkdir()
        # Whoever runs the tests may have an account, or a proxy, or options for pytest.
        hidden = re.compile(r"CLARIFAI_|PYTEST_|.*_proxy$", re.IGNORECASE)
        environment = {name: value for name, value in os.environ.items() if not hidden.match(name)}
        self.cells = read(folder / "examples", name)
        client = NotebookClient(
            self.cells,
            timeout=120,
            kernel_name="python3",
            allow_errors=True,
            resources={"metadata": {"path": str(folder / "examples")}},
        )
        kernels: list[subprocess.Popen[bytes]] = []
        client.on_notebook_start = lambda **_: kernels.append(client.km.provisioner.process)  # type: ignore[union-attr]
        client.execute(env={**environment, "HOME": str(home)})
        [self.kernel] = kernels
        self.files = sorted(path.name for path in (folder / "examples").iterdir())

    def outputs(self, cell_id: str | None = None) -> list[Any]:
        """What a cell showed, or all cells."""
        cells = [cell for cell in self.cells.cells if cell_id in (None, cell.id)]
        return [output for cell in cells for output in cell.get("outputs", [])]

    def said(self, cell_id: str) -> str:
        """What a cell printed, and the value of its last line."""
        return "".join(
            output.text if output.output_type == "stream" else output.data["text/plain"]
            for output in self.outputs(cell_id)
        )

    def numbers(self, cell_id: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", self.said(cell_id))]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Runs a notebook; once, however many tests look at it."""
    runs: dict[str, Ran] = {}

    def run(name: str) -> Ran:
        if name not in runs:
            runs[name] = Ran(tmp_path_factory.mktemp(name), name)
        return runs[name]

    return run


each_notebook = pytest.mark.parametrize("name", NAMES)


def test_these_are_the_notebooks() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.ipynb")) == NAMES


@each_notebook
def test_the_folders_readme_names_a_notebook(name: str) -> None:
    assert f"({name}.ipynb)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@each_notebook
def test_a_notebook_is_valid_and_names_its_cells(name: str) -> None:
    notebook = read(EXAMPLES, name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"


@each_notebook
def test_outputs_are_stripped(name: str) -> None:
    notebook = read(EXAMPLES, name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert [cell.id for cell in notebook.cells if cell.metadata] == []
    assert set(notebook.metadata) == {"kernelspec"}


@each_notebook
def test_no_cell_of_a_notebook_fails(ran: Callable[[str], Ran], name: str) -> None:
    errors = [output for output in ran(name).outputs() if output.output_type == "error"]
    assert [f"{error.ename}: {error.evalue}" for error in errors] == []


@each_notebook
def test_a_notebook_writes_nothing_to_stderr(ran: Callable[[str], Ran], name: str) -> None:
    outputs = [output for output in ran(name).outputs() if output.output_type == "stream"]
    written = "".join(output.text for output in outputs if output.name == "stderr")
    assert written.replace(MATPLOTLIB_IS_NEW_HERE, "") == ""


@each_notebook
def test_a_notebook_leaves_no_file_behind(ran: Callable[[str], Ran], name: str) -> None:
    assert ran(name).files == sorted(path.name for path in EXAMPLES.iterdir())


@each_notebook
def test_the_kernel_of_a_notebook_has_ended(ran: Callable[[str], Ran], name: str) -> None:
    assert ran(name).kernel.poll() is not None


def test_cleaning_finds_the_same_with_pandas_and_with_polars(ran: Callable[[str], Ran]) -> None:
    assert re.fullmatch(
        r"pandas: (\d+)  polars: \1\nthe same: True\n", ran("clean_a_label_set").said("agree")
    )


def test_cleaning_plans_what_was_found(ran: Callable[[str], Ran]) -> None:
    cleaning = ran("clean_a_label_set")
    assert f"deletions={cleaning.numbers('agree')[0]}," in cleaning.said("plan")


def test_cleaning_shows_a_cap_that_holds(ran: Callable[[str], Ran]) -> None:
    cleaning = ran("clean_a_label_set")
    assert "max_deletions is 250. Nothing was deleted" in cleaning.said("cap")
    assert cleaning.said("cap-seen") == "[]\n"


def test_cleaning_deletes_all_but_the_locked_label(ran: Callable[[str], Ran]) -> None:
    cleaning = ran("clean_a_label_set")
    found, _ = cleaning.numbers("agree")
    before, after, less = cleaning.numbers("after")
    assert f"deleted={found - 1}, absent=0, failed=1" in cleaning.said("delete")
    assert (less, before - after) == (found - 1, found - 1)


def test_cleaning_shows_a_bar(ran: Callable[[str], Ran]) -> None:
    assert "deleting: " in ran("clean_a_label_set").said("delete")


def test_cleaning_draws_what_changed(ran: Callable[[str], Ran]) -> None:
    [plot] = ran("clean_a_label_set").outputs("plot")
    assert "image/png" in plot.data


def test_cleaning_restores_the_yard_as_it_was(ran: Callable[[str], Ran]) -> None:
    cleaning = ran("clean_a_label_set")
    same, saved = cleaning.numbers("verify")
    assert 0 < same == saved
    gate, yard = re.findall(r"^(?:gate|yard) +(\d+) +(\d+) +(\d+)$", cleaning.said("account"), re.MULTILINE)
    assert gate[1] == gate[2]
    assert yard[0] == yard[2] != yard[1]


def test_the_suite_of_the_script_passes(ran: Callable[[str], Ran]) -> None:
    assert "5 passed" in ran("test_a_cleaning_script").said("run-pytest")


def test_the_suite_notices_the_broken_script(ran: Callable[[str], Ran]) -> None:
    broken = ran("test_a_cleaning_script").said("run-broken")
    assert "4 failed, 1 passed" in broken
    assert "FAILED test_clean.py::test_without_doubtful_labels_nothing_is_sent" in broken


def test_the_error_of_the_broken_script_tells_of_the_empty_list(ran: Callable[[str], Ran]) -> None:
    error = ran("test_a_cleaning_script").said("run-trap")
    assert "IdError: 3 input_ids but 0 annotation_ids" in error
    assert "Nothing was sent" in error


def test_the_empty_list_without_this_package_takes_everything(ran: Callable[[str], Ran]) -> None:
    assert ran("test_a_cleaning_script").said("trap") == "Ok\nlabels left: []\n"


def test_callers_who_come_together_share_requests(ran: Callable[[str], Ran]) -> None:
    service = ran("await_in_a_service")
    assert service.said("together") == "Counter({'204 No Content': 200})\n"
    *sizes, throttled = service.numbers("together-seen")
    assert (sum(sizes), throttled) == (200, 0)
    assert len(sizes) < 100


def test_requests_are_of_one_app_each(ran: Callable[[str], Ran]) -> None:
    counts, *requests = ran("await_in_a_service").said("apps").splitlines()
    assert counts == "Counter({'204 No Content': 100})"
    for app_id in ("cats", "dogs"):
        assert sum(int(request.split()[1]) for request in requests if request.startswith(app_id)) == 50


def test_the_error_of_one_caller_is_nobody_elses(ran: Callable[[str], Ran]) -> None:
    statuses = re.findall(r"^\S+  (\d+) ", ran("await_in_a_service").said("errors"), re.MULTILINE)
    assert statuses == ["502", *["204"] * 7, "404", "400"]


def test_a_caller_whose_time_is_over_is_told_so(ran: Callable[[str], Ran]) -> None:
    service = ran("await_in_a_service")
    status, words = ast.literal_eval(service.said("timeout"))
    assert (status, "is unknown" in words) == ("504 Gateway Timeout", True)
    assert ast.literal_eval(service.said("timeout-again"))[0] == "404 Not Found"


def test_a_deletion_that_is_cancelled_in_time_is_not_sent(ran: Callable[[str], Ran]) -> None:
    service = ran("await_in_a_service")
    assert (
        service.said("cancel")
        == "['NoneType', 'CancelledError', 'NoneType']\n[['photo-280'], ['photo-282']]\n"
    )
    assert service.said("cancel-left") == "['photo-281']\n"
