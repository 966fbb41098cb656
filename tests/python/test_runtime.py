"""Which thread drives the network: a blocking call's own where it is alone, else one that all calls share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clarifai_annotations.emulator import Emulator
from conftest import client_of
from official_service import OfficialService, arrival, when_released

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")

SERIAL_CALLS = """
import re
from pathlib import Path
from clarifai_annotations.emulator import Emulator

def times_woken():
    woken = 0
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("clarifai-annota"):
            woken += int(re.search(r"^voluntary_ctxt_switches:\\s+(\\d+)", (task / "status").read_text(), re.M)[1])
    return woken

with Emulator() as emulator, emulator.client(requests_per_second=None) as client:
    emulator.add_annotation("photo", "box")
    client.delete_annotation("photo", "box")
    before = times_woken()
    for _ in range(2000):
        client.delete_annotation("photo", "box", missing_ok=True)
    print(times_woken() - before)
"""


def run(program: str, *arguments: str) -> str:
    """What a program of its own prints: other tests use threads of this process."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout


@needs_proc
def test_blocking_calls_one_after_the_other_wake_no_other_thread() -> None:
    # Twice a call, if another thread sent the request. It looks 50 times a second whether it is needed.
    assert int(run(SERIAL_CALLS)) < 1000


SMALL_STACK = """
import sys, threading
from clarifai_annotations.emulator import Emulator

with Emulator(tls=True) as emulator, emulator.client() as client:
    emulator.add_annotation("photo", "box")
    threading.stack_size(int(sys.argv[1]))
    thread = threading.Thread(target=client.delete_annotation, args=("photo", "box"))
    thread.start()
    thread.join()
    print([annotation.input_level for annotation in emulator.annotations()])
"""


@pytest.mark.parametrize("kilobytes", [64, 128, 256, 8192])
def test_a_call_works_on_a_thread_with_a_stack_of(kilobytes: int) -> None:
    assert run(SMALL_STACK, str(kilobytes * 1024)) == "[True]\n"


async def test_an_awaited_call_ends_while_a_blocking_one_waits_for_its_answer(
    service: OfficialService,
) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    with client_of(service) as held, Emulator() as emulator, emulator.client() as free:
        emulator.add_annotation("photo", "box")
        with ThreadPoolExecutor(1) as pool:
            blocked = pool.submit(held.delete_annotation, "photo", "box")
            await arrival(service)
            await free.delete_annotation_async("photo", "box")
            assert not blocked.done()
            released.set()
            await asyncio.wrap_future(blocked)


def test_an_awaited_call_ends_after_the_blocking_one_that_drove_it() -> None:
    with Emulator(latency=0.01) as emulator, emulator.client(requests_per_second=None) as client:
        for n in range(40):
            emulator.add_annotation("photo", f"box-{n}")

        async def awaited() -> None:
            for n in range(20):
                await client.delete_annotation_async("photo", f"box-{n}")

        with ThreadPoolExecutor(1) as pool:
            loop = pool.submit(asyncio.run, awaited())
            for n in range(20, 40):
                client.delete_annotation("photo", f"box-{n}")
            loop.result(timeout=60)
        assert all(annotation.input_level for annotation in emulator.annotations())


def test_threads_that_call_at_the_same_time_all_get_their_answers() -> None:
    with Emulator() as emulator, emulator.client(requests_per_second=None) as client:
        for n in range(400):
            emulator.add_annotation("photo", f"box-{n}")

        def delete(first: int) -> None:
            for n in range(first, 400, 8):
                client.delete_annotation("photo", f"box-{n}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(delete, range(8)))
        assert all(annotation.input_level for annotation in emulator.annotations())


CLOSED_BETWEEN_CALLS = """
import os, sys, time
from clarifai_annotations import Client

def is_connected():
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the one that the folder was read by
            pass
    return any(link.startswith("socket:") for link in links)

client = Client(user_id="emulator-user", app_id="emulator-app", pat="made-up", base_url=sys.argv[1])
client.delete_annotation("photo", "box")
print(is_connected(), flush=True)
input()
# Nothing is called: only the thread that all calls share can see that the service is gone.
while is_connected():
    time.sleep(0.01)
print("closed")
"""


@needs_proc
def test_a_connection_that_the_service_closes_between_calls_is_closed_here_too() -> None:
    with Emulator() as emulator:
        emulator.add_annotation("photo", "box")
        command = [sys.executable, "-c", CLOSED_BETWEEN_CALLS, emulator.base_url]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout is not None
            connected = process.stdout.readline()
            emulator.stop()
            output, _ = process.communicate("\n", timeout=30)
    assert (connected, output) == ("True\n", "closed\n")


@pytest.mark.parametrize("is_awaited", [False, True], ids=["blocking", "awaited"])
async def test_a_connection_that_the_service_closed_just_now_is_not_used_again(is_awaited: bool) -> None:
    port, looked_up = 0, 0
    with Emulator() as emulator, emulator.client() as client:
        for _ in range(20):
            port = int(emulator.base_url.rpartition(":")[2])
            emulator.stop()
            with Emulator(port=port) as successor:
                successor.add_annotation("photo", "box")
                if is_awaited:
                    await client.delete_annotation_async("photo", "box")
                else:
                    client.delete_annotation("photo", "box")
                looked_up += [request.method for request in successor.requests] != ["DeleteAnnotation"]
    # Its end may come while a request is being written, on a machine that is busy.
    assert looked_up <= 2


INTERRUPTED_LOGGING = """
import logging, signal, sys
from clarifai_annotations.emulator import Emulator, Fault

class Interrupting(logging.Handler):
    def emit(self, record):
        signal.raise_signal(signal.SIGINT)

logger = logging.getLogger("clarifai_annotations")
logger.setLevel(logging.DEBUG)
logger.addHandler(Interrupting())
with Emulator() as emulator, emulator.client() as client:
    emulator.add_annotation("photo", "box")
    emulator.inject(*[Fault.throttled()] * 5)
    try:
        client.delete_annotation("photo", "box")
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_is_not_lost_while_a_log_line_is_written() -> None:
    assert run(INTERRUPTED_LOGGING) == "interrupted\n"
