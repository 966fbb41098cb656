"""The key is nowhere to be seen, whatever goes wrong: a run full of faults, and all that it says, searched for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import grpc
import pytest

from conftest import KEY
from hostile_service import HostileService, hostile_service
from official_service import Answer, OfficialService, deletion_answer, grpc_status, official_service

PROGRAM = """
import asyncio, copy, gc, io, logging, os, pickle, pprint, sys, traceback, warnings
logging.basicConfig(level=0, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s %(args)s %(pathname)s")
warnings.simplefilter("always")
sys.unraisablehook = lambda it: print("unraisable", it)
import clarifai_annotations as ca
from clarifai_annotations import _native

# The key is found by name, so that it is in no line of this program that a traceback may show.
client = ca.Client(user_id="me", app_id="cats", base_url=sys.argv[1], max_attempts=2, request_timeout=1, batch_size=1)

def show(thing):
    print(repr(thing), str(thing))
    pprint.pprint(getattr(thing, "__dict__", None))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        try:
            print(pickle.dumps(thing, protocol))
        except Exception as error:
            print("not pickled:", error)

def shown(error):
    show(error)
    show(error.args)
    # Not the values of variables: those of this program are its own.
    traceback.print_exception(error, file=sys.stdout)
    report = getattr(error, "report", None)
    if report is not None:
        show(report)
        show(list(report.failures))
        print(report._repr_html_())
        import pyarrow
        print(pyarrow.table(report).to_pylist())

def attempt(call, *arguments, **options):
    try:
        show(call(*arguments, **options))
    except BaseException as error:
        shown(error)

async def awaited(call, *arguments, **options):
    future = call(*arguments, **options)
    show(repr(future))
    try:
        show(await future)
    except BaseException as error:
        shown(error)

show(client)
show(client.for_app("dogs"))
attempt(lambda: vars(client))
attempt(lambda: client.pat)
for timeout in (None, 0.05):
    attempt(client.delete_annotation, "photo", "box", timeout=timeout)
    attempt(client.delete_annotations, ["p", "q"], ["a", "b"], timeout=timeout)
    attempt(client.delete_input_annotations, ["p"], timeout=timeout)
    attempt(client.delete_annotations, ["p"], ["a"], on_failure="report", progress=show)
    asyncio.run(awaited(client.delete_annotation_async, "photo", "box", timeout=timeout))
    asyncio.run(awaited(client.delete_annotations_async, ["p"], ["a"], timeout=timeout))
attempt(client.delete_annotation, "", "box")
attempt(client.delete_annotation, 3, "box")
attempt(ca.Client, user_id="me", app_id="cats", session_token=os.environ["CLARIFAI_PAT"] + "\\n", base_url=sys.argv[1])
attempt(ca.Client, user_id="me", app_id="cats", pat=os.environ["CLARIFAI_PAT"] + "\\x00", base_url=sys.argv[1])
given = ca.Client(user_id="me", app_id="cats", pat=os.environ["CLARIFAI_PAT"], base_url=sys.argv[1])
show(given)
given.close()
attempt(given.delete_annotation, "photo", "box")
"""


def echoing(_request: object, context: grpc.ServicerContext) -> object:
    """Refuse with all that came, the key included, as a service might that says too much."""
    came = "; ".join(f"{key}={value!r}" for key, value in context.invocation_metadata())
    return deletion_answer(11009, f"key {KEY} is not valid", came, f"{KEY}-1")(_request, context)


def echoing_grpc(_request: object, context: grpc.ServicerContext) -> object:
    context.abort(grpc.StatusCode.INTERNAL, f"key {KEY} made trouble")
    raise AssertionError


ANSWERS: dict[str, Answer] = {
    "that name the key": echoing,
    "that name the key in a grpc status": echoing_grpc,
    "that say no": deletion_answer(11102, "bad"),
    "of the wrong kind": grpc_status(grpc.StatusCode.UNAVAILABLE, "not now"),
}


def said(base_url: str) -> str:
    """All that the program writes."""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROGRAM, base_url],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        env={"CLARIFAI_PAT": KEY, "RUST_BACKTRACE": "full", "RUST_LOG": "trace", "SSLKEYLOGFILE": "", "PATH": ""},
    )  # fmt: skip
    text = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, text
    # It did make calls, and it said something of each.
    assert text.count("Traceback") > 5, text
    return text


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_key_is_in_nothing_that_a_run_says_with_answers(answer: Answer, service: OfficialService) -> None:
    service.on_delete = service.on_list = answer
    assert KEY not in said(service.base_url)


def test_the_key_is_in_nothing_that_a_run_says_without_a_service() -> None:
    with official_service() as service:
        base_url = service.base_url
    assert KEY not in said(base_url)


HOSTILE: dict[str, Callable[[HostileService], None]] = {
    "bytes that are no HTTP/2": lambda service: service.tell(
        on_connect=lambda connection: connection.send(f"HTTP/1.1 400 {KEY}\r\n\r\n{KEY}".encode())
    ),
    "a page that names it": lambda service: service.tell(
        on_delete=lambda connection, stream: connection.headers(
            stream, [(":status", "502"), ("content-type", f"text/{KEY}")], "END_STREAM"
        )
    ),
}


@pytest.mark.parametrize("conduct", HOSTILE.values(), ids=HOSTILE)
def test_the_key_is_in_nothing_that_a_run_says_of_a_peer_that_sends(
    conduct: Callable[[HostileService], None],
) -> None:
    with hostile_service() as service:
        conduct(service)
        assert KEY not in said(service.base_url)
