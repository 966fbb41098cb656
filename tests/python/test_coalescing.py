"""Single deletions that come at the same time share requests, and each caller gets what became of its own."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from clarifai_grpc.grpc.api import service_pb2

from clarifai_annotations import AuthenticationError, Client, DeadlineError, NotFoundError
from clarifai_annotations.emulator import Emulator, Fault
from conftest import client_of
from official_service import OfficialService, deletion_answer

# One request leaves at once and the next a second later: whatever comes in between shares it.
SLOW = {"requests_per_second": 1}


def pairs(service: OfficialService) -> list[list[str]]:
    """The annotation IDs of each request."""
    return [[annotation_id for _, annotation_id in call.pairs] for call in service.deletions]


async def outcomes(*deletions: Awaitable[None]) -> list[type[BaseException] | None]:
    """What each of some deletions ends with: nothing, or an exception."""
    results: list[Any] = await asyncio.gather(*deletions, return_exceptions=True)
    return [None if result is None else type(result) for result in results]


def until_it_saw(emulator: Emulator, requests: int) -> None:
    while len(emulator.requests) < requests:
        time.sleep(0.01)


def test_deletions_one_after_the_other_each_go_at_once_and_alone(
    service: OfficialService, client: Client
) -> None:
    for box in ["a", "b", "c"]:
        client.delete_annotation("photo", box)
    assert [call.method for call in service.calls] == ["DeleteAnnotation"] * 3


async def test_awaited_deletions_that_come_meanwhile_go_together(service: OfficialService) -> None:
    with client_of(service, **SLOW) as client:
        await asyncio.gather(*(client.delete_annotation_async("photo", box) for box in "abcd"))
    assert [call.method for call in service.calls] == ["DeleteAnnotation", "DeleteAnnotations"]
    assert sorted(itertools.chain(*pairs(service))) == list("abcd")


def test_deletions_of_several_threads_go_together(service: OfficialService) -> None:
    with client_of(service, **SLOW) as client, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda box: client.delete_annotation("photo", box), "abcd"))
    assert [call.method for call in service.calls] == ["DeleteAnnotation", "DeleteAnnotations"]
    assert sorted(itertools.chain(*pairs(service))) == list("abcd")


async def test_a_thousand_awaited_at_once_cost_the_requests_of_batches() -> None:
    with Emulator() as emulator:
        for n in range(1000):
            emulator.add_annotation("photo", f"box-{n}")
        with emulator.client(requests_per_second=2) as client:
            await asyncio.gather(*(client.delete_annotation_async("photo", f"box-{n}") for n in range(1000)))
        # One alone, perhaps a small group that did not have to wait, and the rest in eights of a thousand.
        assert len(emulator.requests) <= 10


async def test_no_group_is_larger_than_a_batch(service: OfficialService) -> None:
    with client_of(service, batch_size=3, **SLOW) as client:
        await asyncio.gather(*(client.delete_annotation_async("photo", box) for box in "abcdefg"))
    assert [len(group) for group in pairs(service)] == [1, 3, 3]


async def test_where_a_batch_holds_one_each_goes_alone(service: OfficialService) -> None:
    with client_of(service, batch_size=1) as client:
        await asyncio.gather(*(client.delete_annotation_async("photo", box) for box in "abc"))
    assert [call.method for call in service.calls] == ["DeleteAnnotation"] * 3


async def test_each_caller_gets_its_own_outcome_and_missing_ok() -> None:
    with Emulator() as emulator, emulator.client() as client:
        for box in ["first", "there", "locked"]:
            emulator.add_annotation("photo", box)
        emulator.lock("photo", "locked")
        emulator.inject(Fault.delayed(0.2))
        first, there, missing, missing_ok, locked = await asyncio.gather(
            client.delete_annotation_async("photo", "first"),
            client.delete_annotation_async("photo", "there"),
            client.delete_annotation_async("photo", "missing", look_first=True),
            client.delete_annotation_async("photo", "missing-too", missing_ok=True),
            client.delete_annotation_async("photo", "locked"),
            return_exceptions=True,
        )
    assert [first, there, missing_ok] == [None, None, None]
    assert isinstance(missing, NotFoundError)
    assert 'annotation "missing" of input "photo" is not there' in str(missing)
    assert 'annotation "locked" of input "photo" was not deleted' in str(locked)


async def test_different_apps_and_users_never_share_a_request(service: OfficialService) -> None:
    with client_of(service, **SLOW) as cats:
        clients = {
            "cats": cats,
            "dogs": cats.for_app("dogs"),
            "other": cats.for_app("cats", user_id="another"),
        }
        deletions = [
            asyncio.ensure_future(client.delete_annotation_async("photo", f"{name}-{n}"))
            for n in range(3)
            for name, client in clients.items()
        ]
        await asyncio.gather(*deletions)
    for call in service.calls:
        owner = (call.message.user_app_id.user_id, call.message.user_app_id.app_id)
        name = {("me", "cats"): "cats", ("me", "dogs"): "dogs", ("another", "cats"): "other"}[owner]
        assert all(box.startswith(name) for _, box in call.pairs)


async def test_clients_made_again_for_one_app_share_its_requests(service: OfficialService) -> None:
    with client_of(service, **SLOW) as client:
        await asyncio.gather(
            *(client.for_app("dogs").delete_annotation_async("photo", box) for box in "abcd")
        )
    assert len(service.calls) == 2


async def test_callers_of_the_same_pair_share_its_request_and_its_outcome(service: OfficialService) -> None:
    with client_of(service, **SLOW) as client:
        boxes = ["first", *["box"] * 100, "other"]
        ended = await outcomes(*(client.delete_annotation_async("photo", box) for box in boxes))
    assert ended == [None] * 102
    # Any of them may go alone, the others together.
    alone, together = pairs(service)
    assert (len(alone), {*alone, *together}) == (1, {"first", "box", "other"})
    assert sorted(together) == sorted({*together})


async def test_of_callers_of_the_same_missing_pair_each_has_its_own_missing_ok() -> None:
    with Emulator() as emulator, emulator.client(**SLOW) as client:
        emulator.add_annotation("photo", "first")
        ended = await outcomes(
            client.delete_annotation_async("photo", "first", look_first=True),
            client.delete_annotation_async("photo", "box", look_first=True),
            client.delete_annotation_async("photo", "box", missing_ok=True, look_first=True),
        )
    assert ended == [None, NotFoundError, None]


async def test_a_caller_who_gives_up_leaves_the_others_of_its_pair_their_deletion(
    service: OfficialService,
) -> None:
    with client_of(service, **SLOW) as client:
        await client.delete_annotation_async("photo", "first")
        one, other = (asyncio.create_task(client.delete_annotation_async("photo", "box")) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        assert await outcomes(one, other) == [asyncio.CancelledError, None]
    assert pairs(service) == [["first"], ["box"]]


async def test_a_refused_key_is_told_to_every_caller_of_a_group(service: OfficialService) -> None:
    service.on_delete = deletion_answer(11009)
    with client_of(service, **SLOW) as client:
        ended = await outcomes(*(client.delete_annotation_async("photo", box) for box in "abcd"))
    assert ended == [AuthenticationError] * 4


async def test_a_deletion_whose_time_is_over_before_its_group_leaves_is_not_sent(
    service: OfficialService,
) -> None:
    with client_of(service, **SLOW) as client:
        ended = await outcomes(
            client.delete_annotation_async("photo", "first"),
            client.delete_annotation_async("photo", "hurried", timeout=0.05),
            client.delete_annotation_async("photo", "patient"),
        )
    assert ended == [None, DeadlineError, None]
    assert sorted(pairs(service)) == [["first"], ["patient"]]


async def test_a_cancelled_deletion_leaves_its_group_and_the_others_go_on(service: OfficialService) -> None:
    with client_of(service, **SLOW) as client:
        deletions = [
            asyncio.ensure_future(client.delete_annotation_async("photo", box)) for box in ["first", "b", "c"]
        ]
        # They begin, and wait.
        await asyncio.sleep(0)
        deletions[1].cancel()
        assert await outcomes(*deletions) == [None, asyncio.CancelledError, None]
    assert sorted(pairs(service)) == [["c"], ["first"]]


async def test_a_deletion_cancelled_on_its_way_is_not_sent_again_with_its_group() -> None:
    with Emulator() as emulator, emulator.client(requests_per_second=1) as client:
        for box in ["first", "b", "c"]:
            emulator.add_annotation("photo", box)
        emulator.inject(Fault.none(), Fault.throttled())
        # Of three that begin together any may be the one that goes alone.
        await client.delete_annotation_async("photo", "first")
        deletions = [
            asyncio.ensure_future(client.delete_annotation_async("photo", box)) for box in ["b", "c"]
        ]
        await asyncio.to_thread(until_it_saw, emulator, 2)
        deletions[0].cancel()
        assert await outcomes(*deletions) == [asyncio.CancelledError, None]
        assert sorted(emulator.requests[1].ids) == ["b", "c"]
        assert emulator.requests[2].ids == ["c"]


async def test_a_caller_who_gives_up_waiting_leaves_the_others_of_its_group_their_answers(
    service: OfficialService,
) -> None:
    given_up = threading.Event()

    def answer(request: Any, context: Any) -> Any:
        if isinstance(request, service_pb2.DeleteAnnotationsRequest):
            given_up.wait(timeout=30)
        return deletion_answer(10000)(request, context)

    service.on_delete = answer
    with client_of(service, request_timeout=10, **SLOW) as client:
        await client.delete_annotation_async("photo", "first")
        hurried = asyncio.ensure_future(client.delete_annotation_async("photo", "hurried", timeout=1.2))
        patient = asyncio.ensure_future(client.delete_annotation_async("photo", "patient"))
        with pytest.raises(DeadlineError, match=r"is unknown: the call was not done within 1\.2 s"):
            await hurried
        given_up.set()
        await patient
