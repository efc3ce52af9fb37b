"""Jobs on a real lake: one session, real tasks, the ledger in its tables."""

import json
import threading
from dataclasses import replace
from datetime import datetime

import pytest

from clinical_lakehouse.alerting.outbox.message import Message
from clinical_lakehouse.errors import LakeError
from clinical_lakehouse.local import workspace
from clinical_lakehouse.local.events import Noticed
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.entry import run_from_arguments
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.ops_notifications import MESSAGE
from tests.local.stand_ins import job, make_bundle, wheel


@task(writes=[ops.BOOKMARK], params={"size": "1"})
def remember(run):
    """Write as many bookmarks as asked for."""
    size = int(run.param("size"))
    rows = [{"reader": str(n), "table_name": "t", "table_version": n} for n in range(size)]
    run.lake.append(ops.BOOKMARK, rows)
    return {"row_count": size}


@task(writes=[ops.BOOKMARK])
def linger(run):
    """Work in Spark for longer than anybody waits, then write."""
    one = [{"reader": "x", "table_name": "t", "table_version": 1}]
    numbers = "explode(sequence(1, 100000))"
    rows = run.lake.frame(ops.BOOKMARK, one).selectExpr(f"{numbers} AS a")
    pairs = rows.crossJoin(rows.withColumnRenamed("a", "b"))
    return {"sum": pairs.selectExpr("sum(sqrt(a * b + a))").collect()[0][0]}


@task()
def doze(run):
    """Take a while without Spark."""
    threading.Event().wait(6)
    return {}


@task(writes=[ops.BOOKMARK])
def late(run):
    """Notice too late that time is up, and try to write."""
    began = wall_clock()
    while (wall_clock() - began).total_seconds() < 1.5:
        pass
    run.lake.append(ops.BOOKMARK, [{"reader": "x", "table_name": "t", "table_version": 1}])
    return {}


@task(writes=[ops.BOOKMARK])
def refuse(run):
    """Fail with a reason."""
    raise LakeError("the reason")


TASKS = {t.key: t for t in (remember, linger, doze, late, refuse)}


def open_here(lake, bundle, monkeypatch, tasks=TASKS):
    """A workspace whose only tasks are these."""
    monkeypatch.setattr(workspace, "tasks", lambda: tasks)
    settings = load_settings("dev", environ={})
    return workspace.Workspace(bundle, lake, settings, lambda event: None)


def _told(lake):
    """Kind of run message, recipient or channel, and subject, as the outbox has them."""
    rows = [Message.of(row.asDict()) for row in lake.read(MESSAGE).collect()]
    return {(one.recipient or one.channel, json.loads(one.payload)["subject"]) for one in rows}


def test_whom_the_bundle_names_is_told_of_a_failed_run_by_the_outbox(lake, tmp_path, monkeypatch):
    sinks = {
        "email_notifications": {"on_start": ["ben@example.org"], "on_failure": ["ana@example.org"]},
        "webhook_notifications": {"on_failure": [{"id": "nowhere"}]},
        "notification_settings": {"no_alert_for_canceled_runs": True},
    }
    bundle = make_bundle(tmp_path, bad={**job(wheel("refuse")), **sinks},
                         good={**job(wheel("remember")), **sinks})  # fmt: skip
    said = []
    here = replace(open_here(lake, bundle, monkeypatch), listen=said.append)
    assert not here.run(Request("bad", {"as_of": "2024-06-30"})).ok
    assert here.run(Request("good", {"as_of": "2024-06-30"})).ok
    assert _told(lake) == {
        ("ben@example.org", "Job bad started"),
        ("ana@example.org", "Job bad failed"),
        ("ben@example.org", "Job good started"),
    }
    missing = "'nowhere', a destination of job bad, is not in conf/alerting/channels.yml"
    assert missing in [event.what for event in said if isinstance(event, Noticed)]
    texts = [row.payload for row in lake.read(MESSAGE).collect()]
    assert not any("the reason" in text for text in texts)  # it may hold data


