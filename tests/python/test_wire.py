"""What our calls put on the wire, as Clarifai's own stubs read it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from clarifai_grpc.grpc.api import resources_pb2, service_pb2

from clarifai_annotations import Client, __version__
from conftest import KEY, client_of
from hostile_service import hostile_service
from official_service import OfficialService, certificate, deletion_answer, official_service

USER_APP = resources_pb2.UserAppIDSet(user_id="me", app_id="cats")

CALLS: dict[str, tuple[Callable[[Client], Any], Any]] = {
    "one": (
        lambda client: client.delete_annotation("photo", "box"),
        service_pb2.DeleteAnnotationRequest(user_app_id=USER_APP, input_id="photo", annotation_id="box"),
    ),
    "one awaited": (
        lambda client: client.delete_annotation_async("photo", "box"),
        service_pb2.DeleteAnnotationRequest(user_app_id=USER_APP, input_id="photo", annotation_id="box"),
    ),
    "pairs": (
        lambda client: client.delete_annotations(["p", "q"], ["a", "b"]),
        service_pb2.DeleteAnnotationsRequest(user_app_id=USER_APP, input_ids=["p", "q"], ids=["a", "b"]),
    ),
    "pairs awaited": (
        lambda client: client.delete_annotations_async(["p", "q"], ["a", "b"]),
        service_pb2.DeleteAnnotationsRequest(user_app_id=USER_APP, input_ids=["p", "q"], ids=["a", "b"]),
    ),
    "inputs": (
        lambda client: client.delete_input_annotations(["p", "q"]),
        service_pb2.DeleteAnnotationsRequest(user_app_id=USER_APP, input_ids=["p", "q"]),
    ),
    "inputs awaited": (
        lambda client: client.delete_input_annotations_async(["p", "q"]),
        service_pb2.DeleteAnnotationsRequest(user_app_id=USER_APP, input_ids=["p", "q"]),
    ),
}


async def finished(result: Any) -> Any:
    """The result of a call, whichever twin it was."""
    return await result if inspect.isawaitable(result) else result


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()


@pytest.fixture
def tls_service(authority: trustme.CA) -> Iterator[OfficialService]:
    """The official service behind TLS, with a certificate of the private authority."""
    with official_service(certificate(authority)) as service:
        yield service


@pytest.fixture
def roots(authority: trustme.CA, tmp_path: Path) -> Path:
    """The private authority's certificate in a file."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
async def test_a_call_sends_exactly_its_message_over_plain_http2(
    call: Callable[[Client], Any], message: Any, service: OfficialService, client: Client
) -> None:
    await finished(call(client))
    assert [recorded.message for recorded in service.calls] == [message]


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
async def test_a_call_sends_exactly_its_message_over_tls_with_a_private_authority(
    call: Callable[[Client], Any], message: Any, tls_service: OfficialService, roots: Path
) -> None:
    with client_of(tls_service, root_certificates_path=roots) as client:
        await finished(call(client))
    assert [recorded.message for recorded in tls_service.calls] == [message]


async def test_a_deletion_of_one_returns_nothing(client: Client) -> None:
    results = [client.delete_annotation("photo", "box"), await client.delete_annotation_async("photo", "box")]  # type: ignore[func-returns-value]
    assert results == [None, None]


def test_the_metadata_is_the_key_the_request_id_prefix_and_our_name_and_nothing_else(
    service: OfficialService, client: Client
) -> None:
    client.delete_annotation("photo", "box")
    metadata = service.calls[0].metadata
    agent = metadata.pop("user-agent")
    assert agent.startswith(f"clarifai-annotations/{__version__} tonic/")
    assert metadata == {
        "authorization": f"Key {KEY}",
        "x-clarifai-request-id-prefix": f"clarifai-annotations-{__version__}",
    }


def test_a_session_token_goes_in_its_own_header_and_no_key_with_it(service: OfficialService) -> None:
    with client_of(service, pat=None, session_token="made-up-token") as client:
        client.delete_annotation("photo", "box")
    metadata = service.calls[0].metadata
    assert (metadata["x-clarifai-session-token"], "authorization" in metadata) == ("made-up-token", False)


def test_ids_of_any_script_arrive_as_they_were_given(service: OfficialService, client: Client) -> None:
    client.delete_annotations(["фото", " padded "], ["図-1", "a\nb"])
    message = service.calls[0].message
    assert (list(message.input_ids), list(message.ids)) == (["фото", " padded "], ["図-1", "a\nb"])


def test_a_long_call_is_split_into_requests_of_128_that_keep_pairs_together(
    service: OfficialService,
) -> None:
    input_ids = [f"photo-{n}" for n in range(300)]
    annotation_ids = [f"box-{n}" for n in range(300)]
    with client_of(service, requests_per_second=None) as client:
        report = client.delete_annotations(input_ids, annotation_ids)
    messages = [call.message for call in service.calls]
    assert sorted(len(message.ids) for message in messages) == [44, 128, 128]
    sent = {pair for message in messages for pair in zip(message.input_ids, message.ids, strict=True)}
    assert sent == set(zip(input_ids, annotation_ids, strict=True))
    assert (report.requested, report.deleted, report.requests) == (300, 300, 3)


def test_a_repeated_pair_is_sent_once_and_counted(service: OfficialService, client: Client) -> None:
    report = client.delete_annotations(["p", "q", "p"], ["a", "b", "a"])
    message = service.calls[0].message
    assert (list(message.input_ids), list(message.ids)) == (["p", "q"], ["a", "b"])
    assert (report.requested, report.duplicates) == (2, 1)


def test_a_client_for_another_app_names_that_app_on_the_same_connection(
    service: OfficialService, client: Client
) -> None:
    client.for_app("dogs").delete_annotation("photo", "box")
    client.for_app("birds", user_id="you").delete_annotation("photo", "box")
    named = [(call.message.user_app_id.user_id, call.message.user_app_id.app_id) for call in service.calls]
    assert named == [("me", "dogs"), ("you", "birds")]


def test_a_batch_size_of_our_own_is_kept(service: OfficialService) -> None:
    with client_of(service, batch_size=2) as client:
        client.delete_input_annotations(["a", "b", "c"])
    assert sorted(len(call.message.input_ids) for call in service.calls) == [1, 2]


def test_the_metadata_asks_the_service_to_keep_to_the_request_timeout(service: OfficialService) -> None:
    remaining: list[float] = []

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        remaining.append(context.time_remaining())
        return deletion_answer(10000)(request, context)

    service.on_delete = answer
    with client_of(service, request_timeout=7.5) as client:
        client.delete_annotation("photo", "box")
    assert 0 < remaining[0] <= 7.5


@pytest.mark.parametrize("call", [call for call, _ in CALLS.values()], ids=CALLS)
async def test_a_small_request_arrives_in_one_piece(call: Callable[[Client], Any]) -> None:
    with (
        hostile_service() as service,
        Client(base_url=service.base_url, user_id="me", app_id="cats", pat=KEY) as client,
    ):
        for _ in range(20):
            await finished(call(client))
        # The first one waits for the connection.
        assert [request.last_read - request.first_read for request in service.requests[1:]] == [0] * 19
