"""`spark-submit jobs/main.py ENTRY-POINT` runs the same task on a real standalone cluster."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE

ROOT = Path(__file__).parents[2]
BIN = Path(pyspark.__file__).parent / "bin"
DEPLOY = "org.apache.spark.deploy"


def environment() -> dict[str, str]:
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return {
        **os.environ,
        "PYTHONPATH": source,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_NO_DAEMONIZE": "1",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(log: Path, *command: str) -> subprocess.Popen:
    with log.open("w") as out:
        return subprocess.Popen(
            [str(BIN / "spark-class"), *command], stdout=out, stderr=out, env=environment()
        )


def wait_for(log: Path, text: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while text not in log.read_text():
        assert time.monotonic() < until, f"no {text!r} within {seconds} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Path]:
    """A standalone master with one worker on this machine: the folder of their logs."""
    folder, port = tmp_path_factory.mktemp("cluster"), free_port()
    address = f"spark://127.0.0.1:{port}"
    place = ("--host", "127.0.0.1", "--webui-port", "0")
    one = started(folder / "master.log", f"{DEPLOY}.master.Master", *place, "--port", str(port))
    processes = [one]
    try:
        wait_for(folder / "master.log", "New state: ALIVE")
        size = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / "work"))
        log = folder / "worker.log"
        processes.append(started(log, f"{DEPLOY}.worker.Worker", *place, *size, address))
        wait_for(log, "Successfully registered with master")
        (folder / "address").write_text(address)
        yield folder
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


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
