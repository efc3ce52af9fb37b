"""Silver records as feature events, and what a run learnt of them: new, changed, gone."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features.series_events import PERSON
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_feature_store import FEATURE_EVENT

_CONTENT = ("subject_key", "code", "event_at", "end_at", "value", "unit", "why_no_value")
_RECORD = ("source", "record_key", "content_hash")
_NULL_TIME = "CAST(NULL AS TIMESTAMP)"


@dataclass(frozen=True)
class Source:
    """How a silver table tells events; every text is SQL over its columns."""

    table: Table
    kind: str  # SQL of the source's name
    event_at: str
    end_at: str = _NULL_TIME
    code: str = "code"
    value: str = "CAST(NULL AS DOUBLE)"
    unit: str = "CAST(NULL AS STRING)"
    counts: str = "true"  # which rows are events
    key: str = ""
    is_measured: bool = field(default=False)

    @property
    def record_key(self) -> str:
        """SQL of the record's key."""
        return self.key or self.table.key[0]


_OBSERVED = "coalesce(status, 'final') NOT IN ('registered', 'cancelled', 'entered-in-error')"
_ATTENDED = "('arrived', 'triaged', 'in-progress', 'onleave', 'finished')"
_DONE = "status IN ('completed', 'in-progress')"
SOURCES = (
    Source(
        silver.OBSERVATION,
        "CASE category_code WHEN 'vital-signs' THEN 'vital' WHEN 'survey' THEN 'score' "
        "ELSE 'lab' END",
        "effective_at",
        value="value_number",
        unit="coalesce(unit_code, unit, '')",
        counts=f"{_OBSERVED} AND coalesce(has_value, false)",
        key="CASE WHEN component_index = 0 THEN observation_key "
        "ELSE xxhash64(observation_key, component_index) END",
        is_measured=True,
    ),
    Source(
        silver.MEDICATION_ADMINISTRATION,
        "'dose'",
        "started_at",
        "ended_at",
        value="dose_value",
        unit="coalesce(dose_unit, '')",
        counts=_DONE,
        is_measured=True,
    ),
    Source(
        silver.MEDICATION_REQUEST,
        "'drug'",
        "authored_at",
        # Without a supply it holds for the day it was written, as OMOP's exposures do.
        "timestampadd(DAY, CAST(greatest(coalesce(supply_days, 1), 1) AS INT), authored_at)",
        counts="coalesce(status, 'active') NOT IN ('entered-in-error', 'draft', 'cancelled')",
    ),
    Source(
        silver.CONDITION,
        "'condition'",
        "coalesce(onset_at, recorded_at)",
        "abatement_at",
        counts="coalesce(verification_status, 'confirmed') NOT IN ('refuted', 'entered-in-error')",
    ),
    Source(
        silver.ADVERSE_EVENT,
        "'adverse_event'",
        "occurred_at",
        code="coalesce(code, meddra_code)",
        counts="coalesce(status, 'actual') = 'actual'",
    ),
    Source(
        silver.ADVERSE_EVENT,
        "'serious_event'",
        "occurred_at",
        code="coalesce(code, meddra_code)",
        counts="coalesce(status, 'actual') = 'actual' AND lower(seriousness_code) = 'serious'",
    ),
    Source(
        silver.ENCOUNTER,
        "'visit'",
        "started_at",
        code="visit_code",
        value=f"CAST(status IN {_ATTENDED} AS DOUBLE)",
        counts=f"visit_code IS NOT NULL AND (status IN {_ATTENDED} OR status = 'cancelled')",
    ),
    Source(silver.SUBJECT, "'participation'", "started_at", "ended_at", code="status"),
    Source(
        silver.PATIENT, f"'{PERSON}'", _NULL_TIME, code="CAST(NULL AS STRING)", key="subject_key"
    ),
)


def present_events(tables: dict[str, DataFrame], factors: DataFrame) -> DataFrame:
    """One row per record that is an event now, in gold.feature_event's columns up to
    why_no_value. `tables` by name, `factors` is gold.unit_factor."""
    return reduce(DataFrame.unionByName, [_events(one, tables, factors) for one in SOURCES])


