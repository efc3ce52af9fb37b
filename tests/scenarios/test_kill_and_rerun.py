"""Killed anywhere and started again: nothing lost, nothing twice."""

import os
import signal
import subprocess
import sys
import time

import pytest

from clinical_lakehouse.simulation import TrialPlan
from tests.scenarios.conftest import failures, give_secret, hashes, make_trial

PLAN = TrialPlan(patients=40, seed=5)


@pytest.fixture(scope="module")
def undisturbed(spark, tmp_path_factory):
    """The same trial, run once without a kill: what everything must end as."""
    made = make_trial(tmp_path_factory.mktemp("undisturbed"), PLAN)
    result = made.run("clinical_data_pipeline")
    assert result.ok, failures(result)
    return made


@pytest.mark.soak
@pytest.mark.parametrize("task", ["land", "validate", "publish", "map_events", "build"])
def test_killed_while_a_task_runs_the_next_run_ends_the_same(undisturbed, tmp_path, task):
    trial = make_trial(tmp_path, PLAN)
    give_secret(trial.workspace.lake.root, undisturbed.secret)
    _run_until_killed(trial, task)
    result = trial.run("clinical_data_pipeline")
    assert result.ok, failures(result)
    assert filled(trial.workspace) == filled(undisturbed.workspace)


def filled(workspace) -> dict[str, str]:
    """Tables by hash; one that is empty reads as one that is not made, so it is left out."""
    found = hashes(workspace, ("silver", "omop", "gold"))
    return {name: one for name, one in found.items() if one != "0:0:0"}


def _run_until_killed(trial, task: str) -> None:
    """Start the job in a process of its own and kill -9 it a moment after `task` has started."""
    command = [
        *(sys.executable, "-m", "clinical_lakehouse.cli", "--root", str(trial.workspace.lake.root)),
        *("run", "clinical_data_pipeline", "--landing", str(trial.landing)),
        *("--as-of", trial.plan.end.isoformat()),
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "CLINICAL_DRIVER_MEMORY": "1g", "SURROGATE_KEYS": "derived"},
        start_new_session=True,
    )  # fmt: skip
    for line in process.stderr:
        if f".{task}: started" in line:
            time.sleep(1.5)
            break
    else:
        pytest.fail(f"{task} never started")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
