"""Who may do what at the emulator, as Clarifai's own client sees it: keys, scopes, and users in somebody else's app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2
from clarifai_grpc.grpc.auth.scope import scope_pb2
from clarifai_grpc.grpc.auth.util import extension_pb2

from clarifai_annotations.emulator import Emulator
from official_client import left, official_stub, outcome

CATS = resources_pb2.UserAppIDSet(user_id="alice", app_id="cats")
USERS = {"key-of-alice": "alice", "key-of-bob": "bob"}

SERVICE = service_pb2.DESCRIPTOR.services_by_name["V2"]


def by(user_id: str) -> resources_pb2.Worker:
    return resources_pb2.Worker(user=resources_pb2.User(id=user_id))


class Caller:
    """The official stub with a key, on an app."""

    def __init__(self, stub: Any, key: str, app: resources_pb2.UserAppIDSet = CATS) -> None:
        self.stub, self.key, self.app = stub, key, app

    def call(self, method: str, **fields: Any) -> Any:
        request = getattr(service_pb2, f"{method}Request")(user_app_id=self.app, **fields)
        metadata = (("authorization", f"Key {self.key}"),)
        return getattr(self.stub, method)(request, metadata=metadata, timeout=30)

    def status(self, method: str, **fields: Any) -> str:
        return outcome(lambda: self.call(method, **fields))

    def delete(self, *pairs: tuple[str, str]) -> str:
        input_ids, ids = zip(*pairs, strict=True)
        return self.status("DeleteAnnotations", input_ids=input_ids, ids=ids)

    def post(self, **fields: Any) -> str:
        posted = resources_pb2.Annotation(input_id="p", id="new", **fields)
        return self.status("PostAnnotations", annotations=[posted])


@contextmanager
def callers(**options: Any) -> Iterator[tuple[Emulator, Caller, Caller]]:
    """An emulator with an annotation of Alice's and one of Bob's in Alice's app, by both fields; and both of them."""
    with Emulator(**{"users": USERS, **options}) as emulator, official_stub(emulator) as stub:
        for annotation_id, fields in {
            "alice": {"worker": by("alice")},
            "alice-old": {"user_id": "alice"},
            "bob": {"worker": by("bob")},
            "bob-old": {"user_id": "bob"},
        }.items():
            message = resources_pb2.Annotation(**fields).SerializeToString()
            emulator.add_annotation("p", annotation_id, user_id="alice", app_id="cats", message=message)
        yield emulator, Caller(stub, "key-of-alice"), Caller(stub, "key-of-bob")


def stored(emulator: Emulator, annotation_id: str) -> resources_pb2.Annotation:
    found = next(it for it in emulator.annotations() if it.annotation_id == annotation_id)
    return resources_pb2.Annotation.FromString(found.message)


# --- Scopes

REQUESTS: dict[str, dict[str, Any]] = {
    "GetAnnotation": {"input_id": "p", "annotation_id": "a"},
    "ListAnnotations": {"input_ids": ["p"]},
    "PostAnnotations": {"annotations": [resources_pb2.Annotation(input_id="p", id="new")]},
    "DeleteAnnotation": {"input_id": "p", "annotation_id": "a"},
    "DeleteAnnotations": {"input_ids": ["p"], "ids": ["a"]},
}


def official_scopes(method: str) -> list[str]:
    """The scopes that a method needs, by Clarifai's own descriptors."""
    options = SERVICE.methods_by_name[method].GetOptions()
    needed = options.Extensions[extension_pb2.cl_depending_scopes]
    return [scope_pb2.S.Name(scope) for scope in needed]


@pytest.mark.parametrize("method", REQUESTS)
def test_a_key_with_the_scopes_of_the_official_descriptors_is_admitted(method: str) -> None:
    with Emulator(pats={"key": official_scopes(method)}) as emulator, official_stub(emulator) as stub:
        emulator.add_annotation("p", "a", user_id="alice", app_id="cats")
        assert Caller(stub, "key").status(method, **REQUESTS[method]) == "SUCCESS"


