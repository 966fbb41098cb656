"""Refuses every interpreter but the main one of a process. Imported before anything native.

Threads, connections and what is kept of Python objects belong to the process. A sub-interpreter that shared them would,
at its end, leave the main one with objects of a dead interpreter.
"""

import sys
from importlib import import_module


def _main_interpreter_only() -> None:
    try:
        interpreters = import_module("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
    except ImportError:
        return  # a Python that has none
    # Each is an ID; from CPython 3.13 on, an ID and where the interpreter comes from.
    if interpreters.get_current() != interpreters.get_main():
        raise ImportError(
            "clarifai_annotations cannot be used in a sub-interpreter: its threads and connections belong to the "
            "whole process. Use it in the main interpreter, or in a process of its own (multiprocessing)"
        )


_main_interpreter_only()
