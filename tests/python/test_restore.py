"""`restore_annotations`: what a backup holds is posted back, once, and byte for byte."""

from __future__ import annotations

import asyncio
import functools
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clarifai_grpc.grpc.api import resources_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

import random_cases
from clarifai_annotations import (
    AuthenticationError,
    BackupError,
    ClarifaiError,
    Client,
    DeadlineError,
    IdError,
    JournalError,
    NotFoundError,
    Progress,
    RestoreError,
    RestoreReport,
    TransportError,
    restore_annotations,
)
from clarifai_annotations.emulator import Emulator, Fault, RecordedRequest
from conftest import client_of
from copies import Pair, annotation, columns, copies, seed, stored, without_stamp, without_times
from official_service import OfficialService, arrival

PAIRS: list[Pair] = [("p", "a"), ("q", "a"), ("p", "b")]


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """Two inputs, of which all was deleted but their own."""
    for input_id in ("p", "q"):
        clarifai_emulator.add_input(input_id)
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with emulator.client(request_timeout=3) as client:
        yield client


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """The backup of that deletion."""
    return backup_of(PAIRS, tmp_path / "backup.parquet")


def backup_of(pairs: list[Pair], path: Path, *, app_id: str = "emulator-app") -> Path:
    """Add to a backup what a deletion of these would."""
    with Emulator() as emulator, emulator.client(app_id=app_id) as client:
        seed(emulator, pairs, app_id=app_id)
        client.delete_annotations(*columns(pairs), backup=path)
    return path


def counts(report: RestoreReport) -> tuple[int, ...]:
    return report.restored, report.present, report.failed, report.unknown, report.unsent


def posts(emulator: Emulator) -> list[RecordedRequest]:
    return [request for request in emulator.requests if request.method == "PostAnnotations"]


def as_they_were(emulator: Emulator) -> dict[Pair, bytes]:
    """What the emulator holds, without the times that it set itself."""
    return {pair: without_stamp(message) for pair, message in stored(emulator).items()}


def as_saved(path: Path) -> dict[Pair, bytes]:
    """What a backup holds, as it may be posted."""
    return {pair: without_times(message) for pair, message in copies(path)}


@pytest.mark.parametrize("input_ids", [None, ["p", "q"]])
def test_a_deletion_is_taken_back_byte_for_byte(
    input_ids: list[str] | None, emulator: Emulator, backup: Path
) -> None:
    report = restore_annotations(backup, input_ids=input_ids)
    assert (report.ok, counts(report)) == (True, (3, 0, 0, 0, 0))
    assert as_they_were(emulator) == as_saved(backup)


async def test_a_restoration_can_be_awaited(emulator: Emulator, client: Client, backup: Path) -> None:
    report = await client.restore_annotations_async(backup)
    assert counts(report) == (3, 0, 0, 0, 0)
    assert as_they_were(emulator) == as_saved(backup)


def test_what_was_deleted_by_inputs_comes_back_on_them(tmp_path: Path) -> None:
    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, PAIRS)
        client.delete_input_annotations(["p", "q"], backup=tmp_path / "backup")
        client.restore_annotations(tmp_path / "backup")
        assert as_they_were(emulator) == as_saved(tmp_path / "backup")


def test_what_late_lists_still_show_after_its_deletion_is_not_called_present(tmp_path: Path) -> None:
    with Emulator(visible_after=0.5) as emulator, emulator.client() as client:
        seed(emulator, PAIRS)
        client.delete_annotations(*columns(PAIRS), backup=tmp_path / "backup")
        report = client.restore_annotations(tmp_path / "backup", on_failure="report")
        assert report.restored + report.present == len(stored(emulator))


def test_what_was_restored_can_be_deleted_and_restored_again(
    emulator: Emulator, client: Client, backup: Path
) -> None:
    client.restore_annotations(backup)
    client.delete_annotations(*columns(PAIRS), backup=backup)
    report = client.restore_annotations(backup)
    assert (report.requested, report.restored, report.duplicates) == (3, 3, 3)
    assert sorted(stored(emulator)) == sorted(PAIRS)