def _events(source: Source, tables: dict[str, DataFrame], factors: DataFrame) -> DataFrame:
    rows = tables[source.table.name].filter("subject_key IS NOT NULL").filter(source.counts)
    told = rows.select(
        F.expr(source.kind).alias("source"),
        F.expr(source.record_key).alias("record_key"),
        "subject_key",
        F.expr(source.code).alias("code"),
        F.expr(source.event_at).alias("event_at"),
        F.expr(source.end_at).alias("end_at"),
        F.expr(source.value).cast("DOUBLE").alias("value"),
        F.expr(source.unit).alias("unit"),
    )
    none = F.lit(None).cast("STRING")
    full = _in_kept_unit(told, factors) if source.is_measured else told.withColumn("why", none)
    named = full.withColumnRenamed("why", "why_no_value")
    nulls = [F.col(name).isNull() for name in _CONTENT]
    hashed = named.withColumn("content_hash", F.xxhash64(*_CONTENT, *nulls))
    return hashed.select(*_RECORD, *_CONTENT)


def _in_kept_unit(rows: DataFrame, factors: DataFrame) -> DataFrame:
    """Values in the unit the code is kept in; one whose unit leads nowhere is no value. A value
    sent without a unit stays as it is: a score has none."""
    small = factors.select(
        F.col("loinc").alias("code"),
        F.col("unit_from").alias("unit"),
        *("unit_to", "factor", "offset", "is_known"),
    )
    joined = rows.join(F.broadcast(small), ["code", "unit"], "left")
    # A unit that no rule was looked up for yet stays as sent: the series says whether it fits.
    is_lost = F.col("value").isNotNull() & ~F.coalesce("is_known", F.lit(True))
    leads = F.col("is_known") & (F.col("unit") != "")
    value = F.when(leads, F.round(F.col("value") * F.col("factor") + F.col("offset"), 9))
    why = F.when(is_lost & (F.col("unit") != ""), "unit-unknown")
    return joined.select(
        *("source", "record_key", "subject_key", "code", "event_at", "end_at"),
        F.when(why.isNull(), F.coalesce(value, F.col("value"))).alias("value"),
        F.when(leads, F.col("unit_to")).otherwise(F.col("unit")).alias("unit"),
        F.coalesce(why, F.when(F.col("value").isNull(), "no-value")).alias("why"),
    )


def absent_people(stored: DataFrame, patients: DataFrame) -> DataFrame:
    """Keys of people whose events are stored, and whom silver holds no more."""
    return stored.select("subject_key").distinct().join(patients, "subject_key", "left_anti")


def learnt(
    present: DataFrame, stored: DataFrame, patients: DataFrame, as_of: datetime
) -> DataFrame:
    """What a run writes: new events, old ones closed at `as_of`, and, marked by `is_gone`, the rows
    of absent people and what the same moment had put in and takes back."""
    people = patients.select("subject_key")
    held = stored.filter("known_until IS NULL").join(people, "subject_key", "left_semi")
    old = held.select(*(F.col(name).alias(f"_{name}") for name in FEATURE_EVENT.column_names))
    new = present.join(people, "subject_key", "left_semi")
    same = [F.col(name) == F.col(f"_{name}") for name in _RECORD]
    differ = new.join(old, same, "full_outer").filter("source IS NULL OR _source IS NULL")
    now, is_new = F.lit(as_of), F.col("source").isNotNull()
    diff = differ.select(
        *(F.coalesce(name, f"_{name}").alias(name) for name in (*_RECORD, *_CONTENT)),
        F.coalesce("_known_from", now).alias("known_from"),
        F.when(~is_new, now).alias("known_until"),
        F.coalesce(~is_new & (F.col("_known_from") == now), F.lit(False)).alias("is_gone"),
    )
    lost = stored.join(people, "subject_key", "left_anti").withColumn("is_gone", F.lit(True))
    return diff.unionByName(lost)
