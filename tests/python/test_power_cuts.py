"""At every point of a run the power may be cut: what was deleted until then is recoverable from what the disk has."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from clarifai_grpc.grpc.api import service_pb2

from clarifai_annotations.emulator import Emulator
from copies import Pair, columns, copies, seed
from system_calls import Disk, GrpcRequests, traced

PAIRS: list[Pair] = [(f"p{number % 7}", f"a{number}") for number in range(60)]

PROGRAM = """
import json, sys
from clarifai_annotations import Client
client = Client(
    user_id="emulator-user", app_id="emulator-app", pat="made-up", base_url=sys.argv[1], requests_per_second=None,
    batch_size=5, max_in_flight=4,
)
for names in json.loads(sys.argv[3]):
    client.delete_annotations(*names, backup=sys.argv[2])
"""


def before_it(folder: Path, emulator: Emulator, what: str) -> set[Pair]:
    """Make what is there before the run. Tell the pairs of it."""
    path = folder / "kept.parquet"
    if what == "a backup of the first form":
        shutil.copy(Path(__file__).parent / "backups" / "first_form.parquet", path)
    elif what == "a backup":
        seed(emulator, earlier := [("earlier", f"e{number}") for number in range(20)])
        emulator.client().delete_annotations(*columns(earlier), backup=path)
    elif what == "an empty file":
        path.touch()
    return {pair for pair, _ in copies(path)}


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("what", ["nothing", "an empty file", "a backup", "a backup of the first form"])
def test_what_is_deleted_survives_a_power_cut_at_any_moment(
    what: str, calls: int, tmp_path: Path, clarifai_emulator: Emulator
) -> None:
    folder, left = tmp_path / "backups", tmp_path / "left"
    folder.mkdir()
    kept = before_it(folder, clarifai_emulator, what)
    seed(clarifai_emulator, PAIRS)
    disk, requests = Disk(folder), GrpcRequests()
    path = folder / "kept.parquet"
    parts = json.dumps([columns(PAIRS[number::calls]) for number in range(calls)])
    program = [sys.executable, "-c", PROGRAM, clarifai_emulator.base_url, str(path), parts]
    deleted: set[Pair] = set()
    moments = 0
    for call in traced(program, tmp_path / "trace"):
        named = [pair for message in requests.feed(call) for pair in named_by(message)]
        deleted.update(named)
        if disk.apply(call) or named:
            moments += 1
            shutil.rmtree(left, ignore_errors=True)
            left.mkdir()
            for name, content in disk.files().items():
                (left / name).write_bytes(content)
            saved = {pair for pair, _ in copies(left / "kept.parquet")}
            assert saved >= kept | deleted, f"after {call.name}({call.arguments[:200]})"
    assert deleted == set(PAIRS)
    assert moments > 8 * calls
    assert {pair for pair, _ in copies(path)} == kept | deleted
    assert [it.name for it in folder.iterdir()] == ["kept.parquet"]


def named_by(message: bytes) -> list[Pair]:
    """The pairs that a message deletes: a list names pairs too, and says how many it wants on a page."""
    if service_pb2.ListAnnotationsRequest.FromString(message).per_page:
        return []
    request = service_pb2.DeleteAnnotationsRequest.FromString(message)
    return list(zip(request.input_ids, request.ids, strict=True))
