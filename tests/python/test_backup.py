"""`backup=`: what is deleted is in the file before it is gone, and the file is never the worse for a call."""

from __future__ import annotations

import functools
import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

import random_cases
from child_calls import ChildCalls
from clarifai_annotations import BackupError, Client, DeletionError, open_backup
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY, client_of
from copies import (
    CREATED_AT,
    UNKNOWN_FIELD,
    Pair,
    annotation,
    columns,
    copies,
    rows,
    seed,
    sent,
    stored,
)
from official_service import OfficialService, status

PAIRS: list[Pair] = [("p", "a"), ("q", "a"), ("p", "b")]


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """Two inputs with annotations beside their own."""
    seed(clarifai_emulator, PAIRS)
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Client:
    return emulator.client(request_timeout=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backup.parquet"


CALLS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "pairs": ("delete_annotations", columns(PAIRS), {}),
    "inputs": ("delete_input_annotations", (["p", "q"],), {}),
    "inputs with a cap": ("delete_input_annotations", (["p", "q"],), {"max_deletions": 3}),
}
each_call = pytest.mark.parametrize(("method", "named", "options"), CALLS.values(), ids=CALLS)


@each_call
def test_what_is_gone_is_in_the_backup_byte_for_byte(
    method: str, named: Any, options: dict[str, Any], emulator: Emulator, client: Client, path: Path
) -> None:
    before = stored(emulator)
    assert getattr(client, method)(*named, backup=path, **options).ok
    assert (dict(copies(path)), stored(emulator)) == (before, {})


@each_call
async def test_an_awaited_deletion_keeps_a_backup_too(
    method: str, named: Any, options: dict[str, Any], emulator: Emulator, client: Client, path: Path
) -> None:
    before = stored(emulator)
    assert (await getattr(client, f"{method}_async")(*named, backup=path, **options)).ok
    assert dict(copies(path)) == before


def test_a_plan_keeps_a_backup_when_it_is_executed(emulator: Emulator, client: Client, path: Path) -> None:
    before = stored(emulator)
    client.plan_input_deletion(["p", "q"]).execute(backup=path)
    assert dict(copies(path)) == before


def test_clarifais_own_message_reads_a_copy(client: Client, path: Path) -> None:
    client.delete_annotations(["p"], ["a"], backup=path)
    ((_, message),) = copies(path)
    read = resources_pb2.Annotation.FromString(message)
    assert (read.input_id, read.id, read.user_id, read.data.text.raw) == ("p", "a", "labeller", "p/a")
    assert UNKNOWN_FIELD in message


def test_what_only_later_protos_name_is_served_and_saved_at_any_size(
    emulator: Emulator, client: Client, path: Path
) -> None:
    # An annotation with a mask of its own size, and one of nothing but its IDs.
    large = annotation("large") + b"\xfa\xff\x01\x80\x80\x80\x01" + random.Random(1).randbytes(1 << 21)
    emulator.add_annotation("r", "large", message=large)
    emulator.add_annotation("r", "bare", message=b"")
    before = {pair: message for pair, message in stored(emulator).items() if pair[0] == "r"}
    client.delete_input_annotations(["r"], backup=path)
    assert dict(copies(path)) == before


ROW = {
    "user_id": "emulator-user",
    "app_id": "emulator-app",
    "input_id": "p",
    "annotation_id": "a",
    "created_at": datetime.fromtimestamp(CREATED_AT // 10**6, timezone.utc).replace(
        microsecond=CREATED_AT % 10**6
    ),
    "status": "ANNOTATION_SUCCESS",
    "input_level": False,
}


@pytest.fixture
def backup(path: Path) -> Path:
    """A backup with two rows, of which the second has neither a time nor a status."""
    with Emulator() as emulator:
        seed(emulator, [("p", "a")])
        emulator.add_annotation("p", "bare")
        emulator.client().delete_annotations(["p", "p"], ["a", "bare"], backup=path)
    return path


