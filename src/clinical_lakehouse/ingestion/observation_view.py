"""Silver view of Observation: one row for the observation and one for each component."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.fields import (
    CONCEPT,
    PERIOD,
    QUANTITY,
    REFERENCE,
    KeyOf,
    coding,
    coding_columns,
    first,
    reference_key,
    shifted,
    unit_code,
)
from clinical_lakehouse.ingestion.view import View
from clinical_lakehouse.tables import silver

# Free-text and complex values are read as text only to know that there is one.
_UNSEEN = ("valueString", "valueDateTime", "valueTime", "valueRange", "valueRatio")
_UNSEEN_TOO = ("valuePeriod", "valueSampledData")
_SHARED = (
    f"code {CONCEPT}, valueQuantity {QUANTITY}, valueInteger INT, valueBoolean BOOLEAN, "
    f"valueCodeableConcept {CONCEPT}, interpretation ARRAY<{CONCEPT}>, "
    f"referenceRange ARRAY<STRUCT<low: {QUANTITY}, high: {QUANTITY}>>, "
    + ", ".join(f"{name} STRING" for name in (*_UNSEEN, *_UNSEEN_TOO))
)
_VALUES = (
    "code",
    "valueQuantity",
    "valueInteger",
    "valueBoolean",
    "valueCodeableConcept",
    "interpretation",
    "referenceRange",
    *_UNSEEN,
    *_UNSEEN_TOO,
)
_SENT = ("valueQuantity", "valueInteger", "valueBoolean", "valueCodeableConcept")
# LOINC codes whose value is an age in years: over 89 becomes 90 (45 CFR 164.514(b)(2)(i)(C)).
_AGE_CODES = ("30525-0", "21612-7", "29553-5", "63900-5")
_OLDEST = 90.0


def _with_items(rows: DataFrame) -> DataFrame:
    """A row per value: the observation's own at index 0, components from 1 on."""
    own = F.struct(*(F.col(f"r.{name}").alias(name) for name in _VALUES))
    components = F.coalesce(
        F.transform("r.component", lambda c: F.struct(*(c[n].alias(n) for n in _VALUES))),
        F.array().cast(f"ARRAY<STRUCT<{_typed()}>>"),
    )
    return rows.select("*", F.posexplode(F.concat(F.array(own), components)).alias("index", "item"))


def _typed() -> str:
    """The shared schema in the syntax of a STRUCT's fields."""
    return (
        f"code: {CONCEPT}, valueQuantity: {QUANTITY}, valueInteger: INT, valueBoolean: BOOLEAN, "
        f"valueCodeableConcept: {CONCEPT}, interpretation: ARRAY<{CONCEPT}>, "
        f"referenceRange: ARRAY<STRUCT<low: {QUANTITY}, high: {QUANTITY}>>, "
        + ", ".join(f"{name}: STRING" for name in (*_UNSEEN, *_UNSEEN_TOO))
    )


def _observations(key_of: KeyOf) -> Mapping[str, Column]:
    item, limits = F.col("item"), first(F.col("item.referenceRange"))
    effective = F.coalesce(
        F.col("r.effectiveDateTime"), F.col("r.effectiveInstant"), F.col("r.effectivePeriod.start")
    )
    quantity, code = item["valueQuantity"], coding(item["code"])
    sent = [item[name].isNotNull() for name in (*_SENT, *_UNSEEN, *_UNSEEN_TOO)]
    has_value = sent[0]
    for one in sent[1:]:
        has_value = has_value | one
    return {
        "observation_key": key_of("Observation", F.col("resource_id")),
        "component_index": F.col("index"),
        "subject_key": F.col("subject_key"),
        "encounter_key": reference_key(key_of, "Encounter", F.col("r.encounter")),
        "status": F.col("r.status"),
        "category_code": coding(first(F.col("r.category")))["code"],
        **coding_columns("", code),
        "effective_at": shifted(effective),
        "value_number": _number(item, code),
        "comparator": quantity["comparator"],
        "unit_code": unit_code(quantity),
        "unit": quantity["unit"],
        **coding_columns("value", coding(item["valueCodeableConcept"])),
        "value_boolean": item["valueBoolean"],
        "interpretation_code": coding(first(item["interpretation"]))["code"],
        "range_low": limits["low"]["value"],
        "range_high": limits["high"]["value"],
        "has_value": has_value,
    }


def _number(item: Column, code: Column) -> Column:
    value = F.coalesce(item["valueQuantity"]["value"], item["valueInteger"].cast("double"))
    return F.when(code["code"].isin(*_AGE_CODES), F.least(value, F.lit(_OLDEST))).otherwise(value)


VIEW = View(
    silver.OBSERVATION,
    "Observation",
    f"status STRING, category ARRAY<{CONCEPT}>, encounter {REFERENCE}, "
    f"effectiveDateTime STRING, effectiveInstant STRING, effectivePeriod {PERIOD}, "
    f"{_SHARED}, component ARRAY<STRUCT<{_typed()}>>",
    _observations,
    unfolded=_with_items,
)
