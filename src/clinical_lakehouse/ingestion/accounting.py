"""Every row accounted for: which are refused, which are repeated, and whether it all adds up."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.errors import AccountingError
from clinical_lakehouse.ingestion.landing import Surveyed, lines, opened
from clinical_lakehouse.ingestion.versions import PLACE

UNKNOWN_SUBJECT = "unknown-subject"
_IDENTITY = ("resource_type", "resource_id", "content_hash")
_TOTALS = ("received", "loaded", "deleted", "quarantined", "duplicate")
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


def persons_of(bronze: DataFrame) -> DataFrame:
    """Everybody (patient_id) of whom a valid Patient has been received, deleted since or not."""
    patients = only_of_type(bronze, "Patient").filter("NOT is_deleted")
    return patients.select(F.col("resource_id").alias("patient_id")).distinct()


def only_repeated(rows: DataFrame, older: DataFrame) -> DataFrame:
    """Valid rows whose type, id and bytes stand in `older` or earlier among `rows`.

    Earlier is by received_at, file, line and entry; one bronze.duplicate row each.
    """
    order = Window.partitionBy(*_IDENTITY).orderBy("received_at", *PLACE)
    known = only_valid(older).select(*_IDENTITY).distinct().withColumn("_is_known", F.lit(True))
    ranked = only_valid(rows).withColumn("_rank", F.row_number().over(order))
    again = ranked.join(known, list(_IDENTITY), "left").filter("_rank > 1 OR _is_known")
    return again.select(*PLACE, "file_name", "resource_type", "received_at")


def only_refused(rows: DataFrame, repeated: DataFrame, persons: DataFrame) -> DataFrame:
    """Invalid rows, and rows about a person nobody knows; one bronze.quarantine row each."""
    invalid = rows.filter(F.col("status") == "invalid").select(*_REFUSED)
    there = only_valid(rows).filter("NOT is_deleted")
    fresh = there.join(repeated.select(*PLACE), list(PLACE), "left_anti")
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
        F.count(F.lit(1)).alias("received_count"),
        F.count_if(loaded).alias("loaded_count"),
        F.count_if(loaded & F.col("is_deleted")).alias("deleted_count"),
    )
    return (
        counted.join(_per_type(refused, "quarantined_count"), ["file_id", "resource_type"], "left")
        .join(_per_type(repeated, "duplicate_count"), ["file_id", "resource_type"], "left")
        .fillna(0, ["quarantined_count", "duplicate_count"])
    )


@dataclass(frozen=True)
class Stored:
    """What bronze holds of a file: rows, lines, and the sum of the lines' numbers."""

    rows: int = 0
    lines: int = 0
    line_sum: int = 0


def per_file(rows: DataFrame) -> DataFrame:
    """One row per file_id: the fields of `Stored`; a line that is a Bundle may be several rows."""
    is_line = F.col("entry") == 0
    return rows.groupBy("file_id").agg(
        F.count(F.lit(1)), F.count_if(is_line), F.sum(F.when(is_line, F.col("line")))
    )


def row_count(stored: Mapping[str, Stored], file: Surveyed) -> int:
    """How many rows bronze holds of a file."""
    return stored.get(file.file_id, Stored()).rows


def check_lines(
    files: Sequence[Surveyed],
    stored: Mapping[str, Stored],
    lines_of: Callable[[str], Iterator[int]],
) -> None:
    """AccountingError, with file and line, where bronze does not hold each line once.

    `stored` is by file_id; `lines_of` gives the lines of a file_id in order, and is asked for a
    file that does not add up only.
    """
    for file in files:
        there = stored.get(file.file_id, Stored())
        if file.line_count is None or (there.lines, there.line_sum) == (
            file.line_count,
            file.line_sum,
        ):
            continue
        raise AccountingError(
            f"{file.name} has {file.line_count} resources, bronze.fhir_resource {there.lines}: "
            f"{_first_unequal(Path(file.chunks[0].path), lines_of(file.file_id))}"
        )


def _first_unequal(path: Path, stored: Iterator[int]) -> str:
    """The first line of a file that bronze lacks or holds twice; both are read in order."""
    with opened(path) as stream:
        for number, _, line in lines(stream):
            if isinstance(line, bytes) and line.isspace():
                continue
            found = next(stored, None)
            if found is None or found > number:
                return f"line {number} is missing"
            if found < number:
                return f"line {found} is there twice"
    found = next(stored, None)
    return "the file has changed since" if found is None else f"line {found} is there twice"


def empty_row(file: Surveyed, received_at: datetime) -> dict[str, object]:
    """The ops.landing_file row of a file without resources."""
    return {
        "file_id": file.file_id,
        "file_name": file.name,
        "resource_type": "none",
        **{f"{name}_count": 0 for name in _TOTALS},
        "received_at": received_at,
    }


def only_unbalanced(ledger: DataFrame) -> DataFrame:
    """Ledger rows where received is not loaded + quarantined + duplicate."""
    parts = F.col("loaded_count") + F.col("quarantined_count") + F.col("duplicate_count")
    return ledger.filter(F.col("received_count") != parts)


def check_balance(ledger: DataFrame) -> None:
    """AccountingError for the first file and type whose rows do not add up."""
    for row in only_unbalanced(ledger).limit(1).collect():
        raise AccountingError(
            f"{row['file_name']} {row['resource_type']}: {row['received_count']} received are not "
            f"{row['loaded_count']} loaded, {row['quarantined_count']} quarantined and "
            f"{row['duplicate_count']} duplicate"
        )


def totals(ledger: DataFrame, as_of: datetime, expected: Sequence[str]) -> dict[str, int | str]:
    """What the run at `as_of` received, and the `expected` types the ledger has never seen."""
    present = [row[0] for row in ledger.select("resource_type").distinct().collect()]
    now = ledger.filter(F.col("received_at") == F.lit(as_of).cast("timestamp"))
    sums = now.agg(*(F.sum(f"{name}_count").alias(name) for name in _TOTALS)).collect()[0]
    return {
        **{f"resources_{name}": sums[name] or 0 for name in _TOTALS},
        "types_missing": ", ".join(name for name in expected if name not in present),
    }


def left_in_bronze(
    rows: DataFrame, taken: Sequence[str], personal: Sequence[str]
) -> dict[str, int | str]:
    """What stays in bronze: types that are not `taken` into silver, and valid rows of `personal`
    types that name no Patient."""
    valid = only_valid(rows).filter("NOT is_deleted")
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
