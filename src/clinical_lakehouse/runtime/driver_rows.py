"""Rows that the driver makes or wants, of a local Delta table: by delta-rs, without a Spark plan.

Planning is the price of a small read or write in Spark, a third of a second each; this takes some
hundredths. The caller holds the table's lock. In a catalog Spark does all of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from clinical_lakehouse.errors import ContractError, LakeError
from clinical_lakehouse.tables.contract import Table

Row = dict[str, Any]
DeltaTable = Any  # deltalake's, which a cluster need not have: imported where it is used

_CHECKPOINT_EVERY = 10  # as often as Spark makes one; else its readers list every commit
_MOST_LISTED = 1_000  # values in one IN
_MOST_REWRITTEN = 32_000_000  # bytes of a table that a merge of some rows may write again


def read(path: Path, table: Table, where: str = "", since: int | None = None) -> list[Row]:
    """Rows that match `where` (SQL that DataFusion and Spark both know), times in UTC; with `since`
    those inserted or updated after that version."""
    return _dictionaries(_arrow(_open(path), where, since), table)


def add(path: Path, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows."""
    opened = _open(path)
    _write(opened, table, _shaped(opened, table, rows), mode="append")


def replace(
    path: Path, table: Table, rows: Sequence[Mapping[str, Any]], where: str | None = None
) -> None:
    """Put rows in the place of those that match `where`, or of all."""
    opened = _open(path)
    more = {"predicate": where} if where else {}
    _write(opened, table, _shaped(opened, table, rows), mode="overwrite", **more)


def missing(path: Path, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the rows whose key is not in the table."""
    known = _known(_open(path), table, rows)
    return [row for row in rows if _key(table, row) not in known]


def put(path: Path, table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Bring in new and changed rows by key, leaving the others alone; how many were new and how
    many changed."""
    opened = _open(path)
    shaped = _shaped(opened, table, rows)
    known = _known(opened, table, rows)
    given = [(_key(table, row), row) for row in _dictionaries(shaped, table)]
    is_new = [key not in known for key, _ in given]
    differs = [new or known[key] != row for new, (key, row) in zip(is_new, given, strict=True)]
    if not any(differs):
        return 0, 0
    changed = shaped.filter(differs)
    if sum(is_new) == changed.num_rows:
        _write(opened, table, changed, mode="append")
    else:
        _merge(opened, table, changed)
    return sum(is_new), changed.num_rows - sum(is_new)


def is_light(path: Path) -> bool:
    """May a merge write the whole table again? A heavy one is left to Spark."""
    sizes = _arrow_of(_open(path).get_add_actions())["size_bytes"].to_pylist()
    return sum(sizes) <= _MOST_REWRITTEN


def _open(path: Path) -> DeltaTable:
    import deltalake

    return deltalake.DeltaTable(str(path))


def _arrow_of(stream: Any) -> pa.Table:
    return pa.table(stream)


def _arrow(opened: DeltaTable, where: str, since: int | None) -> pa.Table:
    from deltalake import QueryBuilder

    if since is not None and since >= 0:
        kept = "_change_type IN ('insert', 'update_postimage')"
        said = f"{kept} AND ({where})" if where else kept
        return _arrow_of(opened.load_cdf(starting_version=since + 1, predicate=said))
    filtered = f" WHERE {where}" if where else ""
    return _arrow_of(
        QueryBuilder().register("t", opened).execute(f"SELECT * FROM t{filtered}").read_all()
    )


def _dictionaries(found: pa.Table, table: Table) -> list[Row]:
    rows = found.select(table.column_names).to_pylist(maps_as_pydicts="strict")
    return with_zones(rows, table)


def with_zones(rows: Iterable[Row], table: Table) -> list[Row]:
    """The table's rows with times in UTC; what Spark collects is local and without zone."""
    moments = [column.name for column in table.columns if column.type == "TIMESTAMP"]
    return [{**row, **{name: _in_utc(row[name]) for name in moments}} for row in rows]


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None


def _shaped(opened: DeltaTable, table: Table, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows in the table's columns; ContractError names one that does not take its values."""
    schema = pa.schema(opened.schema().to_arrow())
    listed = list(rows)
    arrays = []
    for column in schema:
        is_map = pa.types.is_map(column.type)
        values = (_arrow_value(row.get(column.name), is_map) for row in listed)
        try:
            array = pa.array(values, column.type)
        except (pa.ArrowException, TypeError, OverflowError) as error:
            # The error's own text holds the value, which may be a patient's.
            problem = f"{table.name}: {column.name} takes {column.type}, not what was given"
            raise ContractError(problem) from error
        if array.null_count and not column.nullable:
            raise ContractError(f"{table.name}: {column.name} must have a value in every row")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=schema)


def _arrow_value(value: Any, is_map: bool) -> Any:
    """A time without a zone is local time, as in Spark; a map is a list of pairs."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return list(value.items()) if is_map and value is not None else value


def _known(opened: DeltaTable, table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[Any, Row]:
    """The table's rows that have these rows' keys, and perhaps some others, by key."""
    listed = [_among(name, {row.get(name) for row in rows}) for name in table.key]
    where = " AND ".join(one for one in listed if one)
    found = _dictionaries(_arrow(opened, where, None), table)
    return {_key(table, row): row for row in found}


def _among(name: str, values: set[Any]) -> str:
    """SQL: the column has one of the values; nothing where they are many, or of a strange kind."""
    literals = [_literal(value) for value in values]
    if not literals or len(literals) > _MOST_LISTED or not all(literals):
        return ""
    return f'"{name}" IN ({", ".join(str(one) for one in literals)})'


def _literal(value: Any) -> str | None:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return f"DATE '{value.isoformat()}'"
    return None


def _key(table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    values = (row.get(name) for name in table.key)
    return tuple(v.astimezone(UTC) if isinstance(v, datetime) else v for v in values)


def _merge(opened: DeltaTable, table: Table, rows: pa.Table) -> None:
    same = " AND ".join(f't."{name}" = s."{name}"' for name in table.key)
    with _plainly(table):
        merger = opened.merge(rows, same, source_alias="s", target_alias="t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
    _checkpoint(opened)


def _write(opened: DeltaTable, table: Table, rows: pa.Table, **how: Any) -> None:
    from deltalake import WriterProperties, write_deltalake

    with _plainly(table):
        packed = WriterProperties(compression="ZSTD")
        write_deltalake(opened, rows, writer_properties=packed, **how)
    _checkpoint(opened)


@contextmanager
def _plainly(table: Table) -> Iterator[None]:
    """An error of delta-rs in one line without a path or a value."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except DeltaError as error:
        is_full = "No space left on device" in str(error)
        why = "No space left on device" if is_full else type(error).__name__
        raise LakeError(f"{table.name} cannot be written: {why}") from error


def _checkpoint(opened: DeltaTable) -> None:
    if opened.version() % _CHECKPOINT_EVERY == 0:
        opened.create_checkpoint()
