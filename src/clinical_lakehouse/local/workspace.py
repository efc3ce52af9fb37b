"""A lake, its session and the bundle, opened once; jobs run in it one after another."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.context import Context, Engine
from clinical_lakehouse.local.events import Listener, Noticed, Preparing
from clinical_lakehouse.local.execution import JobResult
from clinical_lakehouse.local.interrupts import stop_requests
from clinical_lakehouse.local.request import Request, check_request
from clinical_lakehouse.local.run_notices import Watch
from clinical_lakehouse.local.runner import run_job
from clinical_lakehouse.local.slots import Slots
from clinical_lakehouse.local.way import Way
from clinical_lakehouse.registry import tasks
from clinical_lakehouse.runtime.clock import new_run_id
from clinical_lakehouse.runtime.engine import LakeEngine
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.ledger import is_known, open_ledger, recover
from clinical_lakehouse.runtime.processes import ProcessEngine
from clinical_lakehouse.runtime.settings import Settings, load_settings


@dataclass(frozen=True)
class Workspace:
    """Where jobs run: everything but the job."""

    bundle: Bundle
    lake: Lakehouse
    settings: Settings
    listen: Listener
    way: Way = Way()
    stops: Callable[[Callable[[], None]], AbstractContextManager[None]] = stop_requests
    is_alone: bool = True

    def run(self, request: Request) -> JobResult:
        """Run a job, with everything it calls, and write its ledger whatever happens."""
        run_id = request.run_id or new_run_id()
        ledger = open_ledger(self.lake, self.settings.digest(), run_id)
        watch = Watch(self.bundle.jobs, self.listen)
        slots = Slots(None if self.lake.catalog else self.lake.root / "ops" / "_slots")
        context = Context(
            *(self._engine(), tasks(), ledger, watch),
            slots=slots,
            stops=self.stops,
            is_alone=self.is_alone,
        )
        named = replace(request, run_id=run_id)
        try:
            return run_job(self.bundle, named, context)
        finally:
            self.listen(Preparing("writing the run ledger"))
            ledger.close()
            watch.queue(self.lake)

    def _engine(self) -> Engine:
        if self.way.mode == "session":
            return LakeEngine(self.lake, self.settings)
        root, remote = str(self.lake.root), self.way.remote
        return ProcessEngine(
            script=self.bundle.folder / "jobs" / "main.py",
            place={"root": root, "env": self.bundle.target, "remote": remote},
            root=self.lake.root,
            master=self.way.master if self.way.mode == "submit" else "",
        )

    def has_begun(self, run_id: str) -> bool:
        """Does the run ledger know this run?"""
        return is_known(self.lake, run_id)


def open_workspace(
    bundle: Bundle, root: Path, listen: Listener, way: Way | None = None
) -> Workspace:
    """Start Spark, open the lake, and note runs whose process was killed.

    The bundle's target names the settings (conf/<target>.yml).
    """
    way = way or Way()
    settings = load_settings(bundle.target)
    listen(Preparing("starting Spark"))
    own = "" if way.mode == "submit" else way.master
    lake = open_lake({"root": str(root), "master": own, "remote": way.remote})
    for run_id in recover(lake):
        listen(Noticed(f"run {run_id} had been killed; the ledger says so now"))
    return Workspace(bundle, lake, settings, listen, way)


def run_here(
    bundle: Bundle, request: Request, root: Path, listen: Listener, way: Way | None = None
) -> JobResult:
    """Check what is asked for, then open the workspace and run it; the common case in one call."""
    check_request(bundle, request, tasks())
    return open_workspace(bundle, root, listen, way).run(request)
