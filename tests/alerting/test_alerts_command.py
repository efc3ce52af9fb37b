"""`clinical-lakehouse alerts`: a person finds out what is wrong, and decides."""

from datetime import timedelta

import pytest
from click.testing import CliRunner

from clinical_lakehouse import cli
from clinical_lakehouse.alerting.alerting import evaluate
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.ops import ALERT, QUALITY_RESULT
from clinical_lakehouse.tables.ops_alerting import ALERT_ACKNOWLEDGEMENT, SILENCE
from tests.builders import rows


@pytest.fixture(scope="module")
def run(spark, tmp_path_factory):
    """Two sites' exports are partial; a table is below its score."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("alerts") / "lake")
    made = Run(lake, load_settings("dev", environ={}), wall_clock(), "made")
    low = {"table_name": "silver.visit", "passed_ratio": 0.5, "checked_at": made.as_of}
    lake.append(QUALITY_RESULT, rows(lake, QUALITY_RESULT, low))
    for site in ("3", "4"):
        found = Finding("export_partial", "critical", {"site": site}, 1, 0, "partial", made.as_of)
        emit(made, "source-intake-export", [found])
    evaluate.execute(made)
    return made


@pytest.fixture
def says(run, capfd):
    """How a command ends, and what it says; a job's progress goes to the terminal itself."""

    def call(*arguments: str) -> tuple[int, str]:
        command = ["--root", str(run.lake.root), "alerts", *arguments]
        done = CliRunner().invoke(cli.main, command)
        return done.exit_code, done.output + "".join(capfd.readouterr())

    return call


def _alert(run, site):
    found = run.lake.read(ALERT).filter(f"labels LIKE '%\"{site}\"%'").collect()
    return found[0].fingerprint


def test_open_alerts_are_listed_the_worst_first_and_explained(run, says):
    code, text = says("list")
    kinds = [line.split("\t")[2] for line in text.splitlines()[1:]]
    assert (code, sorted(kinds[:2]), kinds[2]) == (0, ["export_partial"] * 2, "quality_score_low")
    code, text = says("explain", _alert(run, "3")[:10])
    assert code == 0 and 'export_partial {site="3"}, critical: firing since' in text
    code, text = says("explain", "quality_score_low")
    assert text.startswith('{"table": "silver.visit"} firing: 0.5 against quality_score_min 0.95')
    assert says("explain", "nothing")[0] != 0


def test_taken_by_its_first_characters_with_name_and_reason(run, says):
    name = _alert(run, "3")
    assert says("ack", name[:8], "--why", "called", "--by", "Ada")[0] == 0
    (row,) = run.lake.read(ALERT_ACKNOWLEDGEMENT).collect()
    assert (row.fingerprint, row.acknowledged_by, row.severity, row.why) == (
        *(name, "Ada", "critical", "called"),
    )
    code, text = says("ack", "zzz", "--why", "called")
    assert code != 0 and "no alert starts with 'zzz'" in text


def test_silenced_for_some_hours_and_ended_early(run, says):
    assert says("silence", 'site="4"', "--hours", "4", "--why", "move", "--by", "Ada")[0] == 0
    (row,) = run.lake.read(SILENCE).collect()
    assert (row.matchers, row.ends_at - row.starts_at) == ('{site="4"}', timedelta(hours=4))
    code, text = says("silence", 'site="4"', "--hours", "999", "--why", "move")
    assert code != 0 and "at most 720" in text
    code, text = says("silence", "site=~(", "--hours", "1", "--why", "move")
    assert code != 0 and len([line for line in text.splitlines() if "error" in line]) <= 2
    assert says("unsilence", row.silence_id[:8], "--why", "done")[0] == 0
    assert run.lake.read(SILENCE).first().ends_at < row.ends_at
    assert says("silences")[0] == 0


def test_routes_and_rules_are_tried_without_a_lake(says):
    code, text = says("test-route", "alertname=drift_high", "severity=critical")
    assert (code, text.split("\t")[0]) == (0, "page")
    assert says("test-route", "nonsense")[0] != 0
    code, text = says("test")
    assert code == 0 and text.endswith("tests of rules, no fault\n")


def test_a_rule_is_tried_on_what_is_stored(says):
    code, text = says("backtest", "quality_score_low", "--days", "1")
    assert code == 0 and "1 firings, 0 of them flaps" in text
    assert "no rule 'x'; known: " in says("backtest", "x")[1]
