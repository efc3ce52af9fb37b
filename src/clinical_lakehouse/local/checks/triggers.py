"""What starts a job: can it ever fire, and may it start these tasks?"""

import re
from collections.abc import Collection, Iterator, Mapping

from clinical_lakehouse.local.checks.shapes import as_list, mappings
from clinical_lakehouse.local.definition import Definition

_VOLUME = re.compile(r"/Volumes/([^/]+)/([^/]+)/([^/]+)(/.*)?")
_CLOUD = ("s3://", "abfss://", "gs://", "r2://")


def trigger_faults(
    definitions: Mapping[str, Mapping[str, Definition]], tables: Collection[str]
) -> list[str]:
    """Every trigger that Databricks refuses or that would never fire."""
    volumes = {
        tuple(str(one.content.get(name)) for name in ("catalog_name", "schema_name", "name"))
        for one in definitions.get("volumes", {}).values()
    }
    faults: list[str] = []
    for job in definitions.get("jobs", {}).values():
        faults += _zone_faults(job)
        faults += _continuous_faults(job)
        trigger = job.content.get("trigger")
        if isinstance(trigger, Mapping):
            faults += _table_faults(job, trigger.get("table_update"), tables)
            faults += _file_faults(job, trigger.get("file_arrival"), volumes)
    return faults


def _zone_faults(job: Definition) -> Iterator[str]:
    """Reading a job takes UTC where its schedule names no zone; Databricks does not."""
    schedule = job.content.get("schedule")
    if isinstance(schedule, Mapping) and schedule.get("timezone_id") is None:
        yield str(job.refuse("schedule names no timezone_id; write UTC", "schedule"))


def _continuous_faults(job: Definition) -> Iterator[str]:
    """Databricks starts a continuous run again itself: with retries or a second run it refuses."""
    if not job.content.get("continuous"):
        return
    if job.content.get("max_concurrent_runs", 1) != 1:
        said = "a continuous job has max_concurrent_runs 1"
        yield str(job.refuse(said, "max_concurrent_runs"))
    for key, task in mappings(job.content.get("tasks")):
        if task.get("max_retries"):
            said = f"task {key!r} has max_retries; a continuous job is restarted as a whole"
            yield str(job.refuse(said, "tasks", key, "max_retries"))
        if task.get("depends_on"):
            said = f"task {key!r} has depends_on; tasks of a continuous job stand alone"
            yield str(job.refuse(said, "tasks", key, "depends_on"))


def _table_faults(job: Definition, update: object, tables: Collection[str]) -> Iterator[str]:
    if not isinstance(update, Mapping):
        return
    where = ("trigger", "table_update", "table_names")
    names = as_list(update.get("table_names"))
    if not names:
        yield str(job.refuse("table_update names no table", *where[:2]))
    for at, name in enumerate(names):
        parts = str(name).split(".")
        if len(parts) != 3:
            said = f"table_update waits for {name!r}; write catalog.schema.table"
            yield str(job.refuse(said, *where, at))
        elif ".".join(parts[1:]) not in tables:
            said = f"table_update waits for {'.'.join(parts[1:])}, which no contract describes"
            yield str(job.refuse(said, *where, at))


def _file_faults(
    job: Definition, arrival: object, volumes: Collection[tuple[str, ...]]
) -> Iterator[str]:
    if not isinstance(arrival, Mapping):
        return
    where, url = ("trigger", "file_arrival", "url"), str(arrival.get("url") or "")
    volume = _VOLUME.fullmatch(url)
    if not volume and not url.startswith(_CLOUD):
        said = f"file_arrival watches {url!r}, which is no volume; write /Volumes/CATALOG/SCHEMA/"
        yield str(job.refuse(f"{said}VOLUME/ or an external location", *where))
    elif volume and volumes and volume.groups()[:3] not in volumes:
        said = f"file_arrival watches volume {'.'.join(volume.groups()[:3])}, which is none of"
        yield str(job.refuse(f"{said} the bundle's", *where))
