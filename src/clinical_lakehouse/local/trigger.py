"""What starts a job: read from its definition, refused with file and line where it cannot fire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.quartz import quartz_fault
from clinical_lakehouse.local.references import as_text

CONDITIONS = ("ANY_UPDATED", "ALL_UPDATED")
UNITS = {"HOURS": "h", "DAYS": "d", "WEEKS": "w"}
_KINDS = ("schedule", "trigger", "continuous")
_STATUSES = ("PAUSED", "UNPAUSED")
_TIMERS = ("min_time_between_triggers_seconds", "wait_after_last_change_seconds")
_LEAST_SECONDS = 60  # Databricks takes no shorter timer


@dataclass(frozen=True)
class Trigger:
    """What starts a job: `quartz`, `periodic`, `file_arrival`, `table_update` or `continuous`.

    `pause_status` is what the job's file says; empty leaves it to the target. Of the other fields
    only those of the kind are filled.
    """

    kind: str
    pause_status: str = ""
    expression: str = ""
    zone: str = "UTC"
    interval: int = 0
    unit: str = "HOURS"
    url: str = ""
    table_names: tuple[str, ...] = ()
    condition: str = CONDITIONS[0]
    min_time_between_triggers_seconds: int = 0
    wait_after_last_change_seconds: int = 0

    @property
    def is_paused(self) -> bool:
        """Does the job's file pause it?"""
        return self.pause_status == "PAUSED"

    @property
    def detail(self) -> str:
        """When it fires, in a few words."""
        if self.kind == "periodic":
            return f"every {self.interval} {UNITS[self.unit]}"
        return self.expression or self.url or ", ".join(self.table_names)

    def __str__(self) -> str:
        paused = " (paused)" if self.is_paused else ""
        return f"{self.kind} {self.detail}".strip() + paused


def read_trigger(definition: Definition) -> Trigger | None:
    """The one trigger of a job; a second one, or one that cannot fire, is refused."""
    content = definition.content
    given = [name for name in _KINDS if content.get(name)]
    if len(given) > 1:
        raise definition.refuse(f"has {len(given)} triggers, {' and '.join(given)}", given[1])
    if not given:
        return None
    settings = content[given[0]]
    status = as_text(settings.get("pause_status")) if settings.get("pause_status") else ""
    if status and status not in _STATUSES:
        message = f"pause_status must be one of {', '.join(_STATUSES)}"
        raise definition.refuse(message, given[0], "pause_status")
    if given[0] == "continuous":
        definition.refuse_unknown(settings, ("pause_status", "task_retry_mode"), "continuous")
        return Trigger("continuous", status)
    if given[0] == "schedule":
        return _quartz(definition, settings, status)
    return _event(definition, {k: v for k, v in settings.items() if k != "pause_status"}, status)


def _quartz(definition: Definition, settings: Mapping[str, Any], status: str) -> Trigger:
    known = ("pause_status", "quartz_cron_expression", "timezone_id")
    definition.refuse_unknown(settings, known, "schedule")
    expression = as_text(settings.get("quartz_cron_expression"))
    fault = quartz_fault(expression)
    if fault:
        raise definition.refuse(f"Quartz expression: {fault}", "schedule")
    zone = as_text(settings.get("timezone_id", "UTC"))
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        message = f"timezone_id {zone!r} is no time zone; write one like Europe/Berlin"
        raise definition.refuse(message, "schedule", "timezone_id") from None
    return Trigger("quartz", status, expression=expression, zone=zone)


def _event(definition: Definition, settings: Mapping[str, Any], status: str) -> Trigger:
    kinds = sorted(settings)
    if len(kinds) != 1 or kinds[0] not in ("periodic", "file_arrival", "table_update"):
        message = "trigger must be one of periodic, file_arrival, table_update"
        raise definition.refuse(message, "trigger")
    kind, detail = kinds[0], settings[kinds[0]]
    where = ("trigger", kind)
    if not isinstance(detail, Mapping):
        raise definition.refuse(f"{kind} must be a mapping", *where)
    if kind == "file_arrival":
        definition.refuse_unknown(detail, ("url", *_TIMERS), *where)
        if not detail.get("url"):
            raise definition.refuse("file_arrival names no url", *where)
        timers = _timers(definition, detail, *where)
        return Trigger(kind, status, url=as_text(detail["url"]), **timers)
    if kind == "table_update":
        return _table_update(definition, detail, status)
    interval, unit = detail.get("interval"), detail.get("unit")
    is_count = isinstance(interval, int) and not isinstance(interval, bool) and interval > 0
    if not is_count or unit not in UNITS:
        message = f"periodic needs an interval of 1 or more and a unit of {', '.join(UNITS)}"
        raise definition.refuse(message, *where)
    return Trigger(kind, status, interval=int(interval or 0), unit=str(unit))


def _table_update(definition: Definition, detail: Mapping[str, Any], status: str) -> Trigger:
    where = ("trigger", "table_update")
    definition.refuse_unknown(detail, ("table_names", "condition", *_TIMERS), *where)
    names = detail.get("table_names")
    if not isinstance(names, list) or not names:
        raise definition.refuse("table_update names no table_names", *where)
    tables = tuple(as_text(name) for name in names)
    for name in tables:
        if name.count(".") not in (1, 2) or not all(name.split(".")):
            message = f"table_names: {name!r} is not catalog.schema.table"
            raise definition.refuse(message, *where, "table_names")
    condition = detail.get("condition") or CONDITIONS[0]
    if condition not in CONDITIONS:
        message = f"condition must be one of {', '.join(CONDITIONS)}"
        raise definition.refuse(message, *where, "condition")
    timers = _timers(definition, detail, *where)
    return Trigger("table_update", status, table_names=tables, condition=condition, **timers)


def _timers(definition: Definition, detail: Mapping[str, Any], *where: str) -> dict[str, Any]:
    timers = {name: detail[name] for name in _TIMERS if detail.get(name) is not None}
    for name, value in timers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < _LEAST_SECONDS:
            message = f"{name} must be a whole number, {_LEAST_SECONDS} or more"
            raise definition.refuse(message, *where, name)
    return timers
