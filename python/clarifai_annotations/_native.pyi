"""The native half of clarifai_annotations: the reference of what it offers."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path as _PathOfFile
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, final, overload, type_check_only

from typing_extensions import Self

from ._client import Client
from ._types import IdColumn, OnFailure, Path, ProgressCallback, RequestsPerSecond

_Result = TypeVar("_Result", covariant=True)

@type_check_only
class CallFuture(Protocol[_Result]):
    """A call under way. Only a coroutine of the running event loop may await it."""

    def __await__(self) -> Generator[Any, None, _Result]: ...

__all__ = [
    "FILE_DESCRIPTOR_SET",
    "Backup",
    "DeleteReport",
    "Emulator",
    "Failure",
    "Failures",
    "Fault",
    "NativeClient",
    "NativePlan",
    "ParquetRows",
    "PlannedAnnotation",
    "PlannedAnnotations",
    "Progress",
    "RecordedRequest",
    "RestoreReport",
    "StoredAnnotation",
    "__version__",
    "annotation_from_json",
    "delete_annotation",
    "delete_annotation_async",
    "delete_annotations",
    "delete_annotations_async",
    "delete_input_annotations",
    "delete_input_annotations_async",
    "execute_plan",
    "execute_plan_async",
    "fold_backup",
    "fold_journal",
    "journal_status",
    "live_tasks",
    "open_backup",
    "parquet_rows",
    "plan_deletion",
    "plan_deletion_async",
    "plan_input_deletion",
    "plan_input_deletion_async",
    "restore_annotations",
    "restore_annotations_async",
    "shared_client",
]

__version__: str
FILE_DESCRIPTOR_SET: bytes

def live_tasks() -> int:
    """How many tasks the runtime of this process has: for tests that look for leaked ones."""

_Outcome: TypeAlias = Literal["absent", "present", "failed", "unknown", "unsent"]

@final
class NativeClient:
    """What is behind a `clarifai_annotations.Client`."""

    def __new__(
        cls,
        user_id: str | None,
        app_id: str | None,
        pat: str | None,
        session_token: str | None,
        base_url: str | None,
        root_certificates_path: Path | None,
        requests_per_second: RequestsPerSecond,
        shared_rate_limit: bool,
        is_part_of_rate: bool,
        batch_size: int,
        max_in_flight: int,
        request_timeout: float,
        max_attempts: int,
        cancel_grace: float,
    ) -> Self: ...
    @property
    def user_id(self) -> str: ...
    @property
    def app_id(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    def for_app(self, app_id: str, user_id: str | None) -> NativeClient: ...
    def close(self) -> None: ...
    def picklable_settings(self) -> dict[str, Any]: ...
    def described_settings(self) -> str: ...

def shared_client() -> NativeClient: ...
def delete_annotation(
    client: NativeClient,
    input_id: str,
    annotation_id: str,
    missing_ok: bool,
    timeout: float | None,
    look_first: bool,
) -> None: ...
def delete_annotation_async(
    client: NativeClient,
    input_id: str,
    annotation_id: str,
    missing_ok: bool,
    timeout: float | None,
    look_first: bool,
) -> CallFuture[None]: ...
def delete_annotations(
    client: NativeClient,
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    missing_ok: bool,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    backup: Path | tuple[Path, bool] | None,
    journal: Path | tuple[Path, int] | tuple[Path, int, int] | None,
    max_deletions: int | None,
    look_first: bool,
) -> DeleteReport: ...
def delete_annotations_async(
    client: NativeClient,
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    missing_ok: bool,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    backup: Path | tuple[Path, bool] | None,
    journal: Path | tuple[Path, int] | tuple[Path, int, int] | None,
    max_deletions: int | None,
    look_first: bool,
) -> CallFuture[DeleteReport]: ...
def delete_input_annotations(
    client: NativeClient,
    input_ids: IdColumn,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    backup: Path | tuple[Path, bool] | None,
    journal: Path | tuple[Path, int] | tuple[Path, int, int] | None,
    max_deletions: int | None,
    look_first: bool,
) -> DeleteReport: ...
def delete_input_annotations_async(
    client: NativeClient,
    input_ids: IdColumn,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    backup: Path | tuple[Path, bool] | None,
    journal: Path | tuple[Path, int] | tuple[Path, int, int] | None,
    max_deletions: int | None,
    look_first: bool,
) -> CallFuture[DeleteReport]: ...
def plan_deletion(
    client: NativeClient,
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    progress: ProgressCallback,
    timeout: float | None,
) -> NativePlan: ...
def plan_deletion_async(
    client: NativeClient,
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    progress: ProgressCallback,
    timeout: float | None,
) -> CallFuture[NativePlan]: ...
def plan_input_deletion(
    client: NativeClient,
    input_ids: IdColumn,
    max_deletions: int | None,
    progress: ProgressCallback,
    timeout: float | None,
) -> NativePlan: ...
def plan_input_deletion_async(
    client: NativeClient,
    input_ids: IdColumn,
    max_deletions: int | None,
    progress: ProgressCallback,
    timeout: float | None,
) -> CallFuture[NativePlan]: ...
def execute_plan(
    client: NativeClient,
    plan: NativePlan,
    missing_ok: bool,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    backup: Path | tuple[Path, bool] | None,
    journal: Path | tuple[Path, int] | tuple[Path, int, int] | None,
    max_deletions: int | None,
    look_first: bool,
) -> DeleteReport: ...
def execute_plan_async(
    client: NativeClient,
    plan: NativePlan,
    missing_ok: bool,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    backup: Path | tuple[Path, bool] | None,
    journal: Path | tuple[Path, int] | tuple[Path, int, int] | None,
    max_deletions: int | None,
    look_first: bool,
) -> CallFuture[DeleteReport]: ...
def restore_annotations(
    client: NativeClient,
    backup: Path,
    input_ids: IdColumn | None,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    as_caller: bool,
) -> RestoreReport: ...
def restore_annotations_async(
    client: NativeClient,
    backup: Path,
    input_ids: IdColumn | None,
    on_failure: OnFailure,
    progress: ProgressCallback,
    timeout: float | None,
    as_caller: bool,
) -> CallFuture[RestoreReport]: ...

@final
class NativePlan:
    """What is behind a `clarifai_annotations.DeletionPlan`."""

    @property
    def user_id(self) -> str: ...
    @property
    def app_id(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def requested(self) -> int: ...
    @property
    def deletions(self) -> int: ...
    @property
    def absent(self) -> int: ...
    @property
    def spared(self) -> int: ...
    @property
    def respelled(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def elapsed(self) -> float: ...
    @property
    def annotations(self) -> PlannedAnnotations: ...
    def save(self, path: Path) -> None: ...
    @staticmethod
    def load(path: Path) -> NativePlan: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(saved: bytes) -> NativePlan: ...
    def check_client(self, client: NativeClient) -> None: ...
    def _repr_html_(self) -> str: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Backup:
    """A backup that can be read. See `open_backup`.

    It exports all its rows as an Arrow stream: ``polars.DataFrame(backup)``, ``pyarrow.table(backup)``.
    """

    @property
    def path(self) -> _PathOfFile:
        """Path of the Parquet file."""

    def count_by_app(self) -> dict[tuple[str, str], int]:
        """Count the rows of each app. Reads the whole backup.

        Returns:
            The number of rows by user ID and app ID. An annotation that was saved twice counts twice.

        Raises:
            BackupError: The backup is damaged.

        """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export all rows as an Arrow stream, as they are in the files now.

        Its columns: ``user_id``, ``app_id``, ``input_id``, ``annotation_id``, ``created_at``, ``status``,
        ``input_level``, and ``annotation``, a serialized ``clarifai.api.Annotation``.
        """

