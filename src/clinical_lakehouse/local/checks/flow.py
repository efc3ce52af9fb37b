"""Do tables reach the tasks that read them? Judged by what each task declares under `@task`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from clinical_lakehouse.local.job import Job
from clinical_lakehouse.runtime.task import Task

# Written by whatever runs the jobs, not by a task.
_RECORDED = frozenset({"ops.job_run", "ops.task_run"})
# Side by side is fine there: every task has rows of its own, by run or by reader. So is reading
# first: what ops says of earlier runs steers a run too.
_SHARED = "ops."


@dataclass(frozen=True)
class _Step:
    """A wheel task inside a job and the jobs it calls, and all steps that are done before it."""

    said: str
    task: Task
    before: frozenset[str] = frozenset()

    def writes(self, table: str) -> bool:
        return any(written.name == table for written in self.task.writes)


def flow_faults(jobs: Mapping[str, Job], known: Mapping[str, Task]) -> list[str]:
    """Tables read but written nowhere, and tables read in a job beside or before their making."""
    written: dict[str, set[str]] = {}
    for job in jobs.values():
        for spec in (step for task in job.tasks.values() for step in task.steps):
            for table in known[spec.entry_point].writes if spec.entry_point in known else ():
                written.setdefault(table.name, set()).add(spec.entry_point)
    faults: list[str] = []
    for job in jobs.values():
        steps = _steps(job, jobs, known, ())
        for key, step in steps.items():
            for table in step.task.reads:
                faults += _table_faults(key, table.name, steps, written.get(table.name, set()))
    return list(dict.fromkeys(faults))


def _table_faults(
    key: str, table: str, steps: Mapping[str, _Step], written: set[str]
) -> Iterator[str]:
    step = steps[key]
    if not written and table not in _RECORDED:
        yield f"{step.said} reads {table}, which no task of any job writes"
    here = {name: one for name, one in steps.items() if one.writes(table) and name != key}
    beside = [n for n, one in here.items() if n not in step.before and key not in one.before]
    if beside and not table.startswith(_SHARED):
        yield f"{step.said} reads {table} while {_last(beside[0])} may be writing it; order them"
    is_made = step.writes(table) or any(name in step.before for name in here)
    # Another job may have made the table; then the later writer is for the next run.
    elsewhere = written - {one.task.name for one in here.values()}
    if here and not (beside or is_made or elsewhere or table.startswith(_SHARED)):
        yield f"{step.said} reads {table} before {_last(next(iter(here)))} writes it"


def _last(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def _steps(
    job: Job, jobs: Mapping[str, Job], known: Mapping[str, Task], callers: tuple[str, ...]
) -> dict[str, _Step]:
    """The wheel tasks of a job and of the jobs it calls, by `task/task`; circles end silently,
    they are a fault of their own."""
    parts: dict[str, dict[str, _Step]] = {}
    for key, spec in job.tasks.items():
        said = f"{spec.place}: job {job.key}, task {key}:"
        inner: dict[str, _Step] = {}
        spec = list(spec.steps)[-1]  # a loop stands for what it repeats
        if spec.job in jobs and spec.job not in (*callers, job.key):
            inner = _steps(jobs[spec.job], jobs, known, (*callers, job.key))
        elif spec.entry_point in known:
            inner = {"": _Step(said, known[spec.entry_point])}
        parts[key] = {f"{key}/{name}".rstrip("/"): step for name, step in inner.items()}
        for name, step in parts[key].items():
            own = frozenset(f"{key}/{before}" for before in step.before)
            parts[key][name] = replace(step, before=own)
    found: dict[str, _Step] = {}
    for key, steps in parts.items():
        earlier = frozenset(n for up in _upstream(job, key) for n in parts.get(up, {}))
        found.update({n: replace(one, before=one.before | earlier) for n, one in steps.items()})
    return found


def _upstream(job: Job, key: str) -> set[str]:
    """Every task that is done before this one starts."""
    found: set[str] = set()
    waiting = list(job.tasks[key].depends_on)
    while waiting:
        one = waiting.pop()
        if one not in found and one in job.tasks:
            found.add(one)
            waiting += job.tasks[one].depends_on
    return found
