"""The files of a backup: which path they are at, who may write them, and that nobody else's file is touched."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from clarifai_grpc.grpc.api import resources_pb2

import clarifai_annotations
import random_cases
from child_calls import ChildCalls, child_calls
from clarifai_annotations import BackupError, Client, Progress
from clarifai_annotations.emulator import Emulator, Fault
from copies import Pair, columns, copies, logs, seed, stored

PAIRS: list[Pair] = [("p", "a"), ("q", "a"), ("p", "b")]

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other files")


@pytest.fixture
def emulator(clarifai_emulator: Emulator) -> Emulator:
    seed(clarifai_emulator, PAIRS)
    return clarifai_emulator


@pytest.fixture
def client(emulator: Emulator) -> Client:
    return emulator.client(request_timeout=3)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder where the program is, and another."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    return here, elsewhere


def names(folder: Path) -> list[str]:
    return sorted(it.name for it in folder.iterdir() if it.name != "home")


def when_it_is_under_way(
    what: Callable[[], object], begun: Callable[[], object] = lambda: True
) -> Callable[[Progress], None]:
    """Make a progress callback that does something once, while requests are under way."""
    done: list[Progress] = []

    def callback(progress: Progress) -> None:
        if not progress.finished and not done and begun():
            done.append(progress)
            what()

    return callback


# -- The path is what it was when the call was made -----------------------------------------------------------------


def test_a_call_that_saves_nothing_removes_no_file_of_the_folder_that_the_program_went_to(
    folders: tuple[Path, Path], client: Client
) -> None:
    here, elsewhere = folders
    client.delete_annotations(["p"], ["a"], backup=elsewhere / "kept.parquet")
    kept = (elsewhere / "kept.parquet").read_bytes()
    with Emulator(latency=0.2) as slow, slow.client() as other:
        other.delete_annotations(
            ["p"], ["a"], backup="kept.parquet", missing_ok=True,
            progress=when_it_is_under_way(lambda: os.chdir(elsewhere), lambda: names(here)),
        )  # fmt: skip
    assert Path.cwd() == elsewhere
    assert ((elsewhere / "kept.parquet").read_bytes(), names(elsewhere), names(here)) == (
        kept,
        ["kept.parquet"],
        [],
    )


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_relative_path_is_of_the_folder_where_the_call_was_made(
    awaited: bool, folders: tuple[Path, Path]
) -> None:
    here, elsewhere = folders
    with Emulator(latency=0.2) as slow, slow.client() as client:
        seed(slow, PAIRS)
        before = stored(slow)
        options: dict[str, Any] = {
            "backup": "kept.parquet",
            "progress": when_it_is_under_way(lambda: os.chdir(elsewhere)),
        }
        if awaited:
            await client.delete_annotations_async(*columns(PAIRS), **options)
        else:
            client.delete_annotations(*columns(PAIRS), **options)
    assert Path.cwd() == elsewhere
    assert (dict(copies(here / "kept.parquet")), names(elsewhere)) == (before, [])


def test_what_is_restored_is_of_one_file_whatever_folder_the_program_goes_to(
    folders: tuple[Path, Path], emulator: Emulator, client: Client
) -> None:
    client.delete_annotations(*columns(PAIRS), backup=folders[0] / "kept.parquet")
    seed(emulator, [("p", f"other-{n}") for n in range(3)], app_id="another-app")
    emulator.client(app_id="another-app").delete_input_annotations(["p"], backup=folders[1] / "kept.parquet")
    over = threading.Event()

    def wander() -> None:
        while not over.is_set():
            for folder in folders:
                os.chdir(folder)

    wanderer = threading.Thread(target=wander)
    wanderer.start()
    try:
        for _ in range(random_cases.cases(100)):
            with suppress(BackupError):  # the other app's is refused
                client.restore_annotations("kept.parquet")
    finally:
        over.set()
        wanderer.join()
    assert stored(emulator).keys() <= set(PAIRS)


def test_an_empty_path_is_refused(client: Client, emulator: Emulator) -> None:
    with pytest.raises(ValueError, match=r"backup is no path: .*Nothing was sent"):
        client.delete_annotations(*columns(PAIRS), backup="")
    assert emulator.requests == []


# -- Links ---------------------------------------------------------------------------------------------------------


@needs_posix
@pytest.mark.parametrize("target_exists", [False, True])
def test_a_symbolic_link_is_followed_and_stays(
    target_exists: bool, tmp_path: Path, emulator: Emulator, client: Client
) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "kept.parquet", tmp_path / "link.parquet"
    link.symlink_to("disk/kept.parquet")
    before = stored(emulator)
    client.delete_annotations(["p"], ["none"], backup=link, missing_ok=True)
    if target_exists:
        client.delete_annotations(*columns(PAIRS[:1]), backup=target)
    client.delete_annotations(*columns(PAIRS[1:]), backup=link)
    client.delete_annotations(["p"], ["none"], backup=link, missing_ok=True)
    gone = before if target_exists else {pair: before[pair] for pair in PAIRS[1:]}
    assert (link.is_symlink(), dict(copies(target)), names(tmp_path / "disk")) == (
        True,
        gone,
        ["kept.parquet"],
    )


@needs_posix
def test_two_spellings_of_one_path_are_one_backup(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    kept = tmp_path / "disk" / "kept.parquet"
    with Emulator() as emulator, emulator.client() as client, ThreadPoolExecutor(2) as threads:
        seed(emulator, PAIRS)
        # It has opened its backup, and waits for a list until its connection is cut off.
        emulator.inject(Fault.unanswered())
        under_way = threading.Event()
        first = threads.submit(
            client.delete_annotations, ["p"], ["a"], backup=kept,
            progress=when_it_is_under_way(under_way.set, lambda: emulator.requests),
        )  # fmt: skip
        assert under_way.wait(30)
        with pytest.raises(BackupError, match="is being written by another call"):
            client.delete_annotations(["q"], ["a"], backup=tmp_path / "link" / ".." / "link" / "kept.parquet")
        emulator.suspend()
        emulator.resume()
        first.result()
    assert [pair for pair, _ in copies(kept)] == [("p", "a")]


# -- Who may write it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [random_cases.cases(60)])
def test_of_calls_with_one_new_path_each_is_saved_or_refused(rounds: int, tmp_path: Path) -> None:
    with Emulator() as emulator, emulator.client() as client, ThreadPoolExecutor(3) as threads:
        for number in range(rounds):
            path = tmp_path / f"{number}.parquet"
            seed(emulator, pairs := [(f"p{number}", name) for name in "abc"])
            before = {pair: message for pair, message in stored(emulator).items() if pair in pairs}

            def delete(input_id: str, annotation_id: str, path: Path = path) -> bool:
                try:
                    return client.delete_annotations(
                        [input_id], [annotation_id], backup=path, missing_ok=True
                    ).ok
                except BackupError as error:
                    if "is being written by another call" not in str(error):
                        raise
                    return False

            named = [(f"p{number}", "a"), (f"p{number}", "none"), (f"p{number}", "b")]
            done = list(threads.map(lambda pair: delete(*pair), named))
            gone = {pair: message for pair, message in before.items() if pair not in stored(emulator)}
            assert (
                gone.keys()
                == {pair for pair, is_done in zip(named, done, strict=True) if is_done} & before.keys()
            )
            assert gone.items() <= dict(copies(path)).items()
            assert names(tmp_path) == ([path.name] if gone else [])
            path.unlink(missing_ok=True)


def test_of_processes_with_one_new_path_each_is_saved_or_refused(tmp_path: Path, emulator: Emulator) -> None:
    path = tmp_path / "kept.parquet"
    before = stored(emulator)
    with child_calls() as first, child_calls() as second:
        for number in range(20):
            seed(emulator, pairs := [(f"p{number}", name) for name in "ab"])
            before |= {pair: message for pair, message in stored(emulator).items() if pair in pairs}
            for child, (input_id, annotation_id) in zip((first, second), pairs, strict=True):
                child.begin(emulator, "delete_annotations", [input_id], [annotation_id], backup=path)
            for child in (first, second):
                result = child.result()
                assert result["error"] is None or "is being written by another call" in result["message"]
            gone = {pair: message for pair, message in before.items() if pair not in stored(emulator)}
            assert dict(copies(path)) == gone
            assert names(tmp_path) == (["kept.parquet"] if gone else [])


FORKS = """
import os, sys
from clarifai_annotations import Client
client = Client(user_id="emulator-user", app_id="emulator-app", pat="made-up", base_url=sys.argv[1], requests_per_second=None)
stop, stopped = os.pipe()
pids = []

