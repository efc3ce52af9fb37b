"""What must hold of all jobs together: what Databricks refuses, and what it finds only at run."""

from collections.abc import Iterator, Mapping

from clinical_lakehouse.local.graph import cycle
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.references import dynamic_fault, dynamic_names
from clinical_lakehouse.local.task_spec import TaskSpec

_OPTION = "--"


def bundle_faults(jobs: Mapping[str, Job]) -> list[str]:
    """Every fault of the jobs, each with file and line, in order of the files."""
    faults = [fault for job in jobs.values() for fault in _job_faults(job, jobs)]
    calls = {
        key: tuple(step.job for step in _steps(job) if step.job in jobs)
        for key, job in jobs.items()
    }
    ring = cycle(calls)
    if ring:
        first = jobs[ring[0]]
        circle = f"jobs call each other in a circle: {_arrow(ring)}"
        faults.append(f"{first.place}: job {first.key}: {circle}")
    return faults


def entry_point_faults(
    jobs: Mapping[str, Job], known: Mapping[str, Mapping[str, str]], common: tuple[str, ...]
) -> list[str]:
    """Tasks whose entry point does not exist or does not know an argument.

    `known` maps entry points to their own parameters, `common` names every task's arguments.
    """
    faults = []
    for job in jobs.values():
        for task in _steps(job):
            if task.entry_point and task.entry_point not in known:
                faults.append(_said(job, task, f"entry point {task.entry_point!r} does not exist"))
            elif task.entry_point:
                own = [name.replace("_", "-") for name in known[task.entry_point]]
                faults += _argument_faults(job, task, (*common, *own))
    return faults


def _argument_faults(job: Job, task: TaskSpec, understood: tuple[str, ...]) -> Iterator[str]:
    for argument in task.arguments:
        name = argument.split("=", 1)[0].removeprefix(_OPTION)
        if not argument.startswith(_OPTION) or "=" not in argument:
            yield _said(job, task, "every argument is written --name=value")
        elif name not in understood:
            known = ", ".join(f"--{n}" for n in understood)
            yield _said(job, task, f"{task.entry_point} does not know --{name}; it knows {known}")


def _job_faults(job: Job, jobs: Mapping[str, Job]) -> Iterator[str]:
    for task in job.tasks.values():
        for needed in task.depends_on:
            if needed not in job.tasks:
                yield _said(job, task, f"depends on {needed!r}, which is no task of this job")
            elif needed in (task.outcomes or {}) and not job.tasks[needed].condition:
                yield _said(
                    job, task, f"asks {needed!r} for an outcome, which only a condition has"
                )
        for step in task.steps:
            yield from _step_faults(job, step, jobs, in_loop=step is not task)
    ring = cycle({key: [d for d in on if d in job.tasks] for key, on in job.edges.items()})
    if ring:
        place = job.tasks[ring[0]].place
        yield f"{place}: job {job.key}: tasks depend on each other in a circle: {_arrow(ring)}"
    yield from _parameter_faults(job)


def _step_faults(
    job: Job, task: TaskSpec, jobs: Mapping[str, Job], *, in_loop: bool
) -> Iterator[str]:
    """A task, or what a loop repeats: its references and the job it calls."""
    if in_loop and task.key in job.tasks:
        yield _said(job, task, "a loop's task needs a key that no other task of the job has")
    for name in dynamic_names(task.texts):
        fault = dynamic_fault(name, job.parameters, job.tasks, in_loop=in_loop)
        if fault:
            yield _said(job, task, fault)
    if task.job:
        yield from _call_faults(job, task, jobs)


def _call_faults(job: Job, task: TaskSpec, jobs: Mapping[str, Job]) -> Iterator[str]:
    if task.job not in jobs:
        yield _said(job, task, f"calls job {task.job!r}, which does not exist")
        return
    for name in task.job_parameters or {}:
        if name not in jobs[task.job].parameters:
            known = ", ".join(jobs[task.job].parameters) or "none"
            yield _said(job, task, f"job {task.job} has no parameter {name!r} (it has {known})")


def _parameter_faults(job: Job) -> Iterator[str]:
    """A default may use job-level references only; a parameter that nobody reads is a mistake."""
    for name, default in job.parameters.items():
        for used in dynamic_names(default):
            fault = dynamic_fault(used, {}, {})
            if fault or used.startswith("task."):
                reason = fault or f"{{{{{used}}}}} is not known before a task runs"
                yield f"{job.place}: job {job.key}: parameter {name!r}: {reason}"
    read = set(dynamic_names([step.texts for step in _steps(job)]))
    for name in job.parameters:
        if f"job.parameters.{name}" not in read:
            yield f"{job.place}: job {job.key}: parameter {name!r} is read by no task"


def _steps(job: Job) -> list[TaskSpec]:
    """Every task of a job, and every task that a loop of it repeats."""
    return [step for task in job.tasks.values() for step in task.steps]


def _said(job: Job, task: TaskSpec, message: str) -> str:
    return f"{task.place}: job {job.key}, task {task.key}: {message}"


def _arrow(ring: list[str]) -> str:
    return " -> ".join(ring)
