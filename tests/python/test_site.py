"""The documentation site: built strictly, every link leads somewhere, and nothing comes from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from documented import ROOT

pytest.importorskip("material", reason="the site needs pip install '.[docs]'")


@dataclass
class Page(HTMLParser):
    """What a page links to, what it loads, and what on it can be linked to."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name == "href" and value is not None and tag == "a":
                self.links.append(value)
            elif name in ("href", "src") and value is not None:
                self.loaded.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Every page of the site as it is built, by its file."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert built.returncode == 0, built.stdout
    pages = {path.resolve(): Page() for path in folder.rglob("*.html")}
    for path, page in pages.items():
        page.feed(path.read_text(encoding="utf-8"))
    return pages


def broken(site: dict[Path, Page], path: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme not in ("https", "mailto")
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return True
    return bool(parts.fragment) and target in site and unquote(parts.fragment) not in site[target].anchors


def test_every_link_leads_somewhere(site: dict[Path, Page]) -> None:
    # The page for what is not found is shown at any depth, so its links begin at the root.
    checked = [(path, link) for path, page in site.items() if path.name != "404.html" for link in page.links]
    assert len(checked) > 500
    assert [f"{path.name}: {link}" for path, link in checked if broken(site, path, link)] == []


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, Page]) -> None:
    loaded = [(path, link) for path, page in site.items() if path.name != "404.html" for link in page.loaded]
    assert loaded
    assert [f"{path.name}: {link}" for path, link in loaded if urlsplit(link).netloc] == []
    assert [f"{path.name}: {link}" for path, link in loaded if broken(site, path, link)] == []


def test_every_public_name_has_its_place_in_the_api(site: dict[Path, Page]) -> None:
    import clarifai_annotations
    from clarifai_annotations import emulator

    names = {f"clarifai_annotations.{name}" for name in clarifai_annotations.__all__ if name != "__version__"}
    names |= {f"clarifai_annotations.emulator.{name}" for name in emulator.__all__}
    spark = ("delete_annotations", "delete_input_annotations", "SparkDeleteReport", "SparkDeletionError")
    names |= {f"clarifai_annotations.spark.{name}" for name in spark}
    anchors = set().union(*(page.anchors for page in site.values()))
    assert names - anchors == set()


def test_a_class_shows_what_it_is_made_with(site: dict[Path, Page]) -> None:
    [client] = [path for path in site if path.name == "client.html"]
    signature, *_ = client.read_text(encoding="utf-8").partition("A client of one Clarifai app")
    assert "requests_per_second" in signature
