"""Which IDs are taken, from what, and what is refused before anything is sent."""

from __future__ import annotations

import array
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import random_cases
from clarifai_annotations import Client, IdError, IdTypeError
from official_service import OfficialService

IDS = ["photo-1", "fotoğraf-2", "photo with a name longer than twelve bytes"]


class OnlyArrow:
    """Exports an Arrow column and cannot be iterated over: nothing can read its items as Python objects."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.column.__arrow_c_stream__(requested_schema)


class OnlyArrowArray:
    """The same, as one array instead of a stream."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self.column.__arrow_c_array__(requested_schema)


def dictionary(index_type: Any, value_type: Any) -> Any:
    return pa.array(IDS, value_type).dictionary_encode().cast(pa.dictionary(index_type, value_type))


COLUMNS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(IDS),
    "tuple": lambda: tuple(IDS),
    "generator": lambda: (text for text in IDS),
    "dict values": lambda: dict(enumerate(IDS)).values(),
    "numpy of str": lambda: np.array(IDS),
    "numpy of objects": lambda: np.array(IDS, dtype=object),
    "numpy strings": lambda: np.array(IDS, dtype=np.dtypes.StringDType()),
    "pandas Series of objects": lambda: pd.Series(IDS, dtype=object),
    "pandas Series of strings": lambda: pd.Series(IDS, dtype="string"),
    "pandas Series on Arrow": lambda: pd.Series(IDS, dtype=pd.ArrowDtype(pa.string())),
    "pandas categories": lambda: pd.Series(IDS, dtype="category"),
    "pandas Index": lambda: pd.Index(IDS),
    "polars Series": lambda: pl.Series(IDS),
    "polars categories": lambda: pl.Series(IDS, dtype=pl.Categorical),
    "pyarrow Array": lambda: pa.array(IDS),
    "pyarrow ChunkedArray": lambda: pa.chunked_array([IDS[:1], [], IDS[1:]]),
    "Arrow utf8": lambda: OnlyArrow(pa.chunked_array([IDS[:1], [], IDS[1:]], pa.string())),
    "Arrow large_utf8": lambda: OnlyArrow(pa.chunked_array([IDS], pa.large_string())),
    "Arrow utf8_view": lambda: OnlyArrow(pa.chunked_array([IDS], pa.string_view())),
    "Arrow dictionary of utf8": lambda: OnlyArrowArray(dictionary(pa.int8(), pa.string())),
    "Arrow dictionary of large_utf8": lambda: OnlyArrowArray(dictionary(pa.uint32(), pa.large_string())),
    "Arrow array": lambda: OnlyArrowArray(pa.array(IDS)),
    "sliced Arrow array": lambda: OnlyArrowArray(pa.array(["other", *IDS, "other"])[1:4]),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_a_column_of_ids_is_sent_whatever_holds_it(
    column: Callable[[], Any], service: OfficialService, client: Client
) -> None:
    client.delete_annotations(column(), ["a", "b", "c"])
    assert list(service.calls[0].message.input_ids) == IDS


