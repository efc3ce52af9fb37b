"""How a table differs from its contract: columns that are new, gone or of another type."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.tables.contract import Table


@dataclass(frozen=True)
class Drift:
    """Columns by how they differ from the contract."""

    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many columns differ."""
        return len(self.new) + len(self.dropped) + len(self.retyped)

    def __str__(self) -> str:
        ways = (("new", self.new), ("dropped", self.dropped), ("retyped", self.retyped))
        return "; ".join(f"{way}: {', '.join(names)}" for way, names in ways if names)


def drift_of(table: Table, rows: DataFrame) -> Drift:
    """What differs; types are compared as Spark writes them."""
    given = {f.name: _plain(f.dataType.simpleString()) for f in rows.schema.fields}
    wanted = {column.name: _plain(column.type) for column in table.columns}
    return Drift(
        new=tuple(sorted(set(given) - set(wanted))),
        dropped=tuple(name for name in wanted if name not in given),
        retyped=tuple(n for n, type_ in wanted.items() if given.get(n, type_) != type_),
    )


def as_contract(table: Table, rows: DataFrame, drift: Drift) -> DataFrame:
    """Rows that every check can be asked of: what is gone is null, what is of another type is what
    of it can be cast."""
    types = {column.name: column.type for column in table.columns}
    for name in drift.dropped:
        rows = rows.withColumn(name, F.lit(None).cast(types[name]))
    for name in drift.retyped:
        rows = rows.withColumn(name, F.col(name).try_cast(types[name]))
    return rows


def _plain(type_: str) -> str:
    plain = type_.lower().replace(" ", "")
    return {"integer": "int", "long": "bigint"}.get(plain, plain)
