"""A silver table as FHIR resources: what a `Shape` is, and what all shapes share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.deid.years_only import may_keep_dates
from clinical_lakehouse.operators.fhir_elements import (
    When,
    object_,
    only_year,
    reference,
    to_the_second,
    unknown_if_null,
)
from clinical_lakehouse.tables.contract import Table

WITHHELD = "[withheld by de-identification]"


@dataclass(frozen=True)
class Written:
    """How times are written: `full` to the second, else only their year; `year` is the run's."""

    year: int
    is_full: bool

    @property
    def when(self) -> When:
        """A dateTime."""
        return to_the_second if self.is_full else only_year

    def instant(self, at: Column) -> Column:
        """An instant has no short form: null where only years may leave."""
        return to_the_second(at) if self.is_full else F.lit(None).cast("string")


def written(as_of: datetime, agreement: str | None) -> Written:
    """Full (shifted) dates go only where a data use agreement is named."""
    return Written(as_of.year, may_keep_dates(agreement))


Elements = Mapping[str, Column]


@dataclass(frozen=True)
class Shape:
    """How a silver table becomes resources: their type, and each element as a Column."""

    table: Table
    resource_type: str
    elements: Callable[[Written], Elements]
    prepared: Callable[[DataFrame], DataFrame] | None = None

    def rows(self, stored: DataFrame, written: Written) -> DataFrame:
        """resource_type, resource_key, subject_key (null for places and staff) and content."""
        rows = self.prepared(stored) if self.prepared else stored
        key, name = F.col(self.table.key[0]), F.lit(self.resource_type)
        is_of_person = "subject_key" in stored.columns
        subject = F.col("subject_key") if is_of_person else F.lit(None).cast("bigint")
        head = (name.alias("resourceType"), key.cast("string").alias("id"))
        elements = (c.alias(n) for n, c in self.elements(written).items())
        return rows.select(
            name.alias("resource_type"),
            key.alias("resource_key"),
            subject.alias("subject_key"),
            F.to_json(F.struct(*head, *elements)).alias("content"),
        )


def subject(name: str = "subject") -> dict[str, Column]:
    """The element that says whom it is about."""
    return {name: reference("Patient", "subject_key")}


def encounter(name: str = "encounter") -> dict[str, Column]:
    """The element that says during which encounter."""
    return {name: reference("Encounter", "encounter_key")}


def span(name: str, w: Written, is_needed: bool = False) -> dict[str, Column]:
    """name + DateTime for a moment, name + Period where there is an end, or where FHIR needs
    either and neither is known."""
    start, end = w.when(F.col("started_at")), w.when(F.col("ended_at"))
    known = F.coalesce(start, end)
    whole = object_(start=start, end=end, _start=unknown_if_null(known))
    has_period = end.isNotNull() | (F.lit(is_needed) & known.isNull())
    return {
        f"{name}DateTime": F.when(end.isNull(), start),
        f"{name}Period": F.when(has_period, whole),
    }