def test_what_is_there_is_left_alone(emulator: Emulator, client: Client, backup: Path) -> None:
    emulator.add_annotation("p", "a", message=annotation("another since"))
    there = stored(emulator)["p", "a"]
    report = client.restore_annotations(backup)
    assert (report.ok, counts(report)) == (True, (2, 1, 0, 0, 0))
    assert stored(emulator)["p", "a"] == there


def test_a_restoration_that_is_made_again_posts_nothing(
    emulator: Emulator, client: Client, backup: Path
) -> None:
    client.restore_annotations(backup)
    emulator.clear_requests()
    assert counts(client.restore_annotations(backup)) == (0, 3, 0, 0, 0)
    assert posts(emulator) == []


@pytest.mark.parametrize(
    ("input_ids", "found"),
    [
        (["q"], [("q", "a")]),
        (("p", "nowhere", "p"), [("p", "a"), ("p", "b")]),
        (pl.Series(["q"]), [("q", "a")]),
        (["nowhere"], []),
        ([], []),
    ],
    ids=["one", "some that repeat", "a column of polars", "none of them", "none"],
)
def test_only_annotations_of_chosen_inputs_come_back(
    input_ids: Any, found: list[Pair], emulator: Emulator, client: Client, backup: Path
) -> None:
    report = client.restore_annotations(backup, input_ids=input_ids)
    assert (list(stored(emulator)), report.requested) == (found, len(found))


@pytest.mark.parametrize("input_ids", [["p", " "], "p", [None], 7], ids=repr)
def test_bad_ids_are_refused_before_anything_is_sent(
    input_ids: Any, emulator: Emulator, client: Client, backup: Path
) -> None:
    with pytest.raises(IdError):
        client.restore_annotations(backup, input_ids=input_ids)
    assert emulator.requests == []


def test_annotations_of_other_apps_are_left_alone(emulator: Emulator, client: Client, backup: Path) -> None:
    backup_of([("p", "of dogs")], backup, app_id="dogs")
    assert client.restore_annotations(backup).requested == 3
    assert sorted(stored(emulator)) == sorted(PAIRS)


