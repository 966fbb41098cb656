"""Annotations as heavy as masks are, against a service that takes and sends messages of 10 MiB at most."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from clarifai_grpc.grpc.api import resources_pb2

from clarifai_annotations.emulator import Emulator
from copies import Pair, columns, stored, without_stamp

WEIGHT = 200_000
"""Bytes of an annotation. Fifty of them are 10 MB."""


def heavy(number: int) -> bytes:
    """A serialized annotation of about this weight, different from every other."""
    text = resources_pb2.Text(raw=f"{number:06}" * (WEIGHT // 6))
    return bytes(resources_pb2.Annotation(data=resources_pb2.Data(text=text)).SerializeToString())


def seed(emulator: Emulator, pairs: list[Pair]) -> dict[Pair, bytes]:
    for number, pair in enumerate(pairs):
        emulator.add_annotation(*pair, message=heavy(number))
    return stored(emulator)


def answers(emulator: Emulator, method: str) -> Counter[str]:
    """How often a method was answered how."""
    return Counter(request.name for request in emulator.requests if request.method == method)


def test_heavy_pairs_are_saved_deleted_and_restored_in_requests_that_fit(tmp_path: Path) -> None:
    pairs = [(f"photo-{number % 7}", f"mask-{number}") for number in range(300)]
    with Emulator() as emulator, emulator.client() as client:
        before = seed(emulator, pairs)
        deleted = client.delete_annotations(*columns(pairs), backup=tmp_path / "backup.parquet")
        assert (deleted.deleted, deleted.throttled, stored(emulator)) == (300, 0, {})
        restored = client.restore_annotations(tmp_path / "backup.parquet")
        assert (restored.restored, restored.throttled) == (300, 0)
        assert {pair: without_stamp(message) for pair, message in stored(emulator).items()} == before
        # 8 MiB have room for 41 of them; none of the posts was too large.
        assert answers(emulator, "PostAnnotations") == {"SUCCESS": 10}


@pytest.mark.slow
def test_an_input_with_thousands_of_heavy_annotations_is_saved_and_cleared(tmp_path: Path) -> None:
    pairs = [("photo", f"mask-{number}") for number in range(2000)]
    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, pairs)
        report = client.delete_input_annotations(["photo"], backup=tmp_path / "backup.parquet")
        assert (report.deleted, report.throttled, stored(emulator)) == (1, 0, {})
        # The size of its pages is found out once: 1,000, 500, 250 and 125 are too many.
        assert answers(emulator, "ListAnnotations")["RESOURCE_EXHAUSTED"] == 4
        assert client.restore_annotations(tmp_path / "backup.parquet").restored == 2000


def test_a_page_of_an_input_with_a_few_giants_shrinks_to_one_annotation(tmp_path: Path) -> None:
    pairs = [("photo", f"mask-{number}") for number in range(12)]
    with Emulator(max_message_bytes=300_000) as emulator, emulator.client() as client:
        seed(emulator, pairs)
        report = client.delete_input_annotations(["photo"], backup=tmp_path / "backup.parquet")
        assert (report.deleted, stored(emulator)) == (1, {})


def test_an_annotation_that_the_service_cannot_send_is_not_deleted_where_a_copy_is_to_be_kept(
    tmp_path: Path,
) -> None:
    with Emulator(max_message_bytes=100_000) as emulator, emulator.client() as client:
        emulator.add_annotation("photo", "giant", message=heavy(0))
        emulator.add_annotation("photo", "small")
        report = client.delete_annotations(
            ["photo", "photo"], ["giant", "small"], backup=tmp_path / "b.parquet", on_failure="report"
        )
        [failure] = report.failures
        assert (report.deleted, failure.annotation_id, failure.outcome) == (1, "giant", "failed")
        assert "larger than max" in failure.message
        assert list(stored(emulator)) == [("photo", "giant")]
