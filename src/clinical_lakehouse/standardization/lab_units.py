"""Measurements of OMOP in standard units, and sites whose unit looks mislabelled."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.lab_analytes import analyte_of
from clinical_lakehouse.methods.unit_suspicion import SiteLevel, Suspicion
from clinical_lakehouse.methods.units import conversion

_SITE = ("site_key", "loinc", "unit_from")


def numeric_measurements(
    measurements: DataFrame, encounters: DataFrame, patients: DataFrame
) -> DataFrame:
    """One row per numeric omop.measurement: its source code, value, unit and site (the visit's,
    else the person's; 0 for none)."""
    visits = encounters.select(
        F.col("encounter_key").alias("visit_occurrence_id"),
        F.col("organization_key").alias("visit_site"),
    )
    persons = patients.select(
        F.col("subject_key").alias("person_id"), F.col("organization_key").alias("person_site")
    )
    placed = measurements.filter("value_as_number IS NOT NULL").join(
        visits, "visit_occurrence_id", "left"
    )
    return placed.join(persons, "person_id", "left").select(
        "measurement_id",
        "person_id",
        F.coalesce("visit_site", "person_site", F.lit(0).cast("BIGINT")).alias("site_key"),
        F.coalesce("measurement_source_value", F.lit("")).alias("loinc"),
        F.coalesce("unit_source_value", F.lit("")).alias("unit_from"),
        F.col("value_as_number").alias("value"),
    )


def units_seen(measurements: DataFrame) -> list[tuple[str, str]]:
    """Distinct (LOINC, unit): as many as kinds of tests, so they fit the driver."""
    pairs = measurements.filter("unit_from <> ''").select("loinc", "unit_from").distinct()
    return [(row["loinc"], row["unit_from"]) for row in pairs.collect()]


def site_levels(measurements: DataFrame) -> list[SiteLevel]:
    """Level per site, LOINC and unit over people's own medians: sites times tests rows."""
    positive = measurements.filter("value > 0 AND unit_from <> ''")
    per_person = positive.groupBy(*_SITE, "person_id").agg(F.median("value").alias("value"))
    logs = per_person.select(*_SITE, F.log("value").alias("level"))
    medians = logs.groupBy(*_SITE).agg(F.median("level").alias("log_median"))
    spread = logs.join(medians, list(_SITE)).groupBy(*_SITE, "log_median")
    rows = spread.agg(
        F.count("*").alias("person_count"),
        F.median(F.abs(F.col("level") - F.col("log_median"))).alias("log_mad"),
    ).collect()
    return [
        SiteLevel(
            row["site_key"],
            row["loinc"],
            row["unit_from"],
            row["person_count"],
            row["log_median"],
            row["log_mad"],
        )
        for row in rows
    ]


def suspicion_rows(
    found: Iterable[Suspicion], factors: Iterable[Mapping[str, Any]], is_inferred: bool
) -> list[dict[str, Any]]:
    """gold.unit_suspicion rows, with what leads from the suspected to the standard unit."""
    targets = {(row["loinc"], row["unit_from"]): row["unit_to"] for row in factors}
    made = []
    for one in found:
        target = targets.get((one.loinc, one.labelled_unit)) or one.labelled_unit
        way = conversion(one.suspected_unit, target, analyte_of(one.loinc))
        extra = {"factor": way.factor, "offset": way.offset, "is_inferred": is_inferred}
        made.append({**asdict(one), **extra})
    return made


def with_suspicion(rows: DataFrame, suspected: DataFrame, is_inferred: bool) -> DataFrame:
    """Converted measurements with the suspicion in unit_flag: `suspected` leaves the standard value
    as the label says, `inferred` makes it from the suspected unit."""
    guesses = suspected.select(
        "site_key",
        "loinc",
        F.col("labelled_unit").alias("unit_from"),
        F.col("factor").alias("guess_factor"),
        F.col("offset").alias("guess_offset"),
    )
    joined = rows.join(F.broadcast(guesses), list(_SITE), "left")
    is_hit = F.col("guess_factor").isNotNull() & F.col("factor").isNotNull()
    flag = F.when(is_hit, F.lit("inferred" if is_inferred else "suspected"))
    changed = {"unit_flag": F.coalesce(flag, "unit_flag")}
    if is_inferred:
        value = F.col("value") * F.col("guess_factor") + F.col("guess_offset")
        for name, guess in (("factor", "guess_factor"), ("offset", "guess_offset")):
            changed[name] = F.when(is_hit, F.col(guess)).otherwise(F.col(name))
        changed["value_standard"] = F.when(is_hit, value).otherwise(F.col("value_standard"))
        changed["rule"] = F.when(is_hit, F.lit("inferred_unit")).otherwise(F.col("rule"))
    flagged = joined.withColumns(changed)
    return flagged.withColumnRenamed("unit_from", "unit").drop("guess_factor", "guess_offset")
