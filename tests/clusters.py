"""Real Spark servers on this machine for tests: a standalone cluster, a Connect server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from clinical_lakehouse.runtime.session import delta_jars

ROOT = Path(__file__).parents[1]
BIN = Path(pyspark.__file__).parent / "bin"
_DEPLOY = "org.apache.spark.deploy"
_CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"
# What a small lake needs on any engine so that a test does not take all day.
SMALL = {
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.sql.session.timeZone": "UTC",
}


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the checkout's source and one Python for everybody."""
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return {
        **os.environ,
        "PYTHONPATH": source,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "512m",  # the Connect server counts as a daemon
        "SPARK_NO_DAEMONIZE": "1",
        "TZ": "UTC",
        **more,
    }


def small_environment(folder: Path) -> dict[str, str]:
    """The environment of a lake's processes on this machine: little memory, by a file of Spark's
    defaults in `folder`, and keys that two lakes of one secret share."""
    defaults = {**SMALL, "spark.cores.max": "1", "spark.executor.memory": "768m"}
    (folder / "spark-defaults.conf").write_text(
        "".join(f"{name} {value}\n" for name, value in defaults.items())
    )
    own = {"CLINICAL_DRIVER_MEMORY": "1g", "SURROGATE_KEYS": "derived"}
    return environment(**own, SPARK_CONF_DIR=str(folder))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def standalone(folder: Path, workers: int) -> Iterator[str]:
    """The address of a standalone master with workers of one core; logs lie in `folder`."""
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    place = ("--host", "127.0.0.1", "--webui-port", "0")
    master = (BIN / "spark-class", f"{_DEPLOY}.master.Master", *place, "--port", str(port))
    processes = [_started(folder / "master.log", *map(str, master))]
    try:
        _wait_for(folder / "master.log", "New state: ALIVE")
        for n in range(workers):
            size = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"work{n}"))
            command = (BIN / "spark-class", f"{_DEPLOY}.worker.Worker", *place, *size, address)
            processes.append(_started(folder / f"worker{n}.log", *map(str, command)))
            _wait_for(folder / f"worker{n}.log", "Successfully registered with master")
        yield address
    finally:
        _end(processes)


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """The address of a Connect server with Delta; its log lies in `folder`."""
    port = free_port()
    settings = {
        **SMALL,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.connect.grpc.binding.port": str(port),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.log.level": "INFO",
    }
    given = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    jars = ("--jars", ",".join(delta_jars()), "--driver-memory", "1500m", "--master", "local[2]")
    command = (str(BIN / "spark-submit"), "--class", _CONNECT, *jars, *given, "spark-internal")
    process = _started(folder / "connect.log", *command)
    try:
        _wait_for(folder / "connect.log", "Spark Connect server started")
        yield f"sc://127.0.0.1:{port}"
    finally:
        _end([process])


def _started(log: Path, *command: str) -> subprocess.Popen:
    with log.open("w") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment(), cwd=log.parent)


def _wait_for(log: Path, text: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while text not in log.read_text():
        assert time.monotonic() < until, f"no {text!r} within {seconds} s"
        time.sleep(0.2)


def _end(processes: list[subprocess.Popen]) -> None:
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