@pytest.mark.parametrize(
    ("method", "missing"), [(method, scope) for method in REQUESTS for scope in official_scopes(method)]
)
def test_a_key_without_one_of_them_is_refused_and_told_which(method: str, missing: str) -> None:
    scopes = [scope for scope in official_scopes(method) if scope != missing]
    with Emulator(pats={"key": scopes}) as emulator, official_stub(emulator) as stub:
        status = Caller(stub, "key").call(method, **REQUESTS[method]).status
        assert status.code == status_code_pb2.CONN_INSUFFICIENT_SCOPES
        assert status.details == f"{method} needs the scope {missing}"


def test_a_key_that_is_none_is_invalid() -> None:
    with Emulator(pats=["key"]) as emulator, official_stub(emulator) as stub:
        assert Caller(stub, "other").status("ListAnnotations") == "CONN_KEY_INVALID"


# --- Deletions in somebody else's app


@pytest.mark.parametrize("annotation_id", ["bob", "bob-old"])
def test_a_user_deletes_their_own_in_somebody_elses_app(annotation_id: str) -> None:
    with callers() as (emulator, _, bob):
        assert bob.delete(("p", annotation_id)) == "SUCCESS"
        assert f"p/{annotation_id}" not in left(emulator)


@pytest.mark.parametrize("annotation_id", ["alice", "alice-old"])
def test_a_user_may_not_delete_anothers_in_somebody_elses_app(annotation_id: str) -> None:
    with callers() as (_, _, bob):
        assert bob.delete(("p", annotation_id)) == "ANNOTATION_PERMISSION_DENIED"
        assert (
            bob.status("DeleteAnnotation", input_id="p", annotation_id=annotation_id)
            == "ANNOTATION_PERMISSION_DENIED"
        )


def test_an_annotation_of_nobody_is_not_a_users_own() -> None:
    with callers() as (emulator, _, bob):
        emulator.add_annotation("p", "nobody", user_id="alice", app_id="cats")
        assert bob.delete(("p", "nobody")) == "ANNOTATION_PERMISSION_DENIED"


def test_the_apps_owner_deletes_anybodys() -> None:
    with callers() as (emulator, alice, _):
        assert alice.delete(("p", "alice"), ("p", "bob"), ("p", "bob-old")) == "SUCCESS"
        assert left(emulator) == ["p/alice-old"]


def test_a_key_that_belongs_to_nobody_in_particular_is_the_owners() -> None:
    with callers() as (_, alice, _):
        assert Caller(alice.stub, "another-key").delete(("p", "alice"), ("p", "bob")) == "SUCCESS"


def test_anothers_is_not_missing_where_the_missing_is_passed_over() -> None:
    with callers(missing_pair="success", missing_single="success") as (emulator, _, bob):
        assert bob.delete(("p", "bob"), ("p", "alice")) == "ANNOTATION_PERMISSION_DENIED"
        assert len(left(emulator)) == 4


def test_a_batch_with_anothers_may_be_answered_as_mixed() -> None:
    with callers(refused_pair="mixed") as (emulator, _, bob):
        assert bob.delete(("p", "bob"), ("p", "alice")) == "MIXED_STATUS"
        assert left(emulator) == ["p/alice", "p/alice-old", "p/bob-old"]


def test_a_user_may_not_clear_an_input_with_anothers_in_somebody_elses_app() -> None:
    with callers() as (emulator, _, bob):
        assert bob.status("DeleteAnnotations", input_ids=["p"]) == "ANNOTATION_PERMISSION_DENIED"
        assert len(left(emulator)) == 4


def test_a_user_clears_an_input_with_only_their_own_in_somebody_elses_app() -> None:
    with callers() as (emulator, alice, bob):
        alice.delete(("p", "alice"), ("p", "alice-old"))
        assert bob.status("DeleteAnnotations", input_ids=["p"]) == "SUCCESS"
        assert left(emulator) == []


# --- The caller's ID


def test_me_is_the_user_of_the_key() -> None:
    with callers() as (emulator, alice, _):
        me = Caller(alice.stub, alice.key, resources_pb2.UserAppIDSet(user_id="me", app_id="cats"))
        assert me.delete(("p", "bob")) == "SUCCESS"
        assert "p/bob" not in left(emulator)


