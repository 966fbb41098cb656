"""Status codes and sizes of the public record, played by a service of Clarifai's own servicer class: what a call does about each."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.auth.scope import scope_pb2
from clarifai_grpc.grpc.auth.util import extension_pb2

from clarifai_annotations import (
    ApiError,
    Client,
    DeleteReport,
    PermissionDeniedError,
    Progress,
    ThrottledError,
)
from copies import Pair, columns, copies
from recorded_service import (
    RecordedService,
    Reply,
    always,
    by_model,
    by_user,
    counts,
    input_level,
    once,
    recorded_service,
    without_times,
)


@pytest.fixture
def service() -> Iterator[RecordedService]:
    with recorded_service() as service:
        yield service


@pytest.fixture
def client(service: RecordedService) -> Iterator[Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backup.parquet"


def methods(service: RecordedService) -> list[str]:
    return [call.method for call in service.calls]


def boxes(service: RecordedService, count: int) -> list[Pair]:
    """Add so many annotations, one an input."""
    return service.add(*(by_user(f"p{i}", f"a{i}") for i in range(count)))


def saved(service: RecordedService, client: Client, path: Path, *annotations: bytes) -> list[Pair]:
    """Add annotations, and delete them with a backup."""
    pairs = service.add(*annotations)
    client.delete_annotations(*columns(pairs), backup=path)
    assert service.annotations == {}
    service.calls.clear()
    return pairs


# Scopes


def scopes(*names: str) -> set[str]:
    """The scopes that methods need, by Clarifai's own descriptors."""
    found = service_pb2.DESCRIPTOR.services_by_name["V2"].methods_by_name
    options = [found[name].GetOptions() for name in names]
    needed = [scope for it in options for scope in it.Extensions[extension_pb2.cl_depending_scopes]]
    return {scope_pb2.S.Name(scope) for scope in needed}


MISSING_SCOPES: dict[str, tuple[Callable[[Client, Path], Any], set[str]]] = {
    "one": (
        lambda client, _: client.delete_annotation("p", "a"),
        scopes("DeleteAnnotation", "ListAnnotations"),
    ),
    "pairs": (
        lambda client, _: client.delete_annotations(["p"], ["a"]),
        scopes("DeleteAnnotations", "ListAnnotations"),
    ),
    "inputs": (
        lambda client, _: client.delete_input_annotations(["p"]),
        scopes("DeleteAnnotations", "ListAnnotations"),
    ),
    "plan": (lambda client, _: client.plan_deletion(["p"], ["a"]), scopes("ListAnnotations")),
    "restoration": (
        lambda client, path: client.restore_annotations(path),
        scopes("PostAnnotations", "ListAnnotations"),
    ),
}


@pytest.mark.parametrize(("call", "needed"), MISSING_SCOPES.values(), ids=MISSING_SCOPES)
def test_a_missing_scope_stops_a_call_and_the_error_names_all_that_it_needs(
    call: Callable[[Client, Path], Any],
    needed: set[str],
    service: RecordedService,
    client: Client,
    path: Path,
) -> None:
    saved(service, client, path, by_user("p", "a"))
    service.before = always("", Reply(11007, "Insufficient scopes", "missing: Annotations_Get"))
    with pytest.raises(PermissionDeniedError) as raised:
        call(client, path)
    assert {*re.findall(r"\w+_(?:Get|Add|Delete)\b", str(raised.value))} == needed


# What is too large

TOO_LARGE = {
    "gRPC": Reply(
        grpc_code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        description="grpc: trying to send message larger than max (4000 vs. 1500)",
    ),
    "RPC_MAX_MESSAGE_SIZE_EXCEEDED": Reply(40033, "Message too large"),
    "FAILURE": Reply(10020, "Failure"),
}
EVERY_REFUSAL = pytest.mark.parametrize("refusal", TOO_LARGE.values(), ids=TOO_LARGE)


def with_heavy_ones(service: RecordedService, refusal: Reply) -> dict[Pair, bytes]:
    """12 annotations of which no two fit into an answer."""
    data = resources_pb2.Data(text=resources_pb2.Text(raw="x" * 1000))
    service.add(*(by_user(f"p{i % 2}", f"a{i}", data=data) for i in range(12)))
    service.too_large, service.most_bytes = refusal, 1500
    return dict(service.annotations)


