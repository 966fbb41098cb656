"""What an import costs, and what it does not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Runs in a process of its own, where nothing else has been imported.
WATCHED_IMPORT = """
import os, sys, threading

opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
import clarifai_annotations
native = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
descriptors = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
               if os.path.exists(f"/proc/self/fd/{fd}")] if sys.platform == "linux" else []
print(native, threading.active_count(), opened, [name for name in descriptors if "socket" in name])
"""


def python(*arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_an_import_starts_no_thread_and_opens_no_socket() -> None:
    assert python("-c", WATCHED_IMPORT) == "1 1 [] []"


def test_an_import_brings_in_no_other_package() -> None:
    program = """
import sys
before = set(sys.modules)
import clarifai_annotations
new = {name.partition(".")[0] for name in set(sys.modules) - before}
own = {"clarifai_annotations", "_interpreters", "_xxsubinterpreters"}  # Python's, not in its list
print(sorted(new - sys.stdlib_module_names - own))
"""
    assert python("-c", program) == "[]"


def test_an_import_does_not_bring_in_typing_which_takes_longer_than_all_the_rest() -> None:
    assert python("-c", "import sys, clarifai_annotations; print('typing' in sys.modules)") == "False"


def test_the_package_says_its_version_and_its_types() -> None:
    program = "import clarifai_annotations as c; print(c.__version__, c.__file__)"
    version, file = python("-c", program).split(maxsplit=1)
    assert version.count(".") == 2
    assert (Path(file).parent / "py.typed").exists()
    assert (Path(file).parent / "_native.pyi").exists()
