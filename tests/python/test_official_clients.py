"""Clarifai's own clients against the emulator: they post, list and delete, and see what they should."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from clarifai_grpc.channel.clarifai_channel import ClarifaiChannel
from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from clarifai_annotations.emulator import Emulator
from official_client import METADATA, official_stub

SDK_MISSING = (
    "the clarifai SDK is not installed: pip install 'clarifai-annotations[peers]'"
    if importlib.util.find_spec("clarifai") is None
    else "importing clarifai 12.5 ends CPython 3.13.0 with a segmentation fault in its clarifai_protocol"
    if sys.version_info >= (3, 13)
    else ""
)

USER_APP = resources_pb2.UserAppIDSet(user_id="me", app_id="cats")


def annotation(input_id: str, id: str = "", **fields: Any) -> Any:  # noqa: A002
    """An annotation with a labelled box."""
    region = resources_pb2.Region(id="r-1", value=0.5)
    region.region_info.bounding_box.top_row = 0.25
    data = resources_pb2.Data(regions=[region], concepts=[resources_pb2.Concept(id="cat", value=1)])
    return resources_pb2.Annotation(id=id, input_id=input_id, data=data, **fields)


def post(*annotations: Any) -> Any:
    return service_pb2.PostAnnotationsRequest(user_app_id=USER_APP, annotations=annotations)


def listing(**filters: Any) -> Any:
    return service_pb2.ListAnnotationsRequest(user_app_id=USER_APP, **filters)


def pairs(**named: Any) -> Any:
    return service_pb2.DeleteAnnotationsRequest(user_app_id=USER_APP, **named)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator with two inputs and nothing on them but their own annotations."""
    with Emulator() as emulator:
        for input_id in ("p", "q"):
            emulator.add_input(input_id, user_id="me", app_id="cats")
        yield emulator


@pytest.fixture
def stub(emulator: Emulator) -> Iterator[Any]:
    """The official stub on the official channel."""
    host, port = emulator.base_url.removeprefix("http://").split(":")
    with ClarifaiChannel.get_insecure_grpc_channel(host, port) as channel:
        yield service_pb2_grpc.V2Stub(channel)


@pytest.fixture
async def aio_stub(emulator: Emulator) -> AsyncIterator[Any]:
    """The same on grpc.aio."""
    async with grpc.aio.insecure_channel(emulator.base_url.removeprefix("http://")) as channel:
        yield service_pb2_grpc.V2Stub(channel)


def ids(answer: Any) -> list[str]:
    """IDs of the annotations in an answer, which must be a success."""
    assert answer.status.code == status_code_pb2.SUCCESS, answer.status
    return [it.id for it in answer.annotations if not it.input_level]


def as_posted(served: Any) -> Any:
    """An annotation without what the service sets itself, and must have set."""
    assert served.created_at == served.modified_at != Timestamp()
    served.ClearField("created_at")
    served.ClearField("modified_at")
    return served


def test_what_is_posted_is_listed_and_got_unchanged(stub: Any) -> None:
    posted = [annotation("p", "a"), annotation("q", "b", task_id="t")]
    answer = stub.PostAnnotations(post(*posted), metadata=METADATA)
    assert answer.status.code == status_code_pb2.SUCCESS
    assert [as_posted(it) for it in answer.annotations] == posted
    listed = stub.ListAnnotations(
        listing(input_ids=["p", "q"], ids=["a", "b"]), metadata=METADATA
    ).annotations
    assert [as_posted(it) for it in listed] == posted
    request = service_pb2.GetAnnotationRequest(user_app_id=USER_APP, input_id="q", annotation_id="b")
    assert as_posted(stub.GetAnnotation(request, metadata=METADATA).annotation) == posted[1]


def test_when_an_annotation_was_made_is_for_the_service_to_say(stub: Any) -> None:
    in_1970 = annotation("p", "a", created_at=Timestamp(seconds=1), modified_at=Timestamp(seconds=1))
    [served] = stub.PostAnnotations(post(in_1970), metadata=METADATA).annotations
    assert served.created_at.seconds > 1_700_000_000
    assert as_posted(served) == annotation("p", "a")


def test_fields_that_no_proto_names_survive_the_way_in_and_out(stub: Any) -> None:
    known = annotation("p", "a")
    with_more = resources_pb2.Annotation.FromString(known.SerializeToString() + b"\xfa\xff\x01\x04late")
    stub.PostAnnotations(post(with_more), metadata=METADATA)
    listed = stub.ListAnnotations(listing(input_ids=["p"], ids=["a"]), metadata=METADATA).annotations
    assert as_posted(listed[0]).SerializeToString() == with_more.SerializeToString()


