"""Counts for DQD what must be grouped first: keys, source values, persons, eras and periods."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.quality.dqd_counts import Numbered, Plan, union


def key_counts(plan: Plan) -> DataFrame | None:
    """One row per isPrimaryKey check: rows that share their key, and all rows."""
    keys = _long(plan, plan.of("keys"), F.lit(None).cast("BOOLEAN"))
    if keys is None:
        return None
    sizes = keys.groupBy("number", "value").agg(F.count("*").alias("size"))
    is_shared = F.col("value").isNotNull() & (F.col("size") > 1)
    return sizes.groupBy("number").agg(
        F.coalesce(F.sum(F.when(is_shared, F.col("size"))), F.lit(0)).alias("violated"),
        F.sum("size").alias("counted"),
    )


def value_counts(plan: Plan) -> DataFrame | None:
    """One row per sourceValueCompleteness check: distinct source values (null is one) that have
    concept 0 somewhere, and all distinct source values."""
    values = _long(plan, plan.of("values"), None)
    if values is None:
        return None
    distinct = values.groupBy("number", "value").agg(F.max("is_zero").alias("is_zero"))
    return distinct.groupBy("number").agg(
        F.count_if("is_zero").alias("violated"), F.count("*").alias("counted")
    )


def person_counts(plan: Plan) -> DataFrame | None:
    """One row per measurePersonCompleteness check: persons without a record, and all persons."""
    checks = plan.of("persons")
    seen = union(
        [
            plan.frames[check.table].select(F.lit(number).alias("number"), "person_id").distinct()
            for number, check in checks
        ]
    )
    if seen is None:
        return None
    numbers = F.explode(F.array(*(F.lit(number) for number, _ in checks))).alias("number")
    asked = plan.frames["person"].select("person_id", numbers)
    found = seen.withColumn("is_found", F.lit(True))
    return (
        asked.join(found, ["number", "person_id"], "left")
        .groupBy("number")
        .agg(
            F.count_if(F.col("is_found").isNull()).alias("violated"), F.count("*").alias("counted")
        )
    )


def era_counts(plan: Plan) -> DataFrame | None:
    """One row per measureConditionEraCompleteness check: persons with a mapped condition and no
    era, and persons with a mapped condition."""
    return union([_era_counts(plan, number, check.table) for number, check in plan.of("eras")])


def period_counts(plan: Plan) -> DataFrame | None:
    """One row per measureObservationPeriodOverlap check: persons with periods that overlap or
    follow without a day between, and persons with a period."""
    return union([_period_counts(plan, number) for number, _ in plan.of("periods")])


def _era_counts(plan: Plan, number: int, table: str) -> DataFrame:
    mapped = plan.frames["condition_occurrence"].filter("condition_concept_id <> 0")
    with_era = plan.frames[table].select("person_id").distinct().withColumn("has_era", F.lit(True))
    persons = mapped.select("person_id").distinct().join(with_era, "person_id", "left")
    return _summed(persons, number, F.col("has_era").isNull())


def _period_counts(plan: Plan, number: int) -> DataFrame:
    start, end = "observation_period_start_date", "observation_period_end_date"
    ordered = Window.partitionBy("person_id").orderBy(start, end, "observation_period_id")
    before = F.max(end).over(ordered.rowsBetween(Window.unboundedPreceding, -1))
    periods = plan.frames["observation_period"].select(
        "person_id", (F.col(start) <= F.date_add(before, 1)).alias("touches")
    )
    persons = periods.groupBy("person_id").agg(F.max("touches").alias("touches"))
    return _summed(persons, number, F.coalesce("touches", F.lit(False)))


def _summed(rows: DataFrame, number: int, violated: Column) -> DataFrame:
    return rows.agg(
        F.lit(number).alias("number"),
        F.count_if(violated).alias("violated"),
        F.count("*").alias("counted"),
    )


def _long(plan: Plan, checks: Sequence[Numbered], is_zero: Column | None) -> DataFrame | None:
    """One row per check and row of its table: the field as text, and whether the standard concept
    beside it is 0."""
    tables: dict[str, list[Column]] = {}
    for number, check in checks:
        concept = check.name_in("standardConceptFieldName")
        zero = F.coalesce(F.col(concept) == 0, F.lit(False)) if is_zero is None else is_zero
        one = F.struct(
            F.lit(number).alias("number"),
            F.col(check.field).cast("STRING").alias("value"),
            zero.alias("is_zero"),
        )
        tables.setdefault(check.table, []).append(one)
    return union(
        [
            plan.frames[table].select(F.explode(F.array(*ones)).alias("one")).select("one.*")
            for table, ones in tables.items()
        ]
    )