# Each: the input IDs, the annotation IDs, the position, the message.
REFUSED: dict[str, tuple[Callable[[], Any], Any, int | None, str]] = {
    "fewer annotations": (lambda: ["p", "q"], ["a"], 1, "2 input_ids but 1 annotation_ids: each annotation ID"),
    "fewer inputs": (lambda: ["p"], ["a", "b"], 1, "1 input_ids but 2 annotation_ids"),
    "no annotations": (lambda: ["p", "q"], [], 0, "say so with delete_input_annotations"),
    "no inputs": (list, ["a"], 0, "0 input_ids but 1 annotation_ids"),
    "an empty ID": (lambda: ["p", ""], ["a", "b"], 1, "input_ids[1] is an empty string"),
    "a blank ID": (lambda: [" \t\n", "q"], ["a", "b"], 0, "input_ids[0] is blank"),
    "None": (lambda: ["p", None], ["a", "b"], 1, "input_ids[1] is missing (None): drop the row or fill it in"),
    "NaN": (lambda: ["p", float("nan")], ["a", "b"], 1, "input_ids[1] is missing (NaN)"),
    "numpy NaN": (lambda: np.array(["p", np.nan], dtype=object), ["a", "b"], 1, "missing (NaN)"),
    "numpy masked": (lambda: np.ma.array(["p", "q"], mask=[False, True]), ["a", "b"], 1, "missing (masked)"),
    "pandas NA": (lambda: pd.Series(["p", pd.NA], dtype="string"), ["a", "b"], 1, "input_ids[1] is missing"),
    "pandas NaN": (lambda: pd.Series(["p", np.nan], dtype=object), ["a", "b"], 1, "input_ids[1] is missing"),
    "pandas NaT": (lambda: [pd.NaT], ["a"], 0, "input_ids[0] is missing (NaT)"),
    "Arrow null": (lambda: pa.array(["p", None]), ["a", "b"], 1, "input_ids[1] is missing (null)"),
    "Arrow null in a later chunk": (
        lambda: pa.chunked_array([["p"], ["q", None]]), ["a", "b", "c"], 2, "input_ids[2] is missing (null)",
    ),
    "Arrow null in a dictionary": (
        lambda: pa.array(["p", None]).dictionary_encode(), ["a", "b"], 1, "input_ids[1] is missing (null)",
    ),
    "Arrow column of nothing but nulls": (lambda: pa.nulls(2), ["a", "b"], 0, "input_ids[0] is missing (null)"),
    "polars null": (lambda: pl.Series(["p", None]), ["a", "b"], 1, "input_ids[1] is missing (null)"),
    "empty ID in Arrow": (lambda: pa.array(["p", ""]), ["a", "b"], 1, "input_ids[1] is an empty string"),
    "bytes that are not UTF-8": (
        lambda: pa.array([b"p", b"p\xc3"], pa.binary()).view(pa.string()),
        ["a", "b"],
        1,
        "input_ids[1] is not valid Unicode (its bytes are not UTF-8): decode it again",
    ),
    "bytes that are not UTF-8, of a dictionary": (
        lambda: pa.DictionaryArray.from_arrays([1, 0], pa.array([b"p\xc3", b"p"], pa.binary()).view(pa.string())),
        ["a", "b"],
        1,
        "input_ids[1] is not valid Unicode (its bytes are not UTF-8): decode it again",
    ),
    "a lone surrogate": (lambda: ["p", "\ud800"], ["a", "b"], 1, "input_ids[1] is not valid Unicode"),
}  # fmt: skip

