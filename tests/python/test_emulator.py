"""The emulator, seen through our own client and by what it lets a test see."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Literal

import pytest
from clarifai_grpc.grpc.api import resources_pb2

from clarifai_annotations import (
    AuthenticationError,
    Client,
    NotFoundError,
    PermissionDeniedError,
    TransportError,
)
from clarifai_annotations.emulator import Emulator

Missing = Literal["success", "refused"]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator with two photos: two boxes on the first, one on the second."""
    with Emulator() as emulator:
        emulator.add_annotation("photo-1", "box-1")
        emulator.add_annotation("photo-1", "box-2")
        emulator.add_annotation("photo-2", "box-1")
        yield emulator


def left(emulator: Emulator) -> list[tuple[str, str]]:
    """Pairs of what is there, save the input-level annotations."""
    return [(it.input_id, it.annotation_id) for it in emulator.annotations() if not it.input_level]


def input_level(emulator: Emulator) -> list[str]:
    """The inputs whose own annotation is there."""
    return [it.input_id for it in emulator.annotations() if it.input_level]


def test_one_annotation_is_deleted(emulator: Emulator) -> None:
    emulator.client().delete_annotation("photo-1", "box-1")
    assert left(emulator) == [("photo-1", "box-2"), ("photo-2", "box-1")]


def test_pairs_are_deleted_and_no_other_combination_of_their_ids(emulator: Emulator) -> None:
    emulator.client().delete_annotations(["photo-1", "photo-2"], ["box-2", "box-1"])
    assert left(emulator) == [("photo-1", "box-1")]


def test_all_annotations_of_an_input_are_deleted_save_its_own(emulator: Emulator) -> None:
    emulator.client().delete_input_annotations(["photo-1"])
    assert left(emulator) == [("photo-2", "box-1")]
    assert input_level(emulator) == ["photo-1", "photo-2"]


async def test_the_awaited_twins_do_the_same(emulator: Emulator) -> None:
    async with emulator.client() as client:
        await client.delete_annotation_async("photo-1", "box-1")
        await client.delete_annotations_async(["photo-1"], ["box-2"])
        await client.delete_input_annotations_async(["photo-2"])
    assert (left(emulator), input_level(emulator)) == ([], ["photo-1", "photo-2"])


def test_an_input_level_annotation_is_never_deleted_by_its_id(emulator: Emulator) -> None:
    own = next(it.annotation_id for it in emulator.annotations() if it.input_level)
    report = emulator.client().delete_annotations(["photo-1"], [own], on_failure="report")
    assert (report.failed, report.failures[0].name) == (1, "ANNOTATION_INVALID_ARGUMENT")
    assert input_level(emulator) == ["photo-1", "photo-2"]


OF_TWO_IDS = pytest.mark.parametrize(
    ("missing_pair", "counts"), [("success", (2, 0, 1)), ("refused", (1, 1, 3))]
)
"""What becomes of two IDs of which one is missing: how many are deleted and absent, and how many requests they take."""


@OF_TWO_IDS
def test_of_a_batch_with_a_missing_pair_all_that_is_there_goes(
    missing_pair: Missing, counts: tuple[int, int, int]
) -> None:
    with Emulator(missing_pair=missing_pair) as emulator:
        emulator.add_annotation("photo-1", "box-1")
        report = emulator.client().delete_annotations(
            ["photo-1", "photo-1"], ["box-1", "no-box"], missing_ok=True
        )
        assert (report.deleted, report.absent, report.requests) == counts
        assert left(emulator) == []


@OF_TWO_IDS
def test_an_input_that_is_not_there_does_not_keep_the_others(
    missing_pair: Missing, counts: tuple[int, int, int]
) -> None:
    with Emulator(missing_pair=missing_pair) as emulator:
        emulator.add_annotation("photo-1", "box-1")
        emulator.add_annotation("photo-2", "box-1")
        report = emulator.client().delete_input_annotations(["photo-1", "no-photo"], on_failure="report")
        assert (report.deleted, report.absent) == counts[:2]
        assert left(emulator) == [("photo-2", "box-1")]


def test_a_long_call_deletes_every_pair(emulator: Emulator) -> None:
    names = [f"mask-{n}" for n in range(1000)]
    for name in names:
        emulator.add_annotation("photo-3", name)
    report = emulator.client().delete_annotations(["photo-3"] * 1000, names)
    assert (report.deleted, report.requests) == (1000, 8)
    assert len(left(emulator)) == 3


def test_what_it_saw_is_told_request_by_request_with_the_key_masked() -> None:
    with Emulator(missing_single="status") as emulator, emulator.client(pat="made-up-secret") as client:
        emulator.add_annotation("photo-1", "box-1")
        client.delete_annotations(["photo-1"], ["box-1"])
        client.delete_annotation("photo-1", "gone", missing_ok=True)
    requests = emulator.requests
    assert [(it.method, it.input_ids, it.ids, it.name) for it in requests] == [
        ("DeleteAnnotations", ["photo-1"], ["box-1"], "SUCCESS"),
        ("DeleteAnnotation", ["photo-1"], ["gone"], "CONN_DOES_NOT_EXIST"),
        ("ListAnnotations", ["photo-1"], ["gone"], "SUCCESS"),
    ]
    assert requests[0].metadata["authorization"] == "Key ***"
    assert "made-up-secret" not in repr([(it, it.metadata) for it in requests])


