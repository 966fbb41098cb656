"""Annotations that are worth a backup, and what a backup holds of them: read by pyarrow and zlib, not by our own code."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from clarifai_grpc.grpc.api import resources_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from clarifai_annotations.emulator import Emulator

Pair = tuple[str, str]

CREATED_AT = 1_700_000_000_123_456
"""Microseconds since 1970: in November 2023."""

TIMES: bytes = resources_pb2.Annotation(
    created_at=Timestamp(seconds=1_700_000_000, nanos=123_456_789),
    modified_at=Timestamp(seconds=1_700_000_001),
).SerializeToString()
UNKNOWN_FIELD = b"\xfa\xff\x01\x04late"
"""A field that no proto names: what the service may serve one day."""


def annotation(name: str) -> bytes:
    """A serialized annotation, with its times in the middle and a field that no proto names at the end."""
    labelled = resources_pb2.Annotation(
        user_id="labeller", data=resources_pb2.Data(text=resources_pb2.Text(raw=name))
    )
    status = status_pb2.Status(code=status_code_pb2.ANNOTATION_SUCCESS)
    approved = resources_pb2.Annotation(status=status, trusted=True)
    return bytes(labelled.SerializeToString() + TIMES + approved.SerializeToString() + UNKNOWN_FIELD)


def seed(emulator: Emulator, pairs: Iterable[Pair], **app: str) -> None:
    """Add annotations that differ from each other."""
    for input_id, annotation_id in pairs:
        message = annotation(f"{input_id}/{annotation_id}")
        emulator.add_annotation(input_id, annotation_id, message=message, **app)


def columns(pairs: Iterable[Pair]) -> tuple[list[str], list[str]]:
    """Pairs as two columns."""
    pairs = list(pairs)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def stored(emulator: Emulator, **app: str) -> dict[Pair, bytes]:
    """What the emulator holds, oldest first, save the input-level annotations."""
    annotations = emulator.annotations(**app)
    return {(it.input_id, it.annotation_id): it.message for it in annotations if not it.input_level}


def sent(emulator: Emulator, method: str) -> list[Pair]:
    """The pairs that requests of a method named."""
    requests = [request for request in emulator.requests if request.method == method]
    return [pair for it in requests for pair in zip(it.input_ids, it.ids, strict=True)]


def without_times(message: bytes) -> bytes:
    """An annotation of `annotation` as it may be posted."""
    return message.replace(TIMES, b"")


def without_stamp(message: bytes) -> bytes:
    """An annotation as it was posted: without the times that the service put at its end."""
    parsed = resources_pb2.Annotation.FromString(message)
    stamp = resources_pb2.Annotation(created_at=parsed.created_at, modified_at=parsed.modified_at)
    return message.removesuffix(stamp.SerializeToString())


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a whole backup."""
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def copies(path: Path) -> list[tuple[Pair, bytes]]:
    """All that a backup holds, in its order: in its file up to the last whole footer, and in its logs."""
    return [*_in_file(path), *(row for log in logs(path) for row in _in_log(log))]


def logs(path: Path) -> list[Path]:
    """The logs of a backup, oldest first."""
    found = [
        it for it in path.parent.iterdir() if re.fullmatch(re.escape(path.name) + r"\.\d+\.log", it.name)
    ]
    return sorted(found, key=lambda it: int(it.name.split(".")[-2]))


def _in_file(path: Path) -> list[tuple[Pair, bytes]]:
    content = path.read_bytes() if path.exists() else b""
    end = len(content)
    while (magic := content.rfind(b"PAR1", 4, end)) > 0:
        try:
            table = pq.read_table(pa.BufferReader(content[: magic + 4]))
        except (pa.ArrowInvalid, OSError):
            end = magic + 3
            continue
        return [((row["input_id"], row["annotation_id"]), row["annotation"]) for row in table.to_pylist()]
    return []


def _in_log(path: Path) -> Iterator[tuple[Pair, bytes]]:
    content = path.read_bytes()
    assert content[:8] == b"CLAABAK2"[: len(content)]
    compressed, at = b"", 8
    while len(head := content[at : at + 8]) == 8:
        length, checksum = struct.unpack("<II", head)
        payload = content[at + 8 : at + 8 + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            break
        compressed, at = compressed + payload, at + 8 + length
    stream = pa.CompressedInputStream(pa.BufferReader(compressed), "zstd")
    with suppress(OSError):  # the stream goes on for as long as the call does
        records = iter(lambda: stream.read(int.from_bytes(stream.read(4), "little")), None)
        next(records)  # whose annotations these are
        for record in records:
            parsed = resources_pb2.Annotation.FromString(record)
            yield (parsed.input_id, parsed.id), record
