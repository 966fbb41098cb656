"""The mistakes of the first minutes: what is said, in Python and on the command line, and that the page has it.

A message says what is wrong, where the wrong value came from, and what to do. It is compared as a whole; "…" stands for
what differs from run to run, and for what a message itself leaves open.
"""

from __future__ import annotations

import datetime
import http.server
import logging
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import trustme

import clarifai_annotations
from clarifai_annotations import (
    ClarifaiError,
    Client,
    IdTypeError,
    TransportError,
    delete_annotation,
    delete_annotations,
    delete_input_annotations,
    plan_deletion,
)
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY
from documented import ROOT
from official_service import certificate, official_service
from test_cli import invoke, write
from test_errors import closed_port

pytestmark = pytest.mark.usefixtures("folder")

PAGE = ROOT / "docs/first-minutes.md"

LOOKING = ["Apps_Get", "Inputs_Get", "Annotations_Get", "Concepts_Get", "Models_Get"]
DELETING = [
    "Apps_Get", "Inputs_Get", "Annotations_Add", "Annotations_Delete", "Annotations_Get", "Workflows_Get", "Models_Get",
]  # fmt: skip
ALLOWED = {
    KEY: [*LOOKING, *DELETING],
    "made-up-key-that-may-only-look": LOOKING,
    "made-up-key-that-may-only-delete": DELETING,
}
PAIRS = [(f"photo-{photo}", f"box-{box}") for photo in (1, 2) for box in (7, 8)]
AUTHORITY = trustme.CA()

KEYS_ARE_MADE = "keys are made at https://clarifai.com/me/settings/secrets"
SCOPES = (
    "the scopes Annotations_Add, Annotations_Delete, Annotations_Get, Apps_Get, Concepts_Get, Inputs_Get, Models_Get, "
    "Workflows_Get at "
    "https://clarifai.com/me/settings/secrets; a collaborator needs them in the app too"
)
NO_SUCH_KEY = (
    "CONN_KEY_INVALID (11008): Invalid API key or Invalid API key/application pair: there is no such key […]."
)
SCHEME = "has no scheme: write https://…, or http://… for a service without TLS. Clarifai's own is https://api.clarifai.com"
TLS_OR_PAGE = "(if the service speaks TLS, write https:// in CLARIFAI_API_BASE; if a web page is there, CLARIFAI_API_BASE is wrong)"


@dataclass(frozen=True)
class Faces:
    """How a text is shown by a call for one, by a call for many, and by the command line, and what that exits with."""

    one: str
    many: str
    command: str | None
    code: int = 1


REFUSED = Faces("{}", "{}", "Error: {}", 2)
"""Nothing was sent."""

STOPPED = Faces(
    'annotation "box-7" of input "photo-1" was not deleted: {}',
    "2 of 2 IDs were not deleted (…): {}. See .report",
    "Stopped: {}",
)
"""The first request ended the call."""

NO_APP = Faces(
    'whether annotation "box-7" of input "photo-1" was deleted is unknown: {}', STOPPED.many, STOPPED.command
)
"""The app is not there, and so it cannot be looked up what is in it."""

UNANSWERED = Faces(
    'whether annotation "box-7" of input "photo-1" was deleted is unknown: {}. Call again with missing_ok=True to make sure',
    '2 of 2 IDs were not deleted (2 unknown). First: position 0, annotation "box-7" of input "photo-1" is unknown: {}. '
    "See .report.failures",
    None,
)
"""A connection broke."""

RETRIED = Faces(STOPPED.one, STOPPED.many, None)
"""Not reached. It may pass: the command line says so at once, and tries for half a minute."""


@dataclass(frozen=True)
class Mistake:
    """What is wrong with the settings, each ``None`` where it is not set, and what is said."""

    settings: dict[str, str | None]
    says: str
    faces: Faces = REFUSED


