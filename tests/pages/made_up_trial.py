"""A made-up trial as table rows: enough of every table for the report to have all its parts."""

import json
import math
import random
from datetime import UTC, date, datetime, timedelta

from clinical_lakehouse.methods.quality.scores import Judged, score
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import (
    bronze,
    gold_fairness,
    gold_model_review,
    gold_models,
    gold_survival,
    ops,
    silver,
)
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.ops_quality import QUALITY_SCORE
from tests.builders import rows

MODEL = "dropout_risk"
START = date(2023, 7, 3)
AS_OF = datetime(2024, 6, 30, 12, tzinfo=UTC)
ARM = "Canary Arm Treatment"
SITES = (
    "Harbour Clinic",
    "Northgate Hospital",
    "St Brannoc",
    "Vale Medical Centre",
    "Isle Surgery",
)
Rows = list[dict]


def fill(lake: Lakehouse, people: int = 300, sites: int = 5, months: int = 12) -> None:
    """Every table the report reads, filled."""
    draws = random.Random(11)
    names = [SITES[n] if n < len(SITES) else f"Site {n + 1:03d}" for n in range(sites)]
    _put(lake, silver.STUDY, [{"study_key": 1, "title": "Glucose control in type 2 diabetes",
                               "phase_code": "phase-3", "status": "active"}])  # fmt: skip
    _put(lake, silver.ORGANIZATION,
         [{"organization_key": n, "name": name} for n, name in enumerate(names)])  # fmt: skip
    _put(lake, silver.SUBJECT, _subjects(draws, people, sites, months))
    _put(lake, ops.LANDING_FILE, _files())
    _put(lake, bronze.QUARANTINE, _refused(draws))
    quality = _quality()
    _put(lake, ops.QUALITY_RESULT, quality)
    _put(lake, QUALITY_SCORE, _scores(quality))
    key = {"model_name": MODEL, "model_version": 2}
    _put(lake, gold_models.MODEL_VERSION, [{**key, "algorithm": "gradient boosting"}])
    _put(lake, gold_models.MODEL_GATE, [{**key, "is_passed": True, "reason": "All rules hold."}])
    scored = [{**key, "research_subject_key": n} for n in range(40)]
    _put(lake, gold_models.PREDICTION, scored)
    _put(lake, gold_models.MODEL_EVALUATION, _evaluation(draws))
    _put(lake, gold_models.MODEL_CURVE, _curves())
    _put(lake, gold_model_review.MODEL_GATE_CRITERION, _criteria())
    _put(lake, gold_model_review.MODEL_COMPARISON, [_compared()])
    _put(lake, gold_fairness.FAIRNESS_FINDING, _findings())
    _put(lake, gold_model_review.MODEL_SITE, _by_site())
    _put(lake, gold_survival.SURVIVAL_CURVE, _staying())
    ratio = {"endpoint": "time_to_discontinuation", "metric": "hazard_ratio",
             "term": "phq9_baseline", "value": 1.8, "low": 1.4, "high": 2.3}  # fmt: skip
    _put(lake, gold_survival.SURVIVAL_FIGURE, [{**ratio, "person_count": 90, "event_count": 40}])
    _put(lake, gold_fairness.FAIRNESS_MITIGATION, _mitigated())
    _put(lake, gold_models.MODEL_METRIC, _metrics(draws))
    _put(lake, ops.ALERT, _alerts())
    _put(lake, ops.TASK_RUN, _tasks())


def _put(lake: Lakehouse, table: Table, given: Rows) -> None:
    lake.append(table, rows(lake, table, *given))


def _subjects(draws: random.Random, people: int, sites: int, months: int) -> Rows:
    weights = [1 / (1 + n) ** 0.6 for n in range(sites)]
    made = []
    for n in range(people):
        day = START + timedelta(days=int(months * 30 * draws.random() ** 1.2))
        status = draws.choices(("on-study", "withdrawn", "off-study"), (78, 18, 4))[0]
        made.append({
            "research_subject_key": n, "subject_key": n, "study_key": 1, "arm": ARM,
            "organization_key": draws.choices(range(sites), weights)[0], "status": status,
            "started_at": datetime(day.year, day.month, day.day, 8, tzinfo=UTC),
        })  # fmt: skip
    return made


