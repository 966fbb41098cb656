"""An annotation service with a rate limit, made of Clarifai's own stubs: it shares no code with our emulator.

As a program, ``python benches/independent_service.py '{"quota": 15}'`` prints its port. It answers each line on its
standard input with what arrived so far, as JSON, and ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

Arrival = tuple[float, str, bool]
"""When a request arrived by the monotonic clock, which client sent it, and whether it was accepted."""


@dataclass
class Options:
    """What the service is started with."""

    quota: int = 15
    """Requests that are accepted in any rolling second. A refused request does not count."""
    latency: float = 0.02
    """Seconds between the arrival of a request and its response."""
    certificate_chain: str | None = None
    """Path of a PEM file. Without it, the service does not speak TLS."""
    private_key: str | None = None
    """Path of a PEM file."""
    max_connection_age: float | None = None
    """Seconds after which a connection gets a GOAWAY frame, give or take a tenth."""


@dataclass
class IndependentService(service_pb2_grpc.V2Servicer):  # type: ignore[misc]
    """Every annotation exists until it is deleted.

    The first part of an input ID, up to a full stop, names the client.
    """

    options: Options
    arrivals: list[Arrival] = field(default_factory=list)
    _accepted: deque[float] = field(default_factory=deque)
    _deleted: set[tuple[str, str]] = field(default_factory=set)

    async def DeleteAnnotation(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Delete one annotation."""
        status = await self._count(request.input_id)
        if status.code == status_code_pb2.SUCCESS:
            self._deleted.add((request.input_id, request.annotation_id))
        return status_pb2.BaseResponse(status=status)

    async def DeleteAnnotations(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Delete annotations in pairs."""
        status = await self._count(request.input_ids[0])
        if status.code == status_code_pb2.SUCCESS:
            self._deleted.update(zip(request.input_ids, request.ids, strict=True))
        return status_pb2.BaseResponse(status=status)

    async def ListAnnotations(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """List those of the named annotations that exist."""
        status = await self._count(request.input_ids[0])
        response = service_pb2.MultiAnnotationResponse(status=status)
        if status.code == status_code_pb2.SUCCESS:
            response.annotations.extend(
                resources_pb2.Annotation(input_id=input_id, id=annotation_id)
                for input_id, annotation_id in zip(request.input_ids, request.ids, strict=True)
                if (input_id, annotation_id) not in self._deleted
            )
        return response

    async def _count(self, input_id: str) -> Any:
        """Count a request on its arrival, and give the status of its response after the latency."""
        now = time.monotonic()
        while self._accepted and now - self._accepted[0] >= 1:
            self._accepted.popleft()
        is_accepted = len(self._accepted) < self.options.quota
        if is_accepted:
            self._accepted.append(now)
        self.arrivals.append((now, input_id.partition(".")[0], is_accepted))
        await asyncio.sleep(self.options.latency)
        if is_accepted:
            return status_pb2.Status(code=status_code_pb2.SUCCESS, description="Ok")
        return status_pb2.Status(
            code=status_code_pb2.CONN_THROTTLED,
            description="Too many requests",
            details=f"exceeded limit of {self.options.quota} requests per second",
        )


def most_in_a_second(times: list[float]) -> int:
    """Most requests that arrived in any rolling second. The times are in order."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def read_credentials(private_key: str, certificate_chain: str) -> grpc.ServerCredentials:
    """Read the service's certificate."""
    pair = Path(private_key).read_bytes(), Path(certificate_chain).read_bytes()
    return grpc.ssl_server_credentials([pair])


async def serve(options: Options) -> None:
    """Serve until standard input is closed."""
    settings = []
    if options.max_connection_age is not None:
        settings.append(("grpc.max_connection_age_ms", round(options.max_connection_age * 1000)))
    server = grpc.aio.server(options=settings)
    service = IndependentService(options)
    service_pb2_grpc.add_V2Servicer_to_server(service, server)
    if options.certificate_chain is None or options.private_key is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        credentials = read_credentials(options.private_key, options.certificate_chain)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    # The stubs are many objects. To traverse them in the middle would make requests look late.
    gc.collect()
    gc.freeze()
    print(port, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        arrivals = list(service.arrivals)
        most = most_in_a_second([at for at, _, _ in arrivals])
        print(json.dumps({"arrivals": arrivals, "most_in_a_second": most}), flush=True)
    await server.stop(grace=None)


if __name__ == "__main__":
    asyncio.run(serve(Options(**json.loads(sys.argv[1]))))
