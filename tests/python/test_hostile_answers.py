"""What becomes of a call whose peer breaks the rules: of HTTP/2, of gRPC, of protobuf, or of the service.

Whatever comes back, the call ends by itself with a documented error, tells nothing that the service did not
confirm, and the client goes on working. A proxy in between is the peer that users really meet.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2
from clarifai_grpc.grpc.api.status import status_pb2
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

import random_cases
from clarifai_annotations import (
    AuthenticationError,
    ClarifaiError,
    Client,
    DeadlineError,
    DeleteReport,
    DeletionError,
    PermissionDeniedError,
    ThrottledError,
    TransportError,
    errors,
)
from conftest import KEY
from hostile_service import (
    GRPC_HEADERS,
    LARGEST_FRAME,
    Answer,
    Connection,
    Greeting,
    Headers,
    HostileService,
    deletion,
    everything_is_there,
    greet,
    hostile_service,
    page,
    unanswered,
)

PATIENCE = 30
"""Seconds after which a call is said to hang. All of them have ended long before."""


async def _awaited(call: Callable[[Client], Any], client: Client) -> Any:
    return await call(client)


FORMS: dict[str, Callable[[Client], Any]] = {
    "one": lambda client: client.delete_annotation("photo", "box"),
    "pairs": lambda client: client.delete_annotations(["p", "q"], ["a", "b"]),
    "inputs": lambda client: client.delete_input_annotations(["p", "q"]),
    "one awaited": lambda client: asyncio.run(
        _awaited(lambda client: client.delete_annotation_async("photo", "box"), client)
    ),
    "pairs awaited": lambda client: asyncio.run(
        _awaited(lambda client: client.delete_annotations_async(["p", "q"], ["a", "b"]), client)
    ),
    "inputs awaited": lambda client: asyncio.run(
        _awaited(lambda client: client.delete_input_annotations_async(["p", "q"]), client)
    ),
}
EVERY_FORM = pytest.mark.parametrize("form", FORMS)
ONE_OF_EACH = pytest.mark.parametrize("form", ["one", "pairs awaited", "inputs"])


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """A panic on a thread of the library shows nowhere but on stderr."""
    yield
    assert capfd.readouterr().err == ""


@pytest.fixture
def hostile() -> Iterator[HostileService]:
    with hostile_service() as service:
        yield service


def client_of(service: HostileService, **changes: Any) -> Client:
    """A client that tries once, and whose pace is not what a test waits for."""
    options = {"max_attempts": 1, "request_timeout": 2, "requests_per_second": None, **changes}
    return Client(user_id="me", app_id="cats", pat=KEY, base_url=service.base_url, **options)


def ended(call: Callable[[Client], Any], client: Client) -> Any:
    """What a call returned or raised. It has to end by itself."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call(client))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert results, "the call hangs"
    return results[0]


def failure(form: str, client: Client) -> ClarifaiError:
    """The documented error of a call, nothing of which may count as done: the service has deleted nothing."""
    error = ended(FORMS[form], client)
    assert isinstance(error, ClarifaiError), repr(error)
    assert type(error).__name__ in errors.__all__
    if form.startswith("one"):
        assert 'annotation "box" of input "photo"' in str(error)
        assert "was not deleted: " in str(error) or "was deleted is unknown: " in str(error)
        return error
    report = error.report
    assert isinstance(report, DeleteReport)
    assert (report.requested, report.deleted, report.absent) == (2, 0, 0)
    assert report.failed + report.unknown + report.unsent == 2
    assert all(item.message for item in report.failures)
    return error


