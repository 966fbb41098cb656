"""Processes that fork, or start others: each goes on with a runtime and a connection of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from clarifai_annotations import Client
from clarifai_annotations.emulator import Emulator
from conftest import KEY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")

BEGINNING = f"""
import asyncio, multiprocessing, os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # CPython warns of forks beside threads
from clarifai_annotations import Client
client = Client(
    user_id="emulator-user", app_id="emulator-app", pat="{KEY}", base_url=sys.argv[1], requests_per_second=None
)

def delete(who):
    client.delete_annotation("p", f"{{who}}-single")
    asyncio.run(awaited(who))
    client.delete_annotations(["p", "p"], [f"{{who}}-{{n}}" for n in range(2)])

async def awaited(who):
    await asyncio.gather(*(client.delete_annotation_async("p", f"{{who}}-awaited-{{n}}") for n in range(3)))

def child(who, then=None):
    pid = os.fork()
    if pid:
        return pid
    delete(who)
    if then:
        then()
    sys.exit()  # with all that an interpreter does at its end

def joined(*pids):
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
"""

PROGRAMS = {
    "before any call": ("joined(child('c')); delete('p')", "cp"),
    "after calls": ("delete('p'); joined(child('c')); delete('q')", "pcq"),
    "several times": ("delete('p'); joined(child('c'), child('d'), child('e')); delete('q')", "pcdeq"),
    "in a child": ("delete('p'); joined(child('c', lambda: joined(child('d')))); delete('q')", "pcdq"),
    "in the middle of a run in another thread": (
        """
started = threading.Event()
boxes = [f"many-{n}" for n in range(300)]
def many():
    one_by_one = Client(
        user_id="emulator-user", app_id="emulator-app", pat="made-up", base_url=sys.argv[1],
        requests_per_second=None, batch_size=1,
    )
    one_by_one.delete_annotations(["p"] * 300, boxes, progress=lambda p: p.done and started.set())
thread = threading.Thread(target=many)
thread.start()
started.wait()
pids = [child("c"), child("d")]
joined(*pids)
thread.join()
delete("p")
""",
        "cdp",
    ),
    "by multiprocessing": (
        """
context = multiprocessing.get_context("fork")
delete("p")
processes = [context.Process(target=delete, args=(who,)) for who in "cd"]
for process in processes: process.start()
for process in processes: process.join()
assert [process.exitcode for process in processes] == [0, 0]
delete("q")
""",
        "pcdq",
    ),
    "in a pool": (
        """
delete("p")
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(delete, "cdef")
""",
        "pcdef",
    ),
}


def seeded(emulator: Emulator, names: str) -> None:
    for who in names:
        for box in ["single", "awaited-0", "awaited-1", "awaited-2", "0", "1"]:
            emulator.add_annotation("p", f"{who}-{box}")
    for n in range(300):
        emulator.add_annotation("p", f"many-{n}")


@pytest.mark.parametrize(("program", "names"), PROGRAMS.values(), ids=PROGRAMS)
def test_parent_and_child_go_on_deleting_after_a_fork(program: str, names: str) -> None:
    with Emulator(latency=(0.0, 0.002)) as emulator:
        seeded(emulator, names)
        command = [sys.executable, "-c", BEGINNING + program, emulator.base_url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")
        left = {it.annotation_id for it in emulator.annotations() if not it.input_level}
        assert all(box.startswith("many-") for box in left)


def test_a_call_forked_in_its_own_callback_goes_on_in_the_parent_alone() -> None:
    program = """
def callback(progress):
    global pid
    if progress.done and pid is None:
        pid = os.fork()
pid = None
boxes = [f"many-{n}" for n in range(300)]
one_by_one = Client(
    user_id="emulator-user", app_id="emulator-app", pat="made-up", base_url=sys.argv[1],
    requests_per_second=None, batch_size=1,
)
try:
    report = one_by_one.delete_annotations(["p"] * 300, boxes, progress=callback)
except RuntimeError as error:
    assert pid == 0 and "the process was forked in a callback of this call" in str(error), error
    one_by_one.delete_annotation("p", "c-single")
else:
    joined(pid)
    assert report.deleted == 300
"""
    with Emulator(latency=0.02) as emulator:
        seeded(emulator, "c")
        command = [sys.executable, "-c", BEGINNING + program, emulator.base_url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_an_emulator_goes_on_in_the_parent_when_a_child_lets_go_of_it() -> None:
    program = """
import os
from clarifai_annotations.emulator import Emulator
emulator = Emulator(tls=True)
emulator.add_annotation("p", "a")
pid = os.fork()
if pid == 0:
    emulator.stop()
    del emulator
    raise SystemExit
assert os.waitpid(pid, 0)[1] == 0
emulator.client().delete_annotation("p", "a")
assert emulator.root_certificates_path.exists()
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_client_goes_to_other_processes_without_its_credential(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing, pickle, sys
from clarifai_annotations import Client

if __name__ == "__main__":
    client = Client(batch_size=7)
    assert b"{KEY}" not in pickle.dumps(client)
    assert repr(pickle.loads(pickle.dumps(client))) == repr(client)
    client.delete_annotation("p", "p-single")
    context = multiprocessing.get_context("{method}")
    processes = [
        context.Process(target=client.delete_annotation, args=("p", f"{{who}}-single")) for who in "cd"
    ]
    for process in processes: process.start()
    for process in processes: process.join()
    assert [process.exitcode for process in processes] == [0, 0]
"""
    )
    with Emulator() as emulator:
        seeded(emulator, "pcd")
        environment = {
            **os.environ,
            "CLARIFAI_USER_ID": "emulator-user",
            "CLARIFAI_APP_ID": "emulator-app",
            "CLARIFAI_PAT": KEY,
            "CLARIFAI_API_BASE": emulator.base_url,
        }
        command = [sys.executable, str(program)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert len(emulator.requests) == 3


def test_a_client_that_was_given_its_credential_is_not_pickled() -> None:
    client = Client(user_id="me", app_id="cats", pat=KEY)
    for kept in (client, client.for_app("dogs")):
        with pytest.raises(
            TypeError, match="its credential was given as an argument, and would travel in clear"
        ):
            pickle.dumps(kept)
