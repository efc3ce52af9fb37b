"""What a rule measures: a small part of PromQL, e.g. `max by (site) (avg_over_time(x[1h]))`."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clinical_lakehouse.alerting.conf_node import in_words, parse_duration
from clinical_lakehouse.alerting.routing.matchers import is_label_name, parse_matchers
from clinical_lakehouse.alerting.rules.observations import LabelKey, Observations, Selector
from clinical_lakehouse.errors import SettingsError

_OVER_TIME: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1],
    "avg": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "sum": math.fsum,
    "count": len,
}
_AGGREGATES = {name: of for name, of in _OVER_TIME.items() if name != "last"}
_AGGREGATE = re.compile(r"(?P<name>[a-z]+)\s+by\s*\((?P<by>[^)]*)\)\s*\((?P<inner>.*)\)", re.DOTALL)
_FUNCTION = re.compile(
    r"(?P<name>[a-z]+)_over_time\s*\((?P<selector>.*)\[(?P<window>\w+)\]\s*\)", re.DOTALL
)
_SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\s*(?P<matchers>\{.*\})?", re.DOTALL)


@dataclass(frozen=True)
class Measured:
    """A number now, over how many observations, the newest of them seen when."""

    value: float | None
    count: int
    newest_at: datetime | None


@dataclass(frozen=True)
class Measure:
    """A function over the window of each series, and how series with equal `by` labels are one."""

    selector: Selector
    function: str
    window: timedelta
    aggregate: str | None = None
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        inner = f"{self.function}_over_time({self.selector}[{in_words(self.window)}])"
        return f"{self.aggregate} by ({', '.join(self.by)}) ({inner})" if self.aggregate else inner

    def measured(self, observations: Observations, at: datetime) -> dict[LabelKey, Measured]:
        """Per label set its number; without a value where the window holds no observation."""
        groups: dict[LabelKey, list[Measured]] = defaultdict(list)
        for series in observations.select(self.selector):
            values, newest_at = series.within(self.window, at), series.newest_at(at)
            if newest_at is not None:
                value = float(_OVER_TIME[self.function](values)) if values else None
                key = grouped(series.labels, self.by) if self.aggregate else series.labels
                groups[key].append(Measured(value, len(values), newest_at))
        return {key: self._one(members) for key, members in groups.items()}

    def _one(self, members: Sequence[Measured]) -> Measured:
        values = [one.value for one in members if one.value is not None]
        newest_at = max(one.newest_at for one in members if one.newest_at is not None)
        if not values:
            return Measured(None, 0, newest_at)
        of = _AGGREGATES[self.aggregate] if self.aggregate else _OVER_TIME["last"]
        return Measured(float(of(values)), sum(one.count for one in members), newest_at)


def grouped(labels: LabelKey, by: Sequence[str]) -> LabelKey:
    """The part of the labels that `by` names."""
    return tuple(pair for pair in labels if pair[0] in by)


def parse_measure(text: str) -> Measure:
    """A measure from its text; SettingsError says what is supported."""
    stripped = text.strip()
    outer = _AGGREGATE.fullmatch(stripped)
    inner = _FUNCTION.fullmatch(outer["inner"].strip() if outer else stripped)
    window = parse_duration(inner["window"]) if inner else None
    if inner is None or inner["name"] not in _OVER_TIME or not window:
        raise SettingsError(
            f"expression {text!r} must be FUNCTION_over_time(series[window]), FUNCTION one of "
            f"{', '.join(_OVER_TIME)}, or AGGREGATE by (labels) (that)"
        )
    selector = parse_selector(inner["selector"])
    if outer is None:
        return Measure(selector, inner["name"], window)
    if outer["name"] not in _AGGREGATES:
        raise SettingsError(f"aggregate {outer['name']} is none of {', '.join(_AGGREGATES)}")
    by = tuple(name.strip() for name in outer["by"].split(",") if name.strip())
    if not all(is_label_name(name) for name in by):
        raise SettingsError(f"expression {text!r} groups by something that is no label's name")
    return Measure(selector, inner["name"], window, outer["name"], by)


def parse_selector(text: str) -> Selector:
    """Which series, e.g. `quality_score{layer="gold"}`."""
    found = _SELECTOR.fullmatch(text.strip())
    if found is None:
        raise SettingsError(f"series {text.strip()!r} must be a name, or a name and {{matchers}}")
    return Selector(found["name"], tuple(sorted(parse_matchers(found["matchers"] or ""))))
