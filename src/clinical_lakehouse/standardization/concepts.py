"""OMOP concept ids that rules, not the vocabulary, decide: the same in every release."""

from collections.abc import Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

EHR = 32817
EHR_ADMINISTRATION = 32818
EHR_ENCOUNTER = 32827
EHR_PRESCRIPTION = 32838
EHR_PROBLEM_LIST = 32840
CASE_REPORT_FORM = 32809
ALGORITHM_ON_EHR = 32882
STANDARD_ALGORITHM = 32880
CDM_5_4 = 756265
CONFIRMED_DIAGNOSIS, PRELIMINARY_DIAGNOSIS, RESOLVED_CONDITION = 32893, 32899, 32906
YES, NO = 4188539, 4188540

GENDER = {"male": 8507, "female": 8532}
# OMB categories by their CDC code: race and ethnicity.
RACE = {"2106-3": 8527, "2054-5": 8516, "2028-9": 8515, "1002-5": 8657, "2076-8": 8557}
ETHNICITY = {"2135-2": 38003563, "2186-5": 38003564}
# v3-ActCode classes of encounter.
VISIT = {
    "AMB": 9202,
    "EMER": 9203,
    "IMP": 9201,
    "ACUTE": 9201,
    "NONAC": 9201,
    "SS": 9202,
    "OBSENC": 581385,
    "HH": 581476,
    "VR": 722455,
}
# condition-ver-status; what is refuted or entered in error makes no record.
VERIFICATION = {
    "confirmed": CONFIRMED_DIAGNOSIS,
    "provisional": PRELIMINARY_DIAGNOSIS,
    "differential": PRELIMINARY_DIAGNOSIS,
}
OPERATOR = {"<": 4171756, "<=": 4171754, ">": 4172704, ">=": 4171755}
# An allergy known by its substance (HL7 FHIR-to-OMOP guide): kind of allergy by category.
ALLERGY_TO = {
    "food": 4188027,
    "medication": 439224,
    "environment": 4144450,
    "biologic": 43530807,
}


def concept_of(column: str, concepts: Mapping[str, int]) -> Column:
    """The concept id of a code by a fixed list: null for none."""
    pairs = [F.lit(item) for pair in concepts.items() for item in pair]
    return F.create_map(*pairs)[F.col(column)]


def concept_or_zero(column: str, concepts: Mapping[str, int]) -> Column:
    """The concept id of a code by a fixed list: 0 for none."""
    return F.coalesce(concept_of(column, concepts), F.lit(0))
