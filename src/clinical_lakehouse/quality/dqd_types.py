"""DQD's 27 check types as data: what violates a check, and what is counted against it.

Definitions: OHDSI DataQualityDashboard 2.8, ohdsi.github.io/DataQualityDashboard/articles/checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from pyspark.sql import Column
from pyspark.sql import functions as F

# Days an event may lie after death, or outside its visit, before DQD calls it implausible.
DAYS_AFTER_DEATH = 60
DAYS_AROUND_VISIT = 7
_INTEGERS = ("tinyint", "smallint", "int", "bigint")

# Columns that dqd_rows joins to a table before its one aggregate.
BIRTH, BIRTH_ASSUMED, HAS_PERSON = "_birth", "_birth_assumed", "_has_person"
DEATH, VISIT_START, VISIT_END, HAS_VISIT = "_death", "_visit_start", "_visit_end", "_has_visit"


class Asked(Protocol):
    """What a count must know of a check: its field and the words of its row in OHDSI's file."""

    @property
    def field(self) -> str:
        """The field, in lower case."""

    @property
    def words(self) -> Mapping[str, str]:
        """The row of the file."""

    def name_in(self, column: str) -> str:
        """A table or field that another column of the row names, in lower case."""

    def bound(self, today: date) -> float | date:
        """The least or greatest plausible value."""


@dataclass(frozen=True)
class Scope:
    """The table a check is counted on: its columns by type, the clock, and what marks a value
    that another table knows."""

    types: Mapping[str, str]
    today: date

    def found(self, check: Asked) -> Column:
        """Does the table that the field refers to hold its value?"""
        table, name = check.name_in("fkTableName"), check.field
        if (table, name) == ("person", "person_id"):
            return F.col(HAS_PERSON)
        if (table, name) == ("visit_occurrence", "visit_occurrence_id"):
            return F.col(HAS_VISIT)
        return F.col(f"_found_{name}")

    def source_of(self, field: str) -> str | None:
        """The source value that a concept stands for: `unit_concept_id`, `unit_source_value`."""
        name = field.removesuffix("_concept_id").removesuffix("_source") + "_source_value"
        return name if name in self.types else None


# What a row violates, and which rows count: null is no.
Counted = Callable[[Asked, Scope], tuple[Column, Column]]


# What a day can be read from; any other type cannot be compared with one.
_DAYS = ("date", "timestamp", "timestamp_ntz", "string")
DATED = frozenset(
    ("plausibleTemporalAfter", "plausibleDuringLife", "withinVisitDates", "plausibleAfterBirth")
    + ("plausibleBeforeDeath", "plausibleStartBeforeEnd")
)


def is_day(type_: str) -> bool:
    """Can a field of this Spark type be read as a day?"""
    return type_ in _DAYS


@dataclass(frozen=True)
class CheckType:
    """One of DQD's check types: its level and name, and how it is counted.

    `way` says by which aggregate: shape (no rows needed), rows (with `counted`), keys, values,
    persons, eras, periods, concepts (by the concept's own entry) or targets (by concept named).
    """

    level: str
    name: str
    way: str
    sql_file: str
    rule: str
    counted: Counted | None = None
    needs: tuple[str, ...] = ()


def _value(check: Asked) -> Column:
    return F.col(f"`{check.field}`")


def _day(name: str) -> Column:
    return F.col(f"`{name}`").try_cast("date")


def _missing(check: Asked, scope: Scope) -> tuple[Column, Column]:
    return _value(check).isNull(), F.lit(True)


def _no_integer(check: Asked, scope: Scope) -> tuple[Column, Column]:
    value, type_ = _value(check), scope.types[check.field]
    if type_ in _INTEGERS:
        return F.lit(False), F.lit(True)
    if type_ == "string":
        return ~value.rlike(r"^[+-]?[0-9]+$"), F.lit(True)
    if type_ in ("float", "double") or type_.startswith("decimal"):
        return value != F.floor(value), F.lit(True)
    return value.isNotNull(), F.lit(True)


