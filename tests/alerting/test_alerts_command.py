"""`clinical-lakehouse alerts`: a person finds out what is wrong, and decides."""

import threading
from datetime import timedelta
from http.server import ThreadingHTTPServer

import pytest
import requests
from click.testing import CliRunner

from clinical_lakehouse import cli
from clinical_lakehouse.alerting.alerting import evaluate
from clinical_lakehouse.alerting.messages.acknowledgement import token
from clinical_lakehouse.alerting.rules.observations import in_utc
from clinical_lakehouse.local.acknowledging import Desk, handler
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.workspace import Workspace
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.clock import wall_clock
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.ops import ALERT
from clinical_lakehouse.tables.ops_alerting import ALERT_ACKNOWLEDGEMENT, SILENCE
from clinical_lakehouse.tables.ops_quality import QUALITY_SCORE
from tests.builders import rows

KEY = b"k" * 32


@pytest.fixture(scope="module")
def run(spark, tmp_path_factory):
    """Two sites' exports are partial; a table is below its score."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("alerts") / "lake")
    made = Run(lake, load_settings("dev", environ={}), wall_clock(), "made")
    low = {"dimension": "table", "slice": "silver.visit", "score": 0.5, "checked_at": made.as_of}
    lake.append(QUALITY_SCORE, rows(lake, QUALITY_SCORE, low))
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


@pytest.mark.soak
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


@pytest.fixture
def links(run):
    """The address of the page behind links, answered in this process."""
    workspace = Workspace(load_bundle("dev"), run.lake, run.settings, lambda event: None)
    desk = Desk(workspace, (KEY,), threading.Lock())
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(desk)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/ack"
        server.shutdown()


@pytest.mark.soak
def test_a_link_asks_and_its_button_takes_the_alert_once(run, links):
    """Mail scanners open links: a GET changes nothing."""
    (alert,) = run.lake.read(ALERT).filter("labels LIKE '%\"4\"%'").collect()
    episode = in_utc(alert.starts_at).isoformat()
    made = token(KEY, alert.fingerprint, episode, "ana", wall_clock())
    taken = run.lake.read(ALERT_ACKNOWLEDGEMENT).filter("acknowledged_by = 'ana'")
    asked = requests.get(links, {"t": made}, timeout=30)
    assert asked.status_code == 200 and "Take this alert, ana?" in asked.text
    assert asked.headers["Cache-Control"] == "no-store" and taken.isEmpty()
    assert requests.post(links, params={"t": made}, timeout=30).status_code == 200
    taken = run.lake.read(ALERT_ACKNOWLEDGEMENT).filter("acknowledged_by = 'ana'")
    assert [row.fingerprint for row in taken.collect()] == [alert.fingerprint]
    again = requests.post(links, params={"t": made}, timeout=30)
    assert again.status_code == 409 and "used already" in again.text
    forged = requests.post(links, params={"t": made[:-2] + "xx"}, timeout=30)
    assert forged.status_code == 403 and "was changed" in forged.text
    assert requests.get(links, timeout=30).status_code == 403
    assert taken.count() == 1


def test_a_link_of_an_earlier_episode_takes_nothing(run, links):
    (alert,) = run.lake.read(ALERT).filter("labels LIKE '%\"4\"%'").collect()
    made = token(KEY, alert.fingerprint, "2020-01-01T00:00:00+00:00", "ben", wall_clock())
    done = requests.post(links, params={"t": made}, timeout=30)
    assert done.status_code == 409 and "earlier time" in done.text
