"""The job notifications on Delta and a real mail server: pages, escalation, acknowledgement."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clinical_lakehouse.alerting.alerting import evaluate
from clinical_lakehouse.alerting.notifications import deliver
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.ops import ALERT, BOOKMARK
from clinical_lakehouse.tables.ops_alerting import ALERT_ACKNOWLEDGEMENT
from clinical_lakehouse.tables.ops_notifications import ESCALATION, MESSAGE
from tests.alerting.conftest import mails
from tests.builders import rows

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)  # a Monday


def at(run, minutes):
    """The run, that many minutes after Monday noon."""
    return replace(run, as_of=NOON + timedelta(minutes=minutes), run_id=f"run-{minutes}")


def round_of(run, minutes):
    """Alerting and notifications, as alert_on_event runs them."""
    evaluate.execute(at(run, minutes))
    return deliver.execute(at(run, minutes))


def saw(run, minutes, severity="critical"):
    found = Finding("export_partial", severity, {"site": "S01", "patient": "Zoe Q"}, 1.0, 0.0,
                    "Zoe Q is missing", at(run, minutes).as_of)  # fmt: skip
    emit(at(run, minutes), "source-intake-export", [found])


def sent(run, kind):
    """Recipient and last state of each message of the kind."""
    stored = run.lake.read(MESSAGE).filter(f"kind = '{kind}'").orderBy("revision").collect()
    last = {row.message_id: row for row in stored}.values()
    in_order = sorted(last, key=lambda row: (row.created_at, row.recipient))
    return [(row.recipient, row.state) for row in in_order]


def test_a_critical_alert_pages_who_is_on_call_once_and_then_the_next_step(run, office):
    saw(run, 0)
    said = round_of(run, 0)
    assert said["pages_due"] == 1 and said["messages_accepted"] >= 1
    ((recipient, state),) = sent(run, "page")
    assert state == "accepted" and recipient.endswith("@example.org")
    assert round_of(run, 8)["pages_due"] == 0
    assert round_of(run, 16)["pages_due"] == 2, "again who is on call, and dora"
    assert {one for one, _ in sent(run, "page")} == {recipient, "dora@example.org"}
    texts = "".join(text for mail in mails(office) for text in mail)
    assert "export_partial" in texts and "S01" in texts
    assert "Zoe" not in texts, "a label that is not allowed, and the detector's own sentence"
    lake = run.lake.root
    assert " success run-16" in (lake / "ops" / "alerting_heartbeat").read_text()
    exported = (lake / "ops" / "alerting.prom").read_text()
    assert 'alertname="export_partial",severity="critical",state="firing"} 1' in exported
    # Nobody evaluates any more: the notifications say so themselves.
    for minutes in (27, 28):
        deliver.execute(at(run, minutes))
    assert [one for _, one, _ in mails(office) if "alerting_silent" in one]


@pytest.mark.soak
def test_taken_in_time_nobody_else_is_paged_and_the_end_is_told(run, office):
    saw(run, 0)
    round_of(run, 0)
    (alert,) = run.lake.read(ALERT).filter("kind = 'export_partial'").collect()
    taken = {"fingerprint": alert.fingerprint, "acknowledged_by": "ana", "severity": "critical",
             "acknowledged_at": NOON + timedelta(minutes=5)}  # fmt: skip
    run.lake.append(ALERT_ACKNOWLEDGEMENT, rows(run.lake, ALERT_ACKNOWLEDGEMENT, taken))
    round_of(run, 8)
    assert round_of(run, 16)["pages_due"] == 0
    (escalation,) = run.lake.read(ESCALATION).collect()
    assert escalation.state == "acknowledged"
    assert len(sent(run, "page")) == 1
    day = 27 * 60  # past resolve_after: the detector has told of it no more
    round_of(run, day)
    assert [state for _, state in sent(run, "resolved")] == ["accepted"]


@pytest.mark.soak
@pytest.mark.parametrize("lost", [MESSAGE, ESCALATION, BOOKMARK])
def test_killed_before_any_of_its_writes_and_started_again_it_pages_once(
    run, office, lost, monkeypatch
):
    """Handed over once as well: what was stored as sent is tried again after its lease alone."""
    saw(run, 0)
    evaluate.execute(at(run, 0))
    writes = (Lakehouse.upsert, Lakehouse.replace, Lakehouse.append)

    def killed(write):
        def call(lake, table, *given):
            if table is lost:
                raise KeyboardInterrupt
            return write(lake, table, *given)

        return call

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        for write in writes:
            patch.setattr(Lakehouse, write.__name__, killed(write))
        deliver.execute(at(run, 0))
    for minutes in (1, 5):
        round_of(run, minutes)
    assert [state for _, state in sent(run, "page")] == ["accepted"]
    pages = [name for name, subject, _ in mails(office) if "export_partial" in subject]
    assert len(set(pages)) == 2, "the page and the data manager's notice; copies have their ids"


@pytest.mark.soak
def test_a_mail_server_that_is_gone_for_good_leads_to_the_last_resort(run, office):
    path = Path(os.environ["CLINICAL_CONF_DIR"]) / "alerting" / "channels.yml"
    path.write_text(path.read_text().replace(f"port: {office.port}", "port: 1"))
    saw(run, 0)
    round_of(run, 0)
    round_of(run, 16)
    kept = (run.lake.root / "ops" / "last_resort.jsonl").read_text()
    assert "export_partial" in kept and "Zoe" not in kept
    assert "queued" in {state for _, state in sent(run, "page")}
    evaluate.execute(at(run, 17))
    failing = run.lake.read(ALERT).filter("kind = 'channel_failing'").collect()
    assert [row.labels for row in failing] == ['{"channel": "email"}']
