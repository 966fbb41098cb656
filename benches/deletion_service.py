"""The emulator in a process of its own, as the peer of `benches/deletion.py`.

``python benches/deletion_service.py 40000 '{"latency": 0.05}'`` seeds so many pairs and prints a line of JSON with its
``base_url``. Each ``requests`` on its input is answered with a line of counts; it ends with its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ANNOTATIONS_PER_INPUT = 10
CONN_THROTTLED = 11005


def input_id(n: int) -> str:
    """ID of the input that annotation number `n` is on."""
    return f"photo-{n // ANNOTATIONS_PER_INPUT}"


def annotation_id(n: int) -> str:
    """ID of annotation number `n`."""
    return f"box-{n}"


class Service:
    """A running emulator, seen from the benchmark."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wait until it has seeded its pairs and listens."""
        self._process = process
        self.base_url: str = self._answer()["base_url"]

    def saw(self) -> dict[str, Any]:
        """Count its requests, those it throttled, those by method, and the annotations that are left."""
        assert self._process.stdin is not None
        self._process.stdin.write("requests\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the emulator's process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def service(pairs: int, **options: Any) -> Iterator[Service]:
    """Run an emulator with these options and so many pairs until the block ends."""
    command = [sys.executable, __file__, str(pairs), json.dumps(options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Service(process)
        finally:
            # Nothing in it is worth the seconds that freeing millions of annotations would take.
            process.kill()


def main() -> None:
    """Seed, tell where it listens, and answer until the input ends."""
    from clarifai_annotations.emulator import Emulator

    pairs, options = int(sys.argv[1]), json.loads(sys.argv[2])
    # JSON has no tuples, and a range of latencies is one.
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    with Emulator(**options) as emulator:
        for n in range(pairs):
            emulator.add_annotation(input_id(n), annotation_id(n))
        print(json.dumps({"base_url": emulator.base_url}), flush=True)
        for line in sys.stdin:
            if line.strip() != "requests":
                raise SystemExit(f"not a command: {line!r}")
            # The log keeps 1,000,000 IDs, so of runs beyond 500,000 pairs it has only the latest requests;
            # what is left is true for any.
            requests = emulator.requests
            counts = {
                "requests": len(requests),
                "throttled": sum(request.code == CONN_THROTTLED for request in requests),
                "methods": Counter(request.method for request in requests),
                "left": sum(not annotation.input_level for annotation in emulator.annotations()),
            }
            print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
