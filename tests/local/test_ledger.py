"""The run ledger: nothing lost and nothing twice, however a run ends."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinical_lakehouse.runtime.journal import dead_journals, open_journal
from clinical_lakehouse.runtime.ledger import open_ledger, recover
from clinical_lakehouse.tables import ops

AT = datetime(2024, 6, 30, 12, tzinfo=UTC)
# A process that begins a job and a task, ends another task, and is then killed.
VICTIM = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from clinical_lakehouse.runtime.journal import open_journal
at = datetime(2024, 6, 30, 12, tzinfo=UTC)
journal = open_journal(Path(sys.argv[1]), "victim")
common = {"run_id": "victim", "job": "j", "as_of": at, "recorded_at": at}
journal.write("ops.job_run", {**common, "state": "running"})
for task, state in (("a", "running"), ("a", "success"), ("b", "running")):
    journal.write("ops.task_run", {**common, "task": task, "attempt": 1, "state": state})
print("ready", flush=True)
time.sleep(60)
"""


def job_row(state: str, **more):
    return {"run_id": "r", "job": "j", "state": state, "recorded_at": AT, **more}


def task_row(task: str, state: str):
    return {**job_row(state), "task": task, "attempt": 1, "as_of": AT}


def states(lake, table) -> list[tuple]:
    keys = ("task", "state") if table is ops.TASK_RUN else ("run_id", "state")
    return sorted(tuple(row[k] for k in keys) for row in lake.read(table).collect())


@pytest.fixture
def folder(lake) -> Path:
    return lake.root / "ops" / "_journal"


def kill_a_run(folder: Path) -> None:
    """Start a process that journals a run; kill it with -9 in the middle."""
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert victim.stdout.readline() == "ready\n"
    assert list(dead_journals(folder)) == []
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()


def test_a_run_is_in_the_tables_once_it_is_closed_and_its_journal_gone(lake, folder):
    ledger = open_ledger(lake, "hash", "r")
    ledger.record(ops.JOB_RUN, job_row("running"))
    ledger.record(ops.TASK_RUN, task_row("a", "running"))
    ledger.record(ops.TASK_RUN, task_row("a", "success"))
    ledger.record(ops.JOB_RUN, job_row("success"))
    assert not lake.exists(ops.JOB_RUN)
    ledger.close()
    assert states(lake, ops.JOB_RUN) == [("r", "running"), ("r", "success")]
    row = lake.read(ops.TASK_RUN).filter("state = 'success'").collect()[0]
    assert (row.settings_hash, row.recorded_at) == ("hash", AT.replace(tzinfo=None))
    assert row.code_version
    assert lake.version(ops.TASK_RUN) == 1
    assert list(folder.iterdir()) == []


def test_what_began_and_never_ended_is_killed_when_the_ledger_closes(lake):
    ledger = open_ledger(lake, "hash", "r")
    ledger.record(ops.TASK_RUN, task_row("a", "running"))
    ledger.close()
    assert states(lake, ops.TASK_RUN) == [("a", "killed"), ("a", "running")]


def test_a_run_killed_with_9_is_found_marked_and_kept(lake, folder):
    kill_a_run(folder)
    assert recover(lake) == ["victim"]
    assert states(lake, ops.JOB_RUN) == [("victim", "killed"), ("victim", "running")]
    ended = [("a", "running"), ("a", "success"), ("b", "killed"), ("b", "running")]
    assert states(lake, ops.TASK_RUN) == ended
    assert (recover(lake), list(folder.iterdir())) == ([], [])


def test_a_journal_brought_in_twice_adds_nothing(lake, folder):
    kill_a_run(folder)
    copy = (folder / "victim.ndjson").read_bytes()
    recover(lake)
    before = states(lake, ops.JOB_RUN), states(lake, ops.TASK_RUN)
    (folder / "victim.ndjson").write_bytes(copy)
    recover(lake)
    assert (states(lake, ops.JOB_RUN), states(lake, ops.TASK_RUN)) == before


def test_a_living_process_keeps_its_journal(lake, folder):
    ledger = open_ledger(lake, "hash", "r")
    ledger.record(ops.JOB_RUN, job_row("running"))
    assert recover(lake) == []
    assert not lake.exists(ops.JOB_RUN)
    ledger.close()


def test_a_line_cut_off_by_the_crash_is_left_out(tmp_path):
    journal = open_journal(tmp_path, "r")
    journal.write("ops.job_run", {"run_id": "r"})
    os.write(journal.handle, b'{"table": "ops.job_run", "row": {"run_')
    assert journal.entries() == [("ops.job_run", {"run_id": "r"})]
    journal.close(remove=False)
    assert json.loads((tmp_path / "r.ndjson").read_text().splitlines()[0])["pid"] == os.getpid()