def works_again(service: HostileService, client: Client, on_recovery: Greeting | None = None) -> None:
    """The same client finds the same port well again."""
    service.tell(on_recovery=on_recovery)
    before = len(service.requests)
    result = ended(lambda client: client.delete_annotation("photo", "other"), client)
    assert result is None, repr(result)
    assert "DeleteAnnotation" in service.methods[before:]


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """An HTTP/2 frame, right or wrong."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def setting(key: int, value: int) -> bytes:
    return frame(4, 0, 0, struct.pack(">HI", key, value))


def answer_of(headers: Headers, body: bytes = b"", trailers: Headers | None = None) -> Answer:
    """Headers, then a body, then trailers, as far as there are such."""

    def answer(connection: Connection, stream_id: int) -> None:
        ends = [] if body or trailers else ["END_STREAM"]
        connection.headers(stream_id, headers, *ends)
        if body:
            connection.data(stream_id, body, end=trailers is None)
        if trailers is not None:
            connection.headers(stream_id, trailers, "END_STREAM")

    return answer


# ---- not HTTP/2 at all ----------------------------------------------------------------------------------


def no_http2(data: bytes, *, close: bool) -> Greeting:
    """Bytes to whoever connects, and not a word of HTTP/2."""

    def begin(connection: Connection) -> None:
        connection.deaf = True
        connection.send(data)
        if close:
            connection.close()

    return begin


HTTP1 = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>No</html>\r\n"
STRANGERS: dict[str, Greeting] = {
    **{
        f"{size} random bytes, then {'the end' if close else 'silence'}": no_http2(
            random.Random(size).randbytes(size), close=close
        )
        for size in (9, 100, 10_000, 1_000_000)
        for close in (False, True)
    },
    "1 random byte, then the end": no_http2(b"\x5a", close=True),
    "HTTP/1.1": no_http2(HTTP1, close=False),
    "HTTP/1.1, then the end": no_http2(HTTP1, close=True),
    "an immediate end": no_http2(b"", close=True),
}


@ONE_OF_EACH
@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_a_peer_that_does_not_speak_http2_is_a_connection_that_gave_no_answer(
    stranger: Greeting, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_connect=stranger)
    with client_of(hostile) as client:
        error = failure(form, client)
        assert isinstance(error, TransportError if form.startswith("one") else DeletionError)
        # What follows depends on what the client sees first: the bytes, or the end.
        assert f"{hostile.base_url} gave no answer: " in str(error)
        works_again(hostile, client)


@pytest.mark.parametrize("form", ["one", "one awaited"])
def test_a_peer_that_says_nothing_at_all_is_waited_for_as_long_as_a_request_may_take(
    form: str, hostile: HostileService
) -> None:
    hostile.tell(on_connect=no_http2(b"", close=False))
    # A second attempt, for the deaf connection ends when the test has seen enough of it.
    with client_of(hostile, request_timeout=0.5, max_attempts=2) as client:
        error = failure(form, client)
        assert isinstance(error, DeadlineError)
        assert "gave no answer within 0.5 s (request_timeout)" in str(error)
        works_again(hostile, client, Connection.close)


# ---- HTTP/2 that breaks its rules -----------------------------------------------------------------------


def frames(data: bytes | Callable[[Connection, int], bytes]) -> Answer:
    """Answers with these bytes as frames."""

    def answer(connection: Connection, stream_id: int) -> None:
        connection.send(data if isinstance(data, bytes) else data(connection, stream_id))

    return answer


def pushed(connection: Connection, stream_id: int) -> bytes:
    request: Headers = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
    return frame(5, 4, stream_id, (2).to_bytes(4, "big") + connection.encoder.encode(request))


def goaway(code: int, debug: bytes = b"") -> bytes:
    return frame(7, 0, 0, bytes(4) + code.to_bytes(4, "big") + debug)


def many_fields(connection: Connection, stream_id: int) -> bytes:
    """A header list of 10 MiB."""
    fields: Headers = [*GRPC_HEADERS, *((f"x-{n}", "v" * 10_480) for n in range(1000))]
    block = connection.encoder.encode(fields, huffman=False)
    parts = [block[at : at + LARGEST_FRAME] for at in range(0, len(block), LARGEST_FRAME)]
    first, last = frame(1, 0, stream_id, parts[0]), frame(9, 4, stream_id, parts[-1])
    return first + b"".join(frame(9, 0, stream_id, part) for part in parts[1:-1]) + last


def without_end(first: Callable[[Connection, int], bytes], more: Callable[[int], bytes]) -> Answer:
    """Answers on and on, until the client leaves or the test says something else."""

    def answer(connection: Connection, stream_id: int) -> None:
        connection.send(first(connection, stream_id))
        while True:
            connection.send(more(stream_id))

    return answer


def opening(connection: Connection, stream_id: int) -> bytes:
    """Headers that go on in the next frame."""
    return frame(1, 0, stream_id, connection.encoder.encode([(":status", "200")]))


def ready(connection: Connection, stream_id: int) -> bytes:
    """Headers with a body to come."""
    return frame(1, 4, stream_id, connection.encoder.encode(GRPC_HEADERS))


def random_frame(chance: random.Random, size: int) -> bytes:
    kind, flags, stream_id = (chance.randrange(end) for end in (10, 256, 5))
    return frame(kind, flags, stream_id, chance.randbytes(size))


BREACHES: dict[str, Answer] = {
    **{
        f"{size} random bytes as a frame each": frames(
            b"".join(random_frame(random.Random(f"{size} {n}"), size) for n in range(50))
        )
        for size in (1, 8, 500)
    },
    "random bytes": frames(random.Random(7).randbytes(5000)),
    "a frame longer than the client allows": frames(frame(0, 0, 1, b"x" * (LARGEST_FRAME + 1))),
    "too large a window": frames(frame(8, 0, 0, (2**31 - 1).to_bytes(4, "big"))),
    "a window of no growth": frames(frame(8, 0, 0, bytes(4))),
    "frames too small to be legal": frames(setting(5, 1)),
    "frames too large to be legal": frames(setting(5, 1 << 24)),
    "a window too large to be legal": frames(setting(4, 1 << 31)),
    "settings of half an entry": frames(frame(4, 0, 0, b"abc")),
    "a ping of no length": frames(frame(6, 0, 0, b"")),
    "a body for no stream": frames(frame(0, 0, 0, b"x")),
    "headers for a stream to come": frames(frame(1, 5, 101, b"\x88")),
    "a promise": frames(pushed),
    "headers that cannot be unpacked": frames(lambda _connection, stream_id: frame(1, 5, stream_id, b"\xff" * 50)),
    "a header list of 10 MiB": frames(many_fields),
    "no status": answer_of([("content-type", "application/grpc")]),
    "a status that is no number": answer_of([(":status", "abc"), ("content-type", "application/grpc")]),
    "GOAWAY for the request": frames(goaway(0)),
    "GOAWAY for the request, with an error": frames(goaway(11)),
    "GOAWAY with much to say": frames(goaway(2, b"D" * (LARGEST_FRAME - 8))),
    "thousands of frames of nothing": without_end(ready, lambda stream_id: frame(0, 0, stream_id, b"") * 1000),
    "headers without end": without_end(
        opening, lambda stream_id: frame(9, 0, stream_id, b"\0\x01x\x04aaaa") * 100
    ),
    "large headers without end": without_end(
        opening, lambda stream_id: frame(9, 0, stream_id, b"\0\x01x\x7f\xf0\x7e" + b"a" * 16239)
    ),
    "headers of nothing without end": without_end(opening, lambda stream_id: frame(9, 0, stream_id, b"") * 1000),
    "an answer cut off": lambda connection, _stream_id: connection.close(),
}  # fmt: skip


@pytest.mark.parametrize("form", ["pairs awaited", "inputs"])
@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
def test_a_peer_that_breaks_the_rules_of_http2_leaves_unknown_what_was_done(
    breach: Answer, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=breach)
    with client_of(hostile) as client:
        error = failure(form, client)
        assert f"{hostile.base_url} gave no answer: " in str(error)
        assert error.report is None or error.report.unknown == 2
        # The pair was looked up on a connection of its own; for inputs no list could tell.
        assert ("ListAnnotations" in hostile.methods) == (form != "inputs")
        works_again(hostile, client)


RESETS = [*range(14), 99, 2**32 - 1]


@pytest.mark.parametrize("code", RESETS)
def test_a_request_that_is_reset_leaves_unknown_what_was_done_whatever_the_reason(
    code: int, hostile: HostileService
) -> None:
    hostile.tell(
        on_delete=frames(lambda _connection, stream_id: frame(3, 0, stream_id, code.to_bytes(4, "big")))
    )
    with client_of(hostile) as client:
        error = failure("one", client)
        assert isinstance(error, TransportError)
        # Code 7 promises that nothing was done.
        words = (
            "took no further request (REFUSED_STREAM). Nothing was sent"
            if code == 7
            else "stream error received: "
        )
        assert words in str(error)
        works_again(hostile, client)


HARMLESS: dict[str, bytes] = {
    "frames of unknown type": b"".join(frame(kind, 0xFF, 0, b"?" * 100) for kind in range(0x40, 0x60)),
    "unknown settings": setting(0x99, 7) + setting(6, 0) + setting(1, 0) + setting(3, 2**32 - 1),
    "some pings": frame(6, 0, 0, b"12345678") * 100,
    "answers to no ping": frame(6, 1, 0, b"12345678") * 10_000,
    "many settings": frame(4, 0, 0, b"") * 100,
}


@EVERY_FORM
@pytest.mark.parametrize("noise", HARMLESS.values(), ids=HARMLESS)
def test_noise_that_http2_allows_does_not_keep_an_answer_from_being_read(
    noise: bytes, form: str, hostile: HostileService
) -> None:
    def answer(connection: Connection, stream_id: int) -> None:
        connection.send(noise)
        connection.grpc(stream_id, deletion(10000))

    hostile.tell(on_delete=answer)
    with client_of(hostile) as client:
        result = ended(FORMS[form], client)
        assert result.deleted == 2 if result is not None else form.startswith("one")
        works_again(hostile, client)


FLOODS: dict[str, bytes] = {
    "pings": frame(6, 0, 0, b"12345678") * 1000,
    "settings": frame(4, 0, 0, b"") * 1000,
    "frames of unknown type": frame(0x77, 0, 0, b"x" * 10_000) * 100,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_without_end_is_endured_no_longer_than_a_request_may_take(
    flood: bytes, hostile: HostileService
) -> None:
    hostile.tell(on_delete=without_end(lambda *_: b"", lambda _stream_id: flood))
    # A second attempt, for the connection ends when the test has seen enough of it.
    with client_of(hostile, request_timeout=0.6, max_attempts=2) as client:
        error = failure("inputs", client)
        assert error.report is not None
        assert error.report.unknown == 2
        assert "gave no answer" in str(error)
        works_again(hostile, client)


STOPS: dict[str, tuple[bytes, bytes]] = {
    "no streams": (setting(3, 0), setting(3, 100)),
    "no window": (setting(4, 0), setting(4, 65535)),
}
"""Settings that HTTP/2 allows, and under which nothing can be sent; and those that put it right."""


@pytest.mark.parametrize("form", ["inputs awaited"])
@pytest.mark.parametrize(("stop", "go"), STOPS.values(), ids=STOPS)
def test_settings_that_let_nothing_through_end_in_a_timeout_and_can_be_put_right(
    stop: bytes, go: bytes, form: str, hostile: HostileService
) -> None:
    def begin(connection: Connection) -> None:
        connection.send(stop)

    # A first request may leave before the client has read the settings. It is not answered either.
    hostile.tell(on_connect=begin, on_delete=unanswered, on_list=unanswered)
    with client_of(hostile, request_timeout=1) as client:
        error = failure(form, client)
        assert "gave no answer within 1 s (request_timeout)" in str(error)
        assert error.report is not None
        assert error.report.unknown == 2
        works_again(hostile, client, lambda connection: connection.send(go))


def test_a_connection_that_let_nothing_through_is_given_up_for_a_new_one(hostile: HostileService) -> None:
    # A first request may leave before the client has read the settings. It is not answered either.
    nothing_through = setting(4, 0)
    hostile.tell(
        on_connect=lambda connection: connection.send(nothing_through),
        on_delete=unanswered,
        on_list=unanswered,
    )
    with client_of(hostile, request_timeout=1) as client:
        failure("inputs", client)
        works_again(hostile, client)


# ---- headers that are not gRPC's ------------------------------------------------------------------------

HTML = b"<html><body><h1>Something went wrong</h1></body></html>"


def html(status: str) -> Answer:
    return answer_of([(":status", status), ("content-type", "text/html")], HTML)


@ONE_OF_EACH
@pytest.mark.parametrize("status", ["200", "301", "401", "403", "404", "429", "500", "502", "503", "504"])
def test_a_page_instead_of_an_answer_confirms_nothing_and_the_error_says_its_http_status(
    status: str, form: str, hostile: HostileService
) -> None:
    # A proxy answers so to lists as well.
    hostile.tell(on_delete=html(status), on_list=html(status))
    with client_of(hostile) as client:
        error = failure(form, client)
        assert status in str(error)
        # These two say that the request was not let through.
        sure = status in ("401", "429")
        assert error.report is None or (error.report.unknown, error.report.failed) == (
            (0, 2) if sure else (2, 0)
        )
        works_again(hostile, client)


@pytest.mark.parametrize("status", ["200", "404", "429", "502"])
def test_a_page_instead_of_an_answer_is_called_by_its_name(status: str, hostile: HostileService) -> None:
    hostile.tell(on_delete=html(status))
    with client_of(hostile, request_timeout=1) as client:
        text = str(failure("one", client))
    assert "compression" not in text
    assert "text/html" in text or "proxy" in text


EMPTY: dict[str, type[ClarifaiError]] = {
    "401": AuthenticationError,
    "403": PermissionDeniedError,
    "404": TransportError,
    "429": ThrottledError,
    "502": TransportError,
    "503": TransportError,
    "504": TransportError,
}


@pytest.mark.parametrize(("status", "error"), EMPTY.items())
def test_an_http_status_without_a_word_of_grpc_is_read_as_grpc_reads_it_and_named(
    status: str, error: type[ClarifaiError], hostile: HostileService
) -> None:
    hostile.tell(on_delete=answer_of([(":status", status)]))
    with client_of(hostile, request_timeout=1) as client:
        raised = failure("one", client)
        assert isinstance(raised, error)
        assert f"HTTP {status} " in str(raised)
        assert "no gRPC (base_url is wrong, or a proxy is in between)" in str(raised)
        works_again(hostile, client)


def counted(message: bytes) -> bytes:
    """A message as gRPC frames it."""
    return len(message).to_bytes(5, "big") + message


GOOD = counted(deletion(10000))
BAD_TRAILERS: dict[str, Answer] = {
    "no trailers": answer_of(GRPC_HEADERS, GOOD),
    "trailers without a status": answer_of(GRPC_HEADERS, GOOD, [("x", "y")]),
    "a status that is no number": answer_of(GRPC_HEADERS, GOOD, [("grpc-status", "abc")]),
    "a status of no meaning": answer_of(GRPC_HEADERS, GOOD, [("grpc-status", "99")]),
    "a status below 0": answer_of(GRPC_HEADERS, GOOD, [("grpc-status", "-1")]),
    "a failure after a good message": answer_of(GRPC_HEADERS, GOOD, [("grpc-status", "13")]),
    "a status and no message": answer_of(GRPC_HEADERS, b"", [("grpc-status", "0")]),
    "a status in the headers and no message": answer_of([*GRPC_HEADERS, ("grpc-status", "0")]),
}


@pytest.mark.parametrize("form", ["one awaited", "inputs"])
@pytest.mark.parametrize("answer", BAD_TRAILERS.values(), ids=BAD_TRAILERS)
def test_a_message_that_is_not_confirmed_by_a_grpc_status_is_no_deletion(
    answer: Answer, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=answer)
    with client_of(hostile, request_timeout=1) as client:
        error = failure(form, client)
        assert any(name in str(error) for name in ("UNKNOWN (2)", "INTERNAL (13)", "could not be read"))
        works_again(hostile, client)


@pytest.mark.parametrize("status", ["abc", "99", "-1"])
def test_a_grpc_status_of_no_meaning_is_quoted(status: str, hostile: HostileService) -> None:
    hostile.tell(on_delete=answer_of(GRPC_HEADERS, GOOD, [("grpc-status", status)]))
    with client_of(hostile, request_timeout=1) as client:
        assert status in str(failure("one", client)).partition("was not deleted: ")[2]


@pytest.mark.parametrize("code", range(1, 18))
def test_a_grpc_status_alone_is_an_error_that_quotes_its_text(code: int, hostile: HostileService) -> None:
    headers: Headers = [*GRPC_HEADERS, ("grpc-status", str(code)), ("grpc-message", "so%20it%20is")]
    hostile.tell(on_delete=answer_of(headers))
    with client_of(hostile, request_timeout=1) as client:
        error = failure("one", client)
        # DEADLINE_EXCEEDED has a test of its own.
        assert code == 4 or "so it is" in str(error)
        works_again(hostile, client)


def test_a_deadline_that_the_service_ran_out_of_is_not_said_to_be_ours(hostile: HostileService) -> None:
    hostile.tell(on_delete=answer_of([*GRPC_HEADERS, ("grpc-status", "4"), ("grpc-message", "upstream")]))
    with client_of(hostile) as client:
        text = str(failure("one", client))
    assert "within 2 s (request_timeout)" not in text
    assert "upstream" in text


@pytest.mark.parametrize("code", [99999, -(2**31)])
@ONE_OF_EACH
def test_a_status_code_that_nobody_knows_is_shown_as_a_number(
    code: int, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=lambda connection, stream_id: connection.grpc(stream_id, deletion(code, "what")))
    with client_of(hostile, request_timeout=1) as client:
        assert f"UNKNOWN_CODE_{code} ({code}): what" in str(failure(form, client))
        works_again(hostile, client)


# ---- messages that are none -----------------------------------------------------------------------------

BROKEN_MESSAGES: dict[str, tuple[bytes, str]] = {
    "cut off in its length": (b"\0\0\0", "Missing response message"),
    "shorter than announced": (b"\0\0\0\0\x09xx", "Missing response message"),
    "longer than announced": (b"\0\0\0\0\x01\x0a\x02\x08", "Protobuf"),
    "4 GiB announced": (b"\0\xff\xff\xff\xff" + b"x" * 100, "message length too large"),
    "compressed in no known way": (b"\1\0\0\0\2xx", "compress"),
    "a flag of no meaning": (b"\x09\0\0\0\2xx", "invalid compression flag: 9"),
    "no status": (bytes(5), "the service's answer carries no status"),
    "a description that is not UTF-8": (counted(deletion(10000, b"\xff\xfe")), "not UTF-8"),
    "random bytes": (counted(random.Random(3).randbytes(50)), "Protobuf"),
}


@pytest.mark.parametrize("form", ["one awaited", "pairs"])
@pytest.mark.parametrize(("body", "words"), BROKEN_MESSAGES.values(), ids=BROKEN_MESSAGES)
def test_a_message_that_cannot_be_read_is_no_deletion_and_the_error_says_what_is_wrong(
    body: bytes, words: str, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=answer_of(GRPC_HEADERS, body, [("grpc-status", "0")]))
    with client_of(hostile, request_timeout=1) as client:
        assert words in str(failure(form, client))
        works_again(hostile, client)


def mangled(seed: str) -> bytes:
    """Random bytes, or the message of a success with some of its bytes changed, or that itself."""
    chance = random.Random(seed)
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(40))
    message = bytearray(deletion(10000, "Ok", "deleted"))
    for _ in range(chance.randrange(4)):
        message[chance.randrange(len(message))] = chance.randrange(256)
    return bytes(message)


def is_success(message: bytes) -> bool:
    """Whether Clarifai's own stubs read a success in it."""
    try:
        return bool(status_pb2.BaseResponse.FromString(message).status.code == 10000)
    except DecodeError:
        return False