@EVERY_REFUSAL
def test_a_list_of_pairs_that_is_too_large_is_split_until_it_fits(
    refusal: Reply, service: RecordedService, client: Client, path: Path
) -> None:
    before = with_heavy_ones(service, refusal)
    report = client.delete_annotations(*columns(before), backup=path)
    assert (report.deleted, dict(copies(path)), service.annotations) == (12, before, {})


@EVERY_REFUSAL
def test_a_page_of_inputs_that_is_too_large_gets_smaller_until_it_fits(
    refusal: Reply, service: RecordedService, client: Client, path: Path
) -> None:
    before = with_heavy_ones(service, refusal)
    report = client.delete_input_annotations(["p0", "p1"], backup=path)
    assert (report.deleted, dict(copies(path)), service.annotations) == (2, before, {})


@EVERY_REFUSAL
def test_a_list_that_is_too_large_is_no_throttling(
    refusal: Reply, service: RecordedService, client: Client
) -> None:
    before = with_heavy_ones(service, refusal)
    report = client.delete_annotations(*columns(before), look_first=True)
    assert (report.deleted, report.throttled) == (12, 0)


@EVERY_REFUSAL
@pytest.mark.parametrize("names", ["pairs", "inputs"])
def test_a_plan_is_made_of_lists_that_fit(
    names: str, refusal: Reply, service: RecordedService, client: Client
) -> None:
    before = with_heavy_ones(service, refusal)
    if names == "pairs":
        plan = client.plan_deletion(*columns(before))
    else:
        plan = client.plan_input_deletion(["p0", "p1"])
    assert plan.deletions == 12


@pytest.mark.parametrize("refusal", [TOO_LARGE["gRPC"], TOO_LARGE["RPC_MAX_MESSAGE_SIZE_EXCEEDED"]])
def test_an_annotation_that_fits_into_no_answer_is_not_deleted_where_it_is_to_be_saved(
    refusal: Reply, service: RecordedService, client: Client, path: Path
) -> None:
    heavy = with_heavy_ones(service, refusal)
    light = service.add(*(by_user("light", f"a{i}") for i in range(3)))
    service.most_bytes = 900
    report = client.delete_annotations(*columns([*heavy, *light]), backup=path, on_failure="report")
    assert (counts(report), service.annotations) == ((3, 0, 12, 0, 0), heavy)


def test_a_restoration_of_60_mb_goes_through_in_posts_below_8_mib(
    service: RecordedService, client: Client, path: Path
) -> None:
    noise = random.Random(0)
    images = (resources_pb2.Image(base64=noise.randbytes(200_000)) for _ in range(300))
    annotations = [
        by_user("p", f"a{i}", data=resources_pb2.Data(image=image)) for i, image in enumerate(images)
    ]
    saved(service, client, path, *annotations)
    report = client.restore_annotations(path)
    largest = max(call.size for call in service.of("Post"))
    there = {*service.annotations.values()} == {without_times(it) for it in annotations}
    assert (report.restored, report.throttled, largest < 8 << 20, there) == (300, 0, True, True)


@pytest.mark.parametrize("refusal", [TOO_LARGE["gRPC"], TOO_LARGE["RPC_MAX_MESSAGE_SIZE_EXCEEDED"]])
def test_a_post_whose_answer_is_too_large_is_restored(
    refusal: Reply, service: RecordedService, client: Client, path: Path
) -> None:
    saved(service, client, path, *(by_user("p", f"a{i}") for i in range(20)))
    service.after = always("Post", refusal)
    report = client.restore_annotations(path)
    assert (report.restored, report.present, report.throttled) == (20, 0, 0)


@pytest.mark.parametrize("refusal", [TOO_LARGE["gRPC"], TOO_LARGE["RPC_MAX_MESSAGE_SIZE_EXCEEDED"]])
def test_a_post_that_is_too_large_goes_in_smaller_ones(
    refusal: Reply, service: RecordedService, client: Client, path: Path
) -> None:
    saved(service, client, path, *(by_user("p", f"a{i}") for i in range(20)))
    service.before = lambda call: (
        refusal if call.method == "PostAnnotations" and len(call.pairs) > 3 else None
    )
    report = client.restore_annotations(path)
    assert (report.restored, report.throttled, len(service.annotations)) == (20, 0, 20)


# Temporary codes

TEMPORARY = pytest.mark.parametrize(
    "code",
    [
        *(10030, 40011, 40013, 40015, 40016, 40030, 40031, 40032, 41000),
        *(98004, 98006, 98009, 98013, 98014, 99009),
    ],
)


