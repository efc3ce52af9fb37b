"""All checks of some tables in one Spark job: per table one aggregate of Columns.

Sums of rows that fail are kept by site, study and source; what cannot be summed over these
(repeated keys, averages, maxima) are other aggregates that read only their own columns.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.quality.asked import (
    KEYS,
    SLICES,
    SUMS,
    WHOLE,
    Asked,
    failing_predicate,
)
from clinical_lakehouse.methods.quality.sql_names import column_names
from clinical_lakehouse.tables.contract import Check, Lookup, Measure

# The rows of a table by its name: how they are read is the caller's.
Rows = Callable[[str], DataFrame]


def tallies(asked: Sequence[Asked], rows_of: Rows, as_of: datetime) -> DataFrame:
    """One row per table and slice (part 'sums': the denominators, then the failing rows of each row
    check), per check with repeated keys (part 'keys': its number, then surplus rows), and per table
    and filter of measures ('whole', or the filter)."""
    parts = [part for one in asked for part in _parts(one, rows_of, as_of)]
    keyed = list(_keys(asked, rows_of))
    return united([*parts, *([_repeated(keyed, asked)] if keyed else [])])


def united(parts: Sequence[DataFrame]) -> DataFrame:
    """All rows, by the position of columns. Halved, for each step looks at all below it again."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return united(parts[:middle]).union(united(parts[middle:]))


def _parts(one: Asked, rows_of: Rows, as_of: datetime) -> Iterator[DataFrame]:
    rows = rows_of(one.table.name)
    yield _sums(one, with_lookups(rows, one.lookups(), rows_of))
    for part, columns in _whole_parts(one, as_of).items():
        figures = rows.filter(part) if part != WHOLE else rows
        found = F.array(*(column.cast("double") for column in columns)).alias("found")
        yield figures.agg(found).select(*_named(one, part), *_nothing(), "found")


def _whole_parts(one: Asked, as_of: datetime) -> dict[str, list[Column]]:
    """Measures by the part they are in: those of a filter have one of their own."""
    found: dict[str, list[Column]] = {}
    for measure in one.measures:
        part = WHOLE if measure.where == "true" else measure.where
        found.setdefault(part, []).append(_measured(measure, as_of))
    return found


def _keys(asked: Sequence[Asked], rows_of: Rows) -> Iterator[DataFrame]:
    """Every key that must not repeat, as two hashes (96 bits: of a billion rows two different ones
    are alike with a chance of 1 in 100 billion) of its columns and of which of them are null."""
    for number, (one, check) in enumerate(_key_checks(asked)):
        names = column_names(check.predicate)
        columns = [part for n in names for part in (F.col(n), F.col(n).isNull())]
        rows = rows_of(one.table.name).filter(check.where)
        hashes = (F.xxhash64(*columns).alias("one"), F.hash(*columns).alias("other"))
        yield rows.select(F.lit(number).alias("number"), *hashes)


def _key_checks(asked: Sequence[Asked]) -> list[tuple[Asked, Check]]:
    return [(one, check) for one in asked for check in one.of_scope("key")]


def _repeated(keyed: Sequence[DataFrame], asked: Sequence[Asked]) -> DataFrame:
    """Surplus rows of each check whose key repeats: three rows of one key are two too many. All
    tables share one aggregate: a distinct count each would cost three stages a table."""
    counted = united(keyed).groupBy("number", "one", "other").agg(F.count("*").alias("rows"))
    repeated = counted.filter("rows > 1")
    surplus = repeated.groupBy("number").agg((F.sum("rows") - F.count("*")).alias("surplus"))
    checks = _key_checks(asked)
    places = [one.of_scope("key").index(check) for one, check in checks]
    table = F.element_at(F.array(*(F.lit(o.table.name) for o, _ in checks)), F.col("number") + 1)
    place = F.element_at(F.array(*map(F.lit, places)), F.col("number") + 1)
    found = F.array(place.cast("double"), F.col("surplus").cast("double"))
    return surplus.select(table.alias("table_name"), F.lit(KEYS).alias("part"), *_nothing(),
                          found.alias("found"))  # fmt: skip


def _nothing() -> list[Column]:
    return [F.lit(None).cast("string").alias(name) for name in SLICES]


def _sums(one: Asked, rows: DataFrame) -> DataFrame:
    counted = [F.count_if(F.expr(where)) for where in one.denominators()[1:]]
    failing = [
        F.count_if(F.expr(failing_predicate(check))) for check in one.of_scope("row", "reference")
    ]
    found = F.array(*(c.cast("double") for c in (F.count(F.lit(1)), *counted, *failing)))
    slices = {name: F.expr(sql) for name, sql in one.slices().items()}
    by = [column.alias(name) for name, column in slices.items()]
    grouped = rows.groupBy(*by) if _is_sliced(one) else rows.groupBy()
    summed = grouped.agg(found.alias("found"))
    if not _is_sliced(one):
        summed = summed.select(*_nothing(), "found")
    return summed.select(*_named(one, SUMS), *SLICES, "found")


def _is_sliced(one: Asked) -> bool:
    return any(not sql.startswith("CAST(NULL") for sql in one.slices().values())


def _named(one: Asked, part: str) -> list[Column]:
    return [F.lit(one.table.name).alias("table_name"), F.lit(part).alias("part")]


def with_lookups(rows: DataFrame, lookups: Sequence[Lookup], rows_of: Rows) -> DataFrame:
    """Rows with what other tables say of each; a row stays one row, also one whose key is null."""
    for look in lookups:
        keys = [f"_key_{its}" for _, its in look.on]
        named = [F.col(its).alias(key) for key, (_, its) in zip(keys, look.on, strict=True)]
        takes = [F.expr(sql).alias(name) for name, sql in look.takes]
        other = rows_of(look.table).filter(look.where).groupBy(*named).agg(*takes)
        same = [F.col(own) == F.col(key) for key, (own, _) in zip(keys, look.on, strict=True)]
        rows = rows.join(other, reduce(Column.__and__, same), "left").drop(*keys)
    return rows


def _measured(measure: Measure, as_of: datetime) -> Column:
    moment = f"timestamp'{as_of.isoformat()}'"
    return F.expr(measure.expression.replace(":as_of", moment))
