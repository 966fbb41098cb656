"""The files that a command writes: new, private to their owner, and never another file of the same call."""

from __future__ import annotations

import csv
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path

from .endings import RefusedError

PRIVATE = 0o600
"""The mode of a file that holds IDs or annotations."""

BLOCK_BYTES = 1 << 16
"""How much of a CSV file is in memory at most."""

OTHER_SUFFIXES = (".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
"""Suffixes by which a file that is read would be taken for something else than CSV."""

SIDE_SUFFIXES = (".lock", ".partial", "-wal", "-shm", "-journal")
"""What is appended to the name of a backup or a journal for the files that are kept beside it. Logs are ``NAME.*.log``."""


@dataclass(frozen=True)
class CallFile:
    """A file of a call: one that an option names, or a standard stream.

    Attributes:
        option: What the call names it by.
        name: Its path as it was given; empty for a stream.
        path: Its absolute path; ``None`` for a stream.
        is_written: Whether the call writes to it.
        has_side_files: Whether other files are kept beside it: it is a backup or a journal.
        descriptor: That of a stream.

    """

    option: str
    name: str = ""
    path: Path | None = None
    is_written: bool = False
    has_side_files: bool = False
    descriptor: int = -1

    def __str__(self) -> str:
        return f"{self.option} {self.name}".strip()

    @property
    def status(self) -> os.stat_result | None:
        """What the system says of the file; ``None`` where it is not there."""
        try:
            return os.fstat(self.descriptor) if self.path is None else self.path.stat()
        except OSError:
            return None


STREAMS = (
    CallFile("standard output", is_written=True, descriptor=1),
    CallFile("standard error", is_written=True, descriptor=2),
)


def read_file(option: str, given: Path, *, has_side_files: bool = False) -> CallFile:
    """Describe a file that a call reads, ``-`` for standard input."""
    if str(given) == "-" and not has_side_files:
        return CallFile("standard input", descriptor=0)
    return CallFile(option, str(given), given.absolute(), has_side_files=has_side_files)


def written_file(option: str, given: Path, *, has_side_files: bool = False) -> CallFile:
    """Describe a file that a call writes."""
    return CallFile(option, str(given), given.absolute(), is_written=True, has_side_files=has_side_files)


def refuse_shared_files(files: Iterable[CallFile]) -> None:
    """Make sure that a call writes to no file that it uses for something else, under whatever name.

    Raises:
        RefusedError: Two are one file, one is kept beside another, or one that is there is no regular file.

    """
    files = list(files)
    for first, second in combinations([*files, *STREAMS], 2):
        if second in STREAMS and first in STREAMS:
            continue  # both may go to one log
        if not (first.is_written or second.is_written):
            continue
        if _is_same(first, second):
            raise RefusedError(f"{first} and {second} are one file: name two. Nothing was sent")
        for one, other in ((first, second), (second, first)):
            if one.has_side_files and _is_beside(one, other):
                raise RefusedError(
                    f"{other} is a file that is kept beside {one}: name another. Nothing was sent"
                )
    for file in files:
        if (status := file.status) and file.path and (file.is_written or file.has_side_files):
            if stat.S_ISDIR(status.st_mode):
                raise RefusedError(f"{file} is a folder: name a file. Nothing was sent")
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{file} is no regular file: name another. Nothing was sent")


def _is_same(first: CallFile, second: CallFile) -> bool:
    ours, theirs = first.status, second.status
    if ours is not None and theirs is not None:
        # A device or a pipe keeps nothing that could be written over.
        return stat.S_ISREG(ours.st_mode) and os.path.samestat(ours, theirs)
    if first.path is None or second.path is None:
        return False
    return os.path.realpath(first.path) == os.path.realpath(second.path)


def _is_beside(main: CallFile, other: CallFile) -> bool:
    """Tell whether a file has a name that is in use for what is kept beside a backup or a journal."""
    if main.path is None or other.path is None:
        return False
    mains = {str(main.path), os.path.realpath(main.path)}
    others = {str(other.path), os.path.realpath(other.path)}
    for base in mains:
        folder, name = os.path.split(base)
        for path in others:
            other_folder, other_name = os.path.split(path)
            added = other_name.removeprefix(name)
            is_side_name = added in SIDE_SUFFIXES or (added.startswith(".") and added.endswith(".log"))
            if (
                added != other_name
                and is_side_name
                and os.path.realpath(folder) == os.path.realpath(other_folder)
            ):
                return True
    return False


@contextmanager
def claim_backup() -> Iterator[Path]:
    """Make an empty file for a backup, under a dated name in the current folder that no other program has.

    A backup may be begun in it, or take its place. In the end it is removed if it is still there and empty.

    Raises:
        RefusedError: It cannot be made.

    """
    path, descriptor = _make(None, "backup", ".parquet")
    made = os.fstat(descriptor)
    if os.name == "nt":  # where an open file cannot be replaced
        os.close(descriptor)
    try:
        yield path
    finally:
        _remove_if_unused(path, made, 0)
        if os.name != "nt":
            os.close(descriptor)  # only now: nothing else could get its inode number


class CsvFile:
    """A new CSV file. Rows that cannot be written, for example on a full disk, are counted and not raised.

    What was written ends with a whole row.

    Attributes:
        path: Where it is.
        name: What messages call it.
        written: How many rows are in it.
        error: What ended the writing.

    """

    error: OSError | None = None

    def __init__(self, place: CallFile | None, header: Sequence[str], *, kind: str) -> None:
        """Make the file, with its header.

        Args:
            place: Where; ``None`` for a dated name in the current folder.
            header: The names of its columns.
            kind: What a dated name says that it is.

        Raises:
            RefusedError: It is there, or cannot be written.

        """
        if place is not None and place.name.lower().endswith(OTHER_SUFFIXES):
            raise RefusedError(f"{place} is written as CSV: name a file that ends in .csv. Nothing was sent")
        self.path, self._descriptor = _make(place, kind, ".csv")
        self.name = self.path.name if place is None else place.name
        self.written = 0
        self._pending: list[bytes] = []
        self._pending_bytes = self._end = 0
        self._made = os.fstat(self._descriptor)
        self.add(header)
        self.flush()
        self._header_bytes, self.written = self._end, 0
        if self.error is not None:
            os.close(self._descriptor)
            _remove_if_unused(self.path, self._made, self._header_bytes)
            raise RefusedError(f"{place or self.name} cannot be written: {self.why}. Nothing was sent")

    @property
    def why(self) -> str | None:
        """Why there are no more rows in it."""
        return None if self.error is None else self.error.strerror or str(self.error)

    def add(self, row: Sequence[object]) -> None:
        """Write a row."""
        if self.error is None:
            line = _csv_line(row)
            self._pending.append(line)
            self._pending_bytes += len(line)
            if self._pending_bytes >= BLOCK_BYTES:
                self.flush()

    def flush(self) -> None:
        """Hand to the system what is in memory."""
        left, done = memoryview(b"".join(self._pending)), 0
        lines, self._pending, self._pending_bytes = self._pending, [], 0
        try:
            while left:
                count = os.write(self._descriptor, left)
                left, done = left[count:], done + count
        except OSError as error:
            self.error = error
        for line in lines:
            if done < len(line):
                break
            done -= len(line)
            self._end += len(line)
            self.written += 1
        if self.error is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._end)

    def close(self, *, keep_empty: bool = False) -> None:
        """Have the file on the disk. One without rows is removed, unless it is to be kept."""
        self.flush()
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            # Some file systems cannot.
            if self.error is None and error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                self.error = error
        try:
            os.close(self._descriptor)
        except OSError as error:
            self.error = self.error or error
        if not self.written and not keep_empty:
            _remove_if_unused(self.path, self._made, self._header_bytes)


