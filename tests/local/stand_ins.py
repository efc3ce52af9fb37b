"""What a run needs, without Spark: bundles from dictionaries, plain tasks, a lake of nothing."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from clinical_lakehouse.local.bundle import Bundle, load_bundle
from clinical_lakehouse.local.context import Context
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.runner import run_job
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.runtime.task import Task

COMMON = ["--as-of={{job.parameters.as_of}}", "--root=/nowhere", "--run-id={{job.run_id}}"]
AS_OF = {"name": "as_of", "default": "{{job.start_time.iso_datetime}}"}


def wheel(key: str, *after: str, arguments: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A wheel task of a job: its entry point has the task's name."""
    return {
        "task_key": key,
        "depends_on": [{"task_key": name} for name in after],
        "python_wheel_task": {
            "package_name": "p",
            "entry_point": key,
            "parameters": [*COMMON, *arguments],
        },
        **more,
    }


def call(key: str, job: str, *after: str, **more: Any) -> dict[str, Any]:
    """A run_job_task; `job_parameters` may be among `more`."""
    parameters = more.pop("job_parameters", {})
    given = {"job_id": f"${{resources.jobs.{job}.id}}", "job_parameters": parameters}
    on = [{"task_key": name} for name in after]
    return {"task_key": key, "depends_on": on, "run_job_task": given, **more}


def job(*tasks: Mapping[str, Any], parameters: tuple[Any, ...] = (AS_OF,), **more: Any) -> dict:
    """A job's definition."""
    return {"parameters": list(parameters), "tasks": list(tasks), **more}


def write_bundle(folder: Path, **jobs: Mapping[str, Any]) -> Path:
    """A bundle's files, one per job."""
    root = {
        "bundle": {"name": "test"},
        "include": ["jobs/*.job.yml"],
        "targets": {"dev": {"default": True}},
    }
    (folder / "jobs").mkdir(parents=True, exist_ok=True)
    (folder / "databricks.yml").write_text(yaml.safe_dump(root, sort_keys=False))
    for key, definition in jobs.items():
        text = yaml.safe_dump({"resources": {"jobs": {key: definition}}}, sort_keys=False)
        (folder / "jobs" / f"{key}.job.yml").write_text(text)
    return folder


def make_bundle(folder: Path, **jobs: Mapping[str, Any]) -> Bundle:
    """The bundle of these jobs."""
    return load_bundle(folder=write_bundle(folder, **jobs))


SETTINGS = load_settings("dev", environ={})


class NoLake:
    """A lake that holds nothing."""

    written: Mapping[str, int] = {"gold.made": 7}
    seen: Mapping[str, int] = {"silver.read": 3}

    def scoped(self, reads: Any, writes: Any) -> "NoLake":
        return self


class Stand:
    """An engine, a recorder and a listener in one, which remember everything."""

    def __init__(self, **functions: Callable[[Run], Any]) -> None:
        self.tasks = {name: plain(name, function) for name, function in functions.items()}
        self.events: list[Any] = []
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.interrupted: list[str | None] = []
        self.stopped: dict[str, Callable[[], bool]] = {}

    def perform(self, task: Any, order: Any) -> Any:
        self.stopped[threading.current_thread().name] = order.is_stopped
        run = Run(NoLake(), SETTINGS, order.as_of, order.run_id, order.params)  # type: ignore[arg-type]
        return task.perform(run)

    def interrupt(self, tag: str | None) -> None:
        self.interrupted.append(tag)

    def record(self, table: Any, row: Mapping[str, Any]) -> None:
        self.rows.append((table.name, dict(row)))

    def context(self, **more: Any) -> Context:
        return Context(self, self.tasks, self, self.events.append, **more)

    def run(self, bundle: Bundle, name: str = "main", task: str = "", **parameters: str) -> Any:
        """Run a job on this stand."""
        return run_job(bundle, Request(name, parameters, task), self.context())

    def recorded(self, table: str) -> list[tuple[Any, ...]]:
        """(task, attempt, state) of ops.task_run, or (job, state) of ops.job_run, in order."""
        keys = ("task", "attempt", "state") if table == "ops.task_run" else ("job", "state")
        return [tuple(row[k] for k in keys) for name, row in self.rows if name == table]


def plain(name: str, function: Callable[[Run], Any]) -> Task:
    """A task that is a plain function; the function's `params` are its own parameters."""
    return Task(name, function, (), (), getattr(function, "params", {}))


def fine(run: Run) -> dict[str, Any]:
    """Succeeds."""
    return {"rows": 3}


def broken(run: Run) -> dict[str, Any]:
    """Fails with a text that holds a value."""
    raise ValueError("patient Canary-Surname has no date")