def open_backup(path: Path) -> Backup:
    """Open a backup to read it.

    A backup is a Parquet file, and any program that reads Parquet reads it. While a call with this backup
    runs, or after a crash, a part of it is in logs beside the file (``PATH.1.log`` and so on): what this
    function gives has the rows of both, up to the last sync.

    Args:
        path: Path of the file that ``backup=`` of a deletion names.

    Returns:
        The backup, which exports its rows as an Arrow stream.

    Raises:
        BackupError: The file cannot be read, or is no backup.

    Example:
        >>> import polars
        >>> polars.DataFrame(open_backup("doubtful.parquet"))

    """

def journal_status(path: Path) -> str:
    """Tell how far the calls of a journal are, as a JSON array of an object a part.

    It can be called at any time: while the calls run, after they were killed, and from any process.

    Args:
        path: The journal.

    Returns:
        JSON: for each part ``part``, ``operation``, ``user_id``, ``app_id``, ``base_url``, ``requested``,
        ``run_requested``, the counts of the outcomes, ``started_at``, ``finished_at``, ``is_running`` and ``restored_at``.

    Raises:
        JournalError: There is no such journal, or it cannot be read.

    Example:
        >>> parts = json.loads(journal_status("run.journal"))

    """

def fold_backup(path: Path, *, timeout: float | None = None) -> None:
    """Fold the logs that calls with ``backup=(path, False)`` left, or that were killed, into the file of their backup.

    Args:
        path: The backup. Nothing happens where there are no logs.
        timeout: Seconds after which it is given up; ``None`` for no limit.

    Raises:
        BackupError: The file cannot be written, a call is writing it, or ``timeout`` is over. What was saved stays in the logs.
        DeadlineError: The disk does not answer either.
        KeyboardInterrupt: Ctrl-C. The logs are there then.

    Example:
        >>> fold_backup("doubtful.parquet")

    """