def test_no_bytes_confirm_a_deletion_but_those_in_which_the_official_stubs_read_a_success(
    hostile: HostileService,
) -> None:
    def answer(connection: Connection, stream_id: int) -> None:
        connection.grpc(stream_id, mangled(connection.requests[stream_id].message.ids[0]))

    hostile.tell(on_delete=answer)
    ids = [f"a{n}" for n in range(200)]
    with client_of(hostile, batch_size=1, request_timeout=3) as client:
        report = ended(
            lambda client: client.delete_annotations(["p"] * len(ids), ids, on_failure="report"), client
        )
        confirmed = set(ids) - {item.annotation_id for item in report.failures}
        works_again(hostile, client)
    assert confirmed == {own_id for own_id in ids if is_success(mangled(own_id))}
    assert 30 < len(confirmed) < 170
    assert report.absent == 0


# ---- texts of any size ----------------------------------------------------------------------------------


def failed_with(description: str) -> Answer:
    message = deletion(10020, description)
    return lambda connection, stream_id: connection.grpc(stream_id, message)


def grpc_message(text: str | bytes) -> Answer:
    """A failure in the headers alone, in as many frames as its text takes."""

    def answer(connection: Connection, stream_id: int) -> None:
        fields: Headers = [*GRPC_HEADERS, ("grpc-status", "13"), ("grpc-message", text)]
        block = connection.encoder.encode(fields, huffman=False)
        parts = [block[at : at + LARGEST_FRAME] for at in range(0, len(block), LARGEST_FRAME)]
        kinds = [(1, 1), *((9, 0) for _ in parts[1:])]
        kinds[-1] = (kinds[-1][0], kinds[-1][1] | 4)
        connection.send(
            b"".join(frame(*kind, stream_id, part) for kind, part in zip(kinds, parts, strict=True))
        )

    return answer


