"""Deletions by Spark: what becomes of the rows of a frame, on a cluster of two workers."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pytest

from clarifai_annotations import (
    AuthenticationError,
    ConfigurationError,
    DeletionLimitError,
    IdError,
    IdTypeError,
    OutcomesError,
)
from clarifai_annotations.emulator import Emulator
from clarifai_annotations.spark import SparkDeletionError, delete_annotations, delete_input_annotations
from conftest import KEY
from copies import Pair

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of Py4J

PAIRS: list[Pair] = [(f"p{n % 7}", f"a{n}") for n in range(40)]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator with `PAIRS`."""
    # So that what is not there is told without a look.
    with Emulator(missing_pair="refused", missing_single="status") as emulator:
        for pair in PAIRS:
            emulator.add_annotation(*pair)
        yield emulator


def app_of(emulator: Emulator) -> dict[str, Any]:
    return {"base_url": emulator.base_url, "user_id": "emulator-user", "app_id": "emulator-app"}


@pytest.fixture
def delete(spark: Any, emulator: Emulator, tmp_path: Path) -> Callable[..., Any]:
    """Deletes pairs, or the rows of a frame, from `emulator`; the outcomes go to a folder of the test."""

    def delete(rows: Any, **options: Any) -> Any:
        df = frame(spark, rows) if isinstance(rows, list) else rows
        options = {"requests_per_second": None, "tasks": 2, **app_of(emulator), **options}
        return delete_annotations(df, options.pop("outcomes", tmp_path / "outcomes"), **options)

    return delete


def frame(
    spark: Any, pairs: Iterable[tuple[Any, Any]], columns: str = "input_id string, annotation_id string"
) -> Any:
    return spark.createDataFrame(list(pairs), columns)


def left(emulator: Emulator) -> list[Pair]:
    return [(it.input_id, it.annotation_id) for it in emulator.annotations() if not it.input_level]


def sent(emulator: Emulator) -> list[Pair]:
    """The pairs that deletions named."""
    deletions = [it for it in emulator.requests if it.method == "DeleteAnnotations"]
    return [pair for it in deletions for pair in zip(it.input_ids, it.ids, strict=True)]


def outcomes(report: Any) -> dict[Pair, str]:
    """The outcome of each pair; there is one."""
    rows = report.outcomes.collect()
    found = {(row.input_id, row.annotation_id): row.outcome for row in rows}
    assert len(rows) == len(found)
    return found


# --- What is deleted, and what is told of it


def test_the_rows_of_a_frame_are_deleted_and_nothing_else(delete: Any, emulator: Emulator) -> None:
    report = delete(PAIRS[:25])
    assert (report.requested, report.deleted, report.ok) == (25, 25, True)
    assert left(emulator) == PAIRS[25:]


def test_every_row_has_its_outcome_in_the_frame_that_is_read_back(delete: Any) -> None:
    gone = [("p0", "never"), ("nowhere", "a1")]
    report = delete([*PAIRS[:9], *gone])
    assert outcomes(report) == dict.fromkeys(PAIRS[:9], "deleted") | dict.fromkeys(gone, "absent")
    assert (report.deleted, report.absent, report.ok) == (9, 2, True)


def test_a_pair_that_comes_in_several_partitions_is_sent_once(
    delete: Any, emulator: Emulator, spark: Any
) -> None:
    report = delete(frame(spark, PAIRS[:10] * 3).repartition(6))
    assert (report.requested, report.duplicates, len(outcomes(report))) == (10, 20, 10)
    assert sorted(sent(emulator)) == sorted(PAIRS[:10])


def test_a_frame_is_computed_once(delete: Any, emulator: Emulator, spark: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "computed")

    def computed(batches: Any) -> Any:
        for batch in batches:
            with open(log, "a") as file:
                file.write("once\n")
            yield batch

    # Other IDs whenever it is computed.
    df = spark.range(50).selectExpr("concat('p', id) AS input_id", "uuid() AS annotation_id").coalesce(1)
    report = delete(df.mapInArrow(computed, df.schema), rows_per_job=10)
    assert Path(log).read_text() == "once\n"
    # Looked up as well as sent: a batch with one that is not there is refused.
    asked = {pair for it in emulator.requests for pair in zip(it.input_ids, it.ids, strict=True)}
    assert asked == set(outcomes(report))


def test_columns_of_any_name_are_taken(delete: Any, spark: Any) -> None:
    df = frame(spark, PAIRS[:3], "`photo.id` string, `the label` string").selectExpr("0 AS n", "*")
    report = delete(df, input_column="photo.id", annotation_column="the label")
    assert outcomes(report) == dict.fromkeys(PAIRS[:3], "deleted")


