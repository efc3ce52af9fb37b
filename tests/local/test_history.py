"""The ledger read back, and a failed run made whole without doing again what was done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from clinical_lakehouse.errors import LakeError, UsageError
from clinical_lakehouse.local.history import (
    attempts,
    called_runs,
    past_run,
    past_runs,
    repair_request,
)
from clinical_lakehouse.local.references import Cause
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.runtime.journal import living_writer
from clinical_lakehouse.runtime.ledger import journal_folder
from tests.local.stand_ins import AS_OF, call, job, make_bundle, plain, wheel
from tests.local.test_control_flow import condition, loop, on
from tests.local.test_workspace import open_here


class Steps:
    """Tasks that note that they ran and when they were told it is; those in `broken` fail."""

    def __init__(self, *keys):
        self.broken: set[str] = set()
        self.ran: list[str] = []
        self.tasks = {key: plain(key, lambda run, key=key: self.step(run, key)) for key in keys}

    def step(self, run, key):
        """Do it."""
        self.ran.append(f"{key} {run.as_of:%Y-%m-%d}")
        if key in self.broken:
            raise LakeError("no room")
        return {"rows": 1}


@pytest.mark.soak
def test_a_repair_runs_what_failed_and_what_comes_after_with_the_same_clock(
    lake, tmp_path, monkeypatch
):
    main = job(
        wheel("a"),
        call("below", "child", "a", job_parameters={"as_of": "{{job.parameters.as_of}}"}),
        wheel("beside", "a"),
        wheel("last", "below"),
        wheel("mourn", "below", run_if="ALL_DONE"),
    )
    child = job(wheel("b"), wheel("c", "b"))
    bundle = make_bundle(tmp_path, main=main, child=child)
    steps = Steps("a", "b", "c", "beside", "last", "mourn")
    place = open_here(lake, bundle, monkeypatch, steps.tasks)
    steps.broken = {"c"}
    first = place.run(Request("main", {"as_of": "2024-02-29"}))
    assert sorted(steps.ran) == [f"{n} 2024-02-29" for n in ("a", "b", "beside", "c", "mourn")]

    steps.ran.clear()
    asked = repair_request(lake, bundle, first.run_id)
    assert (asked.run_id, asked.cause) == (f"{first.run_id}.r1", Cause("repair", repair_count=1))
    assert not place.run(asked).ok  # c is still broken
    assert sorted(steps.ran) == ["c 2024-02-29", "mourn 2024-02-29"]

    steps.ran.clear()
    steps.broken = set()
    again = repair_request(lake, bundle, first.run_id)
    assert again.run_id == f"{first.run_id}.r2"
    result = place.run(again)
    assert result.ok
    assert sorted(steps.ran) == ["c 2024-02-29", "last 2024-02-29", "mourn 2024-02-29"]
    kept = {row["task"]: row["message"] for row in attempts(lake, again.run_id) if row["message"]}
    assert kept == {n: f"kept from run {asked.run_id}" for n in ("a", "beside")}
    with pytest.raises(UsageError, match="there is nothing to repair"):
        repair_request(lake, bundle, first.run_id)

    assert [run.run_id for run in past_runs(lake, 2)] == [again.run_id, asked.run_id]
    below = called_runs(lake, first.run_id)
    assert [(run.job, run.state) for run in below] == [("child", "failed")]
    assert past_run(lake, first.run_id).parameters == {"as_of": "2024-02-29"}
    with pytest.raises(UsageError, match="is part of run"):
        repair_request(lake, bundle, below[0].run_id)
    with pytest.raises(UsageError, match="no run 'nonsense' in the ledger"):
        repair_request(lake, bundle, "nonsense")


def test_a_repair_decides_conditions_anew_and_repeats_only_rounds_that_failed(
    lake, tmp_path, monkeypatch
):
    state = "{{tasks.each.result_state}}"
    main = job(
        loop("each", "[1, 2]", wheel("round", arguments=("--n={{input}}",))),
        condition("well", state, "EQUAL_TO", "success", "each", run_if="ALL_DONE"),
        on(wheel("yes"), well="true"),
        on(wheel("no"), well="false"),
        parameters=(AS_OF,),
    )
    bundle = make_bundle(tmp_path, main=main)
    steps, tried = Steps("yes", "no"), []

    def work(run):
        tried.append(run.params["n"])
        if run.params["n"] == "2" and len(tried) < 3:
            raise LakeError("not yet")
        return {}

    work.params = {"n": ""}
    steps.tasks["round"] = plain("round", work)
    place = open_here(lake, bundle, monkeypatch, steps.tasks)
    first = place.run(Request("main", {"as_of": "2024-06-30"}))
    assert (tried, steps.ran) == (["1", "2"], ["no 2024-06-30"])
    assert place.run(repair_request(lake, bundle, first.run_id)).ok
    assert (tried, steps.ran) == (["1", "2", "2"], ["no 2024-06-30", "yes 2024-06-30"])


def test_where_a_task_failed_is_in_its_log_without_what_it_said(lake, tmp_path, monkeypatch):
    def broken(run):
        """Fail with a text that holds a value."""
        raise ValueError("patient Canary-Surname has no date")

    steps = Steps("a")
    steps.tasks["a"] = plain("a", broken)
    bundle = make_bundle(tmp_path, main=job(wheel("a")))
    result = open_here(lake, bundle, monkeypatch, steps.tasks).run(Request("main"))
    text = (lake.root / "ops/_logs" / result.run_id / f"{result.run_id}.a.1.log").read_text()
    assert text.startswith("ValueError") and "test_history.py" in text and "Canary" not in text


def test_a_run_under_way_is_listed_and_can_be_cancelled_from_elsewhere(lake, tmp_path):
    """The other process keeps a real journal and stops as the runner does: at SIGTERM."""
    folder = journal_folder(lake.root)
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from clinical_lakehouse.local.interrupts import stop_requests\n"
        "from clinical_lakehouse.runtime.clock import wall_clock\n"
        "from clinical_lakehouse.runtime.journal import open_journal\n"
        "journal, stop = open_journal(Path(sys.argv[1]), 'live'), threading.Event()\n"
        "row = {'run_id': 'live', 'parent_run_id': None, 'job': 'main', 'state': 'running',\n"
        "       'cause': 'manual', 'parameters': None, 'as_of': wall_clock(), 'message': None,\n"
        "       'recorded_at': wall_clock(), 'duration_seconds': None}\n"
        "journal.write('ops.job_run', row)\n"
        "with stop_requests(stop.set):\n"
        "    print('ready', flush=True); stop.wait(60)\n"
        "journal.close(remove=True)"
    )
    source = os.pathsep.join([str(Path(__file__).parents[2] / "src"), *sys.path])
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    try:
        assert other.stdout.readline() == "ready\n"
        assert [(run.run_id, run.state) for run in past_runs(lake, 5)] == [("live", "running")]
        assert living_writer(folder, "live") == other.pid
        from clinical_lakehouse.cli import main

        done = CliRunner().invoke(main, ["--root", str(lake.root), "runs", "cancel", "live"])
        assert (done.output, done.exit_code) == ("run live is cancelled\n", 0)
        assert other.wait(5) == 0
        assert living_writer(folder, "live") is None
        refused = CliRunner().invoke(main, ["--root", str(lake.root), "runs", "cancel", "live"])
        assert refused.exit_code == 2 and "is not under way here" in refused.output
    finally:
        other.kill()
        other.stdout.close()