def lacking(written: int, count: int, noun: str, why: str) -> str:
    """Say that not all rows could be written."""
    if written >= count:
        return f"it is not certain that all {count:,} {noun} are on the disk: {why}"
    some = f"only the first {written:,} of {count:,} {noun}" if written else f"none of the {count:,} {noun}"
    return f"{some} could be written: {why}"


class _Echo:
    """What a `csv.writer` writes to, so that it gives each line back."""

    def write(self, line: str) -> str:
        return line


_writer = csv.writer(_Echo(), lineterminator="\n")


def _csv_line(row: Sequence[object]) -> bytes:
    texts = ["" if value is None else str(value) for value in row]
    if all(map(str.isprintable, texts)):
        line: str = _writer.writerow(texts)
    else:
        # Python before 3.13 leaves a carriage return without quotes, and 3.10 cannot write NUL.
        line = ",".join('"' + text.replace('"', '""') + '"' for text in texts) + "\n"
    return line.encode(errors="backslashreplace")


def _make(place: CallFile | None, kind: str, suffix: str) -> tuple[Path, int]:
    """Make a file and open it: at this place, or under the first dated name that is free."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    paths = _dated_names(kind, suffix) if place is None or place.path is None else (place.path,)
    for path in paths:
        try:
            return path.absolute(), os.open(path.absolute(), flags, PRIVATE)
        except FileExistsError:
            continue
        except OSError as error:
            why = error.strerror or error
            raise RefusedError(f"{place or path} cannot be written: {why}. Nothing was sent") from None
    raise RefusedError(f"{place or path} is there already: name another. Nothing was sent")


def _dated_names(kind: str, suffix: str) -> Iterator[Path]:
    stamp = f"clarifai-{kind}-{datetime.now():%Y-%m-%dT%H%M%S}"
    yield Path(f"{stamp}{suffix}")
    for number in range(2, 1000):
        yield Path(f"{stamp}-{number}{suffix}")


def _remove_if_unused(path: Path, made: os.stat_result, size: int) -> None:
    """Remove a file that was made here, unless another has taken its place or it has grown."""
    with suppress(OSError):
        now = path.lstat()
        if os.path.samestat(now, made) and now.st_size <= size:
            path.unlink()
