"""Programs that end right after a call, or in the middle of one, end in peace."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clarifai_annotations.emulator import Emulator
from conftest import KEY

BEGINNING = f"""
import asyncio, sys
from clarifai_annotations import Client
client = Client(user_id="emulator-user", app_id="emulator-app", pat="{KEY}", base_url=sys.argv[1])
async def many(): await asyncio.gather(*(client.delete_annotation_async("p", f"a{{n}}", missing_ok=True) for n in range(200)))
async def left(): client.delete_annotation_async("p", "a")
"""
ENDINGS = {
    "awaited calls": "asyncio.run(many())",
    "awaited calls, twice": "asyncio.run(many()); asyncio.run(many())",
    "a call that nobody awaits": "asyncio.run(left())",
    "a blocking call": 'client.delete_annotation("p", "a", missing_ok=True)',
    "a call in an exit handler": 'import atexit; atexit.register(client.delete_annotation, "p", "a", missing_ok=True)',
    "an awaited call in an exit handler": "import atexit; atexit.register(lambda: asyncio.run(many()))",
    "an exit in the middle of a log line": "import logging; logging.basicConfig(level=logging.DEBUG); asyncio.run(many())",
    "a thread that is blocked": (
        "import threading; "
        # On a busy machine its call may be over before the program ends, and then has to have nothing to say.
        'threading.Thread(target=client.delete_annotation, args=("p", "a"), kwargs={"missing_ok": True}, daemon=True).start()'
    ),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_program_ends_in_peace_after(ending: str) -> None:
    with Emulator(latency=(0.0, 0.002)) as emulator:
        for _ in range(5):
            command = [sys.executable, "-c", BEGINNING + ending, emulator.base_url]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert ended.returncode == 0, ended.stderr
            assert "Traceback" not in ended.stderr, ended.stderr