MISTAKES: dict[str, Mistake] = {
    # The key.
    "no key": Mistake(
        {"PAT": None},
        "no key is set: set CLARIFAI_PAT, pass pat=…, or run `clarifai login`. Personal access tokens are made at "
        "https://clarifai.com/me/settings/secrets",
    ),
    "a key that is none": Mistake(
        {"PAT": "made-up-key-of-nobody"},
        f"{NO_SUCH_KEY} Check the key in CLARIFAI_PAT: {KEYS_ARE_MADE}",
        STOPPED,
    ),
    "a session token that is none": Mistake(
        {"PAT": None, "SESSION_TOKEN": "made-up-token-of-nobody"},
        "CONN_TOKEN_INVALID (11001): Invalid session token: there is no such token […]. Check the session token in "
        "CLARIFAI_SESSION_TOKEN: it may have expired",
        STOPPED,
    ),
    "both kinds of key": Mistake(
        {"SESSION_TOKEN": "made-up-token"},
        "both a personal access token and a session token are set, in CLARIFAI_PAT and in CLARIFAI_SESSION_TOKEN: "
        "keep one of them",
    ),
    "a key that may not delete": Mistake(
        {"PAT": "made-up-key-that-may-only-look"},
        "CONN_INSUFFICIENT_SCOPES (11007): API key has insufficient permissions: … needs the scopes Annotations_Add, "
        f"Annotations_Delete, Workflows_Get […]. Give the key in CLARIFAI_PAT {SCOPES}",
        STOPPED,
    ),
    "a key pasted with quotes": Mistake(
        {"PAT": f'"{KEY}"'},
        "the personal access token from CLARIFAI_PAT is in quotes: give the token without them",
    ),
    "a key pasted with a line break": Mistake(
        {"PAT": f"{KEY}\n"},
        "the personal access token from CLARIFAI_PAT begins or ends with white space (a line break?): give the token "
        "alone",
    ),
    "a key pasted with its header": Mistake(
        {"PAT": f"Key {KEY}"},
        'the personal access token from CLARIFAI_PAT begins with "Key ": give the token alone',
    ),
    "a key pasted with dots for its middle": Mistake(
        {"PAT": f"{KEY[:4]}…{KEY[-4:]}"},
        "the personal access token from CLARIFAI_PAT holds white space or characters that no token has: copy it again",
    ),
    # User and app.
    "no user": Mistake(
        {"USER_ID": None},
        "user_id is not set: set CLARIFAI_USER_ID, pass user_id=… (--user-id), or run `clarifai login`. It is the "
        "first part of an app's address, https://clarifai.com/USER_ID/APP_ID",
    ),
    "no app": Mistake(
        {"APP_ID": None},
        "app_id is not set: set CLARIFAI_APP_ID, or pass app_id=… (--app-id). It is the last part of the app's "
        "address, https://clarifai.com/USER_ID/APP_ID",
    ),
    "a blank app": Mistake(
        {"APP_ID": " "}, "app_id from CLARIFAI_APP_ID is empty: give the ID, or leave it out"
    ),
    "the key for the user": Mistake(
        {"USER_ID": KEY}, "user_id from CLARIFAI_USER_ID is the same as the key: give the ID"
    ),
    "an app that is not there": Mistake(
        {"APP_ID": "cat"},
        'CONN_DOES_NOT_EXIST (11101): Resource does not exist: there is no app "cat" of user "me" […]. Check user_id "me" '
        'from CLARIFAI_USER_ID and app_id "cat" from CLARIFAI_APP_ID',
        NO_APP,
    ),
    # The address.
    "no scheme": Mistake(
        {"API_BASE": "localhost:8080"}, f'base_url "localhost:8080" from CLARIFAI_API_BASE {SCHEME}'
    ),
    "a scheme of gRPC's": Mistake(
        {"API_BASE": "grpc://api.clarifai.com"},
        'base_url "grpc://api.clarifai.com" from CLARIFAI_API_BASE has a scheme that is neither http nor https: write '
        "https://…",
    ),
    "http for Clarifai": Mistake(
        {"API_BASE": "http://api.clarifai.com"},
        'base_url "http://api.clarifai.com" from CLARIFAI_API_BASE would send the key in clear: write https://…',
    ),
    "a path in the address": Mistake(
        {"API_BASE": "https://api.clarifai.com/v2"},
        'base_url "https://api.clarifai.com/v2" from CLARIFAI_API_BASE has a path: give only scheme, host and port',
    ),
    "a key in the address": Mistake(
        {"API_BASE": f"https://me:{KEY}@api.clarifai.com"},
        "base_url from CLARIFAI_API_BASE holds a user name: credentials go into pat or session_token",
    ),
    "a key in the address, and no scheme": Mistake(
        {"API_BASE": f"me:{KEY}@api.clarifai.com"},
        "base_url from CLARIFAI_API_BASE holds a user name: credentials go into pat or session_token",
    ),
    "a key behind the address": Mistake(
        {"API_BASE": f"https://api.clarifai.com/?key={KEY}"},
        "base_url from CLARIFAI_API_BASE has a query: give only scheme, host and port",
    ),
    "the key for the address": Mistake({"API_BASE": KEY}, f"base_url from CLARIFAI_API_BASE {SCHEME}"),
    "no host": Mistake(
        {"API_BASE": "https://"},
        'base_url "https://" from CLARIFAI_API_BASE is not a URL: write https://host or https://host:port',
    ),
    "the address of an emulator that is gone": Mistake(
        {"API_BASE": "{nobody}"},
        "http://127.0.0.1:… could not be reached: Connection refused (…) (nothing listens there: start the service, or "
        "unset CLARIFAI_API_BASE to reach Clarifai). Nothing was sent",
        RETRIED,
    ),
    "a host that nobody knows": Mistake(
        # A label of more than 63 letters cannot be asked for, so no name server is.
        {"API_BASE": f"http://{'x' * 64}.test"},
        "http://… could not be reached: failed to lookup address information: … (is the host in CLARIFAI_API_BASE "
        "right, and is this machine online? Behind a proxy, set HTTPS_PROXY). Nothing was sent",
        RETRIED,
    ),
    "https for a service without TLS": Mistake(
        {"API_BASE": "https://{account}"},
        "https://127.0.0.1:… could not be reached: received corrupt message of type InvalidContentType (that port does "
        "not speak TLS: if it is meant so, write http:// in CLARIFAI_API_BASE). Nothing was sent",
        STOPPED,
    ),
    "http for a service with TLS": Mistake(
        {"API_BASE": "http://{tls}"}, f"http://127.0.0.1:… gave no answer: … {TLS_OR_PAGE}", UNANSWERED
    ),
    "the address of a web page": Mistake(
        {"API_BASE": "https://{page_tls}", "ROOT_CERTIFICATES_PATH": "{authority}"},
        "https://localhost:… could not be reached: HTTP/2 was not negotiated (that is a web server, or a proxy that "
        "speaks no gRPC: check CLARIFAI_API_BASE). Nothing was sent",
        STOPPED,
    ),
    "the address of a web page without TLS": Mistake(
        {"API_BASE": "http://{page}"}, f"http://127.0.0.1:… gave no answer: … {TLS_OR_PAGE}", UNANSWERED
    ),
    # Certificates, and the clock.
    "a certificate of an authority that is not trusted": Mistake(
        {"API_BASE": "https://{tls}"},
        "https://127.0.0.1:… could not be reached: invalid peer certificate: UnknownIssuer (if its authority is to be "
        "trusted, give the PEM file of that authority as root_certificates_path or CLARIFAI_ROOT_CERTIFICATES_PATH). "
        "Nothing was sent",
        STOPPED,
    ),
    "an emulator's authority left in the environment": Mistake(
        {"API_BASE": "https://{tls}", "ROOT_CERTIFICATES_PATH": "{authority}"},
        "https://127.0.0.1:… could not be reached: invalid peer certificate: … (only the authorities in … from "
        "CLARIFAI_ROOT_CERTIFICATES_PATH are trusted: to trust the system's, leave it out). Nothing was sent",
        STOPPED,
    ),
    "authorities in a file that is not there": Mistake(
        {"ROOT_CERTIFICATES_PATH": "/no/such/file.pem", "API_BASE": "https://{tls}"},
        "root_certificates_path /no/such/file.pem from CLARIFAI_ROOT_CERTIFICATES_PATH cannot be read: …",
    ),
    "a clock that is wrong": Mistake(
        {"API_BASE": "{expired}", "ROOT_CERTIFICATES_PATH": "{authority}"},
        "https://localhost:… could not be reached: invalid peer certificate: certificate expired: … (is the clock of "
        "this machine right? Else the service's certificate must be renewed). Nothing was sent",
        STOPPED,
    ),
    # Proxies.
    "a proxy that refuses": Mistake(
        {"API_BASE": "https://{tls}", "HTTPS_PROXY": "{refusing_proxy}"},
        "https://127.0.0.1:… could not be reached through the proxy http://127.0.0.1:…: tunnel error: unsuccessful (the "
        "proxy is from HTTPS_PROXY; hosts in NO_PROXY are reached without it). Nothing was sent",
        RETRIED,
    ),
    "a proxy that is not there": Mistake(
        {"API_BASE": "https://{tls}", "HTTPS_PROXY": "{nobody}"},
        "https://127.0.0.1:… could not be reached through the proxy http://127.0.0.1:…: Connection refused (…) (the "
        "proxy is from HTTPS_PROXY; hosts in NO_PROXY are reached without it). Nothing was sent",
        RETRIED,
    ),
    "a proxy that wants a password": Mistake(
        {"API_BASE": "https://{tls}", "HTTPS_PROXY": "{asking_proxy}"},
        "https://127.0.0.1:… could not be reached through the proxy http://127.0.0.1:…: tunnel error: proxy "
        "authorization required (the proxy wants a user name and a password: http://user:password@host:port in "
        "HTTPS_PROXY). Nothing was sent",
        STOPPED,
    ),
    "a proxy of another kind": Mistake(
        {"API_BASE": "https://{tls}", "ALL_PROXY": "socks5://127.0.0.1:1080"},
        "ALL_PROXY is not the address of an HTTP proxy: write http://host:port, or put the host of CLARIFAI_API_BASE "
        "into NO_PROXY to reach it without one",
    ),
}


