"""What else is asked of a fitted model: planted leaks, an odd site, and refits."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from clinical_lakehouse.training.leakage import leaks
from clinical_lakehouse.training.site_validation import leave_site_out
from clinical_lakehouse.training.stability import stability

NAMES = ["age_years", "phq9_baseline", "hba1c_baseline", "weight_latest"]


def _rows(people=900, sites=9, seed=1) -> pd.DataFrame:
    """Two weekly rows a person, the risk a line in age and PHQ-9; the first date is trained on."""
    draws = np.random.default_rng(seed)
    x = {name: draws.normal(0, 1, people) for name in NAMES}
    event = draws.random(people) < 1 / (1 + np.exp(1.4 - x["age_years"] - 0.7 * x["phq9_baseline"]))
    made = pd.DataFrame(
        {
            "subject_key": np.arange(people),
            "research_subject_key": np.arange(people),
            "organization_key": draws.integers(1, sites + 1, people),
            "index_date": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(np.sort(draws.integers(0, 300, people)), "D"),
            "is_event": event,
            **x,
        }
    )
    later = made.assign(index_date=made["index_date"] + pd.Timedelta(days=400))
    return pd.concat([made.assign(is_test=False), later.assign(is_test=True)], ignore_index=True)


def _fit(rows, names=NAMES):
    train = rows[~rows["is_test"]]
    return LogisticRegression().fit(train[names], train["is_event"])


@pytest.fixture(scope="module")
def rows():
    return _rows()


def test_without_a_leak_none_is_named(rows):
    assert leaks(rows, NAMES) == []


@pytest.mark.parametrize(
    "kind",
    ["future value", "ordered id", "site code", "duplicated subject", "derived from the outcome"],
)
def test_each_planted_leak_is_named(rows, kind):
    spoiled, draws = rows.copy(), np.random.default_rng(4)
    event = spoiled["is_event"].to_numpy(float)
    if kind == "future value":  # a lab of after the event, which falls with it
        spoiled["weight_latest"] = draws.normal(-2.6 * event, 1)
    elif kind == "derived from the outcome":
        spoiled["weight_latest"] = 3 * event + draws.random(len(event))
    elif kind == "ordered id":
        spoiled["weight_latest"] = 10_000.0 + spoiled["subject_key"]
    elif kind == "site code":
        spoiled["weight_latest"] = 100.0 + 7 * spoiled["organization_key"]
    else:
        twin = spoiled[spoiled["subject_key"] == 5].assign(subject_key=-5)
        spoiled = pd.concat([spoiled, twin], ignore_index=True)
    found = leaks(spoiled, NAMES)
    assert [one.kind for one in found] == [kind]
    assert found[0].feature == ("*" if kind == "duplicated subject" else "weight_latest")
    assert found[0].value > found[0].limit


def test_a_site_that_is_odd_is_named_and_no_other(rows):
    plain = leave_site_out(rows, _fit(rows), NAMES)
    assert not any(one.is_named for one in plain)
    spoiled = rows.copy()
    bad = (spoiled["organization_key"] == 4).to_numpy()
    draws = np.random.default_rng(3)
    outcome = dict(enumerate(draws.random(900) < 0.6))  # its outcomes are somebody else's
    spoiled.loc[bad, "is_event"] = spoiled.loc[bad, "subject_key"].map(outcome)
    found = leave_site_out(spoiled, _fit(spoiled), NAMES)
    assert {one.organization_key for one in found if one.is_named} == {4}


def test_a_site_is_scored_by_a_model_that_never_saw_it_and_pooled_with_a_wider_interval(rows):
    found = leave_site_out(rows, _fit(rows), NAMES)
    train, test = rows[~rows["is_test"]], rows[rows["is_test"]]
    others = train[train["organization_key"] != 2]
    own = test[test["organization_key"] == 2]
    expected = LogisticRegression().fit(
        others[NAMES], others["is_event"], np.full(len(others), 1.0)
    )
    ratio = own["is_event"].sum() / expected.predict_proba(own[NAMES])[:, 1].sum()
    site = next(f for f in found if f.organization_key == 2 and f.measure == "observed_expected")
    assert site.value == pytest.approx(ratio, rel=1e-6)
    pooled = {one.measure: one for one in found if one.organization_key is None}
    assert set(pooled) == {"auroc", "observed_expected", "calibration_slope"}
    for one in pooled.values():
        assert one.new_site_low <= one.low < one.value < one.high <= one.new_site_high or (
            one.heterogeneity_ratio == 0
        )


def test_refits_move_risks_less_with_more_people():
    few, many = (_rows(people) for people in (60, 900))
    small, large = (stability(rows, _fit(rows), NAMES, 0.25, 30) for rows in (few, many))
    assert small.moved > 2 * large.moved > 0
    assert small.crossed > large.crossed
    assert large.moved <= large.moved_95
    again = stability(many, _fit(many), NAMES, 0.25, 30)
    assert again == large


def test_nothing_held_out_has_no_stability(rows):
    assert stability(rows[~rows["is_test"]], _fit(rows), NAMES, 0.25, 3) is None


def test_one_refit_by_hand(rows):
    """The same draw of people, fitted and held against the model: who moves, who changes sides."""
    model, train, test = _fit(rows), rows[~rows["is_test"]], rows[rows["is_test"]]
    drawn = np.random.default_rng(0).integers(900, size=900)
    sample = train.set_index("subject_key").loc[drawn].reset_index()
    weight = np.full(900, sample["subject_key"].nunique() / 900)
    other = LogisticRegression().fit(sample[NAMES], sample["is_event"], weight)
    before, after = (one.predict_proba(test[NAMES])[:, 1] for one in (model, other))
    found = stability(rows, model, NAMES, 0.25, 1)
    assert found.moved == pytest.approx(np.abs(after - before).mean(), rel=1e-6)
    assert found.crossed == pytest.approx(((after >= 0.25) != (before >= 0.25)).mean()) and (
        found.crossed > 0
    )
