"""The plan's side of the truth: what was planted on purpose, by name, and each subject's row."""

from datetime import date

from clinical_lakehouse.simulation import codes
from clinical_lakehouse.simulation.fhir import Json
from clinical_lakehouse.simulation.hazard import AFTER_CONCEPT_DRIFT, BEFORE_CONCEPT_DRIFT, risk
from clinical_lakehouse.simulation.identity import KINDS as CANARY_KINDS
from clinical_lakehouse.simulation.invalid import IGNORED_KINDS, INVALID_KINDS
from clinical_lakehouse.simulation.person import (
    DRIFT_AGE_YEARS,
    DRIFT_PHQ9_POINTS,
    PHQ9_BIAS_POINTS,
    Person,
)
from clinical_lakehouse.simulation.plan import WAVE_FOLD, TrialPlan
from clinical_lakehouse.simulation.safety import NULL_EVENT, SIGNAL_EVENT, SIGNAL_FOLD
from clinical_lakehouse.simulation.sites import ACTIVE, CONTROL, Site

HORIZON_DAYS = 90
FORMAT = "clinical_lakehouse simulation truth 1"


def head(plan: TrialPlan, sites: tuple[Site, ...], counts: dict[str, dict[str, int]]) -> Json:
    """Everything in truth.json that is not a list of rows."""
    return {
        "format": FORMAT,
        "plan": _plan(plan),
        "signal": _signal(),
        "sites": [_site(site) for site in sites],
        "dropout": {
            "horizon_days": HORIZON_DAYS,
            "coefficients_before": BEFORE_CONCEPT_DRIFT.as_dict(),
            "coefficients_after": AFTER_CONCEPT_DRIFT.as_dict(),
        },
        "drift": _drift(plan),
        "bias": {
            "race_code": codes.BIASED_RACE,
            "race": next(name for code, name, _ in codes.RACES if code == codes.BIASED_RACE),
            "loinc": codes.PHQ9.code.code,
            "points": PHQ9_BIAS_POINTS,
        },
        "invalid_kinds": list(INVALID_KINDS),
        "ignored_kinds": list(IGNORED_KINDS),
        "canary_kinds": list(CANARY_KINDS),
        "counts": counts,
    }


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _plan(plan: TrialPlan) -> Json:
    return {
        "patients": plan.patients,
        "sites": plan.sites,
        "months": plan.months,
        "seed": plan.seed,
        "start": plan.start.isoformat(),
        "end": plan.end.isoformat(),
        "window_from": _iso(plan.window_from),
        "window_to": _iso(plan.window_to),
    }


def _signal() -> Json:
    return {
        "event": SIGNAL_EVENT.name,
        "meddra_pt": SIGNAL_EVENT.meddra.code,
        "snomed": SIGNAL_EVENT.snomed.code,
        "fold": SIGNAL_FOLD,
        "rate_per_28_days": {
            ACTIVE: SIGNAL_EVENT.rate * SIGNAL_FOLD,
            CONTROL: SIGNAL_EVENT.rate,
        },
        "null_event": NULL_EVENT.name,
        "null_meddra_pt": NULL_EVENT.meddra.code,
        "null_snomed": NULL_EVENT.snomed.code,
        "null_rate_per_28_days": NULL_EVENT.rate,
    }


def _site(site: Site) -> Json:
    return {
        "site_id": site.id,
        "name": site.name,
        "ae_recorded_share": site.ae_recorded_share,
        "entry_delay_days": site.entry_delay_days,
        "glucose_in_mmol": site.glucose_in_mmol,
    }


def _drift(plan: TrialPlan) -> Json:
    low, high = plan.drift_interval
    return {
        "population": {
            "month": plan.drift_month,
            "from": low.isoformat(),
            "to": high.isoformat(),
            "age_years": DRIFT_AGE_YEARS,
            "phq9_points": DRIFT_PHQ9_POINTS,
            "enrolment_fold": WAVE_FOLD,
        },
        "concept": {
            "month": plan.concept_month,
            "from": plan.concept_from.isoformat(),
            "to": plan.end.isoformat(),
        },
    }


def subject_row(person: Person) -> Json:
    """A subject's true course: dates, covariates as they are and as measured, hazard per day."""
    before, after = (
        BEFORE_CONCEPT_DRIFT.hazard(person.true),
        AFTER_CONCEPT_DRIFT.hazard(person.true),
    )
    seen_before = BEFORE_CONCEPT_DRIFT.hazard(person.measured)
    return {
        "patient_id": person.id,
        "subject_id": person.subject_id,
        "index": person.index,
        "arm": person.arm,
        "site_id": person.site.id,
        "sex": person.sex,
        "race_code": person.race[0],
        "is_biased": person.is_biased,
        "birth_date": person.birth_date.isoformat(),
        "screened_date": person.screened.isoformat(),
        "randomised_date": person.randomised.isoformat(),
        "dropout_date": _iso(person.dropout),
        "death_date": _iso(person.death),
        "covariates": person.true.as_dict(),
        "covariates_measured": person.measured.as_dict(),
        "daily_hazard_before": before,
        "daily_hazard_after": after,
        "daily_hazard_measured_before": seen_before,
        "daily_hazard_measured_after": AFTER_CONCEPT_DRIFT.hazard(person.measured),
        "risk_90_days": risk(before, HORIZON_DAYS),
        "risk_90_days_after": risk(after, HORIZON_DAYS),
        "risk_90_days_measured": risk(seen_before, HORIZON_DAYS),
    }
