"""What follows MERGE INTO ... AS t USING ... AS s for a table's contract."""

from clinical_lakehouse.tables.contract import Column, Table


def merge_clauses(table: Table, deleted: str | None, *, updates: bool) -> str:
    """By key: insert what is new, update (with `updates`) what differs, and remove where the source
    column `deleted` holds."""
    same_key = " AND ".join(f"t.`{c}` = s.`{c}`" for c in table.key)
    others = [c for c in table.column_names if c not in table.key]
    changed = " OR ".join(_differs(c) for c in table.columns if c.name in others) or "false"
    sets = ", ".join(f"`{c}` = s.`{c}`" for c in (others or table.key))
    columns = ", ".join(f"`{c}`" for c in table.column_names)
    values = ", ".join(f"s.`{c}`" for c in table.column_names)
    alive = f" AND NOT s.`{deleted}`" if deleted else ""
    removal = f"WHEN MATCHED AND s.`{deleted}` THEN DELETE " if deleted else ""
    update = f"WHEN MATCHED AND ({changed}) THEN UPDATE SET {sets} " if updates else ""
    return (
        f"ON {same_key} {removal}{update}"
        f"WHEN NOT MATCHED{alive} THEN INSERT ({columns}) VALUES ({values})"
    )


def _differs(column: Column) -> str:
    """SQL: the column differs between target t and source s. Spark compares no maps."""
    sides = (f"{side}.`{column.name}`" for side in ("t", "s"))
    if column.type.startswith("MAP"):
        sides = (f"map_entries({side})" for side in sides)
    return f"NOT ({' <=> '.join(sides)})"
