"""What a person gets from the command line: help with examples, one clear line for a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from clinical_lakehouse import cli
from clinical_lakehouse.runtime.settings import conf_dir

ROOT = Path(__file__).parents[1]


def _cli(*arguments: str, **environ: str) -> subprocess.CompletedProcess:
    """The command as a person runs it: an own process, its output and exit code."""
    import os

    script = [sys.executable, "-m", "clinical_lakehouse.cli", *arguments]
    env = {**os.environ, **environ}
    return subprocess.run(script, capture_output=True, text=True, check=False, env=env, cwd=ROOT)


def _refused(done: subprocess.CompletedProcess) -> str:
    """The one line of a refusal; anything longer, or a zero exit code, is a fault."""
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line]
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:], done.stderr  # progress may stand before it, nothing after it
    assert "Traceback" not in done.stderr
    return errors[0]


@pytest.mark.parametrize("name", sorted(cli.main.commands))
def test_every_command_explains_itself_with_an_example(name):
    said = CliRunner().invoke(cli.main, [name, "--help"]).output
    assert "Example" in said or "Commands:" in said
    assert f"clinical-lakehouse {name}" in said.replace("\n", " ") or "Commands:" in said


def test_tables_shows_a_contract():
    said = CliRunner().invoke(cli.main, ["tables", "silver.patient"]).output
    assert "One row per person" in said
    assert "birth_year\tINT\t\tquasi" in said


def test_lineage_goes_from_landing_to_prediction():
    said = CliRunner().invoke(cli.main, ["lineage", "gold.prediction"]).output
    assert "gold.subject_feature   by model-" in said
    assert "bronze.fhir_resource" in said


def test_doctor_finds_what_is_here_and_names_settings_that_are_wrong(tmp_path):
    assert CliRunner().invoke(cli.main, ["--root", str(tmp_path), "doctor"]).exit_code == 0
    (tmp_path / "base.yml").write_text((conf_dir() / "base.yml").read_text() + "\ncolour: red\n")
    (tmp_path / "dev.yml").write_text("{}")
    done = _cli("doctor", CLINICAL_CONF_DIR=str(tmp_path))
    assert "unknown setting 'colour'" in done.stdout
    assert "mend the lines marked missing" in _refused(done)


def test_unknown_settings_key_stops_a_run_with_its_name(tmp_path):
    (tmp_path / "base.yml").write_text((conf_dir() / "base.yml").read_text() + "\ncolour: red\n")
    (tmp_path / "dev.yml").write_text("{}")
    done = _cli("--root", str(tmp_path / "lake"), "run", "data_quality",
                CLINICAL_CONF_DIR=str(tmp_path))  # fmt: skip
    assert "unknown setting 'colour'" in _refused(done)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "no_such_job"], "no job 'no_such_job'"),
        (["run", "data_quality", "--param", "colour=red"], "colour"),
        (["run", "data_quality", "--param", "colour"], "NAME=VALUE"),
        (["run", "data_quality", "--task", "no_such_task"], "no_such_task"),
        (["run", "data_quality", "--as-of", "yesterday"], "as-of must be an ISO date"),
        (["run", "data_quality", "--env", "moon"], "known environments: dev, prod, staging"),
        (["run", "patient_ingestion", "--landing", "no/such/folder"], "no/such/folder"),
        (["tables", "silver.nope"], "no table 'silver.nope'"),
        (["lineage", "silver.nope"], "no table 'silver.nope'"),
        (["sql", "DROP TABLE silver.patient"], "sql reads only"),
        (["sql", "SELECT * FROM silver.patient"], "silver.patient is not made yet"),
        (["simulate", "--out", "x", "--patients", "0"], "patients >= 1"),
        (["vocabulary", "load", "no/such/folder"], "no/such/folder"),
        (["coding", "accept", "GLU", "--why", "same"], "give CODE and CONCEPT"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_that_names_it(tmp_path, arguments, said):
    assert said in _refused(_cli("--root", str(tmp_path / "lake"), *arguments))


def test_lake_of_a_newer_version_is_refused(tmp_path):
    (tmp_path / "lake.json").write_text(json.dumps({"format": 99}))
    done = _cli("--root", str(tmp_path), "run", "data_quality")
    assert "has format 99, this version knows 1" in _refused(done)


def test_lake_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "lake").write_text("")
    assert "as a lake" in _refused(_cli("--root", str(tmp_path / "lake"), "run", "data_quality"))


def test_bad_yaml_names_the_file_and_line(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "databricks.yml").write_text((ROOT / "databricks.yml").read_text())
    (tmp_path / "jobs" / "broken.job.yml").write_text("resources:\n  jobs: [\n")
    done = _cli("jobs", CLINICAL_BUNDLE_DIR=str(tmp_path))
    assert "jobs/broken.job.yml:3" in _refused(done)


def test_full_disk_says_so_and_what_to_do(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("this user cannot mount a small disk to fill")
    try:
        done = _cli("simulate", "--out", str(disk / "landing"), "--patients", "20")
        assert "choose another --out: No space left on device" in _refused(done)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_failure_nobody_foresaw_is_one_line_and_shows_its_trace_with_debug(tmp_path):
    code = (
        "import sys; from clinical_lakehouse import cli, registry\n"
        "def broken(*a, **k): raise ZeroDivisionError('Jane Doe')\n"
        "cli.table_named = broken; sys.argv = ['x', *sys.argv[1:]]; cli.main()"
    )
    plain, traced = (
        subprocess.run(
            [sys.executable, "-c", code, *extra, "tables", "silver.patient"],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        for extra in ([], ["--debug"])
    )
    assert plain.stderr == "error: unexpected ZeroDivisionError; --debug shows where\n"
    assert plain.returncode == 1
    assert "Traceback" in traced.stderr


def test_help_starts_without_what_is_slow_to_import():
    code = (
        "import sys, clinical_lakehouse.cli\n"
        "print([m for m in ('pyspark', 'pydantic', 'pandas', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