def fold_journal(path: Path, *, timeout: float | None = None) -> None:
    """Fold the logs of calls that were made with ``journal=(path, part, run_requested)``, or were killed, into their journal.

    Args:
        path: The journal.
        timeout: Seconds after which it is given up; ``None`` for no limit.

    Raises:
        JournalError: The journal cannot be replaced, or ``timeout`` is over. The logs are there then, for the next call.
        DeadlineError: The disk does not answer either.
        KeyboardInterrupt: Ctrl-C. So they are then.

    Example:
        >>> fold_journal("run.journal")

    """

@final
class ParquetRows:
    """See `parquet_rows`."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[str | None, ...]: ...
    @property
    def column_names(self) -> list[str]:
        """All columns of the file, also those that are not read."""

def parquet_rows(path: Path, columns: list[str]) -> ParquetRows:
    """Read columns of strings of a Parquet file, row by row.

    Args:
        path: The file.
        columns: The names of the columns.

    Returns:
        An iterator of tuples, a value a column: a ``str``, or ``None`` for a null. It reads some thousand
        rows at a time.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is no Parquet file, a column is not there or not of strings, or a value is not text.

    Example:
        >>> for input_id, annotation_id in parquet_rows("doubtful.parquet", ["input_id", "annotation_id"]):
        ...     print(input_id, annotation_id)

    """

@final
class DeleteReport:
    """What became of every ID of a call for many.

    ``deleted``, ``absent``, ``failed``, ``unknown`` and ``unsent`` add up to ``requested``.
    Can be pickled. In a notebook it is a table. It exports what is not deleted as an Arrow stream,
    a row an ID: ``polars.DataFrame(report)``, ``pyarrow.table(report)``.
    """

    @property
    def requested(self) -> int:
        """Different IDs that the call named: pairs, or inputs."""

    @property
    def deleted(self) -> int:
        """Confirmed by the service; or sent without a clear answer, and a list shows them gone.

        The service may confirm the deletion of what was not there: `look_first` tells.
        """

    @property
    def absent(self) -> int:
        """A list shows that they are not there; the service had refused the request, or it was not sent."""

    @property
    def failed(self) -> int:
        """There still, and the service refuses to delete them; or to list them, where they are to be saved."""

    @property
    def unknown(self) -> int:
        """Sent, and what became of them could not be found out."""

    @property
    def unsent(self) -> int:
        """Never sent: the run was stopped first."""

    @property
    def duplicates(self) -> int:
        """Mentions that repeat an earlier one. They were sent once and count once above."""

    @property
    def requests(self) -> int:
        """Requests sent: deletions and lists, first attempts and later ones."""

    @property
    def retries(self) -> int:
        """Of these, the ones that repeat something that failed."""

    @property
    def throttled(self) -> int:
        """Of these, the ones that the service answered with "too many requests"."""

    @property
    def elapsed(self) -> float:
        """Seconds that the run took."""

    @property
    def from_journal(self) -> int:
        """IDs that an earlier run of the call deleted or found absent, by its journal. Nothing was sent for them.

        They are counted in ``deleted`` and ``absent`` too.
        """

    @property
    def finished_at(self) -> datetime | None:
        """When an earlier run finished the call, by its journal: nothing was sent. ``None`` where this run had to do something."""

    @property
    def ok(self) -> bool:
        """Whether everything is deleted; with ``missing_ok``, or absent."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of the run, although it is no failure: each a sentence.

        Answers with a code of success other than SUCCESS (10001, 10002, 10070); annotations of models that came
        without data where a copy was kept; and what stopped the run when everything was deleted, such as a journal
        that could not be completed.
        """
    @property
    def failures(self) -> Failures:
        """Every ID that is not deleted, in the call's order."""

    def _repr_html_(self) -> str: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __reduce__(self) -> tuple[Any, tuple[bytes]]: ...

