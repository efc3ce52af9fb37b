"""Where a task runs, and whether it finds the wheel there."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from clinical_lakehouse.local.checks.shapes import as_list, as_mapping, mappings
from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.methods.yaml_source import Source

_PACKAGE = "clinical_lakehouse"


def compute_faults(root: Source, jobs: Mapping[str, Definition]) -> list[str]:
    """Tasks without compute, with compute nobody defines, or without the wheel they start."""
    wheels = _built(root)
    faults: list[str] = []
    for job in jobs.values():
        own = list(_wheel_tasks(job))
        for where, task in own:
            faults += _task_faults(job, where, task, wheels)
        used = {task.get("environment_key") for _, task in own}
        for name, item in mappings(job.content.get("environments")):
            faults += _environment_faults(job, name, item, wheels, name in used)
    if any(True for job in jobs.values() for _ in _wheel_tasks(job)) and not wheels:
        faults.append(f"{root.place('artifacts')}: no artifact of type whl; tasks start a wheel")
    return faults


def _wheel_tasks(job: Definition) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every task that starts the wheel and where it stands, those that are repeated too."""
    for key, task in mappings(job.content.get("tasks")):
        where: tuple[str, ...] = ("tasks", key)
        loop = task.get("for_each_task")
        if isinstance(loop, Mapping) and isinstance(loop.get("task"), Mapping):
            where, task = (*where, "for_each_task", "task"), loop["task"]
        if "python_wheel_task" in task:
            yield where, task


def _built(root: Source) -> list[str]:
    """Folders that wheels are built into, from the bundle's root."""
    made = [item for _, item in mappings(root.content.get("artifacts"))]
    return [normpath(f"{item.get('path', '.')}/dist") for item in made if item.get("type") == "whl"]


def _task_faults(
    job: Definition, place: tuple[str, ...], task: Mapping[str, Any], wheels: list[str]
) -> Iterator[str]:
    key = place[1]
    package = as_mapping(task["python_wheel_task"]).get("package_name")
    if str(package).replace("-", "_") != _PACKAGE:
        said = f"task {key!r}: package_name {package!r} is not in the wheel ({_PACKAGE})"
        yield str(job.refuse(said, *place, "python_wheel_task", "package_name"))
    for name, listed in (("environment_key", "environments"), ("job_cluster_key", "job_clusters")):
        known = as_mapping(job.content.get(listed))
        if name in task and task[name] not in known:
            have = ", ".join(known) or "none"
            said = f"task {key!r}: {name} {task[name]!r} is not among {listed} ({have})"
            yield str(job.refuse(said, *place, name))
    if not {"environment_key", "job_cluster_key", "existing_cluster_id", "new_cluster"} & set(task):
        said = f"task {key!r} has neither environment_key nor job_cluster_key to run on"
        yield str(job.refuse(said, *place))
    if "environment_key" not in task:
        where = (*place, "libraries")
        found = [
            str(one["whl"]) for one in as_list(task.get("libraries")) if "whl" in as_mapping(one)
        ]
        yield from _wheel_faults(job, f"task {key!r}", found, wheels, *where)
    elif task.get("libraries"):
        said = f"task {key!r}: libraries do not go with environment_key; list them there"
        yield str(job.refuse(said, *place, "libraries"))


def _environment_faults(
    job: Definition, name: str, item: Mapping[str, Any], wheels: list[str], is_used: bool
) -> Iterator[str]:
    where, spec = ("environments", name, "spec"), as_mapping(item.get("spec"))
    if not is_used:
        yield str(job.refuse(f"environment {name!r} is used by no task", *where[:2]))
    if not spec.get("environment_version"):
        said = f'environment {name!r} has no environment_version; write "5"'
        yield str(job.refuse(said, *where))
    found = [str(one) for one in as_list(spec.get("dependencies")) if str(one).endswith(".whl")]
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
