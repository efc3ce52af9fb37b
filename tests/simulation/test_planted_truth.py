"""What was planted can be found again in the files, at the strength that truth states."""

from collections import Counter
from datetime import date, timedelta
from statistics import mean
from typing import Any

import numpy as np
import pytest

from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.simulation.findings import head, subject_row
from clinical_lakehouse.simulation.hazard import AFTER_CONCEPT_DRIFT, BEFORE_CONCEPT_DRIFT
from clinical_lakehouse.simulation.oracle import auroc, best_auroc, index_rows, weekly
from clinical_lakehouse.simulation.person import draw_person
from clinical_lakehouse.simulation.sites import make_sites
from tests.simulation.written import Written

_NAMES = ("age", "phq9", "hba1c", "comorbidities")


@pytest.fixture(scope="module")
def many() -> dict[str, Any]:
    """The truth on 4,000 subjects, without their resources."""
    plan = TrialPlan(patients=4000)
    sites, days = make_sites(plan.sites), plan.enrolment_days()
    rows = [subject_row(draw_person(plan, sites, days, i)) for i in range(plan.patients)]
    return {**head(plan, sites, {}), "subjects": rows}


def _code(made: dict[str, Any]) -> str:
    return made["code"]["coding"][0]["code"]


def _days_on_study(truth: dict[str, Any]) -> dict[str, int]:
    end = truth["plan"]["end"]
    return {
        s["patient_id"]: (
            date.fromisoformat(s["dropout_date"] or s["death_date"] or end)
            - date.fromisoformat(s["randomised_date"])
        ).days
        for s in truth["subjects"]
    }


def _rate_ratio(trial: Written, meddra_pt: str) -> float:
    """Events per day on study, active over control, outside the under-reporting site."""
    subjects = {s["patient_id"]: s for s in trial.truth["subjects"]}
    under = {s["site_id"] for s in trial.truth["sites"] if s["ae_recorded_share"] < 1}
    days: Counter[str] = Counter()
    for patient_id, on_study in _days_on_study(trial.truth).items():
        if subjects[patient_id]["site_id"] not in under:
            days[subjects[patient_id]["arm"]] += on_study
    events: Counter[str] = Counter()
    for made in trial.newest("AdverseEvent").values():
        subject = subjects[made["subject"]["reference"].removeprefix("Patient/")]
        if subject["site_id"] not in under:
            events[subject["arm"]] += made["event"]["coding"][1]["code"] == meddra_pt
    return events["ACTIVE"] / days["ACTIVE"] / (events["CONTROL"] / days["CONTROL"])


def test_nausea_is_three_times_as_frequent_in_the_active_arm(trial: Written) -> None:
    # About 90 control and 250 active events: the log ratio's standard error is 0.13.
    assert _rate_ratio(trial, trial.truth["signal"]["meddra_pt"]) == pytest.approx(3, rel=0.3)


def test_headache_is_equally_frequent_in_both_arms(trial: Written) -> None:
    assert _rate_ratio(trial, trial.truth["signal"]["null_meddra_pt"]) == pytest.approx(1, rel=0.3)


def test_truth_lists_every_recorded_adverse_event(trial: Written) -> None:
    recorded = {row["adverse_event_id"] for row in trial.truth["adverse_events"]} - {None}
    assert recorded == set(trial.newest("AdverseEvent"))


def test_one_site_records_three_in_ten_adverse_events(trial: Written) -> None:
    share = {s["site_id"]: s["ae_recorded_share"] for s in trial.truth["sites"]}
    assert sorted(share.values()) == [0.3, 1, 1, 1, 1, 1]
    for site_id, expected in share.items():
        rows = [r for r in trial.truth["adverse_events"] if r["site_id"] == site_id]
        assert mean(r["is_recorded"] for r in rows) == pytest.approx(expected, abs=0.08)


def test_one_site_enters_its_visits_45_days_late(trial: Written) -> None:
    delay = {s["site_id"]: s["entry_delay_days"] for s in trial.truth["sites"]}
    assert sorted(delay.values()) == [0, 0, 0, 0, 0, 45]
    for made in trial.good("Encounter"):
        site_id = made["serviceProvider"]["reference"].removeprefix("Organization/")
        happened = date.fromisoformat(made["period"]["start"][:10])
        entered = date.fromisoformat(made["meta"]["lastUpdated"][:10])
        assert 0 <= (entered - happened).days - delay[site_id] <= 4


