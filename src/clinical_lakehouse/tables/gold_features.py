"""Gold features: what was known about a subject on a date, and nothing that came after."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, between, key, not_null

# Measure -> (LOINC code, UCUM unit, low and high plausible value).
MEASURES: dict[str, tuple[str, str, float, float]] = {
    "hba1c": ("4548-4", "%", 3, 20),
    "glucose": ("2345-7", "mg/dL", 20, 1000),
    "creatinine": ("2160-0", "mg/dL", 0.1, 20),
    "alt": ("1742-6", "U/L", 1, 2000),
    "sodium": ("2951-2", "mmol/L", 100, 180),
    "haemoglobin": ("718-7", "g/dL", 3, 25),
    "systolic_bp": ("8480-6", "mm[Hg]", 50, 300),
    "diastolic_bp": ("8462-4", "mm[Hg]", 20, 200),
    "heart_rate": ("8867-4", "/min", 20, 250),
    "weight": ("29463-7", "kg", 20, 350),
    "phq9": ("44261-6", "{score}", 0, 27),
}


def _measure(name: str, unit: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_baseline", "DOUBLE", f"{name}: last value up to enrolment.", unit=unit),
        Column(f"{name}_latest", "DOUBLE", f"{name}: latest value.", unit=unit),
        Column(f"{name}_mean", "DOUBLE", f"{name}: mean of the last 180 days.", unit=unit),
        Column(
            f"{name}_slope",
            "DOUBLE",
            f"{name}: slope of the last 180 days, per 30 days.",
            unit=f"{unit}/(30.d)",
        ),
        Column(
            f"{name}_sd", "DOUBLE", f"{name}: standard deviation of the last 180 days.", unit=unit
        ),
    )


SUBJECT_FEATURE = Table(
    name="gold.subject_feature",
    comment="One row per trial participation and index date: only values dated up to that date.",
    owner="ml-engineering",
    key=("research_subject_key", "index_date"),
    columns=(
        key("research_subject_key", "silver.subject."),
        key("subject_key", "The person."),
        Column("index_date", "DATE", "The as-of date of the features.", False, Phi.PSEUDONYM),
        Column("feature_version", "STRING", "SHA-256 of the feature definitions.", False),
        key("organization_key", "Site.", nullable=True),
        Column("study_day", "INT", "Days since enrolment.", unit="d"),
        Column("age_years", "DOUBLE", "Age, capped at 90.", phi=Phi.QUASI, unit="a"),
        Column("sex", "STRING", "Administrative gender.", phi=Phi.QUASI),
        Column("race", "STRING", "OMB race category.", phi=Phi.QUASI),
        Column("ethnicity", "STRING", "OMB ethnicity category.", phi=Phi.QUASI),
        *(c for name, (_, unit, _, _) in MEASURES.items() for c in _measure(name, unit)),
        Column("visits_planned_count", "INT", "Planned visits in the last 90 days."),
        Column("visits_missed_count", "INT", "Missed visits in the last 90 days."),
        Column("visit_adherence_ratio", "DOUBLE", "Attended over planned since enrolment, 0-1."),
        Column("days_since_visit", "INT", "Days since the last attended visit.", unit="d"),
        Column("adverse_event_30d_count", "INT", "Adverse events in the last 30 days."),
        Column("adverse_event_90d_count", "INT", "Adverse events in the last 90 days."),
        Column("serious_event_count", "INT", "Serious adverse events since enrolment."),
        Column("dose_30d_count", "INT", "Study doses given in the last 30 days."),
        Column("comedication_count", "INT", "Distinct co-medications prescribed."),
        Column("condition_count", "INT", "Distinct conditions known."),
        Column("charlson_score", "INT", "Charlson comorbidity index (Charlson 1987)."),
    ),
    checks=(
        not_null("age_years"),
        between("age_years", 0, 90),
        between("visit_adherence_ratio", 0, 1),
    ),
    retention_days=2555,
    time_key="index_date",
)
