"""The bundle's triggers on this machine's lake: one scheduler a lake, one session for all runs."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.due import TIMED, Memory, Sight
from clinical_lakehouse.local.events import Listener
from clinical_lakehouse.local.references import Cause
from clinical_lakehouse.local.request import Request, check_request
from clinical_lakehouse.local.schedule_store import Firing, ScheduleStore
from clinical_lakehouse.local.scheduler import Plan, Ports
from clinical_lakehouse.local.scheduler_loop import SchedulerLoop
from clinical_lakehouse.local.sight import look_at
from clinical_lakehouse.local.trigger import Trigger
from clinical_lakehouse.local.workspace import open_workspace
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.clock import new_run_id
from clinical_lakehouse.runtime.locks import only_one

Tell = Callable[[datetime, str, str], None]


def schedule_here(
    bundle: Bundle, plan: Plan, root: Path, listen: Listener, tell: Tell, *, once: bool, wait: bool
) -> None:
    """Run a plan on the lake at `root` until asked to stop; `once` until what is due has run.

    LakeError if another scheduler works on that lake, unless `wait`.
    """
    for key in plan.jobs:
        check_request(bundle, Request(key), tasks())
    folder = root / "ops" / "_scheduler"
    with only_one(folder / "lock", "scheduler", wait=wait):
        store = ScheduleStore(folder / "state.sqlite")
        try:
            workspace = open_workspace(bundle, root, listen)
            is_urgent = any(job.is_urgent for job in plan.jobs.values())
            is_alone = plan.parallel == 1 and not is_urgent
            ports = Ports(
                look_at=lambda trigger, memory: _look(trigger, memory, root),
                start=lambda firing: None,
                has_begun=workspace.has_begun,
                new_run_id=new_run_id,
                tell=tell,
            )

            def work(firing: Firing) -> bool:
                place = replace(workspace, stops=loop.stops, is_alone=is_alone)
                kind = plan.trigger(firing.job).kind
                cause = Cause(kind if kind not in TIMED else "schedule", firing.due_at)
                return place.run(Request(firing.job, run_id=firing.run_id, cause=cause)).ok

            loop = SchedulerLoop(plan, store, ports, work)
            loop.run(once=once)
        finally:
            store.close()


def _look(trigger: Trigger, memory: Memory | None, root: Path) -> Sight:
    return look_at(trigger, root, memory.seen if memory else {})
