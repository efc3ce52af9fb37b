"""The job alerting: rules judged, alerts brought up to date, and who is to be told of them."""

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from clinical_lakehouse.alerting.alert_state import SEVERITIES, Alert
from clinical_lakehouse.alerting.alerting_round import (
    AlertingConf,
    Round,
    Seen,
    Standpoint,
    read_alerting_conf,
    run_round,
    with_alerts,
)
from clinical_lakehouse.alerting.dispatch import Notification
from clinical_lakehouse.alerting.explain import explain_alert
from clinical_lakehouse.alerting.heartbeat import alive
from clinical_lakehouse.alerting.open_metrics import write_open_metrics
from clinical_lakehouse.alerting.rules import observations
from clinical_lakehouse.alerting.state_rows import (
    Row,
    acknowledged,
    alert_rows,
    alerts_of,
    group_rows,
    groups_of,
    silences_of,
    standing_rows,
    standings_of,
)
from clinical_lakehouse.alerting.watchdog import Tick
from clinical_lakehouse.alerting.webhook_payload import webhook_payload
from clinical_lakehouse.runtime.reading import later_than, latest_rows
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.secrets import referred_secret
from clinical_lakehouse.runtime.settings import Settings
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.conf import conf_dir, files_as_of_now
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_models import MODEL_METRIC
from clinical_lakehouse.tables.ops import ALERT, ALERT_EVENT, JOB_RUN
from clinical_lakehouse.tables.ops_alerting import (
    ALERT_ACKNOWLEDGEMENT,
    ALERT_GROUP,
    ALERTING_ROUND,
    NOTIFICATION,
    RULE_STANDING,
    SILENCE,
)
from clinical_lakehouse.tables.ops_quality import QUALITY_SCORE

# No rule looks further back; an input that is older is stale by any rule.
_HISTORY = timedelta(days=100)


@task(
    reads=[ALERT_EVENT, QUALITY_SCORE, MODEL_METRIC, JOB_RUN, ALERT_ACKNOWLEDGEMENT, SILENCE],
    writes=[ALERT, ALERT_GROUP, RULE_STANDING, NOTIFICATION, ALERTING_ROUND],
)
def evaluate(run: Run) -> Metrics:
    """Judge the rules, bring every alert up to date and decide who is told what."""
    conf = alerting_conf(run.settings)
    sign = _sign(run, conf.heartbeat)
    with alive(sign, run.run_id, run.as_of) as trouble, run.alone(evaluate.name):
        counts = _evaluated(run, conf)
    return {**counts, **trouble}


def _evaluated(run: Run, conf: AlertingConf) -> dict[str, int]:
    last, version = _last_round(run), run.lake.version(ALERT_EVENT)
    seen, before = _stood(run, last)
    done = run_round(conf, seen, before)
    _hand_over(run, done.notifications)
    _keep(run, conf, before, done)
    counts = {
        "event_count": len(seen.events),
        "open_count": sum(alert.is_open for alert in done.standpoint.alerts.values()),
        "notification_count": len(done.notifications),
    }
    ended = {"run_id": run.run_id, "evaluated_at": run.as_of, "event_version": version}
    run.lake.append(ALERTING_ROUND, [{**ended, **counts}])
    if conf.open_metrics:
        path = run.lake.root / conf.open_metrics
        write_open_metrics(path, done.standpoint.alerts.values(), observations.in_utc(run.as_of))
    return counts


def _sign(run: Run, target: str) -> str:
    """Where the sign of life goes: the URL that a reference stands for, or a file of the lake."""
    if target.partition(":")[0] in ("env", "file", "scope"):
        return referred_secret(run, target, "heartbeat of conf/alerting/lifecycle.yml")
    return str(run.lake.root / target) if target else ""


def alerting_conf(settings: Settings) -> AlertingConf:
    """What conf/alerting says, with the limits of these settings; read again once it is edited."""
    folder, limits = conf_dir() / "alerting", settings.limits.model_dump()
    return _read_conf(folder, tuple(sorted(limits.items())), files_as_of_now(folder))


@lru_cache(maxsize=1)
def _read_conf(
    folder: Path, limits: tuple[tuple[str, float], ...], _files: tuple[object, ...]
) -> AlertingConf:
    return read_alerting_conf(folder, dict(limits))


