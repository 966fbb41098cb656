"""Random operations through both faces of the emulator, held against a plain dictionary."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import random_cases
from clarifai_annotations.emulator import Emulator
from missing import OPTIONS
from official_client import METADATA, USER_APP, official_stub

CASES = settings(max_examples=random_cases.cases(60), stateful_step_count=30)

Pair = tuple[str, str]
Answer = tuple[int, list[Pair]]

INPUTS = ["p", "q", "r"]
APP = "/v2/users/emulator-user/apps/emulator-app"

input_ids = st.sampled_from([*INPUTS, "nowhere"])
annotation_ids = st.sampled_from("abcd")
pairs = st.tuples(input_ids, annotation_ids)
some_pairs = st.lists(pairs, min_size=1, max_size=4)


class Grpc:
    """The operations over gRPC. Each gives the status code and the pairs in the answer."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub

    def _answer(self, method: str, **fields: Any) -> Answer:
        request = getattr(service_pb2, f"{method}Request")(user_app_id=USER_APP, **fields)
        answer = getattr(self.stub, method)(request, metadata=METADATA, timeout=30)
        found = getattr(answer, "annotations", [])
        return answer.status.code, [(it.input_id, it.id) for it in found if not it.input_level]

    def post(self, posted: list[Pair]) -> Answer:
        annotations = [resources_pb2.Annotation(input_id=pair[0], id=pair[1]) for pair in posted]
        return self._answer("PostAnnotations", annotations=annotations)

    def delete_one(self, pair: Pair) -> Answer:
        return self._answer("DeleteAnnotation", input_id=pair[0], annotation_id=pair[1])

    def delete(self, named: list[str], ids: list[str]) -> Answer:
        return self._answer("DeleteAnnotations", input_ids=named, ids=ids)

    def list(self, named: list[str], ids: list[str]) -> Answer:
        return self._answer("ListAnnotations", input_ids=named, ids=ids, per_page=1000)


class Rest:
    """The same over REST."""

    def __init__(self, base_url: str) -> None:
        self.connection = http.client.HTTPConnection(base_url.partition("://")[2], timeout=30)

    def _answer(self, method: str, path: str, body: Any = None) -> Answer:
        content = None if body is None else json.dumps(body)
        self.connection.request(method, APP + path, content, {"Authorization": "Key made-up"})
        answer = json.load(self.connection.getresponse())
        found = answer.get("annotations", [])
        return answer["status"]["code"], [
            (it["input_id"], it["id"]) for it in found if "input_level" not in it
        ]

    def post(self, posted: list[Pair]) -> Answer:
        annotations = [{"input_id": pair[0], "id": pair[1]} for pair in posted]
        return self._answer("POST", "/annotations", {"annotations": annotations})

    def delete_one(self, pair: Pair) -> Answer:
        return self._answer("DELETE", f"/inputs/{pair[0]}/annotations/{pair[1]}")

    def delete(self, named: list[str], ids: list[str]) -> Answer:
        return self._answer("DELETE", "/annotations", {"input_ids": named, "ids": ids})

    def list(self, named: list[str], ids: list[str]) -> Answer:
        query = urlencode({"input_ids": named, "ids": ids, "per_page": 1000}, doseq=True)
        return self._answer("GET", f"/annotations?{query}")


