"""The one way to raise an alert: `emit` writes what a detector saw and the alert's state."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables import ops


@dataclass(frozen=True)
class Finding:
    """Something over its limit: labels name table, model, metric, site or group, never a person."""

    kind: str
    severity: str
    labels: Mapping[str, str]
    value: float
    threshold: float
    message: str
    window_at: datetime


def emit(run: Run, source: str, findings: Sequence[Finding]) -> int:
    """Write findings to ops.alert_event and ops.alert; the same finding twice is one event.

    A task that calls this declares both tables. Returns the number of findings.
    """
    if not findings:
        return 0
    events = {row["event_id"]: row for row in (_event(run, source, one) for one in findings)}
    run.lake.merge(ops.ALERT_EVENT, run.lake.frame(ops.ALERT_EVENT, list(events.values())))
    known = {row["fingerprint"]: row.asDict() for row in run.lake.read(ops.ALERT).collect()}
    alerts = _alerts(known, list(events.values()))
    run.lake.merge(ops.ALERT, run.lake.frame(ops.ALERT, alerts))
    return len(events)


def _event(run: Run, source: str, finding: Finding) -> dict[str, Any]:
    labels = json.dumps(dict(finding.labels), sort_keys=True)
    fingerprint = _digest(source, finding.kind, labels)
    return {
        "event_id": _digest(fingerprint, finding.window_at.isoformat()),
        "fingerprint": fingerprint,
        "source": source,
        "kind": finding.kind,
        "severity": finding.severity,
        "labels": labels,
        "value": float(finding.value),
        "threshold": float(finding.threshold),
        "message": finding.message,
        "window_at": finding.window_at,
        "seen_at": run.as_of,
    }


def _alerts(known: Mapping[str, Any], events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The alert of each fingerprint after these events; acknowledged stays acknowledged."""
    alerts: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=lambda row: _naive(row["window_at"])):
        before = alerts.get(event["fingerprint"]) or known.get(event["fingerprint"])
        alert = {name: event[name] for name in ops.ALERT.column_names if name in event}
        seen = _naive(event["window_at"])
        first = min(_naive(before["first_seen_at"]), seen) if before else seen
        last = max(_naive(before["last_seen_at"]), seen) if before else seen
        state = before["state"] if before and before["state"] != "resolved" else "firing"
        alerts[event["fingerprint"]] = {
            **alert,
            "state": state,
            "first_seen_at": first,
            "last_seen_at": last,
        }
    return list(alerts.values())


def _naive(moment: datetime) -> datetime:
    """UTC without a zone, as Spark hands timestamps back in a UTC session."""
    return moment.replace(tzinfo=None)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