TEXTS: dict[str, tuple[Answer, str]] = {
    "a description of 1 MiB": (failed_with("d" * (1 << 20)), "FAILURE (10020): ddd"),
    "control characters": (failed_with("a\0b\x1b[31m\nred"), "FAILURE (10020): a"),
    "12 KiB of escapes": (grpc_message("%41" * 4000), "INTERNAL (13): AAA"),
    "64 KiB of escapes": (grpc_message("%41" * 21845), "INTERNAL (13): AAA"),
    "1.5 MiB of escapes": (
        grpc_message("%41" * 500_000),
        "the headers or trailers of its answer are too large",
    ),
    "6 MiB of escapes": (
        grpc_message("%41" * 2_000_000),
        "the headers or trailers of its answer are too large",
    ),
    "broken escapes": (grpc_message("%zz%4%"), "INTERNAL (13): %zz%4%"),
    "escapes that are not UTF-8": (grpc_message("%ff%fe"), "invalid utf-8"),
    "bytes that are not UTF-8": (grpc_message(b"\xff\xfe"), "invalid utf-8"),
}


@pytest.mark.parametrize("form", ["pairs awaited"])
@pytest.mark.parametrize(("answer", "words"), TEXTS.values(), ids=TEXTS)
def test_a_text_of_the_service_of_any_size_and_encoding_is_taken(
    answer: Answer, words: str, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=answer)
    with client_of(hostile) as client:
        assert words in str(failure(form, client))
        works_again(hostile, client)


