"""One number for a table's content that no order of rows and no partitioning can change."""

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

_SPAN = "DECIMAL(38,0)"


def content_hash(columns: Sequence[str]) -> Column:
    """An aggregate over `columns`, as text: row count, sum and exclusive or of the rows' xxhash64.

    The sum counts a row twice where it stands twice; null and empty differ by the marker. Use as
    `df.agg(content_hash(sorted(df.columns)))`; equal text means equal content but for chance
    (2^-64).
    """
    marks = [F.col(name).isNull() for name in columns]
    row = F.xxhash64(*[F.col(name) for name in columns], *marks)
    parts = (F.count(F.lit(1)), F.sum(row.cast(_SPAN)), F.bit_xor(row))
    return F.concat_ws(":", *[F.coalesce(part.cast("string"), F.lit("0")) for part in parts])
