"""The types of parameters that several functions take. For type checkers alone: their modules take their time to load."""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Literal, Protocol, TypeAlias

from ._native import Progress


class ArrowStream(Protocol):
    """Anything that exports a table or a column as an Arrow stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class ArrowArray(Protocol):
    """Anything that exports a column as an Arrow array."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...


# A bare str is an iterable of str too; it is refused at run time.
IdColumn: TypeAlias = Iterable[str] | ArrowStream | ArrowArray
"""A list, tuple or any iterable of `str`, a numpy array, a pandas Series or Index, or an Arrow string column."""

ProgressCallback: TypeAlias = bool | Callable[[Progress], object]
"""`True` for a bar; a function that is told how far the call is, for awaited calls also a coroutine function."""

Path: TypeAlias = str | PathLike[str]
OnFailure: TypeAlias = Literal["raise", "report"]

RequestsPerSecond: TypeAlias = float | Literal["auto"] | None
"""A number; `"auto"` to find out how many the service allows; `None` for no limit."""
