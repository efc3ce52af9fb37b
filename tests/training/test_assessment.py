"""Figures on held-out rows: against scikit-learn, by group, with small groups left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from clinical_lakehouse.methods.held_out_scores import HeldOut
from clinical_lakehouse.methods.model_comparison import compared
from clinical_lakehouse.methods.model_figures import curves, figures
from clinical_lakehouse.training.held_out import held_out


def _held(rows: int = 400, small: int = 8) -> HeldOut:
    draws = np.random.default_rng(1)
    line = draws.normal(-1.2, 1, rows)
    sex = np.where(draws.random(rows) < 0.5, "female", "male")
    sex[:small] = "other"
    return HeldOut(
        outcomes=draws.random(rows) < 1 / (1 + np.exp(-line)),
        scores=1 / (1 + np.exp(-line)),
        baseline=draws.random(rows),
        people=np.arange(rows),
        groups={"sex": sex},
        threshold=0.25,
    )


def _values(held: HeldOut) -> dict:
    return {(r["metric"], r["group_name"], r["group_value"]): r for r in figures(held)}


def test_overall_figures_equal_scikit_learn_for_model_and_baseline():
    held = _held()
    found = _values(held)
    for metric, truth in (
        ("auroc", metrics.roc_auc_score),
        ("auprc", metrics.average_precision_score),
        ("brier", metrics.brier_score_loss),
    ):
        row = found[metric, "all", "all"]
        assert row["value"] == pytest.approx(truth(held.outcomes, held.scores))
        assert row["baseline"] == pytest.approx(truth(held.outcomes, held.baseline))
    gain = found["auroc_gain", "all", "all"]
    auroc = found["auroc", "all", "all"]
    assert gain["value"] == pytest.approx(auroc["value"] - auroc["baseline"])
    assert auroc["low"] < auroc["value"] < auroc["high"]


def test_every_figure_has_its_own_key():
    rows = figures(_held())
    keys = {(r["metric"], r["group_name"], r["group_value"]) for r in rows}
    assert len(keys) == len(rows)


def test_rates_by_group_are_those_of_the_confusion_matrix():
    held = _held()
    found = _values(held)
    women = held.groups["sex"] == "female"
    recall = metrics.recall_score(held.outcomes[women], held.scores[women] >= 0.25)
    assert found["true_positive_rate", "sex", "female"]["value"] == pytest.approx(recall)
    assert found["true_positive_rate", "sex", "female"]["row_count"] == women.sum()
    everyone = metrics.recall_score(held.outcomes, held.scores >= 0.25)
    assert found["true_positive_rate", "all", "all"]["value"] == pytest.approx(everyone)


def test_groups_of_fewer_than_eleven_people_have_counts_but_no_figures():
    row = _values(_held())["selection_rate", "sex", "other"]
    assert (row["person_count"], row["value"], row["low"], row["baseline"]) == (8, None, None, None)


def test_gap_compares_large_groups_only():
    held = _held()
    found = _values(held)
    rates = [found["true_positive_rate", "sex", sex]["value"] for sex in ("female", "male")]
    gap = found["true_positive_rate_gap", "sex", "all"]["value"]
    assert gap == pytest.approx(abs(rates[0] - rates[1]))
    assert _values(_held(rows=60))["true_positive_rate_gap", "sex", "all"]["value"] is None


def test_curves_have_their_series_and_known_ends():
    found = pd.DataFrame(curves(_held())).set_index(["curve", "series"]).sort_index()
    roc = found.loc[("roc", "model")]
    assert (roc.x.iloc[0], roc.y.iloc[0], roc.x.iloc[-1], roc.y.iloc[-1]) == (0, 0, 1, 1)
    assert (found.loc[("net_benefit", "treat_none")].y == 0).all()
    assert found.loc[("score", "event")].y.sum() == pytest.approx(1)
    assert found.loc[("calibration", "model")].row_count.sum() == 400
    assert not found.reset_index().duplicated(["curve", "series", "point"]).any()


def test_nothing_held_out_gives_rows_without_figures():
    empty = np.zeros(0)
    held = HeldOut(empty.astype(bool), empty, empty, empty, {"sex": empty.astype(str)}, 0.2)
    counts = ("threshold", "people_with_event", "people_without_event")
    assert {row["value"] for row in figures(held) if row["metric"] not in counts} == {None}
    assert curves(held) == [] and compared(held) == []


def test_baseline_knows_age_and_adherence_of_training_rows_only():
    draws = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "research_subject_key": np.arange(300),
            "subject_key": np.arange(300),
            "index_date": pd.Timestamp("2024-01-01"),
            "is_test": np.arange(300) >= 200,
            "sex": None,
            "race": "Asian",
            "age_years": draws.normal(60, 10, 300),
            "visit_adherence_ratio": np.nan,
        }
    )
    frame["is_event"] = draws.random(300) < 1 / (1 + np.exp(-(frame.age_years - 60) / 5))
    model = LogisticRegression().fit(frame[["age_years"]], frame.is_event)
    held = held_out(frame, model, ["age_years"])
    assert held.threshold == frame.is_event[:200].mean()
    assert np.corrcoef(held.baseline, frame.age_years[200:])[0, 1] > 0.9
    flipped = frame.assign(is_event=np.where(frame.is_test, ~frame.is_event, frame.is_event))
    assert (held_out(flipped, model, ["age_years"]).baseline == held.baseline).all()
    assert set(held.groups["sex"]) == {"unknown"}
    assert set(held.groups["age_band"]) == {"<50", "50-64", "65-74", "75+"}


def test_decisions_are_those_of_the_confusion_matrix_and_the_roc_curve():
    held = _held()
    found = _values(held)
    flags = held.scores >= held.threshold
    assert found["accuracy", "all", "all"]["value"] == pytest.approx(
        metrics.accuracy_score(held.outcomes, flags)
    )
    needed = 1 / metrics.precision_score(held.outcomes, flags)
    assert found["number_needed_to_evaluate", "all", "all"]["value"] == pytest.approx(needed)
    false, true, _ = metrics.roc_curve(held.outcomes, held.scores, drop_intermediate=False)
    best = true[1 - false >= 0.9].max()
    assert found["sensitivity_at_specificity_90", "all", "all"]["value"] == pytest.approx(best)
    assert found["people_with_event", "all", "all"]["value"] == held.outcomes.sum()


def test_a_model_is_compared_with_the_baseline_the_champion_and_with_acting_alike():
    held = _held()
    twin = replace(held, others={"champion": held.scores})
    found = {(one.compared_with, one.metric): one for one in compared(twin)}
    same = [one for (other, _), one in found.items() if other == "champion"]
    assert len(same) == 4 and {one.difference.value for one in same} == {0.0}
    assert {one.p_value for one in same} == {None, 1.0}
    gain = found["baseline", "auroc"]
    overall = _values(held)
    assert gain.difference.value == overall["auroc_gain", "all", "all"]["value"]
    assert gain.p_value < 0.001
    assert found["treat_none", "net_benefit"].difference.value == pytest.approx(
        overall["net_benefit", "all", "all"]["value"]
    )
    everybody = overall["net_benefit_treat_all", "all", "all"]["value"]
    assert found["treat_all", "net_benefit"].other_value == pytest.approx(everybody)
