"""Counts for DQD how concepts are used: each table's concepts grouped once, then joined with the
vocabulary's entries and with the concepts that checks name."""

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.quality.dqd_counts import Numbered, Plan, union

_ENTRY = ("domain_id", "concept_class_id", "standard_concept", "invalid_reason")
_MALE, _FEMALE = 8507, 8532
_NO_UNIT = -1  # DQD's word for a record without a unit
_GENDER = ("plausibleGender", "plausibleGenderUseDescendants")
_ENTRY_CHECKS = "number INT, used_table STRING, used_field STRING, name STRING, wanted STRING"
_TARGETS = (
    "number INT, used_table STRING, used_field STRING, concept_id INT, gender INT, units ARRAY<INT>"
)


def concept_counts(plan: Plan) -> DataFrame | None:
    """One row per check on a concept's own entry: is there one, of which domain and class, is it
    standard and valid."""
    checks = plan.of("concepts")
    if not checks:
        return None
    use = _use(plan, checks, is_by_record=False)
    entries = plan.frames["concept"].select("concept_id", *_ENTRY, F.lit(True).alias("is_known"))
    asked = _small(use, [_entry_row(number, check) for number, check in checks], _ENTRY_CHECKS)
    known = use.join(entries, "concept_id", "left").join(
        F.broadcast(asked), ["used_table", "used_field"]
    )
    is_standard = F.col("name") == "isStandardValidConcept"
    eligible = ~is_standard | F.col("concept_id").isNotNull()
    return _totals(known, _entry_is_wrong(), eligible)


def target_counts(plan: Plan) -> DataFrame | None:
    """One row per check on a concept that is recorded: gender of its people, unit of its values."""
    checks = plan.of("targets")
    if not checks:
        return None
    use = _use(plan, checks, is_by_record=True)
    targets = _targets(plan, use, checks)
    known = use.join(F.broadcast(targets), ["used_table", "used_field", "concept_id"])
    is_gender = F.col("gender").isNotNull()
    other_gender = F.col("person_gender") != F.col("gender")
    shown = F.coalesce("unit", F.lit(_NO_UNIT))
    listed = F.array_contains("units", shown)
    other_unit = F.when(F.size("units") == 0, F.col("unit").isNotNull()).otherwise(~listed)
    has_unit = F.col("unit").isNull() | (F.col("unit") != 0)
    violated = F.when(is_gender, other_gender).otherwise(other_unit)
    return _totals(known, violated, is_gender | has_unit)


def _entry_row(number: int, check: Any) -> tuple[Any, ...]:
    wanted = check.words.get(check.kind.name) or None
    return (number, check.table, check.field, check.kind.name, wanted)


def _entry_is_wrong() -> Column:
    name, wanted = F.col("name"), F.col("wanted")
    is_lost = F.col("concept_id").isNotNull() & F.col("is_known").isNull()
    is_real = F.col("is_known") & (F.col("concept_id") != 0)
    standard = F.col("standard_concept").eqNullSafe("S") & F.col("invalid_reason").isNull()
    other = (
        F.when(name == "fkDomain", F.col("domain_id") != wanted)
        .when(name == "fkClass", F.col("concept_class_id") != wanted)
        .otherwise(~standard)
    )
    return F.when(name == "isForeignKey", is_lost).otherwise(is_real & other)


def _use(plan: Plan, checks: Sequence[Numbered], is_by_record: bool) -> DataFrame:
    """One row per table, field and concept (by record: and person's gender and unit), with
    `row_count`."""
    fields: dict[str, set[str]] = {}
    for _, check in checks:
        fields.setdefault(check.table, set()).add(check.field)
    by_gender = {check.table for _, check in checks if check.kind.name in _GENDER}
    made = [
        _used(plan, table, sorted(names), table in by_gender) for table, names in fields.items()
    ]
    grain = ["used_table", "used_field", "concept_id"]
    grain += ["person_gender", "unit"] if is_by_record else []
    together = union(made)
    assert together is not None
    return together.groupBy(*grain).agg(F.count("*").alias("row_count"))


def _used(plan: Plan, table: str, fields: Sequence[str], with_gender: bool) -> DataFrame:
    rows, gender = plan.frames[table], F.lit(None).cast("INT")
    if with_gender:
        people = plan.frames["person"].groupBy("person_id")
        rows = rows.join(
            people.agg(F.first("gender_concept_id").alias("_gender")), "person_id", "left"
        )
        gender = F.col("_gender")
    unit = F.col("unit_concept_id") if "unit_concept_id" in rows.columns else F.lit(None)
    ones = [
        F.struct(F.lit(name).alias("used_field"), F.col(name).try_cast("INT").alias("concept_id"))
        for name in fields
    ]
    exploded = rows.select(
        F.lit(table).alias("used_table"),
        gender.cast("INT").alias("person_gender"),
        unit.try_cast("INT").alias("unit"),
        F.explode(F.array(*ones)).alias("one"),
    )
    return exploded.select("used_table", "person_gender", "unit", "one.*")


def _targets(plan: Plan, use: DataFrame, checks: Sequence[Numbered]) -> DataFrame:
    """One row per check and concept that it judges: the concept named, or its descendants."""
    named: list[tuple[Any, ...]] = []
    above: list[tuple[Any, ...]] = []
    for number, check in checks:
        word = check.words.get(check.kind.name, "")
        is_gender = check.kind.name in _GENDER
        gender = (_MALE if word == "Male" else _FEMALE) if is_gender else None
        units = [] if is_gender else list(check.numbers_in(check.kind.name))
        for concept in check.numbers_in("conceptId"):
            row = (number, check.table, check.field, concept, gender, units)
            (above if check.kind.name == _GENDER[1] else named).append(row)
    targets = _small(use, named, _TARGETS)
    if not above:
        return targets
    wider = _small(use, above, _TARGETS).withColumnRenamed("concept_id", "ancestor_concept_id")
    ways = plan.frames["concept_ancestor"].join(F.broadcast(wider), "ancestor_concept_id")
    below = ways.withColumn("concept_id", F.col("descendant_concept_id"))
    return targets.unionByName(below.select(*targets.columns))


def _totals(known: DataFrame, violated: Column, eligible: Column) -> DataFrame:
    count = F.col("row_count")
    is_violated = F.coalesce(violated, F.lit(False)) & eligible
    return known.groupBy("number").agg(
        F.coalesce(F.sum(F.when(is_violated, count)), F.lit(0)).alias("violated"),
        F.coalesce(F.sum(F.when(eligible, count)), F.lit(0)).alias("counted"),
    )


def _small(beside: DataFrame, rows: Sequence[tuple[Any, ...]], schema: str) -> DataFrame:
    """Rows made on the driver, in the session of another frame."""
    return beside.sparkSession.createDataFrame(list(rows), schema)