def test_one_site_reports_glucose_in_mmol_labelled_mg(trial: Written) -> None:
    planted = {row["observation_id"]: row["value"] for row in trial.truth["glucose_mislabelled"]}
    glucose = {k: m for k, m in trial.newest("Observation").items() if _code(m) == "2345-7"}
    assert {m["valueQuantity"]["unit"] for m in glucose.values()} == {"mg/dL"}
    for made in glucose.values():
        value = made["valueQuantity"]["value"]
        assert value == planted[made["id"]] < 30 if made["id"] in planted else value >= 55
    assert len(planted) > 100 and set(planted) <= set(glucose)


def test_baseline_covariates_stand_in_the_files(trial: Written) -> None:
    """At the BASELINE visit PHQ-9 and HbA1c are truth's measured values, exactly."""
    subjects = {s["patient_id"]: s for s in trial.truth["subjects"]}
    conditions: Counter[str] = Counter()
    for made in trial.newest("Condition").values():
        if made["verificationStatus"]["coding"][0]["code"] == "confirmed":
            conditions[made["subject"]["reference"].removeprefix("Patient/")] += 1
    seen: Counter[str] = Counter()
    for made in trial.newest("Observation").values():
        subject = subjects[made["subject"]["reference"].removeprefix("Patient/")]
        name = {"44261-6": "phq9", "4548-4": "hba1c"}.get(_code(made))
        day = made["effectiveDateTime"][:10]
        if name and day == subject["randomised_date"] and made["status"] == "final":
            assert made["valueQuantity"]["value"] == subject["covariates_measured"][name]
            seen[name] += 1
        assert not name or made["status"] != "final" or day >= subject["randomised_date"]
    assert seen == {"phq9": 400, "hba1c": 400}
    for patient_id, subject in subjects.items():
        assert conditions[patient_id] == subject["covariates"]["comorbidities"] + 1
        born, on = (date.fromisoformat(subject[k]) for k in ("birth_date", "randomised_date"))
        years = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
        assert years == subject["covariates"]["age"]


def test_dropout_shows_as_withdrawn_on_its_date(trial: Written) -> None:
    found = trial.newest("ResearchSubject")
    for subject in trial.truth["subjects"]:
        made = found[subject["subject_id"]]
        ended = subject["dropout_date"] or subject["death_date"]
        status = "off-study" if subject["death_date"] else "withdrawn"
        assert made["status"] == (status if ended else "on-study")
        assert made["period"].get("end") == ended
        assert made["actualArm"] == subject["arm"]
        assert not (subject["dropout_date"] and subject["death_date"])


def test_hba1c_falls_in_the_active_arm(trial: Written) -> None:
    arm = {s["patient_id"]: s["arm"] for s in trial.truth["subjects"]}
    week = {e["id"]: e["type"][0]["coding"][0]["code"] for e in trial.newest("Encounter").values()}
    values: dict[tuple[str, str], list[float]] = {}
    for made in trial.newest("Observation").values():
        if _code(made) == "4548-4" and made["status"] == "final":
            visit = week[made["encounter"]["reference"].removeprefix("Encounter/")]
            patient_id = made["subject"]["reference"].removeprefix("Patient/")
            values.setdefault((arm[patient_id], visit), []).append(made["valueQuantity"]["value"])

    def fall(of: str) -> float:
        return mean(values[of, "WEEK-24"]) - mean(values[of, "BASELINE"])

    assert fall("ACTIVE") - fall("CONTROL") == pytest.approx(-0.86, abs=0.4)


def test_missed_visits_are_cancelled_and_hold_no_observation(trial: Written) -> None:
    visits = trial.newest("Encounter")
    missed = {e["id"] for e in visits.values() if e["status"] == "cancelled"}
    assert 0.03 < len(missed) / len(visits) < 0.10
    assert all(visits[e]["period"]["start"] for e in missed)
    for made in trial.good("Observation"):
        assert made["encounter"]["reference"].removeprefix("Encounter/") not in missed


def test_mean_risk_and_the_best_reachable_auroc(many: dict[str, Any]) -> None:
    start, end = (date.fromisoformat(many["plan"][k]) for k in ("start", "end"))
    low, high = (many["drift"]["population"][k] for k in ("from", "to"))
    calm = [s for s in many["subjects"] if not low <= s["randomised_date"] < high]
    assert 0.14 < mean(s["risk_90_days"] for s in calm) < 0.20
    assert 0.76 < best_auroc(many, weekly(start, end)) < 0.86
    concept = date.fromisoformat(many["drift"]["concept"]["from"])
    stable = weekly(start, concept - timedelta(days=91))
    assert 0.79 < best_auroc(many, stable) < 0.86
    measured = best_auroc(many, stable, is_measured=True)
    assert best_auroc(many, stable) - 0.03 < measured < best_auroc(many, stable) + 0.005


