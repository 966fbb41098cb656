"""The interpreter around the library: its threads, modules, signals and kernels, and its start and end."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty
from types import ModuleType

import pytest
from jupyter_client.manager import KernelManager

from clarifai_annotations.emulator import Emulator
from conftest import KEY
from missing import OPTIONS
from official_service import OfficialService, deletion_answer, when_released

BEGINNING = f"""
import asyncio, os, sys, threading
SETTINGS = dict(
    user_id="emulator-user", app_id="emulator-app", pat="{KEY}", base_url=sys.argv[1],
    requests_per_second=None,
)

def use():
    from clarifai_annotations import Client, NotFoundError
    with Client(**SETTINGS) as client:
        client.delete_annotation("p", "absent", missing_ok=True)
        told = []
        report = client.delete_annotations(["p"], ["absent"], missing_ok=True, progress=told.append)
        assert report.absent == 1 and told[-1].finished
        asyncio.run(use_awaited(client))
        try:
            client.delete_annotation("p", "absent")
        except NotFoundError:
            return
        raise AssertionError("an absent annotation was deleted")

async def use_awaited(client):
    await asyncio.gather(*(client.delete_annotation_async("p", "absent", missing_ok=True) for _ in range(10)))
    report = await client.delete_annotations_async(["p"], ["absent"], missing_ok=True)
    assert report.absent == 1

def in_thread(*targets):
    failed = []
    def run(target):
        try:
            target()
        except BaseException as error:
            failed.append(error)
    threads = [threading.Thread(target=run, args=(target,)) for target in targets]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert failed == [], failed

def load():
    import clarifai_annotations
"""


def ended_in_peace(program: str, url: str, *options: str) -> str:
    """Run a program, which has to end well and to write no error; gives what it printed."""
    command = [sys.executable, *options, "-c", BEGINNING + program, url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


# Threads.

THREADS = {
    "in a thread, and used in the main one": "in_thread(load); use()",
    "in a thread, and used there and in the main one": "in_thread(use); use()",
    "in the main thread, and used in another": "load(); in_thread(use)",
    "in the main thread, and used in others and there": "use(); in_thread(use, use); use()",
    "in many threads at once": "in_thread(*[use] * 8); use()",
    "in a thread that is gone when it is used in another": "in_thread(load); in_thread(use); in_thread(use)",
}


@pytest.mark.parametrize("program", THREADS.values(), ids=THREADS)
def test_the_package_can_be_imported_first(program: str) -> None:
    with Emulator(**OPTIONS["refused"]) as emulator:
        # In development mode Python warns of what is left open, too.
        ended_in_peace(program, emulator.base_url, "-X", "dev")
        assert emulator.requests


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_many_clients_calls_and_loops_leave_no_thread_behind() -> None:
    program = """
import time
from clarifai_annotations import Client

def os_threads():
    return len(os.listdir("/proc/self/task"))

use()
first = os_threads()
in_thread(*[use] * 16)
for _ in range(50):
    use()
clients = [Client(**SETTINGS) for _ in range(50)]
for client in clients:
    client.delete_annotation("p", "absent", missing_ok=True)
in_thread(*(lambda client=client: asyncio.run(use_awaited(client)) for client in clients[:16]))
# Threads of a pool may idle for a while before they end.
deadline = time.monotonic() + 60
while os_threads() > first and time.monotonic() < deadline:
    time.sleep(0.1)
