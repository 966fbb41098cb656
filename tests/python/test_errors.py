"""What a caller learns when something fails, whichever way the failure comes."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

import clarifai_annotations
from clarifai_annotations import (
    ApiError,
    AuthenticationError,
    ClarifaiError,
    Client,
    ConfigurationError,
    DeadlineError,
    DeleteReport,
    DeletionError,
    IdError,
    NotFoundError,
    PermissionDeniedError,
    ThrottledError,
    TransportError,
)
from conftest import KEY, client_of
from official_service import Answer, OfficialService, deletion_answer, grpc_status, status

# Each: the answer, the exception, its code and name, and what the message advises.
FAILURES: dict[str, tuple[Answer, type[ApiError], int, str, str]] = {
    "wrong key": (
        deletion_answer(11009, "API key not found", "key is unknown", "r-1"),
        AuthenticationError, 11009, "CONN_KEY_NOT_FOUND", "Check the key in pat: keys are made at ",
    ),
    "wrong key by gRPC": (
        grpc_status(grpc.StatusCode.UNAUTHENTICATED, "no such key"),
        AuthenticationError, 16, "UNAUTHENTICATED", "Check the key",
    ),
    "missing scope": (
        deletion_answer(11007, "Insufficient scopes"),
        PermissionDeniedError, 11007, "CONN_INSUFFICIENT_SCOPES", "Give the key in pat the scopes Annotations_Add, Annotations_Delete, Annotations_Get, Apps_Get, Concepts_Get",
    ),
    "missing scope by gRPC": (
        grpc_status(grpc.StatusCode.PERMISSION_DENIED, "no"),
        PermissionDeniedError, 7, "PERMISSION_DENIED", "Give the key in pat the scopes Annotations_Add, Annotations_Delete, Annotations_Get, Apps_Get, Concepts_Get",
    ),
    "throttled": (
        deletion_answer(11005, "Request throttled", "exceeded limit of 15 requests per second"),
        ThrottledError, 11005, "CONN_THROTTLED", "lower than requests_per_second: wait, or lower that",
    ),
    "throttled by gRPC": (
        grpc_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down"),
        ThrottledError, 8, "RESOURCE_EXHAUSTED", "lower than requests_per_second: wait, or lower that",
    ),
    "an uncategorized failure": (
        deletion_answer(99004, "Uncategorized"), ApiError, 99004, "ANNOTATION_UNCATEGORIZED", "Uncategorized",
    ),
    "a code we do not list": (deletion_answer(10080, "Late"), ApiError, 10080, "UNKNOWN_CODE_10080", "Late"),
    "an internal error by gRPC": (grpc_status(grpc.StatusCode.INTERNAL, "oops"), ApiError, 13, "INTERNAL", "oops"),
}  # fmt: skip

STOPS_A_RUN = {"wrong key", "wrong key by gRPC", "missing scope"}
"""Failures that every other request would meet as well."""


@pytest.mark.parametrize(("answer", "error", "code", "name", "advice"), FAILURES.values(), ids=FAILURES)
def test_a_failed_deletion_of_one_raises_what_fits_with_everything_the_service_said(
    answer: Answer,
    error: type[ApiError],
    code: int,
    name: str,
    advice: str,
    service: OfficialService,
    client: Client,
) -> None:
    service.on_delete = answer
    service.there = {("photo", "box")}
    with pytest.raises(ApiError) as raised:
        client.delete_annotation("photo", "box")
    assert type(raised.value) is error
    assert (raised.value.code, raised.value.name) == (code, name)
    assert str(raised.value).startswith('annotation "box" of input "photo" was not deleted: ')
    assert advice in str(raised.value)


@pytest.mark.parametrize(("answer", "error", "code", "name", "advice"), FAILURES.values(), ids=FAILURES)
async def test_an_awaited_deletion_fails_the_same_way(
    answer: Answer,
    error: type[ApiError],
    code: int,
    name: str,
    advice: str,
    service: OfficialService,
    client: Client,
) -> None:
    service.on_delete = answer
    service.there = {("photo", "box")}
    with pytest.raises(error) as raised:
        await client.delete_annotation_async("photo", "box")
    assert (raised.value.code, raised.value.name, advice in str(raised.value)) == (code, name, True)


@pytest.mark.parametrize("failure", sorted(STOPS_A_RUN))
def test_a_credential_that_is_refused_stops_a_long_call_and_the_rest_is_unsent(
    failure: str, service: OfficialService
) -> None:
    service.on_delete = FAILURES[failure][0]
    with (
        client_of(service, batch_size=1, max_in_flight=1) as client,
        pytest.raises(FAILURES[failure][1]) as raised,
    ):
        client.delete_annotations(["p", "q", "r"], ["a", "b", "c"])
    report = raised.value.report
    assert report is not None
    assert (len(service.calls), report.failed, report.unsent) == (1, 1, 2)
    assert str(raised.value).startswith("3 of 3 IDs were not deleted (1 failed, 2 unsent): ")


@pytest.mark.parametrize("failure", sorted(FAILURES.keys() - STOPS_A_RUN))
def test_one_bad_batch_does_not_stop_the_others(failure: str, service: OfficialService) -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        fails = "bad" in request.ids
        return (FAILURES[failure][0] if fails else deletion_answer(10000))(request, context)

    service.on_delete = answer
    service.there = {("q", "bad")}
    with client_of(service, batch_size=1, max_in_flight=1) as client, pytest.raises(DeletionError) as raised:
        client.delete_annotations(["p", "q", "r"], ["a", "bad", "c"])
    report = raised.value.report
    assert report.deleted == 2
    assert [(item.input_id, item.annotation_id, item.position) for item in report.failures] == [
        ("q", "bad", 1)
    ]


def test_an_answer_without_a_status_leaves_unknown_whether_it_was_done(
    service: OfficialService, client: Client
) -> None:
    service.on_delete = lambda _request, _context: status_pb2.BaseResponse()
    service.there = {("photo", "box")}
    with pytest.raises(ApiError, match="the service's answer carries no status") as raised:
        client.delete_annotation("photo", "box")
    assert str(raised.value).startswith('whether annotation "box" of input "photo" was deleted is unknown')
    assert (raised.value.code, raised.value.name) == (0, "ZERO")


def test_a_missing_annotation_is_a_lookup_error_that_names_it(
    service: OfficialService, client: Client
) -> None:
    service.on_delete = deletion_answer(11101, "Annotation does not exist", req_id="r-7")
    with pytest.raises(NotFoundError, match='annotation "box" of input "photo" is not there') as raised:
        client.delete_annotation("photo", "box")
    assert isinstance(raised.value, LookupError)
    assert raised.value.request_id == "r-7"
    assert "pass missing_ok=True" in str(raised.value)


MISSING = {
    "does not exist": deletion_answer(11101),
    "input does not exist": deletion_answer(30102),
    "invalid argument": deletion_answer(24155),
    "failure": deletion_answer(10020),
    "gRPC not found": grpc_status(grpc.StatusCode.NOT_FOUND),
}


@pytest.mark.parametrize("answer", MISSING.values(), ids=MISSING)
def test_a_missing_annotation_is_absent_by_whatever_code_the_service_refuses(
    answer: Answer, service: OfficialService, client: Client
) -> None:
    service.on_delete = answer
    client.delete_annotation("photo", "box", missing_ok=True)
    with pytest.raises(NotFoundError):
        client.delete_annotation("photo", "box")


def test_missing_ok_does_not_hide_an_app_that_is_not_there(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(11101, "App does not exist")
    service.on_list = lambda _request, _context: status_answer(11101, "App does not exist")
    with pytest.raises(NotFoundError, match='Check user_id "me" and app_id "cats"'):
        client.delete_annotation("photo", "box", missing_ok=True)


def test_when_the_look_up_fails_it_is_that_failure_which_is_raised(
    service: OfficialService, client: Client
) -> None:
    service.on_delete = deletion_answer(11101, "Annotation does not exist")
    service.on_list = lambda _request, _context: status_answer(11005, "Throttled")
    with pytest.raises(
        ThrottledError, match='whether annotation "box" of input "photo" was deleted is unknown'
    ):
        client.delete_annotation("photo", "box", missing_ok=True)


def status_answer(code: int, description: str = "") -> Any:
    from clarifai_grpc.grpc.api import service_pb2

    return service_pb2.MultiAnnotationResponse(status=status(code, description))


def test_of_a_refused_batch_what_is_there_goes_and_what_is_missing_is_reported_absent(
    service: OfficialService, client: Client
) -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        return deletion_answer(11101 if "gone" in request.ids else 10000)(request, context)

    service.on_delete = answer
    service.there = {("p", "a"), ("r", "c")}
    report = client.delete_annotations(["p", "q", "r"], ["a", "gone", "c"], on_failure="report")
    assert (report.deleted, report.absent, report.ok, report.requests) == (2, 1, False, 3)
    assert [item.outcome for item in report.failures] == ["absent"]


def test_with_missing_ok_an_absent_one_is_no_failure_and_is_still_counted(
    service: OfficialService, client: Client
) -> None:
    service.on_delete = deletion_answer(11101)
    report = client.delete_annotations(["p"], ["a"], missing_ok=True)
    assert (report.ok, report.absent, report.deleted) == (True, 1, 0)


def test_a_batch_that_is_answered_with_mixed_status_is_looked_up_and_what_is_gone_was_deleted(
    service: OfficialService, client: Client
) -> None:
    service.on_delete = deletion_answer(10010, "Mixed")
    service.there = {("q", "b")}
    report = client.delete_annotations(["p", "q"], ["a", "b"], on_failure="report")
    assert (report.deleted, report.failed) == (1, 1)
    assert report.failures[0].name == "MIXED_STATUS"


def test_a_culprit_is_found_by_halving_within_the_promised_number_of_requests(
    service: OfficialService,
) -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        return deletion_answer(24156 if "locked" in request.ids else 10000)(request, context)

    service.on_delete = answer
    annotation_ids = [f"a{n}" for n in range(127)] + ["locked"]
    input_ids = [f"p{n}" for n in range(128)]
    service.there = set(zip(input_ids, annotation_ids, strict=True))
    with client_of(service, requests_per_second=None) as client:
        report = client.delete_annotations(input_ids, annotation_ids, on_failure="report")
    assert (report.deleted, report.failed) == (127, 1)
    assert report.failures[0].annotation_id == "locked"
    assert report.requests == len(service.calls) <= 2 * 7 + 3


def test_a_refused_input_is_found_by_halving_and_the_other_inputs_are_done(
    service: OfficialService, client: Client
) -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        return deletion_answer(30103 if "locked" in request.input_ids else 10000)(request, context)

    def listed(_request: Any, _context: grpc.ServicerContext) -> Any:
        answer = status_answer(10000)
        answer.annotations.add(input_id="locked", id="a")
        return answer

    service.on_delete, service.on_list = answer, listed
    report = client.delete_input_annotations(["p", "locked", "r"], on_failure="report")
    assert (report.deleted, [(item.input_id, item.outcome) for item in report.failures]) == (
        2,
        [("locked", "failed")],
    )
    assert all(not call.message.ids for call in service.deletions)


def test_a_throttled_request_is_sent_again_and_counted(service: OfficialService) -> None:
    answers = iter([deletion_answer(11005), deletion_answer(10000)])
    service.on_delete = lambda request, context: next(answers)(request, context)
    with client_of(service, max_attempts=2) as client:
        report = client.delete_annotations(["p"], ["a"])
    assert (report.deleted, report.requests, report.retries, report.throttled) == (1, 2, 1, 1)


def test_an_unanswered_request_that_was_carried_out_is_found_deleted_by_a_list(
    service: OfficialService,
) -> None:
    service.on_delete = grpc_status(grpc.StatusCode.UNAVAILABLE, "connection lost")
    with client_of(service, max_attempts=3) as client:
        client.delete_annotation("photo", "box")
    assert [call.method for call in service.calls] == ["DeleteAnnotation", "ListAnnotations"]


@contextmanager
def closed_port() -> Iterator[int]:
    """A loopback port on which nothing listens, kept from others for as long."""
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        yield placeholder.getsockname()[1]


def test_a_server_that_is_not_there_is_a_connection_error_that_names_it() -> None:
    with closed_port() as port:
        client = Client(
            user_id="me", app_id="cats", pat=KEY, base_url=f"http://127.0.0.1:{port}", max_attempts=1
        )
        with pytest.raises(TransportError) as raised:
            client.delete_annotation("photo", "box")
    assert isinstance(raised.value, ConnectionError)
    assert f"http://127.0.0.1:{port} could not be reached: Connection refused" in str(raised.value)
    assert "nothing listens there: is base_url right, and is the service up?" in str(raised.value)


def test_a_server_that_is_not_there_ends_a_long_call_with_everything_unsent() -> None:
    with closed_port() as port:
        client = Client(
            user_id="me", app_id="cats", pat=KEY, base_url=f"http://127.0.0.1:{port}", max_attempts=2,
            batch_size=1, requests_per_second=None,
        )  # fmt: skip
        report = client.delete_annotations(["p", "q"], ["a", "b"], on_failure="report")
    assert (report.unsent, report.failures[0].name) == (2, "")


def test_a_request_that_is_not_answered_in_time_is_a_timeout_whose_outcome_is_unknown(
    service: OfficialService,
) -> None:
    service.on_delete = service.never_answer
    service.on_list = grpc_status(grpc.StatusCode.UNAVAILABLE)
    with client_of(service, request_timeout=0.2) as client, pytest.raises(DeadlineError) as raised:
        client.delete_annotation("photo", "box")
    assert isinstance(raised.value, TimeoutError)
    assert str(raised.value).startswith('whether annotation "box" of input "photo" was deleted is unknown')
    # The service keeps to the same time, and may be the one that says so.
    message = str(raised.value)
    assert "gave no answer within 0.2 s (request_timeout)" in message or "did not finish in time" in message


def test_a_call_that_takes_longer_than_its_timeout_ends_with_what_is_known(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    with client_of(service, batch_size=1, max_in_flight=1) as client, pytest.raises(DeadlineError) as raised:
        client.delete_annotations(["p", "q"], ["a", "b"], timeout=0.2)
    report = raised.value.report
    assert report is not None
    assert (report.unknown, report.unsent) == (1, 1)
    assert "the call was not done within 0.2 s (timeout)" in str(raised.value)


def test_when_the_time_is_over_nothing_more_is_sent_and_answers_on_their_way_are_awaited(
    service: OfficialService,
) -> None:
    late = threading.Event()

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        late.wait(timeout=30)
        return deletion_answer(10000)(request, context)

    service.on_delete = answer
    releases = threading.Timer(0.5, late.set)
    releases.start()
    with client_of(service, batch_size=1, max_in_flight=1) as client, pytest.raises(DeadlineError) as raised:
        client.delete_annotations(["p", "q"], ["a", "b"], timeout=0.1)
    releases.join()
    report = raised.value.report
    assert isinstance(report, DeleteReport)
    assert (report.deleted, report.unsent, len(service.calls)) == (1, 1, 1)


def test_a_call_whose_time_is_over_does_not_wait_for_its_turn(service: OfficialService) -> None:
    with client_of(service, batch_size=1, requests_per_second=0.01) as client:
        report = client.delete_annotations(["p", "q"], ["a", "b"], timeout=0.2, on_failure="report")
    assert (report.deleted, report.unsent, report.elapsed < 60) == (1, 1, True)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_no_time_is_refused(
    timeout: float, service: OfficialService, client: Client
) -> None:
    with pytest.raises(
        ValueError, match=r"timeout is .*: give a number of seconds above 0\. Nothing was sent"
    ):
        client.delete_annotation("photo", "box", timeout=timeout)
    assert service.calls == []


def test_on_failure_takes_two_words_and_no_other(service: OfficialService, client: Client) -> None:
    with pytest.raises(ValueError, match='on_failure is "ignore": give "raise" or "report"'):
        client.delete_annotations(["p"], ["a"], on_failure="ignore")  # type: ignore[arg-type]
    assert service.calls == []


def test_a_closed_client_says_so(service: OfficialService, client: Client) -> None:
    client.close()
    with pytest.raises(ClarifaiError, match="this client is closed: make a new Client"):
        client.delete_annotation("photo", "box")
    with pytest.raises(ClarifaiError, match="this client is closed"):
        client.delete_annotations(["p"], ["a"])
    assert service.calls == []


def test_the_key_is_in_no_error_and_no_repr(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(11009, "API key not found")
    with pytest.raises(AuthenticationError) as raised:
        client.delete_annotation("photo", "box")
    assert KEY not in f"{raised.value!r} {raised.value} {raised.value.__dict__} {client!r}"


ERRORS: list[ClarifaiError] = [
    ClarifaiError("text"),
    ConfigurationError("text"),
    IdError("text", index=3),
    clarifai_annotations.IdTypeError("text", index=3),
    ApiError("text", code=1, name="N", description="d", details="e", request_id="r"),
    AuthenticationError("text", code=1),
    PermissionDeniedError("text", code=1),
    NotFoundError("text", code=1),
    ThrottledError("text", code=1),
    TransportError("text"),
    DeadlineError("text"),
    DeletionError("text"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_can_be_pickled(error: ClarifaiError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), "text", error.__dict__)


def test_an_error_takes_its_report_through_pickle(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(11101, "Not there", req_id="r-9")
    with pytest.raises(DeletionError) as raised:
        client.delete_annotations(["p", "q", "p"], ["a", "b", "a"])
    report, again = raised.value.report, pickle.loads(pickle.dumps(raised.value)).report
    assert repr(again) == repr(report)
    assert repr(again.failures) == repr(report.failures)


def test_failures_are_a_sequence_in_the_order_of_the_call(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(11101)
    failures = client.delete_annotations(["p", "q", "r"], ["a", "b", "c"], on_failure="report").failures
    assert len(failures) == 3
    assert [item.input_id for item in failures] == ["p", "q", "r"]
    assert (failures[-1].input_id, [item.input_id for item in failures[::-2]]) == ("r", ["r", "p"])
    with pytest.raises(IndexError):
        failures[3]


def test_the_counts_of_a_report_add_up(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(11101)
    service.there = {("q", "b")}
    report = client.delete_annotations(["p", "q", "q"], ["a", "b", "b"], on_failure="report")
    counts = (report.deleted, report.absent, report.failed, report.unknown, report.unsent)
    assert (sum(counts), report.requested, report.duplicates) == (2, 2, 1)


def test_every_status_code_we_know_is_the_services_own() -> None:
    for answer, _error, code, name, _advice in FAILURES.values():
        if name.startswith(("CONN_", "ANNOTATION_")):
            assert status_code_pb2.StatusCode.Value(name) == code, answer
