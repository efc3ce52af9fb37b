"""A model's page says what its windows mean, who decided, what moved; small counts are hidden."""

from datetime import UTC, date, datetime, timedelta

from clinical_lakehouse.pages.asking import Answer, Question
from clinical_lakehouse.pages.model_page import _FIRST, _QUESTIONS, model_page
from clinical_lakehouse.rendering.html import render

AT = datetime(2024, 6, 30, 6, tzinfo=UTC)
WINDOW = {"window_start_date": date(2024, 4, 2), "window_end_date": date(2024, 4, 30)}


def _answers(**rows):
    asked = {**_FIRST, **_QUESTIONS}
    return {
        name: Answer(Question(one.made_by, one.statement), tuple(rows.get(name, ())), {})
        for name, one in asked.items()
    }


def _promotion(number, action, before, after):
    signed = {"decided_by": "ana", "role": "ml_lead", "meaning": "approval", "reason": "CR-12"}
    change = {"from_version": before, "to_version": after, "cause": "3f2ab1c4", "decided_at": AT}
    return {"promotion_number": number, "action": action, **change, **signed}


def _performance(population, metric, week, value):
    window = {name: day + timedelta(days=7 * week) for name, day in WINDOW.items()}
    counts = {"row_count": 400, "event_count": 5}
    limits = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {"population": population, "metric": metric, **window, **limits, **counts}


def _look(day, difference):
    limits = {"difference": difference, "low": difference - 0.1, "high": difference + 0.02}
    counts = {"subject_count": 25, "outcome_count": 150}
    said = {"state": "running", "share_ratio": 0.25, "reason": "Goes on to 25%."}
    return {"model_version": 3, "looked_at": AT + timedelta(days=day), **limits, **counts, **said}


def _group(group, metric, week, value, rows_=40):
    return {
        **_performance("", metric, week, value), "attribute": "sex", "group_value": group,
        "is_over_limit": group == "male", "is_changed": None, "row_count": rows_,
    }  # fmt: skip


FULL = {
    "groups": [
        _group(group, metric, week, value)
        for group, value in (("female", 1.0), ("male", 2.25))
        for metric in ("auroc", "observed_expected")
        for week in range(3)
    ],
    "promotions": [_promotion(2, "rolled_back", 2, 1), _promotion(1, "promoted", None, 2)],
    "performance": [
        _performance(population, metric, week, 0.7)
        for metric in ("auroc", "observed_expected")
        for population in ("all", "estimated", "untreated")
        for week in range(4)
    ]
    + [
        {**_performance("estimated", "coverage", 1, 0.75), "row_count": 12, "event_count": 9},
        _performance("estimated_weighted", "auroc", 1, 0.7),
    ],
    "verdicts": [
        {**WINDOW, "verdict": verdict, "advice": None, "row_count": 400, "treated_count": 40,
         "due_count": 400, "arrived_count": 390, "overdue_count": 3, "censored_count": 0}
        for verdict in ("open", "intervention")
    ],
    "canary": [_look(2, 0.02), _look(1, 0.01)],
    "drift": [
        {"reference": "training", "feature_name": "heart_rate_mean", "site": "3", "state": "drift",
         "kind": "unit", "psi": 1.2, "p_value": 0.001, "is_model_input": True, "row_count": 44,
         "explanation": "Moved beyond chance: <b>another unit?</b>", **WINDOW},
    ],
    "detectors": [
        {"detector": "page_hinkley", "value_count": 900, "signal_count": 1,
         "signal_date": date(2024, 4, 1), "last_index_date": date(2024, 4, 29)},
    ],
    "gates": [{"model_version": 2, "is_passed": True, "reason": "Passed.", "decided_at": AT}],
    "triggers": [
        {"decided_at": AT, "is_due": False, "trigger": "intervention", "alert": "", "reason": "No."}
    ],
}  # fmt: skip


def _page(**rows):
    return render(model_page("dropout_risk", _answers(**rows), AT)).decode()


def test_the_page_says_what_is_in_use_what_it_means_and_who_decided():
    page = _page(**FULL)
    for said in (
        "Version 1 is in use", "Intervention", "10.0%", "As if nobody was acted on", "rolled back",
        "CR-12", "3f2ab1c4", "Canary of version 3", "heart rate mean (input)", "page hinkley",
        "cannot see concept drift", "Estimates, checked when", "75.0%", "For whom",
        "Observed / expected by sex", "2.25", "over limit",
        "&lt;b&gt;another unit?", "model_review",
    ):  # fmt: skip
        assert said in page, said
    assert page.count("<svg") >= 3
    assert len(page.encode()) < 500_000
    assert page == _page(**FULL)


def test_a_window_said_anew_shows_what_was_said_first():
    figures = {"said_count": 2, "first_value": 0.751, "value": 0.698}
    moments = {"first_known_at": AT, "known_at": AT + timedelta(days=3)}
    said = {"population": "all", "metric": "auroc", **figures, **moments, **WINDOW}
    page = _page(**{**FULL, "revisions": [said]})
    assert "0.751" in page and "0.698" in page
    assert "Nothing said anew" in _page(**FULL)


def test_small_counts_are_hidden():
    page = _page(**FULL)
    assert "&lt;11" in page or "<11" in page
    assert ">5<" not in page


def test_a_small_group_takes_the_next_smallest_with_it():
    few = [_group(group, "observed_expected", 0, 1.0, count)
           for group, count in (("female", 40), ("male", 36), ("other", 7))]  # fmt: skip
    page = _page(**{**FULL, "groups": few})
    assert ">40<" in page
    assert ">36<" not in page
    assert ">7<" not in page


def test_a_model_without_anything_gets_a_page_that_says_what_makes_it():
    page = _page()
    assert "No version is in use yet" in page
    assert "clinical-lakehouse run model_deployment" in page
