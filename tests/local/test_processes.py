"""Tasks in processes of their own: what they leave, and that none outlives its order."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinical_lakehouse.errors import LakeError, SourceError
from clinical_lakehouse.runtime.order import Order
from clinical_lakehouse.runtime.processes import ProcessEngine
from tests.local.stand_ins import fine, plain

SOURCE = str(Path(__file__).parents[2] / "src")
SCRIPT = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {source!r})
from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.runtime.arguments import parse_arguments
from clinical_lakehouse.runtime.processes import end_with_runner, write_result
from clinical_lakehouse.runtime.task import Done
name, given = sys.argv[1], parse_arguments(sys.argv[2:])
result = Path(given["result"])
end_with_runner(result)
print(name, sorted(given), flush=True)
if name == "fine":
    write_result(result, Done(dict(rows=3), {{"gold.made": 7}}))
if name == "refuse":
    write_result(result, SourceError("give another folder"))
if name == "break":
    write_result(result, KeyError("Canary-Surname"))
if name == "linger":
    Path({pid!r}).write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture
def engine(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(SCRIPT.format(source=SOURCE, pid=str(tmp_path / "pid")))
    return ProcessEngine(script, {"root": "/lake", "env": "dev"}, tmp_path)


def order(**more):
    at = datetime(2024, 6, 30, tzinfo=UTC)
    return Order(at, "r", {"my_size": "3"}, 2, "r.a.2", **more)


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def waited_for(path: Path) -> int:
    until = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return int(path.read_text())


def test_a_process_is_told_its_order_and_leaves_metrics_and_versions(engine, tmp_path):
    done = engine.perform(plain("fine", fine), order())
    assert (done.metrics, done.written) == ({"rows": 3}, {"gold.made": 7})
    log = tmp_path / "ops/_logs/r/r.a.2.log"
    told = "fine ['as-of', 'attempt', 'env', 'my-size', 'result', 'root', 'run-id']\n"
    assert log.read_text() == told and log.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in log.parent.iterdir()] == ["r.a.2.log"]


def test_a_refusal_comes_back_as_what_it_was_and_a_fault_without_its_text(engine):
    with pytest.raises(SourceError, match="give another folder"):
        engine.perform(plain("refuse", fine), order())
    with pytest.raises(LakeError, match="^KeyError$"):
        engine.perform(plain("break", fine), order())
    with pytest.raises(LakeError, match="ended with code 0 and left no result"):
        engine.perform(plain("nothing", fine), order())


def test_an_order_that_is_void_ends_its_process(engine, tmp_path):
    stopped = threading.Event()
    thread = threading.Thread(
        target=lambda: pytest.raises(
            LakeError, engine.perform, plain("linger", fine), order(is_stopped=stopped.is_set)
        )
    )
    thread.start()
    process = waited_for(tmp_path / "pid")
    stopped.set()
    thread.join(10)
    assert not thread.is_alive() and not lives(process)


def test_a_task_does_not_outlive_a_runner_killed_with_9(engine, tmp_path):
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from clinical_lakehouse.runtime.order import Order\n"
        "from clinical_lakehouse.runtime.processes import ProcessEngine\n"
        "from types import SimpleNamespace\n"
        "engine = ProcessEngine(Path(sys.argv[1]), {}, Path(sys.argv[2]))\n"
        "engine.perform(SimpleNamespace(name='linger'), Order(datetime.now(UTC), 'r', {}, 1, 't'))"
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", code, str(engine.script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    process = waited_for(tmp_path / "pid")
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    until = time.monotonic() + 10
    while lives(process) and time.monotonic() < until:
        time.sleep(0.05)
    assert not lives(process)