def test_ids_of_any_script_arrive_as_they_are(delete: Any, emulator: Emulator) -> None:
    pairs = [("снимок", "標籤"), ("p 1", " a"), ("p=1/…%", "é\u0301")]
    for pair in pairs:
        emulator.add_annotation(*pair)
    assert outcomes(delete(pairs)) == dict.fromkeys(pairs, "deleted")


def test_ids_that_differ_only_in_case_are_two(delete: Any, emulator: Emulator) -> None:
    emulator.add_annotation("p0", "A0")
    assert delete([("p0", "a0"), ("p0", "A0")]).deleted == 2


def test_an_empty_frame_sends_nothing(delete: Any, emulator: Emulator) -> None:
    report = delete([])
    assert (report.requested, report.ok, report.outcomes.collect(), emulator.requests) == (0, True, [], [])


def test_the_folder_is_parquet_that_others_read(delete: Any, tmp_path: Path) -> None:
    delete([*PAIRS[:5], ("p0", "never")])
    table = ds.dataset(tmp_path / "outcomes", format="parquet", partitioning="hive").to_table()
    assert Counter(table["outcome"].to_pylist()) == {"deleted": 5, "absent": 1}
    told = [name for name in table.column_names if name not in ("run", "partition", "job")]
    assert told == ["input_id", "annotation_id", "outcome", "code", "description", "request_id", "task"]


def test_an_outcome_says_what_the_service_said(delete: Any, emulator: Emulator) -> None:
    emulator.lock("p0", "a0")
    report = delete(PAIRS[:3], on_failure="report")
    [failed] = report.outcomes.where("outcome = 'failed'").collect()
    assert (failed.input_id, failed.annotation_id, failed.code) == ("p0", "a0", 24156)
    assert failed.description.startswith("ANNOTATION_PERMISSION_DENIED (24156): ")
    assert failed.request_id.startswith("clarifai-annotations-")


def test_one_that_may_not_be_deleted_stops_no_other(delete: Any, emulator: Emulator) -> None:
    emulator.lock("p0", "a0")
    with pytest.raises(SparkDeletionError) as raised:
        delete(PAIRS)
    assert str(raised.value) == "1 of 40 IDs were not deleted (1 failed). See .report.outcomes"
    assert (raised.value.report.deleted, left(emulator)) == (39, [("p0", "a0")])


def test_absent_ones_are_failures_where_they_are_not_fine(delete: Any) -> None:
    with pytest.raises(
        SparkDeletionError, match=r"^1 of 2 IDs were not deleted \(1 absent\)\. See .report.outcomes$"
    ):
        delete([PAIRS[0], ("p0", "never")], missing_ok=False)


def test_a_look_first_tells_what_is_not_there_where_its_deletion_is_confirmed(
    spark: Any, tmp_path: Path
) -> None:
    with Emulator(missing_pair="success", missing_single="success") as emulator:
        emulator.add_annotation(*PAIRS[0])
        rows = frame(spark, [PAIRS[0], ("p0", "never")])
        report = delete_annotations(rows, tmp_path / "outcomes", look_first=True, **app_of(emulator))
    assert outcomes(report) == {PAIRS[0]: "deleted", ("p0", "never"): "absent"}


def test_requests_are_counted_over_all_tasks(delete: Any, emulator: Emulator) -> None:
    report = delete([*PAIRS, ("p0", "never")], tasks=3, rows_per_job=5)
    assert (report.requests, report.throttled) == (len(emulator.requests), 0)


def test_a_report_can_be_pickled(delete: Any) -> None:
    report = delete(PAIRS[:4])
    again = pickle.loads(pickle.dumps(report))
    assert (again, outcomes(again)) == (report, outcomes(report))


def test_an_error_with_a_report_can_be_pickled(delete: Any) -> None:
    with pytest.raises(SparkDeletionError) as raised:
        delete([("p0", "never")], missing_ok=False)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (type(again), str(again), again.report) == (
        SparkDeletionError,
        str(raised.value),
        raised.value.report,
    )


def test_a_report_is_a_table_in_a_notebook(delete: Any) -> None:
    report = delete(PAIRS[:4])
    assert "<th>deleted</th>" in report._repr_html_()
    assert repr(report).startswith("SparkDeleteReport(requested=4, deleted=4, absent=0, ")


# --- All of some inputs