def test_me_is_another_user_for_another_key() -> None:
    with callers(apps=[("alice", "cats")]) as (_, _, bob):
        me = Caller(bob.stub, bob.key, resources_pb2.UserAppIDSet(user_id="me", app_id="cats"))
        assert me.delete(("p", "bob")) == "CONN_DOES_NOT_EXIST"


def test_me_is_a_plain_id_where_nobody_says_whose_the_key_is() -> None:
    with Emulator() as emulator, official_stub(emulator) as stub:
        emulator.add_annotation("p", "a", user_id="me", app_id="cats")
        me = Caller(stub, "key", resources_pb2.UserAppIDSet(user_id="me", app_id="cats"))
        assert me.delete(("p", "a")) == "SUCCESS"


def test_me_in_a_list_means_the_caller() -> None:
    with callers() as (_, _, bob):
        found = bob.call("ListAnnotations", user_ids=["me"]).annotations
        assert [it.id for it in found] == ["bob", "bob-old"]


def test_a_user_is_the_same_in_capitals() -> None:
    with callers(apps=[("alice", "cats")]) as (emulator, alice, _):
        capitals = resources_pb2.UserAppIDSet(user_id="ALICE", app_id="cats")
        assert Caller(alice.stub, alice.key, capitals).delete(("p", "bob")) == "SUCCESS"
        assert "p/bob" not in left(emulator)


def test_the_author_of_an_annotation_is_the_same_in_capitals() -> None:
    with callers(users={"key-of-bob": "BOB"}) as (_, _, bob):
        assert bob.delete(("p", "bob")) == "SUCCESS"


def test_an_app_is_seeded_and_shown_under_any_spelling_of_its_owner() -> None:
    with Emulator() as emulator:
        emulator.add_annotation("p", "a", user_id="Alice", app_id="cats")
        emulator.add_annotation("p", "b", user_id="alice", app_id="cats")
        found = emulator.annotations(user_id="ALICE")
        assert {it.user_id for it in found} == {"Alice"}
        assert left(emulator) == ["p/a", "p/b"]


def test_an_app_id_is_another_in_capitals() -> None:
    with callers(apps=[("alice", "cats")]) as (_, alice, _):
        capitals = resources_pb2.UserAppIDSet(user_id="alice", app_id="CATS")
        assert Caller(alice.stub, alice.key, capitals).delete(("p", "bob")) == "CONN_DOES_NOT_EXIST"


def test_the_quota_counts_by_the_user_of_the_key() -> None:
    with callers(requests_per_second=1, halt=3600) as (_, alice, bob):
        statuses = [caller.status("ListAnnotations") for caller in (alice, bob, alice)]
        assert statuses == ["SUCCESS", "SUCCESS", "CONN_THROTTLED"]


# --- Posts


@pytest.mark.parametrize("fields", [{"worker": by("alice")}, {"user_id": "alice"}], ids=["worker", "user_id"])
def test_a_post_in_anothers_name_is_refused_in_somebody_elses_app(fields: dict[str, Any]) -> None:
    with callers() as (emulator, _, bob):
        assert bob.post(**fields) == "ANNOTATION_PERMISSION_DENIED"
        assert len(left(emulator)) == 4


@pytest.mark.parametrize("fields", [{"worker": by("alice")}, {"user_id": "alice"}], ids=["worker", "user_id"])
def test_a_post_in_anothers_name_may_be_stored_as_the_callers(fields: dict[str, Any]) -> None:
    with callers(foreign_post="owned") as (emulator, _, bob):
        assert bob.post(task_id="night", **fields) == "SUCCESS"
        new = stored(emulator, "new")
        assert (new.worker.user.id, new.user_id or "bob", new.task_id) == ("bob", "bob", "night")


