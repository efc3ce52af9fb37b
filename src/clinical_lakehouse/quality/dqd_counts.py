"""Counts rows for the checks of DQD: one aggregate of Columns per table, whatever it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.quality.dqd_suite import BOUNDED, DqdCheck
from clinical_lakehouse.quality.dqd_types import (
    BIRTH,
    BIRTH_ASSUMED,
    DATED,
    DEATH,
    HAS_PERSON,
    HAS_VISIT,
    VISIT_END,
    VISIT_START,
    Scope,
    is_day,
)

Frames = Mapping[str, DataFrame]
# A check's place in the suite, with the check.
Numbered = tuple[int, DqdCheck]
# What each check type reads of another table, by a field that its own table has too.
_JOINED = {
    "plausibleAfterBirth": (("person", "person_id"),),
    "plausibleDuringLife": (("death", "person_id"),),
    "plausibleBeforeDeath": (("death", "person_id"),),
    "withinVisitDates": (("visit_occurrence", "visit_occurrence_id"),),
    "measurePersonCompleteness": (("person", "person_id"),),
    "measureConditionEraCompleteness": (("condition_occurrence", "person_id"),),
    "measureObservationPeriodOverlap": (("observation_period", "person_id"),),
    "plausibleGender": (("person", "person_id"),),
    "plausibleGenderUseDescendants": (("person", "person_id"),),
}
_DIED = ("plausibleDuringLife", "plausibleBeforeDeath")


@dataclass(frozen=True)
class Plan:
    """A CDM's tables as frames by short name (what is not there is not made), the checks that can
    be counted on it, and the clock that DQD's GETDATE() stands for."""

    frames: Frames
    checks: tuple[Numbered, ...]
    today: date

    def lacks(self, check: DqdCheck) -> str | None:
        """What must exist before the check can be counted and does not, as DQD's error says it."""
        for table, field in _needed(check):
            if table not in self.frames:
                return f"Table {table.upper()} does not exist."
            if field not in (name.lower() for name in self.frames[table].columns):
                return f"Field {table.upper()}.{field.upper()} does not exist."
        return self._mistyped(check)

    def _mistyped(self, check: DqdCheck) -> str | None:
        """A database would refuse to compare this field with a day."""
        is_bound = check.kind.name in BOUNDED and isinstance(check.bound(self.today), date)
        if not is_bound and check.kind.name not in DATED:
            return None
        types = {name.lower(): type_ for name, type_ in self.frames[check.table].dtypes}
        if is_day(types[check.field]):
            return None
        return f"Field {check.table.upper()}.{check.field.upper()} is no date."

    def of(self, *ways: str) -> list[Numbered]:
        """The checks that are counted in one of these ways."""
        return [one for one in self.checks if one[1].way in ways]


def _needed(check: DqdCheck) -> list[tuple[str, str]]:
    """The tables and fields that a check reads."""
    kind, table, name = check.kind, check.table, check.kind.name
    fields = [(table, check.field)] if check.field else []
    fields += [(table, check.name_in(column)) for column in kind.needs]
    if name == "isForeignKey":
        fields.append((check.name_in("fkTableName"), check.name_in("fkFieldName")))
    if name == "plausibleTemporalAfter":
        other = check.name_in("plausibleTemporalAfterTableName")
        known = ("person", "person_id")
        own = (table, check.name_in("plausibleTemporalAfterFieldName"))
        fields.append(known if other == "person" else own)
    if check.way == "concepts":
        fields.append(("concept", "concept_id"))
    if name == "plausibleGenderUseDescendants":
        fields.append(("concept_ancestor", "descendant_concept_id"))
    fields += [one for place in _JOINED.get(name, ()) for one in (place, (table, place[1]))]
    return [(place, field) for place, field in fields if place]


def row_counts(plan: Plan) -> DataFrame | None:
    """One row per check on rows: `number`, `violated`, `counted`. One aggregate per table."""
    made = [
        _table_counts(plan, table, [one for one in plan.of("rows") if one[1].table == table])
        for table in sorted({check.table for _, check in plan.of("rows")})
    ]
    return union(made)


