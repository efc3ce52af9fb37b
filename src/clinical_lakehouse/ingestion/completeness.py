"""Is an encounter complete? Only when every linked type has been loaded up to its export time.

The notion is that of Cumulus (https://docs.smarthealthit.org/cumulus/etl/, "completion tracking").
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.accounting import only_of_type
from clinical_lakehouse.ingestion.fields import KeyOf
from clinical_lakehouse.ingestion.landing import ENDING
from clinical_lakehouse.ingestion.manifests import ASKED, OUTPUT


def export_times(files: DataFrame, manifests: DataFrame) -> DataFrame:
    """file_id and exported_at of every landing file: transactionTime of the manifest beside it,
    else when it was received."""
    moments = manifests.select("folder", "transaction_at").distinct()
    each = files.groupBy("file_id").agg(
        F.first("file_name").alias("file_name"), F.min("received_at").alias("received_at")
    )
    joined = each.withColumn("folder", _folder()).join(F.broadcast(moments), "folder", "left")
    at = F.coalesce("transaction_at", "received_at").alias("exported_at")
    return joined.select("file_id", at)


def loaded_until(files: DataFrame, manifests: DataFrame) -> DataFrame:
    """One row per resource type: up to which export time (`until_at`) all of it is in the lake.

    An export counts for a type once every file that its manifest announces of it has been taken;
    a type that was asked for and has no file is loaded. A file without a manifest counts by itself.
    """
    there = files.select(F.regexp_replace("file_name", ENDING, "").alias("file_name")).distinct()
    announced = manifests.filter(F.col("kind").isin(OUTPUT, ASKED))
    is_here = F.col("_is_here") | (F.col("kind") == ASKED)
    by_manifest = (
        announced.join(there.withColumn("_is_here", F.lit(True)), "file_name", "left")
        .groupBy("folder", "resource_type", "transaction_at")
        .agg(F.bool_and(F.coalesce(is_here, F.lit(False))).alias("is_whole"))
        .filter("is_whole")
    )
    loose = files.withColumn("folder", _folder()).join(
        manifests.select("folder").distinct(), "folder", "left_anti"
    )
    times = by_manifest.select("resource_type", F.col("transaction_at").alias("at")).union(
        loose.select("resource_type", F.col("received_at").alias("at"))
    )
    return times.groupBy("resource_type").agg(F.max("at").alias("until_at"))


def completeness(
    bronze: DataFrame, times: DataFrame, until: DataFrame, linked: Sequence[str], key_of: KeyOf
) -> DataFrame:
    """One row per Encounter received: is_complete, and which linked types are not there yet.

    What counts is the first export that held the encounter: `times` of files, `until` of types.
    """
    seen = (
        only_of_type(bronze, "Encounter")
        .filter("NOT is_deleted")
        .join(F.broadcast(times), "file_id")
        .groupBy("resource_id")
        .agg(F.min("exported_at").alias("exported_at"))
    )
    is_linked = F.col("resource_type").isin(*linked)
    row = until.filter(is_linked).agg(F.map_from_entries(_collected()).alias("until"))
    missing = F.filter(F.array(*(F.lit(name) for name in sorted(linked))), _is_late)
    judged = seen.crossJoin(F.broadcast(row)).withColumn("missing_types", missing)
    return judged.select(
        key_of("Encounter", F.col("resource_id")).alias("encounter_key"),
        (F.size("missing_types") == 0).alias("is_complete"),
        "missing_types",
    )


def _collected() -> Column:
    return F.collect_list(F.struct("resource_type", "until_at"))


def _is_late(name: Column) -> Column:
    return F.coalesce(F.col("until")[name] < F.col("exported_at"), F.lit(True))


def _folder() -> Column:
    found = F.regexp_extract("file_name", "^(.*)/[^/]*$", 1)
    return F.when(found == "", ".").otherwise(found)