def _files() -> Rows:
    counts = {"Observation": (48210, 611, 540), "Encounter": (5120, 44, 62),
              "MedicationAdministration": (9044, 80, 12), "Condition": (1630, 9, 31),
              "MedicationRequest": (1210, 12, 9), "AdverseEvent": (811, 4, 6),
              "DocumentReference": (640, 0, 3), "Consent": (309, 2, 0), "Patient": (300, 1, 9),
              "ResearchSubject": (352, 1, 0), "Organization": (5, 0, 0),
              "unreadable": (0, 0, 41)}  # fmt: skip
    return [
        {"file_id": kind, "file_name": f"{kind}.ndjson", "resource_type": kind,
         "received_count": a + b + c, "loaded_count": a, "duplicate_count": b,
         "quarantined_count": c}
        for kind, (a, b, c) in counts.items()
    ]  # fmt: skip


def _refused(draws: random.Random) -> Rows:
    reasons = {"missing-required": 210, "unknown-reference": 166, "bad-code": 121,
               "json-syntax": 41, "impossible-date": 73, "wrong-json-type": 57,
               "no-consent": 32, "duplicate-key": 13}  # fmt: skip
    kinds = ("Observation", "Encounter", "Condition", "Patient", "AdverseEvent")
    return [
        {"file_id": draws.choice("abcdef"), "line": n, "reason": reason, "path": "x.y",
         "resource_type": None if reason == "json-syntax" else draws.choice(kinds),
         "resource_id": "Canary-Resource-Id"}
        for reason, number in reasons.items() for n in range(number)
    ]  # fmt: skip


def _quality() -> Rows:
    made = []
    tables = ("silver.patient", "silver.encounter", "silver.observation", "silver.subject",
              "silver.condition", "silver.adverse_event", "omop.person", "omop.measurement",
              "omop.visit_occurrence", "omop.condition_occurrence", "gold.subject_feature",
              "gold.prediction")  # fmt: skip
    for place, table in enumerate(tables):
        for check, severity, failed in (
            ("key_unique", "error", 0),
            ("subject_key_not_null", "error", 0),
            ("started_at_not_after_ended_at", "warn", 40 * place % 130),
            ("value_between_0_and_500", "error", 1000 if table == "omop.measurement" else 0),
        ):
            made.append({
                "run_id": "r", "table_name": table, "check_name": check, "severity": severity,
                "row_count": 4000, "failed_count": failed, "passed_ratio": 1 - failed / 4000,
                "checked_at": AS_OF,
            })  # fmt: skip
    return made


def _scores(quality: Rows) -> Rows:
    """Each table's score as the job keeps it: weighted by severity."""
    made = []
    for table in dict.fromkeys(row["table_name"] for row in quality):
        mine = [row for row in quality if row["table_name"] == table]
        judged = (Judged(r["severity"], r["passed_ratio"], r["failed_count"] > 0) for r in mine)
        found = score(judged, {"error": 2.0, "warn": 1.0})
        made.append({"run_id": "r", "dimension": "table", "slice": table, "checked_at": AS_OF,
                     **vars(found)})  # fmt: skip
    return made


def _evaluation(draws: random.Random) -> Rows:
    key = {"model_name": MODEL, "model_version": 2}
    whole = {"auroc": (0.782, 0.741, 0.823, 0.644), "auprc": (0.463, None, None, 0.271),
             "brier": (0.121, None, None, 0.142), "calibration_slope": (0.94, 0.78, 1.11, None),
             "calibration_intercept": (-0.08, -0.31, 0.15, None)}  # fmt: skip
    made = [
        {**key, "metric": m, "group_name": "all", "group_value": "all", "value": v, "low": low,
         "high": high, "baseline": base, "row_count": 2140, "event_count": 371}
        for m, (v, low, high, base) in whole.items()
    ]  # fmt: skip
    groups = {"sex": ("female", "male"), "age_band": ("<50", "50-64", "65-74", "75+"),
              "race": ("Asian", "Black or African American", "White", "Other Race")}  # fmt: skip
    middles = {"true_positive_rate": 0.66, "false_positive_rate": 0.24,
               "selection_rate": 0.31, "positive_predictive_value": 0.37}  # fmt: skip
    for metric, middle in middles.items():
        for name, values in groups.items():
            for value in values:
                rate = middle + draws.uniform(-0.09, 0.09)
                small = value == "Other Race"
                made.append({
                    **key, "metric": metric, "group_name": name, "group_value": value,
                    "value": rate, "low": rate - 0.07, "high": rate + 0.07,
                    "row_count": 40 if small else 480, "event_count": 2 if small else 83,
                    "person_count": 7 if small else 130,
                })  # fmt: skip
    return made