def test_pyarrow_opens_a_backup_with_the_documented_types(backup: Path) -> None:
    table = pq.read_table(backup)
    assert {field.name: field.type for field in table.schema} == {
        **dict.fromkeys(["user_id", "app_id", "input_id", "annotation_id"], pa.string()),
        "created_at": pa.timestamp("us", "UTC"),
        "status": pa.string(),
        "input_level": pa.bool_(),
        "annotation": pa.binary(),
    }
    first, second = table.drop_columns(["annotation"]).to_pylist()
    assert first == ROW
    assert second == {**ROW, "annotation_id": "bare", "created_at": None, "status": None}


def test_polars_opens_a_backup(backup: Path) -> None:
    frame = pl.read_parquet(backup)
    assert frame.schema["created_at"] == pl.Datetime("us", "UTC")
    assert frame.drop("annotation").row(0, named=True) == ROW
    assert frame["annotation"].to_list() == [message for _, message in copies(backup)]


def test_duckdb_opens_a_backup(backup: Path) -> None:
    read = duckdb.execute(
        f"SELECT input_id, annotation_id, typeof(created_at), epoch_us(created_at), status, input_level, "
        f"octet_length(annotation) FROM '{backup}'"
    )
    lengths = [len(message) for _, message in copies(backup)]
    assert read.fetchall() == [
        ("p", "a", "TIMESTAMP WITH TIME ZONE", CREATED_AT, "ANNOTATION_SUCCESS", False, lengths[0]),
        ("p", "bare", "TIMESTAMP WITH TIME ZONE", None, None, False, lengths[1]),
    ]


def test_a_backup_that_is_there_is_added_to(emulator: Emulator, client: Client, path: Path) -> None:
    before = stored(emulator)
    for pair in PAIRS:
        client.delete_annotations(*columns([pair]), backup=path)
    assert copies(path) == [(pair, before[pair]) for pair in PAIRS]


def test_a_backup_holds_several_apps(emulator: Emulator, client: Client, path: Path) -> None:
    seed(emulator, PAIRS[:1], app_id="dogs")
    for of_app in (client, client.for_app("dogs")):
        of_app.delete_annotations(*columns(PAIRS[:1]), backup=path)
    assert [row["app_id"] for row in rows(path)] == ["emulator-app", "dogs"]


def test_an_annotation_that_comes_back_and_goes_again_is_saved_again(
    emulator: Emulator, client: Client, path: Path
) -> None:
    messages = []
    for name in ("first", "second"):
        emulator.add_annotation("r", "a", message=annotation(name))
        messages.append(stored(emulator)["r", "a"])
        client.delete_annotations(["r"], ["a"], backup=path)
    assert [message for _, message in copies(path)] == messages


def test_batches_that_are_deleted_side_by_side_are_all_saved(path: Path) -> None:
    pairs = [("p", f"a{n:03}") for n in range(300)]
    with Emulator(latency=(0.0, 0.01)) as emulator, emulator.client(batch_size=7) as client:
        seed(emulator, pairs)
        before = stored(emulator)
        client.delete_annotations(*columns(pairs), backup=path)
    assert dict(copies(path)) == before


def test_what_is_not_there_is_absent_and_not_sent(emulator: Emulator, client: Client, path: Path) -> None:
    report = client.delete_annotations(["p", "p"], ["a", "gone"], backup=path, on_failure="report")
    assert (report.deleted, report.absent) == (1, 1)
    assert sent(emulator, "DeleteAnnotations") == [("p", "a")]


@each_call
def test_a_deletion_with_a_backup_never_names_inputs_alone(
    method: str, named: Any, options: dict[str, Any], emulator: Emulator, client: Client, path: Path
) -> None:
    getattr(client, method)(*named, backup=path, **options)
    deletions = [request for request in emulator.requests if request.method.startswith("Delete")]
    assert deletions
    assert all(request.ids for request in deletions)


