"""One alert explained: its rule, value and limit, its routes, and why nothing was sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from clinical_lakehouse.alerting.alert_state import Alert
from clinical_lakehouse.alerting.dispatch import Decision, Plan
from clinical_lakehouse.alerting.routing.alertmanager_config import Routing
from clinical_lakehouse.alerting.routing.matchers import in_braces
from clinical_lakehouse.alerting.routing.time_intervals import containing, end_of
from clinical_lakehouse.alerting.rules.evaluation import Verdict
from clinical_lakehouse.alerting.rules.rule import Rate, Rule, number
from clinical_lakehouse.errors import UsageError


@dataclass(frozen=True)
class Knowledge:
    """What one evaluation left: by what it judged, how, what it told, and when."""

    rules: Sequence[Rule]
    verdicts: Sequence[Verdict]
    plan: Plan
    routing: Routing
    at: datetime


def find_alert(alerts: Mapping[str, Alert], start: str) -> Alert:
    """The alert whose fingerprint starts so; UsageError if none does, or more than one."""
    found = [alert for name, alert in sorted(alerts.items()) if name.startswith(start)]
    if len(found) != 1 or not start:
        many = f"{len(found)} alerts start" if found else "no alert starts"
        raise UsageError(f"{many} with {start!r}; `alerts list` shows their fingerprints")
    return found[0]


def explain_alert(alert: Alert, known: Knowledge) -> list[str]:
    """Lines for a person: what it is, what made it fire, and what became of it on each route."""
    lines = [_what(alert)]
    rule = next((one for one in known.rules if one.name == alert.kind), None)
    judged = [one for one in known.verdicts if one.labels == dict(alert.labels)]
    if rule is not None:
        lines += explain_rule(rule, judged)
    elif alert.value is not None:
        against = f" against {number(alert.limit)}" if alert.limit is not None else ""
        lines.append(f"seen by {alert.source}: {number(alert.value)}{against}")
    if alert.runbook:
        lines.append(f"what to do: {alert.runbook}")
    decisions = [one for one in known.plan.decisions if one.fingerprint == alert.fingerprint]
    lines += [_decided(one, known) for one in decisions]
    if not decisions:
        lines.append("nothing to send: it has ended")
    return lines


def explain_rule(rule: Rule, verdicts: Sequence[Verdict]) -> list[str]:
    """A rule, and how it judged each label set: also why it did not fire."""
    measured = rule.measure
    what = f"failure rate of {measured.selector}" if isinstance(measured, Rate) else str(measured)
    side = "above" if rule.is_above else "below"
    lines = [f"rule {rule.name} ({rule.place}): {what} {side} {rule.limit_name} {rule.limit:g}"]
    for one in verdicts:
        if one.rule == rule.name:
            lines.append(f"{in_braces(one.labels)} {one.outcome}: {one.because}")
    return lines


def _what(alert: Alert) -> str:
    named = f"{alert.kind} {in_braces(alert.labels)}, {alert.severity}"
    if alert.ends_at is not None and not alert.is_open:
        return f"{named}: {_time(alert.starts_at)} to {_time(alert.ends_at)}, resolved"
    taken = alert.acknowledged
    by = f", acknowledged by {taken.by} at {_time(taken.at)}" if taken else ""
    held = ", good again but held open, for it flaps" if alert.good_since else ""
    return f"{named}: firing since {_time(alert.starts_at)}{by}{held}"


def _decided(decision: Decision, known: Knowledge) -> str:
    until = decision.until or _end_of_mute(decision, known)
    ends = f", until {_time(until)}" if until else ""
    return f"{decision.receiver} by route {decision.group_key}: {decision.because}{ends}"


def _end_of_mute(decision: Decision, known: Knowledge) -> datetime | None:
    """When the interval that mutes the route ends; only worked out for a person who asks."""
    if decision.outcome != "muted":
        return None
    intervals = known.routing.intervals or {}
    for route in known.routing.root.walk():
        name = containing(route.mute_time_intervals, intervals, known.at)
        if route.number == decision.route and name is not None:
            return end_of(name, intervals, known.at)
    return None


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
