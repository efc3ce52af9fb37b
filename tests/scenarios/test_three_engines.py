"""One trial on every engine: threads, processes, a standalone cluster and Spark Connect give the
same tables."""

import subprocess
import sys

import pytest

from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.tables import ops
from tests.clusters import connect_server, small_environment, standalone
from tests.scenarios.conftest import failures, give_secret, hashes, make_trial

PLAN = TrialPlan(patients=20, months=8, seed=5)
JOB = "clinical_data_pipeline"


@pytest.fixture(scope="module")
def in_threads(spark, tmp_path_factory):
    """The trial run in this session."""
    made = make_trial(tmp_path_factory.mktemp("threads"), PLAN)
    result = made.run(JOB)
    assert result.ok, failures(result)
    return made


def same_by_command(trial, tmp_path, *way: str) -> None:
    """The trial run by the command line in that way, compared with the one run in threads."""
    other = make_trial(tmp_path, PLAN)
    give_secret(other.workspace.lake.root, trial.secret)
    place = ("--root", str(other.workspace.lake.root), "run", JOB)
    what = ("--landing", str(other.landing), "--as-of", other.plan.end.isoformat())
    done = subprocess.run(
        [sys.executable, "-m", "clinical_lakehouse.cli", *place, *what, *way],
        capture_output=True, text=True, cwd=tmp_path, timeout=1800,
        env=small_environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert hashes(other.workspace) == hashes(trial.workspace)
    ended = other.workspace.lake.read(ops.TASK_RUN).filter("state = 'success'")
    assert ended.filter("entry_point IS NOT NULL AND versions IS NOT NULL").count() > 10


@pytest.mark.soak
def test_processes_give_the_same_tables(in_threads, tmp_path):
    same_by_command(in_threads, tmp_path, "--mode", "process")


@pytest.mark.soak
def test_a_standalone_cluster_with_two_workers_gives_the_same_tables(in_threads, tmp_path):
    (tmp_path / "cluster").mkdir()
    with standalone(tmp_path / "cluster", workers=2) as master:
        same_by_command(in_threads, tmp_path, "--mode", "submit", "--master", master)


@pytest.mark.soak
def test_spark_connect_gives_the_same_tables(in_threads, tmp_path):
    (tmp_path / "server").mkdir()
    with connect_server(tmp_path / "server") as remote:
        same_by_command(in_threads, tmp_path, "--remote", remote)
