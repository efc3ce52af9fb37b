"""The gate: each rule decides alone, and says so."""

import pytest

from clinical_lakehouse.training.gate import Limits, decide

LIMITS = Limits(0.65, 0.02, 0.35, (0.5, 1.8))


def _figures(**changed):
    values = {"auroc": 0.8, "auroc_gain": 0.1, "calibration_slope": 1.0, **changed}
    gap = values.pop("gap", 0.1)
    rows = [{"metric": m, "group_name": "all", "value": v} for m, v in values.items()]
    return [*rows, {"metric": "true_positive_rate_gap", "group_name": "sex", "value": gap}]


def test_a_model_within_every_limit_passes_with_one_sentence_per_rule():
    verdict = decide(_figures(), LIMITS)
    assert verdict.is_passed
    assert verdict.reason.count("Passed: ") == 4


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"auroc": 0.649}, "Failed: AUROC is 0.649, wanted at least 0.65."),
        ({"auroc_gain": 0.01}, "Failed: Gain over the baseline is 0.010, wanted at least 0.02."),
        ({"calibration_slope": 0.4}, "Failed: Calibration slope is 0.400"),
        ({"calibration_slope": 1.9}, "Failed: Calibration slope is 1.900"),
        ({"gap": 0.4}, "Failed: True positive rates differ by 0.400 between groups by sex"),
        ({"auroc": None}, "Failed: AUROC cannot be computed"),
    ],
)
def test_one_broken_rule_fails_the_gate_and_is_named(changed, said):
    verdict = decide(_figures(**changed), LIMITS)
    assert not verdict.is_passed
    assert said in verdict.reason
    assert verdict.reason.count("Failed: ") == 1


def test_a_gap_that_cannot_be_judged_does_not_fail():
    verdict = decide(_figures(gap=None), LIMITS)
    assert verdict.is_passed
    assert "Not judged: fewer than two groups by sex are large enough." in verdict.reason


def test_without_figures_nothing_passes():
    assert not decide([], LIMITS).is_passed