@pytest.mark.parametrize("input_ids", [None, ["p"]])
def test_a_backup_of_other_apps_only_is_refused_with_their_names(
    input_ids: list[str] | None, emulator: Emulator, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "backup"
    for app_id in ("dogs", "cats"):
        backup_of([("p", "a")], path, app_id=app_id)
    names = "emulator-user/cats, emulator-user/dogs: make a Client of that user and app. Nothing was sent"
    with pytest.raises(BackupError, match=names):
        client.restore_annotations(path, input_ids=input_ids)
    assert emulator.requests == []


def test_of_several_copies_the_latest_comes_back(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    for name in ("first", "second", "third"):
        emulator.add_annotation("p", "a", message=annotation(name))
        client.delete_annotations(["p"], ["a"], backup=path)
    report = client.restore_annotations(path)
    assert (report.requested, report.duplicates) == (1, 2)
    assert as_they_were(emulator)["p", "a"].startswith(without_times(annotation("third")))


@pytest.mark.parametrize("row_group_size", [1, 2, 1000])
def test_a_backup_that_polars_rewrote_is_restored(
    row_group_size: int, emulator: Emulator, client: Client, backup: Path
) -> None:
    saved = as_saved(backup)
    pl.read_parquet(backup).write_parquet(backup, row_group_size=row_group_size)
    assert client.restore_annotations(backup).restored == 3
    assert as_they_were(emulator) == saved


@pytest.mark.parametrize("compression", ["zstd", "snappy", "uncompressed", "gzip", "lz4"])
def test_a_backup_is_restored_however_it_is_compressed(
    compression: Any, emulator: Emulator, client: Client, backup: Path
) -> None:
    saved = as_saved(backup)
    pl.read_parquet(backup).write_parquet(backup, compression=compression)
    assert client.restore_annotations(backup).restored == 3
    assert as_they_were(emulator) == saved


def test_a_compression_that_is_not_read_is_named(client: Client, backup: Path) -> None:
    pl.read_parquet(backup).write_parquet(backup, compression="brotli")
    with pytest.raises(
        BackupError, match="is compressed by brotli, which is not read here: write it with zstd"
    ):
        client.restore_annotations(backup)


REWRITTEN: dict[str, dict[str, Any]] = {
    "with pages of other kinds": {
        "data_page_version": "2.0",
        "use_dictionary": True,
    },
    "with small pages": {"data_page_size": 1, "use_dictionary": False},
    "with checksums": {"write_page_checksum": True},
}


@pytest.mark.parametrize("options", REWRITTEN.values(), ids=REWRITTEN)
def test_a_backup_that_pyarrow_rewrote_is_restored(
    options: dict[str, Any], emulator: Emulator, client: Client, backup: Path
) -> None:
    saved = as_saved(backup)
    pq.write_table(pq.read_table(backup), backup, **options)
    assert client.restore_annotations(backup).restored == 3
    assert as_they_were(emulator) == saved


def test_rows_that_were_picked_and_put_in_another_order_are_restored(
    emulator: Emulator, client: Client, backup: Path
) -> None:
    # Only what names an annotation, and the annotation itself, are needed.
    needed = ["annotation", "annotation_id", "app_id", "input_id", "user_id"]
    pl.read_parquet(backup)[[2, 0]].select(needed).write_parquet(backup)
    client.restore_annotations(backup)
    assert list(stored(emulator)) == [PAIRS[2], PAIRS[0]]


def many(count: int) -> list[Pair]:
    return [("p", f"a{n:04}") for n in range(count)]


def test_128_annotations_go_in_a_request(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    client.restore_annotations(backup_of(many(300), tmp_path / "backup"))
    assert sorted(len(request.ids) for request in posts(emulator)) == [44, 128, 128]


def test_an_empty_restoration_sends_nothing(emulator: Emulator, client: Client, backup: Path) -> None:
    pl.read_parquet(backup).clear().write_parquet(backup)
    report = client.restore_annotations(backup)
    assert (report.ok, report.requested, emulator.requests) == (True, 0, [])


def test_a_restoration_keeps_to_the_quota(emulator: Emulator, tmp_path: Path) -> None:
    path = backup_of(many(30), tmp_path / "backup")
    with emulator.client(batch_size=1, requests_per_second=40) as client:
        report = client.restore_annotations(path)
    assert (report.restored, report.requests) == (30, 60)
    # The last twenty leave in the second window. When they arrive depends on how busy the machine is.
    assert report.elapsed >= 1


FAULTS = {
    "throttled": Fault.throttled(),
    "dropped before": Fault.dropped_before(),
    "dropped after": Fault.dropped_after(),
    "unavailable": Fault.grpc(14),
    "unanswered": Fault.unanswered(),
    "goaway": Fault.goaway(),
}


@pytest.mark.parametrize("method", ["ListAnnotations", "PostAnnotations"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_under_faults_each_annotation_comes_back_once(
    fault: Fault, method: str, emulator: Emulator, backup: Path
) -> None:
    # The second strikes the second try, where there is one.
    emulator.inject(fault.on(method), fault.on(method))
    with emulator.client(request_timeout=0.3, batch_size=2) as client:
        report = client.restore_annotations(backup)
    assert counts(report) == (3, 0, 0, 0, 0)
    assert as_they_were(emulator) == as_saved(backup)
    assert sum(request.applied for request in posts(emulator)) == 3
    assert "ANNOTATION_INVALID_ARGUMENT" not in [request.name for request in posts(emulator)]


@pytest.mark.clarifai_emulator(latency=0.4)
def test_what_comes_back_by_another_way_meanwhile_is_not_posted_twice(
    emulator: Emulator, client: Client, backup: Path
) -> None:
    def come(_: Progress) -> None:
        # The list is made, and the post not yet in.
        if len(emulator.requests) == 1 and not stored(emulator):
            seed(emulator, PAIRS[:1])

    report = client.restore_annotations(backup, progress=come)
    assert counts(report) == (2, 1, 0, 0, 0)
    assert sorted(stored(emulator)) == sorted(PAIRS)


def test_what_is_posted_without_an_answer_and_cannot_be_looked_up_is_unknown(
    emulator: Emulator, backup: Path
) -> None:
    emulator.inject(Fault.none(), Fault.unanswered(), *[Fault.grpc(14).on("ListAnnotations")] * 20)
    with emulator.client(request_timeout=0.1, max_attempts=2) as client:
        report = client.restore_annotations(backup, on_failure="report")
    assert counts(report) == (0, 0, 0, 3, 0)


@pytest.fixture
def half(backup: Path) -> Iterator[Client]:
    """A client of a service where one of the two inputs of the backup is gone."""
    del backup
    with Emulator() as emulator, emulator.client(request_timeout=1) as client:
        emulator.add_input("p")
        yield client


def test_what_was_on_an_input_that_is_gone_is_failed(half: Client, backup: Path) -> None:
    report = half.restore_annotations(backup, on_failure="report")
    assert (report.ok, report.restored) == (False, 2)
    (failure,) = [it for it in report.failures if it.outcome not in ("restored", "present")]
    assert (failure.outcome, failure.input_id, failure.annotation_id) == ("failed", "q", "a")
    assert (failure.name, 'no input "q"' in failure.message) == ("INPUT_DOES_NOT_EXIST", True)


def test_a_restoration_that_is_not_complete_raises_with_its_report(half: Client, backup: Path) -> None:
    with pytest.raises(RestoreError, match='annotation "a" of input "q"') as raised:
        half.restore_annotations(backup)
    assert raised.value.report.restored == 2
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), counts(again.report)) == (str(raised.value), counts(raised.value.report))


@pytest.fixture
def report(backup: Path) -> RestoreReport:
    """One was there, one is refused by the service, and one came back."""
    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, [("p", "a")])
        emulator.add_input("q")
        # The two together, and the first of them alone.
        emulator.inject(*[Fault.status(24155).on("PostAnnotations")] * 2)
        return client.restore_annotations(backup, on_failure="report")


def test_a_report_survives_pickle(report: RestoreReport) -> None:
    again = pickle.loads(pickle.dumps(report))
    assert (type(again), repr(again)) == (RestoreReport, repr(report))
    assert [repr(failure) for failure in again.failures] == [repr(failure) for failure in report.failures]


def test_a_report_is_a_table_of_what_did_not_come_back(report: RestoreReport) -> None:
    table = pa.table(report)
    told = zip(
        *(table.column(it).to_pylist() for it in ("input_id", "annotation_id", "outcome")), strict=True
    )
    assert list(told) == [("p", "a", "present"), ("q", "a", "failed")]


def test_a_report_shows_its_own_words(report: RestoreReport) -> None:
    for shown in (repr(report), report._repr_html_()):
        assert all(word in shown for word in ("restored", "present"))
        assert not any(word in shown for word in ("deleted", "absent"))


@pytest.mark.parametrize("awaited", [False, True])
async def test_progress_counts_what_came_back_and_what_was_there(
    awaited: bool, emulator: Emulator, client: Client, backup: Path
) -> None:
    seed(emulator, PAIRS[:1])
    told: list[Progress] = []
    if awaited:
        await client.restore_annotations_async(backup, progress=told.append)
    else:
        client.restore_annotations(backup, progress=told.append)
    last = told[-1]
    assert (last.finished, last.requested, last.done) == (True, 3, 3)
    assert (last.restored, last.present, last.deleted, last.absent) == (2, 1, 0, 0)
    assert all(sum((p.restored, p.present, p.failed, p.unknown, p.unsent)) == p.requested for p in told)


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"input_id": ["p"], "annotation_id": ["a"]}), path)