@final
class RestoreReport:
    """What became of every annotation of a backup.

    ``restored``, ``present``, ``failed``, ``unknown`` and ``unsent`` add up to ``requested``. Can be
    pickled. In a notebook it is a table. It exports what was not restored as an Arrow stream, a row
    an annotation.
    """

    @property
    def requested(self) -> int:
        """Different annotations that the backup holds, of this app and of the inputs that were named."""

    @property
    def restored(self) -> int:
        """Posted: the service confirmed it, or a list shows them there."""

    @property
    def present(self) -> int:
        """There already, and left alone."""

    @property
    def failed(self) -> int:
        """Not there, and the service refuses to take them."""

    @property
    def unknown(self) -> int:
        """Sent, and what became of them could not be found out."""

    @property
    def unsent(self) -> int:
        """Never sent: the run was stopped first."""

    @property
    def duplicates(self) -> int:
        """Rows of the backup that a later one of the same annotation replaces."""

    @property
    def requests(self) -> int:
        """Requests sent: posts and lists, first attempts and later ones."""

    @property
    def retries(self) -> int:
        """Of these, the ones that repeat something that failed."""

    @property
    def throttled(self) -> int:
        """Of these, the ones that the service answered with "too many requests"."""

    @property
    def elapsed(self) -> float:
        """Seconds that the run took."""

    @property
    def ok(self) -> bool:
        """Whether everything is there: restored, or present."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of the run, although it is no failure: each a sentence.

        Answers with a code of success other than SUCCESS (10001, 10002, 10070).
        """
    @property
    def failures(self) -> Failures:
        """Every ID that is not restored, in the call's order."""

    def _repr_html_(self) -> str: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __reduce__(self) -> tuple[Any, tuple[bytes]]: ...

