"""The key reaches the executors of a Spark cluster and nothing that Spark writes or shows."""

from __future__ import annotations

import json
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from clarifai_annotations import ConfigurationError
from clarifai_annotations.emulator import Emulator, Fault
from clarifai_annotations.spark import delete_annotations
from clarifai_annotations.spark.settings import refuse_a_key_in_the_open
from conftest import KEY
from spark_cluster import Cluster, wait_for_line
from test_spark import app_of

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of Py4J

# Two deletions: one in which everything fails that can, and one that ends well; then its UI is looked at.
PROGRAM = """
import json, logging, pickle, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from pyspark.sql import SparkSession
from clarifai_annotations.spark import delete_annotations
spark = SparkSession.builder.getOrCreate()
df = spark.createDataFrame([("p", f"a{n}") for n in range(300)], "input_id string, annotation_id string")
for number, (options, outcomes) in enumerate(zip(json.loads(sys.argv[1]), sys.argv[2:])):
    try:
        report = delete_annotations(df, outcomes, **options)
        print("REPORT", number, report, report._repr_html_(), pickle.dumps(report))
        report.outcomes.explain(True)
        report.outcomes.show(1000, False)
    except Exception as error:
        print("ERROR", number, repr(error), vars(error), pickle.dumps(error))
        traceback.print_exc()
print("UI", spark.sparkContext.uiWebUrl, flush=True)
sys.stdin.read()
"""


def pages(base: str) -> dict[str, str]:
    """All that Spark's UI shows of a program, in HTML and in JSON."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(path: str) -> str:
        text: str = opener.open(base + path, timeout=30).read().decode()
        return text

    [app] = json.loads(get("/api/v1/applications"))
    api = f"/api/v1/applications/{app['id']}"
    found = {path: get(path) for path in ("/jobs/", "/stages/", "/environment/", "/executors/", "/SQL/")}
    found |= {
        path: get(api + path)
        for path in ("/jobs", "/stages?details=true", "/environment", "/sql?details=true")
    }
    for execution in json.loads(found["/sql?details=true"]):
        path = f"/SQL/execution/?id={execution['id']}"
        found[path] = get(path)
    return found


def test_the_key_is_in_nothing_that_spark_writes_or_shows(cluster: Cluster, tmp_path: Path) -> None:
    events, secret = tmp_path / "events", tmp_path / "secret"
    events.mkdir()
    secret.write_text(KEY + "\n")
    with (
        Emulator(pats=[KEY], seed=7, fault_rates={Fault.dropped_after(): 0.1}) as emulator,
        Emulator(pats=["other"]) as refusing,
    ):
        for n in range(300):
            emulator.add_annotation("p", f"a{n}")
        emulator.lock("p", "a1")
        shared = {"requests_per_second": None, "tasks": 2, "batch_size": 16}
        calls = [
            {**shared, **app_of(refusing)},
            {**shared, **app_of(emulator), "secret": f"file:{secret}", "on_failure": "report"},
        ]
        logged = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": events.as_uri(),
            "spark.ui.enabled": "true",
            "spark.log.level": "DEBUG",
            "spark.sql.planChangeLog.level": "WARN",
        }
        folders = [str(tmp_path / "outcomes-0"), str(tmp_path / "outcomes-1")]
        said = tmp_path / "said"
        with cluster.program(PROGRAM, json.dumps(calls), *folders, output=said, **logged) as driver:
            with said.open() as log:
                shown = pages(wait_for_line(log, r"\nUI (\S+)\n"))
            driver.communicate("")
        output = said.read_text()
        # All that was to happen did.
        assert "ERROR 0 AuthenticationError(" in output, output[-5000:]
        assert "REPORT 1 SparkDeleteReport(requested=300, deleted=299, absent=0, failed=1" in output
        assert len([it for it in emulator.requests if it.fault == "dropped_after"]) > 0
    written = [it for it in [*events.rglob("*"), *cluster.folder.rglob("*")] if it.is_file()]
    written += [it for folder in folders for it in Path(folder).rglob("*") if it.is_file()]
    logs = [it for it in written if it.name in ("log", "stderr")]
    assert len([it for it in logs if it.name == "stderr"]) >= 2
    assert any(it.is_relative_to(events) and it.stat().st_size > 10_000 for it in written)
    assert any("mapInArrow" in page or "MapInArrow" in page for page in shown.values())
    for path in written:
        with suppress(FileNotFoundError):  # what executors keep of a stage goes with it
            assert KEY.encode() not in path.read_bytes(), path
    for name, page in shown.items():
        assert KEY not in page, name
    assert KEY not in output


@pytest.mark.parametrize("name", ["CLARIFAI_PAT", "TEAM_KEY"])
def test_a_key_that_spark_would_publish_is_refused(name: str, spark: Any, tmp_path: Path) -> None:
    option = f"spark.executorEnv.{name}"
    df = spark.createDataFrame([("p", "a")], "input_id string, annotation_id string")
    spark.conf.set(option, KEY)
    try:
        with Emulator() as emulator:
            call = {"secret": f"env:{name}", **app_of(emulator)}
            with pytest.raises(ConfigurationError) as raised:
                delete_annotations(df, tmp_path / "outcomes", **call)
            assert str(raised.value).startswith(
                f"{option} is set: Spark shows it in its UI and writes it to its event log"
            )
            assert KEY not in str(raised.value)
            assert emulator.requests == []
    finally:
        spark.conf.unset(option)


def test_a_key_whose_option_spark_redacts_is_taken(spark: Any) -> None:
    option = "spark.executorEnv.CLARIFAI_SESSION_TOKEN"
    spark.conf.set(option, KEY)
    try:
        refuse_a_key_in_the_open(spark, None)
    finally:
        spark.conf.unset(option)
