"""Reads the supported subset of an alertmanager.yml; anything else is refused by name and line."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from clinical_lakehouse.alerting.conf_node import Node, read_conf
from clinical_lakehouse.alerting.routing.routes import Route, read_matchers, read_route
from clinical_lakehouse.alerting.routing.suppression import InhibitRule
from clinical_lakehouse.alerting.routing.time_intervals import Intervals, read_intervals
from clinical_lakehouse.errors import SettingsError

_TOP = (
    *("global", "route", "receivers", "inhibit_rules", "time_intervals", "mute_time_intervals"),
)
_INHIBIT = (
    *("source_match", "source_match_re", "source_matchers"),
    *("target_match", "target_match_re", "target_matchers", "equal"),
)
_CHANNELS = {
    "webhook_configs": ("url", "send_resolved", "max_alerts"),
    "email_configs": ("to", "send_resolved"),
}
# Alertmanager's own defaults: a webhook hears of the end, a mail does not.
_SENDS_RESOLVED = {"webhook_configs": True, "email_configs": False}


@dataclass(frozen=True)
class Integration:
    """One way a receiver is told: `webhook` or `email`, its address, and whether of the end too."""

    kind: str
    address: str
    sends_resolved: bool
    max_alerts: int = 0


@dataclass(frozen=True)
class Receiver:
    """A name that routes lead to, and how it is told; without integrations our own channels of
    that name tell it."""

    name: str
    integrations: tuple[Integration, ...] = ()
    place: str = ""

    @property
    def sends_resolved(self) -> bool:
        """Whether anything of it wants to hear that an alert has ended."""
        return not self.integrations or any(one.sends_resolved for one in self.integrations)


@dataclass(frozen=True)
class Routing:
    """Everything an alertmanager.yml says that we act on."""

    root: Route
    receivers: Mapping[str, Receiver]
    inhibit_rules: tuple[InhibitRule, ...] = ()
    intervals: Intervals | None = None
    resolve_timeout: timedelta = timedelta(minutes=5)


def read_routing(path: Path) -> Routing:
    """The routing of one file; SettingsError names file and line of what is not supported."""
    parts = read_conf(path).mapping(_TOP, ("route", "receivers"))
    given = parts["global"].mapping(("resolve_timeout",)) if "global" in parts else {}
    timeout = given.get("resolve_timeout")
    keys = ("time_intervals", "mute_time_intervals")
    intervals = read_intervals(
        [item for key in keys if key in parts for item in parts[key].items()]
    )
    receivers = _receivers(parts["receivers"])
    root = read_route(parts["route"])
    for route in root.walk():
        _refuse_unknown(route, receivers, intervals)
    rules = parts["inhibit_rules"].items() if "inhibit_rules" in parts else ()
    return Routing(
        root,
        receivers,
        tuple(_inhibit_rule(rule) for rule in rules),
        intervals,
        timeout.duration() if timeout else timedelta(minutes=5),
    )


def _receivers(node: Node) -> dict[str, Receiver]:
    found: dict[str, Receiver] = {}
    for item in node.items():
        parts = item.mapping(("name", *_CHANNELS), ("name",))
        name = parts["name"].text()
        if name in found:
            raise parts["name"].refused(f"receiver {name!r} stands here a second time")
        channels = [key for key in _CHANNELS if key in parts]
        integrations = (_integration(key, one) for key in channels for one in parts[key].items())
        found[name] = Receiver(name, tuple(integrations), item.place)
    return found


def _integration(key: str, node: Node) -> Integration:
    address = _CHANNELS[key][0]
    parts = node.mapping(_CHANNELS[key], (address,))
    sends = parts["send_resolved"].flag() if "send_resolved" in parts else _SENDS_RESOLVED[key]
    most = int(parts["max_alerts"].number()) if "max_alerts" in parts else 0
    return Integration(key.removesuffix("_configs"), parts[address].text(), sends, most)


def _inhibit_rule(node: Node) -> InhibitRule:
    parts = node.mapping(_INHIBIT)
    source, target = read_matchers(parts, "source_"), read_matchers(parts, "target_")
    equal = parts["equal"].texts() if "equal" in parts else ()
    return InhibitRule(source, target, equal, node.place)


def _refuse_unknown(route: Route, receivers: Mapping[str, Receiver], intervals: Intervals) -> None:
    """Receivers and time intervals that a route names must be there."""
    if route.receiver not in receivers:
        raise SettingsError(f"{route.place}: receiver {route.receiver!r} is not among receivers")
    for name in (*route.mute_time_intervals, *route.active_time_intervals):
        if name not in intervals:
            raise SettingsError(f"{route.place}: {name!r} is not among time_intervals")