class Peers(ExitStack):
    """Who may be at the other end, by the names that settings have for them; started when one is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._started = folder, dict[str, str]()
        self.account: Emulator | None = None

    def __getitem__(self, name: str) -> str:
        """Where the peer is: as host and port, or as the whole of a setting."""
        if name not in self._started:
            self._started[name] = getattr(self, f"_{name}")()
        return self._started[name]

    def _account(self) -> str:
        self.account = self.enter_context(Emulator(pats=ALLOWED, apps=[("me", "cats")]))
        for pair in PAIRS:
            self.account.add_annotation(*pair, user_id="me", app_id="cats")
        return self.account.base_url.removeprefix("http://")

    def _tls(self) -> str:
        return self.enter_context(Emulator(tls=True)).base_url.removeprefix("https://")

    def _authority(self) -> str:
        path = self._folder / "authority.pem"
        AUTHORITY.cert_pem.write_to_path(str(path))
        return str(path)

    def _expired(self) -> str:
        long_ago: dict[str, Any] = {
            "not_before": datetime.datetime(2020, 1, 1),
            "not_after": datetime.datetime(2021, 1, 1),
        }
        return self.enter_context(official_service(certificate(AUTHORITY, **long_ago))).base_url

    def _nobody(self) -> str:
        return f"http://127.0.0.1:{self.enter_context(closed_port())}"

    def _page(self) -> str:
        return f"127.0.0.1:{self.enter_context(web_server())}"

    def _page_tls(self) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("localhost").configure_cert(context)
        return f"localhost:{self.enter_context(web_server(tls=context))}"

    def _refusing_proxy(self) -> str:
        return f"http://127.0.0.1:{self.enter_context(web_server(to_connect=403))}"

    def _asking_proxy(self) -> str:
        return f"http://127.0.0.1:{self.enter_context(web_server(to_connect=407))}"


@contextmanager
def web_server(tls: ssl.SSLContext | None = None, to_connect: int = 405) -> Iterator[int]:
    """A web server that speaks HTTP/1 alone. Gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def do_CONNECT(self) -> None:
            self.send_response(to_connect)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Whoever takes it for something else hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with Peers(tmp_path) as peers:
        yield peers


