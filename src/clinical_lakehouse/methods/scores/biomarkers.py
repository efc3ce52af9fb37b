"""Indices that are one formula over a few measurements, each with the paper it comes from."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.methods.scores.formula import Formula, Input, Inputs

AGE_ADULT = Input("age_years", 18, 120)
SEX = Input("sex", words=("male", "female"))
CREATININE = Input("creatinine_mg_dl", 0.1, 40)
BILIRUBIN = Input("bilirubin_mg_dl", 0.05, 100)
PLATELETS = Input("platelets_10e9_l", 1, 3000)
SODIUM = Input("sodium_mmol_l", 90, 200)
SYSTOLIC = Input("systolic_bp_mmhg", 20, 350)
_DIASTOLIC = Input("diastolic_bp_mmhg", 10, 250)


def _bmi(of: Inputs) -> Column:
    metres = of["height_cm"] / 100
    return of["weight_kg"] / (metres * metres)


def _mean_arterial_pressure(of: Inputs) -> Column:
    return (of["systolic_bp_mmhg"] + 2 * of["diastolic_bp_mmhg"]) / 3


def _anion_gap(of: Inputs) -> Column:
    return of["sodium_mmol_l"] - of["chloride_mmol_l"] - of["bicarbonate_mmol_l"]


def _neutrophil_lymphocyte(of: Inputs) -> Column:
    return of["neutrophils_10e9_l"] / of["lymphocytes_10e9_l"]


def _homa_ir(of: Inputs) -> Column:
    return of["fasting_glucose_mg_dl"] * of["fasting_insulin_uu_ml"] / 405


def _fib4(of: Inputs) -> Column:
    return of["age_years"] * of["ast_u_l"] / (of["platelets_10e9_l"] * F.sqrt(of["alt_u_l"]))


def _egfr_ckd_epi_2021(of: Inputs) -> Column:
    """142 x min(Scr/k, 1)^a x max(Scr/k, 1)^-1.200 x 0.9938^age x 1.012 if female."""
    female = of["sex"] == "female"
    ratio = of["creatinine_mg_dl"] / F.when(female, 0.7).otherwise(0.9)
    low = F.pow(F.least(ratio, F.lit(1.0)), F.when(female, -0.241).otherwise(-0.302))
    high = F.pow(F.greatest(ratio, F.lit(1.0)), F.lit(-1.2))
    aged = F.pow(F.lit(0.9938), of["age_years"])
    return 142 * low * high * aged * F.when(female, 1.012).otherwise(1.0)


BIOMARKERS = (
    Formula(
        "bmi",
        "kg/m2",
        "Quetelet 1842; WHO Technical Report Series 894 (2000)",
        (Input("weight_kg", 1, 650), Input("height_cm", 30, 275)),
        _bmi,
    ),
    Formula(
        "mean_arterial_pressure",
        "mm[Hg]",
        "Gauer, Lehrbuch der Physiologie des Menschen (1960): a third of the pulse pressure",
        (SYSTOLIC, _DIASTOLIC),
        _mean_arterial_pressure,
    ),
    Formula(
        "anion_gap",
        "mmol/L",
        "Emmett and Narins, Medicine 1977;56:38-54 (without potassium)",
        (SODIUM, Input("chloride_mmol_l", 50, 150), Input("bicarbonate_mmol_l", 1, 60)),
        _anion_gap,
    ),
    Formula(
        "neutrophil_lymphocyte_ratio",
        "{ratio}",
        "Zahorec, Bratisl Lek Listy 2001;102:5-14",
        (Input("neutrophils_10e9_l", 0, 500), Input("lymphocytes_10e9_l", 0.01, 500)),
        _neutrophil_lymphocyte,
    ),
    Formula(
        "homa_ir",
        "{ratio}",
        "Matthews et al., Diabetologia 1985;28:412-9 (22.5 mmol/L is 405 mg/dL)",
        (Input("fasting_glucose_mg_dl", 20, 1000), Input("fasting_insulin_uu_ml", 0.1, 1000)),
        _homa_ir,
    ),
    Formula(
        "fib4",
        "{ratio}",
        "Sterling et al., Hepatology 2006;43:1317-25",
        (
            Input("age_years", 0, 120),
            Input("ast_u_l", 1, 20000),
            Input("alt_u_l", 1, 20000),
            PLATELETS,
        ),
        _fib4,
    ),
    Formula(
        "egfr_ckd_epi_2021",
        "mL/min/{1.73_m2}",
        "Inker et al., N Engl J Med 2021;385:1737-49 (creatinine, without race)",
        (CREATININE, AGE_ADULT, SEX),
        _egfr_ckd_epi_2021,
    ),
)
