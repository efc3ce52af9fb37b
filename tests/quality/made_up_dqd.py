"""A suite in the layout of DQD's files with one check of each of its 27 types, a CDM that breaks
none of them, and a row that breaks each. OHDSI's own files are not copied; see test_dqd_public."""

import csv
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.catalog import table_named
from tests.builders import rows

DAY, LATER = date(2024, 3, 1), date(2024, 3, 10)
INGREDIENT, OF_MEN, WIDER, BELOW, WEIGHT, KILOGRAM, OLD, STRAY = 11, 12, 13, 14, 15, 16, 17, 99
MALE, FEMALE = 8507, 8532

# By type: level, what its evaluationFilter asks, and the Kahn category.
KINDS = {
    "cdmTable": ("TABLE", "cdmTableName!=''", "Conformance"),
    "measurePersonCompleteness": ("TABLE", None, "Completeness"),
    "measureConditionEraCompleteness": ("TABLE", None, "Completeness"),
    "measureObservationPeriodOverlap": ("TABLE", None, "Plausibility"),
    "cdmField": ("FIELD", "cdmFieldName!=''", "Conformance"),
    "isRequired": ("FIELD", None, "Conformance"),
    "cdmDatatype": ("FIELD", "cdmDatatype=='integer'", "Conformance"),
    "isPrimaryKey": ("FIELD", None, "Conformance"),
    "isForeignKey": ("FIELD", None, "Conformance"),
    "fkDomain": ("FIELD", "isForeignKey=='Maybe' & fkDomain!=''", "Conformance"),
    "fkClass": ("FIELD", "fkClass!=''", "Conformance"),
    "isStandardValidConcept": ("FIELD", None, "Conformance"),
    "measureValueCompleteness": ("FIELD", None, "Completeness"),
    "standardConceptRecordCompleteness": ("FIELD", None, "Completeness"),
    "sourceConceptRecordCompleteness": ("FIELD", None, "Completeness"),
    "sourceValueCompleteness": ("FIELD", None, "Completeness"),
    "plausibleValueLow": ("FIELD", "plausibleValueLow!=''", "Plausibility"),
    "plausibleValueHigh": ("FIELD", "plausibleValueHigh!=''", "Plausibility"),
    "plausibleTemporalAfter": ("FIELD", None, "Plausibility"),
    "plausibleDuringLife": ("FIELD", None, "Plausibility"),
    "withinVisitDates": ("FIELD", None, "Plausibility"),
    "plausibleAfterBirth": ("FIELD", None, "Plausibility"),
    "plausibleBeforeDeath": ("FIELD", None, "Plausibility"),
    "plausibleStartBeforeEnd": ("FIELD", None, "Plausibility"),
    "plausibleGender": ("CONCEPT", "plausibleGender!=''", "Plausibility"),
    "plausibleGenderUseDescendants": (
        *("CONCEPT", "plausibleGenderUseDescendants!=''", "Plausibility"),
    ),
    "plausibleUnitConceptIds": (
        *("CONCEPT", "plausibleUnitConceptIdsThreshold!=''", "Plausibility"),
    ),
}
TABLES = {
    "note": {},
    "observation_period": {
        "measurePersonCompleteness": "Yes", "measureObservationPeriodOverlap": "Yes",
    },
    "condition_era": {"measureConditionEraCompleteness": "Yes"},
}  # fmt: skip
FIELDS = {
    ("specimen", "specimen_source_id"): {},
    ("visit_occurrence", "visit_concept_id"): {"isRequired": "Yes"},
    ("drug_exposure", "refills"): {"cdmDatatype": "integer"},
    ("location", "location_id"): {"isPrimaryKey": "Yes"},
    ("visit_occurrence", "care_site_id"): {
        "isForeignKey": "Yes", "fkTableName": "CARE_SITE", "fkFieldName": "CARE_SITE_ID",
    },
    ("measurement", "measurement_concept_id"): {"isForeignKey": "Maybe", "fkDomain": "Measurement"},
    ("drug_era", "drug_concept_id"): {"fkClass": "Ingredient"},
    ("procedure_occurrence", "procedure_concept_id"): {"isStandardValidConcept": "Yes"},
    ("person", "gender_source_value"): {"measureValueCompletenessThreshold": "0"},
    ("observation", "observation_concept_id"): {
        "isRequired": "No", "standardConceptRecordCompleteness": "Yes",
    },
    ("condition_occurrence", "condition_source_concept_id"): {
        "sourceConceptRecordCompleteness": "Yes",
    },
    ("device_exposure", "device_source_value"): {
        "sourceValueCompleteness": "Yes", "standardConceptFieldName": "DEVICE_CONCEPT_ID",
    },
    ("drug_exposure", "quantity"): {"plausibleValueLow": "0.5"},
    ("measurement", "measurement_date"): {"plausibleValueHigh": "DATEADD(dd,1,GETDATE())"},
    ("condition_occurrence", "condition_end_date"): {
        "plausibleTemporalAfter": "Yes",
        "plausibleTemporalAfterTableName": "CONDITION_OCCURRENCE",
        "plausibleTemporalAfterFieldName": "CONDITION_START_DATE",
    },
    ("procedure_occurrence", "procedure_date"): {"plausibleDuringLife": "Yes"},
    ("observation", "observation_date"): {"withinVisitDates": "Yes"},
    ("visit_occurrence", "visit_start_date"): {"plausibleAfterBirth": "Yes"},
    ("device_exposure", "device_exposure_start_date"): {"plausibleBeforeDeath": "Yes"},
    ("drug_era", "drug_era_start_date"): {
        "plausibleStartBeforeEnd": "Yes", "plausibleStartBeforeEndFieldName": "DRUG_ERA_END_DATE",
    },
    # A table without people.
    ("cdm_source", "cdm_release_date"): {
        "plausibleTemporalAfter": "Yes",
        "plausibleTemporalAfterTableName": "CDM_SOURCE",
        "plausibleTemporalAfterFieldName": "SOURCE_RELEASE_DATE",
    },
}  # fmt: skip
CONCEPTS = [
    ("CONDITION_OCCURRENCE", "CONDITION_CONCEPT_ID", f"{OF_MEN}", {"plausibleGender": "Male"}),
    (
        *("PROCEDURE_OCCURRENCE", "PROCEDURE_CONCEPT_ID", f"{WIDER}, {STRAY}"),
        {"plausibleGenderUseDescendants": "Female"},
    ),
    (
        *("MEASUREMENT", "MEASUREMENT_CONCEPT_ID", f"{WEIGHT}"),
        {"plausibleUnitConceptIds": f"{KILOGRAM},-1", "plausibleUnitConceptIdsThreshold": "0"},
    ),
]
_REFERENCES = (
    *("fkTableName", "fkFieldName", "standardConceptFieldName", "plausibleTemporalAfterTableName"),
    *("plausibleTemporalAfterFieldName", "plausibleStartBeforeEndFieldName"),
)