@pytest.mark.parametrize("fields", [{"worker": by("bob")}, {"user_id": "bob"}], ids=["worker", "user_id"])
@pytest.mark.parametrize("foreign_post", ["refused", "owned"])
def test_the_apps_owner_posts_in_anothers_name(fields: dict[str, Any], foreign_post: str) -> None:
    with callers(foreign_post=foreign_post) as (emulator, alice, _):
        assert alice.post(**fields) == "SUCCESS"
        new = stored(emulator, "new")
        assert new.worker.user.id or new.user_id == "bob"


@pytest.mark.parametrize("user_id", ["bob", "BOB", "me"])
def test_a_post_in_the_callers_own_name_is_taken(user_id: str) -> None:
    with callers() as (_, _, bob):
        assert bob.post(worker=by(user_id)) == "SUCCESS"
        assert bob.delete(("p", "new")) == "SUCCESS"


def test_me_in_a_post_is_stored_as_the_caller() -> None:
    with callers() as (emulator, _, bob):
        bob.post(worker=by("me"))
        assert stored(emulator, "new").worker == by("bob")


def test_what_is_posted_without_an_author_is_the_callers() -> None:
    with callers() as (emulator, _, bob):
        assert bob.post() == "SUCCESS"
        assert stored(emulator, "new").worker == by("bob")


def test_what_is_posted_with_a_key_of_nobody_in_particular_stays_without_an_author() -> None:
    with callers() as (emulator, alice, _):
        assert Caller(alice.stub, "another-key").post() == "SUCCESS"
        assert not stored(emulator, "new").HasField("worker")


def test_what_a_model_made_is_posted_as_the_models() -> None:
    version = resources_pb2.ModelVersion(id="v1")
    worker = resources_pb2.Worker(model=resources_pb2.Model(id="detector", model_version=version))
    with callers() as (emulator, _, bob):
        assert bob.post(worker=worker) == "SUCCESS"
        assert stored(emulator, "new").worker == worker


def test_what_a_model_made_stays_the_models_when_its_user_is_replaced() -> None:
    with callers(foreign_post="owned") as (emulator, _, bob):
        assert bob.post(model_version_id="v1", user_id="alice") == "SUCCESS"
        new = stored(emulator, "new")
        assert (new.model_version_id, new.user_id, new.HasField("worker")) == ("v1", "bob", False)


def test_a_post_keeps_fields_that_nobody_knows_when_it_gets_another_author() -> None:
    unknown = b"\xfa\xff\x01\x04late"  # field 4095, a string
    given = resources_pb2.Annotation(input_id="p", id="new", worker=by("alice")).SerializeToString() + unknown
    with callers(foreign_post="owned") as (emulator, _, bob):
        bob.call("PostAnnotations", annotations=[resources_pb2.Annotation.FromString(given)])
        new = next(it for it in emulator.annotations() if it.annotation_id == "new")
        assert unknown in new.message


# --- Whose a key is


def test_a_key_is_told_whose_it_is() -> None:
    with callers() as (_, _, bob):
        me = Caller(bob.stub, bob.key, resources_pb2.UserAppIDSet(user_id="me"))
        assert me.call("GetUser").user.id == "bob"


def test_a_key_of_nobody_in_particular_has_no_user() -> None:
    with callers() as (_, alice, _):
        me = Caller(alice.stub, "another-key", resources_pb2.UserAppIDSet(user_id="me"))
        assert me.status("GetUser") == "CONN_DOES_NOT_EXIST"


def test_a_collaborator_pays_one_request_for_all_that_others_made() -> None:
    with Emulator(users=USERS) as emulator:
        names = [f"box-{number}" for number in range(256)]
        for number, name in enumerate(names):
            message = resources_pb2.Annotation(worker=by("bob" if number % 4 == 0 else "alice"))
            emulator.add_annotation(
                "p", name, user_id="alice", app_id="cats", message=message.SerializeToString()
            )
        with emulator.client(user_id="alice", app_id="cats", pat="key-of-bob") as client:
            report = client.delete_annotations(["p"] * 256, names, on_failure="report")
    assert (report.deleted, report.failed) == (64, 192)
    # For each batch: it, a list, Bob's, Alice's, and a list that confirms; and once, whose the key is.
    assert report.requests == 2 * 5 + 1
