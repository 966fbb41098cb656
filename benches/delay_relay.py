"""A TCP relay that delays every byte, so that a connection on loopback has the round trips of a network.

As a program, ``python benches/delay_relay.py '{"target_port": 443, "round_trip": 0.05}'`` prints its port, and ends
when its standard input is closed. It does not look into what it relays, so TLS takes its real round trips too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field


@dataclass
class Options:
    """What the relay is started with. Times are in seconds, and *after* counts from the first connection."""

    target_port: int
    round_trip: float = 0.0
    connect: float | None = None
    """How long TCP takes to connect. Default: a round trip."""
    stall_after: float | None = None
    stall: float = 1.5
    """Nothing passes for so long, in either direction. Then everything that waits passes at once."""
    close_after: float | None = None
    """When the connections that are open then are closed."""


@dataclass
class Relay:
    """Relays connections to the target."""

    options: Options
    _first_connection: float | None = None
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _close: asyncio.TimerHandle | None = None

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay a connection until both directions end."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._first_connection is None:
            self._first_connection = now
            if self.options.close_after is not None:
                self._close = loop.call_later(self.options.close_after, self._close_connections)
        # The kernel has accepted the connection already, so the bytes that follow wait in its place.
        connect = self.options.round_trip if self.options.connect is None else self.options.connect
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.options.target_port)
        self._writers += [writer, target_writer]
        await asyncio.gather(
            self._relay(reader, target_writer, now + connect),
            self._relay(target_reader, writer, now + connect),
        )

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connected_at: float
    ) -> None:
        """Relay one direction. Bytes that are read before the connection is made leave when it is."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            while True:
                try:
                    chunk = await reader.read(1 << 16)
                except OSError:
                    chunk = b""
                sent_at = max(loop.time(), connected_at)
                queue.put_nowait((sent_at + self.options.round_trip / 2, chunk))
                if not chunk:
                    return

        reading = asyncio.create_task(read())
        while True:
            due, chunk = await queue.get()
            await asyncio.sleep(due - loop.time())
            await asyncio.sleep(self._stalled_until() - loop.time())
            if not chunk or writer.is_closing():
                break
            writer.write(chunk)
        writer.close()
        await reading

    def _stalled_until(self) -> float:
        """Tell when the stall ends, if there is one now; else a time that is over."""
        if self._first_connection is None or self.options.stall_after is None:
            return 0.0
        begins = self._first_connection + self.options.stall_after
        return begins + self.options.stall if asyncio.get_running_loop().time() >= begins else 0.0

    def _close_connections(self) -> None:
        for writer in self._writers:
            writer.close()


async def serve(options: Options) -> None:
    """Relay until standard input is closed."""
    server = await asyncio.start_server(Relay(options).accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(serve(Options(**json.loads(sys.argv[1]))))