def write_files(folder: Path) -> Path:
    """The four files; every check of measureValueCompleteness but one allows 100%."""
    described = [
        {
            "checkLevel": level,
            "checkName": name,
            "checkDescription": f"{name} of @cdmTableName.@cdmFieldName",
            "kahnContext": "Verification",
            "kahnCategory": category,
            "kahnSubcategory": "",
            "sqlFile": "x.sql",
            "evaluationFilter": asked or f"{name}=='Yes'",
            "severity": "fatal",
        }
        for name, (level, asked, category) in KINDS.items()
    ]
    tables = [{"cdmTableName": t.upper(), **words} for t, words in TABLES.items()]
    fields = [
        {
            "cdmTableName": table.upper(),
            "cdmFieldName": name,
            "measureValueCompleteness": "Yes",
            "measureValueCompletenessThreshold": "100",
            **words,
        }
        for (table, name), words in FIELDS.items()
    ]
    concepts = [
        {"cdmTableName": t, "cdmFieldName": f, "conceptId": c, **words}
        for t, f, c, words in CONCEPTS
    ]
    _write(folder, "Check_Descriptions", described, ())
    _write(folder, "Table_Level", tables, _of("TABLE"))
    _write(folder, "Field_Level", fields, (*_of("FIELD"), *_REFERENCES))
    _write(folder, "Concept_Level", concepts, (*_of("CONCEPT"), "conceptName", "unitConceptId"))
    return folder


def _of(level: str) -> tuple[str, ...]:
    named = tuple(k for k, (of, _, _) in KINDS.items() if of == level and k[:3] != "cdm")
    return named + (("cdmDatatype",) if level == "FIELD" else ())


def _write(folder: Path, what: str, lines: list[dict], columns: tuple[str, ...]) -> None:
    names = list(dict.fromkeys([*(name for line in lines for name in line), *columns]))
    path = folder / f"OMOP_CDMv5.4_{what}.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names, restval="")
        writer.writeheader()
        writer.writerows(lines)


