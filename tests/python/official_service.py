"""A service made of Clarifai's own stubs: it records what arrives and answers as it is told.

The peer that is not ours: what it parses is what the real service would parse.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import trustme
from clarifai_grpc.grpc.api import service_pb2, service_pb2_grpc
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

Answer = Callable[[Any, grpc.ServicerContext], Any]


def status(code: int, description: str = "", details: str = "", req_id: str = "") -> Any:
    """A status as the service fills it in."""
    return status_pb2.Status(code=code, description=description, details=details, req_id=req_id)


def deletion_answer(code: int, description: str = "", details: str = "", req_id: str = "") -> Answer:
    """Answers every deletion with this status."""
    answer = status_pb2.BaseResponse(status=status(code, description, details, req_id))
    return lambda _request, _context: answer


def grpc_status(code: grpc.StatusCode, text: str = "") -> Answer:
    """Fails every call with a gRPC status instead of an answer."""
    return lambda _request, context: context.abort(code, text)


def when_released(released: threading.Event) -> Answer:
    """Confirms a deletion once the test says so."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        released.wait()
        return deletion_answer(status_code_pb2.SUCCESS)(request, context)

    return answer


@dataclass
class Recorded:
    """One call as it arrived."""

    method: str
    message: Any
    metadata: dict[str, str]
    peer: str
    """The address that it came from: one for each connection."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The annotations that a deletion names, each with its input."""
        if self.method == "DeleteAnnotation":
            return [(self.message.input_id, self.message.annotation_id)]
        return list(zip(self.message.input_ids, self.message.ids, strict=True))


@dataclass
class OfficialService(service_pb2_grpc.V2Servicer):  # type: ignore[misc]
    """Clarifai's servicer class, with the methods that deletion uses."""

    base_url: str = ""
    calls: list[Recorded] = field(default_factory=list)
    on_delete: Answer = field(default_factory=lambda: deletion_answer(status_code_pb2.SUCCESS, "Ok"))
    """What deletions are answered with."""
    there: set[tuple[str, str]] = field(default_factory=set)
    """Pairs of input ID and annotation ID that lists show."""
    on_list: Answer | None = None
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when a call arrives."""
    released: threading.Event = field(default_factory=threading.Event)
    """For answers that wait; set when the service stops."""

    def _record(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        self.calls.append(Recorded(method, request, metadata, context.peer()))
        self.arrived.set()

    def DeleteAnnotation(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._record("DeleteAnnotation", request, context)
        return self.on_delete(request, context)

    def DeleteAnnotations(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._record("DeleteAnnotations", request, context)
        return self.on_delete(request, context)

    def ListAnnotations(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._record("ListAnnotations", request, context)
        if self.on_list is not None:
            return self.on_list(request, context)
        answer = service_pb2.MultiAnnotationResponse(status=status(status_code_pb2.SUCCESS))
        for pair in zip(request.input_ids, request.ids, strict=True):
            if pair in self.there:
                answer.annotations.add(input_id=pair[0], id=pair[1])
        return answer

    @property
    def deletions(self) -> list[Recorded]:
        """The calls that delete."""
        return [call for call in self.calls if call.method.startswith("Delete")]

    def never_answer(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        """An answer for `on_delete` that does not come while the service runs."""
        self.released.wait()
        return status_pb2.BaseResponse()


async def arrival(service: OfficialService) -> None:
    """Wait, without blocking the loop, until the service has a call."""
    assert await asyncio.to_thread(service.arrived.wait, 30)


def certificate(authority: trustme.CA, name: str = "localhost", **validity: Any) -> grpc.ServerCredentials:
    """The credentials of a service by that name, issued by that authority."""
    issued = authority.issue_cert(name, **validity)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)])


@contextmanager
def official_service(credentials: grpc.ServerCredentials | None = None) -> Iterator[OfficialService]:
    """Run an `OfficialService` on a free loopback port, with TLS where credentials are given."""
    service = OfficialService()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    service_pb2_grpc.add_V2Servicer_to_server(service, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
        service.base_url = f"http://127.0.0.1:{port}"
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
        service.base_url = f"https://localhost:{port}"
    server.start()
    try:
        yield service
    finally:
        service.released.set()
        server.stop(grace=None).wait()
