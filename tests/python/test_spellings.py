"""A service that finds an ID in another spelling than it has: what it lists is neither taken for absent nor deleted."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2

from clarifai_annotations import ClarifaiError, Client
from conftest import KEY
from copies import Pair, columns
from hostile_service import Connection, HostileService, deletion, hostile_service, page

SPELLINGS: dict[str, tuple[Pair, Pair]] = {
    "case": (("photo", "BOX"), ("photo", "box")),
    "case beyond ASCII": (("photo", "STRASSE-\u00c9"), ("photo", "straße-\u00e9")),
    "composed": (("photo", "caf\u00e9"), ("photo", "cafe\u0301")),
    "blanks around": (("photo", " box\t"), ("photo", "box")),
    "of the input": (("Photo", "box"), ("photo", "box")),
    "of both": (("Photo", "BOX"), ("photo", "box")),
}
"""What is asked for, and how the service spells it."""
each_spelling = pytest.mark.parametrize(("asked", "spelled"), SPELLINGS.values(), ids=SPELLINGS)


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip().casefold())


class LenientService:
    """Finds what it has in any spelling, and deletes what is named exactly: with anything else, nothing of a batch."""

    def __init__(self, service: HostileService, there: list[Pair]) -> None:
        self.service = service
        self.there = [*there]
        self.deletions: list[Pair] = []
        """Every pair that a deletion named."""
        service.tell(on_list=self.list, on_delete=self.delete)

    def list(self, connection: Connection, stream_id: int) -> None:
        request = connection.requests[stream_id].message
        inputs = [folded(input_id) for input_id in request.input_ids]
        pairs = set(zip(inputs, map(folded, request.ids), strict=False))
        shown = [
            resources_pb2.Annotation(input_id=input_id, id=annotation_id)
            for input_id, annotation_id in self.there
            if ((folded(input_id), folded(annotation_id)) in pairs if pairs else folded(input_id) in inputs)
        ]
        connection.grpc(stream_id, page(*shown))

    def delete(self, connection: Connection, stream_id: int) -> None:
        request = connection.requests[stream_id]
        message = request.message
        named = (
            [(message.input_id, message.annotation_id)]
            if request.method == "DeleteAnnotation"
            else [*zip(message.input_ids, message.ids, strict=True)]
        )
        self.deletions += named
        missing = [pair for pair in named if pair not in self.there]
        if not missing:
            self.there = [pair for pair in self.there if pair not in named]
        connection.grpc(stream_id, deletion(11101, f"no {missing[0]}") if missing else deletion(10000))

    @property
    def lists(self) -> int:
        return self.service.methods.count("ListAnnotations")


@pytest.fixture
def service() -> Iterator[HostileService]:
    with hostile_service() as service:
        yield service


@pytest.fixture
def client(service: HostileService) -> Iterator[Client]:
    """With the patience that a client has by default."""
    with Client(
        user_id="me", app_id="cats", pat=KEY, base_url=service.base_url, requests_per_second=None
    ) as client:
        yield client


def outcomes(report: Any) -> dict[tuple[str, str | None], str]:
    return {(it.input_id, it.annotation_id): it.outcome for it in report.failures}


def names_the_spelling(message: str, spelled: Pair) -> bool:
    """Whether a reason says how the service spells it; what cannot be told apart by eye is escaped."""
    shown = [part.replace("\u0301", "\\u{301}") for part in spelled]
    return all(f'"{part}"' in message for part in shown) and "as the service spells it" in message


@each_spelling
def test_an_id_that_is_listed_in_another_spelling_is_neither_absent_nor_deleted(
    asked: Pair, spelled: Pair, service: HostileService, client: Client, tmp_path: Path
) -> None:
    lenient = LenientService(service, [spelled, ("other", "b")])
    report = client.delete_annotations(
        *columns([asked, ("other", "b"), ("other", "gone")]),
        on_failure="report",
        backup=tmp_path / "backup.parquet",
    )
    assert outcomes(report) == {asked: "failed", ("other", "gone"): "absent"}
    assert names_the_spelling(report.failures[0].message, spelled)
    assert (report.deleted, lenient.there, lenient.deletions) == (1, [spelled], [("other", "b")])
    # What the first did not show was looked for once more.
    assert lenient.lists == 2


@each_spelling
def test_a_batch_with_an_id_in_another_spelling_goes_on_without_it(
    asked: Pair, spelled: Pair, service: HostileService, client: Client
) -> None:
    lenient = LenientService(service, [spelled, ("other", "b")])
    report = client.delete_annotations(
        *columns([asked, ("other", "b"), ("other", "gone")]), on_failure="report"
    )
    assert outcomes(report)[asked] in ("failed", "unknown")
    assert outcomes(report)["other", "gone"] == "absent"
    assert names_the_spelling(report.failures[0].message, spelled)
    assert (report.deleted, lenient.there, lenient.deletions.count(asked)) == (1, [spelled], 1)
    assert lenient.lists <= 2


def test_of_a_full_batch_only_the_id_in_another_spelling_fails(
    service: HostileService, client: Client, tmp_path: Path
) -> None:
    pairs = [("photo", f"box-{n}") for n in range(128)]
    lenient = LenientService(service, pairs)
    asked = [*pairs[:64], ("photo", "BOX-64"), *pairs[65:]]
    report = client.delete_annotations(
        *columns(asked), on_failure="report", backup=tmp_path / "backup.parquet"
    )
    assert (report.deleted, outcomes(report)) == (127, {("photo", "BOX-64"): "failed"})
    assert (lenient.there, report.requests) == ([pairs[64]], 2)


@each_spelling
def test_a_single_deletion_of_an_id_in_another_spelling_says_how_the_service_spells_it(
    asked: Pair, spelled: Pair, service: HostileService, client: Client
) -> None:
    lenient = LenientService(service, [spelled])
    with pytest.raises(ClarifaiError) as raised:
        client.delete_annotation(*asked, missing_ok=True)
    assert names_the_spelling(str(raised.value), spelled)
    assert (lenient.there, lenient.deletions) == ([spelled], [asked])


@each_spelling
def test_a_plan_marks_an_id_in_another_spelling_and_its_execution_leaves_it_out(
    asked: Pair, spelled: Pair, service: HostileService, client: Client
) -> None:
    lenient = LenientService(service, [spelled, ("other", "b")])
    plan = client.plan_deletion(*columns([asked, ("other", "b"), ("other", "gone")]))
    assert [(it.action, it.input_id, it.annotation_id) for it in plan.annotations] == [
        ("respelled", *asked),
        ("delete", "other", "b"),
        ("absent", "other", "gone"),
    ]
    assert (plan.deletions, plan.absent, plan.respelled, "respelled=1" in repr(plan)) == (1, 1, 1, True)
    assert plan.execute().deleted == 1
    assert (lenient.there, lenient.deletions) == ([spelled], [("other", "b")])


def test_a_plan_logs_how_the_service_spells_an_id(
    service: HostileService, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    LenientService(service, [("photo", "box")])
    client.plan_deletion(["photo"], ["BOX"])
    assert any(names_the_spelling(record.message, ("photo", "box")) for record in caplog.records)


def test_where_both_spellings_are_there_the_one_that_was_named_goes(
    service: HostileService, client: Client, tmp_path: Path
) -> None:
    lenient = LenientService(service, [("photo", "BOX"), ("photo", "box")])
    assert client.delete_annotations(["photo"], ["box"], backup=tmp_path / "backup.parquet").deleted == 1
    assert lenient.there == [("photo", "BOX")]


def test_an_id_whose_other_spelling_was_named_too_is_absent(
    service: HostileService, client: Client, tmp_path: Path
) -> None:
    LenientService(service, [("photo", "box")])
    report = client.delete_annotations(
        ["photo", "photo"], ["BOX", "box"], backup=tmp_path / "backup.parquet", on_failure="report"
    )
    assert (report.deleted, outcomes(report)) == (1, {("photo", "BOX"): "absent"})


# ---- whole inputs ---------------------------------------------------------------------------------------

INPUTS = {"case": ("Photo", "photo"), "blanks around": ("photo ", "photo"), "composed": ("\u00e9", "e\u0301")}
each_input = pytest.mark.parametrize(("asked", "spelled"), INPUTS.values(), ids=INPUTS)


@each_input
def test_a_plan_marks_an_input_in_another_spelling_and_its_execution_leaves_it_out(
    asked: str, spelled: str, service: HostileService, client: Client
) -> None:
    lenient = LenientService(service, [(spelled, "a"), ("other", "b")])
    plan = client.plan_input_deletion([asked, "other", "gone"])
    assert [(it.action, it.input_id, it.annotation_id) for it in plan.annotations] == [
        ("respelled", asked, None),
        ("delete", "other", "b"),
        ("absent", "gone", None),
    ]
    assert plan.execute().deleted == 1
    assert lenient.there == [(spelled, "a")]


@each_input
@pytest.mark.parametrize("way", ["max_deletions", "backup"])
def test_an_input_that_is_listed_in_another_spelling_is_neither_absent_nor_deleted(
    way: str, asked: str, spelled: str, service: HostileService, client: Client, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"max_deletions": 10, "backup": tmp_path / "backup.parquet"}
    lenient = LenientService(service, [(spelled, "a"), ("other", "b")])
    report = client.delete_input_annotations(
        [asked, "other", "gone"], on_failure="report", **{way: options[way]}
    )
    assert outcomes(report) == {(asked, None): "failed", ("gone", None): "absent"}
    assert names_the_spelling(report.failures[0].message, (spelled, spelled))
    assert lenient.there == [(spelled, "a")]


@each_input
def test_a_refused_input_that_is_listed_in_another_spelling_is_not_called_cleared(
    asked: str, spelled: str, service: HostileService, client: Client
) -> None:
    LenientService(service, [(spelled, "a")])
    service.on_delete = lambda connection, stream_id: connection.grpc(stream_id, deletion(11102, "no"))
    report = client.delete_input_annotations([asked], on_failure="report")
    [failure] = report.failures
    assert failure.outcome in ("failed", "unknown")
    assert names_the_spelling(failure.message, (spelled, spelled))


# ---- a restoration --------------------------------------------------------------------------------------


def test_a_copy_whose_id_is_listed_in_another_spelling_is_neither_posted_nor_called_present(
    service: HostileService, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "backup.parquet"
    lenient = LenientService(service, [("photo", "BOX")])
    client.delete_annotations(["photo"], ["BOX"], backup=path)
    lenient.there.append(("photo", "box"))
    report = client.restore_annotations(path, on_failure="report")
    [failure] = report.failures
    assert (report.restored, report.present, failure.outcome) == (0, 0, "failed")
    assert names_the_spelling(failure.message, ("photo", "box"))
    assert "PostAnnotations" not in service.methods


# ---- lists that name entirely other annotations ---------------------------------------------------------

OTHERS = [resources_pb2.Annotation(input_id=f"other-{n}", id=f"x{n}") for n in range(2)]
THERE = resources_pb2.Annotation(input_id="p", id="a")


def lists(*annotations: Any) -> Callable[[Connection, int], None]:
    return lambda connection, stream_id: connection.grpc(stream_id, page(*annotations))


def test_what_a_list_shows_goes_and_what_it_hides_behind_others_is_unsent_at_once(
    service: HostileService, client: Client, tmp_path: Path
) -> None:
    service.tell(on_list=lists(*OTHERS, THERE))
    report = client.delete_annotations(
        ["p", "p"], ["a", "b"], on_failure="report", backup=tmp_path / "backup.parquet"
    )
    assert (report.deleted, outcomes(report), report.requests) == (1, {("p", "b"): "unsent"}, 2)
    assert "other annotations than it was asked for" in report.failures[0].message


def test_a_plan_concludes_nothing_from_a_list_of_others_and_says_so_at_once(
    service: HostileService, client: Client
) -> None:
    service.tell(on_list=lists(*OTHERS, THERE))
    with pytest.raises(ClarifaiError, match="other annotations than it was asked for") as raised:
        client.plan_deletion(["p", "p"], ["a", "b"])
    assert 'annotation "b" of input "p"' in str(raised.value)
    assert len(service.requests) < 5


def test_a_refused_batch_is_unknown_at_once_where_a_list_shows_others(
    service: HostileService, client: Client
) -> None:
    service.tell(
        on_list=lists(*OTHERS),
        on_delete=lambda connection, stream_id: connection.grpc(stream_id, deletion(11102, "no")),
    )
    report = client.delete_annotations(["p", "p"], ["a", "b"], on_failure="report")
    assert (report.unknown, service.methods) == (2, ["DeleteAnnotations", "ListAnnotations"])


@pytest.mark.parametrize("way", ["max_deletions", "backup"])
def test_inputs_whose_list_shows_others_are_unsent_and_the_next_go(
    way: str, service: HostileService, client: Client, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"max_deletions": 10, "backup": tmp_path / "backup.parquet"}

    def others_for_q(connection: Connection, stream_id: int) -> None:
        asked = connection.requests[stream_id].message.input_ids
        shown = [resources_pb2.Annotation(input_id=it, id="a") for it in asked if it != "q"]
        connection.grpc(stream_id, page(*shown, *(OTHERS if "q" in asked else [])))

    service.tell(on_list=others_for_q)
    report = client.delete_input_annotations(["p", "q"], on_failure="report", **{way: options[way]})
    assert (report.deleted, outcomes(report)) == (1, {("q", None): "unsent"})
