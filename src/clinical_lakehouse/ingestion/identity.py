"""Identity: the surrogate key and date offset of every person seen, for the vault."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.surrogate import date_shift_days, surrogate_key


def with_identity(persons: DataFrame, secret: bytes, most_days: int) -> DataFrame:
    """One vault.subject row per patient_id; an offset of 0 where `most_days` is 0 (real dates)."""
    person = F.col("patient_id")
    return persons.select(
        "patient_id",
        surrogate_key(secret, "Patient", person).alias("subject_key"),
        date_shift_days(secret, person, most_days).alias("date_shift_days"),
    )


def only_changed(rows: DataFrame, stored: DataFrame, columns: list[str]) -> DataFrame:
    """Rows that do not stand in `stored` with the same values of `columns` (null equals null)."""
    known = stored.select(*columns).alias("k")
    same = F.lit(True)
    for name in columns:
        same = same & F.col(f"n.{name}").eqNullSafe(F.col(f"k.{name}"))
    return rows.alias("n").join(known, same, "left_anti")