def test_a_job_runs_on_the_lake_and_is_in_the_ledger(lake, tmp_path, monkeypatch):
    main = job(wheel("remember", arguments=("--size=3",)))
    here = open_here(lake, make_bundle(tmp_path, main=main), monkeypatch)
    result = here.run(Request("main", {"as_of": "2024-06-30"}))
    assert exit_code(result) == 0
    assert lake.read(ops.BOOKMARK).count() == 3
    row = lake.read(ops.TASK_RUN).filter("state = 'success'").collect()[0]
    assert json.loads(row.metrics) == {"row_count": 3}
    assert json.loads(row.versions) == {"ops.bookmark": lake.version(ops.BOOKMARK)}
    assert row.as_of == datetime(2024, 6, 30)
    assert row.settings_hash == here.settings.digest()
    assert lake.read(ops.JOB_RUN).filter("state = 'success'").count() == 1


@pytest.mark.soak
@pytest.mark.parametrize("beside", [(), ("doze",)], ids=["alone", "beside another task"])
def test_spark_work_over_its_time_is_cancelled(lake, tmp_path, monkeypatch, beside):
    monkeypatch.setattr("clinical_lakehouse.local.runner._PATIENCE_SECONDS", 20.0)
    main = job(wheel("linger", timeout_seconds=2), *(wheel(other) for other in beside))
    here = open_here(lake, make_bundle(tmp_path, main=main), monkeypatch)
    result = here.run(Request("main"))
    assert result.tasks["linger"].state.value == "timed_out"
    assert all(result.tasks[other].state.is_well for other in beside)
    assert not [t for t in threading.enumerate() if t.name.startswith(result.run_id)]
    status = lake.read(ops.TASK_RUN).filter("state = 'timed_out'").collect()[0]
    assert status.message == "took longer than 2 s"


def test_a_task_given_up_cannot_write_any_more(lake, tmp_path, monkeypatch):
    main = job(wheel("late", timeout_seconds=1))
    here = open_here(lake, make_bundle(tmp_path, main=main), monkeypatch)
    result = here.run(Request("main"))
    assert result.tasks["late"].state.value == "timed_out"
    assert lake.read(ops.BOOKMARK).count() == 0


def test_the_ledger_is_written_even_if_the_runner_breaks(lake, tmp_path, monkeypatch):
    def explode(event):
        raise RuntimeError("the view broke")

    here = open_here(lake, make_bundle(tmp_path, main=job(wheel("remember"))), monkeypatch)
    monkeypatch.setattr(workspace, "Preparing", lambda what: None)
    with pytest.raises(RuntimeError):
        replace(here, listen=lambda event: event and explode(event)).run(Request("main"))
    assert {r.state for r in lake.read(ops.JOB_RUN).collect()} == {"running", "killed"}


def test_a_task_started_alone_records_itself(lake, spark):
    place = [f"--root={lake.root}", "--run-id=alone", "--attempt=2", "--as-of=2024-06-30"]
    run_from_arguments(remember, [*place, "--size=2"])
    rows = {r.state: r for r in lake.read(ops.TASK_RUN).collect()}
    assert set(rows) == {"running", "success"}
    ended = rows["success"]
    assert (ended.run_id, ended.job, ended.task, ended.attempt) == (
        "alone",
        "test_workspace",
        "remember",
        2,
    )
    assert json.loads(ended.metrics) == {"row_count": 2}
    assert ended.duration_seconds > 0


def test_a_task_failing_alone_records_why_and_still_fails(lake, spark):
    with pytest.raises(LakeError):
        run_from_arguments(refuse, [f"--root={lake.root}", "--run-id=alone"])
    rows = {r.state: r.message for r in lake.read(ops.TASK_RUN).collect()}
    assert rows == {"running": None, "failed": "the reason"}
