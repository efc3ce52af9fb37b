"""Killed with -9 at each step of a correction and of a restatement: nothing lost, nothing twice."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clinical_lakehouse.ingestion.data_correction import apply
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from clinical_lakehouse.tables.bronze_correction import CORRECTION
from clinical_lakehouse.tables.ops_audit import AUDIT
from tests.ingestion.chain import TASKS, write_corrections
from tests.scenarios.random_corrections import read_trial
from tests.scenarios.small_trial import DERIVED, MAPPED, content, settled_run, step
from tests.scenarios.test_restatement import corrupt, people_of, restate

pytestmark = pytest.mark.soak

# Runs a correction or a restatement in a process of its own that dies right after its n-th commit.
_DYING = """
import os, signal, sys
from pathlib import Path
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.session import open_session
from tests.scenarios import test_killed_corrections as here

kept, left = Lakehouse._committed, [int(sys.argv[4])]

def committed(self, table, *counts):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return kept(self, table, *counts)

Lakehouse._committed = committed
lake = Lakehouse(open_session("local[2]"), Path(sys.argv[2]))
getattr(here, sys.argv[1])(Path(sys.argv[3]), lake, sys.argv[5])
"""
_ROOT = Path(__file__).parents[2]


def correct(landing, lake, file):
    """The job data_correction on a file."""
    run = replace(settled_run(lake, landing, 1), params={"file": file, "landing": str(landing)})
    return apply.execute(run)


def take(landing, lake, _file):
    """What comes after it: ingestion and OMOP, in increments."""
    return step(lake, landing, 1, (*TASKS, *MAPPED, *DERIVED))


def again(landing, lake, subject):
    """The job restatement on one person."""
    return restate(landing, lake, subject=subject)


def _killed(what, lake, landing, commit, given):
    paths = os.pathsep.join((str(_ROOT / "src"), str(_ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", _DYING, what, str(lake.root), str(landing), str(commit), given],
        env={**os.environ, "PYTHONPATH": paths, "CLINICAL_DRIVER_MEMORY": "1g"},
        capture_output=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


def _copy(small_trial, spark, folder):
    shutil.copytree(small_trial, folder)
    return folder / "landing", Lakehouse(spark, folder / "lake")


def test_a_killed_restatement_ends_as_one_that_was_not(small_trial, spark, tmp_path):
    landing, lake = _copy(small_trial, spark, tmp_path / "made")
    step(lake, landing, 0, DERIVED)
    whole, person = content(lake), people_of(lake)[0]
    corrupt(lake, [person])
    # In mark, between two tables of silver, in OMOP's places, its events and its units.
    for commit in (1, 5, 24, 34, 48):
        _killed("again", lake, landing, commit, str(person))
    again(landing, lake, str(person))
    assert content(lake) == whole


def test_a_killed_correction_is_applied_once(small_trial, spark, tmp_path):
    landing, lake = _copy(small_trial, spark, tmp_path / "killed")
    labs = [o for o in read_trial(landing / "0")["Observation"] if "valueQuantity" in o][:5]
    file = tmp_path / "corrections.csv"
    said = {"resource_type": "Observation", "path": "valueQuantity.value", "new": "1234.5",
            "by": "ines", "reason_code": "query", "why": "a test"}  # fmt: skip
    write_corrections(file, *(
        {**said, "old": lab["valueQuantity"]["value"], "resource_id": lab["id"],
         "query_id": lab["id"]} for lab in labs
    ))  # fmt: skip
    other_landing, other = _copy(small_trial, spark, tmp_path / "whole")
    correct(other_landing, other, str(file))
    take(other_landing, other, "")
    for commit in (1, 2):
        _killed("correct", lake, landing, commit, str(file))
    assert correct(landing, lake, str(file))["applied"] == 5
    # After landing, in validation, between tables of silver and of OMOP.
    for commit in (1, 3, 6, 20):
        _killed("take", lake, landing, commit, "")
    take(landing, lake, "")
    assert correct(landing, lake, str(file))["applied"] == 0
    assert content(lake) == content(other)
    found = lake.read(silver.OBSERVATION).filter("value_number = 1234.5")
    assert found.count() == 5
    landed = lake.read(FHIR_RESOURCE).filter("file_name LIKE 'corrections/%'")
    assert landed.count() == lake.read(AUDIT).count() == lake.read(CORRECTION).count() == 5
