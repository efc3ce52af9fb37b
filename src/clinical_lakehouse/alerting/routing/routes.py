"""The routing tree: which receivers an alert goes to, in which groups and how often."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from clinical_lakehouse.alerting.conf_node import Node
from clinical_lakehouse.alerting.routing.matchers import (
    Labels,
    Matcher,
    from_maps,
    in_braces,
    matches_all,
    parse_matchers,
)
from clinical_lakehouse.errors import SettingsError

_ALL = "..."
_KEYS = (
    *("receiver", "group_by", "group_wait", "group_interval", "repeat_interval"),
    *("match", "match_re", "matchers", "continue", "routes"),
    *("mute_time_intervals", "active_time_intervals"),
)


@dataclass(frozen=True)
class Route:
    """One node of the tree, with what it inherits; `number` is its place in it, e.g. 0.2.1."""

    receiver: str
    number: str = "0"
    key: str = "{}"  # as Alertmanager's groupKey names it: the matchers from the root down
    matchers: tuple[Matcher, ...] = ()
    is_continued: bool = False
    group_by: frozenset[str] = frozenset()
    is_grouped_by_all: bool = False
    group_wait: timedelta = timedelta(seconds=30)
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    routes: tuple["Route", ...] = field(default=(), repr=False)
    place: str = ""

    def match(self, labels: Labels) -> tuple["Route", ...]:
        """The deepest routes that take the label set, in the tree's order; none if this does not.

        A child's match ends the search among its siblings unless the child says `continue`.
        """
        if not matches_all(self.matchers, labels):
            return ()
        found: tuple[Route, ...] = ()
        for child in self.routes:
            taken = child.match(labels)
            found += taken
            if taken and not child.is_continued:
                break
        return found or (self,)

    def group_labels(self, labels: Labels) -> dict[str, str]:
        """The part of the labels that names the group; a label that is missing is left out."""
        wanted = labels if self.is_grouped_by_all else self.group_by
        return {name: labels[name] for name in sorted(wanted) if labels.get(name)}

    def group_key(self, labels: Labels) -> str:
        """Alertmanager's groupKey of the labels' group."""
        return f"{self.key}:{in_braces(self.group_labels(labels))}"

    def walk(self) -> Iterator["Route"]:
        """This route and all below it."""
        yield self
        for child in self.routes:
            yield from child.walk()


def read_route(node: Node) -> Route:
    """The tree below `route`; SettingsError names file and line of what Alertmanager refuses."""
    parts = node.mapping(_KEYS, ("receiver",))
    for key in ("match", "match_re", "matchers", "mute_time_intervals", "active_time_intervals"):
        if key in parts and parts[key].value:
            raise parts[key].refused(f"the root route takes every alert at any time: drop {key}")
    if "continue" in parts and parts["continue"].value:
        raise parts["continue"].refused("the root route has no siblings to continue with")
    return _read(node, Route("", place=node.place), "0")


def read_matchers(parts: Mapping[str, Node], prefix: str = "") -> tuple[Matcher, ...]:
    """The matchers under `match`, `match_re` and `matchers`, each with the prefix; sorted."""
    equal, regex, listed = (parts.get(prefix + key) for key in ("match", "match_re", "matchers"))
    found = list(from_maps(equal.labels() if equal else {}))
    if regex:
        places = regex.entries()
        for name, value in regex.labels().items():
            found += _placed(places[name], from_maps, {}, {name: value})
    for item in listed.items() if listed else ():
        found += _placed(item, parse_matchers, item.text())
    return tuple(sorted(found))


def _placed(
    node: Node, read: Callable[..., tuple[Matcher, ...]], *given: object
) -> tuple[Matcher, ...]:
    """What is read, or its refusal with file and line."""
    try:
        return read(*given)
    except SettingsError as error:
        raise node.refused(str(error)) from None


def _read(node: Node, parent: Route, number: str) -> Route:
    parts = node.mapping(_KEYS)
    matchers = read_matchers(parts)
    key = "{" + ",".join(map(str, matchers)) + "}"
    names: dict[str, Any] = {
        key: parts[key].texts() if key in parts else ()
        for key in ("mute_time_intervals", "active_time_intervals")
    }
    route = replace(
        parent,
        number=number,
        key=f"{parent.key}/{key}" if parent.receiver else key,
        matchers=matchers,
        is_continued="continue" in parts and parts["continue"].flag(),
        receiver=parts["receiver"].text() if "receiver" in parts else parent.receiver,
        routes=(),
        place=node.place,
        **names,
        **_grouping(parts),
        **_durations(parts),
    )
    listed = parts["routes"].items() if "routes" in parts else ()
    children = (_read(child, route, f"{number}.{at}") for at, child in enumerate(listed))
    return replace(route, routes=tuple(children))


def _grouping(parts: dict[str, Node]) -> dict[str, Any]:
    """What group_by says; an empty list says nothing, as in Alertmanager."""
    names = parts["group_by"].texts() if "group_by" in parts else ()
    if not names:
        return {}
    if len(set(names)) < len(names):
        raise parts["group_by"].refused("group_by names a label twice")
    if _ALL in names and len(names) > 1:
        raise parts["group_by"].refused("group_by must hold either '...' or labels")
    if _ALL in names:
        return {"is_grouped_by_all": True}
    return {"group_by": frozenset(names), "is_grouped_by_all": False}


def _durations(parts: dict[str, Node]) -> dict[str, Any]:
    keys = ("group_wait", "group_interval", "repeat_interval")
    found = {key: parts[key].duration() for key in keys if key in parts}
    for key in ("group_interval", "repeat_interval"):
        if key in found and not found[key]:
            raise parts[key].refused(f"{key} must be longer than 0")
    return found