def union(frames: Sequence[DataFrame]) -> DataFrame | None:
    """All rows of frames of the same columns; null for no frame."""
    return reduce(DataFrame.unionByName, frames) if frames else None


def _table_counts(plan: Plan, table: str, checks: Sequence[Numbered]) -> DataFrame:
    rows = plan.frames[table]
    scope = Scope({name.lower(): type_ for name, type_ in rows.dtypes}, plan.today)
    for lookup in _lookups(plan, [check for _, check in checks]):
        rows = rows.join(lookup[1], lookup[0], "left")
    made = [
        _pair(number, *(check.kind.counted(check, scope) if check.kind.counted else ()))
        for number, check in checks
    ]
    counts = rows.agg(F.array(*made).alias("counts"))
    return counts.select(F.explode("counts").alias("one")).select("one.*")


def _pair(number: int, violated: Column, eligible: Column) -> Column:
    """A null predicate violates nothing; what is not counted cannot violate."""
    return F.struct(
        F.lit(number).alias("number"),
        F.count_if(F.coalesce(violated & eligible, F.lit(False))).alias("violated"),
        F.count_if(eligible).alias("counted"),
    )


def _lookups(plan: Plan, checks: Sequence[DqdCheck]) -> list[tuple[str, DataFrame]]:
    """What the checks need of other tables: the column to join by, and rows unique by it."""
    names = {check.kind.name for check in checks}
    references = {check.field: check for check in checks if check.kind.name == "isForeignKey"}
    found = []
    person = references.pop("person_id", None)
    if person is not None or any(_asks_birth(check) for check in checks):
        found.append(("person_id", _persons(plan.frames["person"])))
    if names & set(_DIED):
        deaths = plan.frames["death"].groupBy("person_id")
        found.append(("person_id", deaths.agg(F.min("death_date").alias(DEATH))))
    visit = references.pop("visit_occurrence_id", None)
    if visit is not None or "withinVisitDates" in names:
        found.append(("visit_occurrence_id", _visits(plan.frames["visit_occurrence"])))
    for field, check in references.items():
        other, key = check.name_in("fkTableName"), check.name_in("fkFieldName")
        keys = plan.frames[other].select(F.col(key).alias(field)).distinct()
        found.append((field, keys.withColumn(f"_found_{field}", F.lit(True))))
    return found


def _asks_birth(check: DqdCheck) -> bool:
    of_person = check.name_in("plausibleTemporalAfterTableName") == "person"
    name = check.kind.name
    return name == "plausibleAfterBirth" or (name == "plausibleTemporalAfter" and of_person)


def _persons(persons: DataFrame) -> DataFrame:
    year, month, day = (_or_null(persons, f"{part}_of_birth") for part in ("year", "month", "day"))
    born = _or_null(persons, "birth_datetime").cast("date")
    dash, first = F.lit("-"), F.lit(1)
    known = F.concat(year, dash, F.coalesce(month, first), dash, F.coalesce(day, first))
    assumed = F.concat(year, F.lit("-06-01"))
    return persons.groupBy("person_id").agg(
        F.first(F.coalesce(born, known.try_cast("date"))).alias(BIRTH),
        F.first(F.coalesce(born, assumed.try_cast("date"))).alias(BIRTH_ASSUMED),
        F.first(F.lit(True)).alias(HAS_PERSON),
    )


def _or_null(rows: DataFrame, name: str) -> Column:
    return F.col(name) if name in rows.columns else F.lit(None)


def _visits(visits: DataFrame) -> DataFrame:
    return visits.groupBy("visit_occurrence_id").agg(
        F.first("visit_start_date").alias(VISIT_START),
        F.first("visit_end_date").alias(VISIT_END),
        F.first(F.lit(True)).alias(HAS_VISIT),
    )
