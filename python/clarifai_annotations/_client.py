"""The client. Each method checks nothing itself: the native module does, before anything is sent."""

from __future__ import annotations

from functools import partial

from . import _native
from ._plan import DeletionPlan

# As `typing.TYPE_CHECKING`, whose module would take up most of the import's time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from ._native import DeleteReport, NativeClient, RestoreReport
    from ._types import IdColumn, OnFailure, Path, ProgressCallback, RequestsPerSecond


class Client:
    """A client of one Clarifai app: one connection, shared by threads and event loops.

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
        requests_per_second: Requests that may be sent in any second. Clarifai allows a user 15 by
            default. ``"auto"`` begins at 15 and finds a higher quota by itself. ``None``: no limit.
        shared_rate_limit: Whether all processes of this machine that send for the same user at the
            same service share the rate limit. The strictest setting holds. Without it, only the
            clients of this process share it.
        batch_size: IDs in one request, 1 to 128.
        max_in_flight: Requests under way at once.
        request_timeout: Seconds for one request.
        max_attempts: How often a request is tried in all.
        cancel_grace: Seconds for which a call that is cancelled, interrupted or out of time waits for
            responses in flight, so that their outcomes are known; 0 for not at all.

    Raises:
        ConfigurationError: A setting is missing or not valid.

    Example:
        >>> with Client(user_id="me", app_id="cats") as client:  # the key is in CLARIFAI_PAT
        ...     client.delete_annotation("photo-1", "box-7")

    """

    _native: NativeClient

    # Whether `requests_per_second` is a part of a rate that several clients divide among them. The parts of those on one
    # machine are put together.
    _is_part_of_rate = False

    def __init__(
        self,
        *,
        user_id: str | None = None,
        app_id: str | None = None,
        pat: str | None = None,
        session_token: str | None = None,
        base_url: str | None = None,
        root_certificates_path: Path | None = None,
        requests_per_second: RequestsPerSecond = 15.0,
        shared_rate_limit: bool = True,
        batch_size: int = 128,
        max_in_flight: int = 32,
        request_timeout: float = 30.0,
        max_attempts: int = 10,
        cancel_grace: float = 2.0,
    ) -> None:
        """Find the settings. Nothing is sent."""
        self._native = _native.NativeClient(
            user_id,
            app_id,
            pat,
            session_token,
            base_url,
            root_certificates_path,
            requests_per_second,
            shared_rate_limit,
            self._is_part_of_rate,
            batch_size,
            max_in_flight,
            request_timeout,
            max_attempts,
            cancel_grace,
        )

    @classmethod
    def _of(cls, native: NativeClient, attributes: dict[str, Any] | None = None) -> Self:
        self = cls.__new__(cls)
        self.__dict__.update(attributes or {})
        self._native = native
        return self

    @property
    def user_id(self) -> str:
        """Owner of the app."""
        return self._native.user_id

    @property
    def app_id(self) -> str:
        """The app whose annotations are deleted."""
        return self._native.app_id

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self._native.base_url

    def for_app(self, app_id: str, *, user_id: str | None = None) -> Self:
        """Make a client of another app that shares this one's connection and rate limit.

        Args:
            app_id: The other app.
            user_id: Its owner; ``None`` for the same user.

        Returns:
            A client of the same class, with the same attributes.

        Raises:
            ConfigurationError: An ID is empty.

        Example:
            >>> dogs = client.for_app("dogs")

        """
        return self._of(self._native.for_app(app_id, user_id), self.__dict__)

    def delete_annotation(
        self,
        input_id: str,
        annotation_id: str,
        *,
        missing_ok: bool = False,
        timeout: float | None = None,
        look_first: bool = False,
    ) -> None:
        """Delete one annotation. See `delete_annotation`."""
        return _native.delete_annotation(
            self._native, input_id, annotation_id, missing_ok, timeout, look_first
        )

    async def delete_annotation_async(
        self,
        input_id: str,
        annotation_id: str,
        *,
        missing_ok: bool = False,
        timeout: float | None = None,
        look_first: bool = False,
    ) -> None:
        """Delete one annotation. See `delete_annotation_async`."""
        return await _native.delete_annotation_async(
            self._native, input_id, annotation_id, missing_ok, timeout, look_first
        )

    def delete_annotations(
        self,
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
    ) -> DeleteReport:
        """Delete many annotations in pairs. See `delete_annotations`."""
        return _native.delete_annotations(
            self._native,
            input_ids,
            annotation_ids,
            missing_ok,
            on_failure,
            progress,
            timeout,
            backup,
            journal,
            max_deletions,
            look_first,
        )

    async def delete_annotations_async(
        self,
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
    ) -> DeleteReport:
        """Delete many annotations in pairs. See `delete_annotations_async`."""
        return await _native.delete_annotations_async(
            self._native,
            input_ids,
            annotation_ids,
            missing_ok,
            on_failure,
            progress,
            timeout,
            backup,
            journal,
            max_deletions,
            look_first,
        )

    def delete_input_annotations(
        self,
        input_ids: IdColumn,
        *,
        on_failure: OnFailure = "raise",
        progress: ProgressCallback = False,
        timeout: float | None = None,
        backup: Path | None = None,
        journal: Path | tuple[Path, int] | None = None,
        max_deletions: int | None = None,
        look_first: bool = False,
    ) -> DeleteReport:
        """Delete every annotation of some inputs. See `delete_input_annotations`."""
        return _native.delete_input_annotations(
            self._native, input_ids, on_failure, progress, timeout, backup, journal, max_deletions, look_first
        )

    async def delete_input_annotations_async(
        self,
        input_ids: IdColumn,
        *,
        on_failure: OnFailure = "raise",
        progress: ProgressCallback = False,
        timeout: float | None = None,
        backup: Path | None = None,
        journal: Path | tuple[Path, int] | None = None,
        max_deletions: int | None = None,
        look_first: bool = False,
    ) -> DeleteReport:
        """Delete every annotation of some inputs. See `delete_input_annotations_async`."""
        return await _native.delete_input_annotations_async(
            self._native, input_ids, on_failure, progress, timeout, backup, journal, max_deletions, look_first
        )

    def plan_deletion(
        self,
        input_ids: IdColumn,
        annotation_ids: IdColumn,
        *,
        progress: ProgressCallback = False,
        timeout: float | None = None,
    ) -> DeletionPlan:
        """Look up what a deletion of these pairs would do. See `plan_deletion`."""
        return DeletionPlan._of(
            _native.plan_deletion(self._native, input_ids, annotation_ids, progress, timeout), self._native
        )

    async def plan_deletion_async(
        self,
        input_ids: IdColumn,
        annotation_ids: IdColumn,
        *,
        progress: ProgressCallback = False,
        timeout: float | None = None,
    ) -> DeletionPlan:
        """Look up what a deletion of these pairs would do. See `plan_deletion_async`."""
        return DeletionPlan._of(
            await _native.plan_deletion_async(self._native, input_ids, annotation_ids, progress, timeout),
            self._native,
        )

    def plan_input_deletion(
        self,
        input_ids: IdColumn,
        *,
        max_deletions: int | None = None,
        progress: ProgressCallback = False,
        timeout: float | None = None,
    ) -> DeletionPlan:
        """Look up what a deletion by inputs would do. See `plan_input_deletion`."""
        return DeletionPlan._of(
            _native.plan_input_deletion(self._native, input_ids, max_deletions, progress, timeout),
            self._native,
        )

    async def plan_input_deletion_async(
        self,
        input_ids: IdColumn,
        *,
        max_deletions: int | None = None,
        progress: ProgressCallback = False,
        timeout: float | None = None,
    ) -> DeletionPlan:
        """Look up what a deletion by inputs would do. See `plan_input_deletion_async`."""
        return DeletionPlan._of(
            await _native.plan_input_deletion_async(
                self._native, input_ids, max_deletions, progress, timeout
            ),
            self._native,
        )

    def restore_annotations(
        self,
        backup: Path,
        *,
        input_ids: IdColumn | None = None,
        on_failure: OnFailure = "raise",
        progress: ProgressCallback = False,
        timeout: float | None = None,
        as_caller: bool = False,
    ) -> RestoreReport:
        """Post the annotations of a backup back. See `restore_annotations`."""
        return _native.restore_annotations(
            self._native, backup, input_ids, on_failure, progress, timeout, as_caller
        )

    async def restore_annotations_async(
        self,
        backup: Path,
        *,
        input_ids: IdColumn | None = None,
        on_failure: OnFailure = "raise",
        progress: ProgressCallback = False,
        timeout: float | None = None,
        as_caller: bool = False,
    ) -> RestoreReport:
        """Post the annotations of a backup back. See `restore_annotations_async`."""
        return await _native.restore_annotations_async(
            self._native, backup, input_ids, on_failure, progress, timeout, as_caller
        )

    def close(self) -> None:
        """Close the connection, also for the clients made by `for_app`. Later calls fail."""
        self._native.close()

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close it."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep everything but the credential, which the other process finds for itself."""
        return partial(self.__class__, **self._native.picklable_settings()), ()

    def __repr__(self) -> str:
        """Show the settings, the credential masked."""
        return f"{self.__class__.__name__}({self._native.described_settings()})"
