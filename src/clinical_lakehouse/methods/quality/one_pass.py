"""All checks of all tables in one Spark job: per table one aggregate of Columns.

Sums of rows that fail are kept by site, study and source; what cannot be summed over these
(repeated keys, averages, maxima) is a second aggregate that reads only its own columns.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.quality.asked import SLICES, SUMS, WHOLE, Asked, failing_predicate
from clinical_lakehouse.tables.contract import Check, Lookup, Measure

# The rows of a table by its name: how they are read is the caller's.
Rows = Callable[[str], DataFrame]


def tallies(asked: Sequence[Asked], rows_of: Rows, as_of: datetime) -> DataFrame:
    """One row per table and slice (part 'sums': the denominators, then the failing rows of each row
    check), and one per table (part 'whole': repeated keys, then measures) and filter of measures
    (part: the filter)."""
    parts = [part for one in asked for part in _parts(one, rows_of, as_of)]
    return reduce(DataFrame.unionByName, parts)


def _parts(one: Asked, rows_of: Rows, as_of: datetime) -> Iterator[DataFrame]:
    rows = rows_of(one.table.name)
    yield _sums(one, with_lookups(rows, one.lookups(), rows_of))
    nothing = [F.lit(None).cast("string").alias(name) for name in SLICES]
    for part, columns in whole_parts(one, as_of).items():
        figures = rows.filter(part) if part != WHOLE else rows
        found = F.array(*(column.cast("double") for column in columns)).alias("found")
        yield figures.agg(found).select(*_named(one, part), *nothing, "found")


def whole_parts(one: Asked, as_of: datetime) -> dict[str, list[Column]]:
    """What cannot be summed over slices: repeated keys and measures; a filter has its own part."""
    found = {WHOLE: [_repeated(check) for check in one.of_scope("key")]}
    for measure in one.measures:
        part = WHOLE if measure.where == "true" else measure.where
        found.setdefault(part, []).append(_measured(measure, as_of))
    return {part: columns for part, columns in found.items() if columns}


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
        nothing = [F.lit(None).cast("string").alias(name) for name in SLICES]
        summed = summed.select(*nothing, "found")
    return summed.select(*_named(one, SUMS), *SLICES, "found")


def _is_sliced(one: Asked) -> bool:
    return any(not sql.startswith("CAST(NULL") for sql in one.slices().values())


def _named(one: Asked, part: str) -> list[Column]:
    return [F.lit(one.table.name).alias("table_name"), F.lit(part).alias("part")]


def with_lookups(rows: DataFrame, lookups: Sequence[Lookup], rows_of: Rows) -> DataFrame:
    """Rows with what other tables say of each; a row stays one row, also one whose key is null."""
    for number, look in enumerate(lookups):
        keys = [f"_key_{number}_{at}" for at in range(len(look.on))]
        named = [F.col(its).alias(key) for key, (_, its) in zip(keys, look.on, strict=True)]
        takes = [F.expr(sql).alias(name) for name, sql in look.takes]
        other = rows_of(look.table).filter(look.where).groupBy(*named).agg(*takes)
        same = [F.col(own) == F.col(key) for key, (own, _) in zip(keys, look.on, strict=True)]
        rows = rows.join(other, reduce(Column.__and__, same), "left").drop(*keys)
    return rows


def _repeated(check: Check) -> Column:
    """Surplus rows: a key that three rows share counts twice; rows outside the filter do not."""
    keys = f"CASE WHEN {check.where} THEN struct({check.predicate}) END"
    return F.count_if(F.expr(check.where)) - F.expr(f"count(DISTINCT {keys})")


def _measured(measure: Measure, as_of: datetime) -> Column:
    moment = f"timestamp'{as_of.isoformat()}'"
    return F.expr(measure.expression.replace(":as_of", moment))
