"""A lake, its session and the bundle, opened once; jobs run in it one after another."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.events import Event, Noticed, Preparing
from clinical_lakehouse.local.execution import JobResult
from clinical_lakehouse.local.graph import State
from clinical_lakehouse.local.interrupts import stop_requests
from clinical_lakehouse.local.runner import Context, Request, check_request, run_job
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.clock import new_run_id
from clinical_lakehouse.runtime.engine import LakeEngine
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.ledger import is_known, open_ledger, recover
from clinical_lakehouse.runtime.settings import Settings, load_settings

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Workspace:
    """Where jobs run: everything but the job."""

    bundle: Bundle
    lake: Lakehouse
    settings: Settings
    listen: Listener
    stops: Callable[[Callable[[], None]], AbstractContextManager[None]] = stop_requests
    is_alone: bool = True

    def run(self, request: Request, cause: str = "manual") -> JobResult:
        """Run a job, with everything it calls, and write its ledger whatever happens."""
        run_id = request.run_id or new_run_id()
        ledger = open_ledger(self.lake, self.settings.digest(), run_id)
        engine = LakeEngine(self.lake, self.settings)
        context = Context(
            *(engine, tasks(), ledger, self.listen),
            cause=cause,
            stops=self.stops,
            is_alone=self.is_alone,
        )
        named = Request(request.job, request.parameters, request.task, run_id)
        try:
            return run_job(self.bundle, named, context)
        finally:
            self.listen(Preparing("writing the run ledger"))
            ledger.close()

    def has_begun(self, run_id: str) -> bool:
        """Does the run ledger know this run?"""
        return is_known(self.lake, run_id)


def open_workspace(
    bundle: Bundle, root: Path, listen: Listener, master: str = "", remote: str = ""
) -> Workspace:
    """Start Spark, open the lake, and note runs whose process was killed.

    The bundle's target names the settings (conf/<target>.yml).
    """
    settings = load_settings(bundle.target)
    listen(Preparing("starting Spark"))
    lake = open_lake({"root": str(root), "master": master, "remote": remote})
    for run_id in recover(lake):
        listen(Noticed(f"run {run_id} had been killed; the ledger says so now"))
    return Workspace(bundle, lake, settings, listen)


def run_here(bundle: Bundle, request: Request, root: Path, listen: Listener) -> JobResult:
    """Check what is asked for, then open the workspace and run it; the common case in one call."""
    check_request(bundle, request, tasks())
    return open_workspace(bundle, root, listen).run(request)


def exit_code(result: JobResult) -> int:
    """0 only if all is well, 130 after Ctrl-C, else 1."""
    if result.ok:
        return 0
    return 130 if result.state is State.CANCELLED else 1