def test_input_level_annotations_are_spared_and_not_saved(
    emulator: Emulator, client: Client, path: Path
) -> None:
    client.delete_input_annotations(["p", "q"], backup=path)
    assert [it.input_level for it in emulator.annotations()] == [True, True]
    assert not any(row["input_level"] for row in rows(path))


@pytest.mark.clarifai_emulator(latency=0.4)
def test_what_comes_between_list_and_deletion_is_spared(
    emulator: Emulator, client: Client, path: Path
) -> None:
    late = ("p", "late")

    def come(_: Any) -> None:
        # The list is made, and the deletion not yet in.
        if len(emulator.requests) == 1 and late not in stored(emulator):
            seed(emulator, [late])

    client.delete_input_annotations(["p", "q"], backup=path, progress=come)
    assert list(stored(emulator)) == [late]


@pytest.mark.clarifai_emulator(latency_back=0.4)
def test_what_moves_to_a_page_that_was_read_before_is_not_overlooked(
    clarifai_emulator: Emulator, path: Path
) -> None:
    # Two pages: when others delete one of the first while the second is awaited, one of the second moves to the first.
    seed(clarifai_emulator, [("many", f"a{n:04}") for n in range(1100)])
    others = clarifai_emulator.client()

    def delete_one_of_the_first_page(_: Any) -> None:
        if len(clarifai_emulator.requests) == 1:
            others.delete_annotation("many", "a0003", missing_ok=True)

    with clarifai_emulator.client() as client:
        report = client.delete_input_annotations(["many"], backup=path, progress=delete_one_of_the_first_page)
    assert (report.deleted, list(stored(clarifai_emulator))) == (1, [])
    assert len({pair for pair, _ in copies(path)}) >= 1099


def test_nothing_of_the_key_is_in_a_backup(emulator: Emulator, path: Path) -> None:
    with emulator.client(pat=KEY) as client:
        client.delete_annotations(*columns(PAIRS), backup=path)
    assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize("pair", [[], [("p", "gone")]], ids=["nothing", "what is not there"])
def test_a_call_that_saves_nothing_leaves_no_file_behind(
    pair: list[Pair], client: Client, path: Path
) -> None:
    client.delete_annotations(*columns(pair), backup=path, missing_ok=True)
    assert not path.exists()


def test_a_call_that_saves_nothing_leaves_a_backup_as_it_was(backup: Path, client: Client) -> None:
    before = backup.read_bytes()
    client.delete_annotations(["p"], ["gone"], backup=backup, missing_ok=True)
    assert backup.read_bytes() == before


def test_a_run_that_is_stopped_before_it_saves_leaves_no_file_behind(path: Path) -> None:
    with Emulator(pats=["right"]) as emulator, emulator.client(pat="wrong") as client:
        client.delete_annotations(*columns(PAIRS), backup=path, on_failure="report")
    assert not path.exists()


def foreign_parquet(path: Path) -> None:
    pq.write_table(pa.table({"input_id": ["p"], "annotation": [b"a"]}), path)


def rewritten_backup(path: Path) -> None:
    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, PAIRS)
        client.delete_annotations(*columns(PAIRS), backup=path)
    pl.read_parquet(path).write_parquet(path)


OTHER_FILES: dict[str, tuple[Any, str]] = {
    "a text": (lambda path: path.write_text("notes\n"), "is there and is no backup: give another path"),
    "a shorter text": (lambda path: path.write_text("PAR"), "is there and is no backup: give another path"),
    "nothing but magic": (
        lambda path: path.write_text("PAR1" * 9),
        "is there and is no backup: give another path",
    ),
    "a Parquet file": (
        foreign_parquet,
        "is a Parquet file that something else wrote, and cannot be added to: give another path",
    ),
    "a backup that polars rewrote": (rewritten_backup, "cannot be added to: give another path"),
}


