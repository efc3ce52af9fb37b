"""One round of alerting: from what was seen and how things stood to who is told what."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from clinical_lakehouse.alerting.alert_state import Alert, Lifecycle, advance
from clinical_lakehouse.alerting.conf_node import Node, read_conf
from clinical_lakehouse.alerting.dispatch import Group, Notification, Plan, plan
from clinical_lakehouse.alerting.explain import Knowledge
from clinical_lakehouse.alerting.routing.alertmanager_config import Routing, read_routing
from clinical_lakehouse.alerting.routing.matchers import Matcher
from clinical_lakehouse.alerting.routing.routes import read_matchers
from clinical_lakehouse.alerting.routing.suppression import Maintenance, Silence, Suppressions
from clinical_lakehouse.alerting.rules.evaluation import Standings, Verdict, evaluate
from clinical_lakehouse.alerting.rules.observations import Observations
from clinical_lakehouse.alerting.rules.rates import RatePolicy
from clinical_lakehouse.alerting.rules.rule import Limits, Rule, tuned
from clinical_lakehouse.alerting.rules.rule_tests import read_checked_rules
from clinical_lakehouse.alerting.state_rows import sightings_of
from clinical_lakehouse.alerting.watchdog import Attempt, Tick, watch_channels, watch_clock

_DURATIONS = ("resolve_after", "flap_window", "hold")
_KEYS = ("interval", *_DURATIONS, "resolve_after_kind", "flaps", "protected", "maintenance")
_SIGNS = ("heartbeat", "open_metrics")


@dataclass(frozen=True)
class AlertingConf:
    """Everything that conf/alerting says."""

    rules: tuple[Rule, ...]
    routing: Routing
    lifecycle: Lifecycle
    interval: timedelta
    protected: tuple[Matcher, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    heartbeat: str = ""
    open_metrics: str = ""

    def suppressions(self, silences: Iterable[Silence]) -> Suppressions:
        """What may keep alerts quiet: conf's own, and the silences that people made."""
        return Suppressions(
            self.routing.inhibit_rules,
            tuple(silences),
            self.maintenance,
            self.routing.intervals,
            self.protected,
        )


@dataclass(frozen=True)
class Seen:
    """What a round looks at: rows of ops.alert_event, series for the rules, what people silenced,
    how deliveries went, and the clocks."""

    now: Tick
    observations: Observations
    events: Sequence[Mapping[str, Any]] = ()
    silences: Sequence[Silence] = ()
    attempts: Sequence[Attempt] = ()


@dataclass(frozen=True)
class Standpoint:
    """How things stood after the last round; empty before the first."""

    alerts: Mapping[str, Alert] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    standings: Standings = field(default_factory=dict)
    tick: Tick | None = None


@dataclass(frozen=True)
class Round:
    """How things stand now, what to hand over, and what `explain` needs."""

    standpoint: Standpoint
    notifications: tuple[Notification, ...]
    plan: Plan
    verdicts: tuple[Verdict, ...]

    def knowledge(self, conf: AlertingConf, at: datetime) -> Knowledge:
        """For explain_alert."""
        return Knowledge(conf.rules, self.verdicts, self.plan, conf.routing, at)


def read_alerting_conf(folder: Path, limits: Limits) -> AlertingConf:
    """conf/alerting: rules with their tests, routing.yml, lifecycle.yml; `limits` of base.yml.

    SettingsError names file and line of whatever is wrong.
    """
    routing = read_routing(folder / "routing.yml")
    parts = read_conf(folder / "lifecycle.yml").mapping((*_KEYS, *_SIGNS), ("interval",))
    interval = parts["interval"].duration()
    given: dict[str, Any] = {key: parts[key].duration() for key in _DURATIONS if key in parts}
    if "flaps" in parts:
        given["flaps"] = int(parts["flaps"].number())
    if "resolve_after_kind" in parts:
        kinds = parts["resolve_after_kind"].entries()
        given["resolve_after_kind"] = {kind: node.duration() for kind, node in kinds.items()}
    protected = {"matchers": parts["protected"]} if "protected" in parts else {}
    listed = parts["maintenance"].items() if "maintenance" in parts else ()
    return AlertingConf(
        rules=tuned(read_checked_rules(folder / "rules", limits), RatePolicy(interval=interval)),
        routing=routing,
        lifecycle=Lifecycle(**given),
        interval=interval,
        protected=read_matchers(protected),
        maintenance=tuple(_maintenance(node, routing) for node in listed),
        **{key: parts[key].text() for key in _SIGNS if key in parts},
    )


def run_round(conf: AlertingConf, seen: Seen, before: Standpoint) -> Round:
    """Judge, advance and plan at the moment of `seen.now`.

    The same input gives the same round; a round done again, or by two at once, gives
    notifications with the same keys, so that handing over is idempotent by key.
    """
    at = seen.now.at
    replaced = {kind for rule in conf.rules for kind in rule.replaces}
    evaluation = evaluate(conf.rules, seen.observations, before.standings, at)
    sightings = [
        *sightings_of(row for row in seen.events if row["kind"] not in replaced),
        *evaluation.sightings,
        *watch_clock(before.tick, seen.now, conf.interval),
        *watch_channels(seen.attempts, at, 12 * conf.interval),
    ]
    alerts = advance(before.alerts, sightings, at, conf.lifecycle)
    made = plan(conf.routing, conf.suppressions(seen.silences), alerts, before.groups, at)
    after = Standpoint(alerts, made.groups, evaluation.standings, seen.now)
    return Round(after, made.notifications, made, evaluation.verdicts)


def with_alerts(before: Standpoint, alerts: Mapping[str, Alert]) -> Standpoint:
    """The standpoint with alerts that people have acknowledged since."""
    return replace(before, alerts=alerts)


def _maintenance(node: Node, routing: Routing) -> Maintenance:
    keys = ("name", "matchers", "time_intervals", "reason")
    parts = node.mapping(keys, keys)
    names = parts["time_intervals"].texts()
    for name in names:
        if name not in (routing.intervals or {}):
            raise parts["time_intervals"].refused(f"{name!r} is not among routing.yml's intervals")
    return Maintenance(parts["name"].text(), read_matchers(parts), names, parts["reason"].text())