# Two people, a woman (1) and a man (2), who died; every table that the suite asks for.
CLEAN: dict[str, list[dict[str, Any]]] = {
    "person": [
        {"person_id": 1, "gender_concept_id": FEMALE, "year_of_birth": 1970},
        {"person_id": 2, "gender_concept_id": MALE, "year_of_birth": 1950},
    ],
    "death": [{"person_id": 2, "death_date": LATER}],
    "observation_period": [
        {"observation_period_id": n, "person_id": n, "observation_period_start_date": DAY,
         "observation_period_end_date": LATER} for n in (1, 2)
    ],
    "visit_occurrence": [
        {"visit_occurrence_id": n, "person_id": n, "care_site_id": 1, "visit_start_date": DAY,
         "visit_end_date": LATER} for n in (1, 2)
    ],
    "care_site": [{"care_site_id": 1}],
    "location": [{"location_id": 1}, {"location_id": 2}],
    "condition_occurrence": [
        {"condition_occurrence_id": 1, "person_id": 2, "condition_concept_id": OF_MEN,
         "condition_source_concept_id": 5, "condition_source_value": "x",
         "condition_start_date": DAY, "condition_end_date": LATER}
    ],
    "condition_era": [{"condition_era_id": 1, "person_id": 2}],
    "drug_exposure": [{"drug_exposure_id": 1, "refills": 2, "quantity": 3.0}],
    "drug_era": [
        {"drug_era_id": 1, "drug_concept_id": INGREDIENT, "drug_era_start_date": DAY,
         "drug_era_end_date": LATER}
    ],
    "procedure_occurrence": [
        {"procedure_occurrence_id": 1, "person_id": 1, "procedure_concept_id": BELOW,
         "procedure_date": DAY},
        {"procedure_occurrence_id": 2, "person_id": 2, "procedure_concept_id": 0,
         "procedure_date": DAY},
    ],
    "device_exposure": [
        {"device_exposure_id": 1, "person_id": 2, "device_source_value": "pump",
         "device_concept_id": 5, "device_exposure_start_date": DAY}
    ],
    "measurement": [
        {"measurement_id": 1, "measurement_concept_id": WEIGHT, "unit_concept_id": KILOGRAM,
         "measurement_date": DAY},
        {"measurement_id": 2, "measurement_concept_id": WEIGHT, "measurement_date": DAY},
        {"measurement_id": 3, "measurement_concept_id": WEIGHT, "unit_concept_id": 0,
         "measurement_date": DAY},
    ],
    "observation": [
        {"observation_id": 1, "observation_concept_id": 5, "visit_occurrence_id": 1,
         "observation_date": DAY}
    ],
    "specimen": [{"specimen_id": 1, "specimen_source_id": "s"}],
    "note": [{"note_id": 1}],
    "cdm_source": [{"cdm_source_name": "Trial"}],
    "concept": [
        {"concept_id": INGREDIENT, "concept_class_id": "Ingredient", "standard_concept": "S"},
        {"concept_id": WEIGHT, "domain_id": "Measurement", "standard_concept": "S"},
        {"concept_id": OLD, "domain_id": "Drug", "concept_class_id": "Brand Name"},
        {"concept_id": BELOW, "standard_concept": "S"},
        {"concept_id": 0},
    ],
    "concept_ancestor": [{"ancestor_concept_id": WIDER, "descendant_concept_id": BELOW}],
}  # fmt: skip