def test_the_oracle_is_calibrated(many: dict[str, Any]) -> None:
    dates = (date(2024, 5, 6), date(2024, 8, 5), date(2024, 9, 30))
    rows = list(index_rows(many, dates))
    assert mean(r.is_dropout for r in rows) == pytest.approx(mean(r.risk for r in rows), rel=0.1)
    for day in dates:
        these = [r for r in rows if r.index_date == day]
        expected = mean(r.risk for r in these)
        assert mean(r.is_dropout for r in these) == pytest.approx(expected, rel=0.2)


def test_auroc_counts_ties_as_half() -> None:
    assert auroc([True, False, True, False], [2, 1, 1, 0]) == pytest.approx(3.5 / 4)


def _poisson_fit(x: np.ndarray, events: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Log-linear rates by Newton's method."""
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(events.sum() / days.sum())
    for _ in range(25):
        expected = np.exp(x @ beta) * days
        beta += np.linalg.solve((x.T * expected) @ x, x.T @ (events - expected))
    return beta


@pytest.mark.parametrize("period", ["before", "after"])
def test_coefficients_are_recovered_from_true_covariates(many: dict[str, Any], period: str) -> None:
    concept = date.fromisoformat(many["drift"]["concept"]["from"])
    x, events, days = [], [], []
    for s in many["subjects"]:
        first = date.fromisoformat(s["randomised_date"])
        last = date.fromisoformat(s["dropout_date"] or s["death_date"] or many["plan"]["end"])
        dropped = s["dropout_date"] is not None
        low, high = (
            (first, min(last, concept)) if period == "before" else (max(first, concept), last)
        )
        if high <= low:
            continue
        c = s["covariates"]
        x.append((1, (c["age"] - 60) / 10, (c["phq9"] - 8) / 5, c["hba1c"] - 8, c["comorbidities"]))
        events.append(dropped and high == last)
        days.append((high - low).days)
    fitted = _poisson_fit(np.array(x, float), np.array(events, float), np.array(days, float))
    planted = BEFORE_CONCEPT_DRIFT if period == "before" else AFTER_CONCEPT_DRIFT
    for name, value in zip(_NAMES, fitted[1:], strict=True):
        assert value == pytest.approx(planted.as_dict()[name], abs=0.15)


def test_concept_drift_reverses_every_coefficient_and_keeps_the_mean(many: dict[str, Any]) -> None:
    before, after = (many["dropout"][f"coefficients_{k}"] for k in ("before", "after"))
    assert all(after[name] == -before[name] for name in _NAMES)
    low, high = (many["drift"]["population"][k] for k in ("from", "to"))
    calm = [s for s in many["subjects"] if not low <= s["randomised_date"] < high]
    expected = mean(s["daily_hazard_before"] for s in calm)
    assert mean(s["daily_hazard_after"] for s in calm) == pytest.approx(expected, rel=0.15)


def test_people_of_the_drift_month_are_older_sicker_and_a_second_wave(
    many: dict[str, Any],
) -> None:
    low, high = (many["drift"]["population"][k] for k in ("from", "to"))
    inside = [s for s in many["subjects"] if low <= s["randomised_date"] < high]
    outside = [s for s in many["subjects"] if not low <= s["randomised_date"] < high]
    for name, shift in (("age", 14), ("phq9", 5)):
        difference = mean(s["covariates"][name] for s in inside)
        difference -= mean(s["covariates"][name] for s in outside)
        assert difference == pytest.approx(shift, abs=1.2)
    # The month is denser than the trial's first half, and much denser than the months around it.
    sparse = Counter(s["randomised_date"] for s in outside if s["randomised_date"] >= "2024-07-02")
    fold = many["drift"]["population"]["enrolment_fold"]
    assert len(inside) / 31 == pytest.approx(fold * mean(sparse.values()), rel=0.2)


def test_one_subgroup_is_measured_too_low_and_its_risk_is_underestimated(
    many: dict[str, Any],
) -> None:
    group = [s for s in many["subjects"] if s["race_code"] == many["bias"]["race_code"]]
    assert 0.17 < len(group) / len(many["subjects"]) < 0.23
    for s in many["subjects"]:
        true, seen = s["covariates"]["phq9"], s["covariates_measured"]["phq9"]
        assert seen == (max(true + many["bias"]["points"], 0) if s["is_biased"] else true)
    true_risk = mean(s["risk_90_days"] for s in group)
    assert mean(s["risk_90_days_measured"] for s in group) < 0.8 * true_risk


def test_some_die_and_some_are_over_89(many: dict[str, Any]) -> None:
    assert 0.003 < mean(s["death_date"] is not None for s in many["subjects"]) < 0.03
    assert mean(s["covariates"]["age"] > 89 for s in many["subjects"]) == pytest.approx(0.02)
