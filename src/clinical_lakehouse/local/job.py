"""A job as the local engine runs it: frozen data read from its definition, refused if odd."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.graph import RunIf
from clinical_lakehouse.local.quartz import quartz_fault
from clinical_lakehouse.local.references import as_text
from clinical_lakehouse.local.source import Place

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
_TRIGGERS = ("schedule", "trigger", "continuous")
_UNITS = {"HOURS": "h", "DAYS": "d", "WEEKS": "w"}


@dataclass(frozen=True)
class Trigger:
    """What starts a job: `quartz`, `periodic`, `file_arrival`, `table_update` or `continuous`."""

    kind: str
    detail: str
    zone: str = "UTC"
    is_paused: bool = False

    def __str__(self) -> str:
        paused = " (paused)" if self.is_paused else ""
        return f"{self.kind} {self.detail}".strip() + paused


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
        trigger=_trigger(definition),
        tags={k: as_text(v) for k, v in (content.get("tags") or {}).items()},
        timeout_seconds=_count(definition, content, "timeout_seconds", 0),
        max_concurrent_runs=_count(definition, content, "max_concurrent_runs", 1),
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


def _trigger(definition: Definition) -> Trigger | None:
    """The one trigger of a job; a second one, or one that cannot fire, is refused."""
    content = definition.content
    given = [name for name in _TRIGGERS if content.get(name)]
    if len(given) > 1:
        raise definition.refuse(f"has {len(given)} triggers, {' and '.join(given)}", given[1])
    if not given:
        return None
    settings = content[given[0]]
    paused = settings.get("pause_status") == "PAUSED"
    if given[0] == "continuous":
        return Trigger("continuous", "", is_paused=paused)
    if given[0] == "schedule":
        expression = as_text(settings.get("quartz_cron_expression"))
        fault = quartz_fault(expression)
        if fault:
            raise definition.refuse(f"Quartz expression: {fault}", "schedule")
        return Trigger("quartz", expression, as_text(settings.get("timezone_id", "UTC")), paused)
    return _event(definition, {k: v for k, v in settings.items() if k != "pause_status"}, paused)


def _event(definition: Definition, settings: Mapping[str, Any], paused: bool) -> Trigger:
    kinds = sorted(settings)
    if len(kinds) != 1 or kinds[0] not in ("periodic", "file_arrival", "table_update"):
        message = "trigger must be one of periodic, file_arrival, table_update"
        raise definition.refuse(message, "trigger")
    kind, detail = kinds[0], settings[kinds[0]]
    if kind == "file_arrival":
        return Trigger(kind, as_text(detail.get("url")), is_paused=paused)
    if kind == "table_update":
        return Trigger(kind, ", ".join(detail.get("table_names", ())), is_paused=paused)
    interval, unit = detail.get("interval"), detail.get("unit")
    if not isinstance(interval, int) or interval < 1 or unit not in _UNITS:
        message = f"periodic needs an interval of 1 or more and a unit of {', '.join(_UNITS)}"
        raise definition.refuse(message, "trigger", "periodic")
    return Trigger(kind, f"every {interval} {_UNITS[unit]}", is_paused=paused)


def _count(
    definition: Definition, item: Mapping[str, Any], name: str, default: int, *where: str
) -> int:
    value = item.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise definition.refuse(f"{name} must be a whole number, 0 or more", *where, name)
    return value


def _only(
    definition: Definition, item: Mapping[str, Any], known: frozenset[str] | set[str], *where: str
) -> None:
    """Refuse a key that Databricks does not know; it would be lost without a word."""
    for name in item:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise definition.refuse(f"unknown key {name!r}{hint}", *where, name)
