"""Alertmanager's webhook payload, version 4: made from notifications, and taken as sightings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from clinical_lakehouse.alerting.alert_state import SEVERITIES, Alert, Sighting, alert_fingerprint
from clinical_lakehouse.alerting.dispatch import Notification
from clinical_lakehouse.alerting.routing.matchers import fingerprint
from clinical_lakehouse.errors import SourceError

VERSION = "4"
# Go's zero time: an alert that has not ended.
_NOT_ENDED = "0001-01-01T00:00:00Z"
_NEEDED = ("version", "alerts", "receiver", "status")


def webhook_payload(
    notification: Notification, external_url: str = "", max_alerts: int = 0
) -> dict[str, Any]:
    """The notification as Alertmanager would post it; `max_alerts` (0: all) cuts the list off and
    says how many are left out."""
    alerts = [_alert(one, "firing") for one in notification.firing]
    alerts += [_alert(one, "resolved") for one in notification.resolved]
    shown = alerts[:max_alerts] if max_alerts else alerts
    return {
        "version": VERSION,
        "groupKey": notification.group_key,
        "truncatedAlerts": len(alerts) - len(shown),
        "status": "firing" if notification.firing else "resolved",
        "receiver": notification.receiver,
        "groupLabels": dict(notification.group_labels),
        "commonLabels": _common([one["labels"] for one in alerts]),
        "commonAnnotations": _common([one["annotations"] for one in alerts]),
        "externalURL": external_url,
        "alerts": shown,
    }


def read_payload(payload: Mapping[str, Any], at: datetime) -> Iterator[Sighting]:
    """The alerts of a payload as seen at `at`, when it was received.

    Its labels alertname, severity and source become kind, severity and source of the alert.
    SourceError says what of the payload is not version 4; never a value of it.
    """
    if not isinstance(payload, Mapping) or any(key not in payload for key in _NEEDED):
        raise SourceError(f"the webhook payload needs {', '.join(_NEEDED)}")
    if payload["version"] != VERSION:
        raise SourceError("the webhook payload must be of version 4")
    for number, alert in enumerate(payload["alerts"], start=1):
        try:
            yield _sighting(alert, at)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SourceError(
                f"alert {number} of the webhook payload needs status, labels with alertname and "
                "startsAt, all texts"
            ) from None


def _alert(alert: Alert, status: str) -> dict[str, Any]:
    labels = alert.routing_labels
    notes = {"summary": alert.message, "runbook_url": alert.runbook}
    ended = alert.ends_at is not None and status == "resolved"
    return {
        "status": status,
        "labels": labels,
        "annotations": {name: text for name, text in notes.items() if text},
        "startsAt": _text(alert.starts_at),
        "endsAt": _text(alert.ends_at) if ended and alert.ends_at else _NOT_ENDED,
        "generatorURL": "",
        "fingerprint": fingerprint(labels),
    }


def _sighting(alert: Mapping[str, Any], at: datetime) -> Sighting:
    labels = {str(name): str(value) for name, value in alert["labels"].items()}
    kind, severity = labels.pop("alertname"), labels.pop("severity", "warning")
    source = labels.pop("source", "alertmanager")
    notes = alert.get("annotations") or {}
    return Sighting(
        fingerprint=alert_fingerprint(source, kind, labels),
        source=source,
        kind=kind,
        severity=severity if severity in SEVERITIES else "warning",
        labels=labels,
        value=None,
        limit=None,
        message=str(notes.get("summary", kind)),
        at=at,
        window_at=datetime.fromisoformat(alert["startsAt"]),
        is_firing={"firing": True, "resolved": False}[alert["status"]],
        runbook=str(notes.get("runbook_url", "")),
    )


def _common(sets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of the sets say alike."""
    first: Iterable[tuple[str, str]] = sets[0].items() if sets else ()
    return {name: text for name, text in first if all(one.get(name) == text for one in sets)}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
