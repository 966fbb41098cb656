"""A long run: 16 threads and 4 event loops share a client, and everything that can go wrong does, at random.

Every worker holds an app of its own against what the service has: after each call every outcome must be true, and
nothing may be gone that was not named. Memory, file descriptors and threads of this process are watched meanwhile.

    python benches/soak.py --minutes 60

Ends with 1, and says what it saw, where an outcome was not true or where something grew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from clarifai_annotations import ClarifaiError, Client, DeleteReport, NotFoundError
from clarifai_annotations.emulator import Emulator, Fault

THREADS = 16
LOOPS = 4
INPUTS = [f"photo-{n}" for n in range(10)]
SETTLED_MINUTES = 5
MOST_GROWTH = 0.05

FAULTS = {
    Fault.throttled(): 0.0005,
    Fault.dropped_before(): 0.002,
    Fault.dropped_after(): 0.002,
    Fault.status(10020): 0.005,
    Fault.grpc(14): 0.005,
    Fault.partial(3): 0.005,
    Fault.delayed(0.3): 0.005,
    Fault.goaway(): 0.002,
}

Pair = tuple[str, str]
Round: TypeAlias = "Generator[tuple[str, tuple[Any, ...], dict[str, Any]], Any, None]"
"""Yields a method with its arguments and options, and takes what came of it."""


def serve(seed: int) -> None:
    """Be the service, in a process of its own: a line with pairs to add, or with none, is answered with what is there."""
    with Emulator(latency=(0.0, 0.004), fault_rates=FAULTS, seed=seed) as emulator:
        print(emulator.base_url, flush=True)
        for line in sys.stdin:
            app_id, pairs = json.loads(line)
            for pair in pairs:
                emulator.add_annotation(*pair, user_id="soak", app_id=app_id)
            there = emulator.annotations(user_id="soak", app_id=app_id)
            print(
                json.dumps([(it.input_id, it.annotation_id) for it in there if not it.input_level]),
                flush=True,
            )


class Service:
    """The service, as all workers ask it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Take over a process that was just started."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out, self._lock = process.stdin, process.stdout, threading.Lock()
        self.base_url = self._out.readline().strip()

    def there(self, app_id: str, added: list[Pair] | None = None) -> set[Pair]:
        """Add annotations to an app, and tell which it has."""
        with self._lock:
            self._in.write(json.dumps([app_id, added or []]) + "\n")
            self._in.flush()
            return {(input_id, annotation_id) for input_id, annotation_id in json.loads(self._out.readline())}


