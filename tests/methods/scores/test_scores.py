"""Clinical scores: worked examples that others published, edges of the charts, reasons of nulls."""

import math

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.methods.scores.catalogue import FORMULAS
from clinical_lakehouse.methods.scores.formula import scored

WELL = {
    "respiratory_rate_min": 16,
    "oxygen_saturation_percent": 97,
    "on_oxygen": False,
    "systolic_bp_mmhg": 120,
    "heart_rate_min": 70,
    "consciousness": "alert",
    "temperature_cel": 37.0,
}
LIVER = ("sex", "bilirubin_mg_dl", "sodium_mmol_l", "inr", "creatinine_mg_dl", "albumin_g_dl")
ORGANS = {
    "pao2_fio2_mmhg": 450,
    "is_ventilated": False,
    "platelets_10e9_l": 200,
    "bilirubin_mg_dl": 0.8,
    "mean_arterial_pressure_mmhg": 85,
    "glasgow_coma_scale": 15,
    "creatinine_mg_dl": 0.9,
}
NO_STROKE_RISK = {
    "age_years": 60,
    "sex": "male",
    "has_heart_failure": False,
    "has_hypertension": False,
    "has_diabetes": False,
    "had_stroke_or_embolism": False,
    "has_vascular_disease": False,
}


def _liver(*values):
    return {"age_years": 40, **dict(zip(LIVER, values, strict=True))}


