"""Rules in conf: what is measured, against which limit, how bad it is and what to do then."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from clinical_lakehouse.alerting.alert_state import SEVERITIES
from clinical_lakehouse.alerting.conf_node import Node, read_conf
from clinical_lakehouse.alerting.routing.matchers import Labels, is_label_name
from clinical_lakehouse.alerting.rules.expressions import Measure, parse_measure, parse_selector
from clinical_lakehouse.alerting.rules.observations import Selector
from clinical_lakehouse.alerting.rules.rates import RatePolicy
from clinical_lakehouse.errors import SettingsError

Limits = Mapping[str, float]
Read = TypeVar("Read")

_COMMON = (
    *("alert", "above", "below", "hysteresis", "min_count", "for", "severity", "labels"),
    *("summary", "runbook", "stale_after", "without_data", "forget_after", "replaces"),
)
_VALUE = (*_COMMON, "expr")
_RATE = (*_COMMON, "failure_rate", "by")
_REQUIRED = ("alert", "hysteresis", "min_count", "severity", "summary", "without_data")
_TEMPLATE = re.compile(
    r"\{\{\s*(?:\$labels\.(?P<label>\w+)|\$value(?P<percent>\s*\|\s*humanizePercentage)?)\s*\}\}"
)


@dataclass(frozen=True)
class Rate:
    """Series of 0 and 1 per run, pooled by labels; the rate is judged by exact bounds."""

    selector: Selector
    by: tuple[str, ...]
    policy: RatePolicy = RatePolicy()


@dataclass(frozen=True)
class Rule:
    """One alert: it fires over its limit (for `wait`) and ends `hysteresis` on the good side of it.

    Fewer than `min_count` observations decide nothing. `stale_after`: input older than this is an
    alert of its own, after `forget_after` a series is forgotten; None: without data all is well.
    Events of the kinds it `replaces` are no alerts by themselves: the rule tells of them.
    """

    name: str
    measure: Measure | Rate
    limit_name: str
    limit: float
    is_above: bool
    hysteresis: float
    min_count: int
    severity: str
    summary: str
    runbook: str
    labels: Mapping[str, str]
    wait: timedelta = timedelta()
    stale_after: timedelta | None = None
    forget_after: timedelta = timedelta(days=30)
    replaces: tuple[str, ...] = ()
    place: str = ""

    @property
    def selector(self) -> Selector:
        """The series it judges."""
        return self.measure.selector

    def is_over(self, value: float, is_firing: bool) -> bool:
        """Whether the value is bad: past the limit, or not yet far enough back once it fires."""
        back = self.hysteresis if is_firing else 0.0
        return value > self.limit - back if self.is_above else value < self.limit + back

    def annotations(self, labels: Labels, value: float) -> dict[str, str]:
        """Summary and runbook of an alert; a label that is missing stays empty."""

        def filled(found: re.Match[str]) -> str:
            if found["label"]:
                return labels.get(found["label"], "")
            return f"{value * 100:.4g}%" if found["percent"] else number(value)

        return {"summary": _TEMPLATE.sub(filled, self.summary), "runbook_url": self.runbook}


def number(value: float) -> str:
    """A number as Prometheus writes `{{ $value }}`: the shortest that is the same number."""
    whole = value == int(value) if abs(value) < 1e15 else False
    return str(int(value)) if whole else repr(value)


def read_rules(folder: Path, limits: Limits) -> tuple[Rule, ...]:
    """The rules of every *.yml of a folder that is no *_test.yml, in the order of files.

    `limits` are the thresholds of conf/base.yml by name. SettingsError names file and line of what
    is unknown or missing: each rule needs a limit's name, a runbook and what it does without data.
    """
    rules: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.yml")):
        if path.stem.endswith("_test"):
            continue
        for node in read_conf(path).mapping(("rules",), ("rules",))["rules"].items():
            rule = _rule(node, limits, path.parent)
            if rule.name in rules:
                raise node.refused(f"rule {rule.name} stands in {rules[rule.name].place} already")
            rules[rule.name] = rule
    return tuple(rules.values())


def tuned(rules: Sequence[Rule], policy: RatePolicy) -> tuple[Rule, ...]:
    """The rules with another policy for their rates, e.g. of another interval."""
    return tuple(
        replace(rule, measure=replace(rule.measure, policy=policy))
        if isinstance(rule.measure, Rate)
        else rule
        for rule in rules
    )


def _rule(node: Node, limits: Limits, folder: Path) -> Rule:
    is_rate = isinstance(node.value, dict) and "failure_rate" in node.value
    measured = "failure_rate" if is_rate else "expr"
    parts = node.mapping(_RATE if is_rate else _VALUE, (*_REQUIRED, measured))
    name = parts["alert"].text()
    if not is_label_name(name):
        raise parts["alert"].refused("a rule's name must be letters, digits and underscores")
    if "runbook" not in parts:
        raise node.refused(f"rule {name} needs a runbook: a URL, or a file beside the rules")
    limit_name, is_above = _limit(node, parts, limits)
    if is_rate and not is_above:
        raise parts["below"].refused("a failure_rate is judged against `above`")
    return Rule(
        name=name,
        measure=_rate(parts) if is_rate else _placed(parts["expr"], parse_measure),
        limit_name=limit_name,
        limit=limits[limit_name],
        is_above=is_above,
        hysteresis=_at_least(parts["hysteresis"], 0),
        min_count=int(_at_least(parts["min_count"], 1)),
        severity=parts["severity"].word(SEVERITIES),
        summary=_summary(parts["summary"]),
        runbook=_runbook(parts["runbook"], folder),
        labels=_labels(parts["labels"]) if "labels" in parts else {},
        wait=parts["for"].duration() if "for" in parts else timedelta(),
        replaces=parts["replaces"].texts() if "replaces" in parts else (),
        place=node.place,
        **_without_data(node, parts),
    )


def _rate(parts: Mapping[str, Node]) -> Rate:
    by = parts["by"].texts() if "by" in parts else ()
    return Rate(_placed(parts["failure_rate"], parse_selector), by)


def _limit(node: Node, parts: Mapping[str, Node], limits: Limits) -> tuple[str, bool]:
    """Name of the limit and whether the rule fires above it; its number stands in conf/base.yml."""
    given = [key for key in ("above", "below") if key in parts]
    if len(given) != 1:
        raise node.refused("a rule needs either above or below: the name of a limit in base.yml")
    named = parts[given[0]].value
    if named not in limits:
        known = ", ".join(sorted(limits))
        raise parts[given[0]].refused(f"{given[0]} must be a limit's name: one of {known}")
    return str(named), given[0] == "above"


def _without_data(node: Node, parts: Mapping[str, Node]) -> dict[str, Any]:
    """`alert` needs how old is too old; `resolve` is for what is only told when it is bad."""
    if parts["without_data"].word(("alert", "resolve")) == "resolve":
        for key in ("stale_after", "forget_after"):
            if key in parts:
                raise parts[key].refused(f"{key} goes with `without_data: alert` only")
        return {"stale_after": None}
    if "stale_after" not in parts:
        raise node.refused("`without_data: alert` needs stale_after: how old its input may be")
    keys = ("stale_after", "forget_after")
    return {key: parts[key].duration() for key in keys if key in parts}


def _runbook(node: Node, folder: Path) -> str:
    """A URL, or a file below the folder, which must be there."""
    named = node.text()
    if not named.startswith(("https://", "http://")) and not (folder / named).is_file():
        raise node.refused("runbook must be a URL or a file that is there, beside the rules")
    return named


def _summary(node: Node) -> str:
    text = node.text()
    if "{{" in _TEMPLATE.sub("", text):
        raise node.refused(
            "summary may hold {{ $labels.NAME }}, {{ $value }} and "
            "{{ $value | humanizePercentage }} only"
        )
    return text


def _labels(node: Node) -> dict[str, str]:
    found = node.labels()
    for name, entry in node.entries().items():
        if not is_label_name(name) or name in ("alertname", "severity"):
            raise entry.refused(f"{name} cannot be a label of a rule")
    return found


def _at_least(node: Node, least: float) -> float:
    found = node.number()
    if found < least:
        raise node.refused(f"must be {least} or more")
    return found


def _placed(node: Node, read: Callable[[str], Read]) -> Read:
    """What is read from the text, or its refusal with file and line."""
    try:
        return read(node.text())
    except SettingsError as error:
        raise node.refused(str(error)) from None
