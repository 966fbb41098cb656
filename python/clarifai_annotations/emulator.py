"""An annotation service in this process, for tests, demos and benchmarks.

>>> from clarifai_annotations.emulator import Emulator
>>> with Emulator() as emulator:
...     emulator.add_annotation("photo-1", "box-7")
...     with emulator.client() as client:
...         client.delete_annotation("photo-1", "box-7")
...     [annotation.input_level for annotation in emulator.annotations()]
[True]
"""

from __future__ import annotations

from ._client import Client
from ._native import Emulator as _Emulator
from ._native import Fault, RecordedRequest, StoredAnnotation, annotation_from_json

# As `typing.TYPE_CHECKING`, whose module would take up most of the import's time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Emulator", "Fault", "RecordedRequest", "StoredAnnotation", "annotation_from_json"]


class Emulator(_Emulator):
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

    def client(self, **settings: Any) -> Client:
        """Make a client of this emulator, at the rate of its quota.

        Args:
            settings: Those of `Client`, to differ from what fits.

        Returns:
            The client.

        Raises:
            ConfigurationError: A setting is not valid.

        Example:
            >>> with Emulator() as emulator, emulator.client(max_in_flight=4) as client:
            ...     client.delete_annotation("photo-1", "box-7", missing_ok=True)

        """
        fitting = self._client_settings()
        if "session_token" in settings:
            del fitting["pat"]
        return Client(**(fitting | settings))
