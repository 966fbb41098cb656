"""The emulator in a process of its own, as the peer of a benchmark.

As a program: ``python benches/service.py '{"latency": 0.05}' 40000`` seeds so many annotations, ten on an input, with
nothing in them or, where ``boxes`` comes last, with a labelled box each; prints where it listens, answers each line on its input with what it saw, and ends with its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PER_INPUT = 10
BOX = {
    "data": {
        "regions": [
            {
                "id": "region-1",
                "region_info": {
                    "bounding_box": {"top_row": 0.12, "left_col": 0.2, "bottom_row": 0.71, "right_col": 0.64}
                },
                "data": {"concepts": [{"id": "cat", "name": "cat", "value": 1, "app_id": "cats"}]},
                "value": 1,
            }
        ]
    },
    "status": {"code": "ANNOTATION_SUCCESS", "description": "Annotation Success"},
    "created_at": "2026-01-02T03:04:05.678901Z",
    "modified_at": "2026-01-02T03:04:05.678901Z",
    "user_id": "labeller-7",
    "trusted": True,
}
"""As the service serves a box that somebody drew."""
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
def service(annotations: int, *, boxes: bool = False, **options: Any) -> Iterator[Service]:
    """Run an emulator with these options and so many annotations; its end is the end of its process."""
    command = [sys.executable, __file__, json.dumps(options), str(annotations), *(["boxes"] if boxes else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Service(process)
        finally:
            process.kill()


def main() -> None:
    """Serve until the input ends."""
    from clarifai_annotations.emulator import Emulator, annotation_from_json

    options, annotations = json.loads(sys.argv[1]), int(sys.argv[2])
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    message = annotation_from_json(json.dumps(BOX)) if "boxes" in sys.argv else None
    with Emulator(**options) as emulator:
        for n in range(annotations):
            emulator.add_annotation(input_id(n), annotation_id(n), message=message)
        print(json.dumps(emulator.base_url), flush=True)
        for _ in sys.stdin:
            codes = [request.code for request in emulator.requests]
            left = sum(not it.input_level for it in emulator.annotations())
            saw = {"requests": len(codes), "throttled": codes.count(THROTTLED), "left": left}
            print(json.dumps(saw), flush=True)


if __name__ == "__main__":
    main()
