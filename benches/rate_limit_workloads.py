"""What the clients of `benches/rate_limit.py` do, each in a process of its own.

``python benches/rate_limit_workloads.py delete_pairs '{"clients": ["a"], "count": 1280, …}'`` prints *ready*, waits for a
line on its standard input, and begins. An input ID begins with the name of the client and a full stop, so that the
service can tell the clients apart.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

USER_ID, APP_ID, PAT = "rate-limit-user", "rate-limit-app", "made-up"
BATCH = 128


def input_ids(client: str, count: int) -> list[str]:
    """IDs of the inputs that a client names, ten annotations on each."""
    return [f"{client}.photo-{n // 10}" for n in range(count)]


def annotation_ids(count: int) -> list[str]:
    """IDs of the annotations that a client names."""
    return [f"box-{n}" for n in range(count)]


def make_client(base_url: str, root_certificates_path: str, settings: dict[str, Any]) -> Any:
    """Our client. It does not connect yet."""
    from clarifai_annotations import Client

    return Client(
        user_id=USER_ID,
        app_id=APP_ID,
        pat=PAT,
        base_url=base_url,
        root_certificates_path=root_certificates_path,
        **settings,
    )


def wait_for_start() -> None:
    """Begin at the same time as the other processes."""
    print("ready", flush=True)
    sys.stdin.readline()


def delete_pairs(
    clients: list[str], count: int, base_url: str, root_certificates_path: str, **settings: Any
) -> None:
    """One call of `delete_annotations` for so many pairs; by a forked child each, if there are more clients."""
    columns = [(input_ids(client, count), annotation_ids(count)) for client in clients]
    client = make_client(base_url, root_certificates_path, settings)
    wait_for_start()

    def delete(column: tuple[list[str], list[str]]) -> None:
        # With missing_ok, an annotation whose deletion succeeded although its response was lost is no failure.
        report = client.delete_annotations(*column, missing_ok=True)
        assert report.deleted + report.absent == count, report

    if len(clients) == 1:
        delete(columns[0])
    else:
        run_in_children([lambda column=column: delete(column) for column in columns])  # type: ignore[misc]


def run_in_children(works: list[Callable[[], None]]) -> None:
    """Fork a child for each, and wait for all of them."""
    children = []
    for work in works:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work()
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    assert not failed, f"{len(failed)} children failed"


def delete_serially(
    clients: list[str], count: int, base_url: str, root_certificates_path: str, **settings: Any
) -> None:
    """One call of `delete_annotation` after the other."""
    columns = zip(input_ids(clients[0], count), annotation_ids(count), strict=True)
    client = make_client(base_url, root_certificates_path, settings)
    wait_for_start()
    for input_id, annotation_id in columns:
        client.delete_annotation(input_id, annotation_id)


def delete_with_sdk(clients: list[str], count: int, base_url: str, root_certificates_path: str) -> None:
    """One batch after the other by Clarifai's SDK."""
    from clarifai.client.input import Inputs

    inputs = Inputs(
        user_id=USER_ID,
        app_id=APP_ID,
        pat=PAT,
        base_url=base_url,
        root_certificates_path=root_certificates_path,
    )
    logging.disable(logging.CRITICAL)  # the import has configured it anew
    columns = input_ids(clients[0], count), annotation_ids(count)
    wait_for_start()
    for start in range(0, count, BATCH):
        inputs.delete_annotations(*(column[start : start + BATCH] for column in columns))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # a client that is throttled says so each time
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
