"""Point scores that a person could add up: NEWS2 of vital signs, CHA2DS2-VASc of stroke risk."""

from functools import reduce
from operator import add

from pyspark.sql import Column
from pyspark.sql import functions as F

from clinical_lakehouse.methods.scores.biomarkers import AGE_ADULT, SEX, SYSTOLIC
from clinical_lakehouse.methods.scores.formula import Formula, Input, Inputs, banded

_RESPIRATION = ((8, 3), (11, 1), (20, 0), (24, 2))
_SATURATION = ((91, 3), (93, 2), (95, 1))
# Scale 2: for people whose target is 88-92%; too much oxygen harms them, so it scores as well.
_SATURATION_TARGET_AIR = ((83, 3), (85, 2), (87, 1))
_SATURATION_TARGET_OXYGEN = ((83, 3), (85, 2), (87, 1), (92, 0), (94, 1), (96, 2))
_PRESSURE = ((90, 3), (100, 2), (110, 1), (219, 0))
_PULSE = ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2))
_TEMPERATURE = ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1))
_ALERTNESS = ("alert", "confused", "voice", "pain", "unresponsive")
_STROKE_POINTS = {
    "has_heart_failure": 1,
    "has_hypertension": 1,
    "has_diabetes": 1,
    "had_stroke_or_embolism": 2,
    "has_vascular_disease": 1,
}


def _news2(of: Inputs) -> Column:
    """Seven parts of the chart; vital signs are rounded to the precision the chart has."""
    points = [
        banded(F.round(of["respiratory_rate_min"], 0), _RESPIRATION, 3),
        _saturation(of),
        F.when(of["on_oxygen"], 2).otherwise(0),
        banded(F.round(of["systolic_bp_mmhg"], 0), _PRESSURE, 3),
        banded(F.round(of["heart_rate_min"], 0), _PULSE, 3),
        F.when(of["consciousness"] == "alert", 0).otherwise(3),
        banded(F.round(of["temperature_cel"], 1), _TEMPERATURE, 2),
    ]
    return reduce(add, points)


def _saturation(of: Inputs) -> Column:
    spo2 = F.round(of["oxygen_saturation_percent"], 0)
    on_air = banded(spo2, _SATURATION_TARGET_AIR, 0)
    on_oxygen = banded(spo2, _SATURATION_TARGET_OXYGEN, 3)
    second = F.when(of["on_oxygen"], on_oxygen).otherwise(on_air)
    return F.when(of["is_hypercapnic"], second).otherwise(banded(spo2, _SATURATION, 0))


def _cha2ds2_vasc(of: Inputs) -> Column:
    aged = F.when(of["age_years"] >= 75, 2).when(of["age_years"] >= 65, 1).otherwise(0)
    female = F.when(of["sex"] == "female", 1).otherwise(0)
    ill = [F.when(of[name], worth).otherwise(0) for name, worth in _STROKE_POINTS.items()]
    return reduce(add, ill, aged + female)


BEDSIDE_SCORES = (
    Formula(
        "news2",
        "{score}",
        "Royal College of Physicians, National Early Warning Score (NEWS) 2, 2017, chart 1",
        (
            Input("respiratory_rate_min", 1, 100),
            Input("oxygen_saturation_percent", 30, 100),
            Input("on_oxygen"),
            SYSTOLIC,
            Input("heart_rate_min", 10, 350),
            Input("consciousness", words=_ALERTNESS),
            Input("temperature_cel", 25, 45),
            # Scale 2 is only for people with a prescribed target of 88-92%; scale 1 for others.
            Input("is_hypercapnic", default=False),
        ),
        _news2,
    ),
    Formula(
        "cha2ds2_vasc",
        "{score}",
        "Lip et al., Chest 2010;137:263-72, table 2",
        (AGE_ADULT, SEX, *(Input(name) for name in _STROKE_POINTS)),
        _cha2ds2_vasc,
    ),
)
