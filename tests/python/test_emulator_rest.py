"""The emulator's REST face, called by curl as Clarifai's documentation calls the service."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h2.connection
import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2

from clarifai_annotations.emulator import Emulator, Fault, annotation_from_json
from official_client import METADATA, USER_APP, left, official_stub

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

APP = "/v2/users/emulator-user/apps/emulator-app"


@contextmanager
def seeded(**options: Any) -> Iterator[Emulator]:
    """Start an emulator with two boxes on the first photo, one on the second."""
    with Emulator(**options) as emulator:
        for input_id, annotation_id in (("p", "a"), ("p", "b"), ("q", "c")):
            emulator.add_annotation(input_id, annotation_id)
        yield emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Two boxes on the first photo, one on the second."""
    with seeded() as emulator:
        yield emulator


def curl(
    emulator: Emulator, method: str, path: str, body: Any = None, *options: str, key: str | None = "made-up"
) -> tuple[int, Any]:
    """The HTTP status and the JSON of an answer. A body goes as curl sends one unless told: as a form."""
    command = ["curl", "-sS", "-X", method, "-w", "\n%{http_code}", *options]
    if key is not None:
        command += ["-H", f"Authorization: Key {key}"]
    if body is not None:
        command += ["-d", body if isinstance(body, str) else json.dumps(body)]
    if emulator.root_certificates_path is not None:
        command += ["--cacert", str(emulator.root_certificates_path)]
    done = subprocess.run(
        [*command, emulator.base_url + path], check=True, capture_output=True, text=True, timeout=30
    )
    answer, _, code = done.stdout.rpartition("\n")
    return int(code), json.loads(answer) if answer else None


def status(answer: tuple[int, Any]) -> tuple[int, int]:
    """The HTTP status and Clarifai's status code."""
    return answer[0], answer[1]["status"]["code"]


OK = (200, 10000)

DELETIONS: dict[str, tuple[str, Any, list[str]]] = {
    "one": (f"{APP}/inputs/p/annotations/a", None, ["p/b", "q/c"]),
    "one, the app from the key": ("/v2/inputs/p/annotations/a", None, ["p/b", "q/c"]),
    "pairs": (f"{APP}/annotations", {"input_ids": ["p", "q"], "ids": ["a", "c"]}, ["p/b"]),
    "pairs under inputs": (
        f"{APP}/inputs/annotations",
        {"input_ids": ["p", "q"], "ids": ["a", "c"]},
        ["p/b"],
    ),
    "pairs, the app in the body": (
        "/v2/annotations",
        {
            "user_app_id": {"user_id": "emulator-user", "app_id": "emulator-app"},
            "input_ids": ["p"],
            "ids": ["a"],
        },
        ["p/b", "q/c"],
    ),
    "pairs in camelCase": (
        "/v2/inputs/annotations",
        {"userAppId": {"userId": "emulator-user", "appId": "emulator-app"}, "inputIds": ["p"], "ids": ["a"]},
        ["p/b", "q/c"],
    ),
    "whole inputs": (f"{APP}/annotations", {"input_ids": ["p"]}, ["q/c"]),
    "whole inputs, under inputs": (f"{APP}/inputs/annotations", {"input_ids": ["p", "q"]}, []),
}


@pytest.mark.parametrize(("path", "body", "remaining"), DELETIONS.values(), ids=DELETIONS)
@pytest.mark.parametrize("http", ["--http1.1", "--http2-prior-knowledge"])
def test_a_deletion_under_every_documented_path(
    path: str, body: Any, remaining: list[str], http: str, emulator: Emulator
) -> None:
    answer = curl(emulator, "DELETE", path, body, http)
    assert status(answer) == OK
    assert answer[1]["status"]["description"] == "Ok"
    assert answer[1]["status"]["req_id"]
    assert left(emulator) == remaining


@pytest.mark.parametrize("content_type", ["application/json", ""], ids=["JSON", "none"])
def test_a_body_is_read_whatever_its_content_type(content_type: str, emulator: Emulator) -> None:
    header = f"Content-Type: {content_type}" if content_type else "Content-Type:"
    answer = curl(emulator, "DELETE", f"{APP}/annotations", {"input_ids": ["p"]}, "-H", header)
    assert (status(answer), left(emulator)) == (OK, ["q/c"])


