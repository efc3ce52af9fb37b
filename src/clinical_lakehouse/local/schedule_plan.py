"""Which triggers of a bundle run here: those that neither their file nor their target pauses."""

from datetime import timedelta
from pathlib import Path

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.reading import ROOT_FILE, target_pauses
from clinical_lakehouse.local.request import called_jobs
from clinical_lakehouse.local.scheduler import POLL, Plan
from clinical_lakehouse.local.sight import watched_folder
from clinical_lakehouse.methods.yaml_source import read_source


def make_plan(
    bundle: Bundle, *, include_paused: bool = False, parallel: int = 1, poll: timedelta = POLL
) -> Plan:
    """The plan of a bundle's target; UsageError if nothing in it would ever fire."""
    triggered = {key: job for key, job in bundle.jobs.items() if job.trigger}
    if not triggered:
        raise UsageError("no job of the bundle has a trigger; give one a schedule or a trigger")
    root = read_source(bundle.folder / ROOT_FILE, bundle.folder)
    is_paused = target_pauses(root, bundle.target)
    paused = [key for key, job in triggered.items() if _is_paused(job, is_paused)]
    if include_paused:
        paused = []
    if len(paused) == len(triggered):
        raise UsageError(
            f"all {len(paused)} triggers of target {bundle.target} are paused; "
            "pass --include-paused to run them here, or --env for another target"
        )
    jobs = {key: job for key, job in triggered.items() if key not in paused}
    for key, job in jobs.items():
        _require_watchable(key, job)
    return Plan(
        jobs,
        calls={key: frozenset(called_jobs(job, bundle)) for key, job in jobs.items()},
        limits={key: job.max_concurrent_runs for key, job in bundle.jobs.items()},
        paused=paused,
        parallel=parallel,
        poll=poll,
    )


def _is_paused(job: Job, by_target: bool) -> bool:
    assert job.trigger is not None
    return job.trigger.is_paused or (by_target and not job.trigger.pause_status)


def _require_watchable(key: str, job: Job) -> None:
    if job.trigger and job.trigger.kind == "file_arrival":
        try:
            watched_folder(job.trigger.url, Path())
        except UsageError as error:
            raise UsageError(f"{job.place}: job {key}: {error}; pause its trigger here") from None