@TEMPORARY
def test_a_list_that_meets_a_temporary_error_is_asked_again(
    code: int, service: RecordedService, client: Client
) -> None:
    pairs = boxes(service, 5)
    service.before = once("List", Reply(code, "please try again"))
    assert (client.plan_deletion(*columns(pairs)).deletions, len(service.calls)) == (5, 2)


@TEMPORARY
def test_a_deletion_that_met_a_temporary_error_before_it_was_carried_out_is_looked_up_and_sent_again(
    code: int, service: RecordedService, client: Client
) -> None:
    pairs = boxes(service, 64)
    service.before = once("Delete", Reply(code, "please try again"))
    report = client.delete_annotations(*columns(pairs))
    assert (counts(report), methods(service)) == (
        (64, 0, 0, 0, 0),
        ["DeleteAnnotations", "ListAnnotations", "DeleteAnnotations"],
    )


@TEMPORARY
def test_a_deletion_that_met_a_temporary_error_after_it_was_carried_out_is_not_sent_again(
    code: int, service: RecordedService, client: Client
) -> None:
    pairs = boxes(service, 64)
    service.after = once("Delete", Reply(code, "please try again"))
    report = client.delete_annotations(*columns(pairs))
    assert (counts(report), methods(service)) == ((64, 0, 0, 0, 0), ["DeleteAnnotations", "ListAnnotations"])


@TEMPORARY
def test_a_temporary_error_after_a_part_was_carried_out_sends_only_the_rest_again(
    code: int, service: RecordedService, client: Client
) -> None:
    pairs = boxes(service, 64)

    def carry_out_half(call: Any) -> Reply | None:
        if not call.deletes or len(service.of("Delete")) > 1:
            return None
        for pair in call.pairs[:32]:
            del service.annotations[pair]
        return Reply(code, "please try again")

    service.before = carry_out_half
    report = client.delete_annotations(*columns(pairs))
    assert (counts(report), [len(call.pairs) for call in service.of("Delete")]) == (
        (64, 0, 0, 0, 0),
        [64, 32],
    )


@TEMPORARY
@pytest.mark.parametrize("is_carried_out", [False, True])
def test_a_single_deletion_that_met_a_temporary_error_is_done_once(
    is_carried_out: bool, code: int, service: RecordedService, client: Client
) -> None:
    (pair,) = boxes(service, 1)
    rule = once("Delete", Reply(code, "please try again"))
    service.before, service.after = (None, rule) if is_carried_out else (rule, None)
    client.delete_annotation(*pair)
    assert (service.annotations, len(service.of("Delete"))) == ({}, 1 if is_carried_out else 2)


@TEMPORARY
def test_inputs_that_met_a_temporary_error_are_deleted_without_halving(
    code: int, service: RecordedService, client: Client
) -> None:
    inputs = [pair[0] for pair in boxes(service, 64)]
    service.before = once("Delete", Reply(code, "please try again"))
    report = client.delete_input_annotations(inputs)
    assert (counts(report), len(service.of("Delete"))) == ((64, 0, 0, 0, 0), 2)


@TEMPORARY
@pytest.mark.parametrize("is_carried_out", [False, True])
def test_a_post_that_met_a_temporary_error_is_restored_and_not_posted_twice(
    is_carried_out: bool, code: int, service: RecordedService, client: Client, path: Path
) -> None:
    saved(service, client, path, *(by_user("p", f"a{i}") for i in range(9)))
    rule = once("Post", Reply(code, "please try again"))
    service.before, service.after = (None, rule) if is_carried_out else (rule, None)
    report = client.restore_annotations(path)
    assert (report.restored, len(service.of("Post"))) == (9, 1 if is_carried_out else 2)


def test_a_temporary_error_that_stays_ends_without_halving(service: RecordedService) -> None:
    pairs = boxes(service, 64)
    service.before = always("Delete", Reply(99009, "please try again"))
    with service.client(max_attempts=3) as client:
        client.delete_annotations(*columns(pairs), on_failure="report")
    assert [len(call.pairs) for call in service.of("Delete")] == [64, 64, 64]


def test_maintenance_stops_a_run_and_the_error_says_so(service: RecordedService) -> None:
    pairs = boxes(service, 300)
    service.before = always("", Reply(39997, "Disabled"))
    with service.client(max_in_flight=1) as client, pytest.raises(ApiError, match="maintenance") as raised:
        client.delete_annotations(*columns(pairs))
    report = raised.value.report
    assert isinstance(report, DeleteReport)
    assert (len(service.calls), report.unsent) == (1, 172)