def _criteria() -> Rows:
    key = {"model_name": MODEL, "model_version": 2, "group_name": "all"}
    return [
        {**key, "criterion": "auroc", "value": 0.782, "at_least": 0.65, "verdict": "passed",
         "sentence": "Passed: AUROC is 0.782, wanted at least 0.65."},
        {**key, "criterion": "enough_people", "value": 7.0, "at_least": 100.0,
         "verdict": "indeterminate",
         "sentence": "Indeterminate: fewer than 11 people with the outcome."},
    ]  # fmt: skip


def _findings() -> Rows:
    key = {"model_name": MODEL, "model_version": 2, "attribute": "race", "event_count": 83,
           "metric": "observed_expected", "low": 0.5, "high": 1.6, "expected": 1.0}  # fmt: skip
    return [
        {**key, "group_value": "White", "value": 1.02, "verdict": "alike", "person_count": 130},
        {**key, "group_value": "Asian", "value": 1.44, "verdict": "harm", "person_count": 130},
        {**key, "group_value": "Canary small", "value": 9.0, "verdict": "harm",
         "person_count": 7},
    ]  # fmt: skip


def _staying() -> Rows:
    return [
        {"endpoint": "time_to_discontinuation", "curve": curve, "group_value": "all",
         "time_days": day, "value": rate * day, "low": 0.8 * rate * day,
         "high": 1.2 * rate * day, "at_risk_count": 400 - day}
        for curve, rate in (("dropout", 0.002), ("dropout_kaplan_meier", 0.0022), ("death", 1e-4))
        for day in range(1, 300, 5)
    ]  # fmt: skip


def _by_site() -> Rows:
    key = {"model_name": MODEL, "model_version": 2, "measure": "auroc", "event_count": 40}
    pooled = {"new_site_low": 0.6, "new_site_high": 0.9, "heterogeneity_ratio": 0.3}
    return [
        {**key, "organization_key": 1, "value": 0.5, "low": 0.4, "high": 0.6, "is_named": True},
        {**key, "organization_key": 2, "value": 0.8, "low": 0.7, "high": 0.9, "is_named": False},
        {**key, **pooled, "value": 0.77, "low": 0.7, "high": 0.83, "is_named": False},
    ]


def _mitigated() -> Rows:
    key = {"model_name": MODEL, "model_version": 2, "mitigation": "reweighing",
           "attribute": "sex", "net_benefit": 0.05, "net_benefit_after": 0.04,
           "verdict": "refused", "true_positive_rate_after": 0.5}  # fmt: skip
    return [
        {**key, "group_value": value, "true_positive_rate": rate}
        for value, rate in (("female", 0.7), ("male", 0.55))
    ]


def _compared() -> dict:
    return {"model_name": MODEL, "model_version": 2, "compared_with": "champion",
            "metric": "net_benefit", "value": 0.05, "other_value": 0.03, "difference": 0.02,
            "low": -0.01, "high": 0.05, "method": "bootstrap by person",
            "person_count": 143}  # fmt: skip


def _curves() -> Rows:
    made = []

    def add(curve: str, series: str, points: list[tuple]) -> None:
        made.extend(
            {"model_name": MODEL, "model_version": 2, "curve": curve, "series": series,
             "point": n, "x": float(x), "y": float(y), "row_count": 214}
            for n, (x, y) in enumerate(points)
        )  # fmt: skip

    add("roc", "model", [(n / 400, (n / 400) ** 0.3) for n in range(401)])
    add("roc", "baseline", [(n / 200, (n / 200) ** 0.6) for n in range(201)])
    add("calibration", "model", [(0.03 + n * 0.06, 0.02 + n * 0.058 + 0.02 * (-1) ** n)
                                 for n in range(10)])  # fmt: skip
    for series, move in (("low", -0.04), ("high", 0.05)):
        add("calibration", series, [(0.03 + n * 0.06, 0.02 + n * 0.058 + 0.02 * (-1) ** n + move)
                                    for n in range(10)])  # fmt: skip
    limits = [n / 100 for n in range(1, 51)]
    add("net_benefit", "model", [(t, 0.17 * math.exp(-4 * t)) for t in limits])
    add("net_benefit", "treat_all", [(t, 0.173 - 0.827 * t / (1 - t)) for t in limits])
    add("net_benefit", "treat_none", [(t, 0) for t in limits])
    return made


