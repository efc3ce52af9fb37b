"""One number for a table's content that no order of rows and no partitioning can change."""

from collections.abc import Collection, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

_SPAN = "DECIMAL(38,0)"


def content_hash(columns: Sequence[str], maps: Collection[str] = ()) -> Column:
    """An aggregate over `columns`, as text: row count, sum and exclusive or of the rows' xxhash64.

    The sum counts a row twice where it stands twice; null and empty differ by the marker. Use as
    `df.agg(content_hash(sorted(df.columns)))`; equal text means equal content but for chance
    (2^-64). `maps` names the columns of type MAP, whose entries have no order either.
    """
    marks = [F.col(name).isNull() for name in columns]
    values = [
        F.array_sort(F.map_entries(name)) if name in maps else F.col(name) for name in columns
    ]
    row = F.xxhash64(*values, *marks)
    parts = (F.count(F.lit(1)), F.sum(row.cast(_SPAN)), F.bit_xor(row))
    return F.concat_ws(":", *[F.coalesce(part.cast("string"), F.lit("0")) for part in parts])