@final
class PlannedAnnotations:
    """A sequence of the rows of a plan, in the call's order."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> PlannedAnnotation: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[PlannedAnnotation]: ...
    def __iter__(self) -> Iterator[PlannedAnnotation]: ...

@final
class PlannedAnnotation:
    """What a plan would do with an annotation."""

    @property
    def action(self) -> Literal["delete", "absent", "spared", "respelled"]:
        """``"delete"``, ``"absent"``, ``"spared"`` or ``"respelled"``."""

    @property
    def input_id(self) -> str:
        """The input."""

    @property
    def annotation_id(self) -> str | None:
        """The annotation; ``None`` for an input of which nothing is there."""

    @property
    def creator(self) -> str | None:
        """Who made it; ``None`` where the service does not say.

        The ID of a user, of a model's version or of a workflow.
        """

    @property
    def status(self) -> str | None:
        """The name of its status, for example ``"ANNOTATION_SUCCESS"``; ``None`` where there is none."""

    @property
    def created_at(self) -> datetime | None:
        """When it was made, in UTC; ``None`` where the service does not say."""

    @property
    def made_by_model(self) -> bool | None:
        """Whether a model or a workflow made it, rather than a user; ``None`` where nothing is there."""

@final
class Progress:
    """How far a call for many is.

    ``deleted``, ``absent``, ``restored``, ``present``, ``failed``, ``unknown`` and ``unsent`` add up to
    ``requested``. What was turned away and is tried again may count as failed or unsent for a while; a
    plan sends nothing that deletes, so that all stays unsent while ``done`` grows.
    """

    @property
    def requested(self) -> int:
        """Different IDs that the call named: pairs, or inputs."""

    @property
    def done(self) -> int:
        """IDs with an outcome: deleted, absent, restored, present or failed; of a plan those looked up."""

    @property
    def deleted(self) -> int:
        """Deleted so far."""

    @property
    def absent(self) -> int:
        """Not there."""

    @property
    def restored(self) -> int:
        """Posted back so far, by a restoration."""

    @property
    def present(self) -> int:
        """There already, and left alone by a restoration."""

    @property
    def failed(self) -> int:
        """Refused so far."""

    @property
    def unknown(self) -> int:
        """Under way, or without a clear answer yet."""

    @property
    def unsent(self) -> int:
        """Not sent yet."""

    @property
    def requests(self) -> int:
        """Requests so far."""

    @property
    def retries(self) -> int:
        """Of these, the ones that repeat something that failed."""

    @property
    def throttled(self) -> int:
        """Of these, the ones that the service answered with "too many requests"."""

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""

    @property
    def rate(self) -> float:
        """IDs done in a second, on average."""

    @property
    def time_left(self) -> float | None:
        """Seconds that the rest will take at this rate; ``None`` before anything is done."""

    @property
    def finished(self) -> bool:
        """Whether the call has ended: then this is the last."""

@final
class Failures:
    """A sequence of every ID that is not deleted, in the call's order."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: int, /) -> Failure: ...
    @overload
    def __getitem__(self, key: slice, /) -> list[Failure]: ...
    def __iter__(self) -> Iterator[Failure]: ...

@final
class Failure:
    """An ID that is not deleted, and why."""

    @property
    def position(self) -> int:
        """Where the call named it first, from 0."""

    @property
    def input_id(self) -> str:
        """The input."""

    @property
    def annotation_id(self) -> str | None:
        """The annotation; ``None`` where the call was for whole inputs."""

    @property
    def outcome(self) -> _Outcome:
        """What became of it."""

    @property
    def code(self) -> int:
        """The service's status code, or the gRPC status; 0 where no answer came."""

    @property
    def name(self) -> str:
        """The code's name; empty where no answer came."""

    @property
    def message(self) -> str:
        """What happened, in a sentence."""

    @property
    def request_id(self) -> str:
        """What identifies the request to Clarifai's support; empty where the service gave none."""

