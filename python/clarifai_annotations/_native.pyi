"""The native half of clarifai_annotations: the reference of what it offers."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias, final, overload, type_check_only

from typing_extensions import Self

__all__ = [
    "FILE_DESCRIPTOR_SET",
    "Backup",
    "Client",
    "DeleteReport",
    "DeletionPlan",
    "Emulator",
    "Failure",
    "Failures",
    "Fault",
    "Inbox",
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
]

__version__: str
FILE_DESCRIPTOR_SET: bytes

def live_tasks() -> int:
    """How many tasks the runtime of this process has: for tests that look for leaked ones."""

@type_check_only
class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@type_check_only
class _ArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

# A column of IDs: a list, tuple or any iterable of str, a numpy array, a pandas Series or Index, or anything
# that exports an Arrow string column. A bare str is one too for a type checker; it is refused at run time.
_IdColumn: TypeAlias = Iterable[str] | _ArrowStream | _ArrowArray
# True shows a bar; a callable is told how far the call is.
_Progress: TypeAlias = bool | Callable[[Progress], object]
_Path: TypeAlias = str | PathLike[str]
_OnFailure: TypeAlias = Literal["raise", "report"]
_Outcome: TypeAlias = Literal["absent", "present", "failed", "unknown", "unsent"]

def delete_annotation(
    input_id: str,
    annotation_id: str,
    *,
    missing_ok: bool = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> None:
    """Delete one annotation.

    One that comes alone is sent at once. Those that come meanwhile, from other threads or tasks,
    share the next requests; each gets its own outcome.

    Args:
        input_id: ID of the input that the annotation is on.
        annotation_id: ID of the annotation.
        missing_ok: Whether an annotation that is not there is as good as a deleted one,
            as in `pathlib.Path.unlink`.
        timeout: Seconds for the whole call, attempts and waits included; ``None`` for no limit. When
            they are over nothing more is sent, and an answer on its way is awaited for two seconds more.
        client: The client to use; ``None`` for the one that the functions share, which is made
            from the environment.

    Raises:
        IdError: An ID is empty, blank or missing. Nothing was sent.
        IdTypeError: An ID is not a string. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
        NotFoundError: The annotation is not there (unless ``missing_ok``), or its app is not.
        AuthenticationError: The service does not accept the credential.
        PermissionDeniedError: The credential may not delete here.
        ThrottledError: Too many requests, at every attempt.
        ApiError: The service refused for another reason.
        TransportError: The service was not reached, or the connection broke.
        DeadlineError: No answer in time.

    Example:
        >>> delete_annotation("photo-1", "box-7", missing_ok=True)

    """

def delete_annotation_async(
    input_id: str,
    annotation_id: str,
    *,
    missing_ok: bool = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> Future[None]:
    """Delete one annotation; the awaitable twin of `delete_annotation`.

    Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
    come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
    `asyncio.CancelledError` comes when an answer on its way is in, two seconds later at most.
    Those that are awaited together share requests, as far as they are for one app.

    Example:
        >>> await delete_annotation_async("photo-1", "box-7")

    """

def delete_annotations(
    input_ids: _IdColumn,
    annotation_ids: _IdColumn,
    *,
    missing_ok: bool = False,
    on_failure: _OnFailure = "raise",
    progress: _Progress = False,
    timeout: float | None = None,
    backup: _Path | None = None,
    journal: _Path | tuple[_Path, int] | None = None,
    max_deletions: int | None = None,
    client: Client | None = None,
) -> DeleteReport:
    """Delete many annotations, each named by its input's ID and its own at the same position.

    The whole call is checked before anything is sent. A repeated pair is sent once. Batches of up
    to 128 go out at the pace of the quota, and one bad batch never stops the others.

    Args:
        input_ids: IDs of the inputs: a list, tuple or any iterable of ``str``, a numpy array, a
            pandas Series or Index, or anything that exports an Arrow string column.
        annotation_ids: IDs of the annotations, as many, in the same order.
        missing_ok: Whether annotations that are not there are no failures.
        on_failure: ``"raise"`` raises when not everything was deleted, after everything was
            attempted; ``"report"`` returns the report.
        progress: ``True`` shows a bar, where tqdm is installed. A callable gets a `Progress` at most ten
            times a second, in the calling thread or the event loop; the last has ``finished`` set.
            An exception that it raises stops the run and is raised.
        timeout: Seconds for the whole call; ``None`` for no limit. When they are over nothing more is
            sent, and answers on their way are awaited for two seconds more.
        backup: Path of a Parquet file: each annotation is listed, written and synced there before it is
            deleted, byte for byte as the service has it, and one that cannot be saved is not deleted. A
            backup that is there is added to. `restore_annotations` posts it back.
        journal: Path of a SQLite file that has each ID with its outcome when the call ends: the same call
            with the same journal goes on where it stopped, whatever ended it. What is deleted or absent
            is not sent again; what was under way is looked up first. ``(path, part)`` for one of several
            calls that share a file, from 0; they may run at once.
        max_deletions: The most annotations that the call may delete: one that names more is refused
            before anything is sent.
        client: The client to use; ``None`` for the one that the functions share.

    Returns:
        What became of every pair. Empty columns send nothing and give an empty report.

    Raises:
        IdError: The columns differ in length, or an ID is empty, blank or missing; ``.index`` is
            the position. Nothing was sent.
        IdTypeError: Something is not a string, or not a column. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
        DeletionLimitError: More would be deleted than ``max_deletions``. Nothing was deleted.
        BackupError: The backup cannot be written. What is not in it was not deleted; ``.report``, if
            the run had begun.
        JournalError: The journal cannot be written, or is of another call. ``.report``, if the run had begun.
        DeletionError: Not everything was deleted; ``.report`` says what became of every pair.
        AuthenticationError: The credential was refused, and the run stopped; ``.report``.
        PermissionDeniedError: A scope is missing, and the run stopped; ``.report``.
        NotFoundError: The user or the app is not there, and the run stopped; ``.report``.
        TransportError: The service cannot be reached, and the run stopped; ``.report``.
        DeadlineError: ``timeout`` is over; ``.report``.
        KeyboardInterrupt: Ctrl-C. Nothing more was sent, answers on their way were awaited for two
            seconds, and the counts are in the log; ``.report``.

    Example:
        >>> report = delete_annotations(["photo-1", "photo-2"], ["box-7", "box-9"])
        >>> report.deleted
        2

    """

def delete_annotations_async(
    input_ids: _IdColumn,
    annotation_ids: _IdColumn,
    *,
    missing_ok: bool = False,
    on_failure: _OnFailure = "raise",
    progress: _Progress = False,
    timeout: float | None = None,
    backup: _Path | None = None,
    journal: _Path | tuple[_Path, int] | None = None,
    max_deletions: int | None = None,
    client: Client | None = None,
) -> Future[DeleteReport]:
    """Delete many annotations in pairs; the awaitable twin of `delete_annotations`.

    Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
    come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
    `asyncio.CancelledError` comes when the answers on their way are in, two seconds later at most,
    and the counts go to the log.

    Example:
        >>> report = await delete_annotations_async(["photo-1"], ["box-7"])

    """

def delete_input_annotations(
    input_ids: _IdColumn,
    *,
    on_failure: _OnFailure = "raise",
    progress: _Progress = False,
    timeout: float | None = None,
    backup: _Path | None = None,
    journal: _Path | tuple[_Path, int] | None = None,
    max_deletions: int | None = None,
    client: Client | None = None,
) -> DeleteReport:
    """Delete every annotation of some inputs, save their input-level ones.

    An input-level annotation goes only with its input. The report counts inputs. With a backup or a
    cap, what is on the inputs is listed and then deleted pair by pair.

    Args:
        input_ids: IDs of the inputs: a list, tuple or any iterable of ``str``, a numpy array, a
            pandas Series or Index, or anything that exports an Arrow string column.
        on_failure: ``"raise"`` raises when not everything was deleted, after everything was
            attempted; ``"report"`` returns the report.
        progress: ``True`` shows a bar, where tqdm is installed. A callable gets a `Progress` at most ten
            times a second, in the calling thread or the event loop; the last has ``finished`` set.
            An exception that it raises stops the run and is raised.
        timeout: Seconds for the whole call; ``None`` for no limit. When they are over nothing more is
            sent, and answers on their way are awaited for two seconds more.
        backup: Path of a Parquet file: each annotation is listed, written and synced there before it is
            deleted, byte for byte as the service has it, and one that cannot be saved is not deleted. A
            backup that is there is added to. `restore_annotations` posts it back.
        journal: Path of a SQLite file that has each ID with its outcome when the call ends: the same call
            with the same journal goes on where it stopped, whatever ended it. What is deleted or absent
            is not sent again; what was under way is sent once more. ``(path, part)`` for one of several
            calls that share a file, from 0; they may run at once.
        max_deletions: The most annotations that may go. All are listed before the first is deleted,
            and what is deleted is what was counted, pair by pair. Beyond it nothing is deleted.
        client: The client to use; ``None`` for the one that the functions share.

    Returns:
        What became of every input. An empty column sends nothing and gives an empty report.

    Raises:
        IdError: An ID is empty, blank or missing; ``.index`` is the position. Nothing was sent.
        IdTypeError: Something is not a string, or not a column. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
        DeletionLimitError: More would be deleted than ``max_deletions``. Nothing was deleted.
        BackupError: The backup cannot be written. What is not in it was not deleted; ``.report``, if
            the run had begun.
        JournalError: The journal cannot be written, or is of another call. ``.report``, if the run had begun.
        DeletionError: Not everything was deleted; ``.report`` says what became of every input.
        AuthenticationError: The credential was refused, and the run stopped; ``.report``.
        PermissionDeniedError: A scope is missing, and the run stopped; ``.report``.
        NotFoundError: The user or the app is not there, and the run stopped; ``.report``.
        TransportError: The service cannot be reached, and the run stopped; ``.report``.
        DeadlineError: ``timeout`` is over; ``.report``.
        KeyboardInterrupt: Ctrl-C. Nothing more was sent, answers on their way were awaited for two
            seconds, and the counts are in the log; ``.report``.

    Example:
        >>> report = delete_input_annotations(["photo-1", "photo-2"])

    """

def delete_input_annotations_async(
    input_ids: _IdColumn,
    *,
    on_failure: _OnFailure = "raise",
    progress: _Progress = False,
    timeout: float | None = None,
    backup: _Path | None = None,
    journal: _Path | tuple[_Path, int] | None = None,
    max_deletions: int | None = None,
    client: Client | None = None,
) -> Future[DeleteReport]:
    """Delete every annotation of some inputs; the awaitable twin of `delete_input_annotations`.

    Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
    come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
    `asyncio.CancelledError` comes when the answers on their way are in, two seconds later at most,
    and the counts go to the log.

    Example:
        >>> report = await delete_input_annotations_async(["photo-1"])

    """

def plan_deletion(
    input_ids: _IdColumn,
    annotation_ids: _IdColumn,
    *,
    progress: _Progress = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> DeletionPlan:
    """Look up what a deletion of these pairs would do. Nothing is deleted.

    It takes one list request for 128 pairs, at the pace of the quota. An input-level annotation, which goes
    only with its input, is listed as spared: `DeletionPlan.execute` does not send it, where
    `delete_annotations` leaves it to the service to refuse.

    Args:
        input_ids: IDs of the inputs, as in `delete_annotations`.
        annotation_ids: IDs of the annotations, as many, in the same order.
        progress: ``True`` for a bar, or a callable that takes a `Progress`.
        timeout: Seconds for the whole call; ``None`` for no limit.
        client: The client to use; ``None`` for the one that the functions share.

    Returns:
        What would go, what is not there, and what would be spared because it is input-level. Its
        `DeletionPlan.execute` deletes exactly that.

    Raises:
        IdError: The columns differ in length, or an ID is empty, blank or missing. Nothing was sent.
        IdTypeError: Something is not a string, or not a column. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
        AuthenticationError: The service does not accept the credential.
        PermissionDeniedError: The credential may not list here.
        NotFoundError: The user or the app is not there.
        ThrottledError: Too many requests, at every attempt.
        ApiError: The service refused for another reason.
        TransportError: The service was not reached, or the connection broke.
        DeadlineError: ``timeout`` is over.

    Example:
        >>> plan = plan_deletion(["photo-1", "photo-2"], ["box-7", "box-9"])
        >>> report = plan.execute(backup="doubtful.parquet")

    """

def plan_deletion_async(
    input_ids: _IdColumn,
    annotation_ids: _IdColumn,
    *,
    progress: _Progress = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> Future[DeletionPlan]:
    """Look up what a deletion of these pairs would do; the awaitable twin of `plan_deletion`.

    Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
    come from the ``await``. Call it where an event loop runs.

    Example:
        >>> plan = await plan_deletion_async(["photo-1"], ["box-7"])

    """

def plan_input_deletion(
    input_ids: _IdColumn,
    *,
    max_deletions: int | None = None,
    progress: _Progress = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> DeletionPlan:
    """Look up what a deletion of all annotations of these inputs would do. Nothing is deleted.

    It takes one list request for 128 inputs and 1,000 annotations, at the pace of the quota.

    Args:
        input_ids: IDs of the inputs, as in `delete_input_annotations`.
        max_deletions: The most annotations that may go: the plan stops when it has found more.
            ``None`` for no limit.
        progress: ``True`` for a bar, or a callable that takes a `Progress`.
        timeout: Seconds for the whole call; ``None`` for no limit.
        client: The client to use; ``None`` for the one that the functions share.

    Returns:
        What would go, which inputs have nothing, and which annotations would be spared because they
        are input-level. Its `DeletionPlan.execute` deletes exactly that, pair by pair: annotations
        that came after the plan are spared.

    Raises:
        IdError: An ID is empty, blank or missing. Nothing was sent.
        IdTypeError: Something is not a string, or not a column. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
        DeletionLimitError: More than ``max_deletions`` would go.
        AuthenticationError: The service does not accept the credential.
        PermissionDeniedError: The credential may not list here.
        NotFoundError: The user or the app is not there.
        ThrottledError: Too many requests, at every attempt.
        ApiError: The service refused for another reason.
        TransportError: The service was not reached, or the connection broke.
        DeadlineError: ``timeout`` is over.

    Example:
        >>> plan = plan_input_deletion(["photo-1", "photo-2"], max_deletions=1000)
        >>> plan.deletions
        12

    """

def plan_input_deletion_async(
    input_ids: _IdColumn,
    *,
    max_deletions: int | None = None,
    progress: _Progress = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> Future[DeletionPlan]:
    """Look up what a deletion by inputs would do; the awaitable twin of `plan_input_deletion`.

    Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
    come from the ``await``. Call it where an event loop runs.

    Example:
        >>> plan = await plan_input_deletion_async(["photo-1"])

    """

def restore_annotations(
    backup: _Path,
    *,
    input_ids: _IdColumn | None = None,
    on_failure: _OnFailure = "raise",
    progress: _Progress = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> RestoreReport:
    """Post the annotations of a backup back, byte for byte as they were saved.

    Save for what the service sets itself: ``created_at`` and ``modified_at``. What is there already is
    left alone; of an annotation that was saved more than once, the latest copy counts. A backup that
    was cut off by a crash is read up to its last sync.

    Args:
        backup: Path of the file that ``backup=`` of a deletion wrote. Other programs may have rewritten
            it, as long as it is Parquet and keeps the columns.
        input_ids: Only annotations of these inputs: a column as in `delete_annotations`; ``None`` for all.
        on_failure: ``"raise"`` raises when not everything is there again, after everything was
            attempted; ``"report"`` returns the report.
        progress: ``True`` for a bar, or a callable that takes a `Progress`.
        timeout: Seconds for the whole call; ``None`` for no limit.
        client: The client to use; ``None`` for the one that the functions share. Only annotations of
            its user and app are restored.

    Returns:
        What became of every annotation.

    Raises:
        BackupError: The file cannot be read, is no backup, holds annotations of other apps only, or a row and its
            annotation disagree. Nothing was sent.
        IdError: An ID in ``input_ids`` is empty, blank or missing. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
        RestoreError: Not everything is there again; ``.report`` says what became of every annotation.
        AuthenticationError: The credential was refused, and the run stopped; ``.report``.
        NotFoundError: The user or the app is not there, and the run stopped; ``.report``.
        TransportError: The service cannot be reached, and the run stopped; ``.report``.
        DeadlineError: ``timeout`` is over; ``.report``.

    Example:
        >>> restore_annotations("doubtful.parquet", input_ids=["photo-1"])

    """

def restore_annotations_async(
    backup: _Path,
    *,
    input_ids: _IdColumn | None = None,
    on_failure: _OnFailure = "raise",
    progress: _Progress = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> Future[RestoreReport]:
    """Post the annotations of a backup back; the awaitable twin of `restore_annotations`.

    Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
    come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
    `asyncio.CancelledError` comes when the answers on their way are in, two seconds later at most.

    Example:
        >>> report = await restore_annotations_async("doubtful.parquet")

    """

@final
class Backup:
    """A backup that can be read. See `open_backup`.

    It exports all its rows as an Arrow stream: ``polars.DataFrame(backup)``, ``pyarrow.table(backup)``.
    """

    @property
    def path(self) -> Path:
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

def open_backup(path: _Path) -> Backup:
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

def journal_status(path: _Path) -> str:
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

def fold_backup(path: _Path, *, timeout: float | None = None) -> None:
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

def fold_journal(path: _Path, *, timeout: float | None = None) -> None:
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

def parquet_rows(path: _Path, columns: list[str]) -> ParquetRows:
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
class Client:
    """A client of one Clarifai app: one connection and one pace, shared by threads and event loops.

    Each setting is the argument, else the environment variable, else the current context of
    ``~/.config/clarifai/config`` (written by ``clarifai login``), else the default. The connection
    is made at the first call, over HTTPS through the HTTP proxy that ``HTTPS_PROXY`` names, unless
    ``NO_PROXY`` has the host. A client is a context manager, sync or async, that closes it.

    Args:
        user_id: Owner of the app (``CLARIFAI_USER_ID``).
        app_id: The app whose annotations are deleted (``CLARIFAI_APP_ID``).
        pat: Personal access token (``CLARIFAI_PAT``).
        session_token: Session token, instead of ``pat`` (``CLARIFAI_SESSION_TOKEN``).
        base_url: ``https://host[:port]`` or ``http://host[:port]`` (``CLARIFAI_API_BASE``; or
            ``CLARIFAI_GRPC_BASE``, a host that speaks TLS). Default ``https://api.clarifai.com``.
            A host without a scheme is refused unless it is Clarifai's.
        root_certificates_path: PEM file of the authorities to trust instead of the system's
            (``CLARIFAI_ROOT_CERTIFICATES_PATH``).
        requests_per_second: Requests that may leave in any second; ``None`` lifts the pace.
            Clarifai allows a user 15 by default.
        batch_size: IDs in one request, 1 to 128.
        max_in_flight: Requests under way at once.
        request_timeout: Seconds for one request.
        max_attempts: How often a request is tried in all.

    Raises:
        ConfigurationError: A setting is missing or not valid.

    Example:
        >>> with Client(user_id="me", app_id="cats") as client:  # the key is in CLARIFAI_PAT
        ...     client.delete_annotation("photo-1", "box-7")

    """

    def __new__(
        cls,
        *,
        user_id: str | None = None,
        app_id: str | None = None,
        pat: str | None = None,
        session_token: str | None = None,
        base_url: str | None = None,
        root_certificates_path: str | PathLike[str] | None = None,
        requests_per_second: float | None = 15.0,
        batch_size: int = 128,
        max_in_flight: int = 32,
        request_timeout: float = 30.0,
        max_attempts: int = 10,
    ) -> Self: ...
    @property
    def user_id(self) -> str:
        """Owner of the app."""

    @property
    def app_id(self) -> str:
        """The app whose annotations are deleted."""

    @property
    def base_url(self) -> str:
        """Where the service is."""

    def for_app(self, app_id: str, *, user_id: str | None = None) -> Client:
        """Make a client of another app that shares this one's connection and pace.

        Args:
            app_id: The other app.
            user_id: Its owner; ``None`` for the same user.

        Raises:
            ConfigurationError: An ID is empty.

        """

    def delete_annotation(
        self, input_id: str, annotation_id: str, *, missing_ok: bool = False, timeout: float | None = None
    ) -> None:
        """Delete one annotation, as the function `delete_annotation` does."""

    def delete_annotation_async(
        self, input_id: str, annotation_id: str, *, missing_ok: bool = False, timeout: float | None = None
    ) -> Future[None]:
        """Delete one annotation, as the function `delete_annotation_async` does."""

    def delete_annotations(
        self,
        input_ids: _IdColumn,
        annotation_ids: _IdColumn,
        *,
        missing_ok: bool = False,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
        backup: _Path | None = None,
        journal: _Path | tuple[_Path, int] | None = None,
        max_deletions: int | None = None,
    ) -> DeleteReport:
        """Delete many annotations in pairs, as the function `delete_annotations` does."""

    def delete_annotations_async(
        self,
        input_ids: _IdColumn,
        annotation_ids: _IdColumn,
        *,
        missing_ok: bool = False,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
        backup: _Path | None = None,
        journal: _Path | tuple[_Path, int] | None = None,
        max_deletions: int | None = None,
    ) -> Future[DeleteReport]:
        """Delete many annotations in pairs, as the function `delete_annotations_async` does."""

    def delete_input_annotations(
        self,
        input_ids: _IdColumn,
        *,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
        backup: _Path | None = None,
        journal: _Path | tuple[_Path, int] | None = None,
        max_deletions: int | None = None,
    ) -> DeleteReport:
        """Delete every annotation of some inputs, as the function `delete_input_annotations` does."""

    def delete_input_annotations_async(
        self,
        input_ids: _IdColumn,
        *,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
        backup: _Path | None = None,
        journal: _Path | tuple[_Path, int] | None = None,
        max_deletions: int | None = None,
    ) -> Future[DeleteReport]:
        """Delete every annotation of some inputs, as `delete_input_annotations_async` does."""

    def plan_deletion(
        self,
        input_ids: _IdColumn,
        annotation_ids: _IdColumn,
        *,
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> DeletionPlan:
        """Look up what a deletion of these pairs would do, as the function `plan_deletion` does."""

    def plan_deletion_async(
        self,
        input_ids: _IdColumn,
        annotation_ids: _IdColumn,
        *,
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> Future[DeletionPlan]:
        """Look up what a deletion of these pairs would do, as the function `plan_deletion_async` does."""

    def plan_input_deletion(
        self,
        input_ids: _IdColumn,
        *,
        max_deletions: int | None = None,
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> DeletionPlan:
        """Look up what a deletion by inputs would do, as the function `plan_input_deletion` does."""

    def plan_input_deletion_async(
        self,
        input_ids: _IdColumn,
        *,
        max_deletions: int | None = None,
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> Future[DeletionPlan]:
        """Look up what a deletion by inputs would do, as the function `plan_input_deletion_async` does."""

    def restore_annotations(
        self,
        backup: _Path,
        *,
        input_ids: _IdColumn | None = None,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> RestoreReport:
        """Post the annotations of a backup back, as the function `restore_annotations` does."""

    def restore_annotations_async(
        self,
        backup: _Path,
        *,
        input_ids: _IdColumn | None = None,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> Future[RestoreReport]:
        """Post the annotations of a backup back, as the function `restore_annotations_async` does."""

    def close(self) -> None:
        """Close the connection, also for the clients made by `for_app`. Later calls fail."""

    def __reduce__(self) -> tuple[Any, tuple[()]]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Awaitable[None]: ...

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
        """Confirmed by the service; or sent without a clear answer, and a list shows them gone."""

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
    def failures(self) -> Failures:
        """Every ID that is not restored, in the call's order."""

    def _repr_html_(self) -> str: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __reduce__(self) -> tuple[Any, tuple[bytes]]: ...