# (score, inputs, value as published, digits published)
PUBLISHED = {
    # MedCalc-Bench (Khandekar et al., NeurIPS 2024), one-shot examples 3, 4, 5, 6, 18 and 39
    "egfr 81 m": ("egfr_ckd_epi_2021", {"age_years": 81, "sex": "male", "creatinine_mg_dl": 1.7},
                  40.0, 0),
    "stroke 62 m": ("cha2ds2_vasc", NO_STROKE_RISK | {"age_years": 62, "has_heart_failure": True,
                                                      "had_stroke_or_embolism": True}, 3, 0),
    "pressure": ("mean_arterial_pressure", {"systolic_bp_mmhg": 110, "diastolic_bp_mmhg": 70},
                 83.333, 3),
    "bmi": ("bmi", {"weight_kg": 68, "height_cm": 182}, 20.529, 3),
    "gap": ("anion_gap", {"sodium_mmol_l": 133, "chloride_mmol_l": 105, "bicarbonate_mmol_l": 22},
            6.0, 3),
    "fib4": ("fib4", {"age_years": 17, "ast_u_l": 108, "alt_u_l": 144, "platelets_10e9_l": 277},
             0.552, 3),
    # National Kidney Foundation's calculator: 55 years, male, 1.2 mg/dL
    "egfr 55 m": ("egfr_ckd_epi_2021", {"age_years": 55, "sex": "male", "creatinine_mg_dl": 1.2},
                  71, 0),
    # zenhealthcare.com.np, "Why having normal blood glucose levels ...": patients A and B
    "homa a": ("homa_ir", {"fasting_glucose_mg_dl": 90, "fasting_insulin_uu_ml": 4}, 0.89, 2),
    "homa b": ("homa_ir", {"fasting_glucose_mg_dl": 82, "fasting_insulin_uu_ml": 14}, 2.83, 2),
    # thetechedvocate.org, "How to calculate NLR ratio"
    "nlr": ("neutrophil_lymphocyte_ratio",
            {"neutrophils_10e9_l": 4.2, "lymphocytes_10e9_l": 2.2}, 1.91, 2),
    # R package cliot, example 1 of news2_score: COPD, scale 2, on oxygen
    "news copd": ("news2", {"respiratory_rate_min": 22, "oxygen_saturation_percent": 90,
                            "on_oxygen": True, "systolic_bp_mmhg": 130, "heart_rate_min": 80,
                            "consciousness": "alert", "temperature_cel": 37.0,
                            "is_hypercapnic": True}, 4, 0),
    # The package clinical_calculators, its tests of the formula of OPTN policy 9.1.D: 27.6056
    # and, for a creatinine of 0.6 mg/dL under dialysis, 18.2385.
    "meld f": ("meld_3", _liver("female", 3, 130, 2, 1.5, 3.0), 28, 0),
    "meld dialysis": ("meld_3", _liver("male", 1, 137, 1, 0.6, 3.5) | {"had_dialysis": True}, 18,
                      0),
}  # fmt: skip
# Inputs of table 4 of Kim et al. 2021, and a grid of creatinine and albumin.
KIM = (
    *(
        ("male", 4.0, 130, 1.4, creatinine / 10, albumin / 10)
        for creatinine in range(10, 31, 4)
        for albumin in range(15, 36, 4)
    ),
    ("male", 2.5, 131, 1.0, 1.2, 3.8),
    ("female", 2.5, 131, 1.0, 1.2, 3.8),
    ("male", 6.0, 131, 1.5, 1.5, 3.5),
    ("male", 6.0, 131, 1.5, 1.5, 2.2),
    ("female", 6.0, 131, 1.5, 1.5, 2.2),
    ("male", 12.0, 128, 2.2, 1.8, 2.0),
    ("male", 12.0, 128, 2.2, 2.8, 2.0),
    ("female", 12.0, 128, 2.2, 2.8, 2.0),
)
# Chart 1 of NEWS2 (RCP 2017): one vital sign leaves the normal range, the others stay in it.
NEWS = {
    ("respiratory_rate_min", ()): {8: 3, 9: 1, 11: 1, 12: 0, 20: 0, 21: 2, 24: 2, 25: 3},
    ("oxygen_saturation_percent", ()): {91: 3, 92: 2, 93: 2, 94: 1, 95: 1, 96: 0},
    ("oxygen_saturation_percent", ("is_hypercapnic",)): {
        83: 3, 84: 2, 85: 2, 86: 1, 87: 1, 88: 0, 92: 0, 93: 0, 99: 0,
    },
    # two points more: for the oxygen itself
    ("oxygen_saturation_percent", ("is_hypercapnic", "on_oxygen")): {
        83: 5, 87: 3, 88: 2, 92: 2, 93: 3, 94: 3, 95: 4, 96: 4, 97: 5,
    },
    ("systolic_bp_mmhg", ()): {90: 3, 91: 2, 100: 2, 101: 1, 110: 1, 111: 0, 219: 0, 220: 3},
    ("heart_rate_min", ()): {40: 3, 41: 1, 50: 1, 51: 0, 90: 0, 91: 1, 110: 1, 111: 2, 130: 2,
                             131: 3},
    ("consciousness", ()): {"alert": 0, "confused": 3, "voice": 3, "pain": 3, "unresponsive": 3},
    ("temperature_cel", ()): {35.0: 3, 35.1: 1, 36.0: 1, 36.1: 0, 38.0: 0, 38.1: 1, 39.0: 1,
                              39.1: 2},
}  # fmt: skip
# Table 3 of Vincent et al. 1996, in mg/dL as the MSD Manual's calculator bounds it.
SOFA = (
    *(({"pao2_fio2_mmhg": at}, points) for at, points in
      ((400, 0), (399, 1), (300, 1), (299, 2), (150, 2), (90, 2))),
    *(({"pao2_fio2_mmhg": at, "is_ventilated": True}, points) for at, points in
      ((200, 2), (199, 3), (100, 3), (99, 4))),
    *(({"platelets_10e9_l": at}, points) for at, points in
      ((150, 0), (149, 1), (99, 2), (49, 3), (19, 4))),
    *(({"bilirubin_mg_dl": at}, points) for at, points in
      ((1.1, 0), (1.2, 1), (1.9, 1), (2.0, 2), (5.9, 2), (6.0, 3), (11.9, 3), (12.0, 4))),
    *(({"glasgow_coma_scale": at}, points) for at, points in
      ((15, 0), (14, 1), (13, 1), (12, 2), (10, 2), (9, 3), (6, 3), (5, 4))),
    *(({"creatinine_mg_dl": at}, points) for at, points in
      ((1.1, 0), (1.2, 1), (2.0, 2), (3.5, 3), (5.0, 4))),
    ({"urine_ml_day": 499}, 3),
    ({"urine_ml_day": 199}, 4),
    ({"mean_arterial_pressure_mmhg": 69}, 1),
    ({"dobutamine_ug_kg_min": 20}, 2),
    ({"dopamine_ug_kg_min": 5}, 2),
    ({"dopamine_ug_kg_min": 5.1}, 3),
    ({"epinephrine_ug_kg_min": 0.1}, 3),
    ({"norepinephrine_ug_kg_min": 0.11}, 4),
    ({"dopamine_ug_kg_min": 15.1}, 4),
    ({"bilirubin_mg_dl": 2.5, "platelets_10e9_l": 80, "glasgow_coma_scale": 12,
      "creatinine_mg_dl": 4, "mean_arterial_pressure_mmhg": 60}, 2 + 2 + 2 + 3 + 1),
)  # fmt: skip
REASONS = {
    "all missing": ("bmi", {}, "missing: weight_kg, height_cm"),
    "one null": ("bmi", {"weight_kg": 70, "height_cm": None}, "missing: height_cm"),
    "child": ("egfr_ckd_epi_2021", {"age_years": 9, "sex": "male", "creatinine_mg_dl": 0.5},
              "not defined for: age_years (18-120)"),
    "sex": ("egfr_ckd_epi_2021", {"age_years": 40, "sex": "unknown", "creatinine_mg_dl": 1.0},
            "not defined for: sex (must be male or female)"),
    "no division by zero": ("neutrophil_lymphocyte_ratio",
                            {"neutrophils_10e9_l": 4.0, "lymphocytes_10e9_l": 0},
                            "not defined for: lymphocytes_10e9_l (0.01-500)"),
    "a flag not known": ("news2", WELL | {"on_oxygen": None}, "missing: on_oxygen"),
    "half a SOFA": ("sofa", {k: v for k, v in ORGANS.items() if k != "glasgow_coma_scale"},
                    "missing: glasgow_coma_scale"),
}  # fmt: skip


