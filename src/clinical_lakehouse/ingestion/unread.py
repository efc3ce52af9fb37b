"""What was received and stays in bronze: elements that no view of silver reads."""

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.view import View
from clinical_lakehouse.methods.sql_on_fhir.dropped import per_unread_element, taken_paths

# Read of every resource when it lands; a Consent is read whole by check_consent.
_ALWAYS = r"\.id|\.meta\.(?:versionId|lastUpdated)"
_ELSEWHERE = {"Consent": ".*"}


def unread_elements(rows: DataFrame, views: Iterable[View], bronze_version: int) -> DataFrame:
    """One ops.unread_element row per type and element path of these valid bronze rows.

    `views` are all those of the rows' types; a type without one is a row with the path `*`.
    """
    taken = dict(_ELSEWHERE)
    for view in views:
        above = taken.get(view.resource_type, _ALWAYS)
        taken[view.resource_type] = f"{above}|{taken_paths(view.compiled)}"
    version = F.lit(bronze_version).cast("bigint").alias("bronze_version")
    return per_unread_element(rows, taken).select(version, "*")
