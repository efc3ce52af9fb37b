"""The runner killed by -9 again and again: nothing runs twice at once, no run goes on for ever."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clinical_lakehouse.runtime.ledger import recover
from clinical_lakehouse.tables import ops
from tests.local.stand_ins import AS_OF, call, job, wheel, write_bundle

ROOT = Path(__file__).parents[2]
# A task: holds its name's lock while it works, notes if another holds it, then writes its result.
TASK = """
import fcntl, os, sys, time
from pathlib import Path
sys.path.insert(0, {source!r})
from clinical_lakehouse.runtime.arguments import parse_arguments
from clinical_lakehouse.runtime.processes import end_with_runner, write_result
from clinical_lakehouse.runtime.task import Done
name, given = sys.argv[1], parse_arguments(sys.argv[2:])
place = Path(given["root"])
end_with_runner(Path(given["result"]))
handle = os.open(place / f"{{name}}.busy", os.O_CREAT | os.O_RDWR)
try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    (place / "overlap").write_text(name)
draft = place / f"{{name}}.{{os.getpid()}}.draft"
for half in (1, 2):
    with draft.open("a") as out:
        out.write(f"{{name}} {{given['as-of']}} {{half}}\\n")
    time.sleep(0.25)
draft.replace(place / f"{{name}}.out")
write_result(Path(given["result"]), Done(dict(rows=2), {{}}))
"""
# The runner: the real loop, journal and places; its journal is left for `recover` to bring in.
RUNNER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.context import Context
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.runner import run_job
from clinical_lakehouse.local.slots import Slots
from clinical_lakehouse.runtime.clock import new_run_id
from clinical_lakehouse.runtime.journal import open_journal
from clinical_lakehouse.runtime.ledger import Ledger, journal_folder
from clinical_lakehouse.runtime.processes import ProcessEngine
folder, root, run_id = Path(sys.argv[1]), Path(sys.argv[2]), new_run_id()
ledger = Ledger(None, "hash", open_journal(journal_folder(root), run_id))
engine = ProcessEngine(folder / "task.py", {"root": str(root)}, root)
tasks = {name: SimpleNamespace(name=name, params={}) for name in "abcdef"}
context = Context(engine, tasks, ledger, slots=Slots(root / "ops" / "_slots"))
request = Request("main", {"as_of": "2024-06-30"}, run_id=run_id)
sys.exit(0 if run_job(load_bundle(folder=folder), request, context).ok else 1)
"""
QUEUED = {"queue": {"enabled": True}}


@pytest.fixture
def place(tmp_path) -> Path:
    main = job(
        wheel("a"),
        wheel("b", "a", max_retries=1),
        call("below", "child", "a", job_parameters={"as_of": "{{job.parameters.as_of}}"}),
        wheel("f", "b", "below"),
        parameters=(AS_OF,),
        **QUEUED,
    )
    child = job(wheel("c"), wheel("d", "c"), wheel("e", "c"), **QUEUED)
    write_bundle(tmp_path, main=main, child=child)
    (tmp_path / "task.py").write_text(TASK.format(source=str(ROOT / "src")))
    return tmp_path


def start(place: Path, root: Path) -> subprocess.Popen:
    root.mkdir(parents=True, exist_ok=True)
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", RUNNER, str(place), str(root)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": source})


def results(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(root.glob("*.out"))}


@pytest.mark.soak
def test_killed_fifty_times_the_runner_ends_as_if_undisturbed(lake, place, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    assert start(place, undisturbed).wait(60) == 0
    rng, deaths = random.Random(20240630), 0
    for _ in range(50):
        runner = start(place, lake.root)
        time.sleep(rng.uniform(0.3, 3.0))
        deaths += runner.poll() is None
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    assert deaths > 25, "most were killed before their end"
    assert start(place, lake.root).wait(60) == 0

    assert not (lake.root / "overlap").exists()
    assert results(lake.root) == results(undisturbed)
    assert len(results(lake.root)) == 6
    killed = recover(lake)
    runs, tasks = (lake.read(table).collect() for table in (ops.JOB_RUN, ops.TASK_RUN))
    for rows, name in ((runs, "run_id"), (tasks, "task")):
        begun = {(row.run_id, row[name]) for row in rows if row.state == "running"}
        ended = {(row.run_id, row[name]) for row in rows if row.state != "running"}
        assert begun <= ended
    tops = {row.run_id for row in runs if row.parent_run_id is None}
    assert len(tops & set(killed)) >= deaths - 5  # some died before they had noted anything
    well = {row.run_id for row in runs if row.state == "success"} & tops
    assert well == tops - set(killed)
    assert recover(lake) == []