def test_inputs_lose_all_but_their_input_level_annotations(
    spark: Any, emulator: Emulator, tmp_path: Path
) -> None:
    inputs = spark.createDataFrame([("p0",), ("p1",), ("p0",)], "input_id string")
    report = delete_input_annotations(
        inputs, tmp_path / "outcomes", requests_per_second=None, tasks=2, **app_of(emulator)
    )
    assert (report.requested, report.deleted, report.duplicates) == (2, 2, 1)
    assert left(emulator) == [pair for pair in PAIRS if pair[0] not in ("p0", "p1")]
    assert [it.input_id for it in emulator.annotations() if it.input_level][:2] == ["p0", "p1"]
    assert report.outcomes.columns[:2] == ["input_id", "outcome"]


def test_a_frame_of_pairs_is_not_taken_for_inputs(spark: Any, emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(IdError) as raised:
        delete_input_annotations(frame(spark, PAIRS), tmp_path / "outcomes", **app_of(emulator))
    assert str(raised.value) == (
        "df has the columns 'input_id' and 'annotation_id', so it seems to name annotations, and delete_input_annotations "
        "deletes every annotation on the inputs. For the annotations that it names, call delete_annotations. For "
        'everything on these inputs, pass their column alone: df.select("input_id"). Nothing was sent'
    )
    assert emulator.requests == []


def test_pairs_are_never_sent_without_their_annotations(delete: Any, emulator: Emulator) -> None:
    delete([*PAIRS[:20], ("p0", "never")], rows_per_job=3)
    assert all(len(it.ids) == len(it.input_ids) > 0 for it in emulator.requests)


# --- Refused before anything is sent

BAD_ROWS = {
    "a null input": (
        [(None, "a1"), *PAIRS],
        "in 1 row of 41, 'input_id' is missing (null), one where 'annotation_id' is 'a1'",
    ),
    "null annotations": (
        [*PAIRS, ("p1", None), ("p2", None)],
        "in 2 rows of 42, 'annotation_id' is missing (null), one where 'input_id' is 'p",
    ),
    "an empty string": (
        [*PAIRS, ("p1", "")],
        "in 1 row of 41, 'annotation_id' is an empty string, one where 'input_id' is 'p1'",
    ),
    "a blank one": (
        [("\u2003\t", "a1")],
        "in 1 row of 1, 'input_id' is blank (only white space), one where 'annotation_id' is 'a1'",
    ),
    "both missing": (
        [(None, None)],
        "in 1 row of 1, 'input_id' is missing (null): every ID must name something",
    ),
}


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_frame_is_refused_as_a_whole_for(rows: Any, message: str, delete: Any, emulator: Emulator) -> None:
    with pytest.raises(IdError) as raised:
        delete(rows)
    assert str(raised.value).startswith(message)
    assert str(raised.value).endswith("Nothing was sent")
    assert emulator.requests == []


def test_all_of_unicodes_white_space_is_blank(delete: Any) -> None:
    """As the core has it; U+200B is no white space."""
    white = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and chr(code).isspace()]
    white = [it for it in white if not "\x1c" <= it <= "\x1f"]  # Python's alone
    with pytest.raises(IdError, match=rf"^in {len(white)} rows of {len(white) + 1}, 'input_id' is blank"):
        delete([*((it, "a") for it in white), ("\u200b", "a")])


def test_a_string_that_is_not_unicode_is_refused(delete: Any, emulator: Emulator, spark: Any) -> None:
    df = spark.sql("SELECT cast(X'70C3' AS string) AS input_id, 'a1' AS annotation_id")
    with pytest.raises(
        IdError, match=r"^in 1 row of 1, 'input_id' is not valid Unicode, one where 'annotation_id' is 'a1'"
    ):
        delete(df)
    assert emulator.requests == []


def test_a_refused_call_leaves_its_folder_to_the_next(delete: Any) -> None:
    with pytest.raises(IdError):
        delete([(None, "a1")])
    assert delete(PAIRS[:2]).deleted == 2


