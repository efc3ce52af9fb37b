"""The wheel offers every task as an entry point, and nothing else."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from clinical_lakehouse.registry import tasks

ROOT = Path(__file__).parents[1]


def _declared() -> dict[str, str]:
    """What setup.py reads from the sources, without building."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    tree.body = [
        n for n in tree.body if not (isinstance(n, ast.Expr) and "setup(" in ast.unparse(n))
    ]
    scope: dict = {"__file__": str(ROOT / "setup.py")}
    exec(compile(tree, "setup.py", "exec"), scope)
    return dict(line.split(" = ") for line in scope["task_entry_points"]())


def test_entry_points_are_the_registered_tasks():
    named = {
        name: f"{task.function.__module__}:{task.function.__name__}"
        for name, task in tasks().items()
    }
    assert _declared() == named


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel as `make wheel` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *build, str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_offers_the_tasks_and_asks_for_no_spark_outside_an_extra(wheel):
    (listed,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(listed).decode()
    group = text.split("[clinical_lakehouse.tasks]")[1].split("[")[0]
    assert dict(line.split(" = ") for line in group.split("\n") if line) == _declared()
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    needs = [n for n in wheel.read(metadata).decode().splitlines() if n.startswith("Requires-Dist")]
    spark = [need for need in needs if "spark" in need]
    assert len(spark) >= 2
    assert all("extra ==" in need for need in spark)


def test_wheel_brings_jobs_and_settings(wheel):
    brought = {name for name in wheel.namelist() if "/_bundle/" in name}
    jobs = {f"clinical_lakehouse/_bundle/jobs/{p.name}" for p in (ROOT / "jobs").glob("*.job.yml")}
    assert jobs < brought
    assert {
        f"clinical_lakehouse/_bundle/{n}"
        for n in ("databricks.yml", "conf/base.yml", "conf/views/silver/patient.json")
    } < brought


def test_every_task_says_what_it_does_and_declares_its_tables():
    for name, task in tasks().items():
        assert task.description.endswith("."), name
        assert task.reads or task.writes, f"{name} declares no table"
