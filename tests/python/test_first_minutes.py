"""What a newcomer runs into: each mistake of the page "When it does not work at once" is made, and says what stands there."""

from __future__ import annotations

import http.server
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest

import checked_maturin
from clarifai_annotations import Client, delete_annotation, delete_annotation_async, delete_annotations
from clarifai_annotations.__main__ import main
from clarifai_annotations.emulator import Emulator
from documented import ROOT, is_shown

PAGE = (ROOT / "docs/first-minutes.md").read_text(encoding="utf-8")
MESSAGES = {
    name: re.sub("^> ?", "", quote, flags=re.MULTILINE)
    for name, quote in re.findall(r"^### (.+)\n\n((?:>.*\n)+)", PAGE, re.MULTILINE)
}
KEY = "made-up-key"

Set = Callable[..., None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Set:
    """Set the environment, which is otherwise complete; ``None`` takes a variable away."""

    def put(**variables: str | None) -> None:
        for name, value in variables.items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)

    put(
        HOME=str(tmp_path),
        CLARIFAI_USER_ID="me",
        CLARIFAI_APP_ID="cats",
        CLARIFAI_PAT=KEY,
        CLARIFAI_API_BASE=None,
        HTTPS_PROXY=None,
        NO_PROXY=None,
    )
    return put


def delete() -> None:
    """What the newcomer calls, with whatever the environment says."""
    with Client(max_attempts=2) as client:
        client.delete_annotation("photo-1", "box-7")


@contextmanager
def emulated(put: Set, **options: Any) -> Iterator[Emulator]:
    with Emulator(**options) as emulator:
        put(CLARIFAI_API_BASE=emulator.base_url)
        emulator.add_annotation("photo-1", "box-7", user_id="me", app_id="cats")
        yield emulator


def port_where_nobody_listens() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def web_site() -> Iterator[int]:
    """A server that answers everything with a page, as a proxy or a wrong host does."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def no_rust(put: Set) -> None:
    put(PATH="/nowhere", CC=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # where pip calls it
        checked_maturin.get_requires_for_build_wheel()


def a_key_that_is_not_known(put: Set) -> None:
    with emulated(put, pats=["another"]):
        delete()


def a_key_without_the_scope(put: Set) -> None:
    with emulated(put, pats={KEY: ["Annotations_Get"]}):
        delete()


def an_app_that_is_not_there(put: Set) -> None:
    with emulated(put, apps=[("me", "cats")]):
        put(CLARIFAI_APP_ID="dogs")
        delete()


def a_web_page(put: Set) -> None:
    with web_site() as port:
        put(CLARIFAI_API_BASE=f"http://127.0.0.1:{port}")
        delete()


def tls_where_there_is_none(put: Set) -> None:
    with emulated(put) as emulator:
        put(CLARIFAI_API_BASE=emulator.base_url.replace("http:", "https:"))
        delete()


def no_tls_where_there_is_some(put: Set) -> None:
    with emulated(put, tls=True) as emulator:
        put(CLARIFAI_API_BASE=emulator.base_url.replace("https:", "http:"))
        delete()


def a_certificate_of_nobody(put: Set) -> None:
    with emulated(put, tls=True):
        delete()


def swapped_ids(put: Set) -> None:
    with emulated(put):
        delete_annotation("box-7", "photo-1", client=Client())


def a_bar_without_tqdm(put: Set) -> None:
    with emulated(put), without("tqdm"), Client() as client:
        client.delete_annotations(["photo-1"], ["box-7"], progress=True)


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """As where a package is not installed."""
    held = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages}
    ours = [name for name in sys.modules if re.match(r"clarifai_annotations\.(cli|spark)", name)]
    held |= {name: sys.modules.pop(name) for name in ours}
    with pytest.MonkeyPatch.context() as patch:
        for package in packages:
            patch.setitem(sys.modules, package, None)
        yield
    sys.modules.update(held)


def the_command_without_its_packages(_: Set) -> None:
    with without("typer"):
        main()


def spark_without_pyspark(_: Set) -> None:
    with without("pyspark"):
        import clarifai_annotations.spark  # noqa: F401


def with_variable(**variables: str | None) -> Callable[[Set], None]:
    def mistake(put: Set) -> None:
        put(**variables)
        delete()

    return mistake


MISTAKES: dict[str, Callable[[Set], Any]] = {
    "No wheel, and no Rust": no_rust,
    "No key is set": with_variable(CLARIFAI_PAT=None),
    "A key in quotation marks": with_variable(CLARIFAI_PAT=f'"{KEY}"'),
    "A key with a line break": with_variable(CLARIFAI_PAT=f"{KEY}\n"),
    "A key that is a whole header": with_variable(CLARIFAI_PAT=f"Key {KEY}"),
    "A key that the service does not know": a_key_that_is_not_known,
    "A key without the scope": a_key_without_the_scope,
    "No user is set": with_variable(CLARIFAI_USER_ID=None),
    "No app is set": with_variable(CLARIFAI_APP_ID=None),
    "An app that is not there": an_app_that_is_not_there,
    "A base without a scheme": with_variable(CLARIFAI_API_BASE="localhost:8080"),
    "A base with a path": with_variable(CLARIFAI_API_BASE="https://api.clarifai.com/v2"),
    "Clarifai without TLS": with_variable(CLARIFAI_API_BASE="http://api.clarifai.com"),
    "Nothing listens there": lambda put: with_variable(
        CLARIFAI_API_BASE=f"http://127.0.0.1:{port_where_nobody_listens()}"
    )(put),
    "A web page answers": a_web_page,
    "TLS where there is none": tls_where_there_is_none,
    "No TLS where there is some": no_tls_where_there_is_some,
    "A certificate that nobody vouches for": a_certificate_of_nobody,
    "The name is not known": with_variable(CLARIFAI_API_BASE="https://api.clarifai.invalid"),
    "A proxy that is not there": lambda put: with_variable(
        HTTPS_PROXY=f"http://127.0.0.1:{port_where_nobody_listens()}"
    )(put),
    "The IDs are swapped": swapped_ids,
    "A whole table": lambda _: delete_annotations(pd.DataFrame({"input_id": ["photo-1"]}), ["box-7"]),
    "One ID where a column belongs": lambda _: delete_annotations("photo-1", ["box-7"]),
    "A column that is too short": lambda _: delete_annotations(["photo-1", "photo-2"], ["box-7"]),
    "Awaited where no event loop runs": lambda _: delete_annotation_async(
        "photo-1", "box-7", client=Client()
    ),
    "The bar": a_bar_without_tqdm,
    "The command line": the_command_without_its_packages,
    "Spark": spark_without_pyspark,
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_says_what_the_page_shows(name: str, put: Set) -> None:
    with pytest.raises((Exception, SystemExit)) as raised:
        MISTAKES[name](put)
    said = str(raised.value) if raised.type is SystemExit else f"{raised.type.__name__}: {raised.value}"
    assert is_shown(MESSAGES.get(name, ""), said.strip()), said
    assert KEY not in said


def test_the_page_shows_no_other_mistakes() -> None:
    assert list(MESSAGES) == list(MISTAKES)
