"""What the public record leaves open, played by a service of Clarifai's own servicer class: each outcome is right either way.

Backups, looks before a deletion, inputs that are missing, restorations, and "me".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from clarifai_grpc.grpc.api import resources_pb2

from clarifai_annotations import (
    BackupError,
    Client,
    ConfigurationError,
    DeleteReport,
    DeletionError,
    DeletionPlan,
    JournalError,
    NotFoundError,
    ThrottledError,
    open_backup,
)
from copies import Pair, columns, copies
from recorded_service import (
    DENIED,
    RecordedService,
    Reply,
    by_model,
    by_user,
    counts,
    input_level,
    recorded_service,
    without_times,
)


@pytest.fixture
def service() -> Iterator[RecordedService]:
    with recorded_service() as service:
        yield service


@pytest.fixture
def client(service: RecordedService) -> Iterator[Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backup.parquet"


# Backups

SAVED_CALLS: dict[str, Callable[[Client, list[Pair], Path], DeleteReport]] = {
    "pairs": lambda client, pairs, path: client.delete_annotations(*columns(pairs), backup=path),
    "inputs": lambda client, pairs, path: client.delete_input_annotations(
        [pair[0] for pair in pairs], backup=path
    ),
    "inputs with a limit": lambda client, pairs, path: client.delete_input_annotations(
        [pair[0] for pair in pairs], backup=path, max_deletions=9
    ),
}
EVERY_SAVED_CALL = pytest.mark.parametrize("call", SAVED_CALLS.values(), ids=SAVED_CALLS)


@EVERY_SAVED_CALL
def test_every_list_of_a_call_with_a_backup_asks_for_what_models_found(
    call: Callable[..., DeleteReport], service: RecordedService, client: Client, path: Path
) -> None:
    pairs = service.add(by_user("p", "a"), by_model("q", "b"))
    call(client, pairs, path)
    assert [it.message.return_model_output for it in service.of("List")] == [True] * len(service.of("List"))


@EVERY_SAVED_CALL
def test_what_a_model_made_is_whole_in_the_backup_where_a_service_withholds_it_unless_asked(
    call: Callable[..., DeleteReport], service: RecordedService, client: Client, path: Path
) -> None:
    service.withholds_model_output = True
    pairs = service.add(by_user("p", "a"), by_model("q", "b", concepts=3))
    before = dict(service.annotations)
    report = call(client, pairs, path)
    assert (report.ok, service.annotations, dict(copies(path))) == (True, {}, before)


def test_an_open_backup_exports_the_bytes_that_the_service_served(
    service: RecordedService, client: Client, path: Path
) -> None:
    pairs = service.add(by_user("p", "a"), by_model("q", "b"))
    before = dict(service.annotations)
    client.delete_annotations(*columns(pairs), backup=path)
    rows = pa.table(open_backup(path)).to_pylist()
    assert {(row["input_id"], row["annotation_id"]): row["annotation"] for row in rows} == before


@EVERY_SAVED_CALL
def test_a_report_warns_of_what_models_made_and_the_service_gave_no_data_of(
    call: Callable[..., DeleteReport], service: RecordedService, client: Client, path: Path
) -> None:
    pairs = service.add(by_user("p", "a"), by_model("q", "b", concepts=0), by_model("r", "c", concepts=0))
    report = call(client, pairs, path)
    (warning,) = report.warnings
    assert ("2 annotations" in warning, '"b" of input "q"' in warning) == (True, True)


def test_what_came_without_data_is_deleted_all_the_same(
    service: RecordedService, client: Client, path: Path
) -> None:
    pairs = service.add(by_user("p", "a"), by_model("q", "b", concepts=0))
    report = client.delete_annotations(*columns(pairs), backup=path)
    assert (report.deleted, service.annotations) == (2, {})


def test_what_came_without_data_is_told_in_the_log(
    service: RecordedService, client: Client, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = service.add(by_model("q", "b", concepts=0))
    client.delete_annotations(*columns(pairs), backup=path)
    (warning,) = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert '"b" of input "q"' in warning.getMessage()


def test_what_users_made_without_data_is_nothing_to_warn_of(
    service: RecordedService, client: Client, path: Path
) -> None:
    service.add(by_user("p", "a"))
    service.annotations["p", "bare"] = by_user("p", "bare", data=resources_pb2.Data())
    report = client.delete_annotations(["p", "p"], ["a", "bare"], backup=path)
    assert report.warnings == ()


# A look before a deletion


def test_without_a_look_a_missing_annotation_that_the_service_confirms_is_deleted(
    service: RecordedService, client: Client
) -> None:
    pairs = [*service.add(by_user("p", "a")), ("p", "missing")]
    assert counts(client.delete_annotations(*columns(pairs))) == (2, 0, 0, 0, 0)


def test_without_a_look_a_single_missing_one_that_the_service_confirms_is_fine(
    service: RecordedService, client: Client
) -> None:
    client.delete_annotation("p", "missing")
    assert [call.method for call in service.calls] == ["DeleteAnnotation"]


def test_with_a_look_a_missing_annotation_is_absent(service: RecordedService, client: Client) -> None:
    pairs = [*service.add(by_user("p", "a")), ("p", "missing")]
    report = client.delete_annotations(*columns(pairs), look_first=True, missing_ok=True)
    assert counts(report) == (1, 1, 0, 0, 0)


def test_with_a_look_a_deletion_does_not_name_what_is_missing(
    service: RecordedService, client: Client
) -> None:
    pairs = [*service.add(by_user("p", "a")), ("p", "missing")]
    client.delete_annotations(*columns(pairs), look_first=True, missing_ok=True)
    assert [call.pairs for call in service.of("Delete")] == [[("p", "a")]]


def test_with_a_look_a_missing_annotation_is_a_failure_unless_missing_is_ok(
    service: RecordedService, client: Client
) -> None:
    service.add(by_user("p", "a"))
    with pytest.raises(DeletionError) as raised:
        client.delete_annotations(["p", "p"], ["a", "missing"], look_first=True)
    assert [(it.annotation_id, it.outcome) for it in raised.value.report.failures] == [("missing", "absent")]


def test_with_a_look_a_single_missing_one_is_not_found_and_not_sent(
    service: RecordedService, client: Client
) -> None:
    with pytest.raises(NotFoundError, match='annotation "missing" of input "p"'):
        client.delete_annotation("p", "missing", look_first=True)
    assert service.of("Delete") == []


def test_with_a_look_a_single_missing_one_is_fine_where_missing_is_ok(
    service: RecordedService, client: Client
) -> None:
    client.delete_annotation("p", "missing", look_first=True, missing_ok=True)
    assert service.of("Delete") == []


def test_single_ones_that_look_and_are_awaited_together_share_lists_and_requests(
    service: RecordedService,
) -> None:
    pairs = service.add(*(by_user("p", f"a{i}") for i in range(500)))

    async def delete_all() -> None:
        async with service.client() as client:
            await asyncio.gather(*(client.delete_annotation_async(*pair, look_first=True) for pair in pairs))

    asyncio.run(delete_all())
    assert (service.annotations, len(service.calls) <= 60) == ({}, True), len(service.calls)


def test_single_ones_that_look_together_get_an_outcome_each(service: RecordedService) -> None:
    pairs = service.add(*(by_user("p", f"a{i}") for i in range(0, 40, 2)))

    async def delete_all() -> list[Any]:
        async with service.client() as client:
            calls = (client.delete_annotation_async("p", f"a{i}", look_first=True) for i in range(40))
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(delete_all())
    found = {("p", f"a{i}") for i, result in enumerate(results) if result is None}
    others = {type(result) for result in results if result is not None}
    assert (found, others) == ({*pairs}, {NotFoundError})


def test_with_a_look_an_input_that_is_not_there_is_absent(service: RecordedService, client: Client) -> None:
    service.add(input_level("p"), by_user("p", "a"), input_level("q"))
    report = client.delete_input_annotations(["p", "q", "missing"], look_first=True, on_failure="report")
    assert (counts(report), report.failures[0].input_id) == ((2, 1, 0, 0, 0), "missing")


def test_with_a_look_what_is_on_inputs_goes_pair_by_pair(service: RecordedService, client: Client) -> None:
    pairs = service.add(by_user("p", "a"), by_model("p", "b"), by_user("q", "a"))
    service.add(input_level("p"), input_level("q"))
    client.delete_input_annotations(["p", "q"], look_first=True)
    assert sorted(pair for call in service.of("Delete") for pair in call.pairs) == sorted(pairs)


@pytest.mark.parametrize("form", ["one", "pairs", "backup", "inputs"])
def test_what_only_the_second_list_shows_is_deleted(
    form: str, service: RecordedService, client: Client, path: Path
) -> None:
    service.add(by_user("p", "a"), by_user("q", "late"))
    service.shown_late = {("q", "late")}
    if form == "one":
        client.delete_annotation("q", "late", look_first=True)
    elif form == "inputs":
        client.delete_input_annotations(["p", "q"], look_first=True)
    else:
        settings: dict[str, Any] = {"look_first": True} if form == "pairs" else {"backup": path}
        client.delete_annotations(["p", "q"], ["a", "late"], **settings)
    assert ("q", "late") not in service.annotations


def test_what_only_the_second_list_shows_is_in_the_backup(
    service: RecordedService, client: Client, path: Path
) -> None:
    service.add(by_user("p", "a"), by_user("q", "late"))
    before, service.shown_late = dict(service.annotations), {("q", "late")}
    client.delete_annotations(["p", "q"], ["a", "late"], backup=path)
    assert dict(copies(path)) == before


# Inputs that are missing, and an app that is

LISTING_CALLS: dict[str, Callable[..., DeleteReport]] = {
    "pairs": lambda client, pairs, _, **how: client.delete_annotations(*columns(pairs), **how),
    "backup": lambda client, pairs, path, **how: client.delete_annotations(
        *columns(pairs), backup=path, **how
    ),
    "look first": lambda client, pairs, _, **how: client.delete_annotations(
        *columns(pairs), look_first=True, **how
    ),
    "inputs, backup": lambda client, pairs, path, **how: client.delete_input_annotations(
        columns(pairs)[0], backup=path, **how
    ),
    "inputs, look first": lambda client, pairs, _, **how: client.delete_input_annotations(
        columns(pairs)[0], look_first=True, **how
    ),
    "inputs, limit": lambda client, pairs, _, **how: client.delete_input_annotations(
        columns(pairs)[0], max_deletions=200, **how
    ),
    "inputs, limit and backup": lambda client, pairs, path, **how: client.delete_input_annotations(
        columns(pairs)[0], max_deletions=200, backup=path, **how
    ),
}
BOTH_CODES = pytest.mark.parametrize("code", [11101, 30102])
MISSING = 77
"""The place of the input that is missing."""


def with_a_missing_input(service: RecordedService, code: int) -> list[Pair]:
    """128 pairs, of which one is on an input that is not there."""
    service.missing_inputs, service.code_of_missing_input = {f"p{MISSING}"}, code
    pairs = service.add(*(by_user(f"p{i}", "a") for i in range(128)))
    service.annotations.pop(pairs[MISSING])
    return pairs


@BOTH_CODES
@pytest.mark.parametrize("call", LISTING_CALLS.values(), ids=LISTING_CALLS)
def test_where_one_input_of_128_is_missing_it_alone_is_absent_and_all_else_is_deleted(
    call: Callable[..., DeleteReport], code: int, service: RecordedService, client: Client, path: Path
) -> None:
    report = call(client, with_a_missing_input(service, code), path, on_failure="report")
    absent = [it.input_id for it in report.failures]
    assert (counts(report), absent, service.annotations) == ((127, 1, 0, 0, 0), [f"p{MISSING}"], {})


@BOTH_CODES
def test_a_plan_of_pairs_tells_the_missing_input_apart(
    code: int, service: RecordedService, client: Client
) -> None:
    plan = client.plan_deletion(*columns(with_a_missing_input(service, code)))
    assert (plan.deletions, plan.absent) == (127, 1)


@BOTH_CODES
def test_a_plan_of_inputs_tells_the_missing_input_apart(
    code: int, service: RecordedService, client: Client
) -> None:
    plan = client.plan_input_deletion(columns(with_a_missing_input(service, code))[0])
    assert (plan.deletions, plan.absent) == (127, 1)


@BOTH_CODES
def test_a_restoration_fails_for_what_is_on_the_missing_input_alone(
    code: int, service: RecordedService, client: Client, path: Path
) -> None:
    pairs = service.add(*(by_user(f"p{i}", "a") for i in range(128)))
    client.delete_annotations(*columns(pairs), backup=path)
    service.missing_inputs, service.code_of_missing_input = {f"p{MISSING}"}, code
    report = client.restore_annotations(path, on_failure="report")
    failed = [(it.input_id, it.outcome) for it in report.failures]
    assert (report.restored, failed) == (127, [(f"p{MISSING}", "failed")])


def test_a_single_annotation_of_a_missing_input_is_not_found(
    service: RecordedService, client: Client
) -> None:
    service.missing_inputs = {"p"}
    with pytest.raises(NotFoundError, match='annotation "a" of input "p"'):
        client.delete_annotation("p", "a", look_first=True)


def test_a_single_annotation_of_a_missing_input_is_fine_where_missing_is_ok(
    service: RecordedService, client: Client
) -> None:
    service.missing_inputs = {"p"}
    client.delete_annotation("p", "a", look_first=True, missing_ok=True)
    assert service.of("Delete") == []


@pytest.mark.parametrize("look_first", [False, True])
def test_of_single_ones_that_go_together_the_one_on_a_missing_input_alone_is_not_found(
    look_first: bool, service: RecordedService
) -> None:
    pairs = with_a_missing_input(service, 11101)

    async def delete_all() -> list[Any]:
        async with service.client() as client:
            calls = (client.delete_annotation_async(*pair, look_first=look_first) for pair in pairs)
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(delete_all())
    failed = {i: type(result) for i, result in enumerate(results) if result is not None}
    assert (failed, service.annotations) == ({MISSING: NotFoundError}, {})


def test_a_client_asks_once_whether_its_app_is_there(service: RecordedService, client: Client) -> None:
    pairs = with_a_missing_input(service, 11101)
    for _ in range(2):
        client.delete_annotations(*columns(pairs[MISSING : MISSING + 1]), look_first=True, missing_ok=True)
    assert [call.message.per_page for call in service.probes] == [1]


def test_a_client_of_another_app_asks_for_itself(service: RecordedService, client: Client) -> None:
    service.missing_inputs = {"p"}
    for it in (client, client.for_app("dogs")):
        it.delete_annotation("p", "a", look_first=True, missing_ok=True)
    assert [call.message.user_app_id.app_id for call in service.probes] == ["cats", "dogs"]


def test_30102_is_about_an_input_without_asking(service: RecordedService, client: Client) -> None:
    client.delete_annotations(
        *columns(with_a_missing_input(service, 30102)), look_first=True, missing_ok=True
    )
    assert service.probes == []


@pytest.mark.parametrize("call", LISTING_CALLS.values(), ids=LISTING_CALLS)
def test_a_missing_app_stops_a_run_and_the_error_names_user_and_app(
    call: Callable[..., DeleteReport], service: RecordedService, client: Client, path: Path
) -> None:
    pairs = service.add(*(by_user(f"p{i}", "a") for i in range(128)))
    service.has_app = False
    with pytest.raises(NotFoundError, match=r'Check user_id "alice".* and app_id "cats"'):
        call(client, pairs, path)


def test_a_missing_app_costs_one_probe(service: RecordedService, client: Client) -> None:
    service.has_app = False
    with pytest.raises(NotFoundError):
        client.delete_annotations([f"p{i}" for i in range(128)], ["a"] * 128, look_first=True)
    assert [call.message.per_page for call in service.calls if not call.input_ids] == [1]


def test_a_missing_app_costs_a_deletion_of_inputs_one_probe_and_no_halving(
    service: RecordedService,
) -> None:
    service.has_app = False
    with service.client(max_in_flight=1) as client, pytest.raises(NotFoundError, match='app_id "cats"'):
        client.delete_input_annotations([f"p{i}" for i in range(1280)])
    assert [call.method for call in service.calls] == ["DeleteAnnotations", "ListAnnotations"]


@BOTH_CODES
def test_a_deletion_of_inputs_goes_on_where_one_of_them_is_missing(
    code: int, service: RecordedService, client: Client
) -> None:
    pairs = with_a_missing_input(service, code)
    report = client.delete_input_annotations(columns(pairs)[0], on_failure="report")
    assert (counts(report), service.annotations) == ((127, 1, 0, 0, 0), {})


def test_nothing_of_a_missing_app_is_called_absent(service: RecordedService, client: Client) -> None:
    service.has_app = False
    with pytest.raises(NotFoundError) as raised:
        client.delete_annotations(["p", "q"], ["a", "b"], look_first=True, missing_ok=True)
    report = raised.value.report
    assert isinstance(report, DeleteReport)
    assert (report.deleted, report.absent) == (0, 0)


def test_missing_ok_does_not_make_up_for_a_missing_app(service: RecordedService, client: Client) -> None:
    service.has_app = False
    with pytest.raises(NotFoundError, match='app_id "cats"'):
        client.delete_annotation("p", "a", look_first=True, missing_ok=True)


# Restorations


def deleted(service: RecordedService, client: Client, path: Path, *annotations: bytes) -> list[Pair]:
    """Add annotations, and delete them with a backup."""
    pairs = service.add(*annotations)
    client.delete_annotations(*columns(pairs), backup=path)
    assert service.annotations == {}
    return pairs


def test_what_comes_back_has_every_byte_but_its_times(
    service: RecordedService, client: Client, path: Path
) -> None:
    annotations = by_user("p", "a", "bob"), by_model("q", "b")
    deleted(service, client, path, *annotations)
    client.restore_annotations(path)
    assert [*service.annotations.values()] == [without_times(it) for it in annotations]


def test_as_caller_leaves_out_the_user_and_nothing_else(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_user("p", "a", "bob"))
    client.restore_annotations(path, as_caller=True)
    assert service.annotations["p", "a"] == by_user("p", "a", "bob", as_caller=True)


def test_as_caller_what_a_model_made_loses_its_user_and_stays_the_models(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_model("q", "b", "bob"))
    client.restore_annotations(path, as_caller=True)
    assert service.annotations["q", "b"] == by_model("q", "b", "bob", as_caller=True)


def refuses_foreign(service: RecordedService) -> None:
    """Refuse posts that name bob, with a status for each annotation."""

    def refuse(call: Any) -> Reply | None:
        named = getattr(call.message, "annotations", ())
        foreign = [it.id for it in named if it.user_id == "bob"]
        return Reply(10020, "Failure", own=(DENIED, "Cannot post as bob")) if foreign else None

    service.before = refuse


def test_a_post_to_a_missing_input_fails_alone(service: RecordedService, client: Client, path: Path) -> None:
    deleted(service, client, path, *(by_user(f"p{i}", "a") for i in range(20)))
    refusal = Reply(11101, "Resource does not exist")
    service.before = lambda call: (
        refusal if call.method == "PostAnnotations" and "p7" in call.input_ids else None
    )
    report = client.restore_annotations(path, on_failure="report")
    assert (report.restored, [(it.input_id, it.outcome) for it in report.failures]) == (
        19,
        [("p7", "failed")],
    )


def test_a_refused_post_fails_with_the_status_of_its_annotation(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_user("p", "a", "bob"), by_user("p", "b"))
    refuses_foreign(service)
    report = client.restore_annotations(path, on_failure="report")
    (failure,) = report.failures
    assert "ANNOTATION_PERMISSION_DENIED (24156): Cannot post as bob" in failure.message


def test_a_refused_post_does_not_keep_the_others_from_coming_back(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_user("p", "a", "bob"), *(by_user("p", f"b{i}") for i in range(20)))
    refuses_foreign(service)
    report = client.restore_annotations(path, on_failure="report")
    assert (report.restored, report.failed, report.failures[0].annotation_id) == (20, 1, "a")


def test_what_a_collaborator_may_not_post_for_others_comes_back_as_their_own(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_user("p", "a", "bob"), by_model("p", "b", "bob"))
    refuses_foreign(service)
    assert client.restore_annotations(path, as_caller=True).restored == 2


def test_a_duplicate_id_of_what_is_there_ends_as_present(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_user("p", "a"), by_user("p", "b"))
    another = by_user("p", "a", "another")

    def come_between(call: Any) -> None:
        if call.method == "PostAnnotations":
            service.annotations.setdefault(("p", "a"), another)

    service.before = come_between
    report = client.restore_annotations(path)
    assert (report.restored, report.present, service.annotations["p", "a"]) == (1, 1, another)


def test_what_is_there_is_present_and_not_posted(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_user("p", "a"), by_user("p", "b"))
    service.add(by_user("p", "a"))
    report = client.restore_annotations(path)
    posted = [call.pairs for call in service.of("Post")]
    assert (report.present, posted) == (1, [[("p", "b")]])


# "me"

ONE_USER = pytest.mark.parametrize(
    ("first", "second"), [("me", "alice"), ("alice", "me"), ("Alice", "alice"), ("ME", "Alice")]
)


def begun(service: RecordedService, user_id: str, journal: Path) -> list[Pair]:
    """A call of 6 pairs that ends after 4."""
    pairs = service.add(*(by_user("p", f"a{i}") for i in range(6)))
    service.before = lambda call: Reply(11004) if call.deletes and len(service.of("Delete")) == 3 else None
    with (
        service.client(user_id=user_id, batch_size=2, max_in_flight=1) as client,
        pytest.raises(ThrottledError),
    ):
        client.delete_annotations(*columns(pairs), journal=journal)
    service.before = None
    return pairs


@ONE_USER
def test_a_journal_is_continued_under_another_name_of_the_same_user(
    first: str, second: str, service: RecordedService, tmp_path: Path
) -> None:
    journal = tmp_path / "run.journal"
    pairs = begun(service, first, journal)
    with service.client(user_id=second) as client:
        report = client.delete_annotations(*columns(pairs), journal=journal)
    assert (report.deleted, report.from_journal) == (6, 4)


def test_a_journal_goes_from_me_to_a_name_and_back(service: RecordedService, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    pairs = begun(service, "me", journal)
    reports = []
    for user_id in ("alice", "me"):
        with service.client(user_id=user_id) as client:
            reports.append(client.delete_annotations(*columns(pairs), journal=journal))
    assert [it.from_journal for it in reports] == [4, 6]


def test_a_journal_is_not_continued_by_another_user(service: RecordedService, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    pairs = begun(service, "alice", journal)
    with service.client(user_id="bob") as client, pytest.raises(JournalError, match="alice/cats"):
        client.delete_annotations(*columns(pairs), journal=journal)


@ONE_USER
def test_a_backup_is_restored_under_another_name_of_the_same_user(
    first: str, second: str, service: RecordedService, path: Path
) -> None:
    with service.client(user_id=first) as client:
        deleted(service, client, path, by_user("p", "a"))
    with service.client(user_id=second) as client:
        assert client.restore_annotations(path).restored == 1


def test_a_backup_of_another_user_is_not_restored(
    service: RecordedService, client: Client, path: Path
) -> None:
    deleted(service, client, path, by_user("p", "a"))
    with service.client(user_id="bob") as bob, pytest.raises(BackupError, match="alice/cats"):
        bob.restore_annotations(path)


def planned_by(user_id: str, service: RecordedService, path: Path) -> Path:
    """The file of a plan that a client of this user made."""
    pairs = service.add(by_user("p", "a"))
    with service.client(user_id=user_id) as client:
        client.plan_deletion(*columns(pairs)).save(path)
    return path


def test_a_plan_is_executed_whatever_the_case_of_its_user(service: RecordedService, path: Path) -> None:
    saved = planned_by("Alice", service, path)
    with service.client(user_id="alice") as client:
        assert DeletionPlan.load(saved, client=client).execute().deleted == 1


def test_a_plan_of_me_is_not_executed_in_the_app_of_a_named_user(
    service: RecordedService, path: Path
) -> None:
    saved = planned_by("me", service, path)
    with service.client(user_id="alice") as client, pytest.raises(ConfigurationError, match="me/cats"):
        DeletionPlan.load(saved, client=client).execute()


# What is denied, and not listed


def test_a_single_one_that_is_denied_and_not_listed_is_not_done_with_missing_ok(
    service: RecordedService, client: Client
) -> None:
    (pair,) = service.hidden = service.locked = {*service.add(by_user("p", "a"))}
    with pytest.raises(Exception, match="ANNOTATION_PERMISSION_DENIED"):
        client.delete_annotation(*pair, missing_ok=True)


@pytest.mark.parametrize("missing_ok", [False, True])
def test_what_is_denied_alone_and_not_listed_is_failed(
    missing_ok: bool, service: RecordedService, client: Client
) -> None:
    service.hidden = service.locked = {*service.add(by_user("p", "a"))}
    with pytest.raises(DeletionError) as raised:
        client.delete_annotations(["p"], ["a"], missing_ok=missing_ok)
    assert counts(raised.value.report) == (0, 0, 1, 0, 0)


@pytest.mark.parametrize("missing_ok", [False, True])
def test_of_a_batch_what_is_denied_and_not_listed_is_failed_and_the_others_are_deleted(
    missing_ok: bool, service: RecordedService, client: Client
) -> None:
    pairs = service.add(*(by_user("p", f"a{i}") for i in range(10)))
    service.hidden = service.locked = {pairs[3]}
    with pytest.raises(DeletionError) as raised:
        client.delete_annotations(*columns(pairs), missing_ok=missing_ok)
    report = raised.value.report
    failed = [(it.annotation_id, it.outcome) for it in report.failures]
    assert (report.deleted, failed) == (9, [("a3", "failed")])


def test_what_is_not_there_beside_what_is_denied_and_not_listed_is_absent(
    service: RecordedService, client: Client
) -> None:
    pairs = service.add(*(by_user("p", f"a{i}") for i in range(10)))
    service.hidden = service.locked = {pairs[3]}
    report = client.delete_annotations(
        *columns([*pairs, ("p", "missing")]), missing_ok=True, on_failure="report"
    )
    outcomes = {it.annotation_id: it.outcome for it in report.failures}
    assert (counts(report), outcomes) == ((9, 1, 1, 0, 0), {"a3": "failed", "missing": "absent"})


def test_an_input_that_is_denied_and_seems_to_be_empty_is_failed(
    service: RecordedService, client: Client
) -> None:
    pairs = service.add(input_level("p"), by_user("p", "a"), input_level("q"), by_user("q", "a"))
    service.hidden = service.locked = {pairs[1]}
    with pytest.raises(DeletionError) as raised:
        client.delete_input_annotations(["p", "q"])
    report = raised.value.report
    assert (report.deleted, [(it.input_id, it.outcome) for it in report.failures]) == (1, [("p", "failed")])


def test_an_input_that_is_denied_alone_and_seems_to_be_empty_is_failed(
    service: RecordedService, client: Client
) -> None:
    pairs = service.add(input_level("p"), by_user("p", "a"))
    service.hidden = service.locked = {pairs[1]}
    report = client.delete_input_annotations(["p"], on_failure="report")
    assert counts(report) == (0, 0, 1, 0, 0)
