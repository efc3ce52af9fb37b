"""Where a task runs, and whether it finds the wheel there."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.source import Source

_PACKAGE = "clinical_lakehouse"


def compute_faults(root: Source, jobs: Mapping[str, Definition]) -> list[str]:
    """Tasks without compute, with compute nobody defines, or without the wheel they start."""
    wheels = _built(root)
    faults: list[str] = []
    for job in jobs.values():
        tasks = job.content.get("tasks") or {}
        own = {key: task for key, task in tasks.items() if "python_wheel_task" in task}
        for key, task in own.items():
            faults += _task_faults(job, key, task, wheels)
        used = {task.get("environment_key") for task in own.values()}
        for name, item in (job.content.get("environments") or {}).items():
            faults += _environment_faults(job, name, item, wheels, name in used)
    if any("python_wheel_task" in t for j in jobs.values() for t in _tasks(j)) and not wheels:
        faults.append(f"{root.place('artifacts')}: no artifact of type whl; tasks start a wheel")
    return faults


def _tasks(job: Definition) -> list[Mapping[str, Any]]:
    return list((job.content.get("tasks") or {}).values())


def _built(root: Source) -> list[str]:
    """Folders that wheels are built into, from the bundle's root."""
    made = (root.content.get("artifacts") or {}).values()
    return [normpath(f"{item.get('path', '.')}/dist") for item in made if item.get("type") == "whl"]


def _task_faults(
    job: Definition, key: str, task: Mapping[str, Any], wheels: list[str]
) -> Iterator[str]:
    package = (task["python_wheel_task"] or {}).get("package_name")
    if str(package).replace("-", "_") != _PACKAGE:
        said = f"task {key!r}: package_name {package!r} is not in the wheel ({_PACKAGE})"
        yield str(job.refuse(said, "tasks", key, "python_wheel_task", "package_name"))
    for name, listed in (("environment_key", "environments"), ("job_cluster_key", "job_clusters")):
        known = job.content.get(listed) or {}
        if name in task and task[name] not in known:
            have = ", ".join(known) or "none"
            said = f"task {key!r}: {name} {task[name]!r} is not among {listed} ({have})"
            yield str(job.refuse(said, "tasks", key, name))
    if not {"environment_key", "job_cluster_key", "existing_cluster_id", "new_cluster"} & set(task):
        said = f"task {key!r} has neither environment_key nor job_cluster_key to run on"
        yield str(job.refuse(said, "tasks", key))
    if "environment_key" not in task:
        where = ("tasks", key, "libraries")
        found = [str(one.get("whl")) for one in task.get("libraries") or [] if "whl" in one]
        yield from _wheel_faults(job, f"task {key!r}", found, wheels, *where)
    elif task.get("libraries"):
        said = f"task {key!r}: libraries do not go with environment_key; list them there"
        yield str(job.refuse(said, "tasks", key, "libraries"))


def _environment_faults(
    job: Definition, name: str, item: Mapping[str, Any], wheels: list[str], is_used: bool
) -> Iterator[str]:
    where, spec = ("environments", name, "spec"), item.get("spec") or {}
    if not is_used:
        yield str(job.refuse(f"environment {name!r} is used by no task", *where[:2]))
    if not spec.get("environment_version"):
        said = f'environment {name!r} has no environment_version; write "5"'
        yield str(job.refuse(said, *where))
    found = [str(one) for one in spec.get("dependencies") or [] if str(one).endswith(".whl")]
    place = (*where, "dependencies")
    yield from _wheel_faults(job, f"environment {name!r}", found, wheels, *place)


def _wheel_faults(
    job: Definition, who: str, found: list[str], wheels: list[str], *where: str
) -> Iterator[str]:
    """A path to the wheel is relative to the file it stands in; the wheel is built into dist/."""
    if not found:
        yield str(job.refuse(f"{who} brings no wheel; add ../dist/*.whl", *where))
    for at, path in enumerate(found):
        place = job.place(*where, at)
        folder = normpath(str(PurePosixPath(place.file).parent / PurePosixPath(path).parent))
        if wheels and folder not in wheels:
            said = f"{who}: wheel {path!r} lies in {folder}, artifacts are built in {wheels[0]}"
            yield f"{place}: {job.noun}: {said}"
