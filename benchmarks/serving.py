"""Latency of a risk over HTTP: `models serve` beside `mlflow models serve`, the same model.

Run by `python benchmarks/serving.py [REQUESTS]`. One row a request, one after another. Ours asks
the registry each time and has its answer on disk before it leaves; MLflow's does neither.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from clinical_lakehouse.local.serving import Shelf
from clinical_lakehouse.runtime import tracking
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.training.families import FAMILIES

NAME, ROWS, NUMBERS = "dropout_risk", 2_000, 60
_SAY = sys.stdout.write


def main(requests: int) -> None:
    """Figures as the table that benchmarks/README.md keeps."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = _register(root)
        store = f"sqlite:///{root / 'mlflow' / 'mlflow.db'}"
        bodies = [_body(rows, place % ROWS) for place in range(requests)]
        ours = [sys.executable, "-m", "clinical_lakehouse.cli", "--root", folder, "models", "serve"]
        peer = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}/1"]
        _measure("models serve", [*ours, "--port", "8491"], 8491, bodies, store)
        peer += ["--env-manager", "local", "-p", "8492"]
        _measure("mlflow models serve", peer, 8492, bodies, store)


def _register(root: Path) -> pd.DataFrame:
    """A logistic regression of 60 numbers and the sex, as the suite trains it."""
    draws = np.random.default_rng(1)
    rows = pd.DataFrame(draws.normal(size=(ROWS, NUMBERS)), columns=[f"x{n}" for n in range(60)])
    rows["sex"] = draws.choice(["male", "female"], ROWS).astype(object)
    model = FAMILIES[1].build(list(rows.columns), {"C": 1.0}, 0).fit(rows, rows.x0 > 0)
    run = Run(Shelf(root), load_settings("dev"), wall_clock(), "benchmark")  # type: ignore[arg-type]
    made = tracking.register(run, NAME, "one", tracking.Trained(model, rows, {}, {}))
    tracking.set_alias(run, NAME, tracking.CHAMPION, made.version)
    return rows


def _body(rows: pd.DataFrame, place: int) -> bytes:
    one = json.loads(rows.iloc[[place]].to_json(orient="split", index=False))
    return json.dumps({"dataframe_split": one}).encode()


def _measure(name: str, command: list[str], port: int, bodies: list[bytes], store: str) -> None:
    found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow's uvicorn
    env = {**os.environ, "MLFLOW_TRACKING_URI": store, "MLFLOW_REGISTRY_URI": store, "PATH": found}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            connection = _ready(port)
            for body in bodies[:50]:
                _ask(connection, body)
            taken = sorted(_ask(connection, body) for body in bodies)
            used = _memory(process.pid)
        finally:
            _end(process)
    p50, p99 = (1000 * taken[int(len(taken) * share)] for share in (0.5, 0.99))
    _SAY(f"| {name} | p50 {p50:.1f} ms, p99 {p99:.1f} ms | {used / 1e6:.0f} MB |\n")


def _ready(port: int) -> HTTPConnection:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().read() is not None:
                return connection
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("the server did not start")


def _ask(connection: HTTPConnection, body: bytes) -> float:
    began = time.perf_counter()
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise RuntimeError(said[:200])
    return time.perf_counter() - began


def _memory(pid: int) -> int:
    whole = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in whole)


def _end(process: subprocess.Popen[bytes]) -> None:
    for child in psutil.Process(process.pid).children(recursive=True):
        child.terminate()
    process.terminate()
    process.wait(20)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