def without_an_id(path: Path) -> None:
    pl.read_parquet(path).with_columns(input_id=None).cast({"input_id": pl.String}).write_parquet(path)


def with_an_empty_id(path: Path) -> None:
    pl.read_parquet(path).with_columns(input_id=pl.lit("")).write_parquet(path)


def with_numbers(path: Path) -> None:
    pl.read_parquet(path).with_columns(annotation=7).write_parquet(path)


def with_nothing_inside(path: Path) -> None:
    """The footer stays, and all that it tells of is gone."""
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    path.write_bytes(content[:4] + bytes(len(content) - 4 - footer) + content[-footer:])


UNREADABLE: dict[str, tuple[Any, str]] = {
    "a missing file": (Path.unlink, "cannot be read: "),
    "a text": (lambda path: path.write_text("notes"), "is no backup: it is no Parquet file"),
    "an empty file": (lambda path: path.write_text(""), "is no backup: it is no Parquet file"),
    "another Parquet file": (foreign, 'is no backup: there is no column "user_id"'),
    "a row without an ID": (without_an_id, "row 0 lacks an ID"),
    "a row with an empty ID": (
        with_an_empty_id,
        'row 0 says annotation "a" of input "", and holds annotation',
    ),
    "annotations that are none": (with_numbers, 'column "annotation" is not of strings'),
    "damage": (with_nothing_inside, ""),
}


