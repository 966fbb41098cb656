"""What single deletions take that wait for the rate limit: memory for each, and the time to cancel all of them.

Memory is measured above that of as many tasks that await a plain future.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from clarifai_annotations.emulator import Emulator

COUNT = 100_000
PAGE = 4096


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


async def measured(begin: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Bytes of each of so many tasks that wait, and seconds to cancel them."""
    gc.collect()
    before = resident()

    async def wait(n: int) -> None:
        await begin(n)

    tasks = [asyncio.create_task(wait(n)) for n in range(COUNT)]
    await asyncio.sleep(5)
    size = (resident() - before) / COUNT
    begun = time.perf_counter()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return size, time.perf_counter() - begun


async def main() -> None:
    """Print both."""
    loop = asyncio.get_running_loop()
    ids = [f"box-{n}" for n in range(COUNT)]
    plain, plain_seconds = await measured(lambda _: loop.create_future())
    with Emulator() as emulator:
        emulator.add_annotation("photo", "first")
        async with emulator.client(requests_per_second=0.001) as client:
            await client.delete_annotation_async("photo", "first")
            size, seconds = await measured(lambda n: client.delete_annotation_async("photo", ids[n]))
    print(f"{COUNT:,} waiting deletions: {size - plain:,.0f} bytes each above a plain task ({plain:,.0f})")
    print(f"cancelled together in {seconds:.2f} s; plain tasks in {plain_seconds:.2f} s")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