@contextmanager
def running_service(seed: int) -> Iterator[Service]:
    """A service in a process of its own, stopped at the end."""
    command = [sys.executable, __file__, "--serve", str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Service(process)
        finally:
            process.terminate()


@dataclass
class Tally:
    """What all workers did."""

    calls: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    untrue: list[str] = field(default_factory=list)


@dataclass
class Worker:
    """One thread, or one event loop, with an app of its own."""

    service: Service
    client: Client
    name: str
    chance: random.Random
    tally: Tally
    until: float
    made: int = 0

    def round(self) -> Round:
        """Add some annotations, give the caller a call to make and take what came of it, then hold it against what is left."""
        chance = self.chance
        added = []
        for _ in range(chance.randrange(1, 30)):
            self.made += 1
            added.append((chance.choice(INPUTS), f"box-{self.made}"))
        before = self.service.there(self.name, added)
        form = chance.choice(["single", "pairs", "pairs", "inputs"])
        timeout = 0.02 if chance.random() < 0.03 else None
        options: dict[str, Any] = {"timeout": timeout}
        named: set[Pair]
        arguments: tuple[Any, ...]
        if form == "single":
            pair = chance.choice(sorted(before))
            named = {pair}
            call, arguments = "delete_annotation", pair
        elif form == "pairs":
            some = chance.sample(sorted(before), chance.randrange(1, len(before) + 1))
            named = set(some)
            call, arguments = "delete_annotations", tuple(map(list, zip(*some, strict=True)))
        else:
            inputs = chance.sample(INPUTS, chance.randrange(1, 5))
            named = {pair for pair in before if pair[0] in inputs}
            call, arguments = "delete_input_annotations", (inputs,)
        if form != "single":
            options["on_failure"] = "report"
        result = yield call, arguments, options
        left = self.service.there(self.name)
        self.tally.calls[form] += 1
        for what in self.untruths(form, named, arguments, result, before, left):
            self.tally.untrue.append(f"{self.name}: {form}: {what}")

    def untruths(
        self, form: str, named: set[Pair], arguments: Any, result: Any, before: set[Pair], left: set[Pair]
    ) -> Iterator[str]:
        """What of a result is not so."""
        gone = before - left
        if wider := gone - named:
            yield f"gone without being named: {sorted(wider)}"
        if form == "single":
            confirmed = result is None or isinstance(result, NotFoundError)
            self.tally.outcomes["deleted" if result is None else type(result).__name__] += 1
            if confirmed and not named <= gone:
                yield f"{named} is there after {result!r}"
        elif isinstance(result, DeleteReport):
            failures = {item.position: item.outcome for item in result.failures}
            for position, target in enumerate(zip(*arguments, strict=True)):
                outcome = failures.get(position, "deleted")
                self.tally.outcomes[outcome] += 1
                is_gone = not any(pair[: len(target)] == target for pair in left)
                if outcome in ("deleted", "absent") and not is_gone:
                    yield f"{target} is there and {outcome}"
                if outcome in ("failed", "unsent") and form == "pairs" and is_gone:
                    yield f"{target} is gone and {outcome}"
        else:
            self.tally.outcomes[type(result).__name__] += 1


def in_thread(worker: Worker) -> None:
    """Make calls that block."""
    client = worker.client.for_app(worker.name)
    while time.monotonic() < worker.until:
        calls = worker.round()
        call, arguments, options = next(calls)
        result: Any
        try:
            result = getattr(client, call)(*arguments, **options)
        except ClarifaiError as error:
            result = error
        finish(calls, result)


def in_loop(workers: list[Worker]) -> None:
    """Make awaited calls, several at a time in one loop."""

    async def work(worker: Worker) -> None:
        client = worker.client.for_app(worker.name)
        while time.monotonic() < worker.until:
            calls = worker.round()
            call, arguments, options = next(calls)
            result: Any
            try:
                deletion = getattr(client, f"{call}_async")(*arguments, **options)
                if worker.chance.random() < 0.03:
                    result = await asyncio.wait_for(deletion, 0.01)
                else:
                    result = await deletion
            except (ClarifaiError, TimeoutError, asyncio.TimeoutError) as error:
                result = error
            finish(calls, result)

    async def all_of_them() -> None:
        await asyncio.gather(*map(work, workers))

    asyncio.run(all_of_them())


def finish(calls: Round, result: Any) -> None:
    """Hand a round the result of its call."""
    with contextlib.suppress(StopIteration):
        calls.send(result)


@dataclass
class Sample:
    """How this process is at one time."""

    minute: float
    megabytes: float
    descriptors: int
    threads: int

    @classmethod
    def now(cls, begun: float) -> Sample:
        """Look."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            minute=(time.monotonic() - begun) / 60,
            megabytes=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            descriptors=len(os.listdir("/proc/self/fd")),
            threads=len(os.listdir("/proc/self/task")),
        )


def verdict(samples: list[Sample], minutes: float) -> list[str]:
    """What grew, from the first minutes after it had settled to the last."""
    window = min(SETTLED_MINUTES, minutes / 3)
    early = [it for it in samples if window <= it.minute < 2 * window]
    late = [it for it in samples if it.minute >= minutes - window]
    grown = []
    for name in ("megabytes", "descriptors", "threads"):
        first, last = (statistics.median(getattr(it, name) for it in them) for them in (early, late))
        print(
            f"{name}: {first:.1f} after {window:.0f} minutes, {last:.1f} at the end ({last / first - 1:+.1%})"
        )
        if last > first * (1 + MOST_GROWTH):
            grown.append(name)
    return grown


def main() -> int:
    """Run, watch, and say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return 0

    logging.getLogger("clarifai_annotations").setLevel(logging.ERROR)
    begun, tally = time.monotonic(), Tally()
    until = begun + options.minutes * 60
    samples: list[Sample] = []
    with (
        running_service(options.seed) as service,
        Client(
            user_id="soak", app_id="soak", pat="made-up", base_url=service.base_url, requests_per_second=None,
            batch_size=8, request_timeout=5,
        ) as client,
    ):  # fmt: skip

        def worker(name: str) -> Worker:
            return Worker(service, client, name, random.Random(f"{options.seed}-{name}"), tally, until)

        def guarded(work: Callable[[Any], None], of: Any) -> None:
            try:
                work(of)
            except BaseException:
                tally.untrue.append(traceback.format_exc())

        threads = [
            threading.Thread(target=guarded, args=(in_thread, worker(f"thread-{n}"))) for n in range(THREADS)
        ]
        threads += [
            threading.Thread(target=guarded, args=(in_loop, [worker(f"loop-{n}-{m}") for m in range(4)]))
            for n in range(LOOPS)
        ]
        for thread in threads:
            thread.start()
        while (left := until - time.monotonic()) > 0 and not tally.untrue:
            if left < 10:
                time.sleep(left)
                break
            time.sleep(10)
            samples.append(sample := Sample.now(begun))
            print(
                f"{sample.minute:5.1f} min  {tally.calls.total():>8,} calls  {sample.megabytes:6.1f} MB  "
                f"{sample.descriptors} descriptors  {sample.threads} threads",
                flush=True,
            )
        for thread in threads:
            thread.join()

    print(f"calls: {dict(tally.calls)}; outcomes: {dict(tally.outcomes)}")
    grown = verdict(samples, options.minutes)
    print(f"untrue outcomes: {len(tally.untrue)}; grown: {', '.join(grown) or 'nothing'}")
    print("\n".join(tally.untrue[:20]))
    return 1 if tally.untrue or grown else 0


if __name__ == "__main__":
    sys.exit(main())
