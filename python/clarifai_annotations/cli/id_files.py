"""Files of IDs: CSV, JSON lines, Parquet. Read as streams, in memory that does not grow with the file.

A file is read twice: once to check every row and to count, and once to hand the rows over. This module knows nothing
of deletions.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from .._columns import names_annotations
from .._native import parquet_rows
from .display import notes
from .endings import RefusedError

Row = tuple[str, ...]
"""The IDs of a row, in the order of the columns that were asked for."""

FILTER_BITS = 1 << 28
"""Size of the Bloom filter that finds rows which may be repeated: 32 MB. A row takes two bits."""

LONGEST_FIELD = 1 << 24
"""The characters that a field of a CSV file may have. Python's own limit is less than an ID may have."""

STANDS_FOR_NUL = "\udc00"
"""No file that is UTF-8 has this character, and Python 3.10 reads no CSV with NUL in it."""


class IdFileError(RefusedError):
    """A file of IDs cannot be used as it is."""


class Format(str, Enum):
    """How a file holds its rows."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"


FORMATS = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".parquet": Format.PARQUET,
}


class Rows:
    """Rows of IDs that are all fit to be sent. Iterating over them gives each different row once, in order.

    Attributes:
        count: How many there are.
        distinct: How many different ones.
        annotation_columns: Other columns of the file that seem to name annotations.

    """

    count: int
    distinct: int
    annotation_columns: Sequence[str] = ()

    def __init__(self, *rows: Row) -> None:
        """Hold these rows, which are different."""
        self._rows = rows
        self.count = self.distinct = len(rows)

    def __iter__(self) -> Iterator[Row]:
        """Give each different row once."""
        return iter(self._rows)

    def parts(self, size: int) -> Iterator[Sequence[Row]]:
        """Give the different rows so many at a time.

        Raises:
            IdFileError: They are not the ones that were checked.

        """
        rows = iter(self)
        while part := list(islice(rows, size)):
            self._refuse_changes()
            yield part

    def _refuse_changes(self) -> None:
        pass


class IdFile(Rows):
    """A file whose rows were all checked and counted."""

    def __init__(self, path: Path, file_format: Format, columns: Sequence[str], *, name: str) -> None:
        """Check and count the rows.

        Args:
            path: A regular file.
            file_format: How it holds its rows.
            columns: The columns that hold IDs.
            name: What messages call it.

        Raises:
            IdFileError: It cannot be read, lacks a column, or a row lacks an ID.

        """
        self._path, self._format, self._columns, self._name = path, file_format, columns, name
        self._as_checked = self._state()
        self._other_columns: set[str] = set()
        self.count, self._suspects = _count(self._read())
        self.distinct = sum(1 for _ in self) if self._suspects else self.count
        self.annotation_columns = sorted(filter(names_annotations, self._other_columns))

    def __iter__(self) -> Iterator[Row]:
        """Read the rows again, and leave out those that repeat another."""
        seen = set()
        for row in self._read():
            if hash(row) in self._suspects:
                if row in seen:
                    continue
                seen.add(row)
            yield row

    def _refuse_changes(self) -> None:
        if self._state() != self._as_checked:
            raise IdFileError(
                f"{self._name} was changed meanwhile: its rows are not the ones that were checked"
            )

    def _state(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise IdFileError(f"{self._name} cannot be read: {error.strerror or error}") from None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read(self) -> Iterator[Row]:
        """Read and check every row."""
        reader = {
            Format.CSV: self._separated_rows,
            Format.TSV: self._separated_rows,
            Format.JSONL: self._json_rows,
            Format.PARQUET: self._parquet_rows,
        }[self._format]
        try:
            for place, values in reader():
                for column, value in zip(self._columns, values, strict=True):
                    if not isinstance(value, str) or not value.strip() or not _is_unicode(value):
                        raise self._refusal(place, f"column {column!r} {_what_is_wrong(value)}")
                yield tuple(values)
        except UnicodeDecodeError:
            raise self._refusal(
                f"line {self._undecodable_line()}", "it is not UTF-8: save the file as UTF-8"
            ) from None
        except OSError as error:
            raise IdFileError(f"{self._name} cannot be read: {error.strerror or error}") from None

    def _separated_rows(self) -> Iterator[tuple[str, Sequence[Any]]]:
        delimiter = "\t" if self._format is Format.TSV else ","
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(LONGEST_FIELD)
            reader = csv.reader(_without_nul(file), delimiter=delimiter, strict=True)
            begins_at = 1
            try:
                header = next(reader, [])
                at = self._positions(header)
                begins_at = reader.line_num + 1
                for values in reader:
                    if values and len(values) != len(header):
                        problem = f"it has {len(values)} fields and the header {len(header)}: quote a {delimiter!r} that is part of one"
                        raise self._refusal(f"line {begins_at}", problem)
                    if values:
                        yield f"line {begins_at}", [_with_nul(values[position]) for position in at]
                    begins_at = reader.line_num + 1
            except csv.Error as error:
                raise self._refusal(
                    f"line {begins_at}", f"it is not {self._format.value.upper()}: {error}"
                ) from None

    def _positions(self, header: list[str]) -> list[int]:
        """Where in a row the columns are."""
        for column in self._columns:
            if header.count(column) != 1:
                times = "no column" if column not in header else "more than one column"
                names = ", ".join(map(repr, header)) or "nothing"
                problem = f"there is {times} {column!r}; the header names {names}. See --input-column and --annotation-column"
                raise self._refusal("line 1", problem)
        self._other_columns = set(header) - set(self._columns)
        return [header.index(column) for column in self._columns]

    def _json_rows(self) -> Iterator[tuple[str, Sequence[Any]]]:
        with self._path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    item = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise self._refusal(f"line {number}", f"it is not JSON: {error}") from None
                if not isinstance(item, dict):
                    raise self._refusal(
                        f"line {number}", "it is not a JSON object: write one a line, with the IDs in it"
                    )
                self._other_columns.update(filter(names_annotations, item.keys() - self._columns))
                yield f"line {number}", [item.get(column) for column in self._columns]

    def _parquet_rows(self) -> Iterator[tuple[str, Sequence[Any]]]:
        try:
            rows = parquet_rows(self._path, list(self._columns))
            self._other_columns = set(rows.column_names) - set(self._columns)
            for number, values in enumerate(rows, 1):
                yield f"row {number}", values
        except ValueError as error:
            raise IdFileError(f"{self._name}: {error}") from None

    def _refusal(self, place: str, problem: str) -> IdFileError:
        return IdFileError(f"{self._name}, {place}: {problem}. Nothing was sent")

    def _undecodable_line(self) -> int:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return 1


@contextmanager
def id_file(path: Path, file_format: Format | None, columns: Sequence[str]) -> Iterator[IdFile]:
    """Open a file of IDs, ``-`` for standard input. What can be read but once, a pipe, is copied first.

    Raises:
        IdFileError: It cannot be used.

    """
    name, is_stdin, path = str(path), str(path) == "-", path.absolute()
    if is_stdin:
        name = "standard input"
    elif os.path.isdir(path):
        raise IdFileError(f"{name} is a folder: name a file of IDs")
    elif os.path.isfile(path) or not os.path.exists(path):
        yield _checked(path, file_format or _told_by_suffix(path, name), columns, name)
        return
    with tempfile.TemporaryDirectory(prefix="clarifai-annotations-") as folder:
        copy = Path(folder) / "ids"
        with _opened(None if is_stdin else path, name) as source:
            _copy(source, copy, name)
        yield _checked(copy, file_format or FORMATS.get(path.suffix.lower(), Format.CSV), columns, name)


@contextmanager
def _opened(path: Path | None, name: str) -> Iterator[BinaryIO]:
    """Open what can be read but once; ``None`` for standard input.

    Raises:
        IdFileError: It cannot be read, or never ends.

    """
    try:
        with nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as source:
            if _is_endless(source):
                raise IdFileError(f"{name} is a device: name a file of IDs, or a pipe")
            yield source
    except OSError as error:
        raise IdFileError(f"{name} cannot be read: {error.strerror or error}") from None


def _is_endless(source: BinaryIO) -> bool:
    """Tell whether this is a device, save a terminal, whose user ends it."""
    try:
        mode = os.fstat(source.fileno()).st_mode
    except OSError:  # it is no file at all
        return False
    return (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and not source.isatty()


def _copy(source: BinaryIO, copy: Path, name: str) -> None:
    """Copy to a file that nobody else can read.

    Raises:
        IdFileError: There is no room for it.

    """
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(descriptor, "wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        raise IdFileError(
            f"{name} cannot be copied to {copy.parent.parent}: {error.strerror or error}. Nothing was sent"
        ) from None


def _checked(path: Path, file_format: Format, columns: Sequence[str], name: str) -> IdFile:
    with notes.status(f"Checking {name}"):
        return IdFile(path, file_format, columns, name=name)


def _told_by_suffix(path: Path, name: str) -> Format:
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(FORMATS)
        raise IdFileError(f"{name}: its suffix tells no format (of {known}): say --format") from None


def _count(rows: Iterable[Row]) -> tuple[int, set[int]]:
    """Count rows, and tell the hashes of those that may be there more than once, with few of others among them."""
    taken = bytearray(FILTER_BITS // 8)
    count, suspects = 0, set()
    for row in rows:
        count += 1
        fingerprint = hash(row)
        first, second = fingerprint % FILTER_BITS, (fingerprint >> 32) % FILTER_BITS
        first_bit, second_bit = 1 << (first & 7), 1 << (second & 7)
        if taken[first >> 3] & first_bit and taken[second >> 3] & second_bit:
            suspects.add(fingerprint)
        else:
            taken[first >> 3] |= first_bit
            taken[second >> 3] |= second_bit
    return count, suspects


def _without_nul(lines: Iterable[str]) -> Iterable[str]:
    if sys.version_info >= (3, 11):
        return lines
    return (line.replace("\0", STANDS_FOR_NUL) for line in lines)


def _with_nul(value: str) -> str:
    return value if sys.version_info >= (3, 11) else value.replace(STANDS_FOR_NUL, "\0")


def _is_unicode(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _what_is_wrong(value: object) -> str:
    if value is None:
        return "is missing: fill it in or drop the row"
    if not isinstance(value, str):
        return f"is not a string but {json.dumps(value)[:40]}: write IDs as strings"
    if not value:
        return "is empty: fill it in or drop the row"
    if not value.strip():
        return "is blank (only white space): fill it in or drop the row"
    return "is not valid Unicode (it holds a lone surrogate): write it again"
