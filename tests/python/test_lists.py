"""Lists that change while they are read: what moves between pages is neither missed nor counted twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2

from clarifai_annotations import ClarifaiError, Client, DeleteReport
from conftest import KEY
from copies import Pair
from hostile_service import Connection, HostileService, deletion, hostile_service, page

PER_PAGE = 1000

Meanwhile = Callable[[list[Any], int], None]
"""Another client: changes what is there, after each answered list; the number of lists so far comes with it."""


def annotation(input_id: str, annotation_id: str, *, input_level: bool = False) -> Any:
    return resources_pb2.Annotation(input_id=input_id, id=annotation_id, input_level=input_level)


class Shelf:
    """Annotations in their order, listed page by page and deleted pair by pair, while another client goes at them."""

    def __init__(self, service: HostileService, there: list[Any], meanwhile: Meanwhile) -> None:
        self.there = there
        self.meanwhile = meanwhile
        self.lists = 0
        service.tell(on_list=self.show, on_delete=self.delete)

    def show(self, connection: Connection, stream_id: int) -> None:
        request = connection.requests[stream_id].message
        pairs = set(zip(request.input_ids, request.ids, strict=False))
        shown = [
            it
            for it in self.there
            if ((it.input_id, it.id) in pairs if pairs else it.input_id in request.input_ids)
        ]
        start = (request.page - 1) * request.per_page
        self.lists += 1
        connection.grpc(stream_id, page(*shown[start : start + request.per_page]))
        self.meanwhile(self.there, self.lists)

    def delete(self, connection: Connection, stream_id: int) -> None:
        request = connection.requests[stream_id].message
        assert request.ids, "whole inputs are not deleted here"
        named = set(zip(request.input_ids, request.ids, strict=True))
        self.there[:] = [it for it in self.there if (it.input_id, it.id) not in named]
        connection.grpc(stream_id, deletion(10000))

    def left(self) -> list[Pair]:
        """What is there that a deletion of its input would take."""
        return [(it.input_id, it.id) for it in self.there if not it.input_level]


@pytest.fixture
def service() -> Iterator[HostileService]:
    with hostile_service() as service:
        yield service


@pytest.fixture
def client(service: HostileService) -> Iterator[Client]:
    options: dict[str, Any] = {"max_attempts": 2, "request_timeout": 5, "requests_per_second": None}
    with Client(user_id="me", app_id="cats", pat=KEY, base_url=service.base_url, **options) as client:
        yield client


def many(count: int) -> list[Any]:
    """So many annotations of one input behind its own, in the order of a list."""
    own = annotation("p", "own", input_level=True)
    return [own, *(annotation("p", f"a{n:05}") for n in range(count))]


def deletes_early_ones(there: list[Any], lists: int) -> None:
    """128 of the first page go when that is read: as many of the second page move to the first."""
    if lists == 1:
        del there[100:228]


def deletes_some_each_time(there: list[Any], lists: int) -> None:
    """A few of the first page go whenever a page is read, as long as a call is likely to last."""
    if lists < 12:
        del there[1:8]


def adds_in_front(there: list[Any], lists: int) -> None:
    """The last of the first page move to the second, which shows them once more."""
    if lists == 1:
        there[1:1] = [annotation("p", f"new{n}") for n in range(300)]


def planned(client: Client, _folder: Path) -> DeleteReport:
    return client.plan_input_deletion(["p"]).execute(missing_ok=True)


def capped(client: Client, _folder: Path) -> DeleteReport:
    return client.delete_input_annotations(["p"], max_deletions=5000)


def kept(client: Client, folder: Path) -> DeleteReport:
    return client.delete_input_annotations(["p"], backup=folder / "backup.parquet")


WAYS = [planned, capped, kept]
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
@pytest.mark.parametrize("meanwhile", [deletes_early_ones, deletes_some_each_time])
def test_what_moves_to_a_page_that_was_read_is_deleted_too(
    meanwhile: Meanwhile, way: Any, service: HostileService, client: Client, tmp_path: Path
) -> None:
    shelf = Shelf(service, many(2500), meanwhile)
    assert way(client, tmp_path).ok
    assert shelf.left() == []


@each_way
def test_what_others_add_in_front_hides_nothing_that_was_there_before(
    way: Any, service: HostileService, client: Client, tmp_path: Path
) -> None:
    shelf = Shelf(service, many(2500), adds_in_front)
    assert way(client, tmp_path).ok
    assert [pair for pair in shelf.left() if not pair[1].startswith("new")] == []


def test_an_annotation_on_two_pages_is_planned_once(service: HostileService, client: Client) -> None:
    Shelf(service, many(2500), adds_in_front)
    plan = client.plan_input_deletion(["p"])
    found = [it.annotation_id for it in plan.annotations]
    assert len(found) == len(set(found))
    assert plan.spared == 1


def test_an_annotation_on_two_pages_counts_once_towards_the_cap(
    service: HostileService, client: Client
) -> None:
    Shelf(service, many(2500), adds_in_front)
    assert client.delete_input_annotations(["p"], max_deletions=2800).deleted == 1


def test_an_input_is_not_called_cleared_when_its_last_annotation_moves_to_a_page_that_was_read(
    service: HostileService, client: Client
) -> None:
    there = [annotation("p", f"own{n}", input_level=True) for n in range(PER_PAGE)] + [annotation("p", "a")]

    def deletes_one_of_its_own(there: list[Any], lists: int) -> None:
        if lists == 1:
            del there[0]

    shelf = Shelf(service, there, deletes_one_of_its_own)
    service.on_delete = lambda connection, stream_id: connection.grpc(stream_id, deletion(11102, "no"))
    report = client.delete_input_annotations(["p"], on_failure="report")
    assert (report.failed, shelf.left()) == (1, [("p", "a")])


def test_a_list_of_several_pages_that_nobody_changes_is_read_twice_but_for_its_last_page(
    service: HostileService, client: Client
) -> None:
    Shelf(service, many(2500), lambda _there, _lists: None)
    assert client.plan_input_deletion(["p"]).requests == 5


def test_inputs_that_fill_one_page_together_are_listed_once(service: HostileService, client: Client) -> None:
    Shelf(service, many(998), lambda _there, _lists: None)
    assert client.plan_input_deletion(["p"]).requests == 1


def changes_for_ever(there: list[Any], lists: int) -> None:
    """A list that shows something new on every page, however often it is read."""
    there[1:1] = [annotation("p", f"new{lists}-{n}") for n in range(10)]


def test_a_plan_of_a_list_that_never_stops_changing_is_an_error_that_says_so(
    service: HostileService, client: Client
) -> None:
    shelf = Shelf(service, many(1100), changes_for_ever)
    with pytest.raises(ClarifaiError, match="times that it was read"):
        client.plan_input_deletion(["p"])
    assert shelf.lists < 100


@pytest.mark.parametrize("way", ["max_deletions", "backup"])
def test_inputs_whose_list_never_stops_changing_are_unsent_and_say_so_and_the_others_go(
    way: str, service: HostileService, client: Client, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"max_deletions": 100_000, "backup": tmp_path / "backup.parquet"}
    shelf = Shelf(service, [*many(1100), annotation("q", "own", input_level=True)], changes_for_ever)
    shelf.there.append(annotation("q", "a"))
    report = client.delete_input_annotations(["p", "q"], on_failure="report", **{way: options[way]})
    [failure] = report.failures
    assert (report.deleted, failure.input_id, failure.outcome) == (1, "p", "unsent")
    assert "times that it was read" in failure.message
    assert ("q", "a") not in shelf.left()
    assert len([pair for pair in shelf.left() if pair[1].startswith("a")]) == 1100


def same_page_for_ever(connection: Connection, stream_id: int) -> None:
    connection.grpc(stream_id, page(*many(PER_PAGE - 1)))


@pytest.mark.parametrize("named", [["p"], [*(f"p{n}" for n in range(127)), "p"]], ids=["one", "many"])
def test_a_list_whose_pages_repeat_for_ever_is_an_error_that_says_so(
    named: list[str], service: HostileService, client: Client
) -> None:
    service.tell(on_list=same_page_for_ever)
    with pytest.raises(ClarifaiError, match="has no end"):
        client.plan_input_deletion(named)
    assert len(service.requests) < 50


@pytest.mark.parametrize("way", ["max_deletions", "backup"])
def test_nothing_is_deleted_by_a_list_whose_pages_repeat_for_ever(
    way: str, service: HostileService, client: Client, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"max_deletions": 100_000, "backup": tmp_path / "backup.parquet"}
    service.tell(on_list=same_page_for_ever)
    report = client.delete_input_annotations(["p"], on_failure="report", **{way: options[way]})
    assert (report.unsent, set(service.methods)) == (1, {"ListAnnotations"})
    assert "has no end" in report.failures[0].message
