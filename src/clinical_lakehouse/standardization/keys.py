"""Keys made of what identifies a row: the same for any order of rows and any partitioning."""

from pyspark.sql import Column
from pyspark.sql import functions as F

_LARGEST = 2**63 - 1


def hashed_key(*parts: str | Column) -> Column:
    """A positive BIGINT: the low 63 bits of the parts' xxhash64."""
    return F.xxhash64(*parts).bitwiseAND(F.lit(_LARGEST))
