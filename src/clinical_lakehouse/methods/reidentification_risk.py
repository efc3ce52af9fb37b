"""How easily a person is found again in a table: class sizes, l-diversity and t-closeness.

Figures for an expert's determination under 45 CFR 164.514(b)(1); each function gives one row.
Records with the same quasi-identifiers form an equivalence class; a null is a value of its own.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

# Cells under 11 are not released (CMS cell size suppression policy).
SMALLEST_CLASS = 11
_CLASS, _VALUE, _COUNT = "_class", "_value", "_count"


def class_risk(
    records: DataFrame, quasi_identifiers: Sequence[str], smallest: int = SMALLEST_CLASS
) -> DataFrame:
    """Class sizes and re-identification risks (0-1) of records, one row per person; one row.

    `k` is the smallest class (Sweeney 2002). Prosecutor risk: the target is known to be in the
    table; at most 1/k, on average the mean over records of 1/class size. Marketer risk: expected
    share of all records found again, classes over records, the table being its own population
    (El Emam 2013, Guide to the De-Identification of Personal Health Information, ch. 16). No
    records give zero counts and null risks.
    """
    sizes = records.groupBy(*quasi_identifiers).agg(F.count("*").alias(_COUNT))
    size, total = F.col(_COUNT), F.coalesce(F.sum(_COUNT), F.lit(0))
    small = F.coalesce(F.sum(F.when(size < smallest, size)), F.lit(0))
    return sizes.agg(
        total.alias("records"),
        F.count("*").alias("classes"),
        F.min(size).alias("k"),
        F.max(1 / size).alias("prosecutor_max_risk_ratio"),
        F.try_divide(F.sum(size * (1 / size)), F.sum(size)).alias("prosecutor_mean_risk_ratio"),
        F.try_divide(F.count("*"), F.sum(size)).alias("marketer_risk_ratio"),
        F.try_divide(small, total).alias("small_class_records_ratio"),
        (F.min(size) < smallest).alias("is_below_smallest_class"),
    )


def diversity(records: DataFrame, quasi_identifiers: Sequence[str], sensitive: str) -> DataFrame:
    """The least diversity of a sensitive column within any class; one row.

    `distinct_l` counts different values, `entropy_l` is exp(entropy) of their shares
    (Machanavajjhala 2007, distinct and entropy l-diversity).
    """
    counts = _counts(records, quasi_identifiers, sensitive)
    share = F.col(_COUNT) / F.sum(_COUNT).over(Window.partitionBy(_CLASS))
    shares = counts.select(_CLASS, share.alias("_share"))
    classes = shares.groupBy(_CLASS).agg(
        F.count("*").alias("_distinct"),
        F.exp(-F.sum(F.col("_share") * F.log("_share"))).alias("_entropy"),
    )
    return classes.agg(F.min("_distinct").alias("distinct_l"), F.min("_entropy").alias("entropy_l"))


def closeness(
    records: DataFrame, quasi_identifiers: Sequence[str], sensitive: str, *, is_ordered: bool
) -> DataFrame:
    """The largest distance (0-1) of a class's distribution from the whole table's; one row, `t`.

    Earth mover's distance over ranks where values are ordered, else with equal distances
    (Li 2007, t-closeness, section 5). Looks at classes x distinct values: bin a measurement first.
    """
    counts = _counts(records, quasi_identifiers, sensitive)
    whole = counts.groupBy(_VALUE).agg(F.sum(_COUNT).alias("_overall"))
    grid = counts.select(_CLASS).distinct().crossJoin(whole)
    same = [F.col(f"g.{name}").eqNullSafe(F.col(f"c.{name}")) for name in (_CLASS, _VALUE)]
    joined = grid.alias("g").join(counts.alias("c"), same[0] & same[1], "left")
    full = joined.select(
        F.col(f"g.{_CLASS}").alias(_CLASS),
        F.col(f"g.{_VALUE}").alias(_VALUE),
        (_share_in_class(F.coalesce(F.col(f"c.{_COUNT}"), F.lit(0))) - _share_in_class(
            F.col("g._overall")
        )).alias("_excess"),
    )  # fmt: skip
    distance = _over_ranks(full) if is_ordered else _with_equal_distances(full)
    return distance.agg(F.max("_distance").alias("t"))


def _share_in_class(count: Column) -> Column:
    return count / F.sum(count).over(Window.partitionBy(F.col(f"g.{_CLASS}")))


def _over_ranks(full: DataFrame) -> DataFrame:
    """Sum of absolute running excesses over ranks, divided by ranks - 1."""
    running = F.sum("_excess").over(Window.partitionBy(_CLASS).orderBy(_VALUE))
    moved = full.select(_CLASS, F.abs(running).alias("_moved"))
    ranks = F.greatest(F.count("*") - 1, F.lit(1))
    return moved.groupBy(_CLASS).agg((F.sum("_moved") / ranks).alias("_distance"))


def _with_equal_distances(full: DataFrame) -> DataFrame:
    """Half the sum of absolute excesses."""
    return full.groupBy(_CLASS).agg((F.sum(F.abs("_excess")) / 2).alias("_distance"))


def _counts(records: DataFrame, quasi_identifiers: Sequence[str], sensitive: str) -> DataFrame:
    """Records per class and value; the class is written as JSON, so that nulls compare."""
    named = F.struct(*quasi_identifiers)
    known = records.select(
        F.to_json(named, {"ignoreNullFields": "false"}).alias(_CLASS),
        F.col(sensitive).alias(_VALUE),
    )
    return known.groupBy(_CLASS, _VALUE).agg(F.count("*").alias(_COUNT))
