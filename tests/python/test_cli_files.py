"""Files of IDs on the command line: every format, and every row that is refused before anything is sent."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarifai_annotations._native import parquet_rows
from clarifai_annotations.cli import id_files
from clarifai_annotations.emulator import Emulator
from test_cli import COMMAND, invoke, left, limited, write

pytestmark = pytest.mark.usefixtures("folder")

PAIRS = [("photo-1", "box-1"), ("photo-1", "007"), ("photo-2", "Schuh, groß")]
KEPT = ("photo-1", "7")


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """With the pairs and one more."""
    for pair in [*PAIRS, KEPT]:
        clarifai_emulator.add_annotation(*pair)
    return clarifai_emulator


def csv_text(delimiter: str = ",") -> str:
    head, *rows = [
        "note,annotation_id,input_id",
        "x,box-1,photo-1",
        ",007,photo-1",
        'y,"Schuh, groß",photo-2',
    ]
    if delimiter == "\t":
        rows[2] = "y,Schuh\x00 groß,photo-2"
    return "\r\n".join([head, *rows, ""]).replace(",", delimiter).replace("\x00", ",")


def json_text() -> str:
    rows = [
        {"id": 5, "input_id": input_id, "annotation_id": annotation_id} for input_id, annotation_id in PAIRS
    ]
    return "\n".join(map(json.dumps, rows)) + "\n\n"


WRITTEN = {
    "labels.csv": csv_text().encode(),
    "LABELS.CSV": csv_text().encode(),
    "with-bom.csv": csv_text().encode("utf-8-sig"),
    "labels.tsv": csv_text("\t").encode(),
    "labels.jsonl": json_text().encode(),
    "labels.ndjson": json_text().encode(),
    "labels.json": json_text().encode("utf-8-sig"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_format_is_told_by_the_suffix(name: str, emulator: Emulator) -> None:
    Path(name).write_bytes(WRITTEN[name])
    assert invoke("delete", name, "--yes", "--no-backup").exit_code == 0
    assert left(emulator) == [KEPT]


def test_parquet_is_read(emulator: Emulator) -> None:
    pl.DataFrame(PAIRS, schema=["input_id", "annotation_id"], orient="row").write_parquet("labels.parquet")
    assert invoke("delete", "labels.parquet", "--yes", "--no-backup").exit_code == 0
    assert left(emulator) == [KEPT]


def test_the_format_can_be_said(emulator: Emulator) -> None:
    Path("labels.txt").write_text(json_text())
    assert invoke("delete", "labels.txt", "--format", "jsonl", "--yes", "--no-backup").exit_code == 0
    assert left(emulator) == [KEPT]


def test_standard_input_is_csv(emulator: Emulator) -> None:
    assert invoke("delete", "-", "--yes", "--no-backup", given=csv_text()).exit_code == 0
    assert left(emulator) == [KEPT]


def test_standard_input_is_of_the_format_that_is_said(emulator: Emulator) -> None:
    frame = pl.DataFrame(PAIRS, schema=["input_id", "annotation_id"], orient="row")
    frame.write_parquet("labels.parquet")
    given = Path("labels.parquet").read_bytes()
    assert invoke("delete", "-", "--format=parquet", "--yes", "--no-backup", given=given).exit_code == 0
    assert left(emulator) == [KEPT]


@pytest.mark.skipif(sys.platform == "win32", reason="asks bash")
def test_a_pipe_can_be_named_as_a_file(emulator: Emulator) -> None:
    Path("labels.csv").write_text(csv_text(), encoding="utf-8")
    command = f"{COMMAND} delete <(cat labels.csv) --yes --no-backup"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, left(emulator)) == (0, [KEPT]), done.stderr


def test_columns_can_have_other_names(emulator: Emulator) -> None:
    write("labels.csv", "photo,box", "photo-1,box-1")
    options = ["--input-column", "photo", "--annotation-column", "box", "--yes", "--no-backup"]
    assert invoke("delete", "labels.csv", *options).exit_code == 0
    assert ("photo-1", "box-1") not in left(emulator)


def test_inputs_need_only_their_column(emulator: Emulator) -> None:
    write("inputs.csv", "input_id", "photo-2")
    assert invoke("delete-inputs", "inputs.csv", "--yes", "--no-backup").exit_code == 0
    assert left(emulator) == [PAIRS[0], PAIRS[1], KEPT]


def test_a_file_without_rows_deletes_nothing(emulator: Emulator) -> None:
    write("labels.csv", "input_id,annotation_id")
    assert invoke("delete", "labels.csv", "--yes").exit_code == 0
    assert emulator.requests == []


HEAD = "input_id,annotation_id\n"
REFUSED = {
    "a missing ID": (
        "a.csv",
        HEAD + "p,a\np,\n",
        "a.csv, line 3: column 'annotation_id' is empty: fill it in",
    ),
    "a blank ID": ("a.csv", HEAD + "p,a\n\n  ,b\n", "a.csv, line 4: column 'input_id' is blank"),
    "a row after one of two lines": ("a.csv", HEAD + '"p\nq",a\np,\n', "a.csv, line 4: "),
    "too few fields": ("a.csv", HEAD + "p\n", "line 2: it has 1 fields and the header 2"),
    "too many fields": ("a.csv", HEAD + "p,a,b\n", "line 2: it has 3 fields and the header 2: quote a ','"),
    "an open quote": ("a.csv", HEAD + 'p,"a\n', "a.csv, line 2: it is not CSV"),
    "no header": ("a.csv", "", "line 1: there is no column 'input_id'; the header names nothing"),
    "another header": ("a.csv", "input,id\np,a\n", "the header names 'input', 'id'. See --input-column"),
    "two columns of one name": (
        "a.csv",
        "input_id,input_id,annotation_id\n",
        "there is more than one column 'input_id'",
    ),
    "not UTF-8": (
        "a.csv",
        HEAD.encode() + b"p,a\np,\xe9\n",
        "a.csv, line 3: it is not UTF-8: save the file as UTF-8",
    ),
    "UTF-16": ("a.csv", (HEAD + "p,a\n").encode("utf-16"), "a.csv, line 1: it is not UTF-8"),
    "a null": ("a.jsonl", '{"input_id": null, "annotation_id": "a"}', "line 1: column 'input_id' is missing"),
    "no such key": ("a.jsonl", '\n{"input_id": "p"}', "line 2: column 'annotation_id' is missing"),
    "a number": (
        "a.jsonl",
        '{"input_id": "p", "annotation_id": 7}',
        "'annotation_id' is not a string but 7: write IDs as strings",
    ),
    "a lone surrogate": ("a.jsonl", '{"input_id": "\\ud800", "annotation_id": "a"}', "is not valid Unicode"),
    "no JSON": ("a.jsonl", "p,a", "a.jsonl, line 1: it is not JSON"),
    "JSON too deep": ("a.jsonl", "[" * 200_000, "a.jsonl, line 1: it is not JSON"),
    "a JSON array": (
        "a.json",
        '[{"input_id": "p", "annotation_id": "a"}]',
        "line 1: it is not a JSON object",
    ),
    "no Parquet": ("a.parquet", "PAR", "a.parquet: "),
    "an unknown suffix": ("a.xlsx", "", "a.xlsx: its suffix tells no format"),
}


@pytest.mark.parametrize(("name", "content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_is_refused_before_anything_is_sent_for(
    name: str, content: str | bytes, message: str, emulator: Emulator
) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = invoke("delete", name, "--yes")
    assert (done.exit_code, message in done.stderr, emulator.requests) == (2, True, []), done.stderr


@given(
    damage=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=3)), min_size=1
    )
)
def test_damaged_parquet_is_read_or_refused_in_words(damage: list[tuple[float, bytes]]) -> None:
    whole = io.BytesIO()
    pl.DataFrame({"input_id": [f"p{n}" for n in range(30)]}).write_parquet(whole)
    file = bytearray(whole.getvalue())
    for place, value in damage:
        start = int(place * len(file))
        file[start : start + len(value)] = value
    with tempfile.NamedTemporaryFile(suffix=".parquet") as damaged:
        damaged.write(file)
        damaged.flush()
        with contextlib.suppress(ValueError):
            assert all(len(row) == 1 for row in parquet_rows(damaged.name, ["input_id"]))


def test_a_null_in_parquet_is_refused_with_its_row(emulator: Emulator) -> None:
    pl.DataFrame({"input_id": ["p", None], "annotation_id": ["a", "b"]}).write_parquet("labels.parquet")
    done = invoke("delete", "labels.parquet", "--yes")
    assert "labels.parquet, row 2: column 'input_id' is missing" in done.stderr
    assert emulator.requests == []


@pytest.mark.parametrize("column", ["annotation_id", "label"])
def test_parquet_without_a_column_of_strings_is_refused(column: str, emulator: Emulator) -> None:
    pl.DataFrame({"input_id": ["p"], "label": ["a"], "annotation_id": [7]}).drop(
        "label" if column == "label" else []
    ).write_parquet("labels.parquet")
    done = invoke("delete", "labels.parquet", "--yes", "--annotation-column", column)
    assert (done.exit_code, column in done.stderr, emulator.requests) == (2, True, []), done.stderr


@pytest.mark.usefixtures("emulator")
def test_a_file_that_is_not_there_is_named() -> None:
    done = invoke("plan", "no-such.csv")
    assert (done.exit_code, "no-such.csv" in done.stderr) == (2, True), done.stderr


def test_a_folder_is_refused(emulator: Emulator) -> None:
    Path("labels.csv").mkdir()
    done = invoke("delete", "labels.csv", "--yes")
    assert (done.exit_code, "labels.csv is a folder" in done.stderr, emulator.requests) == (2, True, [])


@pytest.mark.skipif(sys.platform == "win32", reason="uses what only POSIX has")
@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "to-zero"])
def test_a_device_is_no_file_of_ids(name: str, emulator: Emulator) -> None:
    Path("to-zero").symlink_to("/dev/zero")
    done = limited(1 << 20, "delete", name, "--yes", "--no-backup")
    assert (done.returncode, emulator.requests) == (2, []), done.stderr
    assert f"{name} is a device" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="uses what only POSIX has")
def test_a_device_on_standard_input_is_no_file_of_ids(emulator: Emulator) -> None:
    with open("/dev/zero", "rb") as zeros:
        done = limited(1 << 20, "delete", "-", "--yes", "--no-backup", stdin=zeros)
    assert (done.returncode, emulator.requests) == (2, []), done.stderr
    assert "standard input is a device" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="uses what only POSIX has")
def test_a_socket_is_no_file_of_ids(emulator: Emulator) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        done = invoke("delete", "socket", "--yes", "--no-backup")
    assert (done.exit_code, "socket cannot be read" in done.stderr, emulator.requests) == (2, True, [])


@pytest.mark.skipif(sys.platform == "win32", reason="uses what only POSIX has")
def test_standard_input_that_cannot_be_copied_is_refused(emulator: Emulator) -> None:
    given = HEAD + "photo-1,box-1\n" * 1000
    done = limited(4096, "delete", "-", "--yes", "--no-backup", input=given)
    assert (done.returncode, emulator.requests) == (2, []), done.stderr
    assert "standard input cannot be copied to " in done.stderr


def test_a_repeated_row_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("input_id,annotation_id\np,a\nq,a\np,a\np,b\np,a\n")
    ids = id_files.IdFile(path, id_files.Format.CSV, ["input_id", "annotation_id"], name="labels")
    assert (ids.count, ids.distinct, list(ids)) == (5, 3, [("p", "a"), ("q", "a"), ("p", "b")])


def test_rows_that_share_their_bits_are_all_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_files, "FILTER_BITS", 8)
    path = tmp_path / "labels.csv"
    rows = [f"p,{number % 90}" for number in range(100)]
    path.write_text("\n".join(["input_id,annotation_id", *rows]))
    ids = id_files.IdFile(path, id_files.Format.CSV, ["input_id", "annotation_id"], name="labels")
    assert [annotation_id for _, annotation_id in ids] == [str(number) for number in range(90)]


def test_a_file_that_changes_after_it_was_checked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("input_id,annotation_id\np,a\n")
    ids = id_files.IdFile(path, id_files.Format.CSV, ["input_id", "annotation_id"], name="labels")
    path.write_text("input_id,annotation_id\np,a\np,b\n")
    with pytest.raises(id_files.IdFileError, match="was changed meanwhile"):
        next(ids.parts(10))


PEAK = """
import sys
from clarifai_annotations.cli import app
try:
    app(["delete", sys.argv[1], "--yes"])
except SystemExit as ended:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(ended.code, peak.split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.usefixtures("emulator")
def test_a_long_file_takes_no_more_memory_than_a_short_one(suffix: str) -> None:
    peaks = []
    for rows in (50_000, 1_000_000):
        path = f"labels.{suffix}"
        ids = pl.int_range(rows, eager=True).cast(pl.String)
        frame = pl.DataFrame({"input_id": "photo-" + ids, "annotation_id": "box-" + ids})
        # The last row is refused, so that the whole file is read and nothing is sent.
        frame = pl.concat([frame, pl.DataFrame({"input_id": ["photo"], "annotation_id": [" "]})])
        getattr(frame, {"jsonl": "write_ndjson"}.get(suffix, f"write_{suffix}"))(path)
        done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
        code, peak = done.stdout.split()
        assert code == "2", done.stderr
        peaks.append(int(peak))
    # As Python strings the rows would take some 120,000 kB.
    assert peaks[1] - peaks[0] < 15_000
