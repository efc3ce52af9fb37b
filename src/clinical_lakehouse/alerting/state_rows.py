"""State as rows of a table and back: alerts, groups, silences and what rules remember."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from clinical_lakehouse.alerting.alert_state import (
    ACKNOWLEDGED,
    FIRING,
    Acknowledgement,
    Alert,
    Sighting,
    is_worse,
)
from clinical_lakehouse.alerting.dispatch import Group, Told
from clinical_lakehouse.alerting.routing.matchers import parse_matchers
from clinical_lakehouse.alerting.routing.suppression import Silence
from clinical_lakehouse.alerting.rules.evaluation import Standing, Standings
from clinical_lakehouse.alerting.rules.observations import in_utc, label_key

Row = dict[str, Any]

_MOMENTS = ("starts_at", "judged_at", "first_seen_at", "last_seen_at")
_ENDS = ("good_since", "ends_at")
_SAME = ("fingerprint", "source", "kind", "severity", "value", "message", "state", "runbook")


def sightings_of(events: Iterable[Mapping[str, Any]]) -> Iterator[Sighting]:
    """Rows of ops.alert_event as sightings: each says that its alert was bad when it was seen."""
    for row in events:
        yield Sighting(
            fingerprint=row["fingerprint"],
            source=row["source"],
            kind=row["kind"],
            severity=row["severity"],
            labels=json.loads(row["labels"]),
            value=row["value"],
            limit=row["threshold"],
            message=row["message"],
            at=in_utc(row["seen_at"]),
            window_at=in_utc(row["window_at"]),
        )


def alert_rows(alerts: Mapping[str, Alert]) -> list[Row]:
    """One row per alert: the columns of ops.alert, and those its episode needs beside them."""
    return [_alert_row(alerts[name]) for name in sorted(alerts)]


def alerts_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Alert]:
    """The alerts of such rows, by fingerprint."""
    return {row["fingerprint"]: _alert(row) for row in rows}


def acknowledged(
    alerts: Mapping[str, Alert], taken: Iterable[Mapping[str, Any]]
) -> dict[str, Alert]:
    """The alerts after rows of ops.alert_acknowledgement: each holds for the episode in which it
    was given, and for no worse severity; rows that were applied already change nothing."""
    changed = dict(alerts)
    for row in sorted(taken, key=lambda one: one["acknowledged_at"]):
        alert, at = changed.get(row["fingerprint"]), in_utc(row["acknowledged_at"])
        if alert is None or alert.state != FIRING or at < alert.starts_at:
            continue
        if not is_worse(alert.severity, row["severity"]):
            given = Acknowledgement(row["acknowledged_by"], at, row["severity"])
            changed[row["fingerprint"]] = replace(alert, state=ACKNOWLEDGED, acknowledged=given)
    return changed


def group_rows(groups: Mapping[str, Group]) -> list[Row]:
    """One row per group of alerts: when it is due, and what its receiver was told (JSON)."""
    return [
        {
            "group_key": key,
            "next_at": group.next_at,
            "told_at": group.told_at,
            "sequence": group.sequence,
            "told": json.dumps(
                {n: [one.starts_at.isoformat(), one.severity] for n, one in group.told.items()},
                sort_keys=True,
            ),
        }
        for key, group in sorted(groups.items())
    ]


def groups_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Group]:
    """The groups of such rows, by key."""
    return {
        row["group_key"]: Group(
            row["group_key"],
            in_utc(row["next_at"]),
            _optional(row["told_at"]),
            row["sequence"],
            {
                name: Told(datetime.fromisoformat(starts_at), severity)
                for name, (starts_at, severity) in json.loads(row["told"]).items()
            },
        )
        for row in rows
    }


def standing_rows(standings: Standings) -> list[Row]:
    """One row per rule and label set."""
    return [
        {
            "rule": rule,
            "labels": json.dumps(dict(key), sort_keys=True),
            "newest_at": one.newest_at,
            "pending_since": one.pending_since,
            "firing_since": one.firing_since,
            "value": one.value,
        }
        for (rule, key), one in sorted(standings.items())
    ]


def standings_of(rows: Iterable[Mapping[str, Any]]) -> Standings:
    """What rules remember, of such rows."""
    return {
        (row["rule"], label_key(json.loads(row["labels"]))): Standing(
            newest_at=_optional(row["newest_at"]),
            pending_since=_optional(row["pending_since"]),
            firing_since=_optional(row["firing_since"]),
            value=row["value"],
        )
        for row in rows
    }


def silence_rows(silences: Iterable[Silence]) -> list[Row]:
    """One row per silence, its matchers in the notation of Alertmanager."""
    return [
        {
            "silence_id": one.silence_id,
            "matchers": "{" + ",".join(map(str, one.matchers)) + "}",
            "starts_at": one.starts_at,
            "ends_at": one.ends_at,
            "created_by": one.created_by,
            "reason": one.reason,
        }
        for one in silences
    ]


def silences_of(rows: Iterable[Mapping[str, Any]]) -> list[Silence]:
    """The silences of such rows."""
    return [
        Silence(
            silence_id=row["silence_id"],
            matchers=parse_matchers(row["matchers"]),
            starts_at=in_utc(row["starts_at"]),
            ends_at=in_utc(row["ends_at"]),
            created_by=row["created_by"],
            reason=row["reason"],
        )
        for row in rows
    ]


def _alert_row(alert: Alert) -> Row:
    taken = alert.acknowledged
    return {
        **{name: getattr(alert, name) for name in (*_SAME, *_MOMENTS, *_ENDS)},
        "labels": json.dumps(dict(alert.labels), sort_keys=True),
        "threshold": alert.limit,
        "dips": json.dumps([dip.isoformat() for dip in alert.dips]),
        "acknowledged_by": taken.by if taken else None,
        "acknowledged_at": taken.at if taken else None,
        "acknowledged_severity": taken.severity if taken else None,
    }


def _alert(row: Mapping[str, Any]) -> Alert:
    kept: dict[str, Any] = {name: row[name] for name in _SAME}
    kept |= {name: in_utc(row[name]) for name in _MOMENTS}
    kept |= {name: _optional(row[name]) for name in _ENDS}
    kept["labels"], kept["limit"] = json.loads(row["labels"]), row["threshold"]
    kept["dips"] = tuple(datetime.fromisoformat(dip) for dip in json.loads(row["dips"]))
    if row["acknowledged_by"] is None:
        return Alert(**kept)
    by, at = row["acknowledged_by"], in_utc(row["acknowledged_at"])
    return Alert(**kept, acknowledged=Acknowledgement(by, at, row["acknowledged_severity"]))


def _optional(moment: datetime | None) -> datetime | None:
    return None if moment is None else in_utc(moment)
