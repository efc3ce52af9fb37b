"""One task of a job as the local engine runs it, read from its definition, refused if odd."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.graph import RunIf
from clinical_lakehouse.local.references import as_text
from clinical_lakehouse.methods.yaml_source import Place

_TASK_KEYS = frozenset(
    {"task_key", "description", "depends_on", "run_if", "disabled", "environment_key"}
    | {"job_cluster_key", "libraries", "max_retries", "min_retry_interval_millis", "compute"}
    | {"retry_on_timeout", "timeout_seconds", "health", "disable_auto_optimization"}
    | {"email_notifications", "webhook_notifications", "notification_settings"}
)
_OUTCOMES = ("true", "false")
TEXT_OPERATORS = ("EQUAL_TO", "NOT_EQUAL")
NUMBER_OPERATORS = (
    "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN", "LESS_THAN_OR_EQUAL",
)  # fmt: skip
_DURATION = "RUN_DURATION_SECONDS"


@dataclass(frozen=True)
class Condition:
    """An if/else task: two operands, each a text that may hold references, and an operator."""

    op: str
    left: str
    right: str


@dataclass(frozen=True)
class Loop:
    """A for-each task: `task` once per element of the JSON array `inputs`."""

    inputs: str
    task: "TaskSpec"
    concurrency: int = 1


@dataclass(frozen=True)
class TaskSpec:
    """One task: a wheel's entry point, another job (`job`), a condition or a loop.

    `outcomes` says which outcome a condition among the dependencies must have. `element` is what
    `{{input}}` stands for in one round of a loop.
    """

    key: str
    place: Place
    entry_point: str = ""
    arguments: tuple[str, ...] = ()
    job: str = ""
    job_parameters: Mapping[str, str] | None = None
    condition: Condition | None = None
    loop: Loop | None = None
    depends_on: tuple[str, ...] = ()
    outcomes: Mapping[str, str] | None = None
    run_if: RunIf = RunIf.ALL_SUCCESS
    max_retries: int = 0
    min_retry_interval_millis: int = 0
    retry_on_timeout: bool = False
    timeout_seconds: int = 0
    warn_after_seconds: int = 0
    is_disabled: bool = False
    element: Any = None

    @property
    def steps(self) -> "Iterator[TaskSpec]":
        """The task itself and, if it is a loop, the task it repeats."""
        yield self
        if self.loop:
            yield from self.loop.task.steps

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text of the task itself that may hold references."""
        operands = (self.condition.left, self.condition.right) if self.condition else ()
        inputs = (self.loop.inputs,) if self.loop else ()
        return (*self.arguments, *(self.job_parameters or {}).values(), *operands, *inputs)


def read_task(definition: Definition, key: str, item: Mapping[str, Any], *above: str) -> TaskSpec:
    """The task of that key; BundleError says what is odd where. `above` leads to a loop's task."""
    where = above or ("tasks", key)
    kinds = [name for name in item if name.endswith("_task")]
    readers = {name: reader for name, reader in _KINDS.items() if not (above and "each" in name)}
    if len(kinds) != 1 or kinds[0] not in readers:
        have = ", ".join(kinds) or "none"
        needed = ", ".join(readers)
        raise definition.refuse(f"task {key!r} needs one of {needed}, has {have}", *where)
    definition.refuse_unknown(item, _TASK_KEYS | set(_KINDS), *where)
    run_if = item.get("run_if", RunIf.ALL_SUCCESS.value)
    if run_if not in RunIf.__members__:
        known = ", ".join(RunIf.__members__)
        raise definition.refuse(f"task {key!r}: run_if must be one of {known}", *where, "run_if")
    content = item[kinds[0]] if isinstance(item[kinds[0]], Mapping) else {}
    return TaskSpec(
        key=key,
        place=definition.place(*where),
        run_if=RunIf(run_if),
        retry_on_timeout=bool(item.get("retry_on_timeout", False)),
        is_disabled=bool(item.get("disabled", False)),
        max_retries=definition.count(item, "max_retries", 0, *where),
        min_retry_interval_millis=definition.count(item, "min_retry_interval_millis", 0, *where),
        timeout_seconds=definition.count(item, "timeout_seconds", 0, *where),
        warn_after_seconds=warning_after(definition, item, *where),
        **_depends_on(definition, key, item, *where),
        **readers[kinds[0]](definition, key, content, *where, kinds[0]),
    )