# One row each: what it is to break, the table, and the row that is added or, by key, changed.
SEEDS: list[tuple[str, str, dict[str, Any]]] = [
    ("table_measurepersoncompleteness_observation_period", "person",
     {"person_id": 3, "gender_concept_id": FEMALE, "year_of_birth": 1960,
      "gender_source_value": "f"}),
    ("table_measureconditioneracompleteness_condition_era", "condition_occurrence",
     {"condition_occurrence_id": 2, "person_id": 1, "condition_concept_id": 5,
      "condition_source_concept_id": 5}),
    ("table_measureobservationperiodoverlap_observation_period", "observation_period",
     {"observation_period_id": 3, "person_id": 1, "observation_period_start_date":
      date(2024, 3, 11), "observation_period_end_date": date(2024, 3, 12)}),
    ("field_isrequired_visit_occurrence_visit_concept_id", "visit_occurrence",
     {"visit_occurrence_id": 3, "visit_concept_id": None, "care_site_id": 1}),
    ("field_isprimarykey_location_location_id", "location", {"location_id": 3}),
    ("field_isforeignkey_visit_occurrence_care_site_id", "visit_occurrence",
     {"visit_occurrence_id": 4, "care_site_id": STRAY}),
    ("field_fkdomain_measurement_measurement_concept_id", "measurement",
     {"measurement_id": 4, "measurement_concept_id": OLD}),
    ("field_fkclass_drug_era_drug_concept_id", "drug_era",
     {"drug_era_id": 2, "drug_concept_id": OLD}),
    ("field_isstandardvalidconcept_procedure_occurrence_procedure_concept_id",
     "procedure_occurrence", {"procedure_occurrence_id": 3, "procedure_concept_id": OLD}),
    ("field_measurevaluecompleteness_person_gender_source_value", "person",
     {"person_id": 4, "gender_concept_id": FEMALE, "year_of_birth": 1960}),
    ("field_standardconceptrecordcompleteness_observation_observation_concept_id", "observation",
     {"observation_id": 2, "observation_concept_id": 0}),
    ("field_sourceconceptrecordcompleteness_condition_occurrence_condition_source_concept_id",
     "condition_occurrence",
     {"condition_occurrence_id": 3, "person_id": 2, "condition_source_value": "y"}),
    ("field_sourcevaluecompleteness_device_exposure_device_source_value", "device_exposure",
     {"device_exposure_id": 2, "device_source_value": "valve", "device_concept_id": 0}),
    ("field_plausiblevaluelow_drug_exposure_quantity", "drug_exposure",
     {"drug_exposure_id": 2, "quantity": 0.4}),
    ("field_plausiblevaluehigh_measurement_measurement_date", "measurement",
     {"measurement_id": 5, "measurement_concept_id": 5, "measurement_date": date(2024, 7, 2)}),
    ("field_plausibletemporalafter_condition_occurrence_condition_end_date",
     "condition_occurrence",
     {"condition_occurrence_id": 4, "person_id": 2, "condition_source_concept_id": 5,
      "condition_start_date": LATER, "condition_end_date": DAY}),
    ("field_plausibleduringlife_procedure_occurrence_procedure_date", "procedure_occurrence",
     {"procedure_occurrence_id": 4, "person_id": 2, "procedure_concept_id": 0,
      "procedure_date": date(2024, 5, 10)}),
    ("field_withinvisitdates_observation_observation_date", "observation",
     {"observation_id": 3, "observation_concept_id": 5, "visit_occurrence_id": 1,
      "observation_date": date(2024, 2, 22)}),
    ("field_plausibleafterbirth_visit_occurrence_visit_start_date", "visit_occurrence",
     {"visit_occurrence_id": 5, "person_id": 1, "care_site_id": 1,
      "visit_start_date": date(1969, 12, 31)}),
    ("field_plausiblebeforedeath_device_exposure_device_exposure_start_date", "device_exposure",
     {"device_exposure_id": 3, "person_id": 2, "device_concept_id": 5,
      "device_source_value": "pump", "device_exposure_start_date": date(2024, 5, 10)}),
    ("field_plausiblestartbeforeend_drug_era_drug_era_start_date", "drug_era",
     {"drug_era_id": 3, "drug_concept_id": INGREDIENT, "drug_era_start_date": LATER,
      "drug_era_end_date": DAY}),
    (f"concept_plausiblegender_condition_occurrence_condition_concept_id_{OF_MEN}",
     "condition_occurrence",
     {"condition_occurrence_id": 5, "person_id": 1, "condition_concept_id": OF_MEN,
      "condition_source_concept_id": 5}),
    (f"concept_plausiblegenderusedescendants_procedure_occurrence_procedure_concept_id_{WIDER},"
     f"{STRAY}", "procedure_occurrence",
     {"procedure_occurrence_id": 5, "person_id": 2, "procedure_concept_id": BELOW}),
    (f"concept_plausibleunitconceptids_measurement_measurement_concept_id_{WEIGHT}", "measurement",
     {"measurement_id": 6, "measurement_concept_id": WEIGHT, "unit_concept_id": OLD}),
]  # fmt: skip
# What no row can break: seeded in the frames themselves.
SHAPES = (
    "table_cdmtable_note",
    "field_cdmfield_specimen_specimen_source_id",
    "field_cdmdatatype_drug_exposure_refills",
)


def clean(lake: Lakehouse) -> dict[str, DataFrame]:
    """The CDM that breaks nothing."""
    given = {table: list(made) for table, made in CLEAN.items()}
    given["person"] = [{**row, "gender_source_value": "x"} for row in given["person"]]
    return {table: rows(lake, table_named(f"omop.{table}"), *made) for table, made in given.items()}


def seeded(lake: Lakehouse) -> dict[str, DataFrame]:
    """The same CDM with a row more for each check, and the three shapes broken."""
    frames = clean(lake)
    for _, table, row in SEEDS:
        contract = table_named(f"omop.{table}")
        frames[table] = frames[table].unionByName(rows(lake, contract, row))
    shared = frames["location"].filter("location_id = 3").limit(1)
    frames["location"] = frames["location"].unionByName(shared)
    del frames["note"]
    frames["specimen"] = frames["specimen"].drop("specimen_source_id")
    two = F.when(F.col("drug_exposure_id") == 2, "two").otherwise(F.col("refills").cast("STRING"))
    frames["drug_exposure"] = frames["drug_exposure"].withColumn("refills", two)
    return frames