BAD_FRAMES: dict[str, tuple[Callable[[Any], Any], dict[str, str], type[Exception], str]] = {
    "a column that is not there": (
        lambda spark: frame(spark, PAIRS),
        {"input_column": "photo"},
        IdError,
        "df has 0 columns 'photo', not one: it has 'input_id', 'annotation_id'",
    ),
    "a column that is there twice": (
        lambda spark: frame(spark, PAIRS).selectExpr("input_id", "annotation_id", "input_id"),
        {},
        IdError,
        "df has 2 columns 'input_id', not one",
    ),
    "one column for both": (
        lambda spark: frame(spark, PAIRS),
        {"annotation_column": "input_id"},
        IdError,
        "column 'input_id' is named for both IDs",
    ),
    "numbers": (
        lambda spark: frame(spark, [(1, "a")], "input_id int, annotation_id string"),
        {},
        IdTypeError,
        "column 'input_id' is of type int, not a string: convert it first",
    ),
    "pandas": (
        lambda _: pd.DataFrame({"input_id": ["p"]}),
        {},
        IdTypeError,
        "not a Spark DataFrame: turn it into one",
    ),
    "a stream": (
        lambda spark: spark.readStream.format("rate").load(),
        {},
        IdTypeError,
        "df is a stream, which has no end: delete inside foreachBatch",
    ),
}