@pytest.mark.parametrize(("change", "why"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_is_no_backup_is_refused_by_its_name_and_posts_nothing(
    change: Any, why: str, emulator: Emulator, client: Client, backup: Path
) -> None:
    change(backup)
    with pytest.raises(BackupError) as raised:
        client.restore_annotations(backup)
    text = str(raised.value)
    assert (f"backup {backup}: " in text, why in text, text.count("Nothing was sent")) == (
        True,
        True,
        1,
    )
    assert posts(emulator) == []


def test_a_folder_is_no_backup(client: Client, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot be read: it is a folder: name a file"):
        client.restore_annotations(tmp_path)


def test_a_copy_that_is_no_annotation_is_refused_before_anything_is_sent(
    emulator: Emulator, client: Client, backup: Path
) -> None:
    pl.read_parquet(backup).with_columns(annotation=pl.lit(b"\xff\xff")).write_parquet(backup)
    with pytest.raises(BackupError, match="row 0 holds something that is no annotation"):
        client.restore_annotations(backup)
    assert emulator.requests == []


@pytest.mark.parametrize("column", ["input_id", "annotation_id"])
def test_a_row_that_says_otherwise_than_its_annotation_is_refused_before_anything_is_sent(
    column: str, emulator: Emulator, client: Client, backup: Path
) -> None:
    changed = pl.read_parquet(backup)
    last = pl.int_range(pl.len()) == pl.len() - 1
    changed.with_columns(pl.when(last).then(pl.lit("other")).otherwise(column).alias(column)).write_parquet(
        backup
    )
    seen = len(emulator.requests)
    with pytest.raises(
        BackupError, match=r'row 2 says annotation .*"other".*, and holds annotation .*Nothing was sent'
    ):
        client.restore_annotations(backup)
    assert len(emulator.requests) == seen


@functools.cache
def sound_backup() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return backup_of(PAIRS, Path(folder, "backup")).read_bytes()


@settings(max_examples=random_cases.cases(150))
@given(st.data())
def test_a_damaged_backup_raises_nothing_but_errors_of_this_package(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(sound_backup())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "backup"
    path.write_bytes(damaged)
    with Emulator() as emulator, emulator.client(max_attempts=1, request_timeout=0.05) as client:
        seed(emulator, [("p", "next")])
        for call in (
            lambda: client.restore_annotations(path, on_failure="report"),
            lambda: client.delete_annotations(["p"], ["next"], backup=path, missing_ok=True),
        ):
            try:
                call()
            except ClarifaiError:
                continue


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[ClarifaiError]]] = {
    "a wrong key": ({"pats": ["right"]}, {"pat": "wrong"}, AuthenticationError),
    "an app that is not there": ({"apps": [("emulator-user", "dogs")]}, {}, NotFoundError),
    "no time": ({"latency": 30.0}, {}, DeadlineError),
}


@pytest.mark.parametrize(("conduct", "settings", "error"), REFUSED.values(), ids=REFUSED)
def test_a_run_that_is_stopped_raises_why_with_its_report(
    conduct: dict[str, Any], settings: dict[str, Any], error: type[ClarifaiError], backup: Path
) -> None:
    timeout = 0.05 if error is DeadlineError else None
    with (
        Emulator(**conduct) as emulator,
        emulator.client(user_id="emulator-user", app_id="emulator-app", **settings) as client,
        pytest.raises(error) as raised,
    ):
        client.restore_annotations(backup, timeout=timeout)
    assert isinstance(raised.value.report, RestoreReport)
    assert (raised.value.report.restored, posts(emulator)) == (0, [])


def test_a_service_that_is_away_stops_the_run_with_a_report(emulator: Emulator, backup: Path) -> None:
    emulator.suspend()
    with emulator.client(max_attempts=2) as client, pytest.raises(TransportError) as raised:
        client.restore_annotations(backup)
    assert isinstance(raised.value.report, RestoreReport)
    assert raised.value.report.unsent == 3


def test_a_closed_client_restores_nothing(emulator: Emulator, client: Client, backup: Path) -> None:
    client.close()
    with pytest.raises(ClarifaiError, match="this client is closed"):
        client.restore_annotations(backup)
    assert emulator.requests == []


async def test_a_cancelled_restoration_posts_nothing_more(service: OfficialService, backup: Path) -> None:
    service.on_list = service.never_answer
    with client_of(service, user_id="emulator-user", app_id="emulator-app") as client:
        restoration = asyncio.ensure_future(client.restore_annotations_async(backup))
        await arrival(service)
        restoration.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restoration
        await client.delete_annotation_async("p", "a")
    assert [call.method for call in service.calls] == ["ListAnnotations", "DeleteAnnotation"]


def test_the_times_of_a_copy_are_the_services_business(
    emulator: Emulator, client: Client, backup: Path
) -> None:
    client.restore_annotations(backup)
    restored = resources_pb2.Annotation.FromString(stored(emulator)["p", "a"])
    saved = resources_pb2.Annotation.FromString(dict(copies(backup))["p", "a"])
    assert restored.created_at.seconds > saved.created_at.seconds


def test_a_large_backup_comes_back_whole(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    pairs = [(f"p{n // 10}", f"a{n}") for n in range(20_000)]
    for n in range(2000):
        emulator.add_input(f"p{n}")
    path = backup_of(pairs, tmp_path / "backup")
    assert client.restore_annotations(path).restored == len(pairs)
    assert as_they_were(emulator) == as_saved(path)


def test_a_deletion_that_was_taken_back_is_not_said_to_be_done(
    emulator: Emulator, client: Client, tmp_path: Path
) -> None:
    seed(emulator, PAIRS)
    before = stored(emulator)
    named = columns(before)
    files: dict[str, Any] = {"backup": tmp_path / "kept.parquet", "journal": tmp_path / "run.journal"}
    assert client.delete_annotations(*named, **files).ok
    again = client.delete_annotations(*named, **files)
    assert (again.from_journal, again.requests, again.finished_at is not None) == (len(before), 0, True)
    client.restore_annotations(files["backup"])
    seen = len(emulator.requests)
    with pytest.raises(JournalError, match=r"restored .*kept\.parquet.*Nothing was sent"):
        client.delete_annotations(*named, **files)
    assert (len(emulator.requests), stored(emulator).keys()) == (seen, before.keys())
    other = client.delete_annotations(*named, backup=files["backup"], journal=tmp_path / "another.journal")
    assert (other.deleted, stored(emulator)) == (len(before), {})