@each_call
@pytest.mark.parametrize(("write", "why"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_that_is_no_backup_is_refused_and_unharmed(
    write: Any,
    why: str,
    method: str,
    named: Any,
    options: dict[str, Any],
    emulator: Emulator,
    client: Client,
    path: Path,
) -> None:
    write(path)
    before = path.read_bytes()
    with pytest.raises(BackupError) as raised:
        getattr(client, method)(*named, backup=path, **options)
    assert str(raised.value).startswith(f"backup {path}: ")
    assert f"{why}. Nothing was deleted" in str(raised.value)
    assert (raised.value.report, emulator.requests, path.read_bytes()) == (None, [], before)


PLACES = {
    "in no folder": "no-such-folder/backup.parquet",
    "a folder": ".",
    "in a folder that nobody may write to": "/sys/backup.parquet",
}


@pytest.mark.skipif(sys.platform != "linux", reason="not even root may write there on Linux")
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_path_that_cannot_be_written_is_refused_before_anything_is_sent(
    place: str, emulator: Emulator, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / place
    with pytest.raises(BackupError) as raised:
        client.delete_annotations(*columns(PAIRS), backup=path)
    assert str(raised.value).startswith(f"backup {path}: cannot be written: ")
    assert emulator.requests == []


@pytest.mark.parametrize("not_a_path", [7, True], ids=repr)
def test_what_is_no_path_is_refused(not_a_path: Any, emulator: Emulator, client: Client) -> None:
    with pytest.raises(TypeError):
        client.delete_annotations(*columns(PAIRS), backup=not_a_path)
    assert emulator.requests == []


def test_a_backup_that_another_call_writes_is_refused(service: OfficialService, path: Path) -> None:
    def when_released(_request: Any, _context: Any) -> Any:
        service.released.wait()
        return service_pb2.MultiAnnotationResponse(status=status(status_code_pb2.SUCCESS))

    service.on_list = when_released
    with client_of(service, request_timeout=30) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.delete_annotations, ["p"], ["a"], backup=path, missing_ok=True)
        assert service.arrived.wait(timeout=30)
        with pytest.raises(
            BackupError, match="is being written by another call: give each call a file of its"
        ):
            client.delete_annotations(["p"], ["b"], backup=path)
        service.released.set()
        assert first.result(timeout=30).absent == 1
    # What it did not show at first was looked for once more.
    assert {call.method for call in service.calls} == {"ListAnnotations"}


def test_a_backup_can_be_moved_as_soon_as_the_call_is_done(client: Client, path: Path) -> None:
    client.delete_annotations(*columns(PAIRS[:1]), backup=path)
    moved = path.rename(path.with_name("moved.parquet"))
    client.delete_annotations(*columns(PAIRS[1:]), backup=path)
    assert (len(copies(moved)), len(copies(path))) == (1, 2)


@pytest.mark.parametrize("fault", [Fault.status(24156), Fault.status(99004), Fault.grpc(13)], ids=repr)
def test_what_the_service_refuses_to_list_is_not_deleted(
    fault: Fault, emulator: Emulator, client: Client, path: Path
) -> None:
    before = stored(emulator)
    # Of the three, of the first alone; then the other two are listed.
    emulator.inject(fault.on("ListAnnotations"), fault.on("ListAnnotations"))
    with pytest.raises(DeletionError) as raised:
        client.delete_annotations(*columns(PAIRS), backup=path)
    (failure,) = raised.value.report.failures
    assert (failure.input_id, failure.annotation_id, failure.outcome) == (*PAIRS[0], "failed")
    assert stored(emulator) == {PAIRS[0]: before[PAIRS[0]]}


def test_an_input_that_the_service_refuses_to_list_is_not_deleted(
    emulator: Emulator, client: Client, path: Path
) -> None:
    emulator.inject(*[Fault.status(24156).on("ListAnnotations")] * 2)
    report = client.delete_input_annotations(["p", "q"], backup=path, on_failure="report")
    assert (report.deleted, report.failed, [pair[0] for pair in stored(emulator)]) == (1, 1, ["p", "p"])


FAULTS = {
    "throttled": Fault.throttled(),
    "dropped before": Fault.dropped_before(),
    "dropped after": Fault.dropped_after(),
    "unanswered": Fault.unanswered(),
    "partial": Fault.partial(1),
}


@each_call
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_deletion_under_faults_saves_all_that_it_deletes(
    fault: Fault, method: str, named: Any, options: dict[str, Any], emulator: Emulator, path: Path
) -> None:
    before = stored(emulator)
    emulator.inject(
        fault.on("ListAnnotations", "DeleteAnnotations"), Fault.none(), fault.on("DeleteAnnotations")
    )
    with emulator.client(request_timeout=0.3) as client:
        getattr(client, method)(*named, backup=path, on_failure="report", **options)
    assert (dict(copies(path)), stored(emulator)) == (before, {})


LONG_PAIRS = [(f"p{n}", f"{n}" * 50) for n in range(100)]
SMALL_BATCHES = {"batch_size": 5, "max_in_flight": 2}


# 512 bytes are enough for the beginning of a log, and 2,000 for some syncs.
@pytest.mark.parametrize("most_bytes", [512, 2000])
@pytest.mark.parametrize(
    ("method", "named"),
    [
        ("delete_annotations", columns(LONG_PAIRS)),
        ("delete_input_annotations", columns(LONG_PAIRS)[:1]),
    ],
    ids=["pairs", "inputs"],
)
def test_what_a_full_disk_does_not_take_is_not_deleted(
    method: str, named: Any, most_bytes: int, emulator: Emulator, calls: ChildCalls, path: Path
) -> None:
    seed(emulator, LONG_PAIRS)
    before = stored(emulator)
    calls.begin(emulator, method, *named, backup=path, settings=SMALL_BATCHES, most_bytes=most_bytes)
    result = calls.result()
    assert (result["error"], str(path) in result["message"]) == ("BackupError", True)
    gone = before.keys() - stored(emulator).keys()
    assert {pair: before[pair] for pair in gone}.items() <= dict(copies(path)).items()
    assert (result["report"]["deleted"], result["report"]["unsent"]) == (len(gone), 100 - len(gone))


def test_a_disk_that_takes_nothing_is_found_full_before_anything_is_sent(
    emulator: Emulator, calls: ChildCalls, path: Path
) -> None:
    calls.begin(emulator, "delete_annotations", *columns(PAIRS), backup=path, most_bytes=40)
    result = calls.result()
    assert (result["error"], result["report"], emulator.requests) == ("BackupError", None, [])


def test_a_backup_that_could_not_be_begun_leaves_no_file_behind(
    emulator: Emulator, calls: ChildCalls, path: Path
) -> None:
    calls.begin(emulator, "delete_annotations", *columns(PAIRS), backup=path, most_bytes=40)
    assert calls.result()["error"] == "BackupError"
    assert [it.name for it in path.parent.iterdir() if it.name.startswith(path.name)] == []


def test_a_backup_goes_on_after_a_disk_was_full(
    emulator: Emulator, client: Client, calls: ChildCalls, path: Path
) -> None:
    seed(emulator, LONG_PAIRS)
    before = stored(emulator)
    named = columns(LONG_PAIRS)
    calls.begin(emulator, "delete_annotations", *named, backup=path, settings=SMALL_BATCHES, most_bytes=2000)
    assert calls.result()["report"]["deleted"] > 0
    client.delete_annotations(*named, backup=path, missing_ok=True)
    assert {(row["input_id"], row["annotation_id"]): row["annotation"] for row in rows(path)} == {
        pair: before[pair] for pair in LONG_PAIRS
    }


FIRST_FORM = Path(__file__).parent / "backups" / "first_form.parquet"
"""A backup in the form that was written before logs, by the script beside it."""


@functools.cache
def five_row_groups() -> tuple[bytes, list[int], list[Pair]]:
    """A backup of the first form in five row groups, where each one's footer ends, and its pairs, seven in each."""
    whole = FIRST_FORM.read_bytes()
    places = [match.end() for match in re.finditer(b"PAR1", whole)]
    # The first magic begins the file, and the second ends a footer that names no rows.
    _, _, *ends = places
    return whole, ends, [pair for pair, _ in copies(FIRST_FORM)]


GARBAGE = {
    "nothing": b"",
    "zeros": bytes(100),
    "noise": random.Random(0).randbytes(5000),
    "magic": b"PAR1",
    "magic across the blocks in which it is read": bytes(1 << 20) + b"PAR1" + bytes((1 << 20) - 2),
    "a footer of no length": b"\0\0\0\0PAR1",
    "a footer longer than the file": b"\xff\xff\xff\x7fPAR1",
}


@st.composite
def torn_backups(draw: st.DrawFn) -> tuple[bytes, list[Pair]]:
    """A backup of the first form that was cut off somewhere, with something else behind it, and what of it counts."""
    whole, ends, pairs = five_row_groups()
    at = draw(st.one_of(st.integers(ends[0], ends[-1]), st.sampled_from(ends)))
    torn = whole[:at] + GARBAGE[draw(st.sampled_from(sorted(GARBAGE)))]
    # What is behind it may happen to be what was cut off.
    return torn, pairs[: 7 * sum(torn.startswith(whole[:end]) for end in ends)]


each_torn = settings(max_examples=random_cases.cases(80))


@each_torn
@given(torn_backups())
def test_the_next_call_cuts_a_torn_tail_off_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, torn: tuple[bytes, list[Pair]]
) -> None:
    content, kept = torn
    path = tmp_path_factory.mktemp("torn") / "backup.parquet"
    path.write_bytes(content)
    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, [("r", "next")])
        client.delete_annotations(["r"], ["next"], backup=path)
    assert [(row["input_id"], row["annotation_id"]) for row in rows(path)] == [*kept, ("r", "next")]