def _lost_reference(check: Asked, scope: Scope) -> tuple[Column, Column]:
    return _value(check).isNotNull() & scope.found(check).isNull(), F.lit(True)


def _unmapped(check: Asked, scope: Scope) -> tuple[Column, Column]:
    """A field that may be null is also unmapped where it is null and its source value is not."""
    value, source = _value(check), scope.source_of(check.field)
    is_zero = value.try_cast("BIGINT") == 0
    if check.words["isRequired"] == "Yes" or source is None:
        return is_zero, value.isNotNull()
    has_source = F.col(f"`{source}`").isNotNull()
    return is_zero | (value.isNull() & has_source), value.isNotNull() | has_source


def _low(check: Asked, scope: Scope) -> tuple[Column, Column]:
    bound, value = check.bound(scope.today), _value(check)
    shown = value.try_cast("date" if isinstance(bound, date) else "double")
    return shown < F.lit(bound), value.isNotNull()


def _high(check: Asked, scope: Scope) -> tuple[Column, Column]:
    bound, value = check.bound(scope.today), _value(check)
    shown = value.try_cast("date" if isinstance(bound, date) else "double")
    return shown > F.lit(bound), value.isNotNull()


def _before_other(check: Asked, scope: Scope) -> tuple[Column, Column]:
    of_person = check.name_in("plausibleTemporalAfterTableName") == "person"
    other = check.name_in("plausibleTemporalAfterFieldName")
    earlier = F.col(BIRTH_ASSUMED) if of_person else _day(other)
    return earlier > _day(check.field), F.lit(True)


def _long_after_death(check: Asked, scope: Scope) -> tuple[Column, Column]:
    return _day(check.field) > F.date_add(DEATH, DAYS_AFTER_DEATH), F.col(DEATH).isNotNull()


def _event_long_after_death(check: Asked, scope: Scope) -> tuple[Column, Column]:
    violated, counted = _long_after_death(check, scope)
    return violated, counted & _value(check).isNotNull()


def _outside_visit(check: Asked, scope: Scope) -> tuple[Column, Column]:
    value = _day(check.field)
    early = value < F.date_sub(VISIT_START, DAYS_AROUND_VISIT)
    late = value > F.date_add(VISIT_END, DAYS_AROUND_VISIT)
    return early | late, F.col(HAS_VISIT).isNotNull()


def _before_birth(check: Asked, scope: Scope) -> tuple[Column, Column]:
    return _day(check.field) < F.col(BIRTH), _value(check).isNotNull()


def _after_end(check: Asked, scope: Scope) -> tuple[Column, Column]:
    start, end = _day(check.field), _day(check.name_in("plausibleStartBeforeEndFieldName"))
    return start > end, start.isNotNull() & end.isNotNull()


