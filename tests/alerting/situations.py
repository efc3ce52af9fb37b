"""Sightings and routings for tests, and a clock-driven run of state and dispatch together."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from clinical_lakehouse.alerting.alert_state import (
    Alert,
    Lifecycle,
    Sighting,
    advance,
    alert_fingerprint,
)
from clinical_lakehouse.alerting.dispatch import Decision, Group, Notification, plan
from clinical_lakehouse.alerting.routing.alertmanager_config import Routing, read_routing
from clinical_lakehouse.alerting.routing.suppression import Suppressions

NOON = datetime(2024, 6, 30, 12, tzinfo=UTC)
ROUTE = {
    "receiver": "ops",
    "group_by": ["alertname"],
    "group_wait": "30s",
    "group_interval": "5m",
    "repeat_interval": "4h",
}


def after(minutes: float = 0) -> datetime:
    """Minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def seen(minutes: float = 0, firing: bool = True, **changed) -> Sighting:
    """A sighting of job a failing, minutes after noon."""
    given = {"source": "s", "kind": "job_failed", "severity": "warning", "labels": {"job": "a"}}
    given |= {"value": 1.0, "limit": 0.0, "message": "job a failed", **changed}
    name = alert_fingerprint(given["source"], given["kind"], given["labels"])
    moment = after(minutes)
    return Sighting(name, **given, at=moment, window_at=moment, is_firing=firing)


def routing(folder: Path, resolved: bool = True, **more) -> Routing:
    """One receiver `ops`; `more` are further keys of the root route or of the file."""
    hook = {"url": "http://127.0.0.1:9/", "send_resolved": resolved}
    route = ROUTE | {key: value for key, value in more.items() if key not in FILE_KEYS}
    text = {"route": route, "receivers": [{"name": "ops", "webhook_configs": [hook]}]}
    text |= {key: value for key, value in more.items() if key in FILE_KEYS}
    path = folder / "routing.yml"
    path.write_text(yaml.safe_dump(text))
    return read_routing(path)


FILE_KEYS = ("receivers", "inhibit_rules", "time_intervals")


@dataclass
class Desk:
    """State and groups as a task keeps them, moved on by `step`."""

    routing: Routing
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    suppressions: Suppressions = field(default_factory=Suppressions)
    alerts: dict[str, Alert] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()

    def step(self, minutes: float, *sightings: Sighting) -> tuple[Notification, ...]:
        """What is told at this moment."""
        at = after(minutes)
        self.alerts = advance(self.alerts, sightings, at, self.lifecycle)
        made = plan(self.routing, self.suppressions, self.alerts, self.groups, at)
        self.groups, self.decisions = dict(made.groups), made.decisions
        return made.notifications

    def reasons(self, minutes: float, *sightings: Sighting) -> list[str]:
        """Why something is told at this moment."""
        return [one.reason for one in self.step(minutes, *sightings)]
