"""A job as the local engine runs it: frozen data read from its definition, refused if odd."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.quartz import quartz_fault
from clinical_lakehouse.local.references import as_text
from clinical_lakehouse.local.source import Place
from clinical_lakehouse.local.task_spec import TaskSpec, read_task, warning_after

_JOB_KEYS = frozenset(
    {"name", "description", "parameters", "tasks", "schedule", "trigger", "continuous", "queue"}
    | {"max_concurrent_runs", "timeout_seconds", "tags", "environments", "job_clusters", "health"}
    | {"email_notifications", "webhook_notifications", "notification_settings", "permissions"}
    | {"run_as", "performance_target", "budget_policy_id"}
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
    warn_after_seconds: int = 0

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """Every task with the tasks it depends on."""
        return {key: task.depends_on for key, task in self.tasks.items()}


def read_job(definition: Definition) -> Job:
    """The job of a definition whose `${...}` are filled in; BundleError says what is odd where."""
    content = definition.content
    definition.only(content, _JOB_KEYS)
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
        tasks={key: read_task(definition, key, item) for key, item in tasks.items()},
        trigger=_trigger(definition),
        tags={k: as_text(v) for k, v in (content.get("tags") or {}).items()},
        timeout_seconds=definition.count(content, "timeout_seconds", 0),
        max_concurrent_runs=definition.count(content, "max_concurrent_runs", 1),
        is_queued=bool((content.get("queue") or {}).get("enabled", False)),
        warn_after_seconds=warning_after(definition, content),
    )


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
