"""Delete Clarifai annotations: one, many in pairs, or all of some inputs'. Never wider than asked.

>>> from clarifai_annotations import Client
>>> client = Client(user_id="me", app_id="cats", pat="…")
>>> client.delete_annotations(["photo-1", "photo-2"], ["box-1", "box-7"])  # doctest: +SKIP
DeleteReport(requested=2, deleted=2, …)

Each function has a twin ``…_async`` with the same parameters that returns an awaitable, and a method of
the same name on `Client`. `clarifai_annotations.emulator` is the service to test against.
"""

from . import _interpreter as _interpreter
from ._native import (
    Client,
    DeleteReport,
    Failure,
    Failures,
    Progress,
    __version__,
    delete_annotation,
    delete_annotation_async,
    delete_annotations,
    delete_annotations_async,
    delete_input_annotations,
    delete_input_annotations_async,
)
from .errors import (
    ApiError,
    AuthenticationError,
    ClarifaiError,
    ConfigurationError,
    DeadlineError,
    DeletionError,
    IdError,
    IdTypeError,
    NotFoundError,
    PermissionDeniedError,
    ThrottledError,
    TransportError,
)

__all__ = [
    "ApiError",
    "AuthenticationError",
    "ClarifaiError",
    "Client",
    "ConfigurationError",
    "DeadlineError",
    "DeleteReport",
    "DeletionError",
    "Failure",
    "Failures",
    "IdError",
    "IdTypeError",
    "NotFoundError",
    "PermissionDeniedError",
    "Progress",
    "ThrottledError",
    "TransportError",
    "__version__",
    "delete_annotation",
    "delete_annotation_async",
    "delete_annotations",
    "delete_annotations_async",
    "delete_input_annotations",
    "delete_input_annotations_async",
]