def warning_after(definition: Definition, item: Mapping[str, Any], *where: str) -> int:
    """Seconds after which a `health` rule warns of a long run, 0 for never."""
    rules = (item.get("health") or {}).get("rules") or []
    for rule in rules:
        metric, op, value = rule.get("metric"), rule.get("op"), rule.get("value")
        if metric == _DURATION and (op != "GREATER_THAN" or not isinstance(value, int)):
            message = f"health rule {_DURATION} needs op GREATER_THAN and a value in seconds"
            raise definition.refuse(message, *where, "health")
        if metric == _DURATION:
            return int(value)
    return 0


def _wheel(
    definition: Definition, key: str, wheel: Mapping[str, Any], *where: str
) -> dict[str, Any]:
    if not wheel.get("entry_point"):
        raise definition.refuse(f"task {key!r} names no entry_point", *where)
    named = [f"--{k}={as_text(v)}" for k, v in (wheel.get("named_parameters") or {}).items()]
    given = [as_text(value) for value in wheel.get("parameters") or []]
    if named and given:
        raise definition.refuse(f"task {key!r} has parameters and named_parameters", *where)
    return {"entry_point": as_text(wheel["entry_point"]), "arguments": tuple(given or named)}


def _call(definition: Definition, key: str, call: Mapping[str, Any], *where: str) -> dict[str, Any]:
    if not call.get("job_id"):
        raise definition.refuse(f"task {key!r} names no job_id", *where)
    parameters = call.get("job_parameters") or {}
    return {
        "job": as_text(call["job_id"]),
        "job_parameters": {name: as_text(value) for name, value in parameters.items()},
    }


def _condition(
    definition: Definition, key: str, content: Mapping[str, Any], *where: str
) -> dict[str, Any]:
    definition.refuse_unknown(content, ("op", "left", "right"), *where)
    known = (*TEXT_OPERATORS, *NUMBER_OPERATORS)
    if content.get("op") not in known:
        raise definition.refuse(f"task {key!r}: op must be one of {', '.join(known)}", *where)
    for side in ("left", "right"):
        if side not in content:
            raise definition.refuse(f"task {key!r} has no {side} operand", *where)
    operands = (as_text(content["left"]), as_text(content["right"]))
    return {"condition": Condition(str(content["op"]), *operands)}


def _loop(
    definition: Definition, key: str, content: Mapping[str, Any], *where: str
) -> dict[str, Any]:
    definition.refuse_unknown(content, ("inputs", "task", "concurrency"), *where)
    nested, inputs = content.get("task"), content.get("inputs")
    if not isinstance(nested, Mapping) or not isinstance(nested.get("task_key"), str):
        raise definition.refuse(f"task {key!r} repeats no task with a task_key", *where)
    if nested.get("depends_on"):
        raise definition.refuse(f"task {key!r}: what it repeats depends on nothing", *where)
    if inputs is None:
        raise definition.refuse(f"task {key!r} has no inputs", *where)
    concurrency = definition.count(content, "concurrency", 1, *where)
    if not 1 <= concurrency <= 100:
        raise definition.refuse(f"task {key!r}: concurrency must be 1 to 100", *where)
    text = inputs if isinstance(inputs, str) else json.dumps(inputs)
    repeated = read_task(definition, nested["task_key"], nested, *where, "task")
    return {"loop": Loop(text, repeated, concurrency)}


_KINDS = {
    "python_wheel_task": _wheel,
    "run_job_task": _call,
    "condition_task": _condition,
    "for_each_task": _loop,
}


def _depends_on(
    definition: Definition, key: str, item: Mapping[str, Any], *where: str
) -> dict[str, Any]:
    items = item.get("depends_on") or []
    if not isinstance(items, list) or not all(_is_dependency(one) for one in items):
        message = f"task {key!r}: depends_on must be a list of `task_key: NAME`"
        raise definition.refuse(message, *where, "depends_on")
    outcomes = {one["task_key"]: as_text(one["outcome"]) for one in items if "outcome" in one}
    if not set(outcomes.values()) <= set(_OUTCOMES):
        message = f"task {key!r}: an outcome is 'true' or 'false'"
        raise definition.refuse(message, *where, "depends_on")
    return {"depends_on": tuple(one["task_key"] for one in items), "outcomes": outcomes}


def _is_dependency(item: Any) -> bool:
    return isinstance(item, Mapping) and {"task_key"} <= set(item) <= {"task_key", "outcome"}
