"""A job as the local engine runs it: frozen data read from its definition, refused if odd."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.definition import refuse_unknown as _only
from clinical_lakehouse.local.graph import RunIf
from clinical_lakehouse.local.references import as_text
from clinical_lakehouse.local.source import Place
from clinical_lakehouse.local.trigger import Trigger, read_trigger

_RUNNABLE = ("python_wheel_task", "run_job_task")
_JOB_KEYS = frozenset(
    {"name", "description", "parameters", "tasks", "schedule", "trigger", "continuous", "queue"}
    | {"max_concurrent_runs", "timeout_seconds", "tags", "environments", "job_clusters", "health"}
    | {"email_notifications", "webhook_notifications", "notification_settings", "permissions"}
    | {"run_as", "performance_target", "budget_policy_id"}
)
_TASK_KEYS = frozenset(
    {"task_key", "description", "depends_on", "run_if", "disabled", "environment_key"}
    | {"job_cluster_key", "libraries", "max_retries", "min_retry_interval_millis", "compute"}
    | {"retry_on_timeout", "timeout_seconds", "health", "disable_auto_optimization"}
    | {"email_notifications", "webhook_notifications", "notification_settings"}
)


@dataclass(frozen=True)
class TaskSpec:
    """One task of a job: a wheel's entry point, or another job (`job`) with its parameters."""

    key: str
    place: Place
    entry_point: str = ""
    arguments: tuple[str, ...] = ()
    job: str = ""
    job_parameters: Mapping[str, str] | None = None
    depends_on: tuple[str, ...] = ()
    run_if: RunIf = RunIf.ALL_SUCCESS
    max_retries: int = 0
    min_retry_interval_millis: int = 0
    retry_on_timeout: bool = False
    timeout_seconds: int = 0
    is_disabled: bool = False


@dataclass(frozen=True)
class Job:
    """One jobs/*.job.yml after targets and variables."""

    key: str
    place: Place
    description: str
    parameters: Mapping[str, str]
    tasks: Mapping[str, TaskSpec]
    trigger: Trigger | None
    tags: Mapping[str, str]
    timeout_seconds: int = 0
    max_concurrent_runs: int = 1
    is_queued: bool = False

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """Every task with the tasks it depends on."""
        return {key: task.depends_on for key, task in self.tasks.items()}


def read_job(definition: Definition) -> Job:
    """The job of a definition whose `${...}` are filled in; BundleError says what is odd where."""
    content = definition.content
    _only(definition, content, _JOB_KEYS)
    tasks = content.get("tasks") or {}
    if not tasks:
        raise definition.refuse("has no tasks")
    parameters = content.get("parameters") or {}
    for name, item in parameters.items():
        if "default" not in item:
            raise definition.refuse(f"parameter {name!r} has no default", "parameters", name)
    return Job(
        key=definition.key,
        place=definition.place(),
        description=as_text(content.get("description")),
        parameters={name: as_text(item["default"]) for name, item in parameters.items()},
        tasks={key: _task(definition, key, item) for key, item in tasks.items()},
        trigger=read_trigger(definition),
        tags={k: as_text(v) for k, v in (content.get("tags") or {}).items()},
        timeout_seconds=_count(definition, content, "timeout_seconds", 0),
        max_concurrent_runs=_count(definition, content, "max_concurrent_runs", 1),
        is_queued=bool((content.get("queue") or {}).get("enabled", False)),
    )


def _task(definition: Definition, key: str, item: Mapping[str, Any]) -> TaskSpec:
    where = ("tasks", key)
    kinds = [name for name in item if name.endswith("_task")]
    if len(kinds) != 1 or kinds[0] not in _RUNNABLE:
        have = ", ".join(kinds) or "none"
        raise definition.refuse(
            f"task {key!r} needs one of {', '.join(_RUNNABLE)}, has {have}", *where
        )
    _only(definition, item, _TASK_KEYS | set(_RUNNABLE), *where)
    run_if = item.get("run_if", RunIf.ALL_SUCCESS.value)
    if run_if not in RunIf.__members__:
        known = ", ".join(RunIf.__members__)
        raise definition.refuse(f"task {key!r}: run_if must be one of {known}", *where, "run_if")
    work = _wheel if kinds[0] == "python_wheel_task" else _call
    return TaskSpec(
        key=key,
        place=definition.place(*where),
        depends_on=_depends_on(definition, key, item),
        run_if=RunIf(run_if),
        retry_on_timeout=bool(item.get("retry_on_timeout", False)),
        is_disabled=bool(item.get("disabled", False)),
        max_retries=_count(definition, item, "max_retries", 0, *where),
        min_retry_interval_millis=_count(definition, item, "min_retry_interval_millis", 0, *where),
        timeout_seconds=_count(definition, item, "timeout_seconds", 0, *where),
        **work(definition, key, item[kinds[0]]),
    )


def _wheel(definition: Definition, key: str, wheel: Mapping[str, Any]) -> dict[str, Any]:
    where = ("tasks", key, "python_wheel_task")
    if not isinstance(wheel, Mapping) or not wheel.get("entry_point"):
        raise definition.refuse(f"task {key!r} names no entry_point", *where)
    named = [f"--{k}={as_text(v)}" for k, v in (wheel.get("named_parameters") or {}).items()]
    given = [as_text(value) for value in wheel.get("parameters") or []]
    if named and given:
        raise definition.refuse(f"task {key!r} has parameters and named_parameters", *where)
    return {"entry_point": as_text(wheel["entry_point"]), "arguments": tuple(given or named)}


def _call(definition: Definition, key: str, call: Mapping[str, Any]) -> dict[str, Any]:
    where = ("tasks", key, "run_job_task")
    if not isinstance(call, Mapping) or not call.get("job_id"):
        raise definition.refuse(f"task {key!r} names no job_id", *where)
    parameters = call.get("job_parameters") or {}
    return {
        "job": as_text(call["job_id"]),
        "job_parameters": {name: as_text(value) for name, value in parameters.items()},
    }


def _depends_on(definition: Definition, key: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    items = item.get("depends_on") or []
    where = ("tasks", key, "depends_on")
    if not isinstance(items, list) or not all(
        isinstance(one, Mapping) and set(one) == {"task_key"} for one in items
    ):
        raise definition.refuse(
            f"task {key!r}: depends_on must be a list of `task_key: NAME`", *where
        )
    return tuple(one["task_key"] for one in items)


def _count(
    definition: Definition, item: Mapping[str, Any], name: str, default: int, *where: str
) -> int:
    value = item.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise definition.refuse(f"{name} must be a whole number, 0 or more", *where, name)
    return value
