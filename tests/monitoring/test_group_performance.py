"""Who fares how: figures by hand, small groups without any, a site that is off is named."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from clinical_lakehouse.methods.change_plan import read_change_plan
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring.findings import Known, allowed_by, drifts, group_drifts
from clinical_lakehouse.monitoring.group_performance import group_rows, whom, with_groups
from clinical_lakehouse.monitoring.intervention import Acted
from clinical_lakehouse.monitoring.performance import (
    WATCHED,
    AccuracyLimit,
    Reading,
    judged,
    window_rows,
)
from clinical_lakehouse.monitoring.verdicts import judged_groups
from clinical_lakehouse.monitoring.windows import WINDOW_DAYS
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from tests.builders import rows
from tests.monitoring.test_actions import DAY, _window

READING = Reading(WINDOW_DAYS, 0.99, 0.3)


def _with_groups(frame, seed=0):
    draws, count = np.random.default_rng(seed), len(frame)
    return frame.assign(
        site=draws.integers(0, 8, count).astype(str),
        sex=np.where(draws.random(count) < 0.5, "female", "male"),
        race=np.where(np.arange(count) < 10, "other", None),
        age_years=draws.normal(60, 12, count),
    )


def _acted(frame):
    return Acted(
        frame.is_treated.to_numpy(bool),
        frame.propensity.to_numpy(float),
        frame.is_held_out.to_numpy(bool),
    )


def _said(frame, threshold=0.3):
    found = group_rows(frame, frame.score.to_numpy(float), _acted(frame), 0.99, threshold)
    return {(r["attribute"], r["group_value"], r["metric"]): r for r in found}


def test_figures_of_a_group_equal_independent_ones_and_small_groups_have_counts_alone():
    frame = _with_groups(_window(3, treated=False))
    found, mine = _said(frame), frame[frame.site == "5"]
    site = {metric: found["site", "5", metric] for _, _, metric in found}
    assert site["auroc"]["value"] == pytest.approx(roc_auc_score(mine.is_event, mine.score))
    expected = mine.is_event.sum() / mine.score.sum()
    assert site["observed_expected"]["value"] == pytest.approx(expected)
    high, event = mine.score >= 0.3, mine.is_event
    assert site["selection_rate"]["value"] == pytest.approx(high.mean())
    assert site["true_positive_rate"]["value"] == pytest.approx(high[event].mean())
    assert site["false_positive_rate"]["value"] == pytest.approx(high[~event].mean())
    assert site["auroc"]["row_count"] == len(mine)
    other = found["race", "other", "observed_expected"]
    assert (other["value"], other["low"], other["row_count"]) == (None, None, 10)
    assert {band for name, band, _ in found if name == "age_band"} == {
        "<50", "50-64", "65-74", "75+"
    }  # fmt: skip
    assert ("sex", "male", "true_positive_rate") not in _said(frame, None)


def test_groups_are_judged_as_if_nobody_had_been_acted_on():
    frame = _with_groups(_window(5))
    ratios = [r for (_, _, metric), r in _said(frame).items() if metric == "observed_expected"]
    assert all(r["low"] < 1 < r["high"] for r in ratios if r["value"] is not None)
    spoilt = frame.is_event.sum() / frame.score.sum()
    men = _said(frame)["sex", "male", "observed_expected"]["value"]
    assert spoilt < 0.93 < men


def _weeks(count, site=None):
    """Figures of windows without a common subject, at one site each second person has the event."""
    found = []
    for week in range(count):
        frame = _with_groups(_window(100 + week, treated=False), week)
        struck = (frame.site == site) & (np.arange(len(frame)) % 2 == 0)
        frame["is_event"] |= struck
        day = DAY + timedelta(days=7 * week)
        told = [{**row, "index_date": day} for row in window_rows(frame, READING)]
        found += told
    return found


def test_a_site_that_is_off_is_named_and_no_other_group_is():
    limit = AccuracyLimit(Interval(0.78, 0.77, 0.79), 0.05)
    found = _weeks(5, "3")
    groups, metrics = judged_groups(found, limit), judged(
        [row for row in found if row["population"] == WATCHED], limit
    )  # fmt: skip
    allowed = allowed_by(read_change_plan(conf_dir()), "prod")
    known = Known(groups, [], allowed, 30)
    (told,) = group_drifts(known)
    assert (told.kind, told.labels) == ("group_calibration_drift", {"site": "3"})
    assert told.last_day.date() == DAY + timedelta(days=7 + 28)
    (drop, ratio) = drifts(metrics, known)
    assert (drop.kind, ratio.kind) == ("accuracy_change", "calibration_change")
    began = DAY + timedelta(days=1)
    for said in (
        "Observed over expected dropouts was",
        f"It began between {began} and {DAY + timedelta(days=56)}.",
        "For whom: above all site 3 (",
        "Likely cause: what risks mean has changed (concept drift)",
        "Allowed: no update is advised",
        "lets a retrained version within its clauses go on in prod once a ml lead or",
        "Dates are shifted by up to 30 days.",
    ):
        assert said in ratio.message, ratio.message
    calm = Known(judged_groups(_weeks(5), limit), [], allowed, 0)
    assert group_drifts(calm) == []


def test_the_alert_names_moved_people_the_advice_and_what_dev_may_do_alone():
    window = {"window_start_date": date(2024, 8, 6), "window_end_date": date(2024, 9, 3)}
    figure = {"value": 0.6, "low": 0.55, "high": 0.65, "reference": 0.8, "is_changed": True}
    auroc = {**window, **figure, "metric": "auroc", "is_over_limit": True}
    month = {"window_start_date": date(2024, 8, 1), "window_end_date": date(2024, 9, 1)}
    moved = {**figure, **month, "metric": "input_psi_age_years", "is_over_limit": True}
    advice = {**window, "advice": "intercept", "verdict": "drift"}
    allowed = allowed_by(read_change_plan(conf_dir()), "dev")
    drop, shift = drifts([auroc, {**moved, "low": None}], Known([], [advice], allowed, 0))
    assert (drop.kind, shift.kind) == ("accuracy_drop", "input_drift")
    assert "cause: other people were enrolled in 2024-08 (age years)" in drop.message
    assert "of 2024-08-06 to 2024-09-02 says: set its intercept anew" in drop.message
    assert "go on by itself in dev" in drop.message
    assert "It began between 2024-07-30 and 2024-09-02" in drop.message


def test_where_all_fare_alike_the_alert_says_so():
    one = {"metric": "auroc", "attribute": "sex", "value": 0.6, "low": 0.5, "high": 0.7}
    rows_ = [{**one, "group_value": sex} for sex in ("female", "male")]
    assert whom("auroc", rows_) == "in all sites and groups alike"
    worse = {**one, "group_value": "other", "value": 0.4, "low": 0.35, "high": 0.45}
    assert whom("auroc", [*rows_, worse]) == "above all sex other (0.40)"
    assert whom("auroc", []) == "no site or group is large enough"


def test_a_change_needs_two_windows_without_a_common_day():
    found = [row for row in _weeks(6, "3") if row["population"] == WATCHED]
    ratio = [row for row in found if row["metric"] == "observed_expected"]
    limit = AccuracyLimit(None, 0.05)
    assert [row["is_changed"] for row in judged(ratio, limit)] == [False] * 4 + [True] * 2
    assert not any(row["is_changed"] for row in judged(ratio, replace(limit, drop_max=5.0)))


def test_subjects_stay_in_the_group_of_their_first_index_date(lake):
    key = {"research_subject_key": 1, "sex": "male", "race": "asian"}
    days = [(DAY, 4, 49.9), (DAY + timedelta(days=7), 5, 50.1)]
    features = rows(
        lake, SUBJECT_FEATURE,
        *({**key, "index_date": day, "organization_key": site, "age_years": age}
          for day, site, age in days),
    )  # fmt: skip
    at_risk = lake.spark.createDataFrame(pd.DataFrame({"research_subject_key": [1, 2]}))
    found = {row.research_subject_key: row for row in with_groups(at_risk, features).collect()}
    assert (found[1].site, found[1].sex, found[1].age_years) == ("4", "male", 49.9)
    assert found[2].site is None
