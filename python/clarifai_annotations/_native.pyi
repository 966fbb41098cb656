"""The native half of clarifai_annotations: the reference of what it offers."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias, final, overload, type_check_only

from typing_extensions import Self

__all__ = [
    "FILE_DESCRIPTOR_SET",
    "Client",
    "DeleteReport",
    "Emulator",
    "Failure",
    "Failures",
    "Fault",
    "Inbox",
    "Progress",
    "RecordedRequest",
    "StoredAnnotation",
    "__version__",
    "annotation_from_json",
    "delete_annotation",
    "delete_annotation_async",
    "delete_annotations",
    "delete_annotations_async",
    "delete_input_annotations",
    "delete_input_annotations_async",
    "live_tasks",
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
_OnFailure: TypeAlias = Literal["raise", "report"]
_Outcome: TypeAlias = Literal["absent", "failed", "unknown", "unsent"]

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
        client: The client to use; ``None`` for the one that the functions share.

    Returns:
        What became of every pair. Empty columns send nothing and give an empty report.

    Raises:
        IdError: The columns differ in length, or an ID is empty, blank or missing; ``.index`` is
            the position. Nothing was sent.
        IdTypeError: Something is not a string, or not a column. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
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
    client: Client | None = None,
) -> DeleteReport:
    """Delete every annotation of some inputs, save their input-level ones.

    An input-level annotation goes only with its input. The report counts inputs.

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
        client: The client to use; ``None`` for the one that the functions share.

    Returns:
        What became of every input. An empty column sends nothing and gives an empty report.

    Raises:
        IdError: An ID is empty, blank or missing; ``.index`` is the position. Nothing was sent.
        IdTypeError: Something is not a string, or not a column. Nothing was sent.
        ConfigurationError: A setting is missing. Nothing was sent.
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
    ) -> Future[DeleteReport]:
        """Delete many annotations in pairs, as the function `delete_annotations_async` does."""

    def delete_input_annotations(
        self,
        input_ids: _IdColumn,
        *,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> DeleteReport:
        """Delete every annotation of some inputs, as the function `delete_input_annotations` does."""

    def delete_input_annotations_async(
        self,
        input_ids: _IdColumn,
        *,
        on_failure: _OnFailure = "raise",
        progress: _Progress = False,
        timeout: float | None = None,
    ) -> Future[DeleteReport]:
        """Delete every annotation of some inputs, as `delete_input_annotations_async` does."""

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
        """The service refused the request, and a list shows that they are not there."""

    @property
    def failed(self) -> int:
        """There still, and the service refuses to delete them."""

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
    def ok(self) -> bool:
        """Whether everything is deleted; with ``missing_ok``, or absent."""

    @property
    def failures(self) -> Failures:
        """Every ID that is not deleted, in the call's order."""

    def _repr_html_(self) -> str: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __reduce__(self) -> tuple[Any, tuple[bytes]]: ...

@final
class Progress:
    """How far a call for many is.

    ``deleted``, ``absent``, ``failed``, ``unknown`` and ``unsent`` add up to ``requested``. What was
    turned away and is tried again may count as failed or unsent for a while.
    """

    @property
    def requested(self) -> int:
        """Different IDs that the call named: pairs, or inputs."""

    @property
    def done(self) -> int:
        """IDs with an outcome: deleted, absent or failed."""

    @property
    def deleted(self) -> int:
        """Deleted so far."""

    @property
    def absent(self) -> int:
        """Not there."""

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
