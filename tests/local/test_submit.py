"""`spark-submit jobs/main.py ENTRY-POINT` runs the same task on a real standalone cluster."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from tests.clusters import BIN, ROOT, environment, standalone


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Path]:
    """A standalone master with one worker on this machine: the folder of their logs."""
    folder = tmp_path_factory.mktemp("cluster")
    with standalone(folder, workers=1) as address:
        (folder / "address").write_text(address)
        yield folder


@pytest.mark.soak
def test_a_task_submitted_to_a_standalone_master_fills_the_lake(cluster, spark, tmp_path):
    landing, root = tmp_path / "landing", tmp_path / "lake"
    landing.mkdir()
    patients = [{"resourceType": "Patient", "id": f"p{n}"} for n in range(3)]
    lines = "".join(json.dumps(patient) + "\n" for patient in patients)
    (landing / "Patient.ndjson").write_text(lines)
    size = ["--driver-memory", "1g", "--executor-memory", "768m"]
    task = ["patient-ingestion-land", "--root", str(root), "--landing", str(landing)]
    when = ["--as-of", "2024-06-30", "--run-id", "submitted"]
    submit = [str(BIN / "spark-submit"), "--master", (cluster / "address").read_text(), *size]
    done = subprocess.run(
        [*submit, str(ROOT / "jobs" / "main.py"), *task, *when],
        capture_output=True, text=True, env=environment(), timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Registered app clinical-lakehouse" in (cluster / "master.log").read_text()
    lake = Lakehouse(spark, root)
    assert lake.read(FHIR_RESOURCE).count() == 3
    states = {row.state for row in lake.read(ops.TASK_RUN).collect()}
    assert states == {"running", "success"}