def fork(progress):
    if not progress.finished and not pids and os.path.exists(sys.argv[3]):
        pids.append(os.fork())
        if not pids[0]:
            os.close(stopped)
            os.read(stop, 1)  # lives on until the parent lets it go
            os._exit(0)

client.delete_annotations(["p"], ["a"], backup=sys.argv[2], progress=fork)
assert pids, "the call was over before it was forked"
client.delete_annotations(["q"], ["a"], backup=sys.argv[2])
print("again", flush=True)
sys.stdin.readline()
os.close(stopped)
os.waitpid(pids[0], 0)
"""


@needs_posix
def test_a_child_that_was_forked_meanwhile_and_lives_on_holds_no_backup(
    tmp_path: Path, calls: ChildCalls
) -> None:
    path = tmp_path / "kept.parquet"
    with Emulator(latency=0.3) as emulator:
        seed(emulator, PAIRS)
        before = stored(emulator)
        written = tmp_path / "kept.parquet.1.log"
        program = [sys.executable, "-W", "ignore", "-c", FORKS, emulator.base_url, str(path), str(written)]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "again\n"
            calls.begin(emulator, "delete_annotations", ["p"], ["b"], backup=path)
            assert calls.result()["error"] is None
            process.communicate("stop\n")
        assert process.returncode == 0
    assert dict(copies(path)) == before


@needs_posix
def test_a_file_that_the_process_opens_and_closes_meanwhile_lets_no_other_process_in(
    tmp_path: Path, calls: ChildCalls
) -> None:
    path = tmp_path / "kept.parquet"

    def look() -> None:
        for it in tmp_path.iterdir():
            if it.is_file() and it.suffix != ".lock":
                it.read_bytes()
        calls.begin(emulator, "delete_annotations", ["q"], ["a"], backup=path)
        results.append(calls.result())

    results: list[Any] = []
    with Emulator(latency=0.3) as emulator, emulator.client() as client:
        seed(emulator, PAIRS)
        client.delete_annotations(
            ["p"], ["a"], backup=path, progress=when_it_is_under_way(look, lambda: logs(path))
        )
    assert "is being written by another call" in results[0]["message"]


@needs_posix
@pytest.mark.parametrize("what", ["log", "lock"])
def test_nothing_is_deleted_once_the_log_or_the_lock_is_gone(what: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.parquet"

    def remove() -> None:
        for it in tmp_path.glob(f"*.{what}"):
            it.unlink()

    with Emulator(latency=0.3) as emulator, emulator.client() as client:
        seed(emulator, PAIRS)
        before = stored(emulator)
        progress = when_it_is_under_way(remove, lambda: logs(path))
        with pytest.raises(BackupError, match=r"was (moved or )?removed.*What is not in it was not deleted"):
            client.delete_annotations(*columns(PAIRS), backup=path, progress=progress)
        assert stored(emulator) == before


# -- Only plain files ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["pipe", "device", "folder"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if sys.platform == "win32":
        pytest.skip("Windows has other files")
    path = tmp_path / "kept.parquet"
    if request.param == "device":
        return Path("/dev/zero")
    if request.param == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    return path


def test_what_is_no_plain_file_is_no_backup_to_write(
    no_file: Path, emulator: Emulator, client: Client
) -> None:
    with pytest.raises(BackupError, match=r"it is a (pipe or a device|folder).*Nothing was deleted"):
        client.delete_annotations(*columns(PAIRS), backup=no_file)
    assert emulator.requests == []


def test_what_is_no_plain_file_is_no_backup_to_read(
    no_file: Path, emulator: Emulator, client: Client
) -> None:
    for read in (client.restore_annotations, clarifai_annotations.open_backup):
        with pytest.raises(BackupError, match=r"it is a (pipe or a device|folder).*Nothing was sent"):
            read(no_file)
    assert emulator.requests == []


# -- Whose eyes it is for ------------------------------------------------------------------------------------------


@needs_posix
def test_only_its_owner_may_read_a_backup_and_its_logs(tmp_path: Path) -> None:
    path = tmp_path / "kept.parquet"
    modes: dict[str, int] = {}

    def look() -> None:
        modes.update({it.name: stat.S_IMODE(it.stat().st_mode) for it in tmp_path.glob("kept*")})

    umask = os.umask(0o022)
    try:
        with Emulator(latency=0.3) as emulator, emulator.client() as client:
            seed(emulator, PAIRS)
            progress = when_it_is_under_way(look, lambda: logs(path))
            client.delete_annotations(["p"], ["a"], backup=path, progress=progress)
            assert modes == {"kept.parquet.1.log": 0o600, "kept.parquet.lock": 0o600}
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            # Its owner may share it; then it stays shared.
            path.chmod(0o640)
            client.delete_annotations(["q"], ["a"], backup=path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(umask)


# -- What it costs -------------------------------------------------------------------------------------------------


def box(number: int) -> bytes:
    """An annotation as people make it: its IDs are random, and so are its corners."""
    random = random_cases.generator("box", number)
    corners = [random.random() for _ in range(4)]
    region = resources_pb2.Region(
        id=random.randbytes(16).hex(),
        region_info=resources_pb2.RegionInfo(
            bounding_box=resources_pb2.BoundingBox(
                top_row=corners[0], left_col=corners[1], bottom_row=corners[2], right_col=corners[3]
            )
        ),
        data=resources_pb2.Data(concepts=[resources_pb2.Concept(id="cat", name="cat", value=1.0)]),
    )
    data = resources_pb2.Data(regions=[region])
    return bytes(resources_pb2.Annotation(user_id="labeller", data=data).SerializeToString())


@pytest.mark.parametrize("syncs", [50, 1000])
def test_what_is_written_grows_with_the_rows_and_not_with_the_syncs(
    syncs: int, tmp_path: Path, clarifai_emulator: Emulator
) -> None:
    path, rows = tmp_path / "kept.parquet", 1000
    ids = [random_cases.generator(number).randbytes(16).hex() for number in range(rows)]
    for number, annotation_id in enumerate(ids):
        clarifai_emulator.add_annotation("photo", annotation_id, message=box(number))
    largest = 0

    def look(_: Progress) -> None:
        nonlocal largest
        largest = max([largest, *(log.stat().st_size for log in logs(path))])

    with clarifai_emulator.client(batch_size=rows // syncs, max_in_flight=1) as client:
        client.delete_annotations(["photo"] * rows, ids, backup=path, progress=look)
    final = path.stat().st_size
    again = tmp_path / "again.parquet"
    pq.write_table(pq.read_table(path), again, compression="zstd")
    assert final <= 1.2 * again.stat().st_size + 20_000
    assert final + largest <= 2.5 * final


# -- A reader of our own -------------------------------------------------------------------------------------------


def test_what_is_saved_is_read_while_the_call_runs(tmp_path: Path) -> None:
    path, seen = tmp_path / "kept.parquet", []

    def look(progress: Progress) -> None:
        if progress.deleted and not progress.finished:
            backup = clarifai_annotations.open_backup(path)
            seen.append((pl.DataFrame(backup), backup.count_by_app(), progress.deleted))

    with Emulator(latency=0.2) as emulator, emulator.client(batch_size=1, max_in_flight=1) as client:
        seed(emulator, PAIRS)
        before = stored(emulator)
        client.delete_annotations(*columns(PAIRS), backup=path, progress=look)
    assert seen
    for rows, counted, deleted in seen:
        pairs = [(row["input_id"], row["annotation_id"]) for row in rows.to_dicts()]
        assert pairs == PAIRS[: len(pairs)]
        # It was counted later, and there may be more by then.
        assert counted[("emulator-user", "emulator-app")] >= len(pairs) >= deleted
        assert rows["annotation"].to_list() == [before[pair] for pair in pairs]


def test_the_rows_of_a_backup_are_those_that_other_programs_read(tmp_path: Path, client: Client) -> None:
    path = tmp_path / "kept.parquet"
    client.delete_annotations(*columns(PAIRS), backup=path)
    assert pl.DataFrame(clarifai_annotations.open_backup(path)).equals(pl.read_parquet(path))


def test_a_backup_that_is_not_there_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"kept.parquet: cannot be read: No such file"):
        clarifai_annotations.open_backup(tmp_path / "kept.parquet")


def test_a_damaged_row_breaks_the_stream_off_with_its_number(tmp_path: Path, client: Client) -> None:
    path = tmp_path / "kept.parquet"
    client.delete_annotations(*columns(PAIRS), backup=path)
    pl.read_parquet(path).with_columns(annotation=pl.lit(b"\xff\xff")).write_parquet(path)
    backup = clarifai_annotations.open_backup(path)
    with pytest.raises(BackupError, match="row 0 holds something that is no annotation"):
        backup.count_by_app()
    with pytest.raises(Exception, match="row 0 holds something that is no annotation"):
        pl.DataFrame(backup)


# -- A disk that is slow or gone -----------------------------------------------------------------------------------

STUCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file system that does not answer: what is called for a file with ".parquet" in its name waits for ever. */
static int is_stuck(const char *call, const char *path) {
    const char *stuck = getenv("STUCK");
    return stuck && !strcmp(stuck, call) && path && strstr(path, ".parquet");
}

static void wait_for_ever(void) { for (;;) pause(); }

int open64(const char *path, int flags, ...) {
    va_list arguments; va_start(arguments, flags); int mode = va_arg(arguments, int); va_end(arguments);
    if (is_stuck("open", path)) wait_for_ever();
    return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
}

static int synced(const char *name, int file) {
    char link[64], path[4096];
    strcpy(link, "/proc/self/fd/");
    char digits[16]; int n = 0, rest = file;
    do { digits[n++] = '0' + rest % 10; rest /= 10; } while (rest);
    char *end = link + strlen(link);
    while (n) *end++ = digits[--n];
    *end = 0;
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    if (is_stuck(name, path) && strstr(path, getenv("STUCK_NAME"))) wait_for_ever();
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fdatasync(int file) { return synced("fdatasync", file); }
int fsync(int file) { return synced("fsync", file); }
"""

