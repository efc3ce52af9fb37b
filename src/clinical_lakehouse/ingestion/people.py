"""What of a Patient other resources' rows need: the person's site, and who has turned 90."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.fields import REFERENCE, is_over_89
from clinical_lakehouse.ingestion.versions import only_newest

_SITE = r"^(?:Organization/|urn:uuid:)([A-Za-z0-9.\-]{1,64})$"


def with_site(people: DataFrame, patients: DataFrame) -> DataFrame:
    """`people` with `site_id`, the logical id of each person's managing organization."""
    element = F.from_json("content", f"managingOrganization {REFERENCE}")
    read = only_newest(patients).withColumn("r", element)
    found = F.regexp_extract("r.managingOrganization.reference", _SITE, 1)
    sites = read.select(
        F.col("resource_id").alias("patient_id"), F.nullif(found, F.lit("")).alias("site_id")
    )
    return people.join(sites, "patient_id", "left")


def only_over_89(patients: DataFrame, as_of: datetime) -> DataFrame:
    """The newest Patient rows (bronze) of people older than 89 at `as_of` or when they died."""
    fields = "birthDate STRING, deceasedDateTime STRING"
    read = only_newest(patients).withColumn("r", F.from_json("content", fields))
    now = F.lit(as_of).cast("timestamp")
    return read.filter(is_over_89(F.col("r.birthDate"), F.col("r.deceasedDateTime"), now))