REFUSED_FOR_TYPE: dict[str, tuple[Callable[[], Any], Any, int | None, str]] = {
    "an int": (lambda: ["p", 7], ["a", "b"], 1, "input_ids[1] is of type int, not a string: convert IDs to str"),
    "bytes among str": (lambda: ["p", b"q"], ["a", "b"], 1, "input_ids[1] is of type bytes"),
    "a list of pairs": (lambda: [("p", "a")], ["a"], 0, "input_ids[0] is of type tuple"),
    "numpy ints": (lambda: np.array([1, 2]), ["a", "b"], 0, "input_ids[0] is of type int64"),
    "pandas ints": (lambda: pd.Series([1, 2]), ["a", "b"], 0, "input_ids[0] is of type"),
    "mixed pandas objects": (lambda: pd.Series(["p", 7], dtype=object), ["a", "b"], 1, "input_ids[1] is of type int"),
    "polars ints": (lambda: pl.Series([1, 2]), ["a", "b"], 0, "input_ids[0] is of type int"),
    "Arrow ints": (lambda: OnlyArrow(pa.chunked_array([[1]])), ["a"], None, "input_ids is an Arrow column of Int64"),
    "an Arrow dictionary of ints": (
        lambda: OnlyArrowArray(pa.array([1]).dictionary_encode()), ["a"], None, "an Arrow column of Dictionary",
    ),
    "a bare str": (lambda: "photo", ["a"], None, "input_ids is a single str: it would be read letter by letter"),
    "bare bytes": (lambda: b"photo", ["a"], None, "input_ids is bytes"),
    "a bytearray": (lambda: bytearray(b"photo"), ["a"], None, "input_ids is bytes"),
    "a memoryview": (lambda: memoryview(b"photo"), ["a"], None, "input_ids is bytes"),
    "a dict": (lambda: {"p": "a"}, ["a"], None, "input_ids is a mapping: say which side you mean"),
    "another mapping": (lambda: OrderedDict(p="a"), ["a"], None, "input_ids is a mapping"),
    "a set": (lambda: {"p", "q"}, ["a", "b"], None, "input_ids is a set: a set has no order to pair by"),
    "a frozenset": (lambda: frozenset({"p"}), ["a"], None, "input_ids is a set"),
    "the keys of a dict": (lambda: {"p": 1}.keys(), ["a"], None, "input_ids is a set"),
    "a pandas table": (lambda: pd.DataFrame({"input_id": ["p"]}), ["a"], None, "input_ids is a table: pass one column"),
    "a polars table": (lambda: pl.DataFrame({"input_id": ["p"]}), ["a"], None, "input_ids is a table"),
    "a pyarrow table": (lambda: pa.table({"input_id": ["p"]}), ["a"], None, "input_ids is a table"),
    "a stream of tables": (lambda: OnlyArrow(pa.table({"input_id": ["p"]})), ["a"], None, "input_ids is a table"),
    "a numpy matrix": (lambda: np.array([["p", "a"]]), ["a"], None, "input_ids is an array of 2 dimensions"),
    "a numpy scalar array": (lambda: np.array("p"), ["a"], None, "input_ids is an array of 0 dimensions"),
    "a number": (lambda: 7, ["a"], None, "input_ids is of type int: pass a list, a Series or another column"),
    "None as a column": (lambda: None, ["a"], None, "input_ids is of type NoneType"),
}  # fmt: skip


@pytest.mark.parametrize(("input_ids", "annotation_ids", "index", "message"), REFUSED.values(), ids=REFUSED)
def test_ids_that_cannot_be_sent_are_refused_with_their_position_and_nothing_is_sent(
    input_ids: Callable[[], Any],
    annotation_ids: Any,
    index: int | None,
    message: str,
    service: OfficialService,
    client: Client,
) -> None:
    with pytest.raises(IdError) as refusal:
        client.delete_annotations(input_ids(), annotation_ids)
    assert message in str(refusal.value)
    assert str(refusal.value).endswith("Nothing was sent")
    assert (refusal.value.index, isinstance(refusal.value, TypeError)) == (index, False)
    assert service.calls == []


@pytest.mark.parametrize(
    ("input_ids", "annotation_ids", "index", "message"), REFUSED_FOR_TYPE.values(), ids=REFUSED_FOR_TYPE
)
def test_what_is_of_the_wrong_type_is_refused_as_a_type_error_too_and_nothing_is_sent(
    input_ids: Callable[[], Any],
    annotation_ids: Any,
    index: int | None,
    message: str,
    service: OfficialService,
    client: Client,
) -> None:
    with pytest.raises(IdTypeError) as refusal:
        client.delete_annotations(input_ids(), annotation_ids)
    assert message in str(refusal.value)
    assert refusal.value.index == index
    assert isinstance(refusal.value, TypeError)
    assert isinstance(refusal.value, ValueError)
    assert service.calls == []


def test_annotation_ids_are_held_to_the_same_rules_under_their_own_name(
    service: OfficialService, client: Client
) -> None:
    with pytest.raises(IdError, match=r"^annotation_ids\[1\] is missing \(None\)"):
        client.delete_annotations(["p", "q"], ["a", None])  # type: ignore[list-item]
    assert service.calls == []


