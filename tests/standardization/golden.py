"""Four people with every kind of record, and a vocabulary of a handful of concepts."""

from datetime import UTC, datetime

from clinical_lakehouse.tables import silver

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def at(day: int, hour: int = 8) -> datetime:
    return datetime(2024, 3, day, hour, tzinfo=UTC)


PATIENTS = [
    {"subject_key": 1, "sex": "female", "birth_year": 1980, "race_code": "2106-3"},
    {"subject_key": 2, "sex": "male", "is_over_89": True, "ethnicity_code": "2135-2",
     "is_deceased": True, "deceased_at": at(20)},
    {"subject_key": 3, "sex": "other", "race_code": "2131-1", "birth_year": 1990,
     "is_deceased": True},
    {"subject_key": 4, "sex": "female"},
]  # fmt: skip
ENCOUNTERS = [
    {"encounter_key": 11, "subject_key": 1, "status": "finished", "class_code": "AMB",
     "started_at": at(1), "ended_at": at(1, 9)},
    {"encounter_key": 12, "subject_key": 2, "status": "finished", "class_code": "EMER",
     "started_at": at(2), "practitioner_key": 5},
    {"encounter_key": 13, "subject_key": 1, "status": "in-progress", "class_code": "IMP",
     "started_at": at(3)},
    {"encounter_key": 14, "subject_key": 1, "status": "finished", "class_code": "ODD",
     "started_at": at(4)},
    {"encounter_key": 15, "subject_key": 1, "status": "cancelled", "started_at": at(28)},
    {"encounter_key": 16, "subject_key": 1, "status": "finished"},
    {"encounter_key": 17, "subject_key": 4, "status": "finished", "started_at": at(5)},
]  # fmt: skip
# keys: 30 panel with two components, 31 comparator, 32 coded survey, 33 coded lab, 34 yes/no,
# 35 dated by its visit, 36 not dated at all, 37 mistake, 38 of a person without birth year
OBSERVATIONS = [
    {"observation_key": 30, "component_index": 0, "code": "85354-9", "has_value": False,
     "category_code": "vital-signs"},
    {"observation_key": 30, "component_index": 1, "code": "8480-6", "value_number": 120.0,
     "unit_code": "mm[Hg]", "unit": "mmHg", "has_value": True, "category_code": "vital-signs"},
    {"observation_key": 30, "component_index": 2, "code": "8462-4", "value_number": 80.0,
     "unit_code": "mm[Hg]", "unit": "mmHg", "has_value": True, "category_code": "vital-signs"},
    {"observation_key": 31, "code": "1742-6", "value_number": 5.0, "comparator": "<",
     "unit_code": "[made-up]", "range_low": 7.0, "range_high": 56.0, "has_value": True},
    {"observation_key": 32, "code": "72166-2", "category_code": "survey", "has_value": True,
     "value_code_system": SNOMED, "value_code": "266919005", "value_display": "Never smoker"},
    {"observation_key": 33, "code": "32465-7", "category_code": "exam", "has_value": True,
     "value_code_system": SNOMED, "value_code": "300531004"},
    {"observation_key": 34, "code": "1-1", "category_code": "laboratory", "has_value": True,
     "value_boolean": True, "subject_key": 2},
    {"observation_key": 35, "code": "2345-7", "value_number": 99.0, "has_value": True,
     "effective_at": None, "encounter_key": 12, "subject_key": 2},
    {"observation_key": 36, "code": "2345-7", "value_number": 98.0, "has_value": True,
     "effective_at": None},
    {"observation_key": 37, "code": "2345-7", "value_number": 97.0, "has_value": True,
     "status": "entered-in-error", "effective_at": at(30)},
    {"observation_key": 38, "code": "2345-7", "value_number": 96.0, "has_value": True,
     "subject_key": 4},
]  # fmt: skip
OBSERVED = {"subject_key": 1, "status": "final", "component_index": 0, "code_system": LOINC,
            "effective_at": at(1)}  # fmt: skip
