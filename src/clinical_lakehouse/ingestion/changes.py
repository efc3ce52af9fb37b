"""What publish has to look at again: which resources' silver rows may differ since the last run."""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.accounting import only_of_type
from clinical_lakehouse.ingestion.people import only_over_89


@dataclass(frozen=True)
class Changes:
    """Valid bronze rows, those of them that are new, and patient_ids: of people whose consent or
    identity changed, and of people of whom only a part is permitted."""

    bronze: DataFrame
    new: DataFrame
    people: DataFrame
    partly: DataFrame


@dataclass(frozen=True)
class Scope:
    """What publish looks at (all resources where `affected` is None), and `barred`: types and ids
    of resources that no consent reaches, or a check refuses."""

    affected: DataFrame | None
    barred: DataFrame

    def barred_of(self, resource_type: str) -> DataFrame:
        """resource_id of the barred resources of a type."""
        return self.barred.filter(F.col("resource_type") == resource_type).select("resource_id")


def affected(changes: Changes, young: DataFrame, as_of: datetime) -> DataFrame:
    """Types and ids of the resources whose silver rows may change; `young` are silver's patient_ids
    with a birth year, which must go when they turn 90."""
    bronze = changes.bronze
    moved = only_of_type(changes.new, "Patient").select("patient_id")
    # A Patient's own label can shut out or let in a person whose windows stay as they are.
    people = changes.people.union(moved.join(changes.partly, "patient_id", "left_semi"))
    theirs = bronze.join(people, "patient_id", "left_semi")
    sites = only_of_type(bronze, "ResearchSubject").join(moved, "patient_id", "left_semi")
    aged = only_over_89(only_of_type(bronze, "Patient"), as_of)
    aged = aged.join(young.select("patient_id"), "patient_id", "left_semi")
    parts = (changes.new, theirs, sites, aged)
    ids = [rows.select("resource_type", "resource_id") for rows in parts]
    return ids[0].union(ids[1]).union(ids[2]).union(ids[3]).distinct()
