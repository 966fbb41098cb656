"""What the clients on the executors are made of: every setting but the credential, and a share of the quota."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from pyspark.sql import SparkSession

from .. import Client, ConfigurationError

REQUESTS_PER_TASK = 30
"""Requests a second that one task is trusted with: what 32 under way at once keep up at a latency of one second."""

TASKS_WITHOUT_A_LIMIT = 4

MARGIN = 0.02
"""Seconds for which the last requests of a task may still be on their way when its window is over."""

ROUNDING = 1e-6
"""A rate that is so little below a whole number is that number: shares and sums of rates are rounded, and the client takes
them so too (``src/client/rate_limit/adaptive.rs``)."""

VARIABLES = ("CLARIFAI_PAT", "CLARIFAI_SESSION_TOKEN")
"""Where a client finds its credential when it is told nothing else."""

REDACTED_BY_DEFAULT = "(?i)secret|password|token|access[.]?key"
"""Spark's default of ``spark.redaction.regex``."""


@dataclass(frozen=True)
class RateShares:
    """A quota, and how many tasks share it.

    Each task has a whole number of the requests that may be sent in one window; so however the windows of machines lie, no
    second sees more than the quota. A fraction would not do: a task with 3.75 requests a second would send three in 0.8 s,
    and thus may send six within a second. Tasks on one machine put their shares together, so that one uses what another
    leaves.
    """

    requests_per_second: float | None
    tasks: int

    @classmethod
    def divide(cls, requests_per_second: float | None, tasks: int | None) -> RateShares:
        """Divide a quota among so many tasks, or among as few as can use it up.

        Raises:
            ConfigurationError: There are more tasks than requests to share, or no requests.

        """
        if requests_per_second is not None and not 0 < requests_per_second < math.inf:
            raise ConfigurationError(
                f"requests_per_second={requests_per_second}: a number above 0, or None for no limit. Nothing was sent"
            )
        if tasks is None:
            if requests_per_second is None:
                tasks = TASKS_WITHOUT_A_LIMIT
            else:
                tasks = max(1, math.ceil(requests_per_second / REQUESTS_PER_TASK))
        shares = cls(requests_per_second, tasks)
        if not 1 <= tasks <= shares.slots:
            raise ConfigurationError(
                f"tasks={tasks}: from 1 to {shares.slots} can share {requests_per_second:g} requests a second. Nothing was sent"
                if requests_per_second is not None
                else f"tasks={tasks}: at least one is needed. Nothing was sent"
            )
        return shares

    @property
    def slots(self) -> int:
        """Requests of one window. A slot belongs to one task, and so do the rows that fall to it."""
        if self.requests_per_second is None:
            return self.tasks
        return max(1, math.floor(self.requests_per_second + ROUNDING))

    @property
    def window(self) -> float:
        """Seconds after which a request is forgotten."""
        return (
            0.0
            if self.requests_per_second is None
            else max(1.0, self.slots / self.requests_per_second) + MARGIN
        )

    def share(self, partition: int) -> float | None:
        """Return the requests per second of one task."""
        if self.requests_per_second is None:
            return None
        slots = len(range(partition, self.slots, self.tasks))
        return self.requests_per_second / self.slots * slots


class TaskClient(Client):
    """The client of a task: its requests per second are a part of the quota."""

    _is_part_of_rate = True


class ClientSettings(TypedDict, total=False):
    """Settings of `Client` that the executors are told, as they are there. The paths are paths on the executors."""

    user_id: str | None
    app_id: str | None
    base_url: str | None
    root_certificates_path: str | os.PathLike[str] | None
    batch_size: int
    max_in_flight: int
    request_timeout: float
    max_attempts: int


@dataclass(frozen=True)
class Settings:
    """What the clients are made of. It travels in the plans of Spark jobs, so no credential is in it."""

    user_id: str
    app_id: str
    base_url: str
    others: ClientSettings
    shares: RateShares
    secret: str | None

    @classmethod
    def resolve(cls, others: ClientSettings, shares: RateShares, secret: str | None) -> Settings:
        """Settle on the driver which app this is about, so that no executor's environment has a say in it.

        Raises:
            ConfigurationError: A setting is missing or not valid.

        """
        for name in ("pat", "session_token"):
            if name in others:
                raise ConfigurationError(
                    f"{name} is not taken: Spark writes down what it is given. Let the executors find the key in their "
                    "environment, or name it by secret=. Nothing was sent"
                )
        if secret is not None and not re.fullmatch(r"env:\w+|file:.+", secret, re.DOTALL):
            # It is not repeated: it may be the key itself.
            raise ConfigurationError(
                "secret is not the name of one: pass 'env:NAME' for an environment variable of the executors, "
                "or 'file:PATH' for a file there. Nothing was sent"
            )
        known_here: dict[str, Any] = {
            name: value for name, value in others.items() if name != "root_certificates_path"
        }
        # Its credential is a stand-in: this client only settles and checks what the others will be told.
        with Client(
            **known_here, pat="found-on-the-executors", requests_per_second=shares.requests_per_second
        ) as settled:
            return cls(settled.user_id, settled.app_id, settled.base_url, others, shares, secret)

    @property
    def batch_size(self) -> int:
        """IDs in one request."""
        return self.others.get("batch_size", 128)

    def client(self, partition: int) -> Client:
        """Make the client of a task, on its executor.

        Raises:
            ConfigurationError: There is no credential.

        """
        told: dict[str, Any] = {
            **self.others,
            "user_id": self.user_id,
            "app_id": self.app_id,
            "base_url": self.base_url,
            "requests_per_second": self.shares.share(partition),
        }
        return TaskClient(**told, pat=None if self.secret is None else read_secret(self.secret))


def read_secret(secret: str) -> str:
    """Read the key from where the caller said it is.

    Raises:
        ConfigurationError: It is not there.

    """
    kind, _, name = secret.partition(":")
    try:
        return os.environ[name] if kind == "env" else Path(name).read_text(encoding="utf-8").strip()
    except KeyError:
        raise ConfigurationError(f"there is no environment variable {name}, which secret= names") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"{name}, which secret= names, cannot be read: {why}") from None


def refuse_a_key_in_the_open(spark: SparkSession, secret: str | None) -> None:
    """Refuse a key that Spark itself would publish.

    Raises:
        ConfigurationError: The executors get it from ``spark.executorEnv``, which Spark shows in its UI and writes to its
            event log.

    """
    redacted = spark.conf.get("spark.redaction.regex", REDACTED_BY_DEFAULT) or REDACTED_BY_DEFAULT
    named = [secret.removeprefix("env:")] if secret is not None and secret.startswith("env:") else []
    for name in (*VARIABLES, *named):
        option = f"spark.executorEnv.{name}"
        if spark.conf.get(option, None) is not None and not re.search(redacted, option):
            raise ConfigurationError(
                f"{option} is set: Spark shows it in its UI and writes it to its event log. Give the executors the key "
                "by their own environment (spark-env.sh, the cluster's or the pod's secrets) or by a file "
                "(secret='file:…'), or set spark.redaction.regex to match the option's name. Nothing was sent"
            )
