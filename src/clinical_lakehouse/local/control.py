"""Tasks that steer others: if/else conditions and for-each loops, by Databricks' rules."""

import json
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.local.job import Job
from clinical_lakehouse.local.references import Moment
from clinical_lakehouse.local.task_spec import Condition, Loop, TaskSpec

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "EQUAL_TO": operator.eq,
    "NOT_EQUAL": operator.ne,
    "GREATER_THAN": operator.gt,
    "GREATER_THAN_OR_EQUAL": operator.ge,
    "LESS_THAN": operator.lt,
    "LESS_THAN_OR_EQUAL": operator.le,
}


def holds(condition: Condition, moment: Moment) -> bool:
    """Whether a condition holds now: (not) equal compares texts ("12.0" is not "12"), the others
    numbers; an operand that is no number then is a BundleError. Source: Databricks Jobs API,
    ConditionTask.op."""
    left, right = moment.fill(condition.left), moment.fill(condition.right)
    compare = _COMPARED[condition.op]
    if condition.op in ("EQUAL_TO", "NOT_EQUAL"):
        return compare(left, right)
    return compare(*(_number(text, condition.op) for text in (left, right)))


def loop_job(job: Job, spec: TaskSpec, moment: Moment) -> Job:
    """What a loop runs as a job of its own: its task once per element, each `task_key[n]`.

    Raises BundleError where the inputs are no JSON array.
    """
    loop = spec.loop or Loop("[]", spec)
    rounds = [
        replace(loop.task, key=f"{loop.task.key}[{n}]", element=element)
        for n, element in enumerate(_elements(spec.key, moment.fill(loop.inputs)))
    ]
    tasks = {one.key: one for one in rounds}
    return replace(job, tasks=tasks, timeout_seconds=0, warn_after_seconds=0)


def _number(text: str, op: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BundleError(f"{op} compares numbers, and an operand is none") from None


def _elements(key: str, text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise BundleError(f"task {key!r}: its inputs are no JSON array, e.g. [1, 2]")
    return found
