"""What the README promises besides its examples, which `test_documentation_examples.py` runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from documented import ROOT, pages

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_every_picture_is_made_from_the_real_program(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, ROOT / "docs/pictures.py", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    shown = re.findall(r"!\[\w+\]\(docs/(\w+\.svg)\)", README)
    made = {
        path.name: path.read_text(encoding="utf-8").replace("&#160;", " ") for path in tmp_path.glob("*.svg")
    }
    assert shown == ["plan.svg", "delete.svg", "restore.svg"]
    assert "To delete: 150 annotations" in made["plan.svg"]
    assert "Deleted 150 of 151 annotations" in made["delete.svg"]
    assert "Restored 5 of 5 annotations" in made["restore.svg"]


def test_the_commands_of_the_readme_are_the_ones_that_ci_runs() -> None:
    commands = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    commands = [command.partition("#")[0].strip() for command in commands]
    assert commands == [
        "pip install '.[cli]' && clarifai-annotations demo",
        "pip install '.[test]' && pytest",
    ]
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert all(command in ci for command in commands)


# What the site takes from elsewhere stands there under other names; `test_site.py` follows the links of the site.
IN_THE_CHECKOUT = [*ROOT.glob("*.md"), *ROOT.glob("[!.]*/README.md")]


@pytest.mark.parametrize("page", IN_THE_CHECKOUT, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_of_the_checkout_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_start_page_takes_three_commands() -> None:
    [start] = [page for page in pages() if page.name == "index.md" and page.parent.name == "docs"]
    commands = re.findall(r"^\$ (.*)$", start.read_text(encoding="utf-8"), re.MULTILINE)
    assert commands == ["pip install '.[cli]'", "clarifai-annotations demo", "python first.py"]