@pytest.fixture
def account(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An account, with all settings in the environment as they should be."""
    set_up({}, peers, monkeypatch)
    assert peers.account is not None
    return peers.account


def set_up(changes: dict[str, str | None], peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the settings of an account, with these changes, into the environment."""
    right = {"USER_ID": "me", "APP_ID": "cats", "PAT": KEY, "API_BASE": "http://{account}"}
    for name, value in {**right, **changes}.items():
        variable = name if name.endswith("_PROXY") else f"CLARIFAI_{name}"
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, re.sub(r"{(\w+)}", lambda found: peers[found[1]], value))


def fits(text: str, message: str) -> bool:
    """Whether a text is that message, as a whole."""
    return re.fullmatch(".+?".join(map(re.escape, message.split("…"))), text, re.DOTALL) is not None


def assert_said(text: str, message: str) -> None:
    assert fits(text, message), f"\n  said: {text}\n  not:  {message}"
    # So each key begins, also one that nobody knows.
    assert "made-up" not in text


IN_SETTINGS = pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)


@IN_SETTINGS
def test_a_call_for_one_says_it(mistake: Mistake, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(mistake.settings, peers, monkeypatch)
    with pytest.raises(ClarifaiError) as raised, Client(max_attempts=1) as client:
        client.delete_annotation("photo-1", "box-7")
    assert_said(str(raised.value), mistake.faces.one.format(mistake.says))


@IN_SETTINGS
def test_a_call_for_many_says_it(mistake: Mistake, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(mistake.settings, peers, monkeypatch)
    with pytest.raises(ClarifaiError) as raised, Client(max_attempts=1) as client:
        client.delete_annotations(["photo-1", "photo-2"], ["box-7", "box-8"])
    assert_said(str(raised.value), mistake.faces.many.format(mistake.says))


@pytest.mark.parametrize("command", ["delete-one", "delete"])
@pytest.mark.parametrize(
    "mistake",
    [pytest.param(it, id=name) for name, it in MISTAKES.items() if it.faces.command is not None],
)
def test_the_command_line_says_it(
    mistake: Mistake, command: str, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(mistake.settings, peers, monkeypatch)
    names = {
        "delete-one": ["photo-1", "box-7"],
        "delete": [str(write("doubtful.csv", "input_id,annotation_id", "photo-1,box-7", "photo-2,box-8"))],
    }
    done = invoke(command, *names[command], "--yes")
    assert mistake.faces.command is not None
    assert_said(done.stderr.splitlines()[-1], mistake.faces.command.format(mistake.says))
    assert done.exit_code == mistake.faces.code
    assert KEY not in done.output


@pytest.mark.parametrize(
    "mistake",
    [pytest.param(it, id=name) for name, it in MISTAKES.items() if it.faces.command is None],
)
def test_the_command_line_says_at_once_what_it_tries_again(
    mistake: Mistake, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(mistake.settings, peers, monkeypatch)
    command = [sys.executable, "-m", "clarifai_annotations", "delete-one", "photo-1", "box-7", "--yes"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline().rstrip("\n")
        process.kill()
    assert_said(first, f"{mistake.says}. Trying again, 9 more times at most")


def test_that_the_service_does_not_answer_is_told_once(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_up({"API_BASE": "{nobody}"}, peers, monkeypatch)
    with Client(max_attempts=3) as client:
        for _ in range(2):
            with pytest.raises(TransportError):
                client.delete_annotation("photo-1", "box-7")
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.rpartition(". ")[2] for text in told] == ["Trying again, 2 more times at most"]


def test_a_service_that_answered_once_is_tried_again_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Emulator() as emulator, emulator.client() as client:
        client.delete_annotation("photo-1", "box-7", missing_ok=True)
        emulator.inject(Fault.dropped_before())
        client.delete_annotation("photo-1", "box-7", missing_ok=True)
        assert [it.fault for it in emulator.requests].count("dropped_before") == 1
    assert [record for record in caplog.records if record.levelno == logging.WARNING] == []


@pytest.mark.usefixtures("account")
def test_a_plan_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", "made-up-key-of-nobody")
    with pytest.raises(ClarifaiError) as raised:
        plan_deletion(["photo-1"], ["box-7"])
    assert_said(str(raised.value), MISTAKES["a key that is none"].says)


# The place of a wrong value.

CONTEXT = """
current_context: work
contexts:
  work:
    CLARIFAI_PAT: {pat}
    CLARIFAI_USER_ID: {user_id}
    CLARIFAI_APP_ID: {app_id}
    CLARIFAI_API_BASE: {base_url}
"""
IN_CONTEXT = 'in context "work" of …/.config/clarifai/config'

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "key": (
        {"pat": "made-up-key-of-nobody"},
        f"{STOPPED.one.format(NO_SUCH_KEY)} Check the key in CLARIFAI_PAT {IN_CONTEXT}: {KEYS_ARE_MADE}",
    ),
    "quotes": (
        {"pat": f"'\"{KEY}\"'"},
        f"the personal access token from CLARIFAI_PAT {IN_CONTEXT} is in quotes: give the token without them",
    ),
    "app": (
        {"app_id": "cat"},
        f"{NO_APP.one.format('CONN_DOES_NOT_EXIST (11101): Resource does not exist: …')}. Check user_id "
        f'"me" from CLARIFAI_USER_ID {IN_CONTEXT} and app_id "cat" from CLARIFAI_APP_ID {IN_CONTEXT}',
    ),
    "base": (
        {"base_url": "localhost:8080"},
        f'base_url "localhost:8080" from CLARIFAI_API_BASE {IN_CONTEXT} {SCHEME}',
    ),
}


def settings_of(peers: Peers, wrong: dict[str, str]) -> dict[str, Any]:
    return {"pat": KEY, "user_id": "me", "app_id": "cats", "base_url": f"http://{peers['account']}", **wrong}


@pytest.mark.parametrize(("wrong", "message"), WRONG.values(), ids=WRONG)
def test_a_value_from_the_file_of_clarifai_login_is_named_with_its_context(
    wrong: dict[str, str], message: str, peers: Peers, home: Path
) -> None:
    path = home / ".config/clarifai/config"
    path.parent.mkdir(parents=True)
    path.write_text(CONTEXT.format(**settings_of(peers, wrong)))
    with pytest.raises(ClarifaiError) as raised:
        delete_annotation("photo-1", "box-7")
    assert_said(str(raised.value), message)


@pytest.mark.parametrize(("wrong", "message"), WRONG.values(), ids=WRONG)
def test_a_value_that_was_given_is_named_by_its_argument(
    wrong: dict[str, str], message: str, peers: Peers
) -> None:
    wrong = {name: value.strip("'") for name, value in wrong.items()}
    message = message.replace(f"CLARIFAI_PAT {IN_CONTEXT}:", "pat:")
    message = re.sub(f" from CLARIFAI_[A-Z_]+ {re.escape(IN_CONTEXT)}", "", message)
    with pytest.raises(ClarifaiError) as raised, Client(**settings_of(peers, wrong)) as client:
        client.delete_annotation("photo-1", "box-7")
    assert_said(str(raised.value), message)


@pytest.mark.usefixtures("account")
def test_another_app_of_a_client_is_named_by_its_argument() -> None:
    with pytest.raises(ClarifaiError) as raised, Client() as client:
        client.for_app("cat").delete_annotation("photo-1", "box-7")
    assert str(raised.value).endswith('. Check user_id "me" from CLARIFAI_USER_ID and app_id "cat"')


# No network.

OFFLINE = {
    "no name server": (
        "https://api.clarifai.com",
        "https://api.clarifai.com could not be reached: failed to lookup address information: … (is this machine "
        "online? Behind a proxy, set HTTPS_PROXY). Nothing was sent",
    ),
    "no way to the host": (
        "http://10.1.2.3",
        "http://10.1.2.3 could not be reached: Network is unreachable (…) (is this machine online? Behind a proxy, set "
        "HTTPS_PROXY). Nothing was sent",
    ),
}


@pytest.mark.parametrize(("base_url", "message"), OFFLINE.values(), ids=OFFLINE)
def test_a_machine_that_is_not_online_says_so(base_url: str, message: str, network_namespace: str) -> None:
    other = f", base_url={base_url!r}" if base_url != "https://api.clarifai.com" else ""
    program = f"""
from clarifai_annotations import Client, TransportError
try:
    Client(user_id="me", app_id="cats", pat="{KEY}", max_attempts=1{other}).delete_annotation("photo-1", "box-7")
except TransportError as error:
    print(error)
"""
    command = ["ip", "netns", "exec", network_namespace, sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert_said(done.stdout.rstrip("\n"), STOPPED.one.format(message))


# The calls.

TABLE = pd.DataFrame({"input_id": ["photo-1"], "annotation_id": ["box-7"]})

CALLS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "input and annotation swapped": (
        lambda: delete_annotation("box-7", "photo-1", look_first=True),
        clarifai_annotations.NotFoundError,
        'annotation "photo-1" of input "box-7" is not there: a list does not show it. Check both IDs, the input\'s comes '
        "first; if an absent one is as good as a deleted one, pass missing_ok=True",
    ),
    "input and annotation swapped for many": (
        lambda: delete_annotations(["box-7", "box-8"], ["photo-1", "photo-2"], look_first=True),
        clarifai_annotations.DeletionError,
        '2 of 2 IDs were not deleted (2 absent). First: position 0, annotation "photo-1" of input "box-7" is absent: '
        "a list does not show it. See .report.failures",
    ),
    "a whole table": (
        lambda: delete_annotations(TABLE, TABLE),
        IdTypeError,
        'input_ids is a table: pass one column of it, for example table["input_id"]. Nothing was sent',
    ),
    "a table for the annotations": (
        lambda: delete_annotations(TABLE["input_id"], TABLE),
        IdTypeError,
        'annotation_ids is a table: pass one column of it, for example table["annotation_id"]. Nothing was sent',
    ),
    "a table and no more": (
        lambda: delete_annotations(TABLE),  # type: ignore[call-arg]
        TypeError,
        "delete_annotations() missing 1 required positional argument: 'annotation_ids'",
    ),
    "a table for whole inputs": (
        lambda: delete_input_annotations(TABLE),
        IdTypeError,
        'input_ids is a table: pass one column of it, for example table["input_id"]. Nothing was sent',
    ),
    "a str for many": (
        lambda: delete_annotations("photo-1", "box-7"),
        IdTypeError,
        "input_ids is a single str: it would be read letter by letter; put it in a list. Nothing was sent",
    ),
    "lists for one": (
        lambda: delete_annotation(["photo-1"], ["box-7"]),  # type: ignore[arg-type]
        IdTypeError,
        "input_id is of type list, not a string: convert IDs to str first. Nothing was sent",
    ),
    "a forgotten await, and the result is used": (
        lambda: use_what_was_not_awaited(),
        AttributeError,
        "'coroutine' object has no attribute 'deleted'",
    ),
}


def use_what_was_not_awaited() -> object:
    report: Any = clarifai_annotations.delete_annotations_async([], [])
    try:
        return report.deleted
    finally:
        report.close()


@pytest.mark.parametrize(("call", "error", "message"), CALLS.values(), ids=CALLS)
def test_a_call_that_is_not_meant_so_says_what_to_write(
    call: Callable[[], object], error: type[Exception], message: str, account: Emulator
) -> None:
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error
    assert_said(str(raised.value), message)
    assert [it.input_level for it in account.annotations()].count(False) == len(PAIRS)


NEVER_AWAITED = "RuntimeWarning: coroutine 'delete_annotation_async' was never awaited"


def test_a_forgotten_await_deletes_nothing_and_python_tells(account: Emulator) -> None:
    program = """
import asyncio
from clarifai_annotations import delete_annotation_async

async def main():
    delete_annotation_async("photo-1", "box-7")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert NEVER_AWAITED in done.stderr
    assert account.requests == []


@pytest.mark.usefixtures("account")
def test_a_program_that_awaits_everything_ends_in_silence() -> None:
    program = """
import asyncio
from clarifai_annotations import delete_annotation_async

async def main():
    await asyncio.gather(*(delete_annotation_async("photo-1", box, missing_ok=True) for box in ("box-7", "box-8", "box-9")))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# The command line.

COMMANDS: dict[str, tuple[list[str], str]] = {
    "a file that is not there": (
        ["delete", "no-such.csv", "--yes"],
        "no-such.csv cannot be read: No such file or directory",
    ),
    "a file with other columns": (
        ["delete", "other.csv", "--yes"],
        "other.csv, line 1: there is no column 'input_id'; the header names 'input', 'annotation'. See --input-column and "
        "--annotation-column. Nothing was sent",
    ),
    "nobody to ask": (
        ["delete-one", "photo-1", "box-7"],
        "there is no terminal to ask at: say --yes to delete. Nothing was sent",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_cannot_be_carried_out_says_why(
    arguments: list[str], message: str, account: Emulator
) -> None:
    write("other.csv", "input,annotation", "photo-1,box-7")
    done = invoke(*arguments)
    assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")
    assert account.requests == []


@pytest.mark.usefixtures("account")
def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", f'"{KEY}"')
    command = [sys.executable, "-m", "clarifai_annotations", "delete-one", "photo-1", "box-7", "--yes"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    says = MISTAKES["a key pasted with quotes"].says
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"Error: {says}\n")


# What is not installed.

EXTRAS: dict[str, tuple[str, str, str]] = {
    "the command line without its extra": (
        "typer",
        "from clarifai_annotations.__main__ import main; main()",
        "typer is not installed: pip install 'clarifai-annotations[cli]'",
    ),
    "Spark without its extra": (
        "pyspark",
        "import clarifai_annotations.spark",
        "clarifai_annotations.spark needs PySpark (…): pip install 'clarifai-annotations[spark]'",
    ),
    "a bar without tqdm": (
        "tqdm.auto",
        "from clarifai_annotations import *; delete_annotations(['photo-1'], ['box-7'], progress=True)",
        "progress=True shows a bar by tqdm, which is not installed: pip install 'clarifai-annotations[progress]', or pass "
        "a callable",
    ),
}


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("module", "program", "message"), EXTRAS.values(), ids=EXTRAS)
def test_what_is_not_installed_is_named_with_its_command(module: str, program: str, message: str) -> None:
    command = [sys.executable, "-c", f"import sys; sys.modules[{module!r}] = None\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [
        line.partition("Warning: ")[2] or line.removeprefix("ImportError: ")
        for line in done.stderr.splitlines()
    ]
    assert any(fits(line, message) for line in said), done.stderr


# The page.


def messages_of_the_page() -> list[str]:
    """What it shows as messages: each block of text that is not the output of an example, its lines joined."""
    fences = re.findall(
        r"^```(\w+).*?\n(.*?)^```\n(\n(?=```))?", PAGE.read_text(encoding="utf-8"), re.M | re.S
    )
    after_an_example = [False, *(kind == "python" and bool(adjacent) for kind, _, adjacent in fences)]
    return [
        " ".join(body.split())
        for (kind, body, _), is_output in zip(fences, after_an_example, strict=False)
        if kind == "text" and not is_output
    ]


PROVOKED = [
    *(mistake.says for mistake in MISTAKES.values()),
    *(message for _, message in OFFLINE.values()),
    *(message for _, _, message in CALLS.values()),
    *(message for _, message in COMMANDS.values()),
    *(message for _, _, message in EXTRAS.values()),
    WRONG["quotes"][1],
    NEVER_AWAITED,
]


def test_every_message_stands_on_the_page() -> None:
    assert set(PROVOKED) - set(messages_of_the_page()) == set()


def test_the_page_shows_no_message_that_is_not_provoked_here() -> None:
    assert set(messages_of_the_page()) - set(PROVOKED) == set()