# Limits of the account


def exhausted(service: RecordedService, code: int) -> ThrottledError:
    """What a call of 2,000 pairs ends with where every request meets this limit."""
    pairs = boxes(service, 2000)
    service.before = always("", Reply(code, "Limit"))
    with (
        service.client(max_in_flight=1, request_timeout=1) as client,
        pytest.raises(ThrottledError) as raised,
    ):
        client.delete_annotations(*columns(pairs))
    return raised.value


@pytest.mark.parametrize(("code", "requests"), [(11003, 2), (11004, 1), (11006, 1)])
def test_a_limit_of_the_account_stops_a_run_at_once_or_after_one_more_attempt(
    code: int, requests: int, service: RecordedService
) -> None:
    exhausted(service, code)
    assert methods(service) == ["DeleteAnnotations"] * requests


@pytest.mark.parametrize("code", [11003, 11004, 11006])
def test_behind_a_limit_of_the_account_the_rest_is_unsent(code: int, service: RecordedService) -> None:
    report = exhausted(service, code).report
    assert isinstance(report, DeleteReport)
    assert (report.unsent, report.deleted) == (2000 - 128, 0)


@pytest.mark.parametrize(
    ("code", "which"), [(11003, "hourly limit"), (11004, "monthly limit"), (11006, "A limit of the account")]
)
def test_a_limit_of_the_account_is_named_with_the_place_to_look(
    code: int, which: str, service: RecordedService
) -> None:
    error = str(exhausted(service, code))
    assert (which in error, "Billing, at https://clarifai.com" in error) == (True, True)


@pytest.mark.parametrize("code", [11004, 11006, 39997])
def test_what_no_request_gets_past_stops_a_run_also_where_a_list_meets_it(
    code: int, service: RecordedService
) -> None:
    pairs = boxes(service, 2000)
    replies = {"DeleteAnnotations": Reply(10020, "Failure"), "ListAnnotations": Reply(code)}
    service.before = lambda call: replies[call.method]
    with service.client(max_in_flight=1) as client, pytest.raises(ApiError, match=f"({code})") as raised:
        client.delete_annotations(*columns(pairs))
    report = raised.value.report
    assert isinstance(report, DeleteReport)
    assert (methods(service), report.unsent) == (["DeleteAnnotations", "ListAnnotations"], 2000 - 128)


def test_an_hourly_limit_that_is_counted_anew_stops_nothing(service: RecordedService) -> None:
    pairs = boxes(service, 300)
    service.before = once("Delete", Reply(11003, "Limit"))
    with service.client(max_in_flight=1, request_timeout=1) as client:
        assert counts(client.delete_annotations(*columns(pairs))) == (300, 0, 0, 0, 0)


# Successes by another code

SUCCESSES = pytest.mark.parametrize("code", [10001, 10002, 10070])


@SUCCESSES
def test_a_deletion_by_another_code_of_success_is_done_and_the_report_warns_of_the_code(
    code: int, service: RecordedService, client: Client
) -> None:
    service.success = code
    report = client.delete_annotations(*columns(boxes(service, 5)))
    (warning,) = report.warnings
    assert (counts(report), len(service.calls), f"({code})" in warning) == ((5, 0, 0, 0, 0), 1, True)


@SUCCESSES
def test_a_single_deletion_by_another_code_of_success_is_done(
    code: int, service: RecordedService, client: Client
) -> None:
    service.success = code
    client.delete_annotation(*boxes(service, 1)[0])
    assert methods(service) == ["DeleteAnnotation"]


@SUCCESSES
def test_a_list_by_another_code_of_success_is_taken(
    code: int, service: RecordedService, client: Client
) -> None:
    service.success = code
    assert client.plan_deletion(*columns(boxes(service, 5))).deletions == 5


@SUCCESSES
def test_a_post_by_another_code_of_success_is_done_and_the_report_warns_of_the_code(
    code: int, service: RecordedService, client: Client, path: Path
) -> None:
    saved(service, client, path, by_user("p", "a"))
    service.success = code
    report = client.restore_annotations(path)
    (warning,) = report.warnings
    assert (report.restored, f"({code})" in warning) == (1, True)


# Batches that fail for one of them


def mixed(service: RecordedService, *, absent: int = 5) -> list[Pair]:
    """200 annotations that are there, and some that are not among them."""
    pairs = boxes(service, 200)
    for i in range(absent):
        pairs.insert(40 * i, (f"p{i}", "missing"))
    return pairs


