"""The functions of the package: the methods of the client that is given, or of the one that they share."""

from __future__ import annotations

from . import _native
from ._client import Client

# As `typing.TYPE_CHECKING`, whose module would take up most of the import's time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native import DeleteReport, RestoreReport
    from ._plan import DeletionPlan
    from ._types import IdColumn, OnFailure, Path, ProgressCallback


def _client_or_shared(client: Client | None) -> Client:
    """Give the client, or the one that the functions share: it is made anew when the environment has changed."""
    if client is None:
        return Client._of(_native.shared_client())
    if not hasattr(client, "delete_annotations"):
        raise TypeError(
            f"client is {client!r}: give a Client, or None for the one that the functions share. Nothing was sent"
        )
    return client


def delete_annotation(
    input_id: str,
    annotation_id: str,
    *,
    missing_ok: bool = False,
    timeout: float | None = None,
    look_first: bool = False,
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
            they are over nothing more is sent, and responses in flight are awaited for ``cancel_grace`` seconds more.
        look_first: Whether the annotation is listed before it is deleted, by one request more (those that come
            together share it). Without it the service may confirm the deletion of what was not there: then a
            mistyped ID goes unnoticed.
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
    return _client_or_shared(client).delete_annotation(
        input_id, annotation_id, missing_ok=missing_ok, timeout=timeout, look_first=look_first
    )


async def delete_annotation_async(
    input_id: str,
    annotation_id: str,
    *,
    missing_ok: bool = False,
    timeout: float | None = None,
    look_first: bool = False,
    client: Client | None = None,
) -> None:
    """Delete one annotation; the awaited twin of `delete_annotation`.

    Parameters, result and errors are the same. Nothing happens before you await it: not even the IDs are
    checked. When its task is cancelled nothing more is sent, and `asyncio.CancelledError` comes when the
    responses in flight are in, after ``cancel_grace`` seconds of the `Client` at most.

    Deletions that are awaited together share requests, as far as they are for one app.

    Example:
        >>> await delete_annotation_async("photo-1", "box-7")

    """
    return await _client_or_shared(client).delete_annotation_async(
        input_id, annotation_id, missing_ok=missing_ok, timeout=timeout, look_first=look_first
    )


def delete_annotations(
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    *,
    missing_ok: bool = False,
    on_failure: OnFailure = "raise",
    progress: ProgressCallback = False,
    timeout: float | None = None,
    backup: Path | None = None,
    journal: Path | tuple[Path, int] | None = None,
    max_deletions: int | None = None,
    look_first: bool = False,
    client: Client | None = None,
) -> DeleteReport:
    """Delete many annotations, each named by its input's ID and its own at the same position.

    The whole call is checked before anything is sent. A repeated pair is sent once. Batches of up
    to 128 are sent at the rate of the quota, and one bad batch never stops the others.

    Args:
        input_ids: IDs of the inputs: a list, tuple or any iterable of ``str``, a numpy array, a
            pandas Series or Index, or anything that exports an Arrow string column.
        annotation_ids: IDs of the annotations, as many, in the same order.
        missing_ok: Whether annotations that are not there are no failures.
        on_failure: ``"raise"`` raises when not everything was deleted, after everything was
            attempted; ``"report"`` returns the report.
        progress: ``True`` shows a bar, where tqdm is installed. A callable gets a `Progress` at most ten
            times a second, in the calling thread or the event loop and in your `contextvars` context; the last has
            ``finished`` set. Where the call is awaited it may be a coroutine function. An exception that it
            raises stops the run and is raised.
        timeout: Seconds for the whole call; ``None`` for no limit. When they are over nothing more is
            sent, and responses in flight are awaited for ``cancel_grace`` seconds more.
        backup: Path of a Parquet file: each annotation is listed, written and synced there before it is
            deleted, byte for byte as the service has it, and one that cannot be saved is not deleted. A
            backup that is there is added to. `restore_annotations` posts it back.
        journal: Path of a SQLite file that has each ID with its outcome when the call ends: the same call
            with the same journal goes on where it stopped, whatever ended it. What is deleted or absent
            is not sent again; what was under way is looked up first. ``(path, part)`` for one of several
            calls that share a file, from 0; they may run at once.
        max_deletions: The most annotations that the call may delete: one that names more is refused
            before anything is sent.
        look_first: Whether all is listed before it is deleted, by one request more for each batch, so that what is
            not there is reported ``absent``. Without it, and without a backup, the service may confirm the
            deletion of what was not there: then it is reported ``deleted``.
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
        KeyboardInterrupt: Ctrl-C. Nothing more was sent, responses in flight were awaited for
            ``cancel_grace`` seconds, and the counts are in the log; ``.report``.

    Example:
        >>> report = delete_annotations(["photo-1", "photo-2"], ["box-7", "box-9"])
        >>> report.deleted
        2

    """
    return _client_or_shared(client).delete_annotations(
        input_ids,
        annotation_ids,
        missing_ok=missing_ok,
        on_failure=on_failure,
        progress=progress,
        timeout=timeout,
        backup=backup,
        journal=journal,
        max_deletions=max_deletions,
        look_first=look_first,
    )


async def delete_annotations_async(
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    *,
    missing_ok: bool = False,
    on_failure: OnFailure = "raise",
    progress: ProgressCallback = False,
    timeout: float | None = None,
    backup: Path | None = None,
    journal: Path | tuple[Path, int] | None = None,
    max_deletions: int | None = None,
    look_first: bool = False,
    client: Client | None = None,
) -> DeleteReport:
    """Delete many annotations in pairs; the awaited twin of `delete_annotations`.

    Parameters, result and errors are the same. Nothing happens before you await it: not even the IDs are
    checked. When its task is cancelled nothing more is sent, and `asyncio.CancelledError` comes when the
    responses in flight are in, after ``cancel_grace`` seconds of the `Client` at most; the counts go to the log.

    Example:
        >>> report = await delete_annotations_async(["photo-1"], ["box-7"])

    """
    return await _client_or_shared(client).delete_annotations_async(
        input_ids,
        annotation_ids,
        missing_ok=missing_ok,
        on_failure=on_failure,
        progress=progress,
        timeout=timeout,
        backup=backup,
        journal=journal,
        max_deletions=max_deletions,
        look_first=look_first,
    )


def delete_input_annotations(
    input_ids: IdColumn,
    *,
    on_failure: OnFailure = "raise",
    progress: ProgressCallback = False,
    timeout: float | None = None,
    backup: Path | None = None,
    journal: Path | tuple[Path, int] | None = None,
    max_deletions: int | None = None,
    look_first: bool = False,
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
            times a second, in the calling thread or the event loop and in your `contextvars` context; the last has
            ``finished`` set. Where the call is awaited it may be a coroutine function. An exception that it
            raises stops the run and is raised.
        timeout: Seconds for the whole call; ``None`` for no limit. When they are over nothing more is
            sent, and responses in flight are awaited for ``cancel_grace`` seconds more.
        backup: Path of a Parquet file: each annotation is listed, written and synced there before it is
            deleted, byte for byte as the service has it, and one that cannot be saved is not deleted. A
            backup that is there is added to. `restore_annotations` posts it back.
        journal: Path of a SQLite file that has each ID with its outcome when the call ends: the same call
            with the same journal goes on where it stopped, whatever ended it. What is deleted or absent
            is not sent again; what was under way is sent once more. ``(path, part)`` for one of several
            calls that share a file, from 0; they may run at once.
        max_deletions: The most annotations that may go. All are listed before the first is deleted,
            and what is deleted is what was counted, pair by pair. Beyond it nothing is deleted.
        look_first: Whether the inputs are listed, and what is on them is deleted pair by pair, as with a backup.
            Then an input that is not there is reported ``absent``. Without it the service may confirm the
            deletion on an input that is not there: then it is reported ``deleted``.
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
        KeyboardInterrupt: Ctrl-C. Nothing more was sent, responses in flight were awaited for
            ``cancel_grace`` seconds, and the counts are in the log; ``.report``.

    Example:
        >>> report = delete_input_annotations(["photo-1", "photo-2"])

    """
    return _client_or_shared(client).delete_input_annotations(
        input_ids,
        on_failure=on_failure,
        progress=progress,
        timeout=timeout,
        backup=backup,
        journal=journal,
        max_deletions=max_deletions,
        look_first=look_first,
    )


async def delete_input_annotations_async(
    input_ids: IdColumn,
    *,
    on_failure: OnFailure = "raise",
    progress: ProgressCallback = False,
    timeout: float | None = None,
    backup: Path | None = None,
    journal: Path | tuple[Path, int] | None = None,
    max_deletions: int | None = None,
    look_first: bool = False,
    client: Client | None = None,
) -> DeleteReport:
    """Delete every annotation of some inputs; the awaited twin of `delete_input_annotations`.

    Parameters, result and errors are the same. Nothing happens before you await it: not even the IDs are
    checked. When its task is cancelled nothing more is sent, and `asyncio.CancelledError` comes when the
    responses in flight are in, after ``cancel_grace`` seconds of the `Client` at most; the counts go to the log.

    Example:
        >>> report = await delete_input_annotations_async(["photo-1"])

    """
    return await _client_or_shared(client).delete_input_annotations_async(
        input_ids,
        on_failure=on_failure,
        progress=progress,
        timeout=timeout,
        backup=backup,
        journal=journal,
        max_deletions=max_deletions,
        look_first=look_first,
    )


def plan_deletion(
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    *,
    progress: ProgressCallback = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> DeletionPlan:
    """Look up what a deletion of these pairs would do. Nothing is deleted.

    It takes one list request for 128 pairs, at the rate of the quota. An input-level annotation, which goes
    only with its input, is listed as spared: `DeletionPlan.execute` does not send it, where
    `delete_annotations` leaves it to the service to refuse.

    Args:
        input_ids: IDs of the inputs, as in `delete_annotations`.
        annotation_ids: IDs of the annotations, as many, in the same order.
        progress: ``True`` for a bar, or a callable that takes a `Progress`, as in `delete_annotations`.
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
    return _client_or_shared(client).plan_deletion(
        input_ids, annotation_ids, progress=progress, timeout=timeout
    )


async def plan_deletion_async(
    input_ids: IdColumn,
    annotation_ids: IdColumn,
    *,
    progress: ProgressCallback = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> DeletionPlan:
    """Look up what a deletion of these pairs would do; the awaited twin of `plan_deletion`.

    Parameters, result and errors are the same. Nothing happens before you await it: not even the IDs are
    checked. When its task is cancelled nothing more is sent, and `asyncio.CancelledError` comes when the
    responses in flight are in, after ``cancel_grace`` seconds of the `Client` at most.

    Example:
        >>> plan = await plan_deletion_async(["photo-1"], ["box-7"])

    """
    return await _client_or_shared(client).plan_deletion_async(
        input_ids, annotation_ids, progress=progress, timeout=timeout
    )


def plan_input_deletion(
    input_ids: IdColumn,
    *,
    max_deletions: int | None = None,
    progress: ProgressCallback = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> DeletionPlan:
    """Look up what a deletion of all annotations of these inputs would do. Nothing is deleted.

    It takes one list request for 128 inputs and 1,000 annotations, at the rate of the quota.

    Args:
        input_ids: IDs of the inputs, as in `delete_input_annotations`.
        max_deletions: The most annotations that may go: the plan stops when it has found more.
            ``None`` for no limit.
        progress: ``True`` for a bar, or a callable that takes a `Progress`, as in `delete_annotations`.
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
    return _client_or_shared(client).plan_input_deletion(
        input_ids, max_deletions=max_deletions, progress=progress, timeout=timeout
    )


async def plan_input_deletion_async(
    input_ids: IdColumn,
    *,
    max_deletions: int | None = None,
    progress: ProgressCallback = False,
    timeout: float | None = None,
    client: Client | None = None,
) -> DeletionPlan:
    """Look up what a deletion by inputs would do; the awaited twin of `plan_input_deletion`.

    Parameters, result and errors are the same. Nothing happens before you await it: not even the IDs are
    checked. When its task is cancelled nothing more is sent, and `asyncio.CancelledError` comes when the
    responses in flight are in, after ``cancel_grace`` seconds of the `Client` at most.

    Example:
        >>> plan = await plan_input_deletion_async(["photo-1"])

    """
    return await _client_or_shared(client).plan_input_deletion_async(
        input_ids, max_deletions=max_deletions, progress=progress, timeout=timeout
    )


def restore_annotations(
    backup: Path,
    *,
    input_ids: IdColumn | None = None,
    on_failure: OnFailure = "raise",
    progress: ProgressCallback = False,
    timeout: float | None = None,
    as_caller: bool = False,
    client: Client | None = None,
) -> RestoreReport:
    """Post the annotations of a backup back, byte for byte as they were saved.

    Save for what the service sets itself: ``created_at`` and ``modified_at``. What is there already is
    left alone; of an annotation that was saved more than once, the latest copy counts. A backup that
    was cut off by a crash is read up to its last sync.

    What Clarifai keeps beside an annotation does not come back: the assets of a model whose annotation was
    deleted. Posting runs the app's default workflow, whose operations are billed.

    Args:
        backup: Path of the file that ``backup=`` of a deletion wrote. Other programs may have rewritten
            it, as long as it is Parquet and keeps the columns.
        input_ids: Only annotations of these inputs: a column as in `delete_annotations`; ``None`` for all.
        on_failure: ``"raise"`` raises when not everything is there again, after everything was
            attempted; ``"report"`` returns the report.
        progress: ``True`` for a bar, or a callable that takes a `Progress`, as in `delete_annotations`.
        timeout: Seconds for the whole call; ``None`` for no limit.
        as_caller: Whether what users made is posted without their names, as the caller's own. Only the owner of
            an app may post for others; a collaborator is refused without this.
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
    return _client_or_shared(client).restore_annotations(
        backup,
        input_ids=input_ids,
        on_failure=on_failure,
        progress=progress,
        timeout=timeout,
        as_caller=as_caller,
    )


async def restore_annotations_async(
    backup: Path,
    *,
    input_ids: IdColumn | None = None,
    on_failure: OnFailure = "raise",
    progress: ProgressCallback = False,
    timeout: float | None = None,
    as_caller: bool = False,
    client: Client | None = None,
) -> RestoreReport:
    """Post the annotations of a backup back; the awaited twin of `restore_annotations`.

    Parameters, result and errors are the same. Nothing happens before you await it: not even the IDs are
    checked. When its task is cancelled nothing more is sent, and `asyncio.CancelledError` comes when the
    responses in flight are in, after ``cancel_grace`` seconds of the `Client` at most; the counts go to the log.

    Example:
        >>> report = await restore_annotations_async("doubtful.parquet")

    """
    return await _client_or_shared(client).restore_annotations_async(
        backup,
        input_ids=input_ids,
        on_failure=on_failure,
        progress=progress,
        timeout=timeout,
        as_caller=as_caller,
    )
