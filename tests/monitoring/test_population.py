"""New people by month: the month that moved is over its limit, the others are not."""

from datetime import date

import numpy as np
import pandas as pd

from clinical_lakehouse.monitoring.findings import Known, drifts
from clinical_lakehouse.monitoring.population import Judgement, monthly

JUDGEMENT = Judgement(0.2, 0.99, 0)
TRAINED_UNTIL, AS_OF = date(2024, 7, 1), date(2024, 10, 1)


def _people(moved_month=None, per_month=40, seed=1, years=14.0):
    draws = np.random.default_rng(seed)
    days = [
        pd.Timestamp(2024, month, 1 + n % 28) for month in range(1, 10) for n in range(per_month)
    ]
    moved = np.array([day.month == moved_month for day in days])
    age = draws.normal(60, 10, len(days)) + years * moved
    return pd.DataFrame(
        {
            "enrolled_date": [day.date() for day in days],
            "age_years": age,
            "phq9_baseline": draws.normal(8, 5, len(days)),
            "hba1c_baseline": np.nan,
            "score": 1 / (1 + np.exp(-(age - 75) / 8)),
        }
    )


def _over(people, as_of=AS_OF, judgement=JUDGEMENT):
    rows = monthly(people, TRAINED_UNTIL, as_of, judgement)
    return {(r["metric"], r["window_start_date"].month) for r in rows if r["is_over_limit"]}


def test_a_moved_month_is_named_with_what_moved_and_no_other_month_is():
    assert _over(_people(8)) == {
        ("input_distance", 8),
        ("input_psi_age_years", 8),
        ("prediction_psi", 8),
    }


def test_months_alike_are_over_in_at_most_one_of_twenty_trials_of_nine_months():
    alarmed = sum(bool(_over(_people(seed=seed))) for seed in range(20))
    assert alarmed <= 1


def test_a_small_move_is_not_over_even_when_it_is_beyond_chance():
    rows = monthly(_people(8, per_month=2000, years=4), TRAINED_UNTIL, AS_OF, JUDGEMENT)
    august = [r for r in rows if r["window_start_date"].month == 8]
    assert max(r["value"] for r in august if r["metric"] == "input_distance") > 0.1
    assert not any(r["is_over_limit"] for r in august)


def test_a_prediction_that_moves_without_its_inputs_is_over():
    people = _people()
    august = [day.month == 8 for day in people.enrolled_date]
    people.loc[august, "score"] = people.loc[august, "score"].to_numpy() ** 0.3
    assert _over(people) == {("prediction_psi", 8)}


def test_a_month_is_judged_only_when_all_its_people_are_certainly_recorded():
    assert max(month for _, month in _over(_people(8), date(2024, 9, 1))) == 8
    assert _over(_people(8), date(2024, 8, 31)) == set()
    shifted = Judgement(0.2, 0.99, 30)
    assert _over(_people(8), date(2024, 9, 30), shifted) == set()
    assert ("input_distance", 8) in _over(_people(8), date(2024, 10, 1), shifted)


def test_months_of_few_people_have_no_row():
    assert monthly(_people(per_month=9), TRAINED_UNTIL, AS_OF, JUDGEMENT) == []
    assert monthly(_people().head(0), TRAINED_UNTIL, AS_OF, JUDGEMENT) == []


def test_a_month_before_the_end_of_training_is_not_compared_with_itself():
    (over,) = {month for _, month in _over(_people(3))}
    assert over == 3


def _metric(metric, end, value, is_over):
    return {
        "metric": metric,
        "window_start_date": date(2024, 8, 1),
        "window_end_date": end,
        "value": value,
        "low": None,
        "high": None,
        "reference": 0.3,
        "is_over_limit": is_over,
        "is_changed": None,
    }


def test_one_alert_per_metric_speaks_of_its_first_window_over_the_limit():
    first, second = date(2024, 9, 1), date(2024, 10, 1)
    rows = [
        _metric("prediction_psi", second, 0.9, True),
        _metric("prediction_psi", first, 0.5, True),
        _metric("input_distance", first, 0.1, False),
    ]
    (found,) = drifts(rows, Known([], [], "", 30))
    assert (found.kind, found.value, found.last_day.date()) == (
        "prediction_drift",
        0.5,
        date(2024, 8, 31),
    )
    assert "Dates are shifted by up to 30 days." in found.message
    assert "shifted" not in drifts(rows, Known([], [], "", 0))[0].message
