"""Random deletions, plans and restorations with faults and kills, beside a model of what may be gone and what is saved.

`SAFETY_CASES` is the number of random histories.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import random_cases
from child_calls import ChildCalls
from clarifai_annotations import (
    BackupError,
    ClarifaiError,
    DeleteReport,
    DeletionLimitError,
    Progress,
    RestoreReport,
)
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY
from copies import Pair, annotation, columns, copies, stored, without_stamp, without_times
from test_journal import outcomes_by_now

CASES = settings(random_cases.races(random_cases.cases(50, "SAFETY_CASES")), stateful_step_count=25)

# Few, so that what is deleted comes back and goes again.
INPUT_IDS = ["p0", "p1", "p2", "p3"]
PAIRS: list[Pair] = [(input_id, annotation_id) for input_id in INPUT_IDS for annotation_id in "abcde"]

some_pairs = st.lists(st.sampled_from(PAIRS), min_size=1, max_size=12)
some_inputs = st.lists(st.sampled_from([*INPUT_IDS, "nowhere"]), min_size=1, max_size=4)
# Either is named: pairs, or inputs.
some_named = st.one_of(some_pairs, some_inputs)
some_fault = st.sampled_from(
    [
        Fault.status(24156),
        # "It does not exist" is no answer to a list of what is there: nothing else could tell the truth then.
        Fault.status(11101).on("DeleteAnnotation", "DeleteAnnotations", "PostAnnotations"),
        Fault.status(10030),
        Fault.status(40031),
        Fault.status(40031, applied=True),
        Fault.status(98009),
        Fault.status(99009),
        Fault.status(11009),
        Fault.grpc(14),
        Fault.grpc(13),
        Fault.dropped_before(),
        Fault.dropped_after(),
        Fault.unanswered(),
        Fault.partial(1),
        Fault.goaway(),
    ]
)
some_conduct = st.fixed_dictionaries(
    {
        "missing_pair": st.sampled_from(["success", "refused", "mixed", "failure"]),
        # A request of five pairs, and its list, exceed the small one.
        "max_message_bytes": st.sampled_from([None, None, None, 1000, 500]),
        "latency_back": st.sampled_from([0.0, (0.0, 0.003)]),
        "seed": st.integers(0, 2**32),
        "fault_rates": st.dictionaries(some_fault, st.sampled_from([0.02, 0.05, 0.1]), max_size=3),
    }
)
some_limits = st.fixed_dictionaries(
    {"batch_size": st.sampled_from([1, 2, 5]), "max_in_flight": st.sampled_from([1, 3, 32])}
)

Named = list[Pair] | list[str]

Where = Literal["plain", "link", "relative"]
some_where: st.SearchStrategy[Where] = st.sampled_from(["plain", "link", "relative"])
some_meanwhile = st.sampled_from(["nothing", "look on", "change the folder"])

CROWD = 1100
"""More annotations than a page of a list has."""


def input_of(target: Pair | str) -> str:
    return target if isinstance(target, str) else target[0]


def names(named: Collection[Pair | str], pair: Pair) -> bool:
    """Whether a call that names these asks for this annotation."""
    return pair in named or pair[0] in named


class Safety(RuleBasedStateMachine):
    """One app, the backup that all its deletions write, and what is known of both."""

    def __init__(self, calls: ChildCalls) -> None:
        super().__init__()
        self.calls = calls
        self.folder = Path(tempfile.mkdtemp(prefix="safety-"))
        self.backup = self.folder / "backup.parquet"
        self.elsewhere = Path(tempfile.mkdtemp(prefix="safety-elsewhere-"))
        self.link = self.elsewhere / "link.parquet"
        if sys.platform != "win32":
            self.link.symlink_to(self.backup)
        self.was_in = Path.cwd()
        self.numbers = itertools.count()
        self.there: dict[Pair, bytes] = {}
        self.saved: set[tuple[Pair, bytes]] = set()

    @initialize(conduct=some_conduct, limits=some_limits)
    def begin(self, conduct: dict[str, Any], limits: dict[str, Any]) -> None:
        self.emulator = Emulator(**conduct)
        self.limits = {**limits, "requests_per_second": None, "request_timeout": 0.2, "max_attempts": 3}
        self.has_large_messages = conduct["max_message_bytes"] is None
        self.is_faulty = bool(conduct["fault_rates"] or conduct["max_message_bytes"])
        self.client = self.emulator.client(pat=KEY, **self.limits)
        for input_id in INPUT_IDS:
            self.emulator.add_input(input_id)
        self.add(PAIRS[::2])

    def teardown(self) -> None:
        if hasattr(self, "emulator"):
            self.client.close()
            self.emulator.stop()
        os.chdir(self.was_in)
        for folder in (self.folder, self.elsewhere):
            shutil.rmtree(folder)

    @rule(pairs=some_pairs)
    def add(self, pairs: list[Pair]) -> None:
        for pair in dict.fromkeys(pairs):
            if pair not in self.there:
                # Never the same twice, so that one copy does not pass for another.
                message = annotation(f"{pair} for the {next(self.numbers)}. time")
                self.emulator.add_annotation(*pair, message=message)
        self.there = stored(self.emulator)

    @rule(pair=st.sampled_from(PAIRS[:2]))
    def lock(self, pair: Pair) -> None:
        self.emulator.lock(*pair)

    @rule(named=some_named, backup=st.booleans(), look_first=st.booleans(), missing_ok=st.booleans())
    def delete(self, named: Named, backup: bool, look_first: bool, missing_ok: bool) -> None:
        known = {*self.there, *((input_id, "") for input_id in INPUT_IDS)}
        report = self.made(
            named, missing_ok=missing_ok, backup=self.backup if backup else None, look_first=look_first
        )
        self.look(report, named, saves=backup)
        if backup or look_first:
            # Without a look, the service may confirm the deletion of what was not there.
            deleted = [
                it for it, outcome in outcomes_of(report, targets_of(named)).items() if outcome == "deleted"
            ]
            pairs = {(it, "") if isinstance(it, str) else it for it in deleted}
            assert pairs <= known, f"{pairs - known} were absent, and are deleted"

    @rule(named=some_named, where=some_where, meanwhile=some_meanwhile)
    def delete_while_others_use_the_folder(self, named: Named, where: Where, meanwhile: str) -> None:
        os.chdir(self.folder)
        backup = {"plain": self.backup, "link": self.link, "relative": Path(self.backup.name)}[where]

        def callback(_: Progress) -> None:
            if meanwhile == "look on":
                self.look_on()
            elif meanwhile == "change the folder":
                os.chdir(self.elsewhere)

        report = self.made(named, backup=backup, progress=callback)
        self.look(report, named, saves=True)
        assert self.link.is_symlink()
        assert list(self.elsewhere.iterdir()) == [self.link]

    @rule(halves=st.tuples(some_named, some_named), where=some_where)
    def delete_in_two_calls_at_once(self, halves: tuple[Named, Named], where: Where) -> None:
        os.chdir(self.folder)
        backups = [
            self.backup,
            {"plain": self.backup, "link": self.link, "relative": self.backup.name}[where],
        ]

        def delete(named: Named, backup: Path | str) -> None:
            try:
                self.made(named, backup=backup)
            except BackupError as error:
                if "is being written by another call" not in str(error):
                    raise

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(delete, halves, backups))
        before, self.there = self.there, stored(self.emulator)
        gone = {pair: message for pair, message in before.items() if pair not in self.there}
        assert all(names(halves[0], pair) or names(halves[1], pair) for pair in gone)
        self.saved |= gone.items()

    @rule(named=some_named)
    def delete_in_a_process_whose_child_lives_on(self, named: Named) -> None:
        self.calls.begin(
            self.emulator, method_of(named), *arguments(named), settings=self.limits, on_failure="report",
            backup=self.backup, leaves_a_child=True,
        )  # fmt: skip
        result = self.calls.result()
        assert result["error"] is None, result["message"]
        self.look(None, named, saves=True)

    @rule(first=st.integers(0, 900))
    def plan_while_others_delete(self, first: int) -> None:
        crowded = f"crowded-{next(self.numbers)}"
        # Where messages are small a page has few, and a crowd would take thousands of lists.
        count = CROWD if self.has_large_messages else CROWD // 20
        crowd = [(crowded, f"c{number}") for number in range(count)]
        self.emulator.add_input(crowded)
        for pair in crowd:
            self.emulator.add_annotation(*pair, message=b"")
        others = crowd[first % count :][:150]
        with (
            # As impatient as the first: what stays unanswered would be waited for, half a minute each time.
            self.emulator.client(pat=KEY, **{**self.limits, "batch_size": 128}) as other,
            ThreadPoolExecutor(1) as threads,
        ):
            deletion = threads.submit(other.delete_annotations, *columns(others), on_failure="report")
            with suppress(ClarifaiError):  # lists may be refused for good
                plan = self.client.plan_input_deletion([crowded])
                planned = {it.annotation_id for it in plan.annotations if it.action == "delete"}
                assert planned >= {pair[1] for pair in crowd if pair not in others}
            deletion.result()
        while any(pair[0] == crowded for pair in stored(self.emulator)):
            self.client.delete_input_annotations([crowded], on_failure="report")

    @rule(named=some_named, backup=st.booleans())
    def delete_with_a_journal_and_again(self, named: Named, backup: bool) -> None:
        options = {"journal": self.new_journal(), "backup": self.backup if backup else None}
        report = self.made(named, **options)
        self.look(report, named, saves=backup)
        self.go_on(named, options)

    @rule(inputs=some_inputs, most=st.integers(0, 12), backup=st.booleans())
    def delete_with_a_cap(self, inputs: list[str], most: int, backup: bool) -> None:
        before = len(self.there)
        try:
            report = self.made(inputs, max_deletions=most, backup=self.backup if backup else None)
        except DeletionLimitError:
            assert sum(pair[0] in inputs for pair in self.there) > most
            self.look(None, [], saves=backup)
        else:
            self.look(report, inputs, saves=backup)
            assert before - len(self.there) <= most

    @rule(named=some_named, late=some_pairs, backup=st.booleans())
    def plan_and_execute(self, named: Named, late: list[Pair], backup: bool) -> None:
        plan_of = self.client.plan_deletion if is_pairs(named) else self.client.plan_input_deletion
        try:
            plan = plan_of(*arguments(named))
        except ClarifaiError:
            # Where lists may be refused for good there may be no plan.
            if not self.is_faulty:
                raise
            return self.look(None, [], saves=backup)
        found = [(it.input_id, it.annotation_id) for it in plan.annotations if it.action == "delete"]
        planned = [(input_id, annotation_id) for input_id, annotation_id in found if annotation_id]
        assert set(planned) == {pair for pair in self.there if names(named, pair)}
        self.add(late)
        report = plan.execute(on_failure="report", backup=self.backup if backup else None)
        return self.look(report, planned, saves=backup)

    @rule(named=some_named, requests=st.integers(0, 4), then_after=st.sampled_from([0.0, 0.001, 0.003]))
    def kill_and_go_on(self, named: Named, requests: int, then_after: float) -> None:
        options: dict[str, Any] = {"journal": self.new_journal(), "backup": self.backup}
        least = len(self.emulator.requests) + requests
        self.calls.begin(
            self.emulator,
            method_of(named),
            *arguments(named),
            settings=self.limits,
            on_failure="report",
            **options,
        )
        self.calls.kill_when(lambda: len(self.emulator.requests) >= least, then_after)
        # What it had on its way comes in now or never.
        self.emulator.suspend()
        self.emulator.resume()
        self.look(None, named, saves=True)
        self.go_on(named, options)

    # No `precondition` here or below: what a race leaves differs between two runs of a history, and Hypothesis takes
    # rules that are there in one of them alone for flaky.
    @rule(garbage=st.binary(min_size=1, max_size=40))
    def tear(self, garbage: bytes) -> None:
        """Leave the backup as a crash does, in the middle of what would have come next."""
        if self.backup.exists():
            with self.backup.open("ab") as backup:
                backup.write(garbage)

    @rule(inputs=st.one_of(st.none(), some_inputs))
    def restore(self, inputs: list[str] | None) -> None:
        if not self.saved:
            return
        latest = {
            pair: message for pair, message in copies(self.backup) if inputs is None or pair[0] in inputs
        }
        before = self.there
        report = self.client.restore_annotations(self.backup, input_ids=inputs, on_failure="report")
        self.there = stored(self.emulator)
        assert before.items() <= self.there.items()
        for pair in self.there.keys() - before.keys():
            assert without_stamp(self.there[pair]) == without_stamp(without_times(latest[pair]))
        counted = report.restored + report.present + report.failed + report.unknown + report.unsent
        assert report.requested == len(latest) == counted
        for pair, outcome in outcomes_of(report, list(latest)).items():
            if outcome in ("restored", "present"):
                assert pair in self.there, f"{pair} is {outcome} and not there"
            elif outcome in ("failed", "unsent"):
                assert pair in before or pair not in self.there, f"{pair} is {outcome} and there"

    def go_on(self, named: Named, options: dict[str, Any]) -> None:
        """Make a call again, with its journal."""
        settled = self.journaled(named, options["journal"], {"deleted", "absent"})
        self.emulator.clear_requests()
        report = self.made(named, **options)
        for request in self.emulator.requests:
            again = (
                set(zip(request.input_ids, request.ids, strict=True)) & settled
                if is_pairs(named)
                else set(request.input_ids) & settled
            )
            assert not again, f"{again} were settled, and are named by {request}"
        # What was settled may have been so by the call before.
        self.look(report, named, saves=options["backup"] is not None, settled=settled)
        of_report = outcomes_of(report, targets_of(named))
        for outcome in ("deleted", "absent", "failed", "unknown"):
            said = {target for target, it in of_report.items() if it == outcome}
            assert said == self.journaled(named, options["journal"], {outcome})

    def journaled(self, named: Named, journal: Path, wanted: set[str]) -> set[Any]:
        """What a journal says has these outcomes."""
        found = [row for row in outcomes_by_now(journal) if row[3] in wanted]
        return {row[1:3] if is_pairs(named) else row[1] for row in found}

    def look_on(self) -> None:
        """Open and close every file, as a program that makes copies of a folder does; save the lock files."""
        for file in self.folder.iterdir():
            if file.suffix != ".lock":
                with suppress(FileNotFoundError):
                    file.read_bytes()

    def new_journal(self) -> Path:
        return self.folder / f"journal-{next(self.numbers):06}"

    def made(self, named: Named, **options: Any) -> DeleteReport:
        """Delete pairs or inputs."""
        if not is_pairs(named):
            options.pop("missing_ok", None)
        report: DeleteReport = getattr(self.client, method_of(named))(
            *arguments(named), on_failure="report", **options
        )
        return report

    def look(
        self,
        report: DeleteReport | None,
        named: Named,
        *,
        saves: bool,
        settled: Collection[Any] = (),
    ) -> None:
        """See what a call that named these left, and whether its report is true."""
        before, self.there = self.there, stored(self.emulator)
        assert self.there.items() <= before.items(), "something came, or was changed"
        gone = {pair: message for pair, message in before.items() if pair not in self.there}
        assert all(names(named, pair) for pair in gone), f"{list(gone)} are gone, and {named} were named"
        if saves:
            self.saved |= gone.items()
        if report is None:
            return
        counted = report.deleted + report.absent + report.failed + report.unknown + report.unsent
        assert report.requested == len(targets_of(named)) == counted
        assert self.is_faulty or report.unknown == report.unsent == 0
        for target, outcome in outcomes_of(report, targets_of(named)).items():
            if target not in settled:
                is_true(target, outcome, before, self.there)

    @invariant()
    def what_a_deletion_with_a_backup_took_is_in_the_copy(self) -> None:
        assert self.saved <= set(copies(self.backup))

    @invariant()
    def every_input_keeps_its_own_annotation(self) -> None:
        if hasattr(self, "emulator"):
            own = [it.input_id for it in self.emulator.annotations() if it.input_level]
            assert [input_id for input_id in own if not input_id.startswith("crowded-")] == INPUT_IDS

    @invariant()
    def nothing_of_the_key_is_in_a_file(self) -> None:
        for file in self.folder.iterdir():
            assert KEY.encode() not in file.read_bytes()


def is_pairs(named: Named) -> bool:
    return not isinstance(named[0], str) if named else True


def method_of(named: Named) -> str:
    return "delete_annotations" if is_pairs(named) else "delete_input_annotations"


def arguments(named: Any) -> tuple[list[str], ...]:
    return columns(named) if is_pairs(named) else (named,)


def targets_of(named: Named) -> list[Any]:
    """What a report counts."""
    return list(dict.fromkeys(named))


def outcomes_of(report: DeleteReport | RestoreReport, targets: list[Any]) -> dict[Any, str]:
    """The outcome of each, by a report."""
    done = "deleted" if isinstance(report, DeleteReport) else "restored"
    found: dict[Any, str] = dict.fromkeys(targets, done)
    for failure in report.failures:
        pair = (failure.input_id, failure.annotation_id)
        found[failure.input_id if failure.annotation_id is None else pair] = failure.outcome
    assert len(found) == len(targets), "a report names something else"
    return found


def is_true(target: Pair | str, outcome: str, before: dict[Pair, bytes], after: dict[Pair, bytes]) -> None:
    """Hold an outcome against what is there."""
    had = [pair for pair in before if names([target], pair)]
    left = [pair for pair in after if names([target], pair)]
    if outcome in ("deleted", "absent"):
        assert not left, f"{target} is {outcome} and has {left}"
    elif outcome == "unsent" or (outcome == "failed" and not isinstance(target, str)):
        assert left == had, f"{target} is {outcome} and lost some"
    elif outcome == "failed" and had:
        assert left, f"{target} is failed and cleared"


@pytest.mark.slow
@pytest.mark.hypothesis
def test_whatever_happens_nothing_is_lost_that_was_to_be_saved(calls: ChildCalls) -> None:
    # A factory is as good as a class.
    run_state_machine_as_test(random_cases.seeded(lambda: Safety(calls)), settings=CASES)  # type: ignore[arg-type]
