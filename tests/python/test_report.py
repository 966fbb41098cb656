"""A report as a table, and as a sequence."""

from __future__ import annotations

import pickle
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from clarifai_annotations import Client, DeleteReport
from official_service import OfficialService, deletion_answer
from test_errors import status_answer


@pytest.fixture
def report(service: OfficialService, client: Client) -> DeleteReport:
    """One pair is absent, one could not be deleted, one went."""

    def answer(request: Any, context: Any) -> Any:
        code = 24156 if "locked" in request.ids else 11101 if "gone" in request.ids else 10000
        return deletion_answer(code, "<No>")(request, context)

    service.on_delete = answer
    service.there = {("q", "locked"), ("r", "c")}
    return client.delete_annotations(["p", "q", "r"], ["gone", "locked", "c"], on_failure="report")


EXPECTED = [(0, "p", "gone", "absent"), (1, "q", "locked", "failed")]


def test_polars_pyarrow_and_pandas_read_it_as_a_table_of_what_is_not_deleted(report: DeleteReport) -> None:
    columns = ["position", "input_id", "annotation_id", "outcome"]
    by_polars = pl.DataFrame(report)
    assert by_polars.select(columns).rows() == EXPECTED
    by_pyarrow = pa.table(report)
    assert [tuple(row[name] for name in columns) for row in by_pyarrow.to_pylist()] == EXPECTED
    assert by_pyarrow.column("name").to_pylist()[1] == "ANNOTATION_PERMISSION_DENIED"
    by_pandas = pd.DataFrame.from_arrow(report)
    assert list(by_pandas["outcome"]) == ["absent", "failed"]


def test_a_report_without_failures_is_a_table_without_rows(client: Client) -> None:
    table = pa.table(client.delete_annotations(["p"], ["a"]))
    assert (table.num_rows, table.column_names[0]) == (0, "position")


def test_whole_inputs_have_no_annotation_id_in_the_table(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(24156)
    service.there = {("p", "a")}
    service.on_list = lambda _request, _context: status_answer(10000)
    table = pa.table(client.delete_input_annotations(["p"], on_failure="report"))
    assert table.column("annotation_id").to_pylist() == [None]


def test_what_is_not_deleted_can_be_given_to_the_next_call(
    report: DeleteReport, service: OfficialService, client: Client
) -> None:
    service.on_delete = deletion_answer(10000)
    again = pl.DataFrame(report)
    assert client.delete_annotations(again["input_id"], again["annotation_id"]).deleted == 2


def test_a_report_from_a_pickle_is_the_same_table(report: DeleteReport) -> None:
    assert pa.table(pickle.loads(pickle.dumps(report))) == pa.table(report)


def test_in_a_notebook_it_is_a_table_and_nothing_in_it_is_taken_for_markup(report: DeleteReport) -> None:
    html = report._repr_html_()
    assert "<th>requested</th>" in html
    assert "<td>gone</td><td>absent</td>" in html
    assert "&lt;No&gt;" in html
    assert "<No>" not in html


def test_a_long_table_tells_how_much_it_leaves_out(service: OfficialService, client: Client) -> None:
    service.on_delete = deletion_answer(11101)
    ids = [f"a{n}" for n in range(30)]
    html = client.delete_annotations(ids, ids, on_failure="report")._repr_html_()
    assert (html.count("<td>absent</td>"), "… and 10 more" in html) == (20, True)
