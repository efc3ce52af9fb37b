"""What the local engine costs per task over a plain loop that calls the same functions.

`python benchmarks/engine.py`: a chain of empty tasks through the bundle, the runner, its ledger's
journal and its view, beside a plain loop; and how long `--help` takes to start.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from measuring import peak_memory, timed
from rich.console import Console

from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.context import Context
from clinical_lakehouse.local.progress import watch
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.local.runner import run_job
from clinical_lakehouse.local.slots import Slots
from clinical_lakehouse.runtime.journal import open_journal
from clinical_lakehouse.runtime.ledger import Ledger

TASKS = 200
CLI = [sys.executable, "-m", "clinical_lakehouse.cli", "--help"]


class Plain:
    """An engine that does nothing but call the function."""

    def perform(self, task: Any, order: Any) -> Any:
        """Call it."""
        return SimpleNamespace(metrics=task.work(), written={})

    def interrupt(self, tag: str | None) -> None:
        """Nothing to cancel."""


def main() -> None:
    """Print the figures that benchmarks/README.md keeps."""
    task = SimpleNamespace(name="work", params={}, work=lambda: {"rows": 1})
    with timed() as plain:
        for _ in range(TASKS):
            task.work()
    with tempfile.TemporaryDirectory() as name, peak_memory(with_self=True) as peak:
        folder = Path(name)
        _write_bundle(folder)
        with timed() as loading:
            bundle = load_bundle(folder=folder)
        ledger = Ledger(None, "hash", open_journal(folder / "journal", "run"))
        quiet = Console(file=(folder / "view").open("w"))
        with watch(quiet) as listen, timed() as engine:
            slots = Slots(folder / "slots")
            context = Context(Plain(), {"work": task}, ledger, listen, slots=slots)
            result = run_job(bundle, Request("main"), context)
    assert result.ok
    each = (engine[0] - plain[0]) / TASKS * 1000
    starts = []
    for _ in range(5):
        with timed() as start:
            subprocess.run(CLI, check=True, capture_output=True)
        starts.append(start[0])
    _print(
        f"| chain of {TASKS} empty tasks | {engine[0]:.2f} s | {each:.1f} ms a task over a loop |"
    )
    _print(f"| reading and checking the bundle | {loading[0]:.2f} s | |")
    _print(f"| `--help` | {sorted(starts)[2]:.2f} s | median of 5 |")
    _print(f"| peak memory | {peak[0] / 1e6:.0f} MB | |")


def _write_bundle(folder: Path) -> None:
    root = {"bundle": {"name": "b"}, "include": ["*.job.yml"], "targets": {"dev": {}}}
    wheel = {"package_name": "p", "entry_point": "work", "parameters": ["--root=/x"]}
    tasks = [{"task_key": f"t{n}", "python_wheel_task": wheel} for n in range(TASKS)]
    for before, task in zip(tasks, tasks[1:], strict=False):
        task["depends_on"] = [{"task_key": before["task_key"]}]
    (folder / "databricks.yml").write_text(yaml.safe_dump(root))
    jobs = {"resources": {"jobs": {"main": {"tasks": tasks}}}}
    (folder / "main.job.yml").write_text(yaml.safe_dump(jobs))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
