"""Limits of Databricks and settings that contradict each other, found before a run does."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from clinical_lakehouse.local.checks.shapes import as_list, as_mapping, mappings
from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.job import Job

_TASK_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MOST_TAGS = 25
_DEEPEST_CALL = 3  # levels of Run Job tasks, Databricks: "Run Job task for jobs"
_SLOW = "on_duration_warning_threshold_exceeded"


def limit_faults(definitions: Mapping[str, Definition], jobs: Mapping[str, Job]) -> list[str]:
    """Every job beyond a limit, or with a setting that can have no effect."""
    faults: list[str] = []
    for one in definitions.values():
        faults += _job_faults(one)
        faults += _slowness_faults(one)
    for job in jobs.values():
        depth = _depth(job, jobs, ())
        if depth > _DEEPEST_CALL:
            said = f"calls jobs {depth} levels deep; Databricks allows {_DEEPEST_CALL}"
            faults.append(f"{job.place}: job {job.key}: {said}")
    return faults


def _job_faults(job: Definition) -> Iterator[str]:
    content = job.content
    if len(as_mapping(content.get("tags"))) > _MOST_TAGS:
        yield str(job.refuse(f"has over {_MOST_TAGS} tags", "tags"))
    whole = content.get("timeout_seconds") or 0
    for key, task in mappings(content.get("tasks")):
        if not _TASK_KEY.fullmatch(key):
            said = f"task_key {key!r} may hold letters, digits, - and _, at most 100"
            yield str(job.refuse(said, "tasks", key))
        limit = task.get("timeout_seconds") or 0
        if _is_over(limit, whole):
            said = f"task {key!r} may take {limit} s, the whole job only {whole} s"
            yield str(job.refuse(said, "tasks", key, "timeout_seconds"))
        if task.get("retry_on_timeout") and not task.get("max_retries"):
            said = f"task {key!r}: retry_on_timeout has no effect without max_retries"
            yield str(job.refuse(said, "tasks", key, "retry_on_timeout"))


def _slowness_faults(job: Definition) -> Iterator[str]:
    """A run that lasts too long is told of by a health rule and a list of who is told."""
    rules = [
        (at, rule)
        for at, rule in enumerate(as_list(as_mapping(job.content.get("health")).get("rules")))
        if isinstance(rule, Mapping) and rule.get("metric") == "RUN_DURATION_SECONDS"
    ]
    whole = job.content.get("timeout_seconds") or 0
    for at, rule in rules:
        if _is_over(rule.get("value"), whole) or rule.get("value") == whole:
            said = f"warns after {rule.get('value')} s, but the job ends after {whole} s"
            yield str(job.refuse(said, "health", "rules", at, "value"))
    for name in ("email_notifications", "webhook_notifications"):
        if _SLOW in as_mapping(job.content.get(name)) and not rules:
            said = f"{_SLOW} tells nobody without a health rule for RUN_DURATION_SECONDS"
            yield str(job.refuse(said, name, _SLOW))


def _is_over(value: Any, whole: Any) -> bool:
    return isinstance(value, int) and isinstance(whole, int) and 0 < whole < value


def _depth(job: Job, jobs: Mapping[str, Job], callers: tuple[str, ...]) -> int:
    called = {t.job for t in job.tasks.values() if t.job in jobs and t.job not in callers}
    seen = (*callers, job.key)
    return max((1 + _depth(jobs[key], jobs, seen) for key in called), default=0)
