"""What each client of `benches/deletion.py` does, in a process of its own so that its time and memory are its own.

``python benches/deletion_clients.py ours_pairs '{"base_url": "http://127.0.0.1:43121", "count": 1280}'`` deletes what
`deletion_service.py` seeded and prints a line of JSON with what was measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import re
import resource
import select
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deletion_service import ANNOTATIONS_PER_INPUT, CONN_THROTTLED, annotation_id, input_id

BATCH = 128
SUCCESS = 10000
USER_ID, APP_ID, PAT = "emulator-user", "emulator-app", "made-up"
METADATA = (("authorization", f"Key {PAT}"),)

Measures = dict[str, Any]


@contextmanager
def measured(result: Measures) -> Iterator[None]:
    """Note the seconds on the clock and those of the processor, all threads of this process together."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    yield
    result["elapsed"] = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    result["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def peak_measured(result: Measures) -> Iterator[None]:
    """Note the most resident bytes above those that were resident before."""
    import pyarrow as pa

    # Free pages that are still resident would be filled again unseen, and the peak would look lower than it is.
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of building the columns
    before = resident("VmRSS")
    yield
    result["resident_before"] = before
    result["peak_above"] = resident("VmHWM") - before


def resident(name: str) -> int:
    """Bytes of this process's memory by the kernel's name for them."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def arrow_columns(count: int) -> tuple[Any, Any]:
    """Both ID columns as Arrow, written by Arrow itself: 10,000,000 Python strings would take a gigabyte."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def column(prefix: str, per_id: int) -> Any:
        chunks = []
        for start in range(0, count, 100_000):
            numbers = pa.array(range(start, min(start + 100_000, count)), pa.int64())
            digits = pc.divide(numbers, per_id).cast(pa.string())
            chunks.append(pc.binary_join_element_wise(prefix, digits, ""))
        return pa.chunked_array(chunks, pa.string())

    return column("photo-", ANNOTATIONS_PER_INPUT), column("box-", 1)


def list_columns(count: int) -> tuple[list[str], list[str]]:
    """Both ID columns as lists of Python strings."""
    return [input_id(n) for n in range(count)], [annotation_id(n) for n in range(count)]


def our_client(base_url: str, **settings: Any) -> Any:
    """Our client of an emulator."""
    from clarifai_annotations import Client

    return Client(user_id=USER_ID, app_id=APP_ID, pat=PAT, base_url=base_url, **settings)


def ours_pairs(
    base_url: str, count: int, columns: str = "arrow", peak: bool = False, **settings: Any
) -> Measures:
    """One call of `delete_annotations`."""
    input_ids, annotation_ids = arrow_columns(count) if columns == "arrow" else list_columns(count)
    result: Measures = {}
    with our_client(base_url, **settings) as client:
        if peak:
            with peak_measured(result):
                report = client.delete_annotations(input_ids, annotation_ids)
        else:
            with measured(result):
                report = client.delete_annotations(input_ids, annotation_ids)
    if report.deleted != count:
        raise RuntimeError(f"{report.deleted} of {count} deleted")
    return {**result, "timed": count, "requests": report.requests, "throttled": report.throttled}


def sdk_batches(base_url: str, count: int) -> Measures:
    """The official SDK's `Inputs.delete_annotations`, one batch after the other."""
    from clarifai.client.input import Inputs

    inputs = Inputs(user_id=USER_ID, app_id=APP_ID, pat=PAT, base_url=base_url)
    logging.disable(logging.CRITICAL)  # it logs each batch; a terminal's speed is not to be held against it
    input_ids, annotation_ids = list_columns(count)
    result: Measures = {}
    with measured(result):
        for start in range(0, count, BATCH):
            inputs.delete_annotations(
                input_ids[start : start + BATCH], annotation_ids[start : start + BATCH]
            )
    return {**result, "timed": count}


def official_stub(channel: Any) -> Any:
    """Clarifai's own stub on a plain channel."""
    from clarifai_grpc.channel import clarifai_channel
    from clarifai_grpc.grpc.api import service_pb2_grpc

    # The stubs want to be told once that they are on gRPC; the package's own channels do so.
    clarifai_channel.wrap_response_deserializer = clarifai_channel._response_deserializer_for_grpc
    return service_pb2_grpc.V2Stub(channel)


def target(base_url: str) -> str:
    """A base URL as gRPC names it."""
    return base_url.removeprefix("http://")


def succeeded(answer: Any) -> None:
    """Fail unless the service said yes."""
    if answer.status.code != SUCCESS:
        raise RuntimeError(f"{answer.status.code}: {answer.status.description}")


def stub_batches(base_url: str, count: int) -> Measures:
    """The official stub's `DeleteAnnotations`, one batch after the other."""
    import grpc
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2

    user_app_id = resources_pb2.UserAppIDSet(user_id=USER_ID, app_id=APP_ID)
    input_ids, annotation_ids = list_columns(count)
    result: Measures = {}
    with grpc.insecure_channel(target(base_url)) as channel:
        stub = official_stub(channel)
        with measured(result):
            for start in range(0, count, BATCH):
                request = service_pb2.DeleteAnnotationsRequest(
                    user_app_id=user_app_id,
                    input_ids=input_ids[start : start + BATCH],
                    ids=annotation_ids[start : start + BATCH],
                )
                succeeded(stub.DeleteAnnotations(request, metadata=METADATA))
    return {**result, "timed": count}


def single_requests() -> Callable[[int], Any]:
    """Give what makes the official request for annotation number `n`, as a careful caller would."""
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2

    user_app_id = resources_pb2.UserAppIDSet(user_id=USER_ID, app_id=APP_ID)
    return lambda n: service_pb2.DeleteAnnotationRequest(
        user_app_id=user_app_id, input_id=input_id(n), annotation_id=annotation_id(n)
    )


def ours_serial(base_url: str, count: int) -> Measures:
    """One `delete_annotation` after the other; the first, which connects, is not timed."""
    result: Measures = {}
    with our_client(base_url, requests_per_second=None) as client:
        client.delete_annotation(input_id(0), annotation_id(0))
        with measured(result):
            for n in range(1, count):
                client.delete_annotation(input_id(n), annotation_id(n))
    return {**result, "timed": count - 1}


def stub_serial(base_url: str, count: int) -> Measures:
    """One `DeleteAnnotation` of the official stub after the other; the first is not timed."""
    import grpc

    request = single_requests()
    result: Measures = {}
    with grpc.insecure_channel(target(base_url)) as channel:
        stub = official_stub(channel)
        succeeded(stub.DeleteAnnotation(request(0), metadata=METADATA))
        with measured(result):
            for n in range(1, count):
                succeeded(stub.DeleteAnnotation(request(n), metadata=METADATA))
    return {**result, "timed": count - 1}


Delete = Callable[[int], Awaitable[Any]]


async def by_workers(delete: Delete, first: int, end: int) -> None:
    """64 coroutines, each of which awaits the deletions of its share one after the other."""

    async def worker(share: range) -> None:
        for n in share:
            await delete(n)

    await asyncio.gather(*(worker(range(first + place, end, 64)) for place in range(64)))


async def by_rounds(delete: Delete, first: int, end: int) -> None:
    """A gather of 64, then the next."""
    for start in range(first, end, 64):
        await asyncio.gather(*(delete(n) for n in range(start, min(start + 64, end))))


PATTERNS = {"workers": by_workers, "gather": by_rounds}


def ours_awaited(base_url: str, count: int, pattern: str) -> Measures:
    """Awaited deletions, 64 at a time; the first, which connects, is not timed."""

    async def run() -> Measures:
        result: Measures = {}
        async with our_client(base_url, requests_per_second=None) as client:

            def delete(n: int) -> Awaitable[None]:
                future: Awaitable[None] = client.delete_annotation_async(input_id(n), annotation_id(n))
                return future

            await delete(0)
            with measured(result):
                await PATTERNS[pattern](delete, 1, count)
        return {**result, "timed": count - 1}

    return asyncio.run(run())


def aio_awaited(base_url: str, count: int, pattern: str) -> Measures:
    """Awaited calls of the official stub on `grpc.aio`, 64 at a time; the first is not timed."""

    async def run() -> Measures:
        import grpc

        request = single_requests()
        result: Measures = {}
        async with grpc.aio.insecure_channel(target(base_url)) as channel:
            stub = official_stub(channel)

            async def delete(n: int) -> None:
                succeeded(await stub.DeleteAnnotation(request(n), metadata=METADATA))

            await delete(0)
            with measured(result):
                await PATTERNS[pattern](delete, 1, count)
        return {**result, "timed": count - 1}

    return asyncio.run(run())


def ours_gather(base_url: str, count: int) -> Measures:
    """All awaited deletions in one gather, at the client's own pace."""

    async def run() -> Measures:
        result: Measures = {}
        async with our_client(base_url) as client:
            with measured(result):
                await asyncio.gather(
                    *(client.delete_annotation_async(input_id(n), annotation_id(n)) for n in range(count))
                )
        return {**result, "timed": count}

    return asyncio.run(run())


def aio_gather(base_url: str, count: int, requests_per_second: float) -> Measures:
    """All calls of the official stub in one gather, spread over the quota, which the stub does not know."""

    async def run() -> Measures:
        import grpc

        request = single_requests()
        result: Measures = {}
        async with grpc.aio.insecure_channel(target(base_url)) as channel:
            stub = official_stub(channel)

            async def delete(n: int) -> None:
                await asyncio.sleep(n / requests_per_second)
                while True:
                    answer = await stub.DeleteAnnotation(request(n), metadata=METADATA)
                    if answer.status.code != CONN_THROTTLED:
                        return succeeded(answer)
                    await asyncio.sleep(1)

            with measured(result):
                await asyncio.gather(*(delete(n) for n in range(count)))
        return {**result, "timed": count}

    return asyncio.run(run())


def other_client(base_url: str, first: int, count: int, every: float) -> Measures:
    """Somebody else with the same quota: one deletion each tick, a throttled one again at the next.

    Prints a line once it has had its part of a whole second; ends with its input.
    """
    import grpc

    request = single_requests()
    result: Measures = {"deleted": 0, "throttled": 0}
    with grpc.insecure_channel(target(base_url)) as channel:
        stub = official_stub(channel)
        start = time.monotonic()
        for tick in range(1_000_000):
            wait = start + tick * every - time.monotonic()
            if select.select([sys.stdin], [], [], max(0.0, wait))[0]:
                break
            if tick == round(1 / every):
                print(json.dumps("under way"), flush=True)
            if result["deleted"] == count:
                raise RuntimeError("nothing is left to delete for the other client")
            answer = stub.DeleteAnnotation(request(first + result["deleted"]), metadata=METADATA)
            if answer.status.code == CONN_THROTTLED:
                result["throttled"] += 1
            else:
                succeeded(answer)
                result["deleted"] += 1
    return result


CLIENTS: dict[str, Callable[..., Measures]] = {
    client.__name__: client
    for client in (
        ours_pairs, sdk_batches, stub_batches, ours_serial, stub_serial, ours_awaited, aio_awaited,
        ours_gather, aio_gather, other_client,
    )
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(CLIENTS[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)
