"""Delete Clarifai annotations: one, many in pairs, or all of some inputs'. Never wider than asked.

Look first, keep a copy, and take it back: `plan_deletion`, ``backup=``, `restore_annotations`.

>>> from clarifai_annotations import Client
>>> client = Client(user_id="me", app_id="cats", pat="…")
>>> client.delete_annotations(["photo-1", "photo-2"], ["box-1", "box-7"])  # doctest: +SKIP
DeleteReport(requested=2, deleted=2, …)

Each function has a twin ``…_async`` with the same parameters that is a coroutine function, and a method of
the same name on `Client`. `clarifai_annotations.emulator` is the service to test against.
"""

from . import _interpreter as _interpreter
from ._client import Client
from ._functions import (
    delete_annotation,
    delete_annotation_async,
    delete_annotations,
    delete_annotations_async,
    delete_input_annotations,
    delete_input_annotations_async,
    plan_deletion,
    plan_deletion_async,
    plan_input_deletion,
    plan_input_deletion_async,
    restore_annotations,
    restore_annotations_async,
)
from ._native import (
    Backup,
    DeleteReport,
    Failure,
    Failures,
    PlannedAnnotation,
    PlannedAnnotations,
    Progress,
    RestoreReport,
    __version__,
    open_backup,
)
from ._plan import DeletionPlan
from .errors import (
    ApiError,
    AuthenticationError,
    BackupError,
    ClarifaiError,
    ConfigurationError,
    DeadlineError,
    DeletionError,
    DeletionLimitError,
    IdError,
    IdTypeError,
    JournalError,
    NotFoundError,
    OutcomesError,
    PermissionDeniedError,
    PlanError,
    RestoreError,
    ThrottledError,
    TransportError,
)

__all__ = [
    "ApiError",
    "AuthenticationError",
    "Backup",
    "BackupError",
    "ClarifaiError",
    "Client",
    "ConfigurationError",
    "DeadlineError",
    "DeleteReport",
    "DeletionError",
    "DeletionLimitError",
    "DeletionPlan",
    "Failure",
    "Failures",
    "IdError",
    "IdTypeError",
    "JournalError",
    "NotFoundError",
    "OutcomesError",
    "PermissionDeniedError",
    "PlanError",
    "PlannedAnnotation",
    "PlannedAnnotations",
    "Progress",
    "RestoreError",
    "RestoreReport",
    "ThrottledError",
    "TransportError",
    "__version__",
    "delete_annotation",
    "delete_annotation_async",
    "delete_annotations",
    "delete_annotations_async",
    "delete_input_annotations",
    "delete_input_annotations_async",
    "open_backup",
    "plan_deletion",
    "plan_deletion_async",
    "plan_input_deletion",
    "plan_input_deletion_async",
    "restore_annotations",
    "restore_annotations_async",
]
