"""Figures of a model as a decision, against published examples and independent counts."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve
from statsmodels.stats import contingency_tables

from clinical_lakehouse.methods.decision_curve import net_benefit
from clinical_lakehouse.methods.decisions import (
    at_specificity,
    clustered_mcnemar,
    flagged_at,
    is_determinate,
    mcnemar,
    net_benefit_difference,
)


@pytest.fixture(scope="module")
def scored():
    """2,000 people, a fifth with the event, scores that tell something and come twice."""
    draws = np.random.default_rng(3)
    events = draws.random(2000) < 0.2
    return events, np.round(draws.normal(events * 1.2, 1), 2)


def test_mcnemar_gives_the_published_p_values():
    """Airway hyper-responsiveness before and after transplantation (Bentur et al. 2009), table 1 of
    Fagerland, Lydersen and Laake, BMC Medical Research Methodology 2013;13:91: 1 and 7 discordant
    pairs, exact p 0.0703, mid-p 0.0391."""
    pairs = [(1, 1)] * 1 + [(1, 0)] * 1 + [(0, 1)] * 7 + [(0, 0)] * 12
    found = mcnemar(*zip(*pairs, strict=True))
    assert (found.only_first_right, found.only_second_right) == (1, 7)
    assert found.exact_p == pytest.approx(0.0703, abs=5e-5)
    assert found.mid_p == pytest.approx(0.0391, abs=5e-5)
    same = mcnemar([1, 0], [1, 0])
    assert (same.exact_p, same.mid_p) == (1, 1)


def test_a_threshold_counts_as_scikit_learn_does(scored):
    events, scores = scored
    found = flagged_at(events, scores, 1.0)
    quiet, false, missed, hits = confusion_matrix(events, scores >= 1.0).ravel()
    assert found.sensitivity.value == hits / (hits + missed)
    assert found.specificity.value == quiet / (quiet + false)
    assert found.positive_predictive_value.value == hits / (hits + false)
    assert found.number_needed_to_evaluate == (hits + false) / hits


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95])
def test_sensitivity_at_a_specificity_is_the_best_on_the_roc_curve(scored, wanted):
    events, scores = scored
    false, true, _ = roc_curve(events, scores, drop_intermediate=False)
    found = at_specificity(events, scores, wanted)
    assert found.specificity.value >= wanted
    assert found.sensitivity.value == pytest.approx(true[1 - false >= wanted].max())


def test_without_both_classes_there_is_no_such_threshold():
    assert at_specificity([1, 1], [0.1, 0.2], 0.9) is None
    assert at_specificity([1, 0], [0.5, 0.5], 0.9) is None, "the one score flags everybody"
    assert flagged_at([0, 0], [0.1, 0.2], 0.5).number_needed_to_evaluate is None


def test_mcnemar_for_repeated_rows_is_mcnemars_where_there_are_none(scored):
    """Uncorrected McNemar: (b - c)^2 / (b + c) on one degree of freedom, from statsmodels."""
    events, scores = scored
    first, second = (scores >= 1.0) == events, (scores >= 0.4) == events
    table = [[(first & second).sum(), (first & ~second).sum()],
             [(~first & second).sum(), (~first & ~second).sum()]]  # fmt: skip
    theirs = contingency_tables.mcnemar(table, exact=False, correction=False).pvalue
    assert clustered_mcnemar(first, second, np.arange(first.size)) == pytest.approx(theirs)
    assert clustered_mcnemar(first, first, np.arange(first.size)) == 1


def test_mcnemar_for_repeated_rows_errs_as_often_as_it_says():
    """60 subjects of 6 rows that agree, two equally good classifiers: about one in twenty p values
    lies below 0.05; the test that takes rows for people errs in more than a quarter."""
    draws, whole, rows = np.random.default_rng(6), 0, 0
    people = np.repeat(np.arange(60), 6)
    for _ in range(400):
        first, second = (np.repeat(draws.random(60) < 0.7, 6) for _ in range(2))
        whole += clustered_mcnemar(first, second, people) < 0.05
        rows += mcnemar(first, second).mid_p < 0.05
    assert 8 <= whole <= 34 and rows > 100


def test_net_benefit_difference_is_that_of_two_curves_and_its_interval_covers(scored):
    """The estimate is the difference of `net_benefit`; over 200 samples the 95% interval covers the
    value of a population of 200,000 in 90 to 99%."""
    draws = np.random.default_rng(5)

    def sample(size):
        events = draws.random(size) < 0.2
        return events, *(1 / (1 + np.exp(1.4 - draws.normal(events * d, 1))) for d in (1.5, 0.7))

    events, first, second = sample(200_000)
    truth = net_benefit(events, first, 0.2) - net_benefit(events, second, 0.2)
    whole = net_benefit_difference(events, first, second, 0.2, draws=2)
    assert whole.value == pytest.approx(truth)
    covered = 0
    for seed in range(200):
        found = net_benefit_difference(*sample(500), 0.2, draws=200, seed=seed)
        covered += found.low <= truth <= found.high
    assert 180 <= covered <= 198


def test_rows_of_one_subject_widen_the_interval(scored):
    events, scores = scored
    once = net_benefit_difference(events, scores, -scores, 0.3)
    five = [np.repeat(one, 5) for one in (events, scores, -scores)]
    subjects = np.repeat(np.arange(events.size), 5)
    alone = net_benefit_difference(*five, 0.3)
    clustered = net_benefit_difference(*five, 0.3, subjects)
    width = once.high - once.low
    assert clustered.high - clustered.low == pytest.approx(width, rel=0.1)
    assert alone.high - alone.low < 0.6 * width


def test_too_few_of_either_class_cannot_be_judged():
    assert not is_determinate([1] * 99 + [0] * 500)
    many = [1] * 500 + [0] * 500
    assert not is_determinate(many, [*range(50)] * 10 + [*range(100, 600)]), "50 people, 500 rows"
    assert not is_determinate([0] * 99 + [1] * 500)
    assert is_determinate([1] * 100 + [0] * 100)