LONG: dict[str, Answer] = {
    "a description of 1 MiB": failed_with("d" * (1 << 20)),
    "GOAWAY with much to say": frames(goaway(2, b"D" * (LARGEST_FRAME - 8))),
}


@pytest.mark.parametrize("answer", LONG.values(), ids=LONG)
def test_the_text_of_an_error_stays_short_enough_to_be_read(answer: Answer, hostile: HostileService) -> None:
    hostile.tell(on_delete=answer)
    with client_of(hostile) as client:
        assert len(str(failure("one", client))) < 10_000


def test_the_text_of_an_error_cannot_steer_a_terminal(hostile: HostileService) -> None:
    hostile.tell(on_delete=failed_with("a\0b\x1b[31mred"))
    with client_of(hostile) as client:
        assert str(failure("one", client)).isprintable()


# ---- answers that come slowly, or never end -------------------------------------------------------------


@EVERY_FORM
def test_an_answer_that_comes_a_byte_at_a_time_is_read(form: str, hostile: HostileService) -> None:
    def answer(connection: Connection, stream_id: int) -> None:
        headers = ready(connection, stream_id)
        trailers = frame(1, 5, stream_id, connection.encoder.encode([("grpc-status", "0")]))
        for byte in headers + frame(0, 0, stream_id, GOOD) + trailers:
            connection.send(bytes([byte]))

    hostile.tell(on_delete=answer)
    with client_of(hostile) as client:
        result = ended(FORMS[form], client)
        assert result.deleted == 2 if result is not None else form.startswith("one")


