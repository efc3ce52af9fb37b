"""What somebody asks to run, checked against the bundle before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from clinical_lakehouse.errors import BundleError, UsageError
from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.check import entry_point_faults
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.references import Cause
from clinical_lakehouse.runtime.arguments import COMMON
from clinical_lakehouse.runtime.clock import parse_as_of


@dataclass(frozen=True)
class Kept:
    """What a repair keeps of an earlier run: tasks that succeeded, and the same of jobs called."""

    run_id: str
    tasks: frozenset[str] = frozenset()
    called: "Mapping[str, Kept]" = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What to run: a job, its parameters, `task` to run only that one of it, and why."""

    job: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    run_id: str = ""
    cause: Cause = Cause()
    kept: Kept | None = None


class Parametrised(Protocol):
    """A task, as far as checking goes."""

    @property
    def params(self) -> Mapping[str, str]:
        """Its own parameters and their defaults."""


def check_request(bundle: Bundle, request: Request, tasks: Mapping[str, Parametrised]) -> Job:
    """The job asked for, or the reason why it cannot be run; needs no Spark."""
    job = bundle.job(request.job)
    require_parameters(job, request.parameters)
    if request.parameters.get("as_of"):
        parse_as_of(request.parameters["as_of"])
    if request.task:
        job = only_task(job, request.task)
    known = {name: task.params for name, task in tasks.items()}
    faults = entry_point_faults(called_jobs(job, bundle), known, COMMON)
    if faults:
        raise BundleError(faults[0])
    return job


def only_task(job: Job, key: str) -> Job:
    """The job reduced to one task, which then depends on nothing."""
    if key not in job.tasks:
        raise UsageError(f"job {job.key} has no task {key!r}; known: {', '.join(job.tasks)}")
    return replace(job, tasks={key: replace(job.tasks[key], depends_on=(), outcomes={})})


def called_jobs(job: Job, bundle: Bundle) -> dict[str, Job]:
    """The job and every job it calls, directly or not."""
    found: dict[str, Job] = {}
    waiting = [job]
    while waiting:
        one = waiting.pop()
        found[one.key] = one
        calls = {step.job for task in one.tasks.values() for step in task.steps if step.job}
        waiting += [bundle.jobs[name] for name in sorted(calls) if name not in found]
    return found


def require_parameters(job: Job, given: Mapping[str, str]) -> None:
    """UsageError for a parameter that the job does not have."""
    unknown = sorted(set(given) - set(job.parameters))
    if unknown:
        known = ", ".join(job.parameters) or "none"
        raise UsageError(f"job {job.key} has no parameter {unknown[0]!r}; it has: {known}")
