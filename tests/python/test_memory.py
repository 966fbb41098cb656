"""Lists of large annotations: what they hold is not kept, and a page that is too large is asked for in parts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2

from clarifai_annotations import ClarifaiError, Client
from clarifai_annotations.emulator import Emulator
from conftest import KEY
from copies import copies
from hostile_service import Connection, HostileService, deletion, hostile_service, page

IN_A_PROCESS = """
import json, sys
from pathlib import Path
from clarifai_annotations import Client

def kilobytes(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(name))

base_url, way, inputs, annotations, folder = sys.argv[1:]
ids = [f"p{n}" for n in range(int(inputs))]
pairs = [(input_id, f"a{n}") for input_id in ids for n in range(int(annotations))]
columns = [[pair[n] for pair in pairs] for n in (0, 1)]
backup = Path(folder) / "backup.parquet"
options = {"user_id": "emulator-user", "app_id": "emulator-app", "pat": "k", "requests_per_second": None}
with Client(base_url=base_url, **options) as client:
    client.plan_deletion(["p0"], ["a0"])
    before = kilobytes("VmRSS")
    done = {
        "plan inputs": lambda: client.plan_input_deletion(ids).deletions,
        "plan pairs": lambda: client.plan_deletion(*columns).deletions,
        "count inputs": lambda: client.delete_input_annotations(ids, max_deletions=10**6).deleted,
        "save inputs": lambda: client.delete_input_annotations(ids, backup=backup).deleted,
        "save pairs": lambda: client.delete_annotations(*columns, backup=backup).deleted,
    }[way]()
    print(json.dumps({"done": done, "grown": (kilobytes("VmHWM") - before) // 1024}))
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

LARGE = resources_pb2.Annotation(
    data=resources_pb2.Data(text=resources_pb2.Text(raw="x" * 40_000))
).SerializeToString()


@needs_proc
@pytest.mark.parametrize(("inputs", "annotations"), [(1, 6000), (1500, 4)], ids=["one input", "many inputs"])
@pytest.mark.parametrize(
    ("way", "most"),
    [
        ("plan inputs", 96),
        ("plan pairs", 96),
        ("count inputs", 96),
        ("save inputs", 160),
        ("save pairs", 160),
    ],
)
def test_240_mb_of_annotations_are_listed_in_a_part_of_that(
    way: str, most: int, inputs: int, annotations: int, tmp_path: Path
) -> None:
    with Emulator() as emulator:
        for n in range(inputs * annotations):
            emulator.add_annotation(f"p{n // annotations}", f"a{n % annotations}", message=LARGE)
        named = [emulator.base_url, way, str(inputs), str(annotations), str(tmp_path)]
        command = [sys.executable, "-c", IN_A_PROCESS, *named]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(run.stdout)
    assert told["done"] in (inputs, inputs * annotations)
    assert told["grown"] < most


# ---- answers that are too large -------------------------------------------------------------------------


def too_large_for_grpc(connection: Connection, stream_id: int) -> None:
    """As gRPC servers say it, by the code of a request too many."""
    text = "grpc: trying to send message larger than max (200000000 vs. 134217728)"
    connection.headers(
        stream_id,
        [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "8"),
            ("grpc-message", text),
        ],
        "END_STREAM",
    )


def too_large_for_clarifai(connection: Connection, stream_id: int) -> None:
    connection.grpc(stream_id, page(code=40033))


class HeavyService:
    """Annotations of one input of which so many bytes fit into an answer."""

    def __init__(self, service: HostileService, there: list[Any], most_bytes: int, refuse: Any) -> None:
        self.there = there
        self.most_bytes = most_bytes
        self.refuse = refuse
        self.pages: list[tuple[int, int]] = []
        """Where each page that was asked for began, and how many could be on it."""
        service.tell(on_list=self.list, on_delete=self.delete)

    def list(self, connection: Connection, stream_id: int) -> None:
        request = connection.requests[stream_id].message
        start = (request.page - 1) * request.per_page
        self.pages.append((start, request.per_page))
        named = [it for it in self.there if not request.ids or it.id in request.ids]
        answer = page(*named[start : start + request.per_page])
        if len(answer) > self.most_bytes:
            self.refuse(connection, stream_id)
        else:
            connection.grpc(stream_id, answer)

    def delete(self, connection: Connection, stream_id: int) -> None:
        named = connection.requests[stream_id].message.ids
        self.there = [it for it in self.there if it.id not in named]
        connection.grpc(stream_id, deletion(10000))


@pytest.fixture
def service() -> Iterator[HostileService]:
    with hostile_service() as service:
        yield service


@pytest.fixture
def client(service: HostileService) -> Iterator[Client]:
    options: dict[str, Any] = {"max_attempts": 2, "request_timeout": 10, "requests_per_second": None}
    with Client(user_id="me", app_id="cats", pat=KEY, base_url=service.base_url, **options) as client:
        yield client


def heavy(count: int, size: int) -> list[Any]:
    data = resources_pb2.Data(text=resources_pb2.Text(raw="x" * size))
    return [resources_pb2.Annotation(input_id="p", id=f"a{n:04}", data=data) for n in range(count)]


each_refusal = pytest.mark.parametrize("refuse", [too_large_for_grpc, too_large_for_clarifai])


@each_refusal
def test_a_page_that_the_service_may_not_send_is_asked_for_with_less_on_it(
    refuse: Any, service: HostileService, client: Client
) -> None:
    peer = HeavyService(service, heavy(1700, 1000), 300_000, refuse)
    plan = client.plan_input_deletion(["p"])
    assert [it.annotation_id for it in plan.annotations] == [f"a{n:04}" for n in range(1700)]
    assert peer.pages[:3] == [(0, 1000), (0, 500), (0, 250)]
    assert plan.execute().deleted == 1700


@each_refusal
def test_a_page_that_the_service_may_not_send_does_not_count_as_throttled(
    refuse: Any, service: HostileService, client: Client, tmp_path: Path
) -> None:
    HeavyService(service, heavy(1700, 1000), 300_000, refuse)
    report = client.delete_input_annotations(["p"], backup=tmp_path / "backup.parquet")
    assert (report.deleted, report.throttled, report.retries) == (1, 0, 0)
    assert len(copies(tmp_path / "backup.parquet")) == 1700


@each_refusal
def test_pairs_that_the_service_may_not_send_together_are_listed_in_parts(
    refuse: Any, service: HostileService, client: Client, tmp_path: Path
) -> None:
    there = heavy(100, 10_000)
    HeavyService(service, list(there), 300_000, refuse)
    report = client.delete_annotations(
        ["p"] * 101, [*(it.id for it in there), "gone"], backup=tmp_path / "backup.parquet", missing_ok=True
    )
    assert (report.deleted, report.absent, report.throttled) == (100, 1, 0)


@each_refusal
def test_a_refused_batch_of_heavy_pairs_is_looked_up_in_parts(
    refuse: Any, service: HostileService, client: Client
) -> None:
    there = heavy(100, 10_000)
    HeavyService(service, list(there), 300_000, refuse)
    service.on_delete = lambda connection, stream_id: connection.grpc(stream_id, deletion(24155, "no"))
    report = client.delete_annotations(["p"] * 101, [*(it.id for it in there), "gone"], on_failure="report")
    assert (report.failed, report.absent) == (100, 1)


def test_an_annotation_that_the_service_may_not_send_at_all_fails_and_the_others_go(
    service: HostileService, client: Client, tmp_path: Path
) -> None:
    there = heavy(3, 1000)
    there[1].data.text.raw = "x" * 500_000
    HeavyService(service, list(there), 300_000, too_large_for_grpc)
    report = client.delete_annotations(
        ["p"] * 3, [it.id for it in there], on_failure="report", backup=tmp_path / "backup.parquet"
    )
    [failure] = report.failures
    assert (report.deleted, failure.annotation_id, failure.outcome) == (2, "a0001", "failed")
    assert "larger than max" in failure.message


def test_an_annotation_of_more_than_all_answers_together_may_take_is_planned(
    service: HostileService, client: Client
) -> None:
    HeavyService(service, heavy(2, 40 << 20), 1 << 30, too_large_for_grpc)
    assert client.plan_input_deletion(["p"]).deletions == 2


def test_an_annotation_that_is_larger_than_any_answer_may_be_is_an_error_that_says_so(
    service: HostileService, client: Client
) -> None:
    def announced(connection: Connection, stream_id: int) -> None:
        connection.headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        connection.data(stream_id, b"\0" + (1 << 30).to_bytes(4, "big"))

    service.tell(on_list=announced)
    with pytest.raises(ClarifaiError, match="the answer to a list has 1073741824 bytes, more than"):
        client.plan_deletion(["p"], ["a"])
    assert len(service.requests) == 1