print(first, os_threads())
"""
    with Emulator(**OPTIONS["refused"]) as emulator:
        first, last = map(int, ended_in_peace(program, emulator.base_url).split())
    assert last <= first


# Modules.


@pytest.fixture
def modules() -> Iterator[dict[str, ModuleType]]:
    """The modules of the package, which are put back as they were however a test replaces them."""

    def ours() -> dict[str, ModuleType]:
        return {
            name: it for name, it in sys.modules.items() if name.partition(".")[0] == "clarifai_annotations"
        }

    for name in ("_native", "_client", "_functions", "_plan", "errors", "progress", "emulator"):
        importlib.import_module(f"clarifai_annotations.{name}")
    before = ours()
    # A reload fills the same module anew: what it held is kept too.
    held = {name: dict(vars(module)) for name, module in before.items()}
    yield before
    for name in ours():
        del sys.modules[name]
    for name, module in before.items():
        sys.modules[name] = module
        vars(module).update(held[name])


async def check_calls(emulator: Emulator, package: ModuleType, *caught_by: type[Exception]) -> None:
    """Calls of this package do what they should, and what they raise is caught by each of these classes."""
    with package.Client(
        user_id="emulator-user",
        app_id="emulator-app",
        pat=KEY,
        base_url=emulator.base_url,
        requests_per_second=None,
    ) as client:
        for box in ("single", "awaited", "pair", "of the input"):
            emulator.add_annotation("p", box)
        client.delete_annotation("p", "single")
        await client.delete_annotation_async("p", "awaited")
        assert client.delete_annotations(["p"], ["pair"], progress=lambda _progress: None).deleted == 1
        report = await package.delete_input_annotations_async(["p"], client=client)
        assert isinstance(report, package.DeleteReport)
        assert all(it.input_level for it in emulator.annotations())
        for caught in caught_by:
            with pytest.raises(caught, match="is not there"):
                client.delete_annotation("p", "single")
            with pytest.raises(caught, match="is not there"):
                await client.delete_annotation_async("p", "single")
            with pytest.raises(caught, match="empty string"):
                client.delete_annotation("", "single")
            with pytest.raises(caught, match="1 absent"):
                client.delete_annotations(["p"], ["single"])


@pytest.mark.parametrize(
    "name", ["", "._native", "._client", "._functions", "._plan", ".progress", ".emulator"]
)
async def test_calls_and_their_errors_are_the_same_after_a_reload_of(
    name: str, modules: dict[str, ModuleType]
) -> None:
    package = modules["clarifai_annotations"]
    before = package.ClarifaiError
    reloaded = importlib.reload(modules[f"clarifai_annotations{name}"])
    assert reloaded is modules[f"clarifai_annotations{name}"]
    with Emulator(**OPTIONS["refused"]) as emulator:
        await check_calls(emulator, package, before, package.ClarifaiError)


async def test_after_a_reload_of_the_errors_and_the_package_its_new_classes_catch(
    modules: dict[str, ModuleType],
) -> None:
    package = modules["clarifai_annotations"]
    before = package.ClarifaiError
    errors = importlib.reload(modules["clarifai_annotations.errors"])
    importlib.reload(package)
    assert before is not package.ClarifaiError is errors.ClarifaiError
    with Emulator(**OPTIONS["refused"]) as emulator:
        await check_calls(emulator, package, package.ClarifaiError)


async def test_a_second_import_after_the_removal_of_the_first_works_and_so_do_the_objects_of_the_first(
    modules: dict[str, ModuleType],
) -> None:
    first = modules["clarifai_annotations"]
    with Emulator(**OPTIONS["refused"]) as emulator:
        await check_calls(emulator, first, first.ClarifaiError)
        for name in modules:
            del sys.modules[name]
        second = importlib.import_module("clarifai_annotations")
        assert second is not first
        # Errors are those of the package that is there now: whoever imported them before knows others.
        for package in (first, second):
            await check_calls(emulator, package, second.ClarifaiError)


def test_a_process_that_imported_the_package_several_times_ends_in_peace() -> None:
    program = """
import importlib
for _ in range(3):
    use()
    for name in [name for name in sys.modules if name.startswith("clarifai_annotations")]:
        importlib.reload(sys.modules[name])
    use()
    for name in [name for name in sys.modules if name.startswith("clarifai_annotations")]:
        del sys.modules[name]
print("done")
"""
    with Emulator(**OPTIONS["refused"]) as emulator:
        assert ended_in_peace(program, emulator.base_url, "-X", "dev") == "done\n"


# Sub-interpreters.

IN_SUB_INTERPRETER = """
import logging
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="logged: %(message)s")
IMPORT = '''
try:
    import clarifai_annotations
except ImportError as error:
    print("refused:", error, flush=True)
else:
    print("imported", flush=True)
'''
kind, order = sys.argv[2:]
if order == "second":
    use()
try:
    import _interpreters as interpreters  # since Python 3.13
except ImportError:
    import _xxsubinterpreters as interpreters
    sub = interpreters.create(isolated=kind == "isolated")
    interpreters.run_string(sub, IMPORT)
else:
    sub = interpreters.create(kind)
    assert interpreters.exec(sub, IMPORT) is None
interpreters.destroy(sub)
use()
"""


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_a_sub_interpreter_is_refused_with_advice_and_the_main_one_goes_on(kind: str, order: str) -> None:
    with Emulator(**OPTIONS["refused"]) as emulator:
        program = BEGINNING + IN_SUB_INTERPRETER
        command = [sys.executable, "-c", program, emulator.base_url, kind, order]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    [refused] = [line for line in lines if not line.startswith("logged: ")]
    # What is the matter, and what to do.
    assert refused.startswith("refused: ")
    assert "sub-interpreter" in refused
    assert "main interpreter" in refused
    assert "process" in refused
    # Each use writes two lines, and the log does not fall silent with the sub-interpreter.
    assert len(lines) - 1 == (4 if order == "second" else 2)


# Start, use, exit.

USES = {
    "a blocking call": 'client.delete_annotation("p", "absent", missing_ok=True)',
    "awaited calls": "asyncio.run(use_awaited(client))",
    "a progress callable": (
        'client.delete_annotations(["p"] * 40, [f"a{n}" for n in range(40)], missing_ok=True, progress=print)'
    ),
    "the log on": """
