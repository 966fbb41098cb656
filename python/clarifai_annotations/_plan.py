"""What a deletion would do."""

from __future__ import annotations

from . import _native

# As `typing.TYPE_CHECKING`, whose module would take up most of the import's time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._client import Client
    from ._native import DeleteReport, PlannedAnnotations
    from ._types import OnFailure, Path, ProgressCallback


class DeletionPlan:
    """What a deletion would do, as lists told it. Nothing is deleted until `execute`.

    In a notebook it is a table. It exports all its rows as an Arrow stream: ``polars.DataFrame(plan)``,
    ``pyarrow.table(plan)``. It can be saved to a file, and pickled: never with a credential. One that was unpickled is
    executed by the client that the functions share.
    """

    __slots__ = ("_client", "_plan")

    _plan: _native.NativePlan
    _client: _native.NativeClient | None

    def __new__(cls) -> DeletionPlan:
        """Refuse: plans are made by `plan_deletion`, `plan_input_deletion` and `load`."""
        raise TypeError("plan_deletion(), plan_input_deletion() and DeletionPlan.load() make plans")

    @classmethod
    def _of(cls, plan: _native.NativePlan, client: _native.NativeClient | None) -> DeletionPlan:
        self = object.__new__(cls)
        self._plan, self._client = plan, client
        return self

    @property
    def user_id(self) -> str:
        """Owner of the app."""
        return self._plan.user_id

    @property
    def app_id(self) -> str:
        """The app whose annotations these are."""
        return self._plan.app_id

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self._plan.base_url

    @property
    def requested(self) -> int:
        """Different IDs that the call named: pairs, or inputs."""
        return self._plan.requested

    @property
    def deletions(self) -> int:
        """Annotations that would go."""
        return self._plan.deletions

    @property
    def absent(self) -> int:
        """IDs of which nothing is there: pairs, or inputs."""
        return self._plan.absent

    @property
    def spared(self) -> int:
        """Annotations that are there and would stay, because they are input-level."""
        return self._plan.spared

    @property
    def respelled(self) -> int:
        """IDs that the service lists in another spelling alone: pairs, or inputs. They would stay."""
        return self._plan.respelled

    @property
    def duplicates(self) -> int:
        """Mentions that repeat an earlier one."""
        return self._plan.duplicates

    @property
    def requests(self) -> int:
        """List requests that it took."""
        return self._plan.requests

    @property
    def elapsed(self) -> float:
        """Seconds that it took."""
        return self._plan.elapsed

    @property
    def annotations(self) -> PlannedAnnotations:
        """Every annotation that was found, and every ID of which nothing was, in the call's order."""
        return self._plan.annotations

    def execute(
        self,
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
        """Delete what the plan lists for deletion, pair by pair, and nothing else.

        Parameters, result and errors are those of `delete_annotations`; the client is that of the plan, for one that was
        loaded without a client the one that the functions share.

        Raises:
            ConfigurationError: The client is of another app or service than the plan. Nothing was sent.

        """
        return _native.execute_plan(
            self._client_or_shared(),
            self._plan,
            missing_ok,
            on_failure,
            progress,
            timeout,
            backup,
            journal,
            max_deletions,
            look_first,
        )

    async def execute_async(
        self,
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
        """Delete what the plan lists for deletion; the awaited twin of `execute`. Nothing happens before you await it."""
        return await _native.execute_plan_async(
            self._client_or_shared(),
            self._plan,
            missing_ok,
            on_failure,
            progress,
            timeout,
            backup,
            journal,
            max_deletions,
            look_first,
        )

    def _client_or_shared(self) -> _native.NativeClient:
        return _native.shared_client() if self._client is None else self._client

    def save(self, path: Path) -> None:
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
        self._plan.save(path)

    @classmethod
    def load(cls, path: Path, *, client: Client | None = None) -> DeletionPlan:
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
        plan = _native.NativePlan.load(path)
        if client is None:
            return cls._of(plan, None)
        plan.check_client(client._native)
        return cls._of(plan, client._native)

    @classmethod
    def _load(cls, saved: bytes) -> DeletionPlan:
        return cls._of(_native.NativePlan.from_bytes(saved), None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the plan, and no client: that has a credential."""
        return self._load, (self._plan.to_bytes(),)

    def __repr__(self) -> str:
        """Show the counts."""
        return repr(self._plan)

    def _repr_html_(self) -> str:
        return self._plan._repr_html_()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export all rows as an Arrow stream.

        Its columns: ``action``, ``input_id``, ``annotation_id``, ``creator``, ``status``, ``created_at``,
        ``made_by_model``.
        """
        return self._plan.__arrow_c_stream__(requested_schema)
