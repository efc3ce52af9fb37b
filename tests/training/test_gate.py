"""The gate: each criterion decides alone, is stored with value and limit, and says so."""

import pytest

from clinical_lakehouse.training.gate import Evidence, Limits, decide

LIMITS = Limits(100, 0.65, 0.02, 0.35, (0.5, 1.8), "auroc", 0.1, 0.05)


def _figures(**changed):
    values = {"auroc": 0.8, "auroc_gain": 0.1, "calibration_slope": 1.0, **changed}
    values = {"people_with_event": 120.0, "people_without_event": 900.0, **values}
    values = {"risk_instability": 0.04, **values}
    gap = values.pop("gap", 0.1)
    rows = [{"metric": m, "group_name": "all", "value": v} for m, v in values.items()]
    return [*rows, {"metric": "true_positive_rate_gap", "group_name": "sex", "value": gap}]


def _compared(champion=None, **changed):
    gains = {"treat_all": 0.05, "treat_none": 0.04, **changed}
    rows = [
        {"compared_with": other, "metric": "net_benefit", "difference": gain}
        for other, gain in gains.items()
    ]
    if champion is not None:
        rows.append({"compared_with": "champion", "metric": "auroc", "difference": champion})
    return Evidence(rows, [{"verdict": "alike"}])


def test_a_model_within_every_limit_passes_with_one_sentence_per_criterion():
    verdict = decide(_figures(), _compared(champion=-0.02), LIMITS)
    assert verdict.is_passed and verdict.state == "passed"
    assert verdict.reason.count("Passed: ") == len(verdict.criteria) == 11
    found = {one.criterion: one for one in verdict.criteria}
    slope = found["calibration_slope"]
    assert (slope.value, slope.at_least, slope.at_most) == (1.0, 0.5, 1.8)
    assert found["drop_from_champion"].value == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"auroc": 0.649}, "Failed: AUROC is 0.649, wanted at least 0.65."),
        ({"auroc_gain": 0.01}, "Failed: Gain over the baseline is 0.010, wanted at least 0.02."),
        ({"calibration_slope": 0.4}, "Failed: Calibration slope is 0.400"),
        ({"calibration_slope": 1.9}, "Failed: Calibration slope is 1.900"),
        ({"gap": 0.4}, "Failed: True positive rates differ by 0.400 between groups by sex"),
        ({"risk_instability": 0.11}, "Failed: A person's risk moves by 0.110"),
        ({"auroc": None}, "Failed: AUROC cannot be computed"),
    ],
)
def test_one_broken_criterion_fails_the_gate_and_is_named(changed, said):
    verdict = decide(_figures(**changed), _compared(), LIMITS)
    assert not verdict.is_passed and verdict.state == "failed"
    assert said in verdict.reason
    assert verdict.reason.count("Failed: ") == 1


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (_compared(treat_all=-0.001), "Failed: Net benefit over acting on everybody is -0.001"),
        (_compared(treat_none=-0.001), "Failed: Net benefit over acting on nobody is -0.001"),
        (_compared(champion=-0.051), "Failed: auroc is 0.051 below the champion's, allowed 0.05."),
    ],
)
def test_a_model_not_worth_using_or_worse_than_the_champion_fails(compared, said):
    verdict = decide(_figures(), compared, LIMITS)
    assert said in verdict.reason and verdict.state == "failed"


@pytest.mark.parametrize("side", ["people_with_event", "people_without_event"])
def test_too_few_people_are_never_a_pass(side):
    verdict = decide(_figures(**{side: 99.0}), _compared(), LIMITS)
    assert verdict.state == "indeterminate" and not verdict.is_passed
    assert "Indeterminate: " in verdict.reason and "wanted at least 100 of each." in verdict.reason
    assert decide(_figures(**{side: 99.0}, auroc=0.5), _compared(), LIMITS).state == "failed"


def test_a_smaller_limit_says_that_figures_are_not_precise_yet():
    limits = Limits(20, *list(vars(LIMITS).values())[1:])
    verdict = decide(_figures(people_with_event=31.0), _compared(), limits)
    assert verdict.is_passed
    assert verdict.reason.startswith(
        "Passed: 31 people with the outcome and 900 without, wanted at least 20 of each; "
        "figures are precise from 100 on."
    )


def test_few_people_are_not_counted_in_the_open():
    said = decide(_figures(people_with_event=7.0), _compared(), LIMITS).reason
    assert "fewer than 11 people with the outcome" in said and "7 people" not in said


def test_what_cannot_be_judged_does_not_fail():
    verdict = decide(_figures(gap=None), _compared(), LIMITS)
    assert verdict.is_passed
    assert "Not judged: fewer than two groups by sex are large enough." in verdict.reason
    assert "Not judged: there is no champion to compare auroc with." in verdict.reason


def test_without_figures_nothing_passes():
    assert not decide([], Evidence(), LIMITS).is_passed


def test_a_harmed_group_fails_the_gate_and_is_named():
    row = {"attribute": "race", "group_value": "Asian", "metric": "observed_expected"}
    harm = Evidence(_compared().compared, [{**row, "verdict": "harm"}, {"verdict": "alike"}])
    verdict = decide(_figures(), harm, LIMITS)
    assert verdict.state == "failed" and "harm beyond what risks explain to race Asian" in (
        verdict.reason
    )
    few = Evidence(_compared().compared, [{"verdict": "too few"}])
    assert decide(_figures(), few, LIMITS).is_passed


def test_a_leak_fails_the_gate_and_is_named():
    leak = {"kind": "site code", "feature": "weight_latest"}
    verdict = decide(_figures(), Evidence(_compared().compared, leaks=[leak]), LIMITS)
    assert verdict.state == "failed"
    assert "Failed: inputs leak: weight_latest (site code)." in verdict.reason