def test_of_a_batch_that_is_answered_failure_though_the_rest_was_deleted_nothing_is_failed(
    service: RecordedService, client: Client
) -> None:
    service.answers_failure_for_missing = True
    report = client.delete_annotations(*columns(mixed(service)), missing_ok=True)
    assert (report.deleted + report.absent, service.annotations) == (205, {})


def test_after_a_look_the_counts_of_a_batch_that_is_answered_failure_are_exact(
    service: RecordedService, client: Client
) -> None:
    service.after = always("Delete", Reply(10020, "Failure"))
    report = client.delete_annotations(*columns(mixed(service)), look_first=True, missing_ok=True)
    assert counts(report) == (200, 5, 0, 0, 0)


def test_after_a_look_a_service_that_fails_for_what_is_missing_is_given_no_reason_to(
    service: RecordedService, client: Client
) -> None:
    service.answers_failure_for_missing = True
    report = client.delete_annotations(*columns(mixed(service)), look_first=True, missing_ok=True)
    assert (counts(report), len(service.of("Delete"))) == ((200, 5, 0, 0, 0), 2)


def test_what_is_locked_in_a_batch_that_is_answered_failure_is_failed_and_the_others_are_deleted(
    service: RecordedService, client: Client
) -> None:
    pairs = mixed(service, absent=0)
    service.answers_failure_for_missing, service.locked = True, {pairs[7], pairs[150]}
    report = client.delete_annotations(*columns(pairs), on_failure="report")
    failed = {(it.input_id, it.annotation_id) for it in report.failures}
    assert (counts(report), failed) == ((198, 0, 2, 0, 0), service.locked)


def test_inputs_that_were_deleted_and_answered_failure_are_not_failed(
    service: RecordedService, client: Client
) -> None:
    inputs = [pair[0] for pair in boxes(service, 20)]
    service.add(*(input_level(it) for it in inputs))
    service.after = always("Delete", Reply(10020, "Failure"))
    assert counts(client.delete_input_annotations(inputs)) == (20, 0, 0, 0, 0)


def test_a_locked_input_among_others_that_were_deleted_and_answered_failure_is_failed_alone(
    service: RecordedService, client: Client
) -> None:
    pairs = boxes(service, 20)
    service.add(*(input_level(it) for it, _ in pairs))
    service.answers_failure_for_missing, service.locked = True, {pairs[3]}
    report = client.delete_input_annotations(columns(pairs)[0], on_failure="report")
    assert (counts(report), report.failures[0].input_id) == ((19, 0, 1, 0, 0), "p3")


def test_a_post_that_was_carried_out_and_answered_failure_is_restored(
    service: RecordedService, client: Client, path: Path
) -> None:
    saved(service, client, path, *(by_user("p", f"a{i}") for i in range(20)))
    service.after = always("Post", Reply(10020, "Failure"))
    report = client.restore_annotations(path)
    assert (report.restored, len(service.of("Post"))) == (20, 1)


@pytest.mark.parametrize("answers_failure", [False, True])
@pytest.mark.parametrize("look_first", [False, True])
def test_a_failure_does_not_name_what_failed_beside_it(
    look_first: bool, answers_failure: bool, service: RecordedService, client: Client
) -> None:
    pairs = boxes(service, 100)
    service.answers_failure_for_missing, service.locked = answers_failure, {*pairs[20:50:3]}
    report = client.delete_annotations(*columns(pairs), look_first=look_first, on_failure="report")
    named = {it.annotation_id: {*re.findall(r"\ba\d+\b", it.message)} for it in report.failures}
    assert len(named) == 10
    assert [names - {own} for own, names in named.items()] == [set()] * 10


def test_a_failure_of_a_run_that_is_stopped_does_not_name_what_failed_beside_it(
    service: RecordedService,
) -> None:
    pairs = boxes(service, 100)
    service.locked = {*pairs[20:50:3]}
    service.before = lambda _: Reply(11004) if len(service.of("Delete")) > 2 else None
    with service.client(max_in_flight=1) as client:
        report = client.delete_annotations(*columns(pairs), on_failure="report")
    named = {it.annotation_id: {*re.findall(r"\ba\d+\b", it.message)} for it in report.failures}
    assert [names - {own} for own, names in named.items()] == [set()] * len(named)


def all_locked(service: RecordedService) -> list[Pair]:
    """1,280 annotations of alice that may not be deleted."""
    pairs = boxes(service, 1280)
    service.locked = {*pairs}
    return pairs