POSTED = {
    "annotations": [
        {
            "id": "box",
            "input_id": "q",
            "data": {
                "regions": [
                    {
                        "region_info": {"bounding_box": {"top_row": 0.25, "left_col": 0.5}},
                        "data": {"concepts": [{"id": "cat", "value": 1.0}]},
                    }
                ]
            },
        }
    ]
}


def as_posted(served: dict[str, Any]) -> dict[str, Any]:
    """An annotation without what the service sets itself, and must have set."""
    assert served["created_at"] == served["modified_at"]
    return {name: value for name, value in served.items() if name not in ("created_at", "modified_at")}


def test_what_is_posted_is_listed_and_got(emulator: Emulator) -> None:
    answer = curl(emulator, "POST", f"{APP}/annotations", POSTED)
    assert status(answer) == OK
    assert [as_posted(it) for it in answer[1]["annotations"]] == POSTED["annotations"]
    listed = curl(emulator, "GET", f"{APP}/annotations?input_ids=q&ids=box")
    got = curl(emulator, "GET", f"{APP}/inputs/q/annotations/box")
    assert listed[1]["annotations"] == [got[1]["annotation"]]
    assert [as_posted(got[1]["annotation"])] == POSTED["annotations"]


def test_what_is_posted_over_rest_is_there_over_grpc_and_the_reverse(emulator: Emulator) -> None:
    curl(emulator, "POST", f"{APP}/annotations", POSTED)
    with official_stub(emulator) as stub:
        request = service_pb2.GetAnnotationRequest(user_app_id=USER_APP, input_id="q", annotation_id="box")
        box = stub.GetAnnotation(request, metadata=METADATA).annotation
        assert box.data.regions[0].region_info.bounding_box.top_row == 0.25
        text = resources_pb2.Annotation(
            id="text", input_id="q", data=resources_pb2.Data(text=resources_pb2.Text(raw="a cat"))
        )
        post = service_pb2.PostAnnotationsRequest(user_app_id=USER_APP, annotations=[text])
        stub.PostAnnotations(post, metadata=METADATA)
    got = curl(emulator, "GET", f"{APP}/inputs/q/annotations/text")[1]["annotation"]
    assert as_posted(got) == {"id": "text", "input_id": "q", "data": {"text": {"raw": "a cat"}}}


LISTS: dict[str, tuple[str, list[str]]] = {
    "everything": ("", ["a", "b", "c"]),
    "inputs": ("?input_ids=p", ["a", "b"]),
    "several": ("?input_ids=p&input_ids=q&ids=a&ids=c", ["a", "c"]),
    "pairs": ("?input_ids=p&ids=b", ["b"]),
    "a page": ("?per_page=2&page=2&input_ids=p&input_ids=p&input_ids=q&ids=a&ids=b&ids=c", ["c"]),
    "everything, models' too": ("?list_all_annotations=true", ["a", "b", "c", "m"]),
    "camelCase": ("?inputIds=q&listAllAnnotations=true", ["c", "m"]),
    "a status": ("?statuses=24150", ["a", "b", "c"]),
}


@pytest.mark.parametrize(("query", "ids"), LISTS.values(), ids=LISTS)
def test_a_list_takes_its_filters_from_the_query(query: str, ids: list[str], emulator: Emulator) -> None:
    message = resources_pb2.Annotation(model_version_id="v").SerializeToString()
    emulator.add_annotation("q", "m", message=message)
    answer = curl(emulator, "GET", f"{APP}/annotations{query}")
    assert status(answer) == OK
    assert [it["id"] for it in answer[1].get("annotations", []) if not it.get("input_level")] == ids