@pytest.mark.parametrize(("make", "options", "kind", "message"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_frame_cannot_have(
    make: Callable[[Any], Any],
    options: Any,
    kind: type[Exception],
    message: str,
    spark: Any,
    delete: Any,
    emulator: Emulator,
) -> None:
    with pytest.raises(kind) as raised:
        delete(make(spark), **options)
    assert message in str(raised.value)
    assert str(raised.value).endswith("Nothing was sent")
    assert emulator.requests == []


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "more tasks than requests": (
        {"requests_per_second": 15, "tasks": 16},
        "tasks=16: from 1 to 15 can share 15 requests a second",
    ),
    "no request": (
        {"requests_per_second": 0},
        "requests_per_second=0: a number above 0, or None for no limit",
    ),
    "no number of requests": (
        {"requests_per_second": float("nan")},
        "requests_per_second=nan: a number above 0",
    ),
    "no task": ({"tasks": 0}, "tasks=0: at least one is needed"),
    "no row in a job": ({"rows_per_job": 0}, "rows_per_job=0: at least 1"),
    "a key": ({"pat": KEY}, "pat is not taken: Spark writes down what it is given"),
    "a key for the name of one": ({"secret": KEY}, "secret is not the name of one: pass 'env:NAME'"),
    "a secret that no executor has": (
        {"secret": "env:TEAM_PAT"},
        "on an executor: there is no environment variable TEAM_PAT, which secret= names",
    ),
    "a secret file that is not there": (
        {"secret": "file:/run/secrets/none"},
        "on an executor: /run/secrets/none, which secret= names, cannot be read: No such file or directory",
    ),
    "no batch": ({"batch_size": 0}, "batch_size"),
    "no app": ({"app_id": ""}, "app_id"),
}


@pytest.mark.parametrize(("options", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_a_call_cannot_have(options: Any, message: str, delete: Any, emulator: Emulator) -> None:
    with pytest.raises(ConfigurationError) as raised:
        delete(PAIRS, **options)
    assert message in str(raised.value)
    assert KEY not in str(raised.value)
    assert emulator.requests == []


def test_more_than_max_deletions_are_refused(delete: Any, emulator: Emulator) -> None:
    with pytest.raises(
        DeletionLimitError, match=r"^df names 40 annotations, and max_deletions is 39\. Nothing was sent$"
    ):
        delete(PAIRS + PAIRS[:5], max_deletions=39)
    assert emulator.requests == []


def test_a_frame_that_names_as_many_as_max_deletions_is_deleted(delete: Any) -> None:
    assert delete(PAIRS + PAIRS[:5], max_deletions=40).deleted == 40


# --- Keys


def test_the_executors_find_the_key_in_their_environment(delete: Any, emulator: Emulator) -> None:
    delete(PAIRS[:1])
    assert {it.metadata["authorization"] for it in emulator.requests} == {"Key ***"}


def test_the_executors_find_the_key_in_a_file_that_is_named(delete: Any, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{KEY}\n")
    assert delete(PAIRS[:1], secret=f"file:{path}").deleted == 1


def test_a_key_that_is_refused_stops_the_call(spark: Any, tmp_path: Path) -> None:
    with Emulator(pats=["another"]) as emulator:
        for pair in PAIRS:
            emulator.add_annotation(*pair)
        options = {"requests_per_second": None, "tasks": 2, "rows_per_job": 2, **app_of(emulator)}
        with pytest.raises(AuthenticationError) as raised:
            delete_annotations(frame(spark, PAIRS), tmp_path / "outcomes", **options)
        message = r"^40 of 40 IDs were not deleted \(\d+ failed, \d+ unsent\): CONN_KEY_INVALID \(11008\): .* Check the key"
        assert re.match(message, str(raised.value))
        assert raised.value.code == 11008
        # One request of each task, and no later job.
        assert len(emulator.requests) <= 2
        report: Any = raised.value.report
        told = report.outcomes.select("outcome", "description").distinct().collect()
        assert {row.outcome for row in told} == {"failed", "unsent"}
        assert all(row.description.startswith("CONN_KEY_INVALID") for row in told)


# --- The folder


def test_a_call_that_was_ended_while_it_noted_that_it_begins_is_explained(
    delete: Callable[..., Any], emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "outcomes" / "_runs" / "run=0" / "_temporary").mkdir(parents=True)
    with pytest.raises(
        OutcomesError, match=r"remove .*outcomes/_runs/run=0 and call again.* Nothing was sent"
    ):
        delete(PAIRS, resume=True)
    assert sent(emulator) == []


def test_a_folder_that_is_there_is_refused(delete: Any, emulator: Emulator) -> None:
    delete(PAIRS[:2])
    emulator.clear_requests()
    with pytest.raises(
        OutcomesError,
        match=r"outcomes is there already: .*, or go on with that call by resume=True\. Nothing",
    ):
        delete(PAIRS[2:4])
    assert emulator.requests == []


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_somebody_else_is_refused(
    resume: bool, delete: Any, emulator: Emulator, spark: Any, tmp_path: Path
) -> None:
    spark.range(3).write.parquet(str(tmp_path / "outcomes"))
    with pytest.raises(
        OutcomesError, match=r"outcomes is there already: name a new folder for the outcomes\. Nothing"
    ):
        delete(PAIRS[2:4], resume=resume)
    assert (emulator.requests, spark.read.parquet(str(tmp_path / "outcomes")).count()) == ([], 3)


def test_resume_where_nothing_is_there_is_a_first_call(delete: Any) -> None:
    assert delete(PAIRS[:2], resume=True).deleted == 2


def test_resume_leaves_out_what_is_gone_and_tries_the_rest_again(delete: Any, emulator: Emulator) -> None:
    emulator.lock("p0", "a0")
    asked = [*PAIRS, ("p0", "never")]
    first = delete(asked, on_failure="report")
    emulator.clear_requests()
    again = delete(asked, on_failure="report", resume=True)
    assert set(sent(emulator)) == {("p0", "a0")}
    assert outcomes(again) == outcomes(first)
    assert (again.deleted, again.absent, again.failed, again.requested) == (39, 1, 1, 41)


def test_resume_tells_of_the_rows_of_its_own_frame(delete: Any, emulator: Emulator) -> None:
    delete(PAIRS[:4])
    report = delete(PAIRS[2:6], resume=True)
    assert outcomes(report) == dict.fromkeys(PAIRS[2:6], "deleted")
    assert sorted(sent(emulator)) == sorted(PAIRS[:6])


def test_an_outcome_that_changed_is_told_as_it_is_now(
    delete: Any, emulator: Emulator, tmp_path: Path
) -> None:
    with Emulator(pats=["another"]) as refusing, pytest.raises(AuthenticationError):
        delete(PAIRS[:3], base_url=refusing.base_url)
    # The same service, whose address is another now.
    began = next((tmp_path / "outcomes/_runs/run=0").glob("*.txt"))
    began.write_text(began.read_text().replace(refusing.base_url, emulator.base_url))
    (began.parent / f".{began.name}.crc").unlink()
    assert outcomes(delete(PAIRS[:3], resume=True)) == dict.fromkeys(PAIRS[:3], "deleted")


def test_a_folder_of_another_app_is_not_resumed(delete: Any) -> None:
    delete(PAIRS[:2])
    with pytest.raises(
        OutcomesError, match=r"has the outcomes of another call: of app_id 'emulator-app'\. Name another"
    ):
        delete(PAIRS[:2], app_id="dogs", resume=True)


def test_a_folder_of_the_other_deletion_is_not_resumed(
    delete: Any, emulator: Emulator, spark: Any, tmp_path: Path
) -> None:
    delete(PAIRS[:2])
    with pytest.raises(OutcomesError, match="of another call: of operation 'delete_annotations'"):
        delete_input_annotations(
            frame(spark, PAIRS).select("input_id"), tmp_path / "outcomes", resume=True, **app_of(emulator)
        )
    assert left(emulator) == PAIRS[2:]


# --- Where it is imported


def test_the_package_itself_does_not_import_pyspark() -> None:
    program = "import sys, clarifai_annotations; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
