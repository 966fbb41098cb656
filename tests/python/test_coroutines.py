"""Every function that ends in _async is a coroutine function: nothing happens before it is awaited."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import logging
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from unittest.mock import create_autospec

import anyio
import pytest

import clarifai_annotations
from clarifai_annotations import Client, DeletionPlan, Progress
from clarifai_annotations.emulator import Emulator, Fault
from conftest import client_of
from official_service import OfficialService, arrival, when_released

COLUMNS = (["photo"] * 4, [f"box-{n}" for n in range(4)])


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    for n in range(4):
        clarifai_emulator.add_annotation("photo", f"box-{n}")
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with emulator.client() as client:
        yield client


def names_of(owner: Any) -> list[str]:
    return [name for name in dir(owner) if name.endswith("_async")]


EVERY_TWIN = [
    pytest.param(getattr(owner, name), id=f"{owner.__name__}.{name}")
    for owner in (clarifai_annotations, Client, DeletionPlan)
    for name in names_of(owner)
]


@pytest.mark.parametrize("function", EVERY_TWIN)
def test_a_twin_is_a_coroutine_function(function: Any) -> None:
    assert inspect.iscoroutinefunction(function)


@pytest.mark.parametrize("function", EVERY_TWIN)
def test_a_twin_has_the_parameters_and_the_result_of_its_function(function: Any) -> None:
    name = function.__qualname__.removesuffix("_async")
    owner: Any = clarifai_annotations
    for part in name.split("."):
        owner = getattr(owner, part)
    assert inspect.signature(function) == inspect.signature(owner)


async def in_a_task_group(call: Awaitable[Any]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call)  # type: ignore[arg-type]


async def in_a_timeout_block(call: Awaitable[Any]) -> None:
    async with asyncio.timeout(30):
        await call


async def in_a_task(call: Awaitable[Any]) -> None:
    await asyncio.create_task(call)  # type: ignore[arg-type]


async def in_a_gather(call: Awaitable[Any]) -> None:
    await asyncio.gather(call)


async def by_wait_for(call: Awaitable[Any]) -> None:
    await asyncio.wait_for(call, 30)


async def by_await(call: Awaitable[Any]) -> None:
    await call


async def by_anyio(call: Awaitable[Any]) -> None:
    async def wait() -> None:
        await call

    async with anyio.create_task_group() as group:
        group.start_soon(wait)


WAYS: list[Callable[[Any], Any]] = [by_await, in_a_task, in_a_gather, by_wait_for, by_anyio]
if sys.version_info >= (3, 11):
    WAYS += [in_a_task_group, in_a_timeout_block]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_call_is_made_when_it_is_awaited(
    way: Callable[[Any], Any], emulator: Emulator, client: Client
) -> None:
    asyncio.run(way(client.delete_annotation_async("photo", "box-0")))
    assert [it.method for it in emulator.requests] == ["DeleteAnnotation"]


def test_asyncio_run_takes_a_call_itself(client: Client) -> None:
    assert asyncio.run(client.delete_annotations_async(*COLUMNS)).deleted == 4


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_an_eager_task_makes_its_call(client: Client) -> None:
    async def delete() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await asyncio.gather(*(client.delete_annotation_async("photo", box) for box in COLUMNS[1]))

    asyncio.run(delete())


def never_awaited(client: Client) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        client.delete_annotation_async("photo", "box-0")  # type: ignore[unused-coroutine]
        gc.collect()
    assert ["was never awaited" in str(it.message) for it in told] == [True]


def closed(client: Client) -> None:
    client.delete_annotations_async(*COLUMNS).close()


def cancelled_before_it_starts(client: Client) -> None:
    async def cancel() -> None:
        task = asyncio.ensure_future(client.delete_input_annotations_async(["photo"]))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def wrong_before_it_is_awaited(client: Client) -> None:
    call = client.delete_annotation_async("photo", "")
    call.close()


FORGOTTEN = [never_awaited, closed, cancelled_before_it_starts, wrong_before_it_is_awaited]


@pytest.mark.parametrize("forget", FORGOTTEN, ids=lambda forget: forget.__name__)
def test_a_call_that_is_not_awaited_sends_nothing(
    forget: Callable[[Client], None], emulator: Emulator, client: Client
) -> None:
    forget(client)
    # Whatever would be under way on the connection comes before this.
    client.delete_annotation("photo", "box-3")
    assert [it.ids for it in emulator.requests] == [["box-3"]]


async def test_a_coroutine_that_is_closed_sends_nothing_more(service: OfficialService) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    with client_of(service, batch_size=1, max_in_flight=1) as client:
        coroutine = client.delete_annotations_async(["p", "q"], ["a", "b"])
        coroutine.send(None)
        await arrival(service)
        coroutine.close()
        released.set()
        await client.delete_annotation_async("r", "c")
    assert [call.pairs for call in service.calls] == [[("p", "a")], [("r", "c")]]


async def test_a_cancelled_call_waits_for_its_grace_at_most(service: OfficialService) -> None:
    service.on_delete = service.never_answer
    with client_of(service, cancel_grace=0) as client:
        task = asyncio.ensure_future(client.delete_annotation_async("p", "a"))
        await arrival(service)
        task.cancel("no longer needed")
        with pytest.raises(asyncio.CancelledError, match="no longer needed"):
            await task


request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="lost")
MANY = (["photo"] * 2000, [f"many-{n}" for n in range(2000)])


@pytest.fixture
def slow() -> Iterator[Client]:
    with Emulator(latency=0.05) as emulator:
        for input_id, annotation_id in zip(*MANY, strict=True):
            emulator.add_annotation(input_id, annotation_id)
        with emulator.client(max_in_flight=1) as client:
            yield client


def seen_by(callback: Callable[[list[str]], Any], run: Callable[[Any], Any]) -> list[str]:
    seen: list[str] = []
    request_id.set("seven")
    run(callback(seen))
    return seen


def plain(seen: list[str]) -> Callable[[Progress], None]:
    return lambda _: seen.append(request_id.get())


def awaited(seen: list[str]) -> Callable[[Progress], Any]:
    async def callback(_: Progress) -> None:
        await asyncio.sleep(0)
        seen.append(request_id.get())

    return callback


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.parametrize("callback", [plain, awaited])
def test_an_awaited_callback_sees_the_context_of_its_call(callback: Any, kind: str, slow: Client) -> None:
    loop: Any = (asyncio if kind == "asyncio" else pytest.importorskip("uvloop")).new_event_loop()
    seen = seen_by(
        callback,
        lambda progress: loop.run_until_complete(slow.delete_annotations_async(*MANY, progress=progress)),
    )
    loop.close()
    assert len(seen) > 3
    assert set(seen) == {"seven"}


def test_a_callback_of_a_sync_call_sees_the_context_of_its_call(slow: Client) -> None:
    seen = seen_by(plain, lambda progress: slow.delete_annotations(*MANY, progress=progress))
    assert len(seen) > 3
    assert set(seen) == {"seven"}


def test_a_callback_sees_the_context_of_the_task_that_awaits(slow: Client) -> None:
    seen: list[str] = []

    async def delete() -> None:
        request_id.set("of the task")
        await slow.delete_annotations_async(*MANY, progress=plain(seen))

    async def main() -> None:
        request_id.set("of the program")
        await asyncio.create_task(delete())

    asyncio.run(main())
    assert set(seen) == {"of the task"}


class Audited(Client):
    """A client that takes down what it deletes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.audit: list[str] = []

    def delete_annotation(self, input_id: str, annotation_id: str, **options: Any) -> None:
        self.audit.append(annotation_id)
        super().delete_annotation(input_id, annotation_id, **options)


