"""The one way to raise an alert: `emit` writes what a detector saw."""

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
    """Write findings to ops.alert_event; the same finding twice is one event. The job alerting
    makes alerts of them. Returns the number of events."""
    if not findings:
        return 0
    events = {row["event_id"]: row for row in (_event(run, source, one) for one in findings)}
    run.lake.upsert(ops.ALERT_EVENT, list(events.values()))
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


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
