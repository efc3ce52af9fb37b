"""No more runs of a job at once than its file allows, over threads and processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.events import Noticed
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.runner import run_job
from clinical_lakehouse.local.slots import Slots
from tests.local.stand_ins import Stand, call, fine, job, make_bundle, wheel

QUEUED = {"queue": {"enabled": True}}


def states(result):
    return {key: task.state.value for key, task in result.tasks.items()}


def test_a_queued_job_waits_for_its_other_run_and_says_so(tmp_path):
    bundle = make_bundle(tmp_path, main=job(wheel("a"), **QUEUED))
    slots = Slots(tmp_path / "slots")
    other = slots.take(bundle.job("main"))
    ran = []
    stand = Stand(a=lambda run: ran.append(time.monotonic()))
    threading.Timer(0.6, other.give_back).start()
    began = time.monotonic()
    assert run_job(bundle, Request("main"), stand.context(slots=slots)).ok
    assert ran[0] - began > 0.5
    assert [e.what for e in stand.events if isinstance(e, Noticed)] == [
        "main waits: another run of it is under way"
    ]
    assert slots.take(bundle.job("main")) is not None  # given back at its end


def test_without_a_queue_a_second_run_is_refused(tmp_path):
    bundle = make_bundle(tmp_path, main=job(wheel("a")))
    slots = Slots(tmp_path / "slots")
    other = slots.take(bundle.job("main"))
    with pytest.raises(UsageError, match="job main is already running, and its file allows 1 at"):
        run_job(bundle, Request("main"), Stand(a=fine).context(slots=slots))
    other.give_back()
    assert run_job(bundle, Request("main"), Stand(a=fine).context(slots=slots)).ok


def test_as_many_runs_as_the_file_allows(tmp_path):
    two = make_bundle(tmp_path, main=job(wheel("a"), max_concurrent_runs=2)).job("main")
    slots = Slots(tmp_path / "slots")
    taken = [slots.take(two) for _ in range(3)]
    assert [slot is None for slot in taken] == [False, False, True]


def test_a_called_job_waits_in_its_queue_while_its_caller_goes_on(tmp_path):
    main = job(call("child", "child"), wheel("beside"), wheel("last", "child", "beside"))
    bundle = make_bundle(tmp_path, main=main, child=job(wheel("a"), **QUEUED))
    slots = Slots(tmp_path / "slots")
    other, done = slots.take(bundle.job("child")), []
    stand = Stand(
        a=lambda run: done.append("a"), beside=lambda run: done.append("beside"),
        last=lambda run: done.append("last"),
    )  # fmt: skip
    threading.Timer(0.6, other.give_back).start()
    assert run_job(bundle, Request("main"), stand.context(slots=slots)).ok
    assert done == ["beside", "a", "last"]


def test_a_queued_call_ends_with_its_time_limit(tmp_path):
    main = job(call("child", "child", timeout_seconds=1), wheel("beside"))
    bundle = make_bundle(tmp_path, main=main, child=job(wheel("a"), **QUEUED))
    slots = Slots(tmp_path / "slots")
    other = slots.take(bundle.job("child"))
    result = run_job(bundle, Request("main"), Stand(a=fine, beside=fine).context(slots=slots))
    other.give_back()
    assert states(result) == {"child": "timed_out", "beside": "success"}


def test_a_killed_process_holds_no_place(tmp_path):
    bundle = make_bundle(tmp_path, main=job(wheel("a")))
    code = (
        "import sys, time; from pathlib import Path\n"
        "from clinical_lakehouse.local.bundle import load_bundle\n"
        "from clinical_lakehouse.local.slots import Slots\n"
        "slot = Slots(Path(sys.argv[2])).take(load_bundle(folder=Path(sys.argv[1])).job('main'))\n"
        "print(slot is not None, flush=True); time.sleep(60)"
    )
    slots = Slots(tmp_path / "slots")
    source = os.pathsep.join([str(Path(__file__).parents[2] / "src"), *sys.path])
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(slots.folder)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "True\n"
        assert slots.take(bundle.job("main")) is None
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        assert slots.take(bundle.job("main")) is not None
    finally:
        holder.kill()
        holder.stdout.close()
