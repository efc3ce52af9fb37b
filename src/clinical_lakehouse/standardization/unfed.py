"""Columns of the CDM that FHIR does not feed."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def null(type_: str, name: str) -> Column:
    """A column of nulls, typed and named as the CDM has it."""
    return F.lit(None).cast(type_).alias(name)