def test_its_memory_of_requests_can_be_cleared(emulator: Emulator) -> None:
    emulator.client().delete_annotation("photo-1", "box-1")
    emulator.clear_requests()
    assert emulator.requests == []


def test_an_annotation_comes_back_byte_for_byte_with_fields_that_nobody_knows(emulator: Emulator) -> None:
    known = resources_pb2.Annotation(id="mask", input_id="photo-1", task_id="t").SerializeToString()
    unknown = b"\xfa\xff\x01\x04late"  # field 4095, a string
    emulator.add_annotation("photo-1", "mask", message=known + unknown)
    assert emulator.annotations()[-1].message == known + unknown


def test_a_message_without_its_ids_gets_them_appended(emulator: Emulator) -> None:
    given = resources_pb2.Annotation(task_id="t").SerializeToString()
    emulator.add_annotation("photo-1", "mask", message=given)
    message = emulator.annotations()[-1].message
    assert message.startswith(given)
    parsed = resources_pb2.Annotation.FromString(message)
    assert (parsed.id, parsed.input_id, parsed.task_id) == ("mask", "photo-1", "t")


def test_a_key_that_is_not_among_its_keys_is_refused() -> None:
    with Emulator(pats=["right"]) as emulator:
        emulator.add_annotation("photo", "box")
        with pytest.raises(AuthenticationError, match="CONN_KEY_INVALID"):
            emulator.client(pat="wrong").delete_annotation("photo", "box")
        emulator.client(pat="right").delete_annotation("photo", "box")


def test_a_key_without_a_scope_is_refused() -> None:
    reader = ["Apps_Get", "Inputs_Get", "Annotations_Get", "Concepts_Get", "Models_Get"]
    with Emulator(pats={"reader": reader, "owner": None}) as emulator:
        emulator.add_annotation("photo", "box")
        missing = "DeleteAnnotation needs the scopes Annotations_Add, Annotations_Delete, Workflows_Get"
        with pytest.raises(PermissionDeniedError, match=missing):
            emulator.client(pat="reader").delete_annotation("photo", "box")
        emulator.client(pat="owner").delete_annotation("photo", "box")


def test_a_session_token_is_accepted_in_place_of_a_key() -> None:
    with Emulator(pats=["token"]) as emulator:
        emulator.add_annotation("photo", "box")
        with pytest.raises(AuthenticationError, match="CONN_TOKEN_INVALID"):
            emulator.client(session_token="wrong").delete_annotation("photo", "box")
        emulator.client(session_token="token").delete_annotation("photo", "box")


def test_an_app_that_is_not_among_its_apps_is_refused() -> None:
    with Emulator(apps={("me", "cats")}) as emulator:
        emulator.add_annotation("photo", "box", user_id="me", app_id="cats")
        client = emulator.client(user_id="me", app_id="dogs")
        with pytest.raises(NotFoundError, match='there is no app "dogs" of user "me"'):
            client.delete_annotation("photo", "box", missing_ok=True)
        client.for_app("cats").delete_annotation("photo", "box")


def test_apps_are_kept_apart(emulator: Emulator) -> None:
    emulator.add_annotation("photo-1", "box-1", app_id="other")
    emulator.client(app_id="other").delete_input_annotations(["photo-1"])
    assert [it.input_level for it in emulator.annotations(app_id="other")] == [True]
    assert len(left(emulator)) == 3


def test_what_cannot_be_seeded_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match='annotation "box-1" of input "photo-1" is there already'):
        emulator.add_annotation("photo-1", "box-1")
    with pytest.raises(ValueError, match='input "photo-1" is there already'):
        emulator.add_input("photo-1")
    with pytest.raises(ValueError, match="an ID is empty"):
        emulator.add_annotation("photo-1", "")
    with pytest.raises(ValueError, match=r"not a serialized clarifai\.api\.Annotation"):
        emulator.add_annotation("photo-1", "mask", message=b"\xff\xff")
    other = resources_pb2.Annotation(id="other").SerializeToString()
    with pytest.raises(ValueError, match='message says id "other", the call says "mask"'):
        emulator.add_annotation("photo-1", "mask", message=other)
    with pytest.raises(ValueError, match="pats is a single str"):
        Emulator(pats="key")


def test_it_listens_on_the_port_that_it_is_given_and_says_so_when_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Emulator(port=taken.getsockname()[1])
    with Emulator() as emulator:
        assert emulator.base_url.startswith("http://127.0.0.1:")


def test_a_stopped_emulator_no_longer_answers_and_still_shows_what_it_holds(emulator: Emulator) -> None:
    client = emulator.client(max_attempts=1)
    client.delete_annotation("photo-1", "box-1")
    emulator.stop()
    emulator.stop()
    with pytest.raises(TransportError):
        client.delete_annotation("photo-1", "box-2")
    assert len(left(emulator)) == 2


def test_two_emulators_keep_apart(emulator: Emulator) -> None:
    with Emulator() as other:
        other.add_annotation("photo-1", "box-1")
        other.client().delete_annotation("photo-1", "box-1")
    assert len(left(emulator)) == 3


def test_a_client_made_by_it_can_be_told_to_differ(emulator: Emulator) -> None:
    client = emulator.client(app_id="other", requests_per_second=3)
    assert isinstance(client, Client)
    assert "requests_per_second=3," in repr(client)
    assert client.app_id == "other"