def _metrics(draws: random.Random) -> Rows:
    made = []

    def add(metric: str, end: date, days: int, **figures: object) -> None:
        made.append({
            "model_name": MODEL, "model_version": 2, "metric": metric, "window_end_date": end,
            "window_start_date": end - timedelta(days=days), "row_count": 240,
            "event_count": 16, "is_over_limit": False, **figures,
        })  # fmt: skip

    for week in range(16):
        end = date(2024, 2, 26) + timedelta(days=7 * week)
        value = 0.775 + draws.uniform(-0.03, 0.03) - (0.045 * max(0, week - 8))
        add("auroc", end, 28, value=value, low=value - 0.09, high=value + 0.09,
            reference=0.782, is_over_limit=value + 0.09 < 0.732)  # fmt: skip
        add("observed_expected", end, 28, value=0.95 + 0.04 * week, low=0.6 + 0.03 * week,
            high=1.35 + 0.05 * week, reference=1.0)  # fmt: skip
    for month in range(12):
        end = date(2023 + (7 + month) // 12, (7 + month) % 12 + 1, 1)
        drift = 0.62 if month == 7 else draws.uniform(0.03, 0.14)
        add("prediction_psi", end, 30, value=drift, reference=0.21, is_over_limit=drift > 0.2)
        add(
            "input_psi_age_years",
            end,
            30,
            value=drift * 0.9,
            reference=0.23,
            is_over_limit=drift > 0.2,
        )
    return made


def _alerts() -> Rows:
    def alert(n: int, kind: str, severity: str, state: str, message: str) -> dict:
        return {
            "fingerprint": str(n), "source": "model-performance-monitoring-watch", "kind": kind,
            "severity": severity, "state": state, "message": message, "value": 0.62,
            "threshold": 0.2, "labels": "{}", "first_seen_at": datetime(2024, 2, 1, tzinfo=UTC),
            "last_seen_at": datetime(2024, 6, 1, tzinfo=UTC),
        }  # fmt: skip

    return [
        alert(1, "accuracy_drop", "critical", "firing",
              "AUROC of dropout_risk version 2 fell to 0.58, 0.15 below its limit"),
        alert(2, "prediction_drift", "warning", "firing",
              "predictions of subjects new in February 2024 differ: PSI 0.62, limit 0.20"),
        alert(3, "quality_score", "warning", "resolved",
              "quality score of omop.measurement is 93.8%, below 95%"),
    ]  # fmt: skip


def _tasks() -> Rows:
    made, clock = [], datetime(2024, 6, 30, 12, 1, tzinfo=UTC)
    for name, seconds, metrics in (
        ("patient_ingestion.land", 21.4, {"files": 12, "received": 68430}),
        ("patient_ingestion.validate", 14.0, {"valid": 66867, "quarantined": 713}),
        ("patient_ingestion.check_consent", 4.1, {"permitted": 294, "refused": 6}),
        ("patient_ingestion.deidentify", 6.2, {"persons": 294}),
        ("patient_ingestion.publish", 38.9, {"rows": 66102, "tables": 17}),
        ("data_standardization.map_persons", 7.7, {"person": 294}),
        ("data_standardization.map_measurements", 19.8, {"measurement": 47680}),
        ("feature_engineering.build", 16.3, {"rows": 9120, "subjects": 300}),
        ("model_training.train", 41.0, {"trials": 16, "auroc": 0.7821}),
        ("model_evaluation.evaluate", 9.4, {"rows": 2140}),
        ("model_deployment.score", 6.6, {"rows": 4410}),
        ("model_performance_monitoring.measure", 8.2, {"windows": 56, "over_limit": 7}),
    ):
        job, task = name.split(".")
        clock += timedelta(seconds=seconds)
        made.append({
            "run_id": "r", "job": job, "task": task, "entry_point": name, "attempt": 1,
            "state": "success", "recorded_at": clock, "duration_seconds": seconds,
            "metrics": json.dumps({**metrics, "outcome": "fine"}), "as_of": AS_OF,
        })  # fmt: skip
    return made
