"""What brings a table to other rows and leaves the rest: changed rows, and keys that are lost."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.tables.contract import Table

GONE = "is_gone"


def restated(table: Table, rows: DataFrame, stored: DataFrame, people: DataFrame) -> DataFrame:
    """`rows` and, marked by `is_gone`, the keys of `stored` that they lack: those of these `people`
    (subject_key) or, of a table about nobody, all."""
    if column := table.person_column:
        theirs = people.select(F.col("subject_key").alias(column)).distinct()
        rows, stored = (part.join(theirs, column, "left_semi") for part in (rows, stored))
    keys = list(table.key)
    gone = stored.select(*keys).join(rows.select(*keys), keys, "left_anti")
    marked = rows.withColumn(GONE, F.lit(False))
    return marked.unionByName(gone.withColumn(GONE, F.lit(True)), allowMissingColumns=True)
