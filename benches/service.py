"""The emulator in a process of its own, as the peer of a benchmark.

As a program: ``python benches/service.py '{"latency": 0.05}' 40000`` seeds so many annotations, ten on an input,
prints where it listens, answers each line on its input with what it saw, and ends with its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PER_INPUT = 10
THROTTLED = 11005


def input_id(n: int) -> str:
    """ID of the input that annotation number `n` is on."""
    return f"photo-{n // PER_INPUT}"


def annotation_id(n: int) -> str:
    """ID of annotation number `n`."""
    return f"box-{n}"


class Service:
    """A running emulator."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Take over a process that was just started."""
        self._process = process
        self.base_url: str = self._answer()

    def saw(self) -> dict[str, int]:
        """Requests that it saw, those that it throttled, and annotations that are left."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()  # type: ignore[no-any-return]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def service(annotations: int, **options: Any) -> Iterator[Service]:
    """Run an emulator with these options and so many annotations; its end is the end of its process."""
    command = [sys.executable, __file__, json.dumps(options), str(annotations)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Service(process)
        finally:
            process.kill()


def main() -> None:
    """Serve until the input ends."""
    from clarifai_annotations.emulator import Emulator

    options, annotations = json.loads(sys.argv[1]), int(sys.argv[2])
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    with Emulator(**options) as emulator:
        for n in range(annotations):
            emulator.add_annotation(input_id(n), annotation_id(n))
        print(json.dumps(emulator.base_url), flush=True)
        for _ in sys.stdin:
            codes = [request.code for request in emulator.requests]
            left = sum(not it.input_level for it in emulator.annotations())
            saw = {"requests": len(codes), "throttled": codes.count(THROTTLED), "left": left}
            print(json.dumps(saw), flush=True)


if __name__ == "__main__":
    main()
