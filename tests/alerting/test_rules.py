"""Rules: refused at load when they cannot be trusted, and judged as promtool judges them."""

import random
import subprocess
from pathlib import Path

import pytest
import yaml

from clinical_lakehouse.alerting.rules.expressions import Measure, parse_measure
from clinical_lakehouse.alerting.rules.rule import number, read_rules
from clinical_lakehouse.alerting.rules.rule_tests import (
    read_checked_rules,
    read_tests,
    run_tests,
)
from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables.conf import conf_dir

from . import real_alertmanager

RULES = conf_dir() / "alerting" / "rules"
LIMITS = load_settings("dev", environ={}).limits.model_dump()
GOOD = {
    "alert": "quality_score_low",
    "expr": "last_over_time(quality_score[26h])",
    "below": "quality_score_min",
    "hysteresis": 0.005,
    "min_count": 1,
    "without_data": "alert",
    "stale_after": "26h",
    "severity": "warning",
    "summary": "low",
    "runbook": "https://example.org/runbook",
}
FIRES = {"eval_time": "5m", "alertname": "quality_score_low", "exp_alerts": [{}]}
SILENT = {**FIRES, "exp_alerts": []}


def write(folder: Path, rule: dict, *tests: dict, **more) -> Path:
    (folder / "x.yml").write_text(yaml.safe_dump({"rules": [rule]}, sort_keys=False))
    text = {"rule_files": ["x.yml"], "tests": [{"alert_rule_test": list(tests), **more}]}
    (folder / "x_test.yml").write_text(yaml.safe_dump(text, sort_keys=False))
    return folder


def test_shipped_rules_hold_the_missions_limits_and_their_tests_pass():
    rules = {rule.name: rule for rule in read_checked_rules(RULES, LIMITS)}
    assert {name: (rule.is_above, rule.limit) for name, rule in rules.items()} == {
        "quality_score_low": (False, 0.95),
        "accuracy_drop": (True, 0.05),
        "drift_high": (True, 0.2),
        "pipeline_failure_rate_high": (True, 0.01),
        "resource_use_high": (True, 0.8),
    }
    assert run_tests(RULES, LIMITS) == []


def test_failing_test_is_told_with_file_line_and_difference(tmp_path):
    write(tmp_path, GOOD, FIRES)
    (fault,) = run_tests(tmp_path, LIMITS)
    assert fault.startswith("x_test.yml:5: quality_score_low expected ")
    assert fault.endswith("but got no alert")


REFUSED = [
    ({"expr": None}, "x.yml:2: an item of rules needs expr"),
    ({"owner": "me"}, "x.yml:12: owner is not supported here; known are alert, "),
    ({"runbook": None}, "x.yml:2: rule quality_score_low needs a runbook"),
    ({"runbook": "runbooks/none.md"}, "x.yml:11: runbook must be a URL or a file that is there"),
    ({"below": 0.95}, "x.yml:4: below must be a limit's name: one of accuracy_drop_max, "),
    ({"below": None}, "x.yml:2: a rule needs either above or below"),
    ({"above": "drift_max"}, "x.yml:2: a rule needs either above or below"),
    ({"severity": "bad"}, "x.yml:9: severity must be one of info, warning, critical"),
    ({"min_count": 0}, "x.yml:6: must be 1 or more"),
    ({"hysteresis": -1}, "x.yml:5: must be 0 or more"),
    ({"for": "soon"}, "x.yml:12: for must be a duration such as"),
    ({"stale_after": None}, "x.yml:2: `without_data: alert` needs stale_after"),
    ({"without_data": "resolve"}, "x.yml:8: stale_after goes with `without_data: alert` only"),
    ({"without_data": "ok"}, "x.yml:7: without_data must be one of alert, resolve"),
    ({"labels": {"severity": "x"}}, "x.yml:13: severity cannot be a label of a rule"),
    ({"summary": "{{ $labels.a | b }}"}, "x.yml:10: summary may hold"),
    ({"expr": "rate(x[5m])"}, "x.yml:3: expression 'rate"),
    ({"expr": 'last_over_time(x{a=~"("}[5m])'}, "x.yml:3: regular expression '\\(' is refused"),
    ({"alert": "a b"}, "x.yml:2: a rule's name must be letters"),
]


@pytest.mark.parametrize(("changed", "said"), REFUSED)
def test_rule_that_is_wrong_is_refused_with_file_and_line(tmp_path, changed, said):
    rule = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    write(tmp_path, rule, FIRES, SILENT)
    with pytest.raises(SettingsError, match=said):
        read_checked_rules(tmp_path, LIMITS)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ((), "x.yml:2: rule quality_score_low needs a test .* expects it to fire"),
        ((SILENT,), "expects it to fire"),
        ((FIRES,), r"expects it to not fire \(exp_alerts: \[\]\)"),
    ],
)
def test_rule_without_a_test_that_sees_both_is_refused(tmp_path, tests, said):
    with pytest.raises(SettingsError, match=said):
        read_checked_rules(write(tmp_path, GOOD, *tests), LIMITS)


def test_rule_that_stands_twice_is_refused(tmp_path):
    write(tmp_path, GOOD, FIRES, SILENT)
    (tmp_path / "y.yml").write_text(yaml.safe_dump({"rules": [GOOD]}))
    with pytest.raises(SettingsError, match="stands in x.yml:2 already"):
        read_rules(tmp_path, LIMITS)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"promql_expr_test": []}, ": promql_expr_test is not supported here"),
        ({"input_series": [{"series": "x", "values": "1+ax3"}]}, "values hold '1\\+ax3'"),
        ({"input_series": [{"series": "1x", "values": "1"}]}, "must be a name"),
        ({"input_series": [{"series": 'x{a!="b"}', "values": "1"}]}, "use = only"),
    ],
)
def test_what_a_test_cannot_say_is_refused_by_name(tmp_path, more, said):
    write(tmp_path, GOOD, FIRES, **more)
    with pytest.raises(SettingsError, match=said):
        list(read_tests(tmp_path))