def test_a_client_can_be_subclassed_and_the_functions_use_it(emulator: Emulator) -> None:
    settings = {"user_id": "emulator-user", "app_id": "emulator-app", "pat": "made-up"}
    with Audited(base_url=emulator.base_url, **settings) as client:
        clarifai_annotations.delete_annotation("photo", "box-0", client=client)
        other = client.for_app("other")
        assert (type(other), other.audit, other.app_id) == (Audited, ["box-0"], "other")
        assert repr(client).startswith('Audited(user_id="emulator-user"')


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(
        TypeError, match="client is 'x': give a Client, or None for the one that the functions share"
    ):
        clarifai_annotations.delete_annotation("photo", "box-0", client="x")  # type: ignore[arg-type]


async def test_a_callback_that_does_not_end_does_not_keep_a_cancelled_call(emulator: Emulator) -> None:
    begun = asyncio.Event()

    async def callback(_: Progress) -> None:
        begun.set()
        await asyncio.Event().wait()

    with emulator.client(cancel_grace=0) as client:
        task = asyncio.ensure_future(client.delete_annotations_async(*COLUMNS, progress=callback))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert emulator.requests == []


def test_tools_see_plain_functions_and_methods() -> None:
    wrapped = functools.wraps(clarifai_annotations.delete_annotations)(lambda: None)
    assert wrapped.__name__ == "delete_annotations"
    assert "max_deletions" in inspect.signature(clarifai_annotations.delete_annotations).parameters
    fake = create_autospec(Client, instance=True)
    fake.delete_annotations(["photo"], ["box"], missing_ok=True)
    with pytest.raises(TypeError, match="missing a required argument: 'annotation_ids'"):
        fake.delete_annotations(["photo"])
    assert inspect.iscoroutinefunction(fake.delete_annotations_async)


