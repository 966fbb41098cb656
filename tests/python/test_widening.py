"""Nothing that names annotations is taken for inputs, whose annotations would all go."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from clarifai_annotations import Client, IdError
from clarifai_annotations.emulator import Emulator
from conftest import KEY
from test_cli import invoke, left, write

pytestmark = pytest.mark.usefixtures("folder")

PAIRS = [("photo-1", "box-1"), ("photo-2", "box-2")]
ALL = [*PAIRS, ("photo-2", "box-3")]
COLUMNS = {"input_id": [pair[0] for pair in PAIRS], "annotation_id": [pair[1] for pair in PAIRS]}


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    for pair in ALL:
        clarifai_emulator.add_annotation(*pair)
    return clarifai_emulator


# On the command line


def write_pairs(name: str, annotation_column: str = "annotation_id") -> Path:
    """A file of pairs in the format that its name says."""
    frame = pl.DataFrame(COLUMNS).rename({"annotation_id": annotation_column})
    if name.endswith(".parquet"):
        frame.write_parquet(name)
    elif name.endswith(".jsonl"):
        frame.write_ndjson(name)
    else:
        frame.write_csv(name, separator="\t" if name.endswith(".tsv") else ",")
    return Path(name)


DELETE_INPUTS = ["delete-inputs", "--yes", "--no-backup"]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.jsonl", "pairs.parquet"])
def test_delete_inputs_refuses_a_file_of_pairs(name: str, emulator: Emulator) -> None:
    done = invoke(*DELETE_INPUTS, write_pairs(name))
    assert (done.exit_code, emulator.requests) == (2, [])
    assert " ".join(done.stderr.split()) == (
        f"Error: {name} has the columns 'input_id' and 'annotation_id', so it seems to name annotations, and this command is "
        "for every annotation on the inputs. For the annotations that it names: clarifai-annotations delete "
        f"{name}. For everything on these inputs: add --all-annotations-of-these-inputs. Nothing was sent"
    )


@pytest.mark.parametrize(
    "column", ["id", "annotationId", "Annotation ID", "annotations", "old_annotation_id", "box_id"]
)
def test_delete_inputs_refuses_a_file_whose_annotations_are_called(column: str, emulator: Emulator) -> None:
    done = invoke(*DELETE_INPUTS, write_pairs("pairs.csv", column))
    assert (done.exit_code, repr(column) in done.stderr, emulator.requests) == (2, True, [])


def test_delete_inputs_refuses_pairs_on_standard_input(emulator: Emulator) -> None:
    done = invoke(*DELETE_INPUTS, "-", given="input_id,annotation_id\nphoto-1,box-1\n")
    assert (done.exit_code, emulator.requests) == (2, [])


def test_delete_inputs_refuses_a_file_whose_annotation_ids_are_all_empty(emulator: Emulator) -> None:
    write("pairs.csv", "input_id,annotation_id", "photo-1,", "photo-2,")
    assert (invoke(*DELETE_INPUTS, "pairs.csv").exit_code, emulator.requests) == (2, [])


def test_one_json_line_that_names_an_annotation_is_enough(emulator: Emulator) -> None:
    write("some.jsonl", '{"input_id": "photo-1"}', '{"input_id": "photo-2", "annotation_id": "box-2"}')
    assert (invoke(*DELETE_INPUTS, "some.jsonl").exit_code, emulator.requests) == (2, [])


def test_a_plan_for_inputs_refuses_a_file_of_pairs(emulator: Emulator) -> None:
    done = invoke("plan", "--inputs", write_pairs("pairs.csv"))
    assert (done.exit_code, "clarifai-annotations plan pairs.csv" in " ".join(done.stderr.split())) == (
        2,
        True,
    )
    assert emulator.requests == []


def test_who_means_everything_on_the_inputs_of_pairs_can_say_so(emulator: Emulator) -> None:
    done = invoke(*DELETE_INPUTS, "--all-annotations-of-these-inputs", write_pairs("pairs.csv"))
    assert (done.exit_code, left(emulator)) == (0, [])


@pytest.mark.parametrize("column", ["split", "label", "width", "n_annotations", "grid", "video"])
def test_inputs_may_have_other_columns_such_as(column: str, emulator: Emulator) -> None:
    write("inputs.csv", f"input_id,{column}", "photo-1,7")
    assert (invoke(*DELETE_INPUTS, "inputs.csv").exit_code, left(emulator)) == (0, ALL[1:])


def test_inputs_may_be_called_id_themselves(emulator: Emulator) -> None:
    write("inputs.csv", "id", "photo-1")
    assert invoke(*DELETE_INPUTS, "--input-column", "id", "inputs.csv").exit_code == 0
    assert left(emulator) == ALL[1:]


def test_the_failures_of_inputs_can_be_given_to_the_same_command_again(emulator: Emulator) -> None:
    emulator.lock("photo-2", "box-2")
    write("inputs.csv", "input_id", "photo-1", "photo-2")
    assert invoke(*DELETE_INPUTS, "inputs.csv", "--failures", "failures.csv").exit_code == 1
    with open("failures.csv", encoding="utf-8", newline="") as file:
        assert [(row["input_id"], row["outcome"]) for row in csv.DictReader(file)] == [("photo-2", "failed")]
    # Refused by the service once more, and not by the command.
    assert invoke(*DELETE_INPUTS, "failures.csv").exit_code == 1


# In Python

NOT_INPUTS: dict[str, Callable[[Client], Any]] = {
    "a list of pairs": lambda _: PAIRS,
    "a list of lists": lambda _: [list(pair) for pair in PAIRS],
    "a zip": lambda _: zip(*COLUMNS.values(), strict=True),
    "rows of a csv.DictReader": lambda _: [dict(zip(COLUMNS, pair, strict=True)) for pair in PAIRS],
    "items of a mapping": lambda _: dict(PAIRS).items(),
    "a mapping": lambda _: COLUMNS,
    "a numpy array of two columns": lambda _: np.array(PAIRS),
    "a numpy array of rows": lambda _: np.array(PAIRS, dtype=[("input_id", "U9"), ("annotation_id", "U9")]),
    "a pandas frame": lambda _: pd.DataFrame(COLUMNS),
    "a pandas index of pairs": lambda _: pd.MultiIndex.from_tuples(PAIRS),
    "pandas rows": lambda _: pd.DataFrame(COLUMNS).itertuples(index=False),
    "a polars frame": lambda _: pl.DataFrame(COLUMNS),
    "a polars column of rows": lambda _: pl.DataFrame(COLUMNS).to_struct("pairs"),
    "an Arrow table": lambda _: pa.table(COLUMNS),
    "an Arrow batch": lambda _: pa.RecordBatch.from_pydict(COLUMNS),
    "an Arrow reader": lambda _: pa.table(COLUMNS).to_reader(),
    "an Arrow column of rows": lambda _: pa.table(COLUMNS).to_struct_array(),
    "a plan": lambda client: client.plan_deletion(*COLUMNS.values()),
    "annotations of a plan": lambda client: client.plan_deletion(*COLUMNS.values()).annotations,
    "failures of a report": lambda client: (
        client.delete_annotations(["photo-1"], ["no-such"], on_failure="report", look_first=True).failures
    ),
    "lines of a file of pairs": lambda _: (
        json.loads(line) for line in ['{"input_id": "photo-1", "id": "box-1"}']
    ),
}


@pytest.mark.parametrize("named", NOT_INPUTS.values(), ids=NOT_INPUTS)
def test_delete_input_annotations_refuses(named: Callable[[Client], Any], emulator: Emulator) -> None:
    with emulator.client() as client:
        value, before = named(client), len(emulator.requests)
        with pytest.raises((IdError, TypeError)):
            client.delete_input_annotations(value)
    assert (len(emulator.requests), left(emulator)) == (before, ALL)


@pytest.mark.parametrize(
    "nothing", [None, [], (), iter(())], ids=["None", "a list", "a tuple", "an iterator"]
)
def test_no_annotation_ids_never_mean_all(nothing: Any, emulator: Emulator) -> None:
    with emulator.client() as client, pytest.raises(IdError):
        client.delete_annotations(COLUMNS["input_id"], nothing)
    assert emulator.requests == []


def test_a_second_column_is_no_argument_of_delete_input_annotations() -> None:
    with (
        Client(user_id="me", app_id="cats", pat=KEY, base_url="http://127.0.0.1:9") as client,
        pytest.raises(TypeError, match="positional"),
    ):
        client.delete_input_annotations(*COLUMNS.values())
