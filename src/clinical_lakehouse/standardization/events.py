"""What FHIR calls Condition, Observation, MedicationRequest, ... read as one kind of event."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization import concepts
from clinical_lakehouse.standardization.routing import NOT_HAPPENED
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table

# How a table is read: the run's lake knows it.
Reader = Callable[[Table], DataFrame]

# The code system of a coding that was sent with a text and no code.
TEXT = "text"

# Columns only some sources fill; the others give null.
_DETAILS = {
    "clinical_status": "STRING",
    "category_code": "STRING",
    "value_number": "DOUBLE",
    "comparator": "STRING",
    "unit_code": "STRING",
    "unit": "STRING",
    "value_system": "STRING",
    "value_code": "STRING",
    "value_display": "STRING",
    "value_boolean": "BOOLEAN",
    "has_value": "BOOLEAN",
    "interpretation_code": "STRING",
    "range_low": "DOUBLE",
    "range_high": "DOUBLE",
    "days_supply": "INT",
    "quantity": "DOUBLE",
    "refills": "INT",
    "route_code": "STRING",
    "dose_unit": "STRING",
    "site_code_system": "STRING",
    "site_code": "STRING",
}


@dataclass(frozen=True)
class Source:
    """A silver table of events; every value is a SQL expression over its columns.

    `fallback` names the OMOP table where no standard concept's domain decides, `type_concept` where
    the record comes from, `details` what else the table tells.
    """

    table: Table
    fallback: str
    type_concept: str
    started_at: str
    ended_at: str = "CAST(NULL AS TIMESTAMP)"
    status: str = "status"
    code: str = "code"
    code_system: str = "code_system"
    component_index: str = "0"
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The silver key's column."""
        return self.table.key[0]


_SAME = ("value_number", "comparator", "unit_code", "unit", "value_code", "value_display")
_OBSERVED = {
    **{name: name for name in _SAME},
    **{n: n for n in ("value_boolean", "has_value", "interpretation_code")},
    **{n: n for n in ("range_low", "range_high")},
    "value_system": "value_code_system",
}
# A number is a measurement. A value of another kind is one too, unless it was asked for or tells of
# a way of life. A record without any value (the parent of components) is an observation.
_OBSERVATION_TABLE = """CASE
    WHEN value_number IS NOT NULL THEN 'measurement'
    WHEN NOT coalesce(has_value, false) THEN 'observation'
    WHEN category_code IN ('survey', 'social-history') THEN 'observation'
    ELSE 'measurement' END"""
_CONDITION_TYPE = f"""CASE category_code
    WHEN 'encounter-diagnosis' THEN {concepts.EHR_ENCOUNTER}
    WHEN 'problem-list-item' THEN {concepts.EHR_PROBLEM_LIST}
    ELSE {concepts.EHR} END"""
_MEDDRA_IF_ALONE = """CASE WHEN code IS NOT NULL THEN code_system
    WHEN meddra_code IS NOT NULL THEN 'https://www.meddra.org' END"""

