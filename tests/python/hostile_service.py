"""A peer that breaks the rules: it reads HTTP/2 and answers with whatever bytes a test tells it to.

The official servers cannot be made to misbehave below gRPC. This one writes its frames itself.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

Headers = list[tuple[str, str | bytes]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GRPC_HEADERS: Headers = [(":status", "200"), ("content-type", "application/grpc")]
LARGEST_FRAME = 16384


class GoneError(Exception):
    """The connection is over: the client left, the test closed it, or it told something else meanwhile."""


class UnwantedError(Exception):
    """The client does not want this answer; the connection goes on."""


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    first_read: int
    """Which read of its connection brought its headers."""
    last_read: int = 0
    """Which read brought its end."""
    body: bytes = b""

    @property
    def message(self) -> Any:
        """What it says, as Clarifai's own messages read it."""
        return getattr(service_pb2, f"{self.method}Request").FromString(self.body[5:])


class Connection:
    """One connection of the client. It follows what the client sends, and sends what a test likes."""

    def __init__(self, service: HostileService, peer: socket.socket) -> None:
        self.service = service
        self.peer = peer
        self.encoder = Encoder()
        self.requests: dict[int, Request] = {}
        self.complete: list[int] = []
        """Streams whose requests are there in full and not answered yet."""
        self.deaf = False
        """Whether what the client sends is read and forgotten."""
        self._reads = 0
        self._age = service.age
        self._decoder = Decoder()
        self._unread = b""
        self._greeted = False
        self._header_block = b""
        self._ends_with_headers = False
        self._reset: set[int] = set()
        self._window = 65535
        self._stream_windows: dict[int, int] = {}
        self._initial_window = 65535

    def send(self, data: bytes) -> None:
        """Write these bytes, however long the client takes to read them."""
        left = memoryview(data)
        while left:
            self._wait(writing=True)
            try:
                left = left[self.peer.send(left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise GoneError from error

    def frame(self, *frames: Frame) -> None:
        """Write some frames."""
        self.send(b"".join(frame.serialize() for frame in frames))

    def headers(self, stream_id: int, headers: Headers, *flags: str) -> None:
        """Write a header block in one frame."""
        self.frame(HeadersFrame(stream_id, self.encoder.encode(headers), flags=["END_HEADERS", *flags]))

    def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Write a body, as far and as fast as the client's windows let it."""
        left = memoryview(data)
        while left or end:
            room = min(self._window, self._stream_windows[stream_id], LARGEST_FRAME)
            if left and room <= 0:
                self._wait(writing=False)
                self.read()
                if stream_id in self._reset:
                    raise UnwantedError
                continue
            chunk, left = bytes(left[:room]), left[room:]
            self._window -= len(chunk)
            self._stream_windows[stream_id] -= len(chunk)
            last = end and not left
            self.frame(DataFrame(stream_id, chunk, flags=["END_STREAM"] if last else []))
            if last:
                return

    def grpc(self, stream_id: int, message: bytes, status: str | bytes = "0", text: str | bytes = "") -> None:
        """Answer as gRPC does: headers, one message, and a status behind it."""
        self.headers(stream_id, GRPC_HEADERS)
        self.data(stream_id, len(message).to_bytes(5, "big") + message)
        self.headers(stream_id, [("grpc-status", status), ("grpc-message", text)], "END_STREAM")

    def close(self) -> None:
        """End the connection, as a process does that is killed."""
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_RDWR)
        raise GoneError

    def read(self) -> None:
        """Take in what the client sent."""
        try:
            data = self.peer.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise GoneError from error
        if not data:
            raise GoneError
        self._reads += 1
        if self.deaf:
            return
        self._unread += data
        if not self._greeted:
            if len(self._unread) < len(PREFACE):
                return
            self._unread = self._unread.removeprefix(PREFACE)
            self._greeted = True
        while len(self._unread) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._unread[:9]))
            if len(self._unread) < 9 + length:
                return
            frame.parse_body(memoryview(self._unread[9 : 9 + length]))
            self._unread = self._unread[9 + length :]
            self._take(frame)

    def _wait(self, *, writing: bool) -> None:
        """Wait for the client, and no longer than the test wants this answer."""
        wakeup = self.service.wakeup
        select.select([wakeup] if writing else [wakeup, self.peer], [self.peer] if writing else [], [])
        if self._age != self.service.age:
            raise GoneError

    def renew(self) -> None:
        """From here on it is the present answer that counts."""
        self._age = self.service.age

    def _take(self, frame: Frame) -> None:
        stream_id = frame.stream_id
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            self._header_block += frame.data
            self._ends_with_headers |= "END_STREAM" in frame.flags
            if "END_HEADERS" not in frame.flags:
                return
            headers = {str(name): str(value) for name, value in self._decoder.decode(self._header_block)}
            self.requests[stream_id] = Request(headers[":path"].rsplit("/", 1)[-1], self._reads)
            self._stream_windows.setdefault(stream_id, self._initial_window)
            self._header_block = b""
        elif isinstance(frame, DataFrame):
            self.requests[stream_id].body += frame.data
            if frame.flow_controlled_length and "END_STREAM" not in frame.flags:
                self.frame(WindowUpdateFrame(0, frame.flow_controlled_length))
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._initial_window = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535)
            self.frame(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.frame(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, WindowUpdateFrame):
            if stream_id:
                self._stream_windows[stream_id] += frame.window_increment
            else:
                self._window += frame.window_increment
        elif isinstance(frame, RstStreamFrame):
            self._reset.add(stream_id)
        if isinstance(frame, DataFrame | HeadersFrame) and "END_STREAM" in frame.flags:
            self.requests[stream_id].last_read = self._reads
            self.service.requests.append(self.requests[stream_id])
            self.complete.append(stream_id)


Answer = Callable[[Connection, int], None]
Greeting = Callable[[Connection], None]


def greet(connection: Connection) -> None:
    """Begin as HTTP/2 wants it."""
    connection.frame(SettingsFrame(0))


def deletion(code: int, description: str | bytes = "", details: str = "") -> bytes:
    """The serialized answer to a deletion. A description in bytes need not be UTF-8."""
    if isinstance(description, str):
        status = status_pb2.Status(code=code, description=description, details=details)
        return bytes(status_pb2.BaseResponse(status=status).SerializeToString())
    head = bytes(status_pb2.Status(code=code, details=details).SerializeToString())
    status_bytes = head + b"\x12" + varint(len(description)) + description
    return b"\x0a" + varint(len(status_bytes)) + bytes(status_bytes)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def page(*annotations: Any, code: int = status_code_pb2.SUCCESS) -> bytes:
    """The serialized answer to a list."""
    status = status_pb2.Status(code=code)
    return bytes(
        service_pb2.MultiAnnotationResponse(status=status, annotations=annotations).SerializeToString()
    )


def everything_is_there(connection: Connection, stream_id: int) -> None:
    """The true list of a service that has deleted nothing."""
    request = connection.requests[stream_id].message
    pairs = zip(request.input_ids, request.ids or ["left"] * len(request.input_ids), strict=True)
    there = [resources_pb2.Annotation(input_id=input_id, id=own_id) for input_id, own_id in pairs]
    connection.grpc(stream_id, page(*there))


def well(connection: Connection, stream_id: int) -> None:
    """The answer of a service that is well: deleted."""
    if connection.requests[stream_id].method == "ListAnnotations":
        connection.grpc(stream_id, page())
    else:
        connection.grpc(stream_id, deletion(status_code_pb2.SUCCESS, "Ok"))


def unanswered(_connection: Connection, _stream_id: int) -> None:
    """No answer."""


@dataclass
class HostileService:
    """What the peer does. By default it is well."""

    base_url: str = ""
    on_connect: Greeting = greet
    on_delete: Answer = well
    on_list: Answer = everything_is_there
    on_recovery: Greeting | None = None
    requests: list[Request] = field(default_factory=list)
    age: int = 0
    """Counts what it was told: an answer that still goes on from before is broken off."""
    _wires: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    _has_heard: threading.Event = field(default_factory=threading.Event)
    """Set when it has broken off what was under way before it was told something new."""

    @property
    def wakeup(self) -> socket.socket:
        """Can be read when the test told something new; ends when it is done."""
        return self._wires[1]

    @property
    def methods(self) -> list[str]:
        """What was asked for."""
        return [request.method for request in self.requests]

    def tell(
        self,
        *,
        on_connect: Greeting = greet,
        on_delete: Answer = well,
        on_list: Answer = everything_is_there,
        on_recovery: Greeting | None = None,
    ) -> None:
        """From here on it does this. What is under way is broken off; `on_recovery` meets every connection.

        Returns when that is done: a connection that it closes is closed before the next call.
        """
        self.on_connect, self.on_delete, self.on_list = on_connect, on_delete, on_list
        self.on_recovery = on_recovery
        self._has_heard.clear()
        self.age += 1
        self._wires[0].send(b"!")
        assert self._has_heard.wait(30)

    def stop(self) -> None:
        """Break off what is under way, and end."""
        self.age += 1
        self._wires[0].close()

    def serve(self, listener: socket.socket) -> None:
        """Serve every connection until stopped."""
        connections: dict[socket.socket, Connection] = {}
        while True:
            ready, _, _ = select.select([listener, self.wakeup, *connections], [], [])
            if self.wakeup in ready:
                if not self.wakeup.recv(1 << 10):
                    break
                for peer in list(connections) if self.on_recovery else []:
                    self._attend(connections, peer, self.on_recovery or greet)
                self._has_heard.set()
            if listener in ready:
                peer, _ = listener.accept()
                peer.setblocking(False)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[peer] = Connection(self, peer)
                self._attend(connections, peer, lambda connection: self.on_connect(connection))
            for peer in [peer for peer in ready if peer in connections]:
                self._attend(connections, peer, self._answer)
        for peer in connections:
            peer.close()

    def _attend(
        self, connections: dict[socket.socket, Connection], peer: socket.socket, attend: Greeting
    ) -> None:
        try:
            connections[peer].renew()
            attend(connections[peer])
        except GoneError:
            del connections[peer]
            peer.close()

    def _answer(self, connection: Connection) -> None:
        connection.read()
        while connection.complete:
            stream_id = connection.complete.pop(0)
            lists = connection.requests[stream_id].method == "ListAnnotations"
            with contextlib.suppress(UnwantedError):
                (self.on_list if lists else self.on_delete)(connection, stream_id)


@contextmanager
def hostile_service() -> Iterator[HostileService]:
    """Run a `HostileService` on a free loopback port."""
    service = HostileService()
    with socket.create_server(("127.0.0.1", 0)) as listener, service.wakeup:
        service.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        failures: list[BaseException] = []

        def serve() -> None:
            try:
                service.serve(listener)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield service
        finally:
            service.stop()
            thread.join()
    assert not failures, failures
