"""The system calls of a program by strace, and what a disk would have kept of its files had the power been cut.

The model is the worst that POSIX allows: what was written to a file survives once a sync of it has returned, a name that
was made or changed survives once a sync of its folder has returned, and a name that was removed is gone at once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TRACED = (
    "open,openat,creat,write,pwrite64,writev,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,"
    "ftruncate,lseek,copy_file_range,sendfile"
)

STARTED = re.compile(
    r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*?)(?P<rest>\) += .*| <unfinished \.\.\.>)$"
)
RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>.*\) += (?P<result>-?\d+)")
FILE = re.compile(r"^(?P<number>-?\d+|AT_FDCWD)<(?P<path>(?:\\.|[^>\\])*(?:->[^>]*\])?)>")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class SystemCall:
    """A call as it began, or as it returned."""

    name: str
    arguments: str
    result: int | None
    """What it returned; ``None`` when it began."""

    @property
    def texts(self) -> list[bytes]:
        """The strings among its arguments."""
        return [bytes.fromhex(text.replace("\\x", "")) for text in TEXT.findall(self.arguments)]

    @property
    def file(self) -> str:
        """What its first argument, a file descriptor, is open on."""
        found = FILE.match(self.arguments)
        return decoded(found["path"]) if found else ""


def decoded(path: str) -> str:
    """A path as strace prints it."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda it: chr(int(it[1], 16)), path)


def traced(program: Sequence[str | Path], log: Path) -> Iterator[SystemCall]:
    """Run a program to its end, and give its system calls, each twice: as it began and as it returned."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        pytest.skip("there is no strace")
    strace = ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={TRACED}", "-o", str(log)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*strace, "--", *program], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    begun: dict[tuple[str, str], str] = {}
    with log.open(encoding="latin-1") as lines:
        for line in lines:
            if started := STARTED.match(line.rstrip("\n")):
                name, arguments = started["name"], started["arguments"]
                yield SystemCall(name, arguments, None)
                if (result := re.match(r"\) += (-?\d+)", started["rest"])) is not None:
                    yield SystemCall(name, arguments, int(result[1]))
                else:
                    begun[started["pid"], name] = arguments
            elif resumed := RESUMED.match(line):
                arguments = begun.pop((resumed["pid"], resumed["name"]), "")
                yield SystemCall(resumed["name"], arguments, int(resumed["result"]))


@dataclass
class Inode:
    """A file, whatever its name is."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    offset: int = 0


class Disk:
    """The files of one folder: as programs see them, and as a power cut would leave them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Inode] = {}
        for path in folder.iterdir():
            content = path.read_bytes()
            self.names[path.name] = Inode(bytearray(content), content)
        self.durable_names = dict(self.names)
        self._syncing: dict[str, bytes] = {}

    def apply(self, call: SystemCall) -> bool:
        """Apply a system call. Tells whether what is durable may have changed."""
        if call.result is None:
            if call.name in ("fsync", "fdatasync") and (inode := self._inode(call.file)):
                # What is written while the disk is busy need not be on it.
                self._syncing[call.file] = bytes(inode.content)
            return False
        if call.result < 0:
            return False
        handler = getattr(self, f"_{call.name}", None)
        return bool(handler(call)) if handler else False

    def files(self) -> dict[str, bytes]:
        """What a power cut would leave."""
        return {name: inode.durable for name, inode in self.durable_names.items()}

    def _name(self, path: str) -> str | None:
        path = path.removesuffix(" (deleted)")
        return os.path.basename(path) if os.path.dirname(path) == str(self.folder) else None

    def _inode(self, path: str) -> Inode | None:
        name = self._name(path)
        return None if name is None else self.names.get(name)

    def _openat(self, call: SystemCall) -> bool:
        [path] = call.texts
        name = self._name(path.decode())
        if name is None or "O_DIRECTORY" in call.arguments or "O_PATH" in call.arguments:
            return False
        if "O_CREAT" in call.arguments and name not in self.names:
            self.names[name] = Inode()
        if (inode := self.names.get(name)) is not None:
            inode.offset = 0
            assert "O_TRUNC" not in call.arguments, "nothing is truncated when it is opened"
        return False

    def _lseek(self, call: SystemCall) -> bool:
        if (inode := self._inode(call.file)) is not None:
            assert call.result is not None
            inode.offset = call.result
        return False

    def _write(self, call: SystemCall) -> bool:
        if (inode := self._inode(call.file)) is not None:
            written = b"".join(call.texts)[: call.result]
            inode.content[inode.offset : inode.offset + len(written)] = written
            inode.offset += len(written)
        return False

    def _copy_file_range(self, call: SystemCall) -> bool:
        raise AssertionError(f"the model does not know {call.name}")

    _sendfile = _copy_file_range

    def _ftruncate(self, call: SystemCall) -> bool:
        if (inode := self._inode(call.file)) is not None:
            del inode.content[int(call.arguments.rsplit(", ", 1)[1]) :]
        return False

    def _fsync(self, call: SystemCall) -> bool:
        if call.file == str(self.folder):
            self.durable_names = dict(self.names)
        elif (inode := self._inode(call.file)) is not None:
            inode.durable = self._syncing.get(call.file, b"")
        return True

    _fdatasync = _fsync

    def _rename(self, call: SystemCall) -> bool:
        old, new = (self._name(text.decode()) for text in call.texts)
        if old is None or new is None:
            return False
        inode = self.names.pop(old)
        self.names[new] = inode
        # The old name is gone at once, and the new one means what it meant until the folder is synced. Or the other way
        # round: POSIX allows that the rename is durable before what was written is.
        self.durable_names.pop(old, None)
        if inode.durable != bytes(inode.content):
            self.durable_names[new] = inode
        return True

    _renameat = _renameat2 = _rename

    def _unlink(self, call: SystemCall) -> bool:
        name = self._name(call.texts[0].decode())
        if name is None:
            return False
        self.names.pop(name, None)
        self.durable_names.pop(name, None)
        return True

    _unlinkat = _unlink


class GrpcRequests:
    """The messages that a client sends on its connections, out of what it writes to sockets."""

    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def __init__(self) -> None:
        self._connections: dict[str, bytes] = defaultdict(bytes)
        self._streams: dict[tuple[str, int], bytes] = defaultdict(bytes)

    def feed(self, call: SystemCall) -> Iterator[bytes]:
        """Give the messages that have left, at least in part, once this call has begun."""
        if call.result is not None or call.name not in ("write", "writev", "sendto", "sendmsg"):
            return
        if not re.match(r"(socket|TCP)", call.file):
            return
        connection = call.file
        self._connections[connection] += b"".join(call.texts)
        content = self._connections[connection].removeprefix(self.PREFACE)
        while len(content) >= 9:
            length, kind, stream = int.from_bytes(content[:3], "big"), content[3], content[5:9]
            if len(content) < 9 + length:
                break
            frame, content = content[9 : 9 + length], content[9 + length :]
            if kind == 0:
                key = (connection, int.from_bytes(stream, "big"))
                self._streams[key] += frame
                message = self._streams[key]
                if len(message) >= 5 and len(message) - 5 == int.from_bytes(message[1:5], "big"):
                    yield message[5:]
        self._connections[connection] = content
