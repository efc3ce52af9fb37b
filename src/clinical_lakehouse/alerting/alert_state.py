"""One alert's life: firing, acknowledged, resolved; held open while it flaps."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from clinical_lakehouse.errors import UsageError

SEVERITIES = ("info", "warning", "critical")
FIRING, ACKNOWLEDGED, RESOLVED = "firing", "acknowledged", "resolved"


@dataclass(frozen=True)
class Sighting:
    """What was seen of one alert at one moment: that it is bad, or (`is_firing` false) good again.

    `at` is when it was seen, `window_at` the window it is about; both with a time zone.
    """

    fingerprint: str
    source: str
    kind: str
    severity: str
    labels: Mapping[str, str]
    value: float | None
    limit: float | None
    message: str
    at: datetime
    window_at: datetime
    is_firing: bool = True
    runbook: str = ""


@dataclass(frozen=True)
class Acknowledgement:
    """Who took the alert, when, and how bad it was then."""

    by: str
    at: datetime
    severity: str


@dataclass(frozen=True)
class Alert:
    """One row per fingerprint. `starts_at` names the present episode: a new one starts when a
    resolved alert fires again. `dips` are the moments it went good, the latest ones."""

    fingerprint: str
    source: str
    kind: str
    severity: str
    labels: Mapping[str, str]
    value: float | None
    limit: float | None
    message: str
    state: str
    starts_at: datetime
    judged_at: datetime
    first_seen_at: datetime
    last_seen_at: datetime
    good_since: datetime | None = None
    ends_at: datetime | None = None
    dips: tuple[datetime, ...] = field(default=())
    acknowledged: Acknowledgement | None = None
    runbook: str = ""

    @property
    def is_open(self) -> bool:
        """Firing or acknowledged."""
        return self.state != RESOLVED

    @property
    def routing_labels(self) -> dict[str, str]:
        """The labels that routes, silences and inhibition see: its own and three about it."""
        about = {"alertname": self.kind, "severity": self.severity, "source": self.source}
        return {**self.labels, **about}


@dataclass(frozen=True)
class Lifecycle:
    """When an alert ends: `resolve_after` without a sighting (by kind where named), and held open
    for `hold` of good time once it went good `flaps` times within `flap_window`."""

    resolve_after: timedelta = timedelta(hours=26)
    resolve_after_kind: Mapping[str, timedelta] = field(default_factory=dict)
    flaps: int = 3
    flap_window: timedelta = timedelta(hours=1)
    hold: timedelta = timedelta(minutes=30)

    def timeout(self, alert: Alert) -> timedelta:
        """How long the alert may go unseen before it counts as good."""
        return self.resolve_after_kind.get(alert.kind, self.resolve_after)

    def is_noisy(self, alert: Alert, at: datetime) -> bool:
        """Whether it went good so often lately that its end is not believed at once."""
        return len([dip for dip in alert.dips if at - dip < self.flap_window]) >= self.flaps


def alert_fingerprint(source: str, kind: str, labels: Mapping[str, str]) -> str:
    """SHA-256 of source, kind and labels, as in ops.alert_event."""
    parts = (source, kind, json.dumps(dict(labels), sort_keys=True))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def is_worse(severity: str, than: str) -> bool:
    """Whether a severity is worse than another; one that is not known counts as critical."""
    rank = {name: at for at, name in enumerate(SEVERITIES)}
    worst = len(SEVERITIES) - 1
    return rank.get(severity, worst) > rank.get(than, worst)


def advance(
    known: Mapping[str, Alert], sightings: Iterable[Sighting], at: datetime, lifecycle: Lifecycle
) -> dict[str, Alert]:
    """Every alert by fingerprint after these sightings, at this moment.

    A sighting not later than what an alert was last judged by changes nothing, so the same
    sightings taken twice leave the same alerts. What was judged or seen later than now was so
    before the clock was set back, and must not make alerts deaf until it has caught up.
    """
    just_before = at - timedelta.resolution
    alerts = {
        name: replace(one, judged_at=just_before) if one.judged_at > at else one
        for name, one in known.items()
    }
    for seen in sorted((one for one in sightings if one.at <= at), key=_order):
        before = alerts.get(seen.fingerprint)
        if before and seen.at <= before.judged_at:
            continue
        if seen.is_firing:
            aged = _aged(before, seen.at, lifecycle) if before else None
            alerts[seen.fingerprint] = _fired(aged, seen, lifecycle)
        elif before and before.is_open:
            good = _good(replace(before, judged_at=seen.at), seen.at)
            alerts[seen.fingerprint] = _settled(good, seen.at, lifecycle)
    return {name: _aged(alert, at, lifecycle) for name, alert in alerts.items()}


def acknowledge(
    alerts: Mapping[str, Alert], fingerprints: Iterable[str], by: str, at: datetime
) -> dict[str, Alert]:
    """The alerts with the named firing ones acknowledged; UsageError for one that is not open."""
    changed = dict(alerts)
    for name in fingerprints:
        alert = changed.get(name)
        if alert is None or not alert.is_open:
            raise UsageError(f"alert {name[:12]} is not open; `alerts list` names those that are")
        if not by.strip():
            raise UsageError("an acknowledgement needs a name")
        if alert.state == FIRING:
            taken = Acknowledgement(by, at, alert.severity)
            changed[name] = replace(alert, state=ACKNOWLEDGED, acknowledged=taken)
    return changed


def _order(seen: Sighting) -> tuple[datetime, bool, datetime, str]:
    """By time; of two sightings at one moment the bad one is believed."""
    return seen.at, not seen.is_firing, seen.window_at, seen.fingerprint


def _fired(before: Alert | None, seen: Sighting, lifecycle: Lifecycle) -> Alert:
    if before is None or not before.is_open:
        return Alert(
            *(seen.fingerprint, seen.source, seen.kind, seen.severity, seen.labels),
            *(seen.value, seen.limit, seen.message, FIRING),
            starts_at=seen.at,
            judged_at=seen.at,
            first_seen_at=before.first_seen_at if before else seen.window_at,
            last_seen_at=seen.window_at,
            dips=_recent(before.dips, seen.at, lifecycle) if before else (),
            runbook=seen.runbook,
        )
    taken = before.acknowledged
    outgrown = taken is not None and is_worse(seen.severity, taken.severity)
    return replace(
        before,
        severity=seen.severity,
        value=seen.value,
        limit=seen.limit,
        message=seen.message,
        runbook=seen.runbook,
        judged_at=seen.at,
        first_seen_at=min(before.first_seen_at, seen.window_at),
        last_seen_at=max(before.last_seen_at, seen.window_at),
        good_since=None,
        dips=_recent(before.dips, seen.at, lifecycle),
        # What was acknowledged was a lesser thing: it needs a person again.
        state=FIRING if outgrown else before.state,
        acknowledged=None if outgrown else taken,
    )


def _good(alert: Alert, since: datetime) -> Alert:
    """The alert gone good, if it had not before."""
    if alert.good_since is not None:
        return alert
    return replace(alert, good_since=since, dips=(*alert.dips, since))


def _aged(alert: Alert, at: datetime, lifecycle: Lifecycle) -> Alert:
    """The alert at a later moment: unseen for too long it counts as good."""
    if not alert.is_open:
        return alert
    unseen_until = alert.judged_at + lifecycle.timeout(alert)
    if alert.good_since is None and at > unseen_until:
        alert = _good(alert, unseen_until)
    return _settled(alert, at, lifecycle)


def _settled(alert: Alert, at: datetime, lifecycle: Lifecycle) -> Alert:
    """The alert resolved, once it is good and has been for long enough if it is noisy."""
    if alert.good_since is None:
        return alert
    ends_at = alert.good_since
    if lifecycle.is_noisy(alert, alert.good_since):
        ends_at += lifecycle.hold
    return replace(alert, state=RESOLVED, ends_at=ends_at) if at >= ends_at else alert


def _recent(dips: tuple[datetime, ...], at: datetime, lifecycle: Lifecycle) -> tuple[datetime, ...]:
    return tuple(dip for dip in dips if at - dip < lifecycle.flap_window)