class Model(RuleBasedStateMachine):
    """The emulator beside a dictionary of pairs in the order in which they came."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[Pair, None] = {}

    @initialize(how=st.sampled_from(list(OPTIONS)))
    def begin(self, how: str) -> None:
        self.passes_over_the_missing = how == "success"
        self.emulator = Emulator(**OPTIONS[how])
        for input_id in INPUTS:
            self.emulator.add_input(input_id)
        self.stub = official_stub(self.emulator)
        self.faces: list[Grpc | Rest] = [Grpc(self.stub.__enter__()), Rest(self.emulator.base_url)]

    def expected_code(self, is_known: bool, refusal: int) -> int:
        """What a deletion is answered with, by whether all that it names is there."""
        return status_code_pb2.SUCCESS if is_known or self.passes_over_the_missing else refusal

    def teardown(self) -> None:
        if hasattr(self, "emulator"):
            self.stub.__exit__(None, None, None)
            self.faces[1].connection.close()  # type: ignore[union-attr]
            self.emulator.stop()

    def expect(self, answer: Answer, code: int, found: list[Pair] | None = None) -> None:
        assert answer == (code, found or []), status_code_pb2.StatusCode.Name(answer[0])

    @rule(face=st.integers(0, 1), posted=some_pairs)
    def post(self, face: int, posted: list[Pair]) -> None:
        answer = self.faces[face].post(posted)
        for n, pair in enumerate(posted):
            if pair[0] not in INPUTS:
                return self.expect(answer, status_code_pb2.INPUT_DOES_NOT_EXIST, posted)
            if pair in self.there or pair in posted[:n]:
                return self.expect(answer, status_code_pb2.DATABASE_DUPLICATE_KEY, posted)
        self.there.update(dict.fromkeys(posted))
        return self.expect(answer, status_code_pb2.SUCCESS, posted)

    @rule(face=st.integers(0, 1), pair=pairs)
    def delete_one(self, face: int, pair: Pair) -> None:
        code = self.expected_code(pair in self.there, status_code_pb2.CONN_DOES_NOT_EXIST)
        self.there.pop(pair, None)
        self.expect(self.faces[face].delete_one(pair), code)

    @rule(face=st.integers(0, 1), named=some_pairs)
    def delete_pairs(self, face: int, named: list[Pair]) -> None:
        answer = self.faces[face].delete([pair[0] for pair in named], [pair[1] for pair in named])
        code = self.expected_code(
            all(pair in self.there for pair in named), status_code_pb2.CONN_DOES_NOT_EXIST
        )
        if code == status_code_pb2.SUCCESS:
            self.remove(lambda pair: pair in named)
        self.expect(answer, code)

    @rule(face=st.integers(0, 1), named=st.lists(input_ids, min_size=1, max_size=3))
    def delete_inputs(self, face: int, named: list[str]) -> None:
        answer = self.faces[face].delete(named, [])
        code = self.expected_code(all(it in INPUTS for it in named), status_code_pb2.INPUT_DOES_NOT_EXIST)
        if code == status_code_pb2.SUCCESS:
            self.remove(lambda pair: pair[0] in named)
        self.expect(answer, code)

    @rule(face=st.integers(0, 1), named=st.lists(pairs, max_size=3))
    def list_pairs(self, face: int, named: list[Pair]) -> None:
        answer = self.faces[face].list([pair[0] for pair in named], [pair[1] for pair in named])
        found = [pair for pair in self.there if pair in named]
        if not named:  # the whole app, by the age of the inputs
            found = sorted(self.there, key=lambda pair: INPUTS.index(pair[0]))
        self.expect(answer, status_code_pb2.SUCCESS, found)

    @rule(face=st.integers(0, 1), named=st.lists(input_ids, min_size=1, max_size=3))
    def list_inputs(self, face: int, named: list[str]) -> None:
        found = [pair for pair in self.there if pair[0] in named]
        self.expect(self.faces[face].list(named, []), status_code_pb2.SUCCESS, found)

    @rule(face=st.integers(0, 1), ids=st.lists(annotation_ids, min_size=1, max_size=3))
    def list_ids_without_inputs(self, face: int, ids: list[str]) -> None:
        self.expect(self.faces[face].list([], ids), status_code_pb2.CONN_INVALID_REQUEST)

    @invariant()
    def what_is_there_is_what_the_dictionary_holds_and_each_inputs_own(self) -> None:
        annotations = self.emulator.annotations()
        found = [(it.input_id, it.annotation_id) for it in annotations if not it.input_level]
        assert found == list(self.there)
        assert [it.input_id for it in annotations if it.input_level] == INPUTS

    def remove(self, gone: Callable[[Pair], bool]) -> None:
        self.there = {pair: None for pair in self.there if not gone(pair)}


@pytest.mark.hypothesis
def test_the_emulator_is_its_model() -> None:
    run_state_machine_as_test(random_cases.seeded(Model), settings=CASES)
