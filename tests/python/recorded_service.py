"""A service that keeps annotations, made of Clarifai's own servicer class: it plays what the public record allows for.

It is not our emulator. It parses requests with Clarifai's messages, and keeps each annotation as the bytes that came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from clarifai_annotations import Client, DeleteReport
from conftest import KEY
from copies import TIMES, UNKNOWN_FIELD, Pair

MOST_REQUEST_BYTES = 10_485_760
"""Larger requests are refused (Clarifai's documentation of release 6.8), here by the gRPC server itself."""

NO_SUCH_THING = 11101
DENIED = 24156


def _raw_annotations() -> Any:
    """A message with the annotations of a post or of a list's answer as bytes: both have them in field 2."""
    file = descriptor_pb2.FileDescriptorProto(name="raw.proto", package="raw", syntax="proto3")
    message = file.message_type.add(name="Annotations")
    message.field.add(
        name="annotations",
        number=2,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("raw.Annotations"))


RawAnnotations = _raw_annotations()


@dataclass(frozen=True)
class Reply:
    """A status instead of an answer: Clarifai's in an answer, or one of gRPC."""

    code: int = status_code_pb2.SUCCESS
    description: str = ""
    details: str = ""
    grpc_code: grpc.StatusCode | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    own: tuple[int, str] | None = None
    """The status of the annotation that was posted."""

    def serialized(self, context: grpc.ServicerContext) -> bytes:
        """The answer. Every answer has its status in field 1, as a BaseResponse has."""
        context.set_trailing_metadata(self.metadata)
        if self.grpc_code is not None:
            context.abort(self.grpc_code, self.description)
        status = status_pb2.Status(code=self.code, description=self.description, details=self.details)
        answer = service_pb2.MultiAnnotationResponse(status=status)
        if self.own is not None:
            answer.annotations.add().status.MergeFrom(
                status_pb2.Status(code=self.own[0], description=self.own[1])
            )
        return bytes(answer.SerializeToString())


@dataclass
class Recorded:
    """A call as it arrived."""

    method: str
    message: Any
    size: int
    """Bytes of the request."""

    @property
    def pairs(self) -> list[Pair]:
        """The annotations that it names."""
        if self.method == "DeleteAnnotation":
            return [(self.message.input_id, self.message.annotation_id)]
        if self.method == "PostAnnotations":
            return [(it.input_id, it.id) for it in self.message.annotations]
        if self.method == "GetUser":
            return []
        return list(zip(self.message.input_ids, self.message.ids, strict=False))

    @property
    def input_ids(self) -> list[str]:
        """The inputs that it names."""
        if self.method in ("ListAnnotations", "DeleteAnnotations"):
            return list(self.message.input_ids)
        return [input_id for input_id, _ in self.pairs]

    @property
    def deletes(self) -> bool:
        """Whether it is a deletion."""
        return self.method.startswith("Delete")


Rule = Callable[[Recorded], Reply | None]


def once(method: str, reply: Reply) -> Rule:
    """Reply so to the first call whose method begins with this."""
    left = [reply]
    return lambda call: left.pop() if left and call.method.startswith(method) else None


def always(method: str, reply: Reply) -> Rule:
    """Reply so to every call whose method begins with this."""
    return lambda call: reply if call.method.startswith(method) else None


@dataclass
class RecordedService(service_pb2_grpc.V2Servicer):  # type: ignore[misc]
    """The annotations of an app, and what is played with them."""

    base_url: str = ""
    annotations: dict[Pair, bytes] = field(default_factory=dict)
    """Oldest first."""
    calls: list[Recorded] = field(default_factory=list)
    before: Rule | None = None
    """What a call is answered with that is not carried out."""
    after: Rule | None = None
    """What a call is answered with after it was carried out."""
    success: int = status_code_pb2.SUCCESS
    has_app: bool = True
    missing_inputs: set[str] = field(default_factory=set)
    """Every call that names one of them is refused."""
    code_of_missing_input: int = NO_SUCH_THING
    locked: set[Pair] = field(default_factory=set)
    """Every deletion that names one of them is denied whole."""
    hidden: set[Pair] = field(default_factory=set)
    """They are there, and no list shows them."""
    shown_late: set[Pair] = field(default_factory=set)
    """The first list that should show them does not."""
    answers_failure_for_missing: bool = False
    """A deletion that names something missing, or a locked one, deletes the rest and is answered FAILURE."""
    withholds_model_output: bool = False
    """Lists have the data of what models made only where it is asked for."""
    too_large: Reply | None = None
    """What a list is answered with that has more than `most_bytes`."""
    most_bytes: int = 0
    caller_id: str | None = None
    """Whose the key is; None where GetUser does not exist."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, *annotations: bytes) -> list[Pair]:
        """Add annotations, and give their pairs."""
        pairs = [pair_of(it) for it in annotations]
        self.annotations.update(zip(pairs, annotations, strict=True))
        return pairs

    def client(self, **settings: Any) -> Client:
        """A client without a rate limit, whose pauses are short."""
        defaults = {"user_id": "alice", "app_id": "cats", "request_timeout": 2, "requests_per_second": None}
        return Client(base_url=self.base_url, pat=KEY, **{**defaults, **settings})

    def of(self, method: str) -> list[Recorded]:
        """The calls whose method begins with this."""
        return [call for call in self.calls if call.method.startswith(method)]

    @property
    def probes(self) -> list[Recorded]:
        """The lists that name no input."""
        return [call for call in self.of("List") if not call.input_ids]

    def DeleteAnnotation(self, request: Any, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        return self._answer("DeleteAnnotation", request, context, self._delete)

    def DeleteAnnotations(self, request: Any, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        return self._answer("DeleteAnnotations", request, context, self._delete)

    def ListAnnotations(self, request: Any, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        return self._answer("ListAnnotations", request, context, self._list)

    def PostAnnotations(self, request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        message = service_pb2.PostAnnotationsRequest.FromString(request)
        raw = RawAnnotations.FromString(request).annotations
        post = lambda call: self._post(call.pairs, raw)  # noqa: E731
        return self._answer("PostAnnotations", message, context, post, size=len(request))

    def GetUser(self, request: Any, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        return self._answer("GetUser", request, context, self._user)

    def _answer(
        self,
        method: str,
        request: Any,
        context: grpc.ServicerContext,
        carry_out: Callable[[Recorded], Reply | bytes],
        size: int | None = None,
    ) -> bytes:
        call = Recorded(method, request, request.ByteSize() if size is None else size)
        with self._lock:
            self.calls.append(call)
        reply: Reply | bytes | None = self.before(call) if self.before else None
        if reply is None:
            with self._lock:
                reply = self._missing(call) or carry_out(call)
            reply = (self.after(call) if self.after else None) or reply
        return reply if isinstance(reply, bytes) else reply.serialized(context)

    def _missing(self, call: Recorded) -> Reply | None:
        if not self.has_app:
            return Reply(NO_SUCH_THING, "Resource does not exist")
        if missing := [it for it in call.input_ids if it in self.missing_inputs]:
            return Reply(self.code_of_missing_input, "Resource does not exist", f"input {missing[0]!r}")
        return None

    def _delete(self, call: Recorded) -> Reply:
        named = call.pairs
        if not named:
            inputs = {*call.input_ids}
            named = [pair for pair in self.annotations if pair[0] in inputs and not self._is_level(pair)]
        locked = [pair for pair in named if pair in self.locked]
        refused = [pair for pair in named if pair in self.locked or pair not in self.annotations]
        if locked and not self.answers_failure_for_missing:
            return Reply(
                DENIED, "Permission denied", f"annotation {locked[0][1]!r} of input {locked[0][0]!r}"
            )
        for pair in {*named} - self.locked:
            self.annotations.pop(pair, None)
        if refused and self.answers_failure_for_missing:
            first = refused[0]
            return Reply(status_code_pb2.FAILURE, "Failure", f"annotation {first[1]!r} of input {first[0]!r}")
        return Reply(self.success, "Ok")

    def _is_level(self, pair: Pair) -> bool:
        return bool(resources_pb2.Annotation.FromString(self.annotations[pair]).input_level)

    def _list(self, call: Recorded) -> Reply | bytes:
        request = call.message
        pairs = call.pairs
        if pairs:
            found = [pair for pair in self.annotations if pair in {*pairs}]
        elif request.input_ids:
            found = [pair for pair in self.annotations if pair[0] in {*request.input_ids}]
        else:
            found = [*self.annotations]
        shown = [pair for pair in found if pair not in self.hidden | self.shown_late]
        self.shown_late -= {*found}
        first = (max(request.page, 1) - 1) * request.per_page
        page = [self._served(pair, request) for pair in shown[first : first + request.per_page]]
        answer = bytes(RawAnnotations(annotations=page).SerializeToString())
        if self.too_large and len(answer) > self.most_bytes:
            return self.too_large
        status = service_pb2.MultiAnnotationResponse(status=status_pb2.Status(code=self.success))
        return bytes(status.SerializeToString()) + answer

    def _served(self, pair: Pair, request: Any) -> bytes:
        serialized = self.annotations[pair]
        if self.withholds_model_output and not request.return_model_output:
            annotation = resources_pb2.Annotation.FromString(serialized)
            if annotation.model_version_id:
                annotation.ClearField("data")
                return bytes(annotation.SerializeToString())
        return serialized

    def _post(self, pairs: list[Pair], raw: Iterable[bytes]) -> Reply:
        if any(pair in self.annotations for pair in pairs):
            return Reply(status_code_pb2.DATABASE_DUPLICATE_KEY, "Duplicate", "Object has a duplicate ID")
        self.annotations.update(zip(pairs, raw, strict=True))
        return Reply(self.success, "Ok")

    def _user(self, _call: Recorded) -> Reply | bytes:
        if self.caller_id is None:
            return Reply(grpc_code=grpc.StatusCode.UNIMPLEMENTED)
        answer = service_pb2.SingleUserResponse(
            status=status_pb2.Status(code=status_code_pb2.SUCCESS), user=resources_pb2.User(id=self.caller_id)
        )
        return bytes(answer.SerializeToString())


class _Bytes(grpc.ServerInterceptor):  # type: ignore[misc]
    """Hands posts over as the bytes that came, and takes answers as bytes."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        is_post = details.method.endswith("/PostAnnotations")
        parse = bytes if is_post else handler.request_deserializer
        return grpc.unary_unary_rpc_method_handler(handler.unary_unary, parse, bytes)


@contextmanager
def recorded_service() -> Iterator[RecordedService]:
    """Run a `RecordedService` on a free loopback port."""
    service = RecordedService()
    server = grpc.server(
        ThreadPoolExecutor(max_workers=4),
        interceptors=[_Bytes()],
        options=[("grpc.max_receive_message_length", MOST_REQUEST_BYTES)],
    )
    service_pb2_grpc.add_V2Servicer_to_server(service, server)
    service.base_url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(grace=None).wait()


def pair_of(serialized: bytes) -> Pair:
    """The pair of a serialized annotation."""
    annotation = resources_pb2.Annotation.FromString(serialized)
    return annotation.input_id, annotation.id


def _annotation(pair: Pair, *, user_id: str, data: Any, worker: Any, model: str, as_caller: bool) -> bytes:
    """An annotation whose fields stand in an order in which no library writes them, with one that no proto names."""
    status = status_pb2.Status(code=status_code_pb2.ANNOTATION_SUCCESS)
    fields: list[dict[str, Any]] = [
        {} if as_caller and not model else {"worker": worker},
        {"input_id": pair[0], "id": pair[1]},
        {"data": data},
        {} if as_caller else {"user_id": user_id},
        {"model_version_id": model, "status": status, "trusted": True, "task_id": "task"},
    ]
    parts = [bytes(resources_pb2.Annotation(**part).SerializeToString()) for part in fields]
    return b"".join([b"" if as_caller else TIMES, *parts, UNKNOWN_FIELD])


def by_user(
    input_id: str, annotation_id: str, user_id: str = "alice", *, data: Any = None, as_caller: bool = False
) -> bytes:
    """An annotation that a user made, as served; or as it is posted as the caller's own."""
    text = resources_pb2.Text(raw=f"{input_id}/{annotation_id}")
    return _annotation(
        (input_id, annotation_id),
        user_id=user_id,
        data=resources_pb2.Data(text=text) if data is None else data,
        worker=resources_pb2.Worker(user=resources_pb2.User(id=user_id)),
        model="",
        as_caller=as_caller,
    )


def by_model(
    input_id: str,
    annotation_id: str,
    user_id: str = "alice",
    *,
    concepts: int = 1,
    as_caller: bool = False,
) -> bytes:
    """An annotation that a model of a user made, as served; or as it is posted as the caller's own."""
    found = [resources_pb2.Concept(id=f"cat-{i}", value=0.5) for i in range(concepts)]
    version = resources_pb2.ModelVersion(id="version")
    return _annotation(
        (input_id, annotation_id),
        user_id=user_id,
        data=resources_pb2.Data(concepts=found) if found else None,
        worker=resources_pb2.Worker(model=resources_pb2.Model(id="detector", model_version=version)),
        model="version",
        as_caller=as_caller,
    )


def input_level(input_id: str) -> bytes:
    """The annotation of an input itself."""
    return bytes(
        resources_pb2.Annotation(
            id=f"level-{input_id}", input_id=input_id, input_level=True
        ).SerializeToString()
    )


def without_times(serialized: bytes) -> bytes:
    """An annotation as it may be posted: its times are the service's."""
    return serialized.replace(TIMES, b"")


def counts(report: DeleteReport) -> tuple[int, ...]:
    """The outcomes of a report, in their order."""
    return report.deleted, report.absent, report.failed, report.unknown, report.unsent
