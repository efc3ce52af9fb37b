"""Scores of failing organs: MELD 3.0 of the liver, SOFA of six organ systems."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.methods.scores.biomarkers import (
    AGE_ADULT,
    BILIRUBIN,
    CREATININE,
    PLATELETS,
    SEX,
    SODIUM,
)
from clinical_lakehouse.methods.scores.formula import Formula, Input, Inputs, below


def _clamped(value: Column, low: float, high: float) -> Column:
    return F.least(F.greatest(value, F.lit(low)), F.lit(high))


def _meld_3(of: Inputs) -> Column:
    """Two dialyses in the last week, or 24 hours of haemofiltration, stand for 3 mg/dL."""
    measured = _clamped(of["creatinine_mg_dl"], 1.0, 3.0)
    creatinine = F.log(F.when(of["had_dialysis"], 3.0).otherwise(measured))
    bilirubin = F.log(F.greatest(of["bilirubin_mg_dl"], F.lit(1.0)))
    inr = F.log(F.greatest(of["inr"], F.lit(1.0)))
    sodium = 137 - _clamped(of["sodium_mmol_l"], 125.0, 137.0)
    albumin = 3.5 - _clamped(of["albumin_g_dl"], 1.5, 3.5)
    score = (
        F.when(of["sex"] == "female", 1.33).otherwise(0.0)
        + 4.56 * bilirubin
        + 0.82 * sodium
        - 0.24 * sodium * bilirubin
        + 9.09 * inr
        + 11.14 * creatinine
        + 1.85 * albumin
        - 1.83 * albumin * creatinine
        + 6
    )
    return _clamped(F.round(score, 0), 6.0, 40.0)


def _sofa(of: Inputs) -> Column:
    """Six organ systems, 0 to 4 points each."""
    platelets = below(of["platelets_10e9_l"], ((20, 4), (50, 3), (100, 2), (150, 1)), 0)
    bilirubin = below(of["bilirubin_mg_dl"], ((1.2, 0), (2, 1), (6, 2), (12, 3)), 4)
    coma = below(of["glasgow_coma_scale"], ((6, 4), (10, 3), (13, 2), (15, 1)), 0)
    return _lungs(of) + platelets + bilirubin + _circulation(of) + coma + _kidneys(of)


def _lungs(of: Inputs) -> Column:
    """Three and four points are only given with ventilatory support."""
    unaided = below(of["pao2_fio2_mmhg"], ((300, 2), (400, 1)), 0)
    aided = below(of["pao2_fio2_mmhg"], ((100, 4), (200, 3), (300, 2), (400, 1)), 0)
    return F.when(of["is_ventilated"], aided).otherwise(unaided)


def _circulation(of: Inputs) -> Column:
    dopamine, dobutamine = of["dopamine_ug_kg_min"], of["dobutamine_ug_kg_min"]
    strong = F.greatest(of["epinephrine_ug_kg_min"], of["norepinephrine_ug_kg_min"])
    return (
        F.when((dopamine > 15) | (strong > 0.1), 4)
        .when((dopamine > 5) | (strong > 0), 3)
        .when((dopamine > 0) | (dobutamine > 0), 2)
        .when(of["mean_arterial_pressure_mmhg"] < 70, 1)
        .otherwise(0)
    )


def _kidneys(of: Inputs) -> Column:
    """By creatinine or by urine, whichever is worse."""
    creatinine = below(of["creatinine_mg_dl"], ((1.2, 0), (2, 1), (3.5, 2), (5, 3)), 4)
    urine = below(of["urine_ml_day"], ((200, 4), (500, 3)), 0)
    return F.greatest(creatinine, urine)


def _dose(drug: str) -> Input:
    """A vasopressor's rate; none recorded is none given."""
    return Input(f"{drug}_ug_kg_min", 0, 200, default=0.0)


ORGAN_SCORES = (
    Formula(
        "meld_3",
        "{score}",
        "Kim et al., Gastroenterology 2021;161:1887-95; OPTN policy 9.1.D (2023): 6 to 40",
        (
            *(SEX, AGE_ADULT, BILIRUBIN, SODIUM, CREATININE),
            Input("inr", 0.5, 20),
            Input("albumin_g_dl", 0.5, 7),
            Input("had_dialysis", default=False),
        ),
        _meld_3,
    ),
    Formula(
        "sofa",
        "{score}",
        "Vincent et al., Intensive Care Med 1996;22:707-10",
        (
            *(PLATELETS, BILIRUBIN, CREATININE),
            Input("pao2_fio2_mmhg", 20, 800),
            Input("is_ventilated"),
            Input("mean_arterial_pressure_mmhg", 10, 250),
            *map(_dose, ("dopamine", "dobutamine", "epinephrine", "norepinephrine")),
            Input("glasgow_coma_scale", 3, 15),
            # Urine is an alternative to creatinine: where it was not collected, creatinine decides.
            Input("urine_ml_day", 0, 20000, default=20000.0),
        ),
        _sofa,
    ),
)