@final
class DeletionPlan:
    """What a deletion would do, as lists told it. Nothing is deleted until `execute`.

    In a notebook it is a table. It exports all its rows as an Arrow stream: ``polars.DataFrame(plan)``,
    ``pyarrow.table(plan)``. It can be saved to a file, and pickled: never with a credential. One that was unpickled is
    executed by the client that the functions share.
    """

    @property
    def user_id(self) -> str:
        """Owner of the app."""

    @property
    def app_id(self) -> str:
        """The app whose annotations these are."""

    @property
    def base_url(self) -> str:
        """Where the service is."""

    @property
    def requested(self) -> int:
        """Different IDs that the call named: pairs, or inputs."""

    @property
    def deletions(self) -> int:
        """Annotations that would go."""

    @property
    def absent(self) -> int:
        """IDs of which nothing is there: pairs, or inputs."""

    @property
    def spared(self) -> int:
        """Annotations that are there and would stay, because they are input-level."""

    @property
    def respelled(self) -> int:
        """IDs that the service lists in another spelling alone: pairs, or inputs. They would stay."""

    @property
    def duplicates(self) -> int:
        """Mentions that repeat an earlier one."""

    @property
    def requests(self) -> int:
        """List requests that it took."""

    @property
    def elapsed(self) -> float:
        """Seconds that it took."""

    @property
    def annotations(self) -> PlannedAnnotations:
        """Every annotation that was found, and every ID of which nothing was, in the call's order."""

    def execute(
        self,
        *,
        missing_ok: bool = False,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
        backup: _Path | None = None,
        journal: _Path | tuple[_Path, int] | None = None,
        max_deletions: int | None = None,
    ) -> DeleteReport:
        """Delete what the plan lists for deletion, pair by pair, and nothing else.

        Parameters, result and errors are those of `delete_annotations`; the client is that of the plan, for one that was
        loaded without a client the one that the functions share.

        Raises:
            ConfigurationError: The client is of another app or service than the plan. Nothing was sent.

        """

    def execute_async(
        self,
        *,
        missing_ok: bool = False,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
        backup: _Path | None = None,
        journal: _Path | tuple[_Path, int] | None = None,
        max_deletions: int | None = None,
    ) -> Future[DeleteReport]:
        """Delete what the plan lists for deletion; the awaitable twin of `execute`."""

    def save(self, path: _Path) -> None:
        """Save the plan to a Parquet file, to look at it, keep it, or execute it from another process.

        The file has the rows of the table, and no credential. Only its owner may read it. A plan that is there is
        replaced; a file that is something else is not.

        Args:
            path: Where to save it.

        Raises:
            PlanError: The file is something else, or cannot be written. It is as it was.

        Example:
            >>> plan_deletion(["photo-1"], ["box-7"]).save("doubtful.plan.parquet")

        """

    @staticmethod
    def load(path: _Path, *, client: Client | None = None) -> DeletionPlan:
        """Load a plan that `save` wrote.

        A plan that was executed in part goes on with the same ``journal``: it names the same annotations in the same order.

        Args:
            path: The file.
            client: The client that will execute it; ``None`` for the one that the functions share.

        Returns:
            The plan as it was. Nothing is looked up again.

        Raises:
            PlanError: The file cannot be read, is no plan, or is damaged.
            ConfigurationError: ``client`` is of another app or service than the plan.

        Example:
            >>> plan = DeletionPlan.load("doubtful.plan.parquet")
            >>> report = plan.execute(journal="doubtful.journal")

        """

    def __reduce__(self) -> tuple[Any, tuple[bytes]]: ...
    @classmethod
    def _load(cls, saved: bytes) -> DeletionPlan: ...
    def _repr_html_(self) -> str: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export all rows as an Arrow stream.

        Its columns: ``action``, ``input_id``, ``annotation_id``, ``creator``, ``status``, ``created_at``,
        ``made_by_model``.
        """

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
class Inbox:
    """What has arrived for an event loop, from any thread. It must not hold the loop, which holds it."""

    def __new__(cls) -> Self: ...
    def deliver(self) -> None:
        """Hand over all that has arrived; for the event loop to call."""

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
            (``"Annotations_Get"``, ``"Annotations_Add"``, ``"Annotations_Delete"``; ``None`` for
            all). Session tokens are held against the same keys. ``None`` accepts any.
        apps: The apps that there are, as pairs of user ID and app ID; ``None`` for any that is named.
        missing_pair: What becomes of a batch when one of it cannot be deleted: ``"refused"`` whole;
            the rest is deleted and the answer is MIXED_STATUS (``"mixed"``) or FAILURE
            (``"failure"``).
        missing_single: How the deletion of one that is not there is answered: with the status
            CONN_DOES_NOT_EXIST (``"status"``) or the gRPC status NOT_FOUND (``"grpc"``).
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
        missing_pair: Literal["refused", "mixed", "failure"] = "refused",
        missing_single: Literal["status", "grpc"] = "status",
        visible_after: float = 0.0,
        fault_rates: Mapping[Fault, float] | None = None,
        port: int = 0,
    ) -> Self: ...
    @property
    def base_url(self) -> str:
        """Where it listens, for example ``http://127.0.0.1:43121``; ``https://`` with ``tls``."""

    @property
    def root_certificates_path(self) -> Path | None:
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
        """Make a client of this emulator, at the pace of its quota.

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
    def status(code: int) -> Fault:
        """Refuse it with a status code of Clarifai's, for example 10030."""

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