REFUSED: dict[str, tuple[str, str, Any, tuple[int, int], str]] = {
    "an unknown path": ("GET", "/v2/models", None, (404, 11101), 'there is no path "/v2/models"'),
    "a method that a path does not take": (
        "PATCH",
        f"{APP}/annotations",
        None,
        (405, 11103),
        "does not take PATCH",
    ),
    "a body that is not JSON": (
        "DELETE",
        f"{APP}/annotations",
        "{oops",
        (400, 11100),
        "the body is not JSON",
    ),
    "a body that is no object": ("DELETE", f"{APP}/annotations", "[1]", (400, 11100), "JSON, but no object"),
    "a field that is not there": ("DELETE", f"{APP}/annotations", {"inputs": ["p"]}, (400, 11100), "inputs"),
    "a wrong type": ("DELETE", f"{APP}/annotations", {"input_ids": "p"}, (400, 11100), "expected a list"),
    "a query that is not there": ("GET", f"{APP}/annotations?id=a", None, (400, 11100), "id"),
    "IDs without inputs": ("GET", f"{APP}/annotations?ids=a", None, (400, 11102), "ids without input_ids"),
    "no input": ("DELETE", f"{APP}/annotations", {}, (400, 11102), "input_ids is empty"),
    "a missing annotation": (
        "DELETE",
        f"{APP}/inputs/p/annotations/z",
        None,
        (404, 11101),
        'no annotation "z"',
    ),
    "a missing input": ("DELETE", f"{APP}/annotations", {"input_ids": ["z"]}, (404, 30102), 'no input "z"'),
}


@pytest.mark.parametrize(("method", "path", "body", "codes", "details"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_gets_clarifais_status_and_the_fitting_http_code(
    method: str, path: str, body: Any, codes: tuple[int, int], details: str
) -> None:
    with seeded(missing_pair="refused", missing_single="status") as emulator:
        answer = curl(emulator, method, path, body)
        assert status(answer) == codes
        assert details in answer[1]["status"]["details"]
        assert left(emulator) == ["p/a", "p/b", "q/c"]


@pytest.mark.parametrize(("code", "http"), [(10001, 200), (10002, 200), (10070, 202)])
def test_a_success_gets_the_fitting_http_code(code: int, http: int) -> None:
    with Emulator(success_code=code) as emulator:
        assert status(curl(emulator, "GET", f"{APP}/annotations")) == (http, code)


def test_a_list_over_rest_shows_what_a_model_found_on_demand(emulator: Emulator) -> None:
    message = annotation_from_json('{"model_version_id": "v", "data": {"concepts": [{"id": "cat"}]}}')
    emulator.add_annotation("q", "m", message=message)
    path = f"{APP}/annotations?input_ids=q&ids=m"
    shown = [
        curl(emulator, "GET", path + more)[1]["annotations"][0] for more in ("", "&return_model_output=true")
    ]
    assert ["data" in annotation for annotation in shown] == [False, True]


def test_who_asks_is_checked_as_over_grpc() -> None:
    reader = ["Apps_Get", "Inputs_Get", "Annotations_Get", "Concepts_Get", "Models_Get"]
    with Emulator(pats={"reader": reader}, apps=[("me", "cats")]) as emulator:
        path = "/v2/users/me/apps/cats/annotations"
        body = {"input_ids": ["p"]}
        assert status(curl(emulator, "DELETE", path, body, key=None)) == (401, 11002)
        assert status(curl(emulator, "DELETE", path, body, key="wrong")) == (401, 11008)
        assert status(curl(emulator, "DELETE", path, body, key="reader")) == (403, 11007)
        assert status(curl(emulator, "GET", path.replace("cats", "dogs"), key="reader")) == (404, 11101)
        # The app that the key tells is the only one there is.
        assert status(curl(emulator, "GET", "/v2/annotations", key="reader")) == OK
        assert "wrong" not in repr([request.metadata for request in emulator.requests])


FAULTS: dict[str, tuple[Fault, tuple[int, int], list[str]]] = {
    "throttled": (Fault.throttled(), (429, 11005), ["p/a", "p/b", "q/c"]),
    "try again": (Fault.status(10030), (503, 10030), ["p/a", "p/b", "q/c"]),
    "gRPC's unavailable": (Fault.grpc(14), (503, 14), ["p/a", "p/b", "q/c"]),
    "partial": (Fault.partial(1), (500, 99009), ["p/b", "q/c"]),
    "goaway": (Fault.goaway(), OK, ["p/b"]),
}


@pytest.mark.parametrize(("fault", "codes", "remaining"), FAULTS.values(), ids=FAULTS)
def test_a_fault_befalls_rest_as_well(
    fault: Fault, codes: tuple[int, int], remaining: list[str], emulator: Emulator
) -> None:
    emulator.inject(fault)
    body = {"input_ids": ["p", "q"], "ids": ["a", "c"]}
    assert status(curl(emulator, "DELETE", f"{APP}/annotations", body)) == codes
    assert left(emulator) == remaining


@pytest.mark.parametrize(
    ("fault", "remaining"),
    [(Fault.dropped_before(), ["p/a", "p/b", "q/c"]), (Fault.dropped_after(), ["q/c"])],
    ids=["before", "after"],
)
def test_a_dropped_connection_is_an_empty_reply(
    fault: Fault, remaining: list[str], emulator: Emulator
) -> None:
    emulator.inject(fault)
    with pytest.raises(subprocess.CalledProcessError) as raised:
        curl(emulator, "DELETE", f"{APP}/annotations", {"input_ids": ["p"]}, "--http1.1")
    assert raised.value.returncode == 52  # curl: "empty reply from server"
    assert left(emulator) == remaining


GOAWAY = 7
"""Type of the frame, by RFC 9113."""


def http2_frames(emulator: Emulator, path: str, last: Callable[[int, int, int], bool]) -> list[int]:
    """Types of the frames that a bare client receives after one request, up to the last that is asked for.

    Read by hand: the h2 package takes a GOAWAY for the end, and what comes after it for an error.
    """
    host, port = emulator.base_url.partition("://")[2].split(":")
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    headers = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "emulator")]
    connection.send_headers(1, [*headers, ("authorization", "Key made-up")], end_stream=True)
    types: list[int] = []
    with socket.create_connection((host, int(port)), timeout=30) as wire, wire.makefile("rb") as frames:
        wire.sendall(connection.data_to_send())
        while True:
            header = frames.read(9)
            kind, flags, stream = header[3], header[4], int.from_bytes(header[5:], "big")
            frames.read(int.from_bytes(header[:3], "big"))
            types.append(kind)
            if last(kind, flags, stream):
                return types