def test_expression_is_what_it_was_read_from():
    for text in (
        'max by (site, team) (avg_over_time(x{a=~"b|c",d!="e"}[1h30m]))',
        "last_over_time(quality_score[1d2h])",
    ):
        assert str(parse_measure(text)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.93, "0.93"), (1 / 3, "0.3333333333333333"), (-2.5, "-2.5")]
)
def test_number_in_a_summary_is_written_as_prometheus_does(value, text):
    assert number(value) == text


# Below: random rules and series, judged by us and by promtool. Windows do not end on a sample, for
# the installed Prometheus 2 counts a value at the window's start and Prometheus 3 does not.


def _values(rng: random.Random) -> str:
    return " ".join(
        rng.choice(("_", "_x2", "0", "1", "4", "2x2", "8-2x3", "0+1x3")) for _ in "12345"
    )


def _scene(rng: random.Random, folder: Path) -> dict:
    """A random rule of ours, its twin for Prometheus, series, and what we say of them."""
    function, window = rng.choice(("last", "avg", "min", "max", "sum", "count")), "2m30s"
    selector = rng.choice(("x", 'x{site="a"}', 'x{site=~"a|b"}', 'x{team!="t"}'))
    expr = f"{function}_over_time({selector}[{window}])"
    if rng.random() < 0.6:
        by = rng.choice(("", "site", "site, team"))
        aggregate = rng.choice(("avg", "min", "max", "sum", "count"))
        expr = f"{aggregate} by ({by}) ({expr})"
    side = rng.choice(("above", "below"))
    wait = rng.choice(("0s", "2m"))
    ours = {**GOOD, "expr": expr, side: "limit", "hysteresis": 0, "for": wait}
    ours |= {"without_data": "resolve", "labels": {"owner": "u"} if rng.random() < 0.3 else {}}
    shown = "$value | humanizePercentage" if "avg" in expr else "$value"  # rounded, for 1/3 is not
    ours["summary"] = "{{ $labels.site }} is {{ " + shown + " }}"
    for key in ("stale_after", "above" if side == "below" else "below"):
        ours.pop(key, None)
    sign = ">" if side == "above" else "<"
    theirs = {
        "alert": ours["alert"],
        "expr": f"{expr} {sign} 2",
        "for": wait,
        "labels": {**ours["labels"], "severity": ours["severity"]},
        "annotations": {"summary": ours["summary"], "runbook_url": ours["runbook"]},
    }
    series = [
        {"series": f'x{{site="{site}",team="{team}"}}', "values": _values(rng)}
        for site in "ab"
        for team in ("t", "v")
        if rng.random() < 0.8
    ]
    return {"ours": ours, "theirs": theirs, "series": series}


def _with_our_answers(scene: dict, folder: Path) -> dict:
    """The scene as a test whose expectations are what our evaluation finds."""
    from clinical_lakehouse.alerting.rules import rule_tests

    asked = [{"eval_time": f"{m}m", "alertname": GOOD["alert"]} for m in range(0, 16, 3)]
    write(folder, scene["ours"], *asked, input_series=scene["series"], interval="1m")
    rules, (test,) = read_rules(folder, {"limit": 2.0}), read_tests(folder)
    for question, expected in zip(asked, test.expectations, strict=True):
        evaluation = rule_tests._evaluated(test, rules, expected.after)
        found = rule_tests.firing(evaluation, rules[0])
        question["exp_alerts"] = [
            {"exp_labels": dict(labels), "exp_annotations": dict(notes)} for labels, notes in found
        ]
    return {"interval": "1m", "input_series": scene["series"], "alert_rule_test": asked}


def check_against_promtool(folder: Path, seeds: range) -> int:
    """How many alerts we and promtool agree on."""
    promtool, alerts, files = real_alertmanager.tool("promtool", "prometheus"), 0, []
    for seed in seeds:
        scene = _scene(random.Random(seed), folder)
        test = _with_our_answers(scene, folder)
        alerts += sum(len(one["exp_alerts"]) for one in test["alert_rule_test"])
        rules = {"groups": [{"name": "g", "rules": [scene["theirs"]]}]}
        (folder / f"their_{seed}.rules").write_text(yaml.safe_dump(rules))
        text = {"rule_files": [f"their_{seed}.rules"], "evaluation_interval": "1m"}
        files.append(folder / f"their_{seed}.test")
        files[-1].write_text(yaml.safe_dump({**text, "tests": [test]}))
    command = [promtool, "test", "rules", *map(str, files)]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    return alerts


def test_our_judgement_of_random_rules_is_promtools(tmp_path):
    assert check_against_promtool(tmp_path, range(40)) > 100


@pytest.mark.soak
def test_our_judgement_of_many_random_rules_is_promtools(tmp_path):
    assert check_against_promtool(tmp_path, range(1000, 2000)) > 2000


def test_selectors_and_windows_are_what_the_measure_says():
    measure = parse_measure("sum by () (count_over_time(x[5m]))")
    assert isinstance(measure, Measure)
    assert (measure.aggregate, measure.by, measure.function) == ("sum", (), "count")
