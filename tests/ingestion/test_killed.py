"""Killed with -9 after any commit and started again, the job ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clinical_lakehouse.tables.catalog import all_tables
from tests.ingestion.chain import all_hashes, ingest, new_lake, write_lines
from tests.ingestion.test_increments import FILES

# Runs the job in a process of its own that dies right after its n-th commit.
_DYING = """
import os, signal, sys
from pathlib import Path
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.session import open_session
from tests.ingestion.chain import ingest

kept, left = Lakehouse._committed, [int(sys.argv[3])]

def committed(self, table, *counts):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return kept(self, table, *counts)

Lakehouse._committed = committed
ingest(Lakehouse(open_session("local[2]"), Path(sys.argv[1])), Path(sys.argv[2]))
"""
_ROOT = Path(__file__).parents[2]


def _killed(root: Path, landing: Path, commit: int) -> int:
    paths = os.pathsep.join((str(_ROOT / "src"), str(_ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", _DYING, str(root), str(landing), str(commit)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        timeout=600,
        check=False,
    )
    return done.returncode


@pytest.mark.soak
def test_job_killed_after_a_commit_and_started_again_ends_the_same(spark, tmp_path):
    landing = tmp_path / "landing"
    write_lines(landing / "all.ndjson", *(line for lines in FILES.values() for line in lines))
    whole = new_lake(spark, tmp_path / "whole")
    ingest(whole, landing)
    lake = new_lake(spark, tmp_path / "lake")
    # After land's commit; between quarantine and the ledger; between two tables of silver.
    for commit in (1, 2, 8):
        assert _killed(lake.root, landing, commit) == -signal.SIGKILL
    ingest(lake, landing)
    assert all_hashes(lake) == all_hashes(whole)
    assert any(lake.exists(table) for table in all_tables().values())