@each_torn
@given(torn_backups())
def test_a_torn_backup_is_restored_up_to_its_last_complete_row_group(
    tmp_path_factory: pytest.TempPathFactory, torn: tuple[bytes, list[Pair]]
) -> None:
    content, kept = torn
    path = tmp_path_factory.mktemp("torn") / "backup.parquet"
    path.write_bytes(content)
    with Emulator() as emulator, emulator.client() as client:
        for input_id in {input_id for input_id, _ in kept}:
            emulator.add_input(input_id)
        client.restore_annotations(path)
        assert set(stored(emulator)) == set(kept)


def test_a_backup_of_the_first_form_reads_as_before_and_is_added_to(
    emulator: Emulator, client: Client, path: Path
) -> None:
    whole, ends, pairs = five_row_groups()
    path.write_bytes(whole)
    assert ends[-1] < len(whole)  # its end is torn
    assert pl.DataFrame(open_backup(path))["annotation_id"].to_list() == [
        annotation for _, annotation in pairs
    ]
    before = stored(emulator)
    client.delete_annotations(*columns(PAIRS), backup=path)
    assert [pair for pair, _ in copies(path)] == [*pairs, *PAIRS]
    assert dict(copies(path)).items() >= before.items()


def test_a_footer_that_an_annotation_carries_does_not_count_for_one_of_the_file(
    emulator: Emulator, client: Client, path: Path
) -> None:
    other, _, _ = five_row_groups()
    empty_backup = other[: other.index(b"PAR1", 4) + 4]
    # An annotation may hold any bytes, and behind noise the compression leaves them as they are.
    noise = random.Random(1).randbytes(40_000)
    data = resources_pb2.Data(bytes_value=noise + empty_backup + noise)
    carrier = resources_pb2.Annotation(data=data).SerializeToString()
    emulator.add_annotation("r", "carrier", message=carrier)
    client.delete_annotations(["r"], ["carrier"], backup=path)
    assert empty_backup in path.read_bytes()
    torn = path.read_bytes()[:-10]
    path.write_bytes(torn)
    with pytest.raises(BackupError, match="is there and is no backup"):
        client.delete_annotations(*columns(PAIRS), backup=path)
    assert (path.read_bytes(), len(stored(emulator))) == (torn, 3)