def test_an_annotation_posted_without_an_id_gets_one(stub: Any) -> None:
    posted = stub.PostAnnotations(post(annotation("p"), annotation("p")), metadata=METADATA).annotations
    assert len({it.id for it in posted}) == 2
    assert all(it.id for it in posted)


def test_one_pairs_and_whole_inputs_are_deleted(stub: Any) -> None:
    stub.PostAnnotations(post(*(annotation(p, i) for p in "pq" for i in "abc")), metadata=METADATA)
    one = service_pb2.DeleteAnnotationRequest(user_app_id=USER_APP, input_id="p", annotation_id="a")
    assert stub.DeleteAnnotation(one, metadata=METADATA).status.code == status_code_pb2.SUCCESS
    assert ids(stub.ListAnnotations(listing(), metadata=METADATA)) == ["b", "c", "a", "b", "c"]
    stub.DeleteAnnotations(pairs(input_ids=["p", "q"], ids=["b", "c"]), metadata=METADATA)
    assert ids(stub.ListAnnotations(listing(), metadata=METADATA)) == ["c", "a", "b"]
    stub.DeleteAnnotations(pairs(input_ids=["q"]), metadata=METADATA)
    assert ids(stub.ListAnnotations(listing(), metadata=METADATA)) == ["c"]
    everything = stub.ListAnnotations(listing(list_all_annotations=True), metadata=METADATA).annotations
    assert [it.input_id for it in everything if it.input_level] == ["p", "q"]


async def test_the_aio_stub_does_the_same(aio_stub: Any) -> None:
    await aio_stub.PostAnnotations(post(annotation("p", "a"), annotation("p", "b")), metadata=METADATA)
    await aio_stub.DeleteAnnotations(pairs(input_ids=["p"], ids=["a"]), metadata=METADATA)
    assert ids(await aio_stub.ListAnnotations(listing(), metadata=METADATA)) == ["b"]


def test_lists_come_in_pages_oldest_first(stub: Any) -> None:
    names = [f"a{n:03}" for n in range(300)]
    for start in range(0, 300, 100):
        stub.PostAnnotations(
            post(*(annotation("p", name) for name in names[start : start + 100])), metadata=METADATA
        )
    page = [stub.ListAnnotations(listing(input_ids=["p"], page=n), metadata=METADATA) for n in (1, 2, 3, 4)]
    assert [len(answer.annotations) for answer in page] == [128, 128, 45, 0]
    assert [name for answer in page for name in ids(answer)] == names
    named = {"input_ids": ["p"] * 300, "ids": names}
    assert ids(stub.ListAnnotations(listing(**named, page=2, per_page=1000), metadata=METADATA)) == []
    assert len(ids(stub.ListAnnotations(listing(**named, per_page=1000), metadata=METADATA))) == 300
    refused = stub.ListAnnotations(listing(per_page=1001), metadata=METADATA)
    assert refused.status.code == status_code_pb2.CONN_INVALID_REQUEST


def test_what_models_made_is_listed_only_when_asked_for_or_named_in_pairs(stub: Any) -> None:
    stub.PostAnnotations(
        post(annotation("p", "a"), annotation("p", "m", model_version_id="v")), metadata=METADATA
    )
    assert ids(stub.ListAnnotations(listing(input_ids=["p"]), metadata=METADATA)) == ["a"]
    assert ids(
        stub.ListAnnotations(listing(input_ids=["p"], list_all_annotations=True), metadata=METADATA)
    ) == ["a", "m"]
    assert ids(stub.ListAnnotations(listing(input_ids=["p"], ids=["m"]), metadata=METADATA)) == ["m"]


