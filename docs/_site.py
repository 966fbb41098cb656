"""What the site takes from elsewhere in the checkout: pages that stand in its root too, so that each is written once."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

TAKEN = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benches/README.md": "figures.md",
    "benches/figures.json": "figures.json",
    "benches/figures.png": "figures.png",
}
"""Where each stands in the checkout, and on the site."""

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from elsewhere; where one links to another, by its place on the site."""
    for source, target in TAKEN.items():
        if target.endswith(".md"):
            files.append(File.generated(config, target, content=taken(source)))
        else:
            files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def taken(source: str) -> str:
    """Give a page of the checkout as it stands on the site."""
    text = (ROOT / source).read_text(encoding="utf-8")
    return LINK.sub(lambda link: moved(link[1], source), text)


def moved(link: str, source: str) -> str:
    """Give what a link of a file of the checkout is on the site."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return TAKEN.get(path, path.removeprefix("docs/"))
