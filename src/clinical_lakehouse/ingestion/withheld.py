"""Resources that error checks refuse: found again in bronze by their silver rows, and kept out of
silver until a newer version comes or a person lets them go."""

from collections.abc import Callable, Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.versions import ORDER, PLACE, only_newest
from clinical_lakehouse.tables.views import SilverView

# Reasons of quarantine that a check gave: check:not_before_consent.
BY_CHECK = "check:"
_RULE = ("table_name", "check_name", "rule_version")
_VERSION = ("resource_type", "resource_id", "content_hash")
# Bronze rows of a type to the key that their silver rows have: resource_id, own_key.
KeyedResources = Callable[[str, DataFrame], DataFrame]


def is_by_check() -> Column:
    """Is a row of bronze.quarantine there because of a check?"""
    return F.startswith("reason", F.lit(BY_CHECK))


def only_kept_out(quarantined: DataFrame) -> DataFrame:
    """Quarantined rows but those a person let go though their check still stands."""
    return quarantined.filter("decision IS DISTINCT FROM 'released'")


def failing_silver_rows(failures: DataFrame, results: DataFrame, as_of: datetime) -> DataFrame:
    """One row per silver table and row_key that an error check refuses (the first by name), as the
    latest data_quality run before `as_of` saw it (`checked_at`); what a check tolerates is not
    refused."""
    before = results.filter(F.col("checked_at") < F.lit(as_of).cast("timestamp"))
    latest = before.agg(F.max_by("run_id", F.struct("checked_at", "run_id")).alias("run_id"))
    is_refusing = "severity = 'error' AND state = 'failed' AND startswith(table_name, 'silver.')"
    refusing = before.join(latest, "run_id").filter(is_refusing).select(*_RULE, "checked_at")
    rows = failures.filter("is_failing").join(refusing, list(_RULE))
    first = F.min(F.struct("check_name", "rule_version", "checked_at")).alias("rule")
    place = ["table_name", "row_key"]
    return rows.groupBy(*place).agg(first).select(*place, "rule.*")


def withheld_versions(
    view: SilverView, failing: DataFrame, rows: DataFrame, keyed: KeyedResources
) -> DataFrame:
    """bronze.quarantine rows (but received_at and decision) of the versions that the failing rows
    of the view's table are made of, unless a newer one has come since; `rows` are valid bronze rows
    of its type, none repeated."""
    own = F.get_json_object("row_key", f"$.{view.table.key[0]}").cast("bigint").alias("own_key")
    rule = F.struct("check_name", F.concat_ws("@", "check_name", "rule_version").alias("name"),
                    "checked_at")  # fmt: skip
    mine = failing.filter(F.col("table_name") == view.table.name)
    refused = mine.groupBy(own).agg(F.min(rule).alias("rule")).select("own_key", "rule.*")
    ids = keyed(view.resource, rows.select("resource_id", "patient_id").distinct())
    ids = ids.join(F.broadcast(refused), "own_key").drop("own_key", "patient_id")
    kept = (*_VERSION[:2], "patient_id", *ORDER, "file_name", "byte_offset")
    newest = only_newest(rows.select(*kept)).join(ids, "resource_id")
    return newest.filter("received_at <= checked_at").select(
        *PLACE, "file_name", "byte_offset", *_VERSION[:2], "patient_id",
        F.concat(F.lit(BY_CHECK), "check_name").alias("reason"),
        F.concat_ws(" ", F.lit(view.table.name), "name").alias("path"),
    )  # fmt: skip


def only_news(refused: DataFrame, quarantined: DataFrame) -> DataFrame:
    """Refused versions that quarantine does not hold yet, or that were let go from another check,
    or from this one before it was edited."""
    known = quarantined.select(*PLACE, F.col("path").alias("_path"), F.col("decision").alias("_is"))
    is_new = "_path IS NULL OR (_is = 'released' AND _path <> path)"
    return refused.join(known, list(PLACE), "left").filter(is_new).drop("_path", "_is")


def resources_about(withheld: DataFrame, rows: DataFrame) -> DataFrame:
    """Type and id of what publish must look at again: withheld resources, and everything of a
    person whose Patient is withheld."""
    people = withheld.filter("resource_type = 'Patient'").select(F.col("resource_id").alias("_id"))
    theirs = rows.join(people, rows.patient_id == F.col("_id"), "left_semi")
    ids = [part.select("resource_type", "resource_id") for part in (withheld, theirs)]
    return ids[0].union(ids[1]).distinct()


def withheld_resources(quarantined: DataFrame, bronze: DataFrame) -> DataFrame:
    """Type and id of resources whose newest version a check refuses, or brings the same bytes as
    one it refuses; `bronze` are valid rows of any type."""
    kept = only_kept_out(quarantined.filter(is_by_check())).select(*PLACE)
    bad = bronze.join(F.broadcast(kept), list(PLACE), "left_semi").select(*_VERSION)
    ids = list(_VERSION[:2])
    versions = bronze.join(F.broadcast(bad.select(*ids)), ids, "left_semi")
    newest = only_newest(versions.select(*_VERSION, *ORDER))
    return newest.join(bad, list(_VERSION), "left_semi").select(*ids).distinct()


def only_miscounted(ledger: DataFrame, quarantined: DataFrame) -> DataFrame:
    """file_id of files whose quarantined rows are not as many as the ledger says."""
    there = only_kept_out(quarantined).groupBy("file_id").agg(F.count("*").alias("there"))
    told = ledger.groupBy("file_id").agg(F.sum("quarantined_count").alias("told"))
    counted = told.join(there, "file_id", "left").fillna(0, ["there"])
    return counted.filter("told <> there").select("file_id")


def tables_of(failing: DataFrame, views: Sequence[SilverView]) -> list[SilverView]:
    """The views whose tables have failing rows."""
    names = {row[0] for row in failing.select("table_name").distinct().collect()}
    return [view for view in views if view.table.name in names]