FILTERS: dict[str, dict[str, Any]] = {
    "users": {"user_ids": ["u"]},
    "tasks": {"task_id": "t"},
    "statuses": {"statuses": [status_pb2.Status(code=status_code_pb2.ANNOTATION_PENDING)]},
    "model versions": {"model_version_ids": ["v"], "list_all_annotations": True},
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_lists_are_filtered(filters: dict[str, Any], stub: Any) -> None:
    match = annotation(
        "p", "match", user_id="u", task_id="t", model_version_id="v", trusted=True,
        status=status_pb2.Status(code=status_code_pb2.ANNOTATION_PENDING),
    )  # fmt: skip
    stub.PostAnnotations(post(annotation("p", "other", user_id="v", task_id="u"), match), metadata=METADATA)
    assert ids(stub.ListAnnotations(listing(**filters), metadata=METADATA)) == ["match"]


REFUSED: dict[str, tuple[Any, int, str]] = {
    "no input": (pairs(ids=["a"]), 11102, "input_ids is empty"),
    "other counts": (pairs(input_ids=["p"], ids=["a", "b"]), 11102, "1 input_ids and 2 ids cannot be paired"),
    "too many": (pairs(input_ids=["p"] * 129), 11102, "input_ids has 129 items, more than 128"),
    "a missing pair": (pairs(input_ids=["p", "p"], ids=["a", "z"]), 11101, 'no annotation "z" on input "p"'),
    "a missing input": (pairs(input_ids=["p", "z"]), 30102, 'no input "z"'),
    "no app": (service_pb2.DeleteAnnotationsRequest(input_ids=["p"]), 11102, "user_app_id is missing"),
}


@pytest.mark.parametrize(("request_", "code", "details"), REFUSED.values(), ids=REFUSED)
def test_a_deletion_that_is_refused_says_why_and_deletes_nothing(
    request_: Any, code: int, details: str
) -> None:
    with Emulator(missing_pair="refused") as emulator, official_stub(emulator) as stub:
        emulator.add_annotation("p", "a", user_id="me", app_id="cats")
        status = stub.DeleteAnnotations(request_, metadata=METADATA).status
        assert (status.code, details in status.details) == (code, True)
        assert ids(stub.ListAnnotations(listing(), metadata=METADATA)) == ["a"]


def test_a_post_is_refused_whole(stub: Any) -> None:
    stub.PostAnnotations(post(annotation("p", "a")), metadata=METADATA)
    again = stub.PostAnnotations(post(annotation("p", "b"), annotation("p", "a")), metadata=METADATA)
    nowhere = stub.PostAnnotations(post(annotation("p", "b"), annotation("z", "c")), metadata=METADATA)
    assert (again.status.code, nowhere.status.code) == (40010, 30102)
    assert ids(stub.ListAnnotations(listing(), metadata=METADATA)) == ["a"]


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((), status_code_pb2.CONN_CREDENTIALS_INVALID),
        ((("authorization", "made-up"),), status_code_pb2.CONN_CREDENTIALS_INVALID),
        ((*METADATA, ("x-clarifai-session-token", "t")), status_code_pb2.CONN_CREDENTIALS_INVALID),
        ((("x-clarifai-session-token", "t"),), status_code_pb2.SUCCESS),
    ],
    ids=["none", "no scheme", "both", "a token"],
)
def test_who_asks_must_say_so_in_one_way(metadata: Any, code: int, stub: Any) -> None:
    assert stub.ListAnnotations(listing(), metadata=metadata).status.code == code


def test_the_request_id_carries_the_prefix_that_was_sent(stub: Any) -> None:
    metadata = (*METADATA, ("x-clarifai-request-id-prefix", "sdk-python-12"))
    assert stub.ListAnnotations(listing(), metadata=metadata).status.req_id.startswith("sdk-python-12-")


def test_a_method_that_is_not_played_is_unimplemented(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.ListInputs(service_pb2.ListInputsRequest(user_app_id=USER_APP), metadata=METADATA)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.skipif(bool(SDK_MISSING), reason=SDK_MISSING)
@pytest.mark.filterwarnings("default")
def test_the_sdk_posts_lists_and_deletes(emulator: Emulator) -> None:
    from clarifai.client.input import Inputs

    inputs = Inputs(user_id="me", app_id="cats", pat="made-up", base_url=emulator.base_url)
    assert inputs.upload_annotations([annotation("p", "a"), annotation("p", "b"), annotation("q", "c")]) == []
    assert [it.id for it in inputs.list_annotations() if not it.input_level] == ["a", "b", "c"]
    inputs.delete_annotations(["p"], ["b"])
    assert [it.id for it in inputs.list_annotations() if not it.input_level] == ["a", "c"]
    inputs.delete_annotations(["p"])
    assert [it.id for it in inputs.list_annotations() if not it.input_level] == ["c"]
    # The trap: the same call with the IDs filtered down to none.
    inputs.delete_annotations(["q"], [])
    assert [it.id for it in inputs.list_annotations() if not it.input_level] == []
