"""`clinical-lakehouse bundle check` and `bundle sql`, as a person sees them."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from clinical_lakehouse.cli import main
from clinical_lakehouse.cli.bundle import bundle
from clinical_lakehouse.local.bundle import find_bundle
from tests.local.good_bundle import write


def _run(*arguments):
    return CliRunner().invoke(main, ["bundle", *arguments])


def test_check_of_the_own_bundle_is_a_short_summary():
    result = _run("check")
    assert result.exit_code == 0, result.output
    first, heading, *rows = result.stdout.splitlines()
    assert first.startswith("clinical_lakehouse, target dev: ")
    assert first.endswith(" triggers (paused here); no fault")
    assert heading.split("\t") == ["job", "starts", "next (UTC)"]
    assert any(row.startswith("data_privacy\tquartz 0 0 5 * * ?") for row in rows)


def test_check_for_production_says_what_must_be_set_before_deploying():
    result = _run("check", "--target", "prod")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith(" triggers; no fault")
    assert result.stderr == "note: set BUNDLE_VAR_run_as before deploying: it has no value here\n"


def test_check_of_a_broken_bundle_lists_its_faults_and_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINICAL_BUNDLE_DIR", str(write(tmp_path)))
    result = _run("check")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    said = "jobs/load.job.yml:26: job load, task land: entry point 'load-land' does not exist"
    assert said in lines
    assert result.stderr == f"error: {len(lines)} faults in the bundle\n"


def test_an_unknown_target_is_one_line(tmp_path):
    result = _run("check", "--target", "moon")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "no target 'moon'; known: dev, staging, prod" in result.stderr


def test_sql_goes_to_the_terminal_or_to_a_file(tmp_path):
    shown = _run("sql", "--target", "prod").stdout
    assert "CREATE SCHEMA IF NOT EXISTS `clinical_prod`.`vault`" in shown
    path = tmp_path / "catalog.sql"
    result = _run("sql", "--target", "prod", "--out", str(path))
    assert result.stdout.startswith(f"{path}: ")
    assert result.stdout.endswith(" tables of clinical_prod\n")
    assert path.read_text(encoding="utf-8") == shown


@pytest.mark.parametrize("name", sorted(bundle.commands))
def test_help_shows_an_example(name):
    assert f"clinical-lakehouse bundle {name}" in _run(name, "--help").stdout


def test_the_sql_is_written_without_spark():
    code = (
        "import sys, os; sys.modules['pyspark'] = None\n"
        "from pathlib import Path\n"
        "from clinical_lakehouse.local.unity_catalog import script\n"
        "from clinical_lakehouse.local.access import read_access\n"
        "from clinical_lakehouse.tables.catalog import all_tables\n"
        f"access = read_access(Path({str(find_bundle())!r}), all_tables())\n"
        "assert len(script('c', all_tables(), access)) > 100_000"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