def test_a_plan_is_not_made_by_hand() -> None:
    with pytest.raises(
        TypeError, match=r"plan_deletion\(\), plan_input_deletion\(\) and DeletionPlan.load\(\)"
    ):
        DeletionPlan()


def test_a_pickled_plan_is_a_plan_again(client: Client) -> None:
    plan = client.plan_deletion(*COLUMNS)
    assert pickle.loads(pickle.dumps(plan)).deletions == 4


# Nothing hangs.


RAISING_BETWEEN = """
import asyncio, signal, time
from clarifai_annotations.emulator import Emulator

class TimeLimit(KeyboardInterrupt):
    pass

def interrupt(*_):
    raise TimeLimit

started, interrupted = 0, 0

async def delete(client, n):
    global started
    started += 1
    await client.delete_annotations_async(["photo"], [f"box-{n}"], missing_ok=True)

async def until_started():
    while started < 500:
        await asyncio.sleep(0)

with Emulator(latency=(0.05, 0.3)) as emulator, emulator.client(max_in_flight=500) as client:
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(delete(client, n)) for n in range(500)]
    loop.run_until_complete(until_started())
    signal.signal(signal.SIGALRM, interrupt)
    deadline = time.monotonic() + 30
    while not all(task.done() for task in tasks) and time.monotonic() < deadline:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0003)
            loop.run_until_complete(asyncio.sleep(0.01))
        except TimeLimit:
            interrupted += 1
        except RuntimeError:
            pass  # a sleep that was interrupted before ends now, and asyncio stops the loop for it
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    print(sum(not task.done() for task in tasks), interrupted > 0, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such signal")
def test_every_result_is_delivered_though_a_signal_handler_raises_between() -> None:
    command = [sys.executable, "-c", RAISING_BETWEEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    # asyncio complains of what was raised in the middle of its own work.
    assert done.stdout == "0 True\n", done.stderr


class Forgetful(asyncio.SelectorEventLoop):
    """A loop that loses the first callback of another thread, as where a signal handler raises when it is about to run."""

    lost = 0

    def call_soon_threadsafe(self, callback: Any, *arguments: Any, context: Any = None) -> Any:  # type: ignore[override]
        if not self.lost:
            self.lost += 1
            return None
        return super().call_soon_threadsafe(callback, *arguments, context=context)


def test_a_result_whose_way_into_the_loop_is_lost_comes_again(client: Client) -> None:
    loop = Forgetful()
    loop.run_until_complete(client.delete_annotation_async("photo", "box-0"))
    loop.close()
    assert loop.lost == 1


class Blocking(logging.Handler):
    """A handler whose server does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def emit(self, _: logging.LogRecord) -> None:
        self.released.wait(timeout=60)


@pytest.fixture
def handle() -> Iterator[Callable[[logging.Handler], None]]:
    logger = logging.getLogger("clarifai_annotations")
    level, handlers = logger.level, list(logger.handlers)

    def add(handler: logging.Handler) -> None:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)

    yield add
    logger.setLevel(level)
    logger.handlers[:] = handlers


def test_a_log_handler_that_blocks_stops_no_client(handle: Any, emulator: Emulator, client: Client) -> None:
    handler = Blocking()
    handle(handler)
    try:
        emulator.inject(Fault.throttled())
        client.delete_annotation("photo", "box-0")
        asyncio.run(asyncio.wait_for(client.delete_annotation_async("photo", "box-1"), 30))
    finally:
        handler.released.set()
    assert len(emulator.annotations()) == 3


def test_a_log_handler_may_call_the_client(handle: Any, emulator: Emulator, client: Client) -> None:
    deleted: list[str] = []

    class Audit(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            if not deleted:
                deleted.append("box-3")
                client.delete_annotation("photo", "box-3")

    handle(Audit())
    assert client.delete_annotations(["photo"], ["box-0"]).deleted == 1
    assert (deleted, len(emulator.annotations())) == (["box-3"], 3)


def test_an_import_brings_no_asyncio() -> None:
    # An environment may load modules of its own before.
    program = """
import sys
before = set(sys.modules)
import clarifai_annotations
print(sorted({"asyncio", "typing"} & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
