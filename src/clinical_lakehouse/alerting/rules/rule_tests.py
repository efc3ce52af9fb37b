"""Rule tests in promtool's format, read as they are and run by our own evaluation."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clinical_lakehouse.alerting.conf_node import Node, read_conf
from clinical_lakehouse.alerting.rules.evaluation import Evaluation, Standings, evaluate
from clinical_lakehouse.alerting.rules.expressions import parse_selector
from clinical_lakehouse.alerting.rules.observations import (
    LabelKey,
    Observation,
    Observations,
    collect,
    label_key,
)
from clinical_lakehouse.alerting.rules.rule import Limits, Rule, read_rules
from clinical_lakehouse.errors import SettingsError

_START = datetime.fromtimestamp(0, UTC)
_MINUTE = timedelta(minutes=1)
_DIGITS = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_VALUE = re.compile(rf"([-+]?{_DIGITS})(?:([-+]{_DIGITS})?x(\d+))?")
_ABSENT = re.compile(r"_(?:x(\d+))?|stale")


@dataclass(frozen=True)
class Expectation:
    """Which alerts of a name fire at a moment: labels (without alertname) and annotations."""

    alertname: str
    after: timedelta
    alerts: tuple[tuple[LabelKey, LabelKey], ...]
    place: str


@dataclass(frozen=True)
class RuleTest:
    """Input series from the epoch on, and what is expected of them."""

    observations: Observations
    expectations: tuple[Expectation, ...]
    rule_files: tuple[str, ...]
    interval: timedelta


def read_checked_rules(folder: Path, limits: Limits) -> tuple[Rule, ...]:
    """The rules of a folder, none without a test that sees it fire and one that sees it not fire.

    Tests stand beside the rules in *_test.yml. SettingsError names file and line.
    """
    rules, seen = read_rules(folder, limits), defaultdict(set)
    for test in read_tests(folder):
        for one in test.expectations:
            seen[one.alertname].add(bool(one.alerts))
    for rule in rules:
        for fires, said in ((True, "fire"), (False, "not fire (exp_alerts: [])")):
            if fires not in seen[rule.name]:
                raise SettingsError(
                    f"{rule.place}: rule {rule.name} needs a test in a *_test.yml beside it that "
                    f"expects it to {said}"
                )
    return rules


def run_tests(folder: Path, limits: Limits) -> list[str]:
    """What the rules' tests find wrong, one line each with file and line; none if all hold."""
    rules, faults = read_rules(folder, limits), []
    for test in read_tests(folder):
        tested = [rule for rule in rules if rule.place.split(":")[0] in test.rule_files]
        faults += [fault for one in test.expectations for fault in _faults(test, one, tested)]
    return faults


def read_tests(folder: Path) -> Iterator[RuleTest]:
    """The tests of every *_test.yml of a folder; an unknown key is refused by name."""
    for path in sorted(folder.glob("*_test.yml")):
        keys = ("rule_files", "evaluation_interval", "tests")
        parts = read_conf(path).mapping(keys, ("rule_files", "tests"))
        files = parts["rule_files"].texts()
        for node in parts["rule_files"].items():
            if not (folder / node.text()).is_file():
                raise node.refused("rule_files names a file that is not beside the test")
        interval = _MINUTE
        if "evaluation_interval" in parts:
            interval = parts["evaluation_interval"].duration()
        for node in parts["tests"].items():
            yield _test(node, files, interval)


def firing(evaluation: Evaluation, rule: Rule) -> list[tuple[LabelKey, LabelKey]]:
    """Labels and annotations of the rule's firing alerts, as promtool compares them."""
    found = []
    for (name, key), standing in evaluation.standings.items():
        if name == rule.name and standing.firing_since is not None:
            labels = {**dict(key), **rule.labels, "severity": rule.severity}
            annotations = rule.annotations(labels, standing.value)
            found.append((label_key(labels), label_key(annotations)))
    return sorted(found)


def _test(node: Node, files: tuple[str, ...], interval: timedelta) -> RuleTest:
    parts = node.mapping(("name", "interval", "input_series", "alert_rule_test"))
    step = parts["interval"].duration() if "interval" in parts else _MINUTE
    observations: list[Observation] = []
    for series in parts["input_series"].items() if "input_series" in parts else ():
        given = series.mapping(("series", "values"), ("series", "values"))
        observations += _series(given["series"], given["values"], step)
    listed = parts["alert_rule_test"].items() if "alert_rule_test" in parts else ()
    expected = tuple(_expectation(one) for one in listed)
    return RuleTest(collect(observations), expected, files, interval)


def _expectation(node: Node) -> Expectation:
    needed = ("eval_time", "alertname")
    parts = node.mapping((*needed, "exp_alerts"), needed)
    alerts = []
    for one in parts["exp_alerts"].items() if "exp_alerts" in parts else ():
        given = one.mapping(("exp_labels", "exp_annotations"))
        labels, annotations = (
            label_key(given[key].labels()) if key in given else ()
            for key in ("exp_labels", "exp_annotations")
        )
        alerts.append((labels, annotations))
    name, after = parts["alertname"].text(), parts["eval_time"].duration()
    return Expectation(name, after, tuple(sorted(alerts)), node.place)


def _series(series: Node, values: Node, step: timedelta) -> Iterator[Observation]:
    try:
        selector = parse_selector(series.text())
    except SettingsError as error:
        raise series.refused(str(error)) from None
    if any(matcher.operator != "=" for matcher in selector.matchers):
        raise series.refused("an input series has labels, not conditions: use = only")
    labels = {matcher.name: matcher.value for matcher in selector.matchers}
    for at, value in enumerate(_expanded(values)):
        if value is not None:
            yield Observation(selector.name, labels, value, _START + at * step)


def _expanded(node: Node) -> Iterator[float | None]:
    """promtool's notation: `1 2`, `0+1x5` (six values), `3x2`, `_` and `_x3` for none, `stale`."""
    for word in str(node.value).split():
        absent, value = _ABSENT.fullmatch(word), _VALUE.fullmatch(word)
        if absent:
            yield from (None for _ in range(int(absent[1] or 1)))
        elif value:
            first, by, times = float(value[1]), float(value[2] or 0), int(value[3] or 0)
            yield from (first + by * at for at in range(times + 1))
        else:
            raise node.refused(f"values hold {word!r}, which promtool would not read")


def _faults(test: RuleTest, expected: Expectation, rules: Sequence[Rule]) -> Iterator[str]:
    named = [rule for rule in rules if rule.name == expected.alertname]
    if not named:
        yield f"{expected.place}: no rule in rule_files is called {expected.alertname}"
        return
    found = firing(_evaluated(test, named, expected.after), named[0])
    if found != list(expected.alerts):
        at = f"{expected.place}: {expected.alertname}"
        yield f"{at} expected {_shown(expected.alerts)} but got {_shown(found)}"


def _evaluated(test: RuleTest, rules: Sequence[Rule], after: timedelta) -> Evaluation:
    """The rules evaluated at every interval from the epoch on, last not after the moment."""
    standings: Standings = {}
    for step in range(after // test.interval + 1):
        at = _START + step * test.interval
        evaluation = evaluate(rules, test.observations, standings, at)
        standings = evaluation.standings
    return evaluation


def _shown(alerts: Sequence[tuple[LabelKey, LabelKey]]) -> str:
    texts = ("; ".join(_pairs(dict(part)) for part in alert if part) for alert in alerts)
    return " and ".join(texts) or "no alert"


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in labels.items())
