"""The exceptions of this package. Each can be pickled, and its text says what to do next."""

from __future__ import annotations

# As `typing.TYPE_CHECKING`, whose module would take up most of the import's time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from ._native import DeleteReport, RestoreReport
    from .spark import SparkDeleteReport

    AnyReport: TypeAlias = DeleteReport | RestoreReport | SparkDeleteReport

__all__ = [
    "ApiError",
    "AuthenticationError",
    "BackupError",
    "ClarifaiError",
    "ConfigurationError",
    "DeadlineError",
    "DeletionError",
    "DeletionLimitError",
    "IdError",
    "IdTypeError",
    "JournalError",
    "NotFoundError",
    "OutcomesError",
    "PermissionDeniedError",
    "PlanError",
    "RestoreError",
    "ThrottledError",
    "TransportError",
]


class ClarifaiError(Exception):
    """Any error that this package raises on its own account.

    Attributes:
        report: What became of every ID, where the call was one for many; otherwise ``None``.
        reason: What happened and what to do, without the counts that the text of a call for many
            begins with.

    """

    report: AnyReport | None
    reason: str

    def __init__(self, message: str, *, report: AnyReport | None = None, reason: str | None = None) -> None:
        """Make the error; ``message`` is its whole text."""
        super().__init__(message)
        self.report = report
        self.reason = message if reason is None else reason


class ConfigurationError(ClarifaiError):
    """A setting is missing, or is not valid. Nothing was sent."""


class IdError(ClarifaiError, ValueError):
    """An ID cannot be sent, or IDs cannot be paired. Nothing was sent.

    Attributes:
        index: Position of the first ID that is wrong, from 0; ``None`` where the whole argument is.

    """

    index: int | None

    def __init__(self, message: str, *, index: int | None = None) -> None:
        """Make the error; ``message`` is its whole text."""
        super().__init__(message)
        self.index = index


class IdTypeError(IdError, TypeError):
    """An `IdError` because something of the wrong type stands where an ID or a column of IDs belongs."""


class ApiError(ClarifaiError):
    """The service answered, and said no.

    Attributes:
        code: Clarifai's status code (10000 and up); where the failure came as a gRPC status, that
            (1 to 16); 0 where the answer carried no status.
        name: The code's name, for example ``"CONN_THROTTLED"``.
        description: The service's description of the status.
        details: The service's details.
        request_id: What identifies the request to Clarifai's support; empty where it gave none.

    """

    code: int
    name: str
    description: str
    details: str
    request_id: str

    def __init__(
        self,
        message: str,
        *,
        code: int = 0,
        name: str = "",
        description: str = "",
        details: str = "",
        request_id: str = "",
        report: AnyReport | None = None,
        reason: str | None = None,
    ) -> None:
        """Make the error; ``message`` is its whole text."""
        super().__init__(message, report=report, reason=reason)
        self.code = code
        self.name = name
        self.description = description
        self.details = details
        self.request_id = request_id


class AuthenticationError(ApiError):
    """The key or the session token is missing, wrong or no longer valid."""


class PermissionDeniedError(ApiError):
    """The credential is good, and not allowed to do this: a scope is missing, or the app is another's."""


class NotFoundError(ApiError, LookupError):
    """What the request names is not there: the annotation, its input, the app or the user."""


class ThrottledError(ApiError):
    """Too many requests, after every attempt that `Client(max_attempts=…)` allows."""


class TransportError(ClarifaiError, ConnectionError):
    """No answer came: the service was not reached, or the connection broke."""


class DeadlineError(ClarifaiError, TimeoutError):
    """The time given to the call, or to a request of it, ran out."""


class DeletionError(ClarifaiError):
    """Not every ID of a call for many was deleted. Everything was attempted; see ``report``.

    From `clarifai_annotations.spark` it is a `SparkDeletionError`.
    """

    report: DeleteReport

    def __init__(self, message: str, *, report: DeleteReport | None = None) -> None:
        """Make the error; ``message`` is its whole text."""
        super().__init__(message, report=report)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__


class RestoreError(ClarifaiError):
    """Not every annotation of a backup is there again. Everything was attempted; see ``report``."""

    report: RestoreReport

    def __init__(self, message: str, *, report: RestoreReport | None = None) -> None:
        """Make the error; ``message`` is its whole text."""
        super().__init__(message, report=report)


class BackupError(ClarifaiError):
    """A backup cannot be written or read. What could not be saved was not deleted; see ``report``, if any."""


class JournalError(ClarifaiError):
    """A journal cannot be written, or was made for another call. See ``report``, if any."""


class PlanError(ClarifaiError):
    """A plan cannot be saved or loaded: the file is something else, damaged, or cannot be used."""


class OutcomesError(ClarifaiError):
    """The folder for the outcomes of a deletion by Spark is there already, or is of another call. Nothing was sent."""


class DeletionLimitError(ClarifaiError, ValueError):
    """More would be deleted than ``max_deletions`` allows. Nothing was deleted."""


# Tracebacks and pickles name them as users import them.
for _name in __all__:
    globals()[_name].__module__ = "clarifai_annotations"
