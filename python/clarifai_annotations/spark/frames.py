"""Frames of IDs: what a frame must be like, so that each of its rows names something that can be deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import CharType, DataType, StringType, VarcharType

from .._columns import names_annotations
from ..errors import IdError, IdTypeError

WHITE_SPACE = r"(?U)^\s+$"
"""Unicode's white space, as the core has it (``src/ids.rs``), in Java's words."""


def check_columns(frame: Any, columns: Sequence[str]) -> None:
    """Refuse what is not a frame with columns of strings by these names.

    Raises:
        IdError: A column is not there, or is named twice.
        IdTypeError: It is not a Spark DataFrame, it is a stream, or a column is of another type.

    """
    if not callable(getattr(frame, "mapInArrow", None)):
        raise IdTypeError(
            f"df is {type(frame).__module__}.{type(frame).__qualname__}, not a Spark DataFrame: turn it into one by "
            "spark.createDataFrame(df), or .to_spark() for pandas on Spark. Nothing was sent"
        )
    if frame.isStreaming:
        raise IdTypeError("df is a stream, which has no end: delete inside foreachBatch. Nothing was sent")
    if len(set(columns)) < len(columns):
        raise IdError(f"column {columns[0]!r} is named for both IDs: each has its own. Nothing was sent")
    for name in columns:
        found = [field for field in frame.schema.fields if field.name == name]
        if len(found) != 1:
            there = ", ".join(repr(field.name) for field in frame.schema.fields)
            raise IdError(
                f"df has {len(found)} columns {name!r}, not one: it has {there}. Say which has the IDs by "
                "input_column= and annotation_column=. Nothing was sent"
            )
        if not is_text(found[0].dataType):
            raise IdTypeError(
                f"column {name!r} is of type {found[0].dataType.simpleString()}, not a string: "
                f'convert it first, by .withColumn("{name}", F.col("{name}").cast("string")). Nothing was sent'
            )


def refuse_annotations(frame: DataFrame, input_column: str) -> None:
    """Refuse a frame of inputs that names annotations too.

    Raises:
        IdError: It has a column of annotations.

    """
    others = [name for name in frame.columns if name != input_column and names_annotations(name)]
    if others:
        columns = " and ".join(map(repr, [input_column, *others]))
        raise IdError(
            f"df has the columns {columns}, so it seems to name annotations, and delete_input_annotations deletes every "
            "annotation on the inputs. For the annotations that it names, call delete_annotations. For everything on "
            f'these inputs, pass their column alone: df.select("{input_column}"). Nothing was sent'
        )


def is_text(kind: DataType) -> bool:
    """Tell whether a column of this type holds strings."""
    return isinstance(kind, (StringType, CharType, VarcharType))


def check_ids(rows: DataFrame, columns: dict[str, str]) -> tuple[int, int]:
    """Refuse rows with an ID that names nothing; all of the frame is looked at.

    Args:
        rows: The snapshot of a frame.
        columns: What each of its columns is called in the frame.

    Returns:
        How many rows there are, and how many different ones.

    Raises:
        IdError: An ID is missing, empty or blank. It tells how many are, and names one.

    """
    faults = {
        (name, fault): is_faulty
        for name in columns
        for fault, is_faulty in (
            ("missing (null)", F.col(name).isNull()),
            ("an empty string", F.col(name) == ""),
            ("blank (only white space)", F.col(name).rlike(WHITE_SPACE)),
            ("not valid Unicode", F.encode(name, "UTF-8") != F.col(name).cast("binary")),
        )
    }
    every = F.struct(*columns)
    counts: list[Column] = [F.count(F.when(is_faulty, 1)) for is_faulty in faults.values()]
    examples = [F.first(F.when(is_faulty, every), ignorenulls=True) for is_faulty in faults.values()]
    row = rows.agg(F.count(F.lit(1)), F.count_distinct(every), *counts, *examples).first()
    assert row is not None
    total, distinct, found = row[0], row[1], row[2:]
    for (name, fault), count, example in zip(faults, found, found[len(faults) :], strict=False):
        if count:
            rows_are = f"{count:,} rows" if count > 1 else "1 row"
            raise IdError(
                f"in {rows_are} of {total:,}, {columns[name]!r} is {fault}{_partner(example, name, columns)}: every ID "
                f'must name something. Drop such rows, by df.where(F.trim("{columns[name]}") != ""). Nothing was sent'
            )
    return total, distinct


def _partner(example: Row, name: str, columns: dict[str, str]) -> str:
    """Name a faulty row by its other ID."""
    others = [
        f"{columns[other]!r} is {example[other]!r}" for other in columns if other != name and example[other]
    ]
    return f", one where {others[0]}" if others else ""