def test_1280_locked_annotations_cost_little_more_than_a_request_each(
    service: RecordedService, client: Client
) -> None:
    report = client.delete_annotations(*columns(all_locked(service)), on_failure="report")
    assert report.failed == 1280
    assert len(service.calls) <= 1280 * 1.05 + 60


def test_progress_counts_refusals_while_the_call_goes_on(service: RecordedService) -> None:
    pairs = all_locked(service)[:512]
    held, shown = threading.Event(), threading.Event()

    def hold_the_third_batch(call: Any) -> None:
        if {*call.pairs} & {*pairs[256:384]} and not held.is_set():
            held.set()
            shown.wait(30)

    def watch(progress: Progress) -> None:
        if held.is_set() and 256 <= progress.failed < 512:
            shown.set()

    service.before = hold_the_third_batch
    with service.client(max_in_flight=1, request_timeout=60) as client:
        client.delete_annotations(*columns(pairs), on_failure="report", progress=watch)
    assert shown.is_set()


def test_what_a_list_shows_to_be_anothers_costs_a_collaborator_few_requests(
    service: RecordedService, client: Client
) -> None:
    service.caller_id = "bob"
    report = client.delete_annotations(*columns(all_locked(service)), on_failure="report")
    assert report.failed == 1280
    assert len(service.calls) <= 60


def test_a_collaborators_own_annotations_are_deleted_among_others(
    service: RecordedService, client: Client
) -> None:
    service.caller_id = "bob"
    service.locked = {*boxes(service, 200)}
    own = service.add(*(by_user("q", f"b{i}", "bob") for i in range(56)))
    pairs = [*service.locked, *own]
    random.Random(0).shuffle(pairs)
    report = client.delete_annotations(*columns(pairs), on_failure="report")
    assert (counts(report), {*service.annotations}) == ((56, 0, 200, 0, 0), service.locked)


def test_what_models_made_is_not_taken_for_anothers(service: RecordedService, client: Client) -> None:
    service.caller_id = "bob"
    service.locked = {*boxes(service, 20)}
    pairs = [*service.locked, *service.add(*(by_model("q", f"b{i}") for i in range(50)))]
    report = client.delete_annotations(*columns(pairs), on_failure="report")
    assert (counts(report), {*service.annotations}) == ((50, 0, 20, 0, 0), service.locked)


def test_an_owner_is_not_taken_for_a_collaborator_by_the_case_of_the_name(
    service: RecordedService, client: Client
) -> None:
    service.caller_id = "ALICE"
    pairs = boxes(service, 20)
    service.locked = {pairs[3]}
    report = client.delete_annotations(*columns(pairs), on_failure="report")
    assert counts(report) == (19, 0, 1, 0, 0)


def test_a_client_of_me_does_not_ask_who_it_is(service: RecordedService) -> None:
    service.caller_id, service.locked = "bob", {*boxes(service, 20)}
    with service.client(user_id="me") as client:
        report = client.delete_annotations(*columns(service.locked), on_failure="report")
    assert (report.failed, service.of("GetUser")) == (20, [])


# Long metadata


def test_metadata_of_20_kb_beside_an_answer_is_read(service: RecordedService, client: Client) -> None:
    service.after = always("Delete", Reply(metadata=(("x-note", "n" * 20_000),)))
    report = client.delete_annotations(*columns(boxes(service, 2)))
    assert (counts(report), methods(service)) == ((2, 0, 0, 0, 0), ["DeleteAnnotations"])


def test_a_grpc_message_of_20_kb_is_read(service: RecordedService, client: Client) -> None:
    pairs = boxes(service, 1)
    text = "no such thing " + "n" * 20_000
    service.before = always("Delete", Reply(grpc_code=grpc.StatusCode.INVALID_ARGUMENT, description=text))
    with pytest.raises(ApiError, match="no such thing n") as raised:
        client.delete_annotation(*pairs[0])
    assert raised.value.name == "INVALID_ARGUMENT"


def test_metadata_of_20_kb_beside_a_refusal_is_read(service: RecordedService, client: Client) -> None:
    service.add(input_level("p"), by_user("p", "a"))
    refusal = Reply(metadata=(("x-note", "n" * 20_000),), grpc_code=grpc.StatusCode.UNAUTHENTICATED)
    service.before = always("Delete", refusal)
    with pytest.raises(ApiError) as raised:
        client.delete_annotations(["p"], ["a"])
    assert raised.value.name == "UNAUTHENTICATED"