import logging
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
asyncio.run(use_awaited(client))
""",
    "all of it in threads": "in_thread(use, use, lambda: asyncio.run(use_awaited(client)))",
}
MADE = "\nfrom clarifai_annotations import Client\nclient = Client(**SETTINGS)\n"


@pytest.mark.parametrize("program", USES.values(), ids=USES)
def test_twenty_processes_start_use_the_library_and_end_in_peace_with(program: str) -> None:
    with (
        Emulator(latency=(0.0, 0.002), **OPTIONS["refused"]) as emulator,
        ThreadPoolExecutor(2) as pool,
    ):
        for ended in [pool.submit(ended_in_peace, MADE + program, emulator.base_url) for _ in range(20)]:
            ended.result()


# Signals.

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")

WITH_FAULTHANDLER = """
import faulthandler, signal
faulthandler.register(signal.SIGUSR1)
faulthandler.dump_traceback_later(0.05, repeat=True, file=open(os.devnull, "w"))
from clarifai_annotations import Client

interrupted = threading.Event()
def interrupt(*frame):
    interrupted.set()
    signal.default_int_handler(*frame)
signal.signal(signal.SIGINT, interrupt)

def told(progress):
    # The call has been told to end before it tells how far it is.
    if interrupted.is_set() and not progress.finished:
        print("interrupted", flush=True)
        interrupted.clear()

client = Client(**SETTINGS, batch_size=1, max_in_flight=1)
try:
    CALL
except KeyboardInterrupt as interrupt:
    report = getattr(interrupt, "report", None)
    print(report and (report.deleted, report.unknown, report.unsent))
"""
CALLS = {
    "single": 'client.delete_annotation("p", "a")',
    "pairs": 'client.delete_annotations(["p", "q"], ["a", "b"])',
    "inputs": 'client.delete_input_annotations(["p", "q"])',
}


@contextmanager
def under_faulthandler(call: str, service: OfficialService) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of a blocking call, whose traceback has just been written on demand."""
    program = BEGINNING + WITH_FAULTHANDLER.replace("CALL", call)
    command = [sys.executable, "-X", "faulthandler", "-c", program, service.base_url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            assert service.arrived.wait(timeout=30)
            process.send_signal(signal.SIGUSR1)
            assert process.stderr is not None
            assert any("most recent call first" in line for line in process.stderr)
            yield process
        finally:
            process.kill()


@needs_signals
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_ends_a_call_while_faulthandler_writes_tracebacks(call: str, service: OfficialService) -> None:
    service.on_delete = service.never_answer
    with under_faulthandler(CALLS[call], service) as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    # One was sent and not answered, the other never sent.
    assert output == ("None\n" if call == "single" else "(0, 1, 1)\n")


@needs_signals
def test_ctrl_c_awaits_the_answer_on_its_way_while_faulthandler_writes_tracebacks(
    service: OfficialService,
) -> None:
    released = threading.Event()
    service.on_delete = when_released(released)
    call = 'client.delete_annotations(["p", "q"], ["a", "b"], progress=told)'
    with under_faulthandler(call, service) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted\n"
        released.set()
        output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "(1, 0, 1)\n")
    assert len(service.calls) == 1


# Kernels.


class Kernel:
    """A Jupyter kernel to run cells in."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()

    def begin(self, cell: str) -> str:
        # Otherwise a kernel drops the cells that come soon after one that failed.
        cell_id: str = self.client.execute(cell, stop_on_error=False)
        return cell_id

    def end(self, cell_id: str) -> str:
        """How a cell ends: `ok`, or the name of the exception."""
        for _ in range(60):
            try:
                message = self.client.get_shell_msg(timeout=1)
            except Empty:
                # A kernel notices the interrupt of an awaited cell when something wakes its event loop, not
                # before: even a cell that awaits `asyncio.sleep` sleeps on.
                self.client.kernel_info()
                continue
            if message["parent_header"].get("msg_id") == cell_id:
                content = message["content"]
                return str(content.get("ename", content["status"]))
        raise AssertionError("the cell did not end")


@contextmanager
def running_kernel() -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    try:
        kernel = Kernel(manager)
        kernel.client.start_channels()
        try:
            kernel.client.wait_for_ready(timeout=60)
            yield kernel
        finally:
            kernel.client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)


@needs_signals
def test_an_interrupted_cell_ends_and_the_kernel_goes_on(service: OfficialService) -> None:
    cells = {
        "client.delete_annotations(['p'], ['a'])": "KeyboardInterrupt",
        # What the kernel makes of an interrupt while a cell awaits.
        "await client.delete_annotations_async(['p'], ['a'])": "CancelledError",
    }
    made = f"Client(user_id='me', app_id='cats', pat='{KEY}', base_url='{service.base_url}')"
    with running_kernel() as kernel:
        beginning = kernel.begin(f"from clarifai_annotations import Client\nclient = {made}")
        assert kernel.end(beginning) == "ok"
        for cell, ends_with in cells.items():
            service.on_delete = service.never_answer
            service.arrived.clear()
            begun = kernel.begin(cell)
            assert service.arrived.wait(timeout=30)
            kernel.manager.interrupt_kernel()
            assert kernel.end(begun) == ends_with
            service.on_delete = deletion_answer(10000)
            for after in (
                "client.delete_annotation('p', 'b')",
                "assert client.delete_annotations(['p', 'q'], ['a', 'b']).deleted == 2",
                "await client.delete_annotation_async('p', 'b')",
            ):
                assert kernel.end(kernel.begin(after)) == "ok"
    assert len(service.deletions) == 2 * (1 + 3)