STUCK_CALL = """
import json, sys
from clarifai_annotations import ClarifaiError, Client
client = Client(user_id="emulator-user", app_id="emulator-app", pat="made-up", base_url=sys.argv[1], requests_per_second=None)
try:
    if sys.argv[3] == "restore":
        client.restore_annotations(sys.argv[2], timeout=0.5)
    else:
        report = client.delete_annotations(["p", "q", "p"], ["a", "a", "b"], backup=sys.argv[2], timeout=0.5)
        print("ok", report.deleted, report.unsent)
except ClarifaiError as error:
    print(type(error).__name__, error.report and error.report.unsent)
"""


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes a file system get stuck."""
    if sys.platform != "linux":
        pytest.skip("Linux alone lets a library stand in for the C library so simply")
    folder = tmp_path_factory.mktemp("stuck")
    (folder / "stuck.c").write_text(STUCK)
    built = subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", folder / "stuck.so", folder / "stuck.c", "-ldl"], check=False
    )
    if built.returncode:
        pytest.skip("there is no C compiler")
    return folder / "stuck.so"


@pytest.mark.parametrize(
    ("call", "name", "what", "result"),
    [
        ("open", "", "delete", "DeadlineError 3"),
        ("open", "", "restore", "DeadlineError None"),
        ("fdatasync", ".log", "delete", "DeadlineError 3"),
        # All of it is in the log by then: the outcomes are what they are, and the log stays.
        ("fsync", ".partial", "delete", "ok 3 0"),
    ],
    ids=["opened", "opened to restore", "synced", "completed"],
)
def test_a_timeout_ends_a_call_whose_disk_does_not_answer(
    call: str, name: str, what: str, result: str, stuck: Path, tmp_path: Path, emulator: Emulator
) -> None:
    path = tmp_path / "kept.parquet"
    before = stored(emulator)
    if what == "restore":
        emulator.client().delete_annotations(*columns(PAIRS), backup=path)
    environment = {**os.environ, "LD_PRELOAD": str(stuck), "STUCK": call, "STUCK_NAME": name}
    program = [sys.executable, "-c", STUCK_CALL, emulator.base_url, str(path), what]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.returncode) == (result, 0), done.stderr
    gone = {pair: message for pair, message in before.items() if pair not in stored(emulator)}
    assert gone.items() <= dict(copies(path)).items()


COMMAND_OF_SEVERAL_CALLS = """
from clarifai_annotations.__main__ import main
from clarifai_annotations.cli import run
run.ROWS_PER_CALL = 1
main()
"""


def test_a_signal_ends_a_command_whose_backup_cannot_be_completed(stuck: Path, tmp_path: Path) -> None:
    with Emulator(latency=0.1) as emulator:
        seed(emulator, pairs := [("p", f"a{number}") for number in range(40)])
        before = stored(emulator)
        rows = ["input_id,annotation_id", *(",".join(pair) for pair in pairs)]
        (tmp_path / "labels.csv").write_text("\n".join(rows))
        path = tmp_path / "kept.parquet"
        environment = {
            **os.environ,
            "LD_PRELOAD": str(stuck),
            "STUCK": "fsync",
            "STUCK_NAME": ".partial",
            **{f"CLARIFAI_{name}_ID": f"emulator-{name.lower()}" for name in ("USER", "APP")},
            "CLARIFAI_PAT": "made-up",
            "CLARIFAI_API_BASE": emulator.base_url,
        }
        options = ["delete", "labels.csv", "--yes", "--backup", str(path), "--output", "json"]
        command = [sys.executable, "-c", COMMAND_OF_SEVERAL_CALLS, *options]
        with subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                while len(stored(emulator)) == len(pairs):
                    assert process.poll() is None
                process.send_signal(signal.SIGTERM)
                output, errors = process.communicate(timeout=60)
            finally:
                process.kill()
        assert (process.returncode, json.loads(output)["deleted"] > 0) == (128 + signal.SIGTERM, True), errors
        gone = {pair: message for pair, message in before.items() if pair not in stored(emulator)}
        assert gone.items() <= dict(copies(path)).items()