_ALL = (
    CheckType("TABLE", "cdmTable", "shape", "table_cdm_table.sql", "the table exists"),
    CheckType(
        *("TABLE", "measurePersonCompleteness", "persons", "table_person_completeness.sql"),
        "persons without a record, of all persons",
    ),
    CheckType(
        *("TABLE", "measureConditionEraCompleteness", "eras"),
        "table_condition_era_completeness.sql",
        "persons with a mapped condition and no era, of persons with a mapped condition",
    ),
    CheckType(
        *("TABLE", "measureObservationPeriodOverlap", "periods"),
        "table_observation_period_overlap.sql",
        "persons whose periods overlap or touch, of persons with a period",
    ),
    CheckType("FIELD", "cdmField", "shape", "field_cdm_field.sql", "the field exists"),
    CheckType(
        *("FIELD", "isRequired", "rows", "field_is_not_nullable.sql"),
        "null, of all rows",
        _missing,
    ),
    CheckType(
        *("FIELD", "cdmDatatype", "rows", "field_cdm_datatype.sql"),
        "not null and no whole number, of all rows",
        _no_integer,
    ),
    CheckType(
        *("FIELD", "isPrimaryKey", "keys", "field_is_primary_key.sql"),
        "rows that share a key, of all rows",
    ),
    CheckType(
        *("FIELD", "isForeignKey", "rows", "is_foreign_key.sql"),
        "not null and not in the other table, of all rows",
        _lost_reference,
    ),
    CheckType(
        *("FIELD", "fkDomain", "concepts", "field_fk_domain.sql"),
        "a concept but 0 of another domain, of all rows",
    ),
    CheckType(
        *("FIELD", "fkClass", "concepts", "field_fk_class.sql"),
        "a concept but 0 of another class, of all rows",
    ),
    CheckType(
        *("FIELD", "isStandardValidConcept", "concepts", "field_is_standard_valid_concept.sql"),
        "a concept but 0 that is not standard or not valid, of rows that are not null",
    ),
    CheckType(
        *("FIELD", "measureValueCompleteness", "rows", "field_measure_value_completeness.sql"),
        "null, of all rows",
        _missing,
    ),
    CheckType(
        *("FIELD", "standardConceptRecordCompleteness", "rows"),
        "field_concept_record_completeness.sql",
        "0, or null beside a source value; of rows with a concept or source value",
        _unmapped,
    ),
    CheckType(
        *("FIELD", "sourceConceptRecordCompleteness", "rows"),
        "field_concept_record_completeness.sql",
        "0, or null beside a source value; of rows with a concept or source value",
        _unmapped,
    ),
    CheckType(
        *("FIELD", "sourceValueCompleteness", "values", "field_source_value_completeness.sql"),
        "distinct source values with concept 0 somewhere, of distinct source values",
        needs=("standardConceptFieldName",),
    ),
    CheckType(
        *("FIELD", "plausibleValueLow", "rows", "field_plausible_value_low.sql"),
        "less than the bound, of values",
        _low,
    ),
    CheckType(
        *("FIELD", "plausibleValueHigh", "rows", "field_plausible_value_high.sql"),
        "more than the bound, of values",
        _high,
    ),
    CheckType(
        *("FIELD", "plausibleTemporalAfter", "rows", "field_plausible_temporal_after.sql"),
        "before the other date, of all rows; a birth of only a year is on 1 June",
        _before_other,
    ),
    CheckType(
        *("FIELD", "plausibleDuringLife", "rows", "field_plausible_during_life.sql"),
        "over 60 days after death, of rows of persons who died",
        _long_after_death,
    ),
    CheckType(
        *("FIELD", "withinVisitDates", "rows", "field_within_visit_dates.sql"),
        "over 7 days before or after its visit, of rows with a visit",
        _outside_visit,
    ),
    CheckType(
        *("FIELD", "plausibleAfterBirth", "rows", "field_plausible_after_birth.sql"),
        "before birth, of dates; what of a birth date is not known is 1",
        _before_birth,
    ),
    CheckType(
        *("FIELD", "plausibleBeforeDeath", "rows", "field_plausible_before_death.sql"),
        "over 60 days after death, of dates of persons who died",
        _event_long_after_death,
    ),
    CheckType(
        *("FIELD", "plausibleStartBeforeEnd", "rows", "field_plausible_start_before_end.sql"),
        "after the end, of rows with both",
        _after_end,
        ("plausibleStartBeforeEndFieldName",),
    ),
    CheckType(
        *("CONCEPT", "plausibleGender", "targets", "concept_plausible_gender.sql"),
        "records of people of another gender, of records of the concept",
    ),
    CheckType(
        *("CONCEPT", "plausibleGenderUseDescendants", "targets"),
        "concept_plausible_gender_use_descendants.sql",
        "records of people of another gender, of records of the concept's descendants",
    ),
    CheckType(
        *("CONCEPT", "plausibleUnitConceptIds", "targets"),
        "concept_plausible_unit_concept_ids.sql",
        "units that are not listed (-1: none), of the concept's records whose unit is not 0",
    ),
)
CHECK_TYPES = {(kind.level, kind.name): kind for kind in _ALL}