def _cases():
    """(name, score, inputs) of everything below, so that Spark computes it in one action."""
    yield from ((name, case[0], case[1]) for name, case in (PUBLISHED | REASONS).items())
    yield from ((("kim", at), "meld_3", _liver(*row)) for at, row in enumerate(KIM))
    for (sign, flags), points in NEWS.items():
        for at in points:
            given = WELL | {sign: at} | dict.fromkeys(flags, True)
            yield ("news", sign, flags, at), "news2", given
    yield from ((("sofa", at), "sofa", ORGANS | given) for at, (given, _) in enumerate(SOFA))
    yield from (((name, "nothing"), name, {}) for name in FORMULAS)


def _kind(one):
    return "STRING" if one.words else "BOOLEAN" if one.low is None else "DOUBLE"


@pytest.fixture(scope="module")
def found(spark):
    """(value, reason) of every case: a row each, every formula over its columns."""
    cases = list(_cases())
    kinds = {one.name: _kind(one) for formula in FORMULAS.values() for one in formula.inputs}
    rows = [
        (at, score, *(_cell(given.get(name), kind) for name, kind in kinds.items()))
        for at, (_, score, given) in enumerate(cases)
    ]
    schema = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    table = spark.createDataFrame(rows, f"at INT, score STRING, {schema}")
    columns = {name: F.col(name) for name in kinds}
    of_score = [
        F.when(F.col("score") == name, scored(formula, columns))
        for name, formula in FORMULAS.items()
    ]
    told = table.select("at", F.coalesce(*of_score).alias("made")).collect()
    return {cases[row.at][0]: tuple(row.made) for row in told}


def _cell(value, kind):
    return float(value) if kind == "DOUBLE" and value is not None else value


@pytest.mark.parametrize("name", PUBLISHED)
def test_score_is_the_published_one(found, name):
    _, _, published, digits = PUBLISHED[name]
    value, reason = found[name]
    assert round(value, digits) == pytest.approx(published)
    assert reason is None


def test_meld_3_is_the_formula_of_its_paper_within_its_bounds(found):
    for at, (sex, bilirubin, sodium, inr, creatinine, albumin) in enumerate(KIM):
        low = 137 - sodium
        thin = 3.5 - min(albumin, 3.5)
        by_hand = (
            1.33 * (sex == "female") + 4.56 * math.log(bilirubin) + 0.82 * low
            - 0.24 * low * math.log(bilirubin) + 9.09 * math.log(inr)
            + 11.14 * math.log(creatinine) + 1.85 * thin - 1.83 * thin * math.log(creatinine) + 6
        )  # fmt: skip
        assert found["kim", at] == (math.floor(by_hand + 0.5), None)


def test_news2_gives_the_points_of_its_chart(found):
    told = {(key, at): points for key, chart in NEWS.items() for at, points in chart.items()}
    assert {(k[1:3], k[3]): v[0] for k, v in found.items() if k[0] == "news"} == told


def test_sofa_gives_the_points_of_its_table(found):
    assert [found["sofa", at][0] for at in range(len(SOFA))] == [points for _, points in SOFA]


@pytest.mark.parametrize("name", REASONS)
def test_a_score_that_cannot_be_had_is_null_and_says_why(found, name):
    assert found[name] == (None, REASONS[name][2])


def test_no_score_is_made_of_nothing(found):
    for name, formula in FORMULAS.items():
        value, reason = found[name, "nothing"]
        needed = [one.name for one in formula.inputs if one.default is None]
        assert (value, reason) == (None, f"missing: {', '.join(needed)}")


def test_every_score_names_its_source_and_unit():
    for formula in FORMULAS.values():
        assert any(
            year.isdigit() and len(year) == 4
            for year in formula.source.replace(";", " ")
            .replace(",", " ")
            .replace("(", " ")
            .replace(")", " ")
            .replace(":", " ")
            .split()
        )
        assert formula.unit