def is_goaway(kind: int, _flags: int, _stream: int) -> bool:
    return kind == GOAWAY


def ends_the_answer(kind: int, flags: int, stream: int) -> bool:
    return stream == 1 and kind in (0, 1) and flags & 1 == 1


def test_a_goaway_tells_the_client_to_open_no_further_stream_and_the_request_is_served(
    emulator: Emulator,
) -> None:
    emulator.inject(Fault.goaway())
    assert GOAWAY in http2_frames(emulator, f"{APP}/annotations", is_goaway)
    assert emulator.requests[0].name == "SUCCESS"


def test_without_one_the_connection_stays(emulator: Emulator) -> None:
    assert GOAWAY not in http2_frames(emulator, f"{APP}/annotations", ends_the_answer)


def test_a_page_in_a_browser_may_call_it(emulator: Emulator) -> None:
    command = [
        "curl", "-sS", "-i", "-X", "OPTIONS", f"{emulator.base_url}{APP}/annotations",
        "-H", "Origin: http://page.example", "-H", "Access-Control-Request-Method: DELETE",
        "-H", "Access-Control-Request-Headers: authorization,content-type",
    ]  # fmt: skip
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.lower()
    assert answer.startswith("http/1.1 200")
    assert "access-control-allow-origin: http://page.example" in answer
    assert "access-control-allow-methods: delete" in answer
    assert "access-control-allow-headers: authorization,content-type" in answer
    assert emulator.requests == []


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_rest_over_tls(http: str) -> None:
    with Emulator(tls=True) as emulator:
        emulator.add_annotation("p", "a")
        assert status(curl(emulator, "DELETE", f"{APP}/inputs/p/annotations/a", None, http)) == OK
        assert left(emulator) == []