def _last_round(run: Run) -> Row:
    """When the last evaluation was, and how far it read."""
    rounds = latest_rows(run.lake, ALERTING_ROUND, "evaluated_at", run.as_of)
    never = {"evaluated_at": None, "event_version": -1}
    return max(rounds, key=lambda one: (one["evaluated_at"], one["event_version"]), default=never)


def _stood(run: Run, last: Row) -> tuple[Seen, Standpoint]:
    """What detectors saw since the last evaluation and what the rules look at; and how things stood
    after it, with what people have acknowledged since."""
    rows, evaluated_at = run.lake.rows, last["evaluated_at"]
    known = alerts_of(rows(ALERT))
    stood = Standpoint(
        known,
        groups_of(rows(ALERT_GROUP)),
        standings_of(rows(RULE_STANDING)),
        Tick(evaluated_at) if evaluated_at else None,
    )
    now = Tick(observations.in_utc(run.as_of))
    new = observations.seen_by(now.at, rows(ALERT_EVENT, since=last["event_version"]))
    seen = Seen(now, observed(run), new, silences_of(rows(SILENCE)))
    taken = rows(ALERT_ACKNOWLEDGEMENT, later_than("acknowledged_at", run.as_of - _HISTORY))
    return seen, with_alerts(stood, acknowledged(known, taken))


def observed(run: Run) -> observations.Observations:
    """The series that rules judge: what detectors and the run ledger wrote in the last 100 days
    before the run's as_of."""

    def recent(table: Table, moment: str, only: str = "true") -> list[Row]:
        since, later = later_than(moment, run.as_of - _HISTORY), later_than(moment, run.as_of)
        return run.lake.rows(table, f"{since} AND NOT {later} AND {only}")

    scores = recent(QUALITY_SCORE, "checked_at", "dimension = 'table'")
    return observations.collect(
        [
            *observations.of_quality_scores(scores),
            *observations.of_model_metrics(recent(MODEL_METRIC, "window_end_date")),
            *observations.of_job_runs(recent(JOB_RUN, "recorded_at")),
            *observations.of_events(recent(ALERT_EVENT, "seen_at")),
        ]
    )


def _hand_over(run: Run, notifications: tuple[Notification, ...]) -> None:
    """Write down who is to be told what; an evaluation done again adds nothing."""
    rows = [_notification(run, one) for one in notifications]
    if rows:
        run.lake.append_missing(NOTIFICATION, rows)


def _notification(run: Run, told: Notification) -> Row:
    concerned = {"firing": told.firing, "resolved": told.resolved}
    named = {state: [one.fingerprint for one in alerts] for state, alerts in concerned.items()}
    return {
        "notification_key": told.key,
        "group_key": told.group_key,
        "receiver": told.receiver,
        "reason": told.reason,
        "severity": max((one.severity for one in (*told.firing, *told.resolved)), key=_rank),
        "decided_at": run.as_of,
        "payload": json.dumps(webhook_payload(told), sort_keys=True),
        "fingerprints": json.dumps(named),
        "run_id": run.run_id,
    }


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _keep(run: Run, conf: AlertingConf, before: Standpoint, done: Round) -> None:
    """Write how things stand now; what has not changed is not written."""
    after = done.standpoint
    known = done.knowledge(conf, observations.in_utc(run.as_of))
    verdicts = {(one.rule, observations.label_key(one.labels)): one for one in done.verdicts}

    def explained(alerts: Mapping[str, Alert]) -> list[Row]:
        told = {name: "\n".join(explain_alert(one, known)) for name, one in alerts.items()}
        return [{**row, "explanation": told[row["fingerprint"]]} for row in alert_rows(alerts)]

    def judged() -> list[Row]:
        rows = standing_rows(after.standings)
        keys = sorted(after.standings)
        found = [verdicts.get(key) for key in keys]
        said = [f"{one.outcome}: {one.because}" if one else None for one in found]
        return [{**row, "explanation": one} for row, one in zip(rows, said, strict=True)]

    changed = [
        (ALERT, explained(after.alerts), after.alerts != before.alerts),
        (ALERT_GROUP, group_rows(after.groups), after.groups != before.groups),
        (RULE_STANDING, judged(), after.standings != before.standings),
    ]
    for table, rows, is_new in changed:
        if is_new:
            run.lake.replace(table, rows)
