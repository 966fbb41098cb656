"""How the emulator behaves and misbehaves on command: what Clarifai's own client sees, and what is left."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from clarifai_grpc.grpc.api import service_pb2

from clarifai_annotations import TransportError
from clarifai_annotations.emulator import Emulator, Fault
from official_client import METADATA, USER_APP, delete, delete_inputs, delete_one, left, listed, official_stub

ABC = [("p", "a"), ("p", "b"), ("p", "c")]


@contextmanager
def emulated(**options: Any) -> Iterator[tuple[Emulator, Any]]:
    """An emulator with p/a, p/b and p/c, and the official stub on it."""
    with Emulator(**options) as emulator:
        for input_id, annotation_id in ABC:
            emulator.add_annotation(input_id, annotation_id)
        with official_stub(emulator) as stub:
            yield emulator, stub


def status_of(stub: Any, *pairs: tuple[str, str]) -> Any:
    """The status that a deletion of pairs is answered with."""
    input_ids, ids = zip(*pairs, strict=True)
    request = service_pb2.DeleteAnnotationsRequest(user_app_id=USER_APP, input_ids=input_ids, ids=ids)
    return stub.DeleteAnnotations(request, metadata=METADATA, timeout=30).status


# Each fault, while p/a and p/b are deleted: what the client sees, what is left, what the log says.
FAULTS: dict[str, tuple[Fault, str, list[str], tuple[str, int]]] = {
    "none": (Fault.none(), "SUCCESS", ["p/c"], ("SUCCESS", 2)),
    "throttled": (Fault.throttled(), "CONN_THROTTLED", ["p/a", "p/b", "p/c"], ("CONN_THROTTLED", 0)),
    "a status": (Fault.status(10030), "TRY_AGAIN", ["p/a", "p/b", "p/c"], ("TRY_AGAIN", 0)),
    "a status of a request that was applied": (
        Fault.status(40031, applied=True),
        "RPC_SERVER_UNAVAILABLE",
        ["p/c"],
        ("RPC_SERVER_UNAVAILABLE", 2),
    ),
    "a gRPC status": (Fault.grpc(13), ".INTERNAL", ["p/a", "p/b", "p/c"], ("INTERNAL", 0)),
    "dropped before": (Fault.dropped_before(), ".UNAVAILABLE", ["p/a", "p/b", "p/c"], ("", 0)),
    "dropped after": (Fault.dropped_after(), ".UNAVAILABLE", ["p/c"], ("", 2)),
    "delayed": (Fault.delayed(0.05), "SUCCESS", ["p/c"], ("SUCCESS", 2)),
    "partial": (Fault.partial(1), "INTERNAL_UNCATEGORIZED", ["p/b", "p/c"], ("INTERNAL_UNCATEGORIZED", 1)),
    "goaway": (Fault.goaway(), "SUCCESS", ["p/c"], ("SUCCESS", 2)),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "seen", "remaining", "logged"), FAULTS.values(), ids=FAULTS)
def test_a_fault_befalls_one_request_and_is_told_in_the_log(
    fault: Fault, seen: str, remaining: list[str], logged: tuple[str, int]
) -> None:
    with emulated() as (emulator, stub):
        emulator.inject(fault)
        assert delete(stub, ABC[0], ABC[1]) == seen
        assert left(emulator) == remaining
        request = emulator.requests[0]
        assert (request.name, request.applied) == logged
        assert (request.fault is None) == (fault == Fault.none())
        with official_stub(emulator) as fresh:
            assert delete(fresh, ABC[2]) == "SUCCESS"


def test_an_unanswered_request_is_applied_and_its_client_waits_in_vain() -> None:
    with emulated() as (emulator, stub):
        emulator.inject(Fault.unanswered())
        assert delete(stub, ABC[0], timeout=0.3) == ".DEADLINE_EXCEEDED"
        assert left(emulator) == ["p/b", "p/c"]
        assert (emulator.requests[0].name, emulator.requests[0].fault) == ("", "unanswered")


def test_a_delayed_answer_comes_when_it_was_told_to() -> None:
    with emulated() as (emulator, stub):
        emulator.inject(Fault.delayed(0.2))
        started = time.monotonic()
        assert delete(stub, ABC[0]) == "SUCCESS"
        assert time.monotonic() - started >= 0.2


def test_after_a_goaway_a_client_goes_on_over_a_new_connection() -> None:
    with emulated() as (emulator, _):
        client = emulator.client()
        emulator.inject(Fault.goaway())
        for input_id, annotation_id in ABC:
            client.delete_annotation(input_id, annotation_id)
        assert left(emulator) == []


def test_faults_strike_in_their_order() -> None:
    with emulated() as (emulator, stub):
        emulator.inject(Fault.throttled(), Fault.none(), Fault.status(10020))
        assert [delete(stub, pair) for pair in (ABC[0], ABC[0], ABC[1])] == [
            "CONN_THROTTLED",
            "SUCCESS",
            "FAILURE",
        ]


def test_a_fault_waits_for_the_method_that_it_is_meant_for() -> None:
    with emulated() as (emulator, stub):
        emulator.inject(Fault.throttled().on("DeleteAnnotation"))
        assert delete(stub, ABC[0]) == "SUCCESS"
        assert delete_one(stub, *ABC[1]) == "CONN_THROTTLED"
        with pytest.raises(
            ValueError, match='"Delete" is no method here: give one of GetUser, GetAnnotation'
        ):
            Fault.throttled().on("Delete")


def test_one_seed_gives_the_same_faults_and_another_gives_others() -> None:
    def fates(seed: int) -> list[str]:
        rates = {Fault.throttled(): 0.3, Fault.grpc(13): 0.2}
        with emulated(fault_rates=rates, seed=seed, missing_pair="success") as (emulator, stub):
            for n in range(30):
                delete(stub, ("p", f"missing-{n}"))
            return [request.name for request in emulator.requests]

    assert fates(1) == fates(1) != fates(2)
    assert {"CONN_THROTTLED", "INTERNAL", "SUCCESS"} == set(fates(1))


def test_a_fault_strikes_over_the_quota_as_well_so_that_the_log_is_true() -> None:
    with emulated(requests_per_second=1, halt=3600) as (emulator, stub):
        emulator.inject(Fault.none(), Fault.none(), Fault.status(10030))
        assert [delete(stub, ("p", "missing")) for _ in range(3)][1:] == ["CONN_THROTTLED", "TRY_AGAIN"]
        assert [request.fault for request in emulator.requests] == [None, None, "status(10030)"]


def test_fault_rates_are_shares() -> None:
    with pytest.raises(ValueError, match="each is a share of requests, 0 to 1"):
        Emulator(fault_rates={Fault.throttled(): 0.7, Fault.unanswered(): 0.7})


def test_an_annotation_that_is_locked_is_refused_for_ever() -> None:
    with emulated() as (emulator, stub):
        emulator.lock("p", "a")
        outcomes = [
            delete(stub, *ABC),
            delete_one(stub, "p", "a"),
            delete_inputs(stub, "p"),
            delete(stub, ABC[0]),
        ]
        assert outcomes == ["ANNOTATION_PERMISSION_DENIED"] * 4
        assert left(emulator) == ["p/a", "p/b", "p/c"]
        report = emulator.client().delete_annotations(["p"] * 3, ["a", "b", "c"], on_failure="report")
        assert (report.deleted, report.failed, report.failures[0].annotation_id) == (2, 1, "a")
        assert left(emulator) == ["p/a"]


MISSING: dict[str, tuple[str, list[str]]] = {
    "success": ("SUCCESS", ["p/b", "p/c"]),
    "refused": ("CONN_DOES_NOT_EXIST", ["p/a", "p/b", "p/c"]),
    "mixed": ("MIXED_STATUS", ["p/b", "p/c"]),
    "failure": ("FAILURE", ["p/b", "p/c"]),
}


@pytest.mark.parametrize("missing_pair", MISSING)
def test_a_batch_with_a_missing_pair_goes_the_way_it_was_told_to(missing_pair: str) -> None:
    with emulated(missing_pair=missing_pair) as (emulator, stub):
        assert (delete(stub, ABC[0], ("p", "missing")), left(emulator)) == MISSING[missing_pair]


@pytest.mark.parametrize("missing_pair", MISSING)
def test_an_input_that_is_missing_goes_the_same_way(missing_pair: str) -> None:
    with emulated(missing_pair=missing_pair) as (emulator, stub):
        seen = delete_inputs(stub, "p", "missing")
        expected = {"refused": "INPUT_DOES_NOT_EXIST"}.get(missing_pair, MISSING[missing_pair][0])
        assert seen == expected
        assert (left(emulator) == []) == (missing_pair != "refused")


@pytest.mark.parametrize("missing_pair", MISSING)
def test_our_client_tells_the_truth_in_three_requests_whichever_way(missing_pair: str) -> None:
    with emulated(missing_pair=missing_pair) as (emulator, _):
        named = [*ABC, ("p", "missing")]
        report = emulator.client().delete_annotations(
            [pair[0] for pair in named], [pair[1] for pair in named], on_failure="report"
        )
        assert (left(emulator), report.requests <= 3) == ([], True)
        assert report.absent + report.deleted == 4
        # Where the rest is deleted, the answer does not tell what of it was there.
        assert ("missing" in {it.annotation_id for it in report.failures}) == (missing_pair == "refused")


@pytest.mark.parametrize(
    ("how", "seen"), [("success", "SUCCESS"), ("status", "CONN_DOES_NOT_EXIST"), ("grpc", ".NOT_FOUND")]
)
def test_a_single_that_is_missing_is_answered_the_way_it_was_told_to(how: str, seen: str) -> None:
    with emulated(missing_single=how) as (emulator, stub):
        assert delete_one(stub, "p", "missing") == seen
        emulator.client().delete_annotation("p", "missing", missing_ok=True)


def test_deletions_may_show_in_lists_for_a_while() -> None:
    with emulated(visible_after=3600, missing_pair="refused") as (emulator, stub):
        assert delete(stub, ABC[0]) == "SUCCESS"
        assert delete_inputs(stub, "p") == "SUCCESS"
        assert left(emulator) == []
        assert listed(stub) == listed(stub, input_ids=["p"]) == ABC
        assert delete(stub, ABC[0]) == "CONN_DOES_NOT_EXIST"
        emulator.add_annotation("p", "a")
        assert left(emulator) == ["p/a"]


def test_after_that_while_they_are_gone_from_lists() -> None:
    with emulated(visible_after=0.05) as (_, stub):
        delete(stub, ABC[0])
        deadline = time.monotonic() + 30
        while listed(stub) != ABC[1:]:
            assert time.monotonic() < deadline


@pytest.mark.parametrize("quota", ["rolling", "fixed", "bucket"])
def test_over_the_quota_the_documented_answer_comes(quota: str) -> None:
    with emulated(requests_per_second=3, quota=quota, halt=3600, missing_pair="success") as (emulator, stub):
        outcomes = [delete(stub, ("p", "missing")) for _ in range(5)]
        assert outcomes == ["SUCCESS"] * 3 + ["CONN_THROTTLED"] * 2
        assert [request.applied for request in emulator.requests] == [0] * 5


def test_the_refusal_names_the_limit() -> None:
    with emulated(requests_per_second=15) as (emulator, _):
        emulator.inject(Fault.throttled())
        report = emulator.client(max_attempts=1).delete_annotations(["p"], ["a"], on_failure="report")
        assert "exceeded limit of 15 requests per second" in report.failures[0].message


def test_the_refusal_says_what_clarifais_documentation_shows() -> None:
    with emulated(requests_per_second=15) as (emulator, stub):
        emulator.inject(Fault.throttled())
        status = status_of(stub, *ABC)
        assert (status.code, status.description, status.details) == (
            11005,
            "Making too many requests",
            "exceeded limit of 15 requests per second",
        )


TEMPORARY = [
    40030, 40031, 40032, 41000, 40011, 40013, 40015, 40016, 98004, 98006, 98009, 98013, 98014, 99009,
]  # fmt: skip


@pytest.mark.parametrize("code", TEMPORARY)
def test_a_temporary_failure_asks_to_try_again(code: int) -> None:
    with emulated() as (emulator, stub):
        emulator.inject(Fault.status(code))
        assert re.search("please try .*again", status_of(stub, *ABC).description, re.IGNORECASE)


def test_a_fault_that_is_applied_strikes_over_the_quota_as_well() -> None:
    with emulated(requests_per_second=1, halt=3600) as (emulator, stub):
        emulator.inject(Fault.none(), Fault.status(40031, applied=True))
        assert [delete(stub, ABC[0]), delete(stub, ABC[1])] == ["SUCCESS", "RPC_SERVER_UNAVAILABLE"]
        assert left(emulator) == ["p/c"]


def test_a_fault_that_is_applied_lets_no_wrong_key_through() -> None:
    with emulated(pats=["right"]) as (emulator, stub):
        emulator.inject(Fault.status(40031, applied=True))
        assert delete(stub, ABC[0]) == "RPC_SERVER_UNAVAILABLE"
        assert left(emulator) == ["p/a", "p/b", "p/c"]


def test_a_fault_shows_whether_it_is_applied() -> None:
    assert repr(Fault.status(40031, applied=True)) == "<Fault status(40031, applied=True)>"
    assert Fault.status(40031, applied=True) != Fault.status(40031)


@pytest.mark.parametrize("code", [10000, 10001, 10002, 10070])
def test_every_success_carries_the_code_that_it_was_told_to(code: int) -> None:
    with emulated(success_code=code) as (emulator, stub):
        assert status_of(stub, *ABC).code == code
        assert left(emulator) == []
        request = service_pb2.ListAnnotationsRequest(user_app_id=USER_APP)
        assert stub.ListAnnotations(request, metadata=METADATA, timeout=30).status.code == code


def test_a_success_that_warns_has_its_documented_name_in_the_log() -> None:
    with emulated(success_code=10001) as (emulator, stub):
        status_of(stub, *ABC)
        assert (emulator.requests[0].code, emulator.requests[0].name) == (
            10001,
            "SUCCESS_WARNING_API_DEPRECATED",
        )


def test_a_client_made_by_the_emulator_keeps_to_its_quota() -> None:
    with emulated(requests_per_second=20) as (emulator, _):
        report = emulator.client(batch_size=1).delete_annotations(["p"] * 3, ["a", "b", "c"])
        assert (report.throttled, "requests_per_second=20," in repr(emulator.client())) == (0, True)


def test_a_request_and_its_answer_each_take_their_time() -> None:
    with emulated(latency=0.1, latency_back=(0.1, 0.15)) as (_, stub):
        started = time.monotonic()
        delete(stub, ABC[0])
        assert time.monotonic() - started >= 0.2


def test_a_latency_is_on_the_way_in_before_anything_is_applied() -> None:
    with emulated(latency=3600) as (emulator, stub):
        assert delete(stub, ABC[0], timeout=0.1) == ".DEADLINE_EXCEEDED"
        assert (left(emulator), emulator.requests) == (["p/a", "p/b", "p/c"], [])


def test_a_server_that_is_gone_refuses_connections_until_it_is_back() -> None:
    with emulated() as (emulator, _):
        client = emulator.client(max_attempts=1)
        client.delete_annotation("p", "a")
        emulator.suspend()
        with pytest.raises(TransportError):
            client.delete_annotation("p", "b")
        emulator.resume()
        client.delete_annotation("p", "b")
        assert left(emulator) == ["p/c"]


def test_a_server_that_goes_takes_what_is_under_way_with_it() -> None:
    with emulated(latency_back=3600) as (emulator, stub), ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(delete, stub, ABC[0])
        while not emulator.requests:
            assert not under_way.done()
        emulator.suspend()
        assert under_way.result(timeout=30) == ".UNAVAILABLE"
        assert left(emulator) == ["p/b", "p/c"]


def test_a_stopped_emulator_cannot_come_back() -> None:
    with emulated() as (emulator, _):
        emulator.stop()
        with pytest.raises(OSError, match="the emulator was stopped"):
            emulator.resume()


def test_over_tls_the_official_client_and_ours_trust_its_authority() -> None:
    with emulated(tls=True) as (emulator, stub):
        assert emulator.base_url.startswith("https://127.0.0.1:")
        assert delete(stub, ABC[0]) == "SUCCESS"
        emulator.client().delete_annotation(*ABC[1])
        by_name = emulator.base_url.replace("127.0.0.1", "localhost")
        emulator.client(base_url=by_name).delete_annotation(*ABC[2])
        assert left(emulator) == []


def test_without_its_authority_nobody_trusts_it() -> None:
    with emulated(tls=True) as (emulator, _):
        client = emulator.client(root_certificates_path=None, max_attempts=1)
        with pytest.raises(TransportError, match="UnknownIssuer"):
            client.delete_annotation("p", "a")


def test_its_authoritys_file_goes_with_it() -> None:
    with Emulator(tls=True) as emulator:
        path = emulator.root_certificates_path
        assert path is not None
        assert path.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert not path.exists()


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "quota": ({"quota": "sliding"}, 'quota is "sliding": give one of "rolling", "fixed", "bucket"'),
    "missing_pair": (
        {"missing_pair": "x"},
        'missing_pair is "x": give one of "success", "refused", "mixed", "failure"',
    ),
    "refused_pair": (
        {"refused_pair": "success"},
        'refused_pair is "success": give one of "refused", "mixed", "failure"',
    ),
    "missing_single": ({"missing_single": "x"}, 'give one of "success", "status", "grpc"'),
    "missing_input": (
        {"missing_input": "x"},
        'give one of "empty", "does_not_exist", "input_does_not_exist"',
    ),
    "foreign_post": ({"foreign_post": "x"}, 'foreign_post is "x": give one of "refused", "owned"'),
    "success_code": (
        {"success_code": 10010},
        "success_code is 10010: give one of 10000, 10001, 10002, 10070",
    ),
    "a user of a key that is not among pats": (
        {"pats": ["key"], "users": {"other": "alice"}},
        "users names a key that is not among pats",
    ),
    "a user without an ID": ({"users": {"key": ""}}, "users: a user ID is empty"),
    "latency": ({"latency": -1.0}, "latency is -1: give a number of seconds, 0 or more"),
    "a latency turned round": ({"latency": (2.0, 1.0)}, r"latency is \(2, 1\): the least comes first"),
    "halt": ({"halt": float("nan")}, "halt is NaN: give a number of seconds"),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_an_option_that_will_not_do_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Emulator(**options)
