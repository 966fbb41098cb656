"""What each client is given to do, each in a process of its own, so that its time and memory are its own.

``python benches/workloads.py ours_pairs '{"base_url": …, "count": 40000}'`` prints what was measured as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service import annotation_id, input_id

BATCH = 128
USER_ID, APP_ID, PAT = "emulator-user", "emulator-app", "made-up"
METADATA = (("authorization", f"Key {PAT}"),)


@contextmanager
def measured(result: dict[str, Any]) -> Iterator[None]:
    """Note the seconds on the clock, those of the processor, and the most memory above what was in use."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before, resident = resource.getrusage(resource.RUSAGE_SELF), memory("VmRSS")
    start = time.perf_counter()
    yield
    result["elapsed"] = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    result["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result["memory"] = (memory("VmHWM") - resident) * 1024


def memory(name: str) -> int:
    """Read a figure of this process's memory, in KiB."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def batches(first: int, count: int) -> Iterator[tuple[list[str], list[str]]]:
    """Columns of input IDs and annotation IDs, as long as a request may be."""
    for start in range(first, first + count, BATCH):
        named = range(start, min(start + BATCH, first + count))
        yield [input_id(n) for n in named], [annotation_id(n) for n in named]


def client_of(base_url: str, **settings: Any) -> Any:
    """Our client of an emulator."""
    from clarifai_annotations import Client

    return Client(user_id=USER_ID, app_id=APP_ID, pat=PAT, base_url=base_url, **settings)


def arrow_columns(count: int) -> tuple[Any, Any]:
    """The ID columns as Arrow, made piece by piece: no Python object per ID is left."""
    import pyarrow as pa

    def column(of: Callable[[int], str]) -> Any:
        step = 100_000
        pieces = [range(start, min(start + step, count)) for start in range(0, count, step)]
        return pa.chunked_array([pa.array([of(n) for n in piece]) for piece in pieces])

    return column(input_id), column(annotation_id)


def ours_pairs(base_url: str, count: int, columns: str = "arrow", **settings: Any) -> dict[str, Any]:
    """One call of `delete_annotations`."""
    if columns == "arrow":
        input_ids, annotation_ids = arrow_columns(count)
    else:
        input_ids, annotation_ids = (
            [input_id(n) for n in range(count)],
            [annotation_id(n) for n in range(count)],
        )
    result: dict[str, Any] = {}
    with client_of(base_url, **settings) as client:
        with measured(result):
            report = client.delete_annotations(input_ids, annotation_ids)
        assert report.deleted == count
        return {**result, "requests": report.requests, "throttled": report.throttled}


def sdk_batches(base_url: str, count: int) -> dict[str, Any]:
    """The official SDK, given one batch after the other."""
    os.environ["CLARIFAI_API_BASE"] = base_url
    import logging

    from clarifai.client.input import Inputs

    inputs = Inputs(user_id=USER_ID, app_id=APP_ID, pat=PAT, base_url=base_url)
    logging.disable(logging.CRITICAL)
    named = list(batches(0, count))
    result: dict[str, Any] = {}
    with measured(result):
        for input_ids, annotation_ids in named:
            inputs.delete_annotations(input_ids, annotation_ids)
    return result


def official_stub(channel: Any) -> Any:
    """Clarifai's own stub on a plain channel."""
    from clarifai_grpc.channel import clarifai_channel
    from clarifai_grpc.grpc.api import service_pb2_grpc

    # The stubs want to be told once that they are on gRPC; the package's own channels do so.
    clarifai_channel.wrap_response_deserializer = clarifai_channel._response_deserializer_for_grpc
    return service_pb2_grpc.V2Stub(channel)


def succeeded(answer: Any) -> None:
    """Fail unless the service said yes."""
    assert answer.status.code == 10000, answer.status


def stub_batches(base_url: str, count: int) -> dict[str, Any]:
    """The official stub, given one batch after the other."""
    import grpc
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2

    user_app = resources_pb2.UserAppIDSet(user_id=USER_ID, app_id=APP_ID)
    named = list(batches(0, count))
    result: dict[str, Any] = {}
    with grpc.insecure_channel(base_url.removeprefix("http://")) as channel:
        stub = official_stub(channel)
        with measured(result):
            for input_ids, annotation_ids in named:
                request = service_pb2.DeleteAnnotationsRequest(
                    user_app_id=user_app, input_ids=input_ids, ids=annotation_ids
                )
                succeeded(stub.DeleteAnnotations(request, metadata=METADATA))
    return result


def ours_serial(base_url: str, first: int, count: int) -> dict[str, Any]:
    """One `delete_annotation` after the other."""
    result: dict[str, Any] = {}
    with client_of(base_url, requests_per_second=None) as client:
        client.delete_annotation(input_id(first), annotation_id(first))  # connects
        with measured(result):
            for n in range(first + 1, first + count):
                client.delete_annotation(input_id(n), annotation_id(n))
    return result


def single_request(n: int) -> Any:
    """Clarifai's request for one annotation."""
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2

    user_app = resources_pb2.UserAppIDSet(user_id=USER_ID, app_id=APP_ID)
    return service_pb2.DeleteAnnotationRequest(
        user_app_id=user_app, input_id=input_id(n), annotation_id=annotation_id(n)
    )


def stub_serial(base_url: str, first: int, count: int) -> dict[str, Any]:
    """One call of the official stub after the other."""
    import grpc

    result: dict[str, Any] = {}
    with grpc.insecure_channel(base_url.removeprefix("http://")) as channel:
        stub = official_stub(channel)
        succeeded(stub.DeleteAnnotation(single_request(first), metadata=METADATA))
        with measured(result):
            for n in range(first + 1, first + count):
                succeeded(stub.DeleteAnnotation(single_request(n), metadata=METADATA))
    return result


async def by_workers(delete: Callable[[int], Awaitable[Any]], first: int, count: int) -> None:
    """So many at a time: each worker awaits one deletion after the other."""
    numbers = iter(range(first, first + count))

    async def worker() -> None:
        for n in numbers:
            await delete(n)

    await asyncio.gather(*(worker() for _ in range(64)))


async def by_rounds(delete: Callable[[int], Awaitable[Any]], first: int, count: int) -> None:
    """So many at a time: a gather of them, then the next."""
    for start in range(first, first + count, 64):
        await asyncio.gather(*(delete(n) for n in range(start, min(start + 64, first + count))))


async def all_at_once(delete: Callable[[int], Awaitable[Any]], first: int, count: int) -> None:
    """All in one gather."""
    await asyncio.gather(*(delete(n) for n in range(first, first + count)))


PATTERNS = {"workers": by_workers, "rounds": by_rounds, "all": all_at_once}


def ours_awaited(
    base_url: str, first: int, count: int, pattern: str = "workers", **settings: Any
) -> dict[str, Any]:
    """Awaited single deletions."""

    async def run() -> dict[str, Any]:
        result: dict[str, Any] = {}
        async with client_of(base_url, **settings) as client:

            def delete(n: int) -> Awaitable[None]:
                return client.delete_annotation_async(input_id(n), annotation_id(n))  # type: ignore[no-any-return]

            with measured(result):
                await PATTERNS[pattern](delete, first, count)
        return result

    return asyncio.run(run())


def aio_awaited(base_url: str, first: int, count: int, pattern: str = "workers") -> dict[str, Any]:
    """Awaited calls of the official stub on `grpc.aio`; throttled ones are tried again a second later."""

    async def run() -> dict[str, Any]:
        import grpc

        result: dict[str, Any] = {}
        async with grpc.aio.insecure_channel(base_url.removeprefix("http://")) as channel:
            stub = official_stub(channel)

            async def delete(n: int) -> None:
                while (
                    answer := await stub.DeleteAnnotation(single_request(n), metadata=METADATA)
                ).status.code == 11005:
                    await asyncio.sleep(1)
                succeeded(answer)

            await delete(first)  # connects
            with measured(result):
                await PATTERNS[pattern](delete, first + 1, count - 1)
        return result

    return asyncio.run(run())


def other_client(base_url: str, first: int) -> dict[str, Any]:
    """Someone else with the same quota: a request every 200 ms, whatever it is answered, until it is killed."""
    import grpc

    start = time.monotonic()
    with grpc.insecure_channel(base_url.removeprefix("http://")) as channel:
        stub = official_stub(channel)
        for tick in range(1_000_000):
            time.sleep(max(0.0, start + tick * 0.2 - time.monotonic()))
            stub.DeleteAnnotation(single_request(first + tick), metadata=METADATA)
    return {}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
