"""`journal=`: the same call goes on where it stopped, whatever ended it."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import pickle
import random
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import random_cases
from child_calls import ChildCalls
from clarifai_annotations import BackupError, Client, DeletionError, JournalError
from clarifai_annotations._native import fold_journal, journal_status
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY
from copies import Pair, columns, copies, rows, seed, sent, stored

PAIRS: list[Pair] = [("p", "a"), ("q", "a"), ("p", "b")]


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    """Two inputs with annotations beside their own."""
    seed(clarifai_emulator, PAIRS)
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with emulator.client(request_timeout=3) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A journal as Python's own SQLite has it; what is changed is kept."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def outcomes(path: Path, part: int = 0) -> list[tuple[int, str, str | None, str]]:
    """The rows of a journal: position, input, annotation, outcome."""
    with opened(path) as journal:
        query = (
            "SELECT position, input_id, annotation_id, outcome FROM outcomes WHERE part = ? ORDER BY position"
        )
        return journal.execute(query, [part]).fetchall()


def outcomes_by_now(path: Path) -> list[tuple[int, str, str | None, str]]:
    """The rows of a journal whose call was killed, or runs. A copy is asked, of which the logs are folded first."""
    with tempfile.TemporaryDirectory() as folder:
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, folder)
        copy = Path(folder, path.name)
        fold_journal(copy)
        return outcomes(copy) if copy.exists() else []


def set_outcome(path: Path, outcome: str) -> None:
    """Leave a journal as a call does that is killed when it knows no more than that."""
    with opened(path) as journal:
        journal.execute("UPDATE runs SET outcome = ?", [outcome])
        journal.execute("UPDATE calls SET finished_at = NULL")


CALLS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "pairs": ("delete_annotations", columns(PAIRS), {}),
    "inputs": ("delete_input_annotations", (["p", "q"],), {}),
    "inputs with a cap": ("delete_input_annotations", (["p", "q"],), {"max_deletions": 3}),
}
each_call = pytest.mark.parametrize(("method", "named", "options"), CALLS.values(), ids=CALLS)


def test_a_journal_has_a_row_for_each_pair_with_its_outcome(
    emulator: Emulator, client: Client, path: Path
) -> None:
    emulator.lock("p", "b")
    client.delete_annotations(*columns([*PAIRS, ("p", "gone")]), journal=path, on_failure="report")
    assert outcomes(path) == [
        (0, "p", "a", "deleted"),
        (1, "q", "a", "deleted"),
        (2, "p", "b", "failed"),
        (3, "p", "gone", "absent"),
    ]


def test_a_journal_says_why_a_pair_could_not_be_deleted(
    emulator: Emulator, client: Client, path: Path
) -> None:
    emulator.lock("p", "b")
    client.delete_annotations(["p"], ["b"], journal=path, on_failure="report")
    with opened(path) as journal:
        ((code, message),) = journal.execute("SELECT code, message FROM outcomes").fetchall()
    assert (code, "ANNOTATION_PERMISSION_DENIED" in message) == (24156, True)


def test_a_journal_of_inputs_has_a_row_for_each_input(client: Client, path: Path) -> None:
    named = ["p", "nowhere", "q"]
    client.delete_input_annotations(named, journal=path, on_failure="report", look_first=True)
    assert outcomes(path) == [
        (0, "p", None, "deleted"),
        (1, "nowhere", None, "absent"),
        (2, "q", None, "deleted"),
    ]


def test_a_journal_names_the_call_that_it_is_of(emulator: Emulator, client: Client, path: Path) -> None:
    client.delete_annotations(*columns(PAIRS), journal=path)
    with opened(path) as journal:
        (call,) = journal.execute(
            "SELECT part, operation, user_id, app_id, base_url, requested FROM calls"
        ).fetchall()
    assert call == (0, "delete_annotations", "emulator-user", "emulator-app", emulator.base_url, 3)


def test_a_journal_is_one_file_when_the_call_is_done(client: Client, path: Path) -> None:
    client.delete_annotations(*columns(PAIRS), journal=path)
    assert [it.name for it in path.parent.iterdir() if it.name.startswith(path.name)] == [path.name]


def test_nothing_of_the_key_is_in_a_journal(emulator: Emulator, path: Path) -> None:
    with emulator.client(pat=KEY) as client:
        client.delete_annotations(*columns(PAIRS), journal=path)
    assert KEY.encode() not in path.read_bytes()


@each_call
@pytest.mark.parametrize("backup", [False, True])
def test_a_call_that_is_done_sends_nothing_when_it_is_made_again(
    backup: bool,
    method: str,
    named: Any,
    options: dict[str, Any],
    emulator: Emulator,
    client: Client,
    path: Path,
) -> None:
    options = {**options, "journal": path, "backup": path.with_suffix(".parquet") if backup else None}
    first = getattr(client, method)(*named, **options)
    emulator.clear_requests()
    again = getattr(client, method)(*named, **options)
    assert (again.ok, again.deleted, again.requested) == (True, first.deleted, first.requested)
    assert emulator.requests == []


@each_call
async def test_an_awaited_call_goes_on_as_well(
    method: str, named: Any, options: dict[str, Any], emulator: Emulator, client: Client, path: Path
) -> None:
    await getattr(client, f"{method}_async")(*named, journal=path, **options)
    emulator.clear_requests()
    again = await getattr(client, f"{method}_async")(*named, journal=path, **options)
    assert (again.ok, emulator.requests) == (True, [])


def test_what_is_deleted_stays_so_though_it_came_back(emulator: Emulator, client: Client, path: Path) -> None:
    client.delete_annotations(*columns(PAIRS), journal=path)
    seed(emulator, PAIRS[:1])
    assert client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3
    assert list(stored(emulator)) == PAIRS[:1]


def test_what_failed_is_tried_again(emulator: Emulator, client: Client, path: Path) -> None:
    # The three together, and the first alone.
    emulator.inject(*[Fault.status(24156).on("DeleteAnnotations")] * 2)
    with pytest.raises(DeletionError) as raised:
        client.delete_annotations(*columns(PAIRS), journal=path)
    assert raised.value.report.failed == 1
    emulator.clear_requests()
    assert client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3
    assert sent(emulator, "DeleteAnnotations") == PAIRS[:1]


def test_what_was_not_sent_is_sent(emulator: Emulator, path: Path) -> None:
    # Refused for good after the first of three requests.
    emulator.inject(Fault.none(), Fault.status(11009))
    with emulator.client(batch_size=1, max_in_flight=1) as client:
        report = client.delete_annotations(*columns(PAIRS), journal=path, on_failure="report")
        assert report.deleted == 1
        emulator.clear_requests()
        assert client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3
    assert sent(emulator, "DeleteAnnotations") == PAIRS[1:]


def test_what_was_announced_and_not_sent_is_not_looked_up(emulator: Emulator, path: Path) -> None:
    # All three are in the journal before the first is sent, for they share a sync.
    emulator.inject(Fault.none(), Fault.status(11009))
    with emulator.client(batch_size=1, max_in_flight=1) as client:
        client.delete_annotations(*columns(PAIRS), journal=path, on_failure="report")
        assert [outcome for *_, outcome in outcomes(path)] == ["deleted", "failed"]
        client.delete_annotations(*columns(PAIRS), journal=path)
    assert sent(emulator, "ListAnnotations") == []


@pytest.mark.parametrize("backup", [False, True])
def test_pairs_that_were_under_way_are_looked_up_first(
    backup: bool, emulator: Emulator, client: Client, path: Path
) -> None:
    options: Any = {"journal": path, "backup": path.with_suffix(".parquet") if backup else None}
    client.delete_annotations(*columns(PAIRS), **options)
    set_outcome(path, "unknown")
    seed(emulator, PAIRS[:1])
    emulator.clear_requests()
    assert client.delete_annotations(*columns(PAIRS), **options).deleted == 3
    assert sent(emulator, "ListAnnotations") == PAIRS
    assert (sent(emulator, "DeleteAnnotations"), stored(emulator)) == (PAIRS[:1], {})


def test_pairs_that_were_under_way_go_before_those_that_were_not(
    emulator: Emulator, client: Client, path: Path
) -> None:
    client.delete_annotations(*columns(PAIRS), journal=path)
    with opened(path) as journal:
        journal.execute("DELETE FROM runs")
        known = [(1, "deleted", '[["q", "a"]]'), (2, "unknown", '[["p", "b"]]')]
        journal.executemany("INSERT INTO runs VALUES (?1, 0, ?1, 1, ?2, NULL, NULL, ?3)", known)
        journal.execute("UPDATE calls SET finished_at = NULL")
    seed(emulator, PAIRS)
    emulator.clear_requests()
    with emulator.client(max_in_flight=1) as one_by_one:
        one_by_one.delete_annotations(*columns(PAIRS), journal=path)
    assert [(it.method, it.ids) for it in emulator.requests] == [
        ("ListAnnotations", ["b"]),
        ("DeleteAnnotations", ["b"]),
        ("DeleteAnnotations", ["a"]),
    ]


@pytest.mark.parametrize("options", [{}, {"backup": "kept"}, {"max_deletions": 9}], ids=repr)
def test_inputs_that_were_under_way_are_brought_to_an_end(
    options: dict[str, Any], emulator: Emulator, client: Client, path: Path
) -> None:
    if "backup" in options:
        options = {"backup": path.with_suffix(".parquet")}
    client.delete_input_annotations(["p", "q"], journal=path, **options)
    set_outcome(path, "unknown")
    seed(emulator, PAIRS[:1])
    assert client.delete_input_annotations(["p", "q"], journal=path, **options).deleted == 2
    assert stored(emulator) == {}


def test_what_was_under_way_and_cannot_be_looked_up_stays_unknown(
    emulator: Emulator, client: Client, path: Path
) -> None:
    client.delete_annotations(*columns(PAIRS), journal=path)
    set_outcome(path, "unknown")
    emulator.inject(*[Fault.status(24156).on("ListAnnotations")] * 9)
    report = client.delete_annotations(*columns(PAIRS), journal=path, on_failure="report")
    assert (report.unknown, sent(emulator, "DeleteAnnotations")) == (3, PAIRS)
    assert {outcome for *_, outcome in outcomes(path)} == {"unknown"}


def test_a_repeated_pair_has_one_row_where_it_stands_first(
    emulator: Emulator, client: Client, path: Path
) -> None:
    repeated = [PAIRS[0], PAIRS[0], PAIRS[1], PAIRS[0], PAIRS[2]]
    client.delete_annotations(*columns(repeated), journal=path)
    assert [position for position, *_ in outcomes(path)] == [0, 2, 4]
    emulator.clear_requests()
    again = client.delete_annotations(*columns(repeated), journal=path)
    assert (again.deleted, again.duplicates, emulator.requests) == (3, 2, [])


@pytest.mark.parametrize("missing_ok", [False, True])
def test_what_is_absent_is_not_sent_again(
    missing_ok: bool, emulator: Emulator, client: Client, path: Path
) -> None:
    named = columns([*PAIRS, ("p", "gone")])
    client.delete_annotations(*named, journal=path, missing_ok=True, look_first=True)
    emulator.clear_requests()
    report = client.delete_annotations(*named, journal=path, missing_ok=missing_ok, on_failure="report")
    assert (report.deleted, report.absent, report.ok) == (3, 1, missing_ok)
    assert emulator.requests == []


def test_parts_of_a_journal_are_calls_of_their_own(emulator: Emulator, client: Client, path: Path) -> None:
    for part, pair in enumerate(PAIRS):
        client.delete_annotations(*columns([pair]), journal=(path, part))
    emulator.clear_requests()
    for part, pair in enumerate(PAIRS):
        assert client.delete_annotations(*columns([pair]), journal=(str(path), part)).deleted == 1
        assert outcomes(path, part) == [(0, *pair, "deleted")]
    assert emulator.requests == []


def test_a_path_alone_is_part_0(client: Client, path: Path) -> None:
    client.delete_annotations(*columns(PAIRS), journal=path)
    with pytest.raises(JournalError, match="other IDs"):
        client.delete_annotations(*columns(PAIRS[:1]), journal=(path, 0))


def test_an_empty_call_with_a_journal_sends_nothing(emulator: Emulator, client: Client, path: Path) -> None:
    assert client.delete_annotations([], [], journal=path).requested == 0
    assert emulator.requests == []


def test_what_comes_from_a_journal_is_said(client: Client, path: Path) -> None:
    first = client.delete_annotations(*columns(PAIRS), journal=path)
    again = client.delete_annotations(*columns(PAIRS), journal=path)
    assert (first.from_journal, first.finished_at, "from_journal" in repr(first)) == (0, None, False)
    assert (again.from_journal, again.deleted, again.requests) == (3, 3, 0)
    assert again.finished_at is not None
    with opened(path) as journal:
        (finished_at,) = journal.execute("SELECT finished_at FROM calls").fetchone()
    assert (again.finished_at.isoformat(), again.finished_at.utcoffset()) == (finished_at, timedelta(0))
    assert repr(again).endswith("from_journal=3)")
    assert "<td>3</td>" in again._repr_html_().partition("from_journal")[2]
    kept = pickle.loads(pickle.dumps(again))
    assert (kept.from_journal, kept.finished_at) == (3, again.finished_at)


def test_a_call_that_goes_on_says_how_much_an_earlier_run_did(
    emulator: Emulator, client: Client, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.inject(*[Fault.status(24156).on("DeleteAnnotations")] * 2)
    client.delete_annotations(*columns(PAIRS), journal=path, on_failure="report")
    with caplog.at_level(logging.INFO, "clarifai_annotations"):
        again = client.delete_annotations(*columns(PAIRS), journal=path)
        assert (again.from_journal, again.deleted, again.finished_at) == (2, 3, None)
        assert f"journal {path}: an earlier run has settled 2 of 3 IDs" in caplog.text
        client.delete_annotations(*columns(PAIRS), journal=path)
        assert re.search(rf"journal {path}: finished on 2\d\d\d-.*; nothing is sent", caplog.text)


def test_a_journal_of_a_call_that_left_something_open_is_not_finished(emulator: Emulator, path: Path) -> None:
    emulator.inject(Fault.none(), Fault.status(11009))
    with emulator.client(batch_size=1, max_in_flight=1) as client:
        client.delete_annotations(*columns(PAIRS), journal=path, on_failure="report")
    (part,) = json.loads(journal_status(path))
    assert (part["deleted"], part["finished_at"], part["is_running"]) == (1, None, False)


def test_a_plan_that_is_executed_goes_on(emulator: Emulator, client: Client, path: Path) -> None:
    plan = client.plan_input_deletion(["p", "q"])
    plan.execute(journal=path)
    emulator.clear_requests()
    assert plan.execute(journal=path).deleted == 3
    assert emulator.requests == []


@pytest.mark.parametrize("journal", [7, ("journal",), ("journal", -1), ("journal", "0")], ids=repr)
def test_what_is_no_place_for_a_journal_is_refused(journal: Any, emulator: Emulator, client: Client) -> None:
    with pytest.raises(TypeError):
        client.delete_annotations(*columns(PAIRS), journal=journal)
    assert emulator.requests == []


@pytest.fixture
def done(client: Client, path: Path, emulator: Emulator) -> Path:
    """The journal of a deletion of two pairs."""
    client.delete_annotations(*columns(PAIRS[:2]), journal=path)
    emulator.clear_requests()
    return path


def at_another_address(client: Client) -> Client:
    base_url = client.base_url.replace("127.0.0.1", "localhost")
    return Client(user_id="emulator-user", app_id="emulator-app", pat=KEY, base_url=base_url)


OTHER_CALLS: dict[str, tuple[Any, str]] = {
    "other IDs": (
        lambda client, **journal: client.delete_annotations(*columns(PAIRS[1:]), **journal),
        "was made for 2 other IDs, or for the same in another order; this call names 2",
    ),
    "more IDs": (
        lambda client, **journal: client.delete_annotations(*columns(PAIRS), **journal),
        "was made for 2 other IDs, or for the same in another order; this call names 3",
    ),
    "another order": (
        lambda client, **journal: client.delete_annotations(*columns(PAIRS[1::-1]), **journal),
        "in another order",
    ),
    # The same letters, cut up in another way.
    "other borders": (
        lambda client, **journal: client.delete_annotations(["pa", "qa"], ["p", "q"], **journal),
        "other IDs",
    ),
    "another operation": (
        lambda client, **journal: client.delete_input_annotations(["p", "q"], **journal),
        "was made for delete_annotations, and this is delete_input_annotations",
    ),
    "another app": (
        lambda client, **journal: client.for_app("dogs").delete_annotations(*columns(PAIRS[:2]), **journal),
        "was made for the app emulator-user/emulator-app, and this call is for emulator-user/dogs",
    ),
    "another user": (
        lambda client, **journal: client.for_app("emulator-app", user_id="you").delete_annotations(
            *columns(PAIRS[:2]), **journal
        ),
        "and this call is for you/emulator-app",
    ),
    "another service": (
        lambda client, **journal: at_another_address(client).delete_annotations(
            *columns(PAIRS[:2]), **journal
        ),
        "and this call is for http://localhost:",
    ),
}


@pytest.mark.parametrize(("call", "why"), OTHER_CALLS.values(), ids=OTHER_CALLS)
def test_the_journal_of_another_call_is_refused_and_unharmed(
    call: Any, why: str, emulator: Emulator, client: Client, done: Path
) -> None:
    before = outcomes(done)
    with pytest.raises(JournalError) as raised:
        call(client, journal=done)
    text = str(raised.value)
    assert (text.startswith(f"journal {done}: "), why in text) == (True, True), text
    assert text.endswith("give another path, or make the call that it was made for. Nothing was sent")
    assert (raised.value.report, emulator.requests, outcomes(done)) == (None, [], before)


def other_database(path: Path) -> None:
    with opened(path) as database:
        database.execute("CREATE TABLE notes (text)")
        database.execute("INSERT INTO notes VALUES ('keep')")


def database_of_another_program(path: Path) -> None:
    with opened(path) as database:
        database.execute("PRAGMA application_id = 252006674")


def journal_of_a_later_version(path: Path) -> None:
    with Emulator() as emulator, emulator.client() as client:
        client.delete_annotations(["p"], ["a"], journal=path, missing_ok=True)
    with opened(path) as journal:
        journal.execute("PRAGMA user_version = 3")


def journal_of_an_earlier_version(path: Path) -> None:
    with opened(path) as journal:
        journal.execute("PRAGMA application_id = 1129070913")
        journal.execute("PRAGMA user_version = 1")
        journal.execute("CREATE TABLE calls (part INTEGER PRIMARY KEY)")


def in_mode(mode: str) -> Any:
    """A database of another program, whose journal mode SQLite would change when it opens it."""

    def write(path: Path) -> None:
        with opened(path) as database:
            database.execute(f"PRAGMA journal_mode = {mode}")
        other_database(path)

    return write


OTHER_FILES: dict[str, tuple[Any, str]] = {
    "a short text": (lambda path: path.write_text("notes"), "is there and is no journal: give another path"),
    "a long text": (
        lambda path: path.write_text("n" * 5000),
        "is there and is no journal: give another path",
    ),
    "another database": (other_database, "is there and is no journal: give another path"),
    "a database of another program": (
        database_of_another_program,
        "is there and is no journal: give another path",
    ),
    "a journal of a later version": (
        journal_of_a_later_version,
        "is of another version (form 3, not 2): give another path",
    ),
    "a journal of an earlier version": (
        journal_of_an_earlier_version,
        "is of another version (form 1, not 2): give another path",
    ),
    **{
        f"another database in mode {mode}": (in_mode(mode), "is there and is no journal: give another path")
        for mode in ("PERSIST", "TRUNCATE", "WAL")
    },
}


@pytest.mark.parametrize(("write", "why"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_that_is_no_journal_is_refused_and_unharmed(
    write: Any, why: str, emulator: Emulator, client: Client, path: Path
) -> None:
    write(path)
    before = {it.name: it.read_bytes() for it in path.parent.iterdir() if it.is_file()}
    with pytest.raises(JournalError) as raised:
        client.delete_annotations(*columns(PAIRS), journal=path)
    assert str(raised.value) == f"journal {path}: {why}. Nothing was sent"
    after = {it.name: it.read_bytes() for it in path.parent.iterdir() if it.is_file()}
    assert (emulator.requests, after) == ([], before)


PLACES = {
    "in no folder": "no-such-folder/journal",
    "a folder": ".",
    "in a folder that nobody may write to": "/sys/journal",
}


@pytest.mark.skipif(sys.platform != "linux", reason="not even root may write there on Linux")
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_path_that_cannot_be_written_is_refused_before_anything_is_sent(
    place: str, emulator: Emulator, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / place
    with pytest.raises(JournalError) as raised:
        client.delete_annotations(*columns(PAIRS), journal=path)
    assert (str(path) in str(raised.value), emulator.requests) == (True, [])
    assert str(raised.value).endswith("Nothing was sent")


def test_a_backup_that_cannot_be_opened_leaves_its_journal_for_another_try(
    emulator: Emulator, client: Client, path: Path
) -> None:
    with pytest.raises(BackupError):
        client.delete_annotations(*columns(PAIRS), journal=path, backup=path.parent)
    assert client.delete_annotations(*columns(PAIRS), journal=path).deleted == 3
    assert stored(emulator) == {}


# Hashes, for a log is compressed.
LONG_PAIRS = [(f"p{n}", hashlib.sha512(str(n).encode()).hexdigest()) for n in range(400)]


@pytest.fixture
def full(emulator: Emulator, calls: ChildCalls, path: Path) -> Any:
    """What a call comes to whose journal has too little room."""
    seed(emulator, LONG_PAIRS)
    limits = {"batch_size": 5, "max_in_flight": 2}
    calls.begin(
        emulator,
        "delete_annotations",
        *columns(LONG_PAIRS),
        journal=path,
        settings=limits,
        most_bytes=20_000,
    )
    return calls.result()


def test_a_full_disk_stops_the_run_with_a_report(full: Any, emulator: Emulator, path: Path) -> None:
    assert (full["error"], str(path) in full["message"]) == ("JournalError", True)
    assert "What it does not have was not sent" in full["message"]
    gone = len(LONG_PAIRS) + len(PAIRS) - len(stored(emulator))
    assert full["report"]["deleted"] == gone > 0
    assert full["report"]["unsent"] > 0


@pytest.mark.usefixtures("full")
def test_what_was_sent_before_a_disk_was_full_has_its_row(emulator: Emulator, path: Path) -> None:
    assert set(sent(emulator, "DeleteAnnotations")) <= {(row[1], row[2]) for row in outcomes_by_now(path)}


@pytest.mark.usefixtures("full")
def test_a_run_goes_on_after_a_disk_was_full(emulator: Emulator, client: Client, path: Path) -> None:
    assert client.delete_annotations(*columns(LONG_PAIRS), journal=path).deleted == 400
    assert list(stored(emulator)) == PAIRS


class KilledDeletion:
    """A deletion with backup and journal that is killed again and again, and then let come to its end."""

    def __init__(self, emulator: Emulator, folder: Path, chance: random.Random) -> None:
        self.emulator, self.chance = emulator, chance
        self.backup, self.journal = folder / "backup.parquet", folder / "journal"
        self.pairs = [(f"p{n}", f"a{m}") for n in range(12) for m in range(3)]
        missing = [(f"gone{n}", "a0") for n in range(4)]
        self.by_inputs = chance.random() < 0.4
        named = [*self.pairs, *missing]
        chance.shuffle(named)
        self.method, self.named = "delete_annotations", columns(named)
        if self.by_inputs:
            self.method = "delete_input_annotations"
            self.named = (list(dict.fromkeys(self.named[0])),)  # type: ignore[assignment]
        self.options: dict[str, Any] = {
            "backup": self.backup,
            "journal": self.journal,
            "on_failure": "report",
        }
        if self.by_inputs and chance.random() < 0.3:
            self.options["max_deletions"] = len(self.pairs)
        self.limits: dict[str, Any] = {
            "batch_size": chance.choice([1, 3, 6]),
            "max_in_flight": chance.choice([1, 4, 32]),
            "requests_per_second": None,
        }
        # Not asked for.
        seed(emulator, [*self.pairs, ("other", "a0")])
        self.before = stored(emulator)

    @property
    def targets(self) -> list[Any]:
        """What the call names, as its report counts it."""
        return list(self.named[0]) if self.by_inputs else list(zip(*self.named, strict=True))

    @property
    def absent(self) -> list[Any]:
        """Those of them that are not there."""
        there = {pair[0] if self.by_inputs else pair for pair in self.pairs}
        return [target for target in self.targets if target not in there]

    def recorded(self) -> dict[Any, str]:
        """What the journal has by now."""
        found = outcomes_by_now(self.journal)
        return {row[1] if self.by_inputs else row[1:3]: row[3] for row in found}

    def kill(self, calls: ChildCalls) -> bool:
        """Make the call, and kill it. Whether that was in time."""
        batches = len(self.targets) // self.limits["batch_size"] + 1
        seen = len(self.emulator.requests)
        least = seen + self.chance.randrange(batches * (4 if self.by_inputs else 2))
        calls.begin(self.emulator, self.method, *self.named, settings=self.limits, **self.options)
        result = calls.kill_when(lambda: len(self.emulator.requests) >= least, self.chance.random() * 0.004)
        return result is None

    def what_is_gone_is_saved(self) -> None:
        left = stored(self.emulator)
        gone = {pair: message for pair, message in self.before.items() if pair not in left}
        assert gone.items() <= dict(copies(self.backup)).items()
        assert ("other", "a0") in left

    def comes_to_its_end(self) -> None:
        """Make the call once more, and let it be done."""
        settled = {it for it, outcome in self.recorded().items() if outcome in ("deleted", "absent")}
        self.emulator.clear_requests()
        with self.emulator.client(**self.limits, pat=KEY) as client:
            report = getattr(client, self.method)(*self.named, **self.options)
        expected = {it: "absent" if it in self.absent else "deleted" for it in self.targets}
        assert self.recorded() == expected
        absent = len(self.absent)
        assert (report.deleted, report.absent) == (len(self.targets) - absent, absent)
        assert list(stored(self.emulator)) == [("other", "a0")]
        for request in self.emulator.requests:
            named = zip(request.input_ids, request.ids, strict=True) if request.ids else request.input_ids
            again = settled & ({request.input_ids[0]} if self.by_inputs else set(named))
            assert not again, f"{again} were settled, and are named by {request}"

    def backup_reads(self) -> None:
        messages = {(row["input_id"], row["annotation_id"]): row["annotation"] for row in rows(self.backup)}
        assert messages == {pair: self.before[pair] for pair in self.pairs}


@pytest.mark.slow
@pytest.mark.parametrize("start", range(4))
def test_a_call_that_is_killed_at_any_moment_goes_on_where_it_was(
    start: int, calls: ChildCalls, tmp_path: Path
) -> None:
    killed, numbers = 0, itertools.count()
    while killed < 30:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        chance = random_cases.generator("kill", start, folder.name)
        latency = (0.0, 0.004)
        with Emulator(latency=latency, latency_back=latency, seed=start) as emulator:
            deletion = KilledDeletion(emulator, folder, chance)
            for _ in range(3):
                # Some come too late: then it is done.
                if not deletion.kill(calls):
                    break
                killed += 1
                deletion.what_is_gone_is_saved()
            deletion.comes_to_its_end()
            deletion.backup_reads()
