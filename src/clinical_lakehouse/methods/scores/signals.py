"""Where a score's inputs stand in records: LOINC codes with their units, ICD-10 and SNOMED CT."""

from clinical_lakehouse.methods.comorbidity import Group

# Input -> (LOINC codes, UCUM units that mean the same number). What is not here (consciousness,
# oxygen given, PaO2/FiO2, fasting insulin) has no measurement that says it, so that the scores
# which need it are null and say so.
MEASURED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "weight_kg": (("29463-7", "3141-9"), ("kg",)),
    "height_cm": (("8302-2",), ("cm",)),
    "systolic_bp_mmhg": (("8480-6",), ("mm[Hg]",)),
    "diastolic_bp_mmhg": (("8462-4",), ("mm[Hg]",)),
    "mean_arterial_pressure_mmhg": (("8478-0",), ("mm[Hg]",)),
    "heart_rate_min": (("8867-4",), ("/min", "{beats}/min")),
    "respiratory_rate_min": (("9279-1",), ("/min", "{breaths}/min")),
    "oxygen_saturation_percent": (("2708-6", "59408-5"), ("%",)),
    "temperature_cel": (("8310-5",), ("Cel",)),
    "glasgow_coma_scale": (("9269-2",), ("{score}", "1")),
    "creatinine_mg_dl": (("2160-0", "38483-4"), ("mg/dL",)),
    "sodium_mmol_l": (("2951-2", "2947-0"), ("mmol/L", "meq/L")),
    "chloride_mmol_l": (("2075-0", "2069-3"), ("mmol/L", "meq/L")),
    "bicarbonate_mmol_l": (("1963-8", "2028-9", "20565-8"), ("mmol/L", "meq/L")),
    "albumin_g_dl": (("1751-7",), ("g/dL",)),
    "bilirubin_mg_dl": (("1975-2",), ("mg/dL",)),
    "ast_u_l": (("1920-8",), ("U/L",)),
    "alt_u_l": (("1742-6",), ("U/L",)),
    "inr": (("6301-6", "34714-6"), ("{INR}", "1")),
    "platelets_10e9_l": (("777-3", "26515-7"), ("10*3/uL", "10*9/L")),
    "neutrophils_10e9_l": (("751-8", "26499-4"), ("10*3/uL", "10*9/L")),
    "lymphocytes_10e9_l": (("731-0", "26474-7"), ("10*3/uL", "10*9/L")),
    "fasting_glucose_mg_dl": (("1558-6",), ("mg/dL",)),
}
# ICD-10 codes of Friberg et al., Eur Heart J 2012;33:1500-10, table 1, and usual SNOMED CT codes.
# A disease that no record names is taken as absent: that is how the score was validated.
DISEASES = (
    Group("has_heart_failure", 1, "I50", "84114007 42343007 85232009 88805009"),
    Group("has_hypertension", 1, "I10-I15", "38341003 59621000 1201005"),
    Group("has_diabetes", 1, "E10-E14", "44054006 46635009 73211009 127013003 4855003"),
    Group(
        "had_stroke_or_embolism",
        2,
        "I63 I64 I74 G45",
        "230690007 422504002 266257000 414086009",
    ),
    Group(
        "has_vascular_disease",
        1,
        "I21 I252 I70-I73",
        "22298006 399211009 1755008 399957001 400047006",
    ),
)
