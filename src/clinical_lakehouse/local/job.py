"""A job as the local engine runs it: frozen data read from its definition, refused if odd."""

from collections.abc import Mapping
from dataclasses import dataclass

from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.references import as_text
from clinical_lakehouse.local.sinks import Sinks, read_sinks
from clinical_lakehouse.local.task_spec import TaskSpec, read_task, warning_after
from clinical_lakehouse.local.trigger import Trigger, read_trigger
from clinical_lakehouse.methods.yaml_source import Place

_JOB_KEYS = frozenset(
    {"name", "description", "parameters", "tasks", "schedule", "trigger", "continuous", "queue"}
    | {"max_concurrent_runs", "timeout_seconds", "tags", "environments", "job_clusters", "health"}
    | {"email_notifications", "webhook_notifications", "notification_settings", "permissions"}
    | {"run_as", "performance_target", "budget_policy_id"}
)


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
    is_urgent: bool = False  # performance_target: PERFORMANCE_OPTIMIZED
    sinks: Sinks = Sinks()

    @property
    def most_runs(self) -> int:
        """How many runs of it there may be here at once; one at least."""
        return max(1, self.max_concurrent_runs)

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """Every task with the tasks it depends on."""
        return {key: task.depends_on for key, task in self.tasks.items()}


def read_job(definition: Definition) -> Job:
    """The job of a definition whose `${...}` are filled in; BundleError says what is odd where."""
    content = definition.content
    definition.refuse_unknown(content, _JOB_KEYS)
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
        trigger=read_trigger(definition),
        tags={k: as_text(v) for k, v in (content.get("tags") or {}).items()},
        timeout_seconds=definition.count(content, "timeout_seconds", 0),
        max_concurrent_runs=definition.count(content, "max_concurrent_runs", 1),
        is_queued=bool((content.get("queue") or {}).get("enabled", False)),
        warn_after_seconds=warning_after(definition, content),
        is_urgent=content.get("performance_target") == "PERFORMANCE_OPTIMIZED",
        sinks=read_sinks(content),
    )