SOURCES = (
    Source(
        silver.OBSERVATION,
        _OBSERVATION_TABLE,
        f"{concepts.EHR}",
        "effective_at",
        component_index="component_index",
        details=_OBSERVED,
    ),
    Source(
        silver.CONDITION,
        "'condition_occurrence'",
        _CONDITION_TYPE,
        "coalesce(onset_at, recorded_at)",
        "abatement_at",
        status="verification_status",
        details={"clinical_status": "clinical_status"},
    ),
    Source(
        silver.MEDICATION_REQUEST,
        "'drug_exposure'",
        f"{concepts.EHR_PRESCRIPTION}",
        "authored_at",
        details={
            "days_supply": "CAST(supply_days AS INT)",
            "quantity": "quantity",
            "refills": "refills",
            "dose_unit": "dose_unit",
        },
    ),
    Source(
        silver.MEDICATION_ADMINISTRATION,
        "'drug_exposure'",
        f"{concepts.EHR_ADMINISTRATION}",
        "started_at",
        "ended_at",
        details={
            "quantity": "dose_value",
            "route_code": "route_code",
            "dose_unit": "dose_unit",
        },
    ),
    Source(
        silver.IMMUNIZATION,
        "'drug_exposure'",
        f"{concepts.EHR_ADMINISTRATION}",
        "occurred_at",
    ),
    Source(
        silver.PROCEDURE,
        "'procedure_occurrence'",
        f"{concepts.EHR}",
        "started_at",
        "ended_at",
    ),
    Source(
        silver.ALLERGY_INTOLERANCE,
        "'observation'",
        f"{concepts.EHR}",
        "recorded_at",
        details={"category_code": "category_code"},
    ),
    # When a device was used stands in its DeviceUseStatement: with_device_use brings it.
    Source(silver.DEVICE, "'device_exposure'", f"{concepts.EHR}", "used_at", "used_until"),
    Source(
        silver.SPECIMEN,
        "'specimen'",
        f"{concepts.EHR}",
        "collected_at",
        details={n: n for n in ("quantity", "unit_code", "unit", "site_code_system", "site_code")},
    ),
    # A report says that its results are there; they are Observations of their own.
    Source(silver.DIAGNOSTIC_REPORT, "'observation'", f"{concepts.EHR}", "effective_at"),
    # An adverse event is a condition the person had, reported on a case report form.
    Source(
        silver.ADVERSE_EVENT,
        "'condition_occurrence'",
        f"{concepts.CASE_REPORT_FORM}",
        "coalesce(occurred_at, recorded_at)",
        code="coalesce(code, meddra_code)",
        code_system=_MEDDRA_IF_ALONE,
    ),
)


EVENT_TABLES = (*(source.table for source in SOURCES), silver.DEVICE_USE)


def all_events(read: Reader) -> dict[str, DataFrame]:
    """Events by source table; devices take their time from the statements of their use."""
    rows = {source.table.name: read(source.table) for source in SOURCES}
    devices = rows[silver.DEVICE.name]
    rows[silver.DEVICE.name] = with_device_use(devices, read(silver.DEVICE_USE))
    return {source.table.name: as_events(rows[source.table.name], source) for source in SOURCES}


def as_events(rows: DataFrame, source: Source) -> DataFrame:
    """One event per silver row: key, person, visit, code, time, and what else its source tells.

    A coding with a text alone has the text as its code, of the system `text`.
    """
    code, system = F.expr(source.code), F.expr(source.code_system)
    is_text = code.isNull() & (F.trim("display") != "")
    details = [F.expr(how).alias(name) for name, how in source.details.items()]
    return rows.select(
        F.lit(source.table.name).alias("source_table"),
        F.col(source.key).alias("source_key"),
        F.expr(source.component_index).alias("component_index"),
        "subject_key",
        "encounter_key",
        F.expr(source.status).alias("status"),
        F.when(is_text, F.lit(TEXT)).otherwise(system).alias("code_system"),
        F.when(is_text, F.trim("display")).otherwise(code).alias("code"),
        "display",
        F.expr(source.started_at).alias("started_at"),
        F.expr(source.ended_at).alias("ended_at"),
        F.expr(source.type_concept).alias("type_concept_id"),
        F.expr(source.fallback).alias("fallback_table"),
        *details,
    )


def with_device_use(devices: DataFrame, uses: DataFrame) -> DataFrame:
    """silver.device rows with used_at and used_until: the first and last day of its statements."""
    happened = uses.filter(~F.coalesce(F.col("status").isin(*NOT_HAPPENED), F.lit(False)))
    spans = happened.groupBy("device_key").agg(
        F.min("started_at").alias("used_at"), F.max("ended_at").alias("used_until")
    )
    return devices.drop("used_at").join(spans, "device_key", "left")


def together(events: Iterable[DataFrame]) -> DataFrame:
    """Events of several sources as one, with every detail column: null where a source has none."""
    return reduce(DataFrame.unionByName, [_with_details(rows) for rows in events])


def _with_details(events: DataFrame) -> DataFrame:
    missing = [F.lit(None).cast(t).alias(n) for n, t in _DETAILS.items() if n not in events.columns]
    return events.select("*", *missing)