@pytest.mark.parametrize("form", ["pairs", "inputs awaited"])
def test_an_answer_that_begins_and_does_not_go_on_is_waited_for_as_long_as_a_request_may_take(
    form: str, hostile: HostileService
) -> None:
    def answer(connection: Connection, stream_id: int) -> None:
        connection.headers(stream_id, GRPC_HEADERS)
        connection.data(stream_id, GOOD[:-1])

    hostile.tell(on_delete=answer)
    with client_of(hostile, request_timeout=1) as client:
        error = failure(form, client)
        assert "gave no answer within 1 s (request_timeout)" in str(error)
        assert error.report is None or error.report.unknown == 2
        works_again(hostile, client)


# ---- memory ---------------------------------------------------------------------------------------------

IN_A_PROCESS = """
import json, sys
from pathlib import Path
from clarifai_annotations import ClarifaiError, Client

def kilobytes(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(name))

base_url, key, form = sys.argv[1:]
client = Client(user_id="me", app_id="cats", pat=key, base_url=base_url, max_attempts=1, request_timeout=10)
before = kilobytes("VmRSS")
try:
    if form == "one":
        client.delete_annotation("photo", "box")
    else:
        client.delete_annotations(["p"], ["a"])
    error = None
except ClarifaiError as caught:
    error = type(caught).__name__
print(json.dumps({"error": error, "grown": (kilobytes("VmHWM") - before) // 1024}))
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def grown(service: HostileService, form: str) -> int:
    """MiB by which a process grew at most in a call that fails."""
    command = [sys.executable, "-c", IN_A_PROCESS, service.base_url, KEY, form]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["error"] in ("TransportError", "ApiError", "DeletionError")
    return int(told["grown"])


def poured(size: int) -> Answer:
    """A message of 512 MiB is announced; so much of it comes, and then the end."""

    def answer(connection: Connection, stream_id: int) -> None:
        connection.headers(stream_id, GRPC_HEADERS)
        connection.data(stream_id, (512 << 20).to_bytes(5, "big"))
        for _ in range(size >> 20):
            connection.data(stream_id, b"\0" * (1 << 20))
        connection.close()

    return answer


HEAVY: dict[str, tuple[Answer, str]] = {
    "headers without end": (BREACHES["headers without end"], "one"),
    "large headers without end": (BREACHES["large headers without end"], "one"),
    "headers of nothing without end": (BREACHES["headers of nothing without end"], "one"),
    "a header list of 10 MiB": (BREACHES["a header list of 10 MiB"], "one"),
    "frames of nothing": (BREACHES["thousands of frames of nothing"], "one"),
    "a message of 512 MiB, for pairs": (poured(128 << 20), "pairs"),
    "4 GiB announced": (answer_of(GRPC_HEADERS, b"\0\xff\xff\xff\xff", [("grpc-status", "0")]), "one"),
    "1 GiB announced": (answer_of(GRPC_HEADERS, b"\0\x40\0\0\0", [("grpc-status", "0")]), "one"),
}


@needs_proc
@pytest.mark.parametrize(("answer", "form"), HEAVY.values(), ids=HEAVY)
def test_what_is_announced_or_poured_out_does_not_fill_the_memory(
    answer: Answer, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=answer)
    assert grown(hostile, form) < 32


@needs_proc
def test_the_answer_to_a_deletion_of_one_does_not_fill_the_memory(hostile: HostileService) -> None:
    hostile.tell(on_delete=poured(128 << 20))
    assert grown(hostile, "one") < 64


@needs_proc
def test_a_description_of_16_mib_takes_no_more_than_some_copies_of_it(hostile: HostileService) -> None:
    hostile.tell(on_delete=failed_with("d" * (16 << 20)))
    assert grown(hostile, "one") < 64


# ---- lists that lie -------------------------------------------------------------------------------------


def listed(message: bytes) -> Answer:
    return lambda connection, stream_id: connection.grpc(stream_id, message)


def raw_annotation(data: bytes) -> bytes:
    """A list of one annotation, which is these bytes."""
    return page() + b"\x12" + bytes([len(data)]) + data


UNREADABLE: dict[str, bytes] = {
    "IDs that are not UTF-8": raw_annotation(b"\x0a\x02\xff\xfe"),
    "random bytes": raw_annotation(b"\xff" + random.Random(5).randbytes(31)),
    "a status of no success": page(code=10010),
    "no status": b"",
}
REFUSED = failed_with("no")
LOST = frames(lambda _connection, stream_id: frame(3, 0, stream_id, (2).to_bytes(4, "big")))


@ONE_OF_EACH
@pytest.mark.parametrize("deletes", [REFUSED, LOST], ids=["refused", "lost"])
@pytest.mark.parametrize("message", UNREADABLE.values(), ids=UNREADABLE)
def test_a_list_that_cannot_be_read_leaves_unknown_what_was_done(
    message: bytes, deletes: Answer, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=deletes, on_list=listed(message))
    with client_of(hostile) as client:
        error = failure(form, client)
        assert error.report is None or error.report.unknown == 2
        assert error.report is not None or "was deleted is unknown" in str(error)
        works_again(hostile, client)


OTHERS = page(*(resources_pb2.Annotation(input_id=f"other-{n}", id=f"x{n}") for n in range(2)))


@pytest.mark.parametrize("deletes", [REFUSED, LOST], ids=["refused", "lost"])
@pytest.mark.parametrize("form", ["one", "pairs"])
def test_a_list_of_others_than_were_asked_for_tells_nothing_about_those(
    deletes: Answer, form: str, hostile: HostileService
) -> None:
    hostile.tell(on_delete=deletes, on_list=listed(OTHERS))
    with client_of(hostile) as client:
        failure(form, client)


BROKEN_ON_ITS_WAY: dict[str, Answer] = {
    "cut off": answer_of(GRPC_HEADERS, b"\0\0\0", [("grpc-status", "0")]),
    "no trailers": answer_of(GRPC_HEADERS, GOOD),
    "a page of a proxy": html("502"),
}


@pytest.mark.parametrize("answer", BROKEN_ON_ITS_WAY.values(), ids=BROKEN_ON_ITS_WAY)
def test_what_is_gone_after_an_answer_that_was_broken_on_its_way_was_deleted_by_us(
    answer: Answer, hostile: HostileService
) -> None:
    hostile.tell(on_delete=answer, on_list=listed(page()))
    with client_of(hostile) as client:
        assert ended(FORMS["one"], client) is None


def test_pages_without_end_of_one_input_are_not_read_for_ever(hostile: HostileService) -> None:
    same = [resources_pb2.Annotation(input_id="p", id=f"x{n}", input_level=True) for n in range(1000)]
    full, pages = page(*same), 0

    def endless(connection: Connection, stream_id: int) -> None:
        nonlocal pages
        pages += 1
        # It ends here for the test's sake.
        connection.grpc(stream_id, full if pages < 100 else page())

    hostile.tell(on_delete=REFUSED, on_list=endless)
    with client_of(hostile) as client:
        ended(lambda client: client.delete_input_annotations(["p"], on_failure="report"), client)
    assert pages < 100


# ---- any of it, in any order ----------------------------------------------------------------------------

STEPS: dict[str, Answer] = {
    **{
        name: BREACHES[name]
        for name in ("random bytes", "a promise", "headers without end", "GOAWAY for the request", "an answer cut off")
    },
    **BAD_TRAILERS,
    **{f"page {status}": html(status) for status in ("200", "502")},
    **{name: answer_of(GRPC_HEADERS, body, [("grpc-status", "0")]) for name, (body, _) in BROKEN_MESSAGES.items()},
    "lost": LOST,
    "refused": REFUSED,
}  # fmt: skip


@settings(max_examples=random_cases.cases(8))
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(sorted(STEPS)), st.sampled_from(sorted(FORMS)), st.sampled_from([True, False])
        ),
        min_size=1,
        max_size=4,
    )
)
# The service once broke off the second answer while the last call was under way.
@example([("4 GiB announced", "inputs", False), ("4 GiB announced", "one", True)])
def test_after_any_row_of_hostile_answers_a_client_works_as_before(
    script: list[tuple[str, str, bool]],
) -> None:
    with hostile_service() as service, client_of(service) as client:
        for step, form, lists_too in script:
            # A hostile list may not be taken for an empty one.
            service.tell(on_delete=STEPS[step], on_list=STEPS[step] if lists_too else everything_is_there)
            failure(form, client)
        works_again(service, client)


def test_a_greeting_that_comes_late_does_no_harm(hostile: HostileService) -> None:
    def answer(connection: Connection, stream_id: int) -> None:
        greet(connection)
        connection.grpc(stream_id, deletion(10000))

    hostile.tell(on_connect=lambda _connection: None, on_delete=answer)
    with client_of(hostile) as client:
        assert ended(FORMS["one"], client) is None
