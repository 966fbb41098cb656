"""Plans that are saved, loaded, pickled, and executed by another process."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clarifai_grpc.grpc.api import resources_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarifai_annotations import Client, ConfigurationError, DeletionPlan, IdError, PlanError
from clarifai_annotations.emulator import Emulator, Fault
from conftest import KEY
from copies import Pair, columns, seed, sent, stored

PAIRS: list[Pair] = [("p", "a"), ("q", "a"), ("p", "b")]


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    seed(clarifai_emulator, PAIRS)
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with emulator.client(request_timeout=3, pat=KEY) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plan.parquet"


@pytest.fixture
def plan(client: Client) -> DeletionPlan:
    return client.plan_deletion(*columns([*PAIRS, ("p", "gone"), ("p", "a")]))


def environment_of(client: Client, monkeypatch: pytest.MonkeyPatch, **others: str) -> None:
    """Make the shared client one like this."""
    settings = {
        "CLARIFAI_USER_ID": client.user_id,
        "CLARIFAI_APP_ID": client.app_id,
        "CLARIFAI_PAT": KEY,
        "CLARIFAI_API_BASE": client.base_url,
        **others,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def saved_and_loaded(plan: DeletionPlan, path: Path) -> DeletionPlan:
    plan.save(path)
    return DeletionPlan.load(path)


def pickled(plan: DeletionPlan, _path: Path) -> DeletionPlan:
    copy: DeletionPlan = pickle.loads(pickle.dumps(plan))
    return copy


each_way = pytest.mark.parametrize("copied", [saved_and_loaded, pickled])


@each_way
def test_a_plan_comes_back_as_it_was(copied: Any, plan: DeletionPlan, path: Path) -> None:
    copy = copied(plan, path)
    assert (repr(copy), copy.elapsed, copy.base_url) == (repr(plan), plan.elapsed, plan.base_url)
    assert pa.table(copy) == pa.table(plan)
    assert repr(copy.annotations) == repr(plan.annotations)
    assert repr(copied(copy, path)) == repr(plan)


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)


@each_way
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    there=st.lists(st.tuples(IDS, IDS, st.none() | IDS), max_size=8, unique_by=lambda row: row[:2]),
    absent=st.lists(st.tuples(IDS, IDS), max_size=4),
    by_inputs=st.booleans(),
)
def test_any_plan_comes_back_as_it_was(
    copied: Any,
    there: list[tuple[str, str, str | None]],
    absent: list[Pair],
    by_inputs: bool,
    path: Path,
) -> None:
    with Emulator() as emulator, emulator.client() as client:
        for input_id, annotation_id, user_id in there:
            message = resources_pb2.Annotation(user_id=user_id or "").SerializeToString()
            emulator.add_annotation(input_id, annotation_id, message=message)
        named = [*(row[:2] for row in there), *absent]
        if by_inputs:
            plan = client.plan_input_deletion([input_id for input_id, _ in named])
        else:
            plan = client.plan_deletion(*columns(named))
    copy = copied(plan, path)
    assert (repr(copy), pa.table(copy)) == (repr(plan), pa.table(plan))


@each_way
def test_a_copy_is_executed_by_the_client_of_the_environment(
    copied: Any,
    plan: DeletionPlan,
    path: Path,
    emulator: Emulator,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment_of(client, monkeypatch)
    emulator.clear_requests()
    assert copied(plan, path).execute().deleted == 3
    assert (sent(emulator, "DeleteAnnotations"), stored(emulator)) == (PAIRS, {})


async def test_a_copy_can_be_awaited(
    plan: DeletionPlan, path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment_of(client, monkeypatch)
    assert (await saved_and_loaded(plan, path).execute_async()).deleted == 3


def test_a_plan_is_loaded_with_a_client(plan: DeletionPlan, path: Path, client: Client) -> None:
    plan.save(path)
    assert DeletionPlan.load(str(path), client=client).execute().deleted == 3


OTHERS = {
    "app": {"CLARIFAI_APP_ID": "dogs"},
    "user": {"CLARIFAI_USER_ID": "you"},
    "service": {"CLARIFAI_API_BASE": "http://localhost:1"},
}


@each_way
@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
def test_a_plan_is_not_executed_by_a_client_of_another_app(
    others: dict[str, str],
    copied: Any,
    plan: DeletionPlan,
    path: Path,
    emulator: Emulator,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment_of(client, monkeypatch, **others)
    emulator.clear_requests()
    with pytest.raises(ConfigurationError) as raised:
        copied(plan, path).execute()
    assert str(raised.value).startswith(
        f"this plan is of the app emulator-user/emulator-app at {client.base_url}, and the client is of "
    )
    assert str(raised.value).endswith("load the plan with a client of its app. Nothing was sent")
    assert emulator.requests == []


def test_a_plan_is_not_loaded_with_a_client_of_another_app(
    plan: DeletionPlan, path: Path, client: Client
) -> None:
    plan.save(path)
    with pytest.raises(ConfigurationError, match="and the client is of emulator-user/dogs at"):
        DeletionPlan.load(path, client=client.for_app("dogs"))


@each_way
def test_a_copy_without_a_client_says_what_is_missing(
    copied: Any, plan: DeletionPlan, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLARIFAI_PAT", raising=False)
    with pytest.raises(ConfigurationError, match="CLARIFAI_"):
        copied(plan, path).execute()


def test_nothing_of_the_key_is_in_a_copy(plan: DeletionPlan, path: Path) -> None:
    plan.save(path)
    assert KEY.encode() not in path.read_bytes() + pickle.dumps(plan)


def test_other_libraries_read_a_saved_plan(plan: DeletionPlan, path: Path) -> None:
    plan.save(path)
    rows = pa.table(plan).to_pylist()
    assert pl.read_parquet(path).rows(named=True) == rows
    table = pq.read_table(path)
    assert (table.to_pylist(), table.schema.field("created_at").type) == (rows, pa.timestamp("us", "UTC"))


def test_a_long_plan_comes_back_as_it_was(path: Path) -> None:
    named = columns([(f"p{n // 3}", f"a{n}") for n in range(70_000)])
    with Emulator() as emulator, emulator.client() as client:
        seed(emulator, [("p0", "a0"), ("p23333", "a69999")])
        plan = client.plan_deletion(*named)
    copy = saved_and_loaded(plan, path)
    assert (copy.deletions, copy.absent) == (2, 69_998)
    assert pa.table(copy) == pa.table(plan)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_saved_plan_is_for_its_owner_alone(plan: DeletionPlan, path: Path) -> None:
    old = os.umask(0)
    try:
        plan.save(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [it.name for it in path.parent.iterdir() if it.is_file()] == [path.name]


def test_a_plan_replaces_another_and_an_empty_file(plan: DeletionPlan, path: Path, client: Client) -> None:
    path.touch()
    client.plan_deletion([], []).save(path)
    assert DeletionPlan.load(path).requested == 0
    plan.save(path)
    assert repr(DeletionPlan.load(path)) == repr(plan)


def other_table(path: Path) -> None:
    pq.write_table(pa.table({"action": ["delete"], "input_id": ["p"], "annotation_id": ["a"]}), path)


def with_metadata(text: str) -> Any:
    def write(path: Path) -> None:
        table = pa.table({"action": ["delete"]})
        pq.write_table(table.replace_schema_metadata({"clarifai_annotations_plan": text}), path)

    return write


WHOLE = (
    '{"form": 1, "user_id": "u", "app_id": "a", "base_url": "b", "requested": 1, "duplicates": 0, '
    '"requests": 1, "elapsed": 0.1}'
)
OTHER_FILES: dict[str, tuple[Any, str]] = {
    "a text": (lambda path: path.write_text("notes"), "is there and is no plan: give another path"),
    "another table": (other_table, "is there and is no plan: give another path"),
    "of a later version": (
        with_metadata('{"form": 2}'),
        "is of another version (form 2, not 1): make the plan again",
    ),
    "with other columns": (
        with_metadata(WHOLE),
        "is damaged: its columns are not those of a plan. Make the plan again",
    ),
}


@pytest.mark.parametrize(("write", "why"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_what_is_no_plan_is_not_loaded(write: Any, why: str, path: Path) -> None:
    write(path)
    with pytest.raises(PlanError) as raised:
        DeletionPlan.load(path)
    assert str(raised.value) == f"plan {path}: {why}"


@pytest.mark.parametrize("write", [lambda path: path.write_text("notes"), other_table])
def test_what_is_no_plan_is_not_replaced(write: Any, plan: DeletionPlan, path: Path) -> None:
    write(path)
    before = path.read_bytes()
    with pytest.raises(PlanError, match="is there and is no plan: give another path"):
        plan.save(path)
    assert path.read_bytes() == before


def altered(path: Path, **values: Any) -> None:
    """Write other values into the first row of a saved plan."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0].update(values)
    schema = pa.schema(
        [field.with_nullable(field.name not in ("action", "input_id")) for field in table.schema],
        metadata=table.schema.metadata,
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def test_an_action_that_is_not_known_is_refused(plan: DeletionPlan, path: Path) -> None:
    plan.save(path)
    altered(path, action="guess")
    with pytest.raises(PlanError, match=r'is damaged: its action "guess" is not known. Make the plan again'):
        DeletionPlan.load(path)


@pytest.mark.parametrize("annotation_id", [None, ""])
def test_a_row_without_its_annotation_never_widens_the_deletion(
    annotation_id: str | None, plan: DeletionPlan, path: Path, client: Client, emulator: Emulator
) -> None:
    plan.save(path)
    altered(path, annotation_id=annotation_id)
    emulator.clear_requests()
    with pytest.raises(IdError):
        DeletionPlan.load(path, client=client).execute()
    assert emulator.requests == []


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_plan_that_is_cut_off_is_refused(cut: int, plan: DeletionPlan, path: Path) -> None:
    plan.save(path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(PlanError):
        DeletionPlan.load(path)


def test_a_plan_with_any_byte_changed_is_refused_or_names_what_it_named(
    plan: DeletionPlan, path: Path
) -> None:
    plan.save(path)
    whole = path.read_bytes()
    for place in range(4, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            DeletionPlan.load(path)
        except PlanError as error:
            if str(path) not in str(error):
                raise


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("use", ["save", "load"])
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "nothing"])
def test_a_path_that_cannot_be_used_is_refused(kind: str, use: str, plan: DeletionPlan, path: Path) -> None:
    why = "it is a"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path, why = path.parent / "no-such-folder" / "plan", "No such file or directory"
    with pytest.raises(PlanError) as raised:
        plan.save(path) if use == "save" else DeletionPlan.load(path)
    assert str(raised.value).startswith(f"plan {path}: cannot be used: {why}")


def test_what_a_killed_save_left_is_removed_and_what_others_left_is_not(
    plan: DeletionPlan, path: Path
) -> None:
    partial = path.with_name("plan.parquet.partial")
    for leftover in (b"", b"PAR", b"PAR1 and more"):
        partial.write_bytes(leftover)
        plan.save(path)
        assert not partial.exists()
    partial.write_text("notes")
    with pytest.raises(
        PlanError, match=r"plan\.parquet\.partial is there and is something else\. Move it away"
    ):
        plan.save(path)
    assert (partial.read_text(), repr(DeletionPlan.load(path))) == ("notes", repr(plan))


PROGRAM = """
import sys
from clarifai_annotations import Client, DeletionPlan

plan = DeletionPlan.load(sys.argv[1], client=Client(batch_size=1, max_in_flight=1, requests_per_second=10))
report = plan.execute(journal=sys.argv[2])
print(report.deleted, report.from_journal, report.requests)
"""


def test_a_plan_whose_process_was_killed_is_executed_on_by_another(
    plan: DeletionPlan, path: Path, tmp_path: Path, emulator: Emulator, client: Client
) -> None:
    plan.save(path)
    emulator.clear_requests()
    # Its first pair is deleted, and its second sent, when it is killed.
    emulator.inject(Fault.none(), Fault.unanswered())
    environment = {
        **os.environ,
        "CLARIFAI_USER_ID": client.user_id,
        "CLARIFAI_APP_ID": client.app_id,
        "CLARIFAI_PAT": KEY,
        "CLARIFAI_API_BASE": client.base_url,
    }
    command = [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "journal")]
    with subprocess.Popen(command, env=environment) as process:
        while len(emulator.requests) < 2:
            assert process.poll() is None
        process.kill()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    # One that was done, one looked up, one deleted.
    assert (done.stdout.strip(), stored(emulator)) == ("3 1 2", {})
    assert sent(emulator, "DeleteAnnotations") == PAIRS
