"""Mitigation against fairlearn and by hand; one that helps nobody is refused."""

import numpy as np
import pytest
from fairlearn.metrics import equal_opportunity_difference

from clinical_lakehouse.methods.fairness_mitigation import (
    HELPS,
    NO_GAIN,
    REFUSED,
    Mitigation,
    costs,
    group_thresholds,
    reweighing,
)


def test_reweighing_is_the_worked_example_of_its_authors():
    """Kamiran and Calders, Knowledge and Information Systems 2012;33:1, table 1, section 3.2: ten
    applicants; a rejected woman weighs 0.67, an accepted one 1.5, a rejected man 2, an accepted
    one 0.75 (four of five men and two of five women are accepted)."""
    sex = ["m"] * 5 + ["f"] * 5
    accepted = [1, 1, 1, 1, 0] + [1, 1, 0, 0, 0]
    weights = reweighing(sex, accepted)
    assert weights[0] == pytest.approx(0.75) and weights[4] == pytest.approx(2.0)
    assert weights[5] == pytest.approx(1.5) and weights[9] == pytest.approx(0.67, abs=0.004)
    assert weights.mean() == pytest.approx(1)


@pytest.fixture(scope="module")
def biased():
    """2,000 people; in group b half of those with the outcome are scored as if they had none."""
    draws = np.random.default_rng(2)
    group = np.where(draws.random(2000) < 0.5, "a", "b")
    events = draws.random(2000) < 0.3
    seen = events & ((group == "a") | (draws.random(2000) < 0.5))
    scores = 1 / (1 + np.exp(1.5 - draws.normal(2 * seen, 1)))
    return group, events, scores


def test_group_thresholds_give_equal_opportunity_and_help(biased):
    group, events, scores = biased
    limits = group_thresholds(group, events, scores, 0.3)
    flags = scores >= np.array([limits[one] for one in group])
    before = equal_opportunity_difference(events, scores >= 0.3, sensitive_features=group)
    after = equal_opportunity_difference(events, flags, sensitive_features=group)
    assert before > 0.15 and after < 0.01
    found = costs(Mitigation("group thresholds", "sex", flags), group, events, scores >= 0.3,
                  (np.arange(2000), 0.3))  # fmt: skip
    assert {one.verdict for one in found} == {HELPS}
    b = next(one for one in found if one.group == "b")
    assert b.true_positive_rate_after == pytest.approx(flags[events & (group == "b")].mean())
    assert b.true_positive_rate_after > b.true_positive_rate


def test_a_mitigation_that_lowers_every_groups_net_benefit_is_refused(biased):
    group, events, scores = biased
    nobody = Mitigation("levelling down", "sex", np.zeros(2000, bool))
    before = scores >= 0.3
    found = costs(nobody, group, events, before, (np.arange(2000), 0.3))
    assert {one.verdict for one in found} == {REFUSED}
    assert all(one.net_benefit_after < one.net_benefit for one in found)
    same = costs(Mitigation("none", "sex", before), group, events, before, (np.arange(2000), 0.3))
    assert {one.verdict for one in same} == {NO_GAIN}


def test_groups_below_eleven_people_are_left_out(biased):
    group, events, scores = (one[:200].copy() for one in biased)
    group[:10] = "c"
    found = costs(Mitigation("x", "sex", scores >= 0.4), group, events, scores >= 0.3,
                  (np.arange(200), 0.3))  # fmt: skip
    assert {one.group for one in found} == {"a", "b"}