@final
class Emulator:
    """An annotation service on the loopback interface of this machine, on threads of this process.

    It speaks gRPC and REST on one port. It runs from when it is made until `stop`, or the end of
    its ``with`` block. Unless told otherwise it accepts any key, user and app, knows no quota, and
    answers at once. One seed gives the same faults for the same requests, in whatever order they
    race in.

    Args:
        tls: Whether to speak TLS, with a certificate of a throw-away authority for ``localhost``,
            ``127.0.0.1`` and ``::1``.
        requests_per_second: What a user may send; ``None`` for no limit. Over it, the answer is
            CONN_THROTTLED.
        quota: How the second is counted: ``"rolling"`` wherever it begins; ``"fixed"`` from its
            first request; ``"bucket"`` with tokens that come back evenly.
        halt: Seconds for which everything is refused once the quota was exceeded.
        latency: Seconds that a request takes on its way in, before it is counted and applied; a
            pair of the least and the most for a time that varies.
        latency_back: Seconds that an answer takes on its way back, likewise.
        seed: What chance is made of.
        pats: The keys that are accepted: an iterable of them, or a mapping of each to its scopes
            (``None`` for all). A method needs all of its scopes, as in Clarifai's API: every one
            needs ``Apps_Get``, ``Inputs_Get``, ``Annotations_Get`` and ``Models_Get``; get and list
            also ``Concepts_Get``; post also ``Concepts_Get``, ``Annotations_Add`` and
            ``Workflows_Get``; deletions also ``Annotations_Add``, ``Annotations_Delete`` and
            ``Workflows_Get``. Without, the answer is CONN_INSUFFICIENT_SCOPES. Session tokens are
            held against the same keys. ``None`` accepts any.
        apps: The apps that there are, as pairs of user ID and app ID; ``None`` for any that is named.
        users: The users that keys belong to, by key. ``"me"`` in a request of such a key means its
            user. In somebody else's app such a user deletes only their own annotations, by the
            worker or the deprecated user ID; others are refused with ANNOTATION_PERMISSION_DENIED.
            What such a key posts without an author gets its user as the worker. The quota counts by
            its user. A key that is not here belongs to the owner of the app that it is used for.
            User IDs are the same in upper and lower case.
        missing_pair: What becomes of a batch that names a pair, or an input to delete all of, which
            is not there: it is passed over and the answer is SUCCESS (``"success"``); the batch is
            refused whole (``"refused"``); the rest is deleted and the answer is MIXED_STATUS
            (``"mixed"``) or FAILURE (``"failure"``). ``None`` for ``"success"``.
        refused_pair: What becomes of a batch that names one which is there and may not be deleted:
            locked, input-level, or somebody else's. ``"refused"``, ``"mixed"`` or ``"failure"``;
            ``None`` for the same as ``missing_pair``, and ``"refused"`` where that is ``"success"``.
        missing_single: How the deletion of one that is not there is answered: with SUCCESS
            (``"success"``), the status CONN_DOES_NOT_EXIST (``"status"``) or the gRPC status
            NOT_FOUND (``"grpc"``). ``None`` for ``"success"``.
        missing_input: How a list that names an input which is not there is answered: with nothing
            of that input (``"empty"``), or refused with CONN_DOES_NOT_EXIST (``"does_not_exist"``)
            or INPUT_DOES_NOT_EXIST (``"input_does_not_exist"``). A deletion or a post that is
            refused for its input gets the same code, and INPUT_DOES_NOT_EXIST with ``"empty"``.
        foreign_post: What becomes of an annotation that a user posts in another's name, in an app
            that is not their own: ``"refused"`` with ANNOTATION_PERMISSION_DENIED, or stored as the
            poster's (``"owned"``).
        max_message_bytes: The most bytes in a request and in an answer; ``None`` for no limit. Over
            it, the answer is gRPC's RESOURCE_EXHAUSTED, and over REST RPC_MAX_MESSAGE_SIZE_EXCEEDED
            with HTTP's 413. A deletion or a post whose answer is too large is applied.
        success_code: The code that every success is answered with: 10000 (SUCCESS), 10001 and 10002
            (deprecation warnings) or 10070 (ACCEPTED).
        visible_after: Seconds for which lists show what is deleted.
        fault_rates: Faults at random, each with the share of requests that it befalls.
        port: The port to listen on; 0 for a free one.

    Raises:
        OSError: The port is taken.
        ValueError: An option is not valid.

    Example:
        >>> with Emulator(requests_per_second=15, latency=0.05) as emulator:
        ...     emulator.add_annotation("photo-1", "box-7")
        ...     emulator.client().delete_annotation("photo-1", "box-7")

    """

    def __new__(
        cls,
        *,
        tls: bool = False,
        requests_per_second: int | None = None,
        quota: Literal["rolling", "fixed", "bucket"] = "rolling",
        halt: float = 0.0,
        latency: float | tuple[float, float] = 0.0,
        latency_back: float | tuple[float, float] = 0.0,
        seed: int = 0,
        pats: Iterable[str] | Mapping[str, Iterable[str] | None] | None = None,
        apps: Iterable[tuple[str, str]] | None = None,
        users: Mapping[str, str] | None = None,
        missing_pair: Literal["success", "refused", "mixed", "failure"] | None = None,
        refused_pair: Literal["refused", "mixed", "failure"] | None = None,
        missing_single: Literal["success", "status", "grpc"] | None = None,
        missing_input: Literal["empty", "does_not_exist", "input_does_not_exist"] = "empty",
        foreign_post: Literal["refused", "owned"] = "refused",
        visible_after: float = 0.0,
        max_message_bytes: int | None = 10485760,
        success_code: int = 10000,
        fault_rates: Mapping[Fault, float] | None = None,
        port: int = 0,
    ) -> Self: ...
    @property
    def base_url(self) -> str:
        """Where it listens, for example ``http://127.0.0.1:43121``; ``https://`` with ``tls``."""

    @property
    def root_certificates_path(self) -> _PathOfFile | None:
        """The file of its certificate authority, with ``tls``. It goes with the emulator."""

    def add_input(
        self, input_id: str, *, user_id: str = "emulator-user", app_id: str = "emulator-app"
    ) -> None:
        """Add an input, with the input-level annotation that every input has.

        Args:
            input_id: Its ID.
            user_id: Owner of the app.
            app_id: The app.

        Raises:
            ValueError: The input is there already, or an ID is empty.

        """

    def add_annotation(
        self,
        input_id: str,
        annotation_id: str,
        *,
        user_id: str = "emulator-user",
        app_id: str = "emulator-app",
        message: bytes | None = None,
    ) -> None:
        """Add an annotation, and its input where that is not there yet.

        Args:
            input_id: ID of its input.
            annotation_id: Its own ID.
            user_id: Owner of the app.
            app_id: The app.
            message: A serialized ``clarifai.api.Annotation``, kept byte for byte; the two IDs are
                appended where it lacks them. ``None`` for one with nothing but its IDs.

        Raises:
            ValueError: The annotation is there already, an ID is empty, or ``message`` cannot be
                parsed or says other IDs.

        """

    def annotations(self, *, user_id: str | None = None, app_id: str | None = None) -> list[StoredAnnotation]:
        """Tell what is there, app by app, oldest first.

        Args:
            user_id: Only this user's apps.
            app_id: Only apps of this name.

        """

    @property
    def requests(self) -> list[RecordedRequest]:
        """The latest requests it saw, oldest first: 100,000 at most, and 1,000,000 IDs."""

    def clear_requests(self) -> None:
        """Forget the requests it saw."""

    def inject(self, *faults: Fault) -> None:
        """Put faults in line.

        Each befalls the next request that it is meant for, once all before it have struck.

        Args:
            faults: In the order in which they are to strike.

        Example:
            >>> emulator.inject(Fault.throttled(), Fault.dropped_after().on("DeleteAnnotations"))

        """

    def lock(
        self,
        input_id: str,
        annotation_id: str,
        *,
        user_id: str = "emulator-user",
        app_id: str = "emulator-app",
    ) -> None:
        """Refuse for ever to delete an annotation, with ANNOTATION_PERMISSION_DENIED.

        Args:
            input_id: ID of its input.
            annotation_id: Its own ID.
            user_id: Owner of the app.
            app_id: The app.

        """

    def suspend(self) -> None:
        """Be gone: stop listening and cut off every connection, until `resume`.

        Raises:
            OSError: It was stopped.

        """

    def resume(self) -> None:
        """Be back, on the same port.

        Raises:
            OSError: It was stopped, or another program has the port now.

        """

    def client(self, **settings: Any) -> Client:
        """Make a client of this emulator, at the rate of its quota.

        Args:
            settings: Those of `Client`, to differ from what fits.

        Raises:
            ConfigurationError: A setting is not valid.

        """

    def stop(self) -> None:
        """Stop serving and close every connection. What was stored stays to be looked at."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Fault:
    """Something that goes wrong with a request.

    Example:
        >>> Fault.status(24156).on("DeleteAnnotations")
        <Fault status(24156) on DeleteAnnotations>

    """

    @staticmethod
    def none() -> Fault:
        """Let a request through: for a plan that begins later."""

    @staticmethod
    def throttled() -> Fault:
        """Refuse it as one too many."""

    @staticmethod
    def status(code: int, applied: bool = False) -> Fault:
        """Refuse it with a status code of Clarifai's, for example 10030.

        Args:
            code: The status code.
            applied: Whether the request is carried out first: an ambiguous failure, such as 40031.

        """

    @staticmethod
    def grpc(code: int) -> Fault:
        """Refuse it with a gRPC status code, 1 to 16."""

    @staticmethod
    def dropped_before() -> Fault:
        """Drop its connection before it is applied."""

    @staticmethod
    def dropped_after() -> Fault:
        """Apply it, then drop its connection: the answer is lost."""

    @staticmethod
    def delayed(seconds: float) -> Fault:
        """Apply it and answer so much later."""

    @staticmethod
    def unanswered() -> Fault:
        """Apply it and never answer."""

    @staticmethod
    def partial(first: int) -> Fault:
        """Apply the first so many of its pairs or inputs, then fail with INTERNAL_UNCATEGORIZED."""

    @staticmethod
    def goaway() -> Fault:
        """Serve it, and let its connection take no further one (HTTP/2's GOAWAY)."""

    def on(self, *methods: str) -> Fault:
        """Make it befall only some methods, for example ``"DeleteAnnotations"``.

        Raises:
            ValueError: The emulator plays no such method.

        """

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class StoredAnnotation:
    """An annotation that the emulator holds."""

    @property
    def user_id(self) -> str:
        """Owner of its app."""

    @property
    def app_id(self) -> str:
        """Its app."""

    @property
    def input_id(self) -> str:
        """Its input."""

    @property
    def annotation_id(self) -> str:
        """Its own ID."""

    @property
    def input_level(self) -> bool:
        """Whether it belongs to the input itself, and goes only with it."""

    @property
    def message(self) -> bytes:
        """The serialized ``clarifai.api.Annotation``, as it was given."""

@final
class RecordedRequest:
    """A request that the emulator saw."""

    @property
    def method(self) -> str:
        """The method's name, for example ``"DeleteAnnotations"``."""

    @property
    def user_id(self) -> str:
        """The user that it names."""

    @property
    def app_id(self) -> str:
        """The app that it names."""

    @property
    def input_ids(self) -> list[str]:
        """The input IDs that it names."""

    @property
    def ids(self) -> list[str]:
        """The annotation IDs that it names."""

    @property
    def metadata(self) -> dict[str, str]:
        """Its metadata. Of a credential only its kind is kept."""

    @property
    def code(self) -> int:
        """The status code that it was answered with, or the gRPC status; 0 where no answer was sent."""

    @property
    def name(self) -> str:
        """That code's name; empty where no answer was sent."""

    @property
    def fault(self) -> str | None:
        """The fault that befell it, for example ``"dropped_after"``."""

    @property
    def applied(self) -> int:
        """How many annotations it deleted or added."""

def annotation_from_json(json: str) -> bytes:
    """Serialize an annotation that is given as JSON, as in the body of a REST post.

    Args:
        json: An object with the proto's field names, snake_case or camelCase.

    Returns:
        A serialized ``clarifai.api.Annotation``.

    Raises:
        ValueError: It is not JSON, or has a field that annotations have not.

    Example:
        >>> message = annotation_from_json('{"data": {"concepts": [{"id": "cat", "value": 1}]}}')
        >>> emulator.add_annotation("photo-1", "label-1", message=message)

    """
