"""The job alert_decision: a person takes an alert, keeps alerts quiet, or ends a silence."""

from datetime import timedelta

from pyspark.sql import functions as F

from clinical_lakehouse.alerting.alert_state import RESOLVED, Alert
from clinical_lakehouse.alerting.explain import find_alert
from clinical_lakehouse.alerting.routing.matchers import parse_matchers
from clinical_lakehouse.alerting.routing.suppression import Silence
from clinical_lakehouse.alerting.rules.observations import in_utc
from clinical_lakehouse.alerting.state_rows import alerts_of, silence_rows
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.runtime.audit import Change, record
from clinical_lakehouse.runtime.decisions import decided_status
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.ops import ALERT
from clinical_lakehouse.tables.ops_alerting import ALERT_ACKNOWLEDGEMENT, SILENCE
from clinical_lakehouse.tables.ops_audit import AUDIT

_PARAMS = {"decision": "", "alert": "", "matchers": "", "hours": "", "why": "", "by": ""}
_PARAMS |= {"nonce": "", "episode": ""}  # of the link that an acknowledgement came by
_DECISIONS = {"ack": "acknowledged", "silence": "silenced", "unsilence": "unsilenced"}
_MOST_HOURS = 24 * 30


@task(reads=[ALERT], writes=[ALERT_ACKNOWLEDGEMENT, SILENCE, AUDIT], params=_PARAMS)
def decide(run: Run) -> Metrics:
    """Write down that an alert is taken, that alerts are to be quiet, or no longer."""
    status = decided_status(run.params, _DECISIONS, "is kept beside it")
    act = {"acknowledged": _acknowledge, "silenced": _silence, "unsilenced": _unsilence}[status]
    about, table = act(run), (ALERT_ACKNOWLEDGEMENT if status == "acknowledged" else SILENCE).name
    change = Change(run.run_id, status, table, about, "alert", why=run.params["why"])
    record(run, decide.name, run.params["by"], [change])
    return {"decision": status, "about": about}


def _acknowledge(run: Run) -> str:
    """The alert whose fingerprint starts so is taken; its pending pages stop with that."""
    known = alerts_of(row.asDict() for row in run.lake.read(ALERT).collect())
    alert = find_alert(known, run.param("alert"))
    if alert.state == RESOLVED:
        raise UsageError(f"alert {alert.fingerprint[:12]} is over; `alerts list` names open ones")
    _refuse_old_link(run, alert)
    row = {
        "fingerprint": alert.fingerprint,
        "acknowledged_at": run.as_of,
        "acknowledged_by": run.params["by"],
        "severity": alert.severity,
        "why": run.params["why"],
        "nonce": run.params.get("nonce") or None,
        "run_id": run.run_id,
    }
    run.lake.upsert(ALERT_ACKNOWLEDGEMENT, [row])
    return alert.fingerprint[:12]


def _refuse_old_link(run: Run, alert: Alert) -> None:
    """A link acknowledges once, and the episode of the alert that it was sent for."""
    nonce, episode = run.params.get("nonce"), run.params.get("episode")
    if not nonce:
        return
    used = run.lake.read(ALERT_ACKNOWLEDGEMENT).filter(F.col("nonce") == nonce)
    if not used.isEmpty():
        raise UsageError("this link was used already; see `clinical-lakehouse alerts list`")
    if episode != alert.starts_at.isoformat():
        raise UsageError("this link is of an earlier time that the alert fired; use the newest one")


def _silence(run: Run) -> str:
    """Alerts that all the matchers take are quiet from now on for so many hours."""
    silence = Silence(
        silence_id=run.run_id,
        matchers=parse_matchers(run.param("matchers")),
        starts_at=run.as_of,
        ends_at=run.as_of + timedelta(hours=_hours(run)),
        created_by=run.params["by"],
        reason=run.params["why"],
    )
    run.lake.upsert(SILENCE, silence_rows([silence]))
    return silence.silence_id


def _hours(run: Run) -> float:
    text = run.param("hours")
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= _MOST_HOURS:
        raise UsageError(f"--hours must be a number above 0, at most {_MOST_HOURS}")
    return hours


def _unsilence(run: Run) -> str:
    """The silence whose id starts so ends now."""
    start = run.param("alert")
    found = run.lake.read(SILENCE).filter(F.col("silence_id").startswith(start)).collect()
    active = [row.asDict() for row in found if in_utc(row["ends_at"]) > run.as_of]
    if len(active) != 1:
        raise UsageError(f"{len(active)} silences start with {start!r}; see `alerts silences`")
    ended = {**active[0], "ends_at": max(run.as_of, in_utc(active[0]["starts_at"]))}
    run.lake.merge(SILENCE, [ended])
    return str(ended["silence_id"])
