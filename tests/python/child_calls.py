"""Calls in a child process, which can be killed or given too little room.

A warm process forks for each call: to start Python and import the package anew takes a hundred times as long.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from clarifai_annotations.emulator import Emulator
from conftest import KEY

PROGRAM = """
import json, os, resource, sys
from clarifai_annotations import ClarifaiError, Client

def counts(report):
    names = "requested deleted absent failed unknown unsent".split()
    return report and {name: getattr(report, name) for name in names}

# Its other end is this process's alone: children that live on end with it.
until_the_end, alive = os.pipe()

def fork_once():
    forked = []
    def callback(progress):
        if not forked and not progress.finished:
            forked.append(os.fork())
            if not forked[0]:
                os.close(1)
                os.read(until_the_end, 1)
                os._exit(0)
    return callback

def result(call):
    if call["leaves_a_child"]:
        call["options"]["progress"] = fork_once()
    if call["most_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (call["most_bytes"], call["most_bytes"]))
    if isinstance(call["options"].get("journal"), list):
        call["options"]["journal"] = tuple(call["options"]["journal"])  # JSON knows no tuples
    try:
        report = getattr(Client(**call["settings"]), call["method"])(*call["columns"], **call["options"])
        return {"error": None, "report": counts(report)}
    except ClarifaiError as error:
        return {"error": type(error).__name__, "message": str(error), "report": counts(error.report)}

# Not by its iterator, which reads ahead: the child would take what comes next along.
while line := sys.stdin.readline():
    if pid := os.fork():
        os.waitpid(pid, 0)
        # Behind the child's result, if it came to that.
        print(flush=True)
    else:
        os.close(alive)
        print(os.getpid(), flush=True)
        print(json.dumps(result(json.loads(line))), flush=True)
        os._exit(0)
"""


class ChildCalls:
    """Makes one call at a time, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout
        self.pid = 0

    def begin(
        self,
        emulator: Emulator,
        method: str,
        *columns: list[str],
        settings: dict[str, Any] | None = None,
        most_bytes: int = 0,
        leaves_a_child: bool = False,
        **options: Any,
    ) -> None:
        """Begin a call of a client of an emulator.

        No file may grow beyond `most_bytes`, if there are any. While it runs it may fork a child, which lives for as long as
        there may be calls.
        """
        settings = {
            "user_id": "emulator-user",
            "app_id": "emulator-app",
            "pat": KEY,
            "base_url": emulator.base_url,
            "requests_per_second": None,
            **(settings or {}),
        }
        call = {
            "method": method,
            "columns": columns,
            "options": options,
            "settings": settings,
            "most_bytes": most_bytes,
            "leaves_a_child": leaves_a_child,
        }
        self.stdin.write(json.dumps(call, default=str).encode() + b"\n")
        self.pid = int(self.stdout.readline())

    def is_done_within(self, seconds: float) -> bool:
        """Whether the call has a result by then."""
        return bool(select.select([self.stdout], [], [], seconds)[0])

    def result(self) -> Any:
        """What the call came to; `None` when it was killed before."""
        line = self.stdout.readline()
        if not line.strip():
            return None
        self.stdout.readline()
        return json.loads(line)

    def kill_when(self, is_time: Callable[[], bool], then_after: float = 0.0) -> Any:
        """Kill the call, by SIGKILL, so long after it is time. What it came to, where it was done before."""
        done = False
        while not done and not is_time():
            done = self.is_done_within(0.0005)
        if not done and not self.is_done_within(then_after):
            # It may have ended this moment.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return self.result()


@contextmanager
def child_calls() -> Iterator[ChildCalls]:
    """Make calls in children, as long as this is open."""
    # Without a buffer, so that what has come in can be seen by `select`.
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield ChildCalls(process)
        finally:
            process.kill()
