"""A request that is refused may have been carried out in part: what is said of its IDs is true all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarifai_annotations import DeleteReport
from clarifai_annotations.emulator import Emulator, Fault

pytestmark = pytest.mark.clarifai_emulator(missing_pair="failure")
"""A batch of which one pair cannot be deleted loses the others, and is answered with a failure."""

REVOKED = Fault.status(11009)
"""The key is no longer known: nothing more is done, and no list can tell what was."""


def inject(emulator: Emulator, *faults: Fault) -> None:
    emulator.inject(*(fault.on("DeleteAnnotations") for fault in faults))


def outcomes(report: DeleteReport) -> dict[str, str]:
    """What is not deleted, by the last ID that names it."""
    return {failure.annotation_id or failure.input_id: failure.outcome for failure in report.failures}


def is_there(emulator: Emulator, *pair: str) -> bool:
    return pair in [(it.input_id, it.annotation_id) for it in emulator.annotations()]


def test_an_input_of_a_refused_batch_is_not_called_failed_when_the_key_is_revoked(
    clarifai_emulator: Emulator,
) -> None:
    clarifai_emulator.add_annotation("photo-1", "locked")
    clarifai_emulator.lock("photo-1", "locked")
    clarifai_emulator.add_annotation("photo-2", "box")
    # Both; each alone.
    inject(clarifai_emulator, Fault.none(), Fault.none(), REVOKED)
    with clarifai_emulator.client() as client:
        report = client.delete_input_annotations(["photo-1", "photo-2"], on_failure="report")
    assert not is_there(clarifai_emulator, "photo-2", "box")
    assert outcomes(report)["photo-2"] == "unknown"


def test_a_pair_of_a_refused_half_is_not_called_failed_when_the_key_is_revoked(
    clarifai_emulator: Emulator,
) -> None:
    for annotation_id in ("locked", "b", "c", "d"):
        clarifai_emulator.add_annotation("photo", annotation_id)
    clarifai_emulator.lock("photo", "locked")
    # All four, refused before anything is done; the first half; its two alone.
    inject(clarifai_emulator, Fault.status(24156), Fault.none(), Fault.none(), REVOKED)
    with clarifai_emulator.client() as client:
        report = client.delete_annotations(["photo"] * 4, ["locked", "b", "c", "d"], on_failure="report")
    assert not is_there(clarifai_emulator, "photo", "b")
    assert outcomes(report)["b"] == "unknown"


def test_an_input_that_lost_some_to_a_refused_batch_is_not_called_unsent(
    clarifai_emulator: Emulator, tmp_path: Path
) -> None:
    for pair in [("photo-1", "locked"), ("photo-2", "b"), ("photo-2", "d")]:
        clarifai_emulator.add_annotation(*pair)
    clarifai_emulator.lock("photo-1", "locked")
    # The first two pairs; of these what is there still. The third pair is never sent.
    inject(clarifai_emulator, Fault.none(), REVOKED)
    with clarifai_emulator.client(batch_size=2, max_in_flight=1) as client:
        report = client.delete_input_annotations(
            ["photo-1", "photo-2"], on_failure="report", backup=tmp_path / "backup.parquet"
        )
    assert is_there(clarifai_emulator, "photo-2", "d")
    assert not is_there(clarifai_emulator, "photo-2", "b")
    assert outcomes(report)["photo-2"] == "unknown"
