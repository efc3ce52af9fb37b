"""Who may be used for research: the latest Consent document of each person decides."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.versions import only_newest

_CONSENT = (
    "status STRING, dateTime STRING, "
    "provision STRUCT<type: STRING, provision: ARRAY<STRUCT<type: STRING>>>"
)
_REVOKED = ("inactive", "rejected", "entered-in-error")


def per_person_decision(persons: DataFrame, consents: DataFrame, when_absent: str) -> DataFrame:
    """One row per patient_id of `persons`: is_permitted, rule and the deciding consent_id.

    `consents` are bronze rows of type Consent; what no rule knows is denied; `when_absent` (permit
    or deny) decides where there is no document.
    """
    latest = _latest_document(only_newest(consents))
    rule = F.coalesce(F.col("rule"), F.lit("none"))
    permitted = (rule == "permit") | ((rule == "none") & F.lit(when_absent == "permit"))
    return persons.join(latest, "patient_id", "left").select(
        "patient_id", permitted.alias("is_permitted"), rule.alias("rule"), "consent_id"
    )


def _latest_document(consents: DataFrame) -> DataFrame:
    """Of each person's documents the one with the latest dateTime, else the latest update."""
    read = consents.withColumn("r", F.from_json("content", _CONSENT))
    at = F.coalesce(F.col("r.dateTime").try_cast("timestamp"), F.col("last_updated_at"))
    order = Window.partitionBy("patient_id").orderBy(
        at.desc_nulls_last(), F.col("last_updated_at").desc_nulls_last(), F.desc("resource_id")
    )
    ranked = read.withColumn("_rank", F.row_number().over(order)).filter(F.col("_rank") == 1)
    return ranked.select(
        "patient_id", _rule().alias("rule"), F.col("resource_id").alias("consent_id")
    )


def _rule() -> Column:
    status, provision = F.col("r.status"), F.col("r.provision")
    inner_deny = F.exists(provision["provision"], lambda inner: inner["type"] == "deny")
    denies = (provision["type"] == "deny") | F.coalesce(inner_deny, F.lit(False))
    return (
        F.when(status.isin(*_REVOKED), "withdrawn")
        .when(denies, "deny")
        .when((status == "active") & (provision["type"] == "permit"), "permit")
        .otherwise("unknown")
    )
