"""The model reaches what can be reached, and monitoring dates the planted drift."""

from datetime import date, timedelta

import numpy as np
import pytest

from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.simulation.oracle import auroc, index_rows
from clinical_lakehouse.simulation.plan import months_after
from tests.scenarios.conftest import failures, make_trial, people


@pytest.fixture(scope="module", params=[300])
def demo(spark, tmp_path_factory, request):
    """The demo's trial: 300 patients, 12 months, the default seed."""
    made = make_trial(tmp_path_factory.mktemp("demo"), TrialPlan(patients=request.param))
    result = made.run()
    assert result.ok, failures(result)
    return made


def _scores(demo) -> list[tuple[str, date, float]]:
    """Source id, index date as it really was, and score, of the held-out rows."""
    rows = demo.sql(
        "SELECT s.subject_key, p.index_date, p.score FROM gold.prediction p "
        "JOIN silver.subject s ON s.research_subject_key = p.research_subject_key"
    )
    known = {row.subject_key: row for row in people(demo.workspace)}
    of = [known[row.subject_key] for row in rows]
    return [
        (who.patient_id, row.index_date - timedelta(days=who.date_shift_days), row.score)
        for row, who in zip(rows, of, strict=True)
    ]


@pytest.mark.soak
def test_auroc_lies_within_3_points_of_the_best_reachable(demo):
    """Oracle: the true hazard on the same subjects and dates, before the concept drifts."""
    scored = {(patient, day): score for patient, day, score in _scores(demo)}
    until = demo.plan.concept_from - timedelta(days=90)
    days = sorted({day for _, day in scored if day < until})
    rows = [r for r in index_rows(demo.truth, days) if (r.patient_id, r.index_date) in scored]
    labels = [row.is_dropout for row in rows]
    assert sum(labels) > 50
    best = auroc(labels, [row.risk for row in rows])
    reached = auroc(labels, [scored[row.patient_id, row.index_date] for row in rows])
    assert reached > best - 0.03, (reached, best)


@pytest.mark.soak
def test_planted_drift_is_flagged_and_the_months_before_are_not(demo):
    metrics = demo.sql("SELECT * FROM gold.model_metric ORDER BY window_end_date")
    blur = timedelta(days=demo.workspace.settings.privacy.date_shift_days)
    flagged = [m for m in metrics if m.is_over_limit]
    concept = [m.window_end_date for m in flagged if m.metric == "auroc"]
    population = [m.window_start_date for m in flagged if m.metric == "input_distance"]
    low, high = demo.plan.drift_interval
    assert concept
    assert min(concept) > demo.plan.concept_from - blur
    assert min(concept) <= months_after(demo.plan.concept_from, 2)
    assert population
    assert low - blur <= min(population) < high + blur


@pytest.mark.soak
def test_drift_raises_alerts_with_value_and_limit(demo):
    kinds = {row.kind: row for row in demo.sql("SELECT * FROM ops.alert")}
    assert {"accuracy_drop", "input_drift"} <= set(kinds)
    assert all(np.isfinite(row.value) and row.message for row in kinds.values())
