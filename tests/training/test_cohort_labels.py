"""Cohort labels: each rule of OHDSI's study population has its own person, worked out by hand."""

from datetime import date, timedelta

import pytest

from clinical_lakehouse.training.attrition import counted, only_labelled
from clinical_lakehouse.training.cohort_labels import Population, label_cohort

INDEX = date(2022, 1, 1)
RULES = Population(risk_start_days=1, risk_end_days=365, washout_days=365, minimum_at_risk_days=364)
# Person -> (observed from, observed to, outcomes), in days from the index date.
PEOPLE = {
    "clean": (-365, 400, []),  # as long observed as the washout asks
    "ill": (-400, 400, [100, 200]),
    "ill on the last day": (-400, 400, [365]),
    "ill too late": (-400, 400, [366]),
    "new": (-364, 400, []),
    "had it": (-400, 400, [-1, 100]),
    "had it on the index date": (-400, 400, [0]),
    "leaves": (-400, 364, []),
    "ill, then leaves": (-400, 50, [20]),
    "leaves at once": (-400, 0, []),
    "elsewhere": (10, 400, []),
}
EXPECTED = {
    "clean": (0, None),
    "ill": (2, None),
    "ill on the last day": (1, None),
    "ill too late": (0, None),
    "new": (0, "washout"),
    "had it": (1, "prior outcome"),
    "had it on the index date": (0, "prior outcome"),
    "leaves": (0, "time at risk"),  # 363 days
    "ill, then leaves": (1, None),
    "leaves at once": (0, "time at risk"),
    "elsewhere": (0, "index date not observed"),
}
NAMES = list(PEOPLE)


def _day(offset):
    return INDEX + timedelta(days=offset)


@pytest.fixture(scope="module")
def labelled(spark):
    """The rows of everybody, one of whom entered twice, under the rules and under few of them."""
    cohort = spark.createDataFrame(
        [(n, INDEX) for n in range(len(NAMES))] + [(0, _day(30))],
        "subject_id BIGINT, cohort_start_date DATE",
    )
    outcomes = spark.createDataFrame(
        [(n, _day(d)) for n, name in enumerate(NAMES) for d in PEOPLE[name][2]],
        "subject_id BIGINT, outcome_date DATE",
    )
    periods = spark.createDataFrame(
        [(n, _day(a), _day(b)) for n, (a, b, _) in enumerate(PEOPLE.values())],
        "person_id BIGINT, observation_period_start_date DATE, observation_period_end_date DATE",
    )
    lax = Population(1, 30, 0, None, 0, first_entry_only=False, keep_outcomes=False)
    strict, free = (label_cohort(cohort, outcomes, periods, r) for r in (RULES, lax))
    return strict.collect(), counted(RULES.steps(), strict), only_labelled(free).collect()


def test_each_rule_drops_who_breaks_it_and_outcomes_in_the_time_at_risk_are_the_label(labelled):
    rows, _, _ = labelled
    first = [r for r in rows if r.cohort_start_date == INDEX]
    assert {NAMES[r.subject_id]: (r.label, r.dropped_by) for r in first} == EXPECTED
    (again,) = [r for r in rows if r.cohort_start_date != INDEX]
    assert again.dropped_by == "not the first entry"
    (ill,) = [r for r in rows if NAMES[r.subject_id] == "ill"]
    assert (ill.outcome_date, ill.risk_start_date, ill.risk_end_date) == (
        _day(100),
        _day(1),
        _day(365),
    )


def test_attrition_adds_up(labelled):
    _, steps, _ = labelled
    assert [(s.name, s.before, s.dropped, s.after) for s in steps] == [
        ("not the first entry", 12, 1, 11),
        ("index date not observed", 11, 1, 10),
        ("washout", 10, 1, 9),
        ("prior outcome", 9, 2, 7),
        ("time at risk", 7, 2, 5),
    ]


def test_rules_that_are_not_asked_for_drop_nobody(labelled):
    _, _, free = labelled
    kept = {NAMES[r.subject_id] for r in free}
    # risk of 30 days: only who leaves at once, or was not observed, is out
    assert kept == set(NAMES) - {"leaves at once", "elsewhere"}
    assert {NAMES[r.subject_id] for r in free if r.label} == {"ill, then leaves"}
    assert len(free) == len(kept) + 1  # who entered twice is asked twice
