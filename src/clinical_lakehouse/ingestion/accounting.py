"""Every row accounted for: which are refused, which are repeated, and whether it all adds up."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.errors import AccountingError
from clinical_lakehouse.ingestion.landing import Surveyed
from clinical_lakehouse.ingestion.versions import PLACE

UNKNOWN_SUBJECT = "unknown-subject"
_IDENTITY = ("resource_type", "resource_id", "content_hash")
_REFUSED = (
    *("file_id", "file_name", "line", "entry", "byte_offset", "resource_type", "resource_id"),
    *("patient_id", "reason", "path", "received_at"),
)


def only_open(quarantined: DataFrame, reason: str, file_name: str) -> DataFrame:
    """Quarantined rows nobody has decided on, of one reason and file ("" for any)."""
    rows = quarantined.filter(F.col("decision").isNull())
    rows = rows.filter(F.col("reason") == reason) if reason else rows
    return rows.filter(F.col("file_name") == file_name) if file_name else rows


def only_valid(rows: DataFrame) -> DataFrame:
    """The rows of bronze.fhir_resource that are valid resources."""
    return rows.filter(F.col("status") == "valid")


def only_of_type(rows: DataFrame, resource_type: str) -> DataFrame:
    """The valid rows of one resource type."""
    return only_valid(rows).filter(F.col("resource_type") == resource_type)


def only_repeated(rows: DataFrame, older: DataFrame) -> DataFrame:
    """Valid rows whose type, id and bytes stand in `older` or earlier among `rows`.

    Earlier is by received_at, file, line and entry; one bronze.duplicate row each.
    """
    order = Window.partitionBy(*_IDENTITY).orderBy("received_at", *PLACE)
    known = only_valid(older).select(*_IDENTITY).distinct().withColumn("_is_known", F.lit(True))
    ranked = only_valid(rows).withColumn("_rank", F.row_number().over(order))
    again = ranked.join(known, list(_IDENTITY), "left").filter("_rank > 1 OR _is_known")
    return again.select(*PLACE, "resource_type", "received_at")


def only_refused(rows: DataFrame, repeated: DataFrame, persons: DataFrame) -> DataFrame:
    """Invalid rows, and rows about a person nobody knows; one bronze.quarantine row each."""
    invalid = rows.filter(F.col("status") == "invalid").select(*_REFUSED)
    fresh = only_valid(rows).join(repeated.select(*PLACE), list(PLACE), "left_anti")
    lost = fresh.join(persons, "patient_id", "left_anti").filter(F.col("patient_id").isNotNull())
    marked = lost.withColumns({"reason": F.lit(UNKNOWN_SUBJECT), "path": F.lit("subject")})
    refused = invalid.unionByName(marked.select(*_REFUSED))
    return refused.withColumn("decision", F.lit(None).cast("string"))


def per_file_and_type(rows: DataFrame, refused: DataFrame, repeated: DataFrame) -> DataFrame:
    """One ops.landing_file row per file and type; loaded is counted, not computed as the rest."""
    there = list(PLACE)
    judged = (
        rows.join(refused.select(*there, F.lit(True).alias("_is_refused")), there, "left")
        .join(repeated.select(*there, F.lit(True).alias("_is_repeated")), there, "left")
        .withColumn("resource_type", _named_type())
    )
    loaded = _holds(F.col("status") == "valid") & ~_flag("_is_refused") & ~_flag("_is_repeated")
    counted = judged.groupBy("file_id", "file_name", "resource_type", "received_at").agg(
        F.count(F.lit(1)).alias("received_count"), F.count_if(loaded).alias("loaded_count")
    )
    return (
        counted.join(_per_type(refused, "quarantined_count"), ["file_id", "resource_type"], "left")
        .join(_per_type(repeated, "duplicate_count"), ["file_id", "resource_type"], "left")
        .fillna(0, ["quarantined_count", "duplicate_count"])
    )


def check_lines(files: Sequence[Surveyed], counts: Mapping[str, int]) -> None:
    """AccountingError for a file of which bronze does not hold every line; counts by file_id."""
    for file in files:
        stored = counts.get(file.file_id, 0)
        if file.line_count is not None and file.line_count != stored:
            raise AccountingError(
                f"{file.name} has {file.line_count} resources, bronze.fhir_resource {stored}"
            )


def empty_row(file: Surveyed, received_at: datetime) -> dict[str, object]:
    """The ops.landing_file row of a file without resources."""
    counts = ("received_count", "loaded_count", "quarantined_count", "duplicate_count")
    return {
        "file_id": file.file_id,
        "file_name": file.name,
        "resource_type": "none",
        **dict.fromkeys(counts, 0),
        "received_at": received_at,
    }


def only_unbalanced(ledger: DataFrame) -> DataFrame:
    """Ledger rows where received is not loaded + quarantined + duplicate."""
    parts = F.col("loaded_count") + F.col("quarantined_count") + F.col("duplicate_count")
    return ledger.filter(F.col("received_count") != parts)


def left_in_bronze(
    rows: DataFrame, taken: Sequence[str], personal: Sequence[str]
) -> dict[str, int | str]:
    """What stays in bronze: types that are not `taken` into silver, and valid rows of `personal`
    types that name no Patient."""
    valid = only_valid(rows)
    others = valid.filter(~F.col("resource_type").isin(*taken)).groupBy("resource_type").count()
    of_people = valid.filter(F.col("resource_type").isin(*personal))
    kept = sorted((row["resource_type"], row["count"]) for row in others.collect())
    return {
        "resources_kept": sum(count for _, count in kept),
        "types_kept": ", ".join(name for name, _ in kept),
        "resources_without_person": of_people.filter("patient_id IS NULL").count(),
    }


def _per_type(rows: DataFrame, name: str) -> DataFrame:
    typed = rows.withColumn("resource_type", _named_type())
    return typed.groupBy("file_id", "resource_type").agg(F.count(F.lit(1)).alias(name))


def _named_type() -> Column:
    return F.coalesce(F.col("resource_type"), F.lit("unreadable"))


def _flag(name: str) -> Column:
    return F.coalesce(F.col(name), F.lit(False))


def _holds(condition: Column) -> Column:
    return F.coalesce(condition, F.lit(False))