def test_input_deletions_are_held_to_the_same_rules(service: OfficialService, client: Client) -> None:
    with pytest.raises(IdError, match=r"^input_ids\[1\] is an empty string"):
        client.delete_input_annotations(["p", ""])
    assert service.calls == []


@pytest.mark.parametrize(
    ("input_id", "annotation_id", "message"),
    [
        ("", "a", "input_id is an empty string"),
        ("p", "  ", "annotation_id is blank"),
        (None, "a", r"input_id is missing \(None\)"),
        ("p", ["a"], "annotation_id is of type list, not a string"),
    ],
)
def test_a_single_id_is_held_to_the_same_rules(
    input_id: Any, annotation_id: Any, message: str, service: OfficialService, client: Client
) -> None:
    with pytest.raises(IdError, match=f"^{message}"):
        client.delete_annotation(input_id, annotation_id)
    assert service.calls == []


def test_one_bad_id_at_the_end_of_a_long_call_stops_all_of_it(
    service: OfficialService, client: Client
) -> None:
    input_ids = [f"photo-{n}" for n in range(1000)]
    with pytest.raises(IdError, match=r"annotation_ids\[999\]"):
        client.delete_annotations(input_ids, [*input_ids[:-1], ""])
    assert service.calls == []


@pytest.mark.parametrize(
    "empty",
    [[], (), np.array([]), pd.Series([], dtype=float), pl.Series([]), pa.array([], pa.int64())],
    ids=["list", "tuple", "numpy", "pandas", "polars", "pyarrow"],
)
def test_empty_columns_on_both_sides_send_nothing_and_give_an_empty_report(
    empty: Any, service: OfficialService, client: Client
) -> None:
    reports = [client.delete_annotations(empty, empty), client.delete_input_annotations(empty)]
    assert [(report.requested, report.ok, len(report.failures)) for report in reports] == [(0, True, 0)] * 2
    assert service.calls == []


def test_one_iterator_for_both_columns_is_refused_for_it_can_be_read_once(
    service: OfficialService, client: Client
) -> None:
    ids = iter(["p", "q"])
    with pytest.raises(IdError, match="2 input_ids but 0 annotation_ids"):
        client.delete_annotations(ids, ids)
    assert service.calls == []


def test_what_an_iterable_raises_comes_out_and_nothing_is_sent(
    service: OfficialService, client: Client
) -> None:
    with pytest.raises(ZeroDivisionError):
        client.delete_input_annotations(str(1 // n) for n in (1, 0))
    assert service.calls == []


def test_an_array_of_numbers_is_no_column_of_ids(service: OfficialService, client: Client) -> None:
    with pytest.raises(IdTypeError, match=r"input_ids\[0\] is of type int"):
        client.delete_input_annotations(array.array("i", [1, 2]))  # type: ignore[arg-type]
    assert service.calls == []


ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: text.strip() != "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=random_cases.cases(50))
@given(
    pairs=st.lists(st.tuples(ids, ids), min_size=1, max_size=40),
    how=st.sampled_from([list, pa.array, pl.Series]),
)
def test_what_is_sent_is_what_was_named_each_pair_once_with_its_own_partner(
    pairs: list[tuple[str, str]], how: Callable[[list[str]], Any], service: OfficialService
) -> None:
    service.calls.clear()
    settings = {"user_id": "me", "app_id": "cats", "pat": "key", "base_url": service.base_url}
    with Client(**settings, requests_per_second=None) as client:  # type: ignore[arg-type]
        client.delete_annotations(how([pair[0] for pair in pairs]), how([pair[1] for pair in pairs]))
    sent = [
        pair for call in service.calls for pair in zip(call.message.input_ids, call.message.ids, strict=True)
    ]
    assert sent == list(dict.fromkeys(pairs))
