"""A scheduler as a process of its own, with plain runs: `python scheduling_process.py ROOT [WAIT]`.

It watches ROOT/in; a run appends a line to ROOT/ledger, then sleeps while ROOT/hold exists.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path

from clinical_lakehouse.errors import LakehouseError
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.schedule_plan import make_plan
from clinical_lakehouse.local.schedule_store import Firing, ScheduleStore
from clinical_lakehouse.local.scheduler import Ports
from clinical_lakehouse.local.scheduler_loop import SchedulerLoop
from clinical_lakehouse.local.sight import look_at
from clinical_lakehouse.runtime.clock import new_run_id
from clinical_lakehouse.runtime.locks import only_one


def main(root: Path, wait: bool) -> None:
    """Schedule until a signal comes."""
    ledger = root / "ledger"
    ledger.touch()
    stopped = []

    def work(firing: Firing) -> bool:
        with loop.stops(lambda: stopped.append(1)):
            with ledger.open("a") as file:
                file.write(f"{firing.run_id} {firing.job} {firing.why}\n")
            while (root / "hold").exists() and not stopped:
                time.sleep(0.01)
        return True

    folder = root / "ops" / "_scheduler"
    with only_one(folder / "lock", "scheduler", wait=wait):
        plan = make_plan(load_bundle(folder=root), poll=timedelta(seconds=0.05))
        ports = Ports(
            lambda trigger, memory: look_at(trigger, root, memory.seen if memory else {}),
            lambda firing: None,
            lambda run_id: run_id in ledger.read_text(),
            new_run_id,
            lambda at, job, what: sys.stdout.write(f"{job}: {what}\n"),
        )
        loop = SchedulerLoop(plan, ScheduleStore(folder / "state.sqlite"), ports, work)
        (root / "ready").touch()
        loop.run()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), "wait" in sys.argv)
    except LakehouseError as error:
        sys.exit(f"error: {error}")