EVENTS = {
    silver.CONDITION: [
        {"condition_key": 40, "code_system": SNOMED, "code": "44054006", "onset_at": at(6),
         "abatement_at": at(16), "clinical_status": "resolved",
         "category_code": "problem-list-item"},
        {"condition_key": 41, "code_system": SNOMED, "code": "38341003", "recorded_at": at(7),
         "verification_status": "refuted"},
        {"condition_key": 42, "code_system": "http://local.example", "code": "Z" * 60,
         "verification_status": "provisional", "clinical_status": "resolved",
         "recorded_at": at(7)},
    ],
    silver.MEDICATION_REQUEST: [
        {"medication_request_key": 50, "code_system": RXNORM, "code": "860975",
         "authored_at": at(1), "supply_days": 10.0, "quantity": 20.0, "refills": 1},
        {"medication_request_key": 51, "code_system": RXNORM, "code": "860975",
         "authored_at": at(2)},
    ],
    silver.MEDICATION_ADMINISTRATION: [
        {"medication_administration_key": 52, "code_system": RXNORM, "code": "860975",
         "started_at": at(1), "ended_at": at(2), "dose_value": 5.0, "dose_unit": "mg",
         "route_code": "26643006"},
    ],
    silver.IMMUNIZATION: [
        {"immunization_key": 53, "code_system": "http://hl7.org/fhir/sid/cvx", "code": "140",
         "occurred_at": at(1)},
        {"immunization_key": 54, "code_system": "http://hl7.org/fhir/sid/cvx", "code": "140",
         "occurred_at": at(1), "status": "not-done"},
    ],
    silver.PROCEDURE: [
        {"procedure_key": 60, "code_system": SNOMED, "code": "76601001", "started_at": at(1)},
    ],
    silver.ALLERGY_INTOLERANCE: [
        {"allergy_intolerance_key": 70, "code_system": RXNORM, "code": "7980",
         "category_code": "medication", "recorded_at": at(1)},
    ],
    silver.DIAGNOSTIC_REPORT: [
        {"diagnostic_report_key": 80, "code_system": LOINC, "code": "51990-0",
         "effective_at": at(1)},
    ],
    silver.ADVERSE_EVENT: [
        {"adverse_event_key": 90, "status": "actual", "code_system": SNOMED, "code": "25064002",
         "occurred_at": at(9), "meddra_code": "10019211"},
        {"adverse_event_key": 91, "status": "actual", "meddra_code": "10019211",
         "recorded_at": at(9)},
        {"adverse_event_key": 92, "status": "potential", "meddra_code": "10019211",
         "recorded_at": at(9)},
    ],
}  # fmt: skip
# concept_id, vocabulary, code, domain, is standard
CONCEPTS = [
    (3004249, "LOINC", "8480-6", "Measurement", "S"),
    (8876, "UCUM", "mm[Hg]", "Unit", "S"),
    (4, "LOINC", "72166-2", "Observation", "S"),
    (5, "SNOMED", "266919005", "Observation", "S"),
    (6, "LOINC", "32465-7", "Procedure", "S"),
    (201826, "SNOMED", "44054006", "Condition", "S"),
    (8, "RxNorm", "860975", "Drug", None),
    (9, "RxNorm", "A", "Drug", "S"),
    (10, "RxNorm", "B", "Measurement", "S"),
    (11, "RxNorm", "OLD", "Drug", None),
    (1728416, "RxNorm", "7980", "Drug", "S"),
    (13, "SNOMED", "76601001", "Device", "S"),
    (14, "MedDRA", "10019211", "Condition", "C"),
]
# from, to, relation, why withdrawn
RELATIONS = [
    (8, 10, "Maps to", None),
    (8, 9, "Maps to", None),
    (8, 11, "Maps to", None),
    (8, 201826, "Maps to", "D"),
    (8, 201826, "Is a", None),
]
