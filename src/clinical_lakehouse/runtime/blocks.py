"""Tables that a fatal check blocks: nothing is published from them until it passes."""

from collections.abc import Collection, Sequence

from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.ops_quality import QUALITY_BLOCK

_PUBLISHED = ("silver", "omop", "gold")


def refuse_blocked(lake: Lakehouse, reads: Sequence[Table], writes: Collection[Table]) -> None:
    """ContractError if tables that are published are made of a blocked one. The blocked table's own
    writers go on, for they mend it; so does what writes only to other layers."""
    if any(table.schema_name in _PUBLISHED for table in writes):
        refuse_reading(lake, [table for table in reads if table not in writes])


def refuse_reading(lake: Lakehouse, tables: Sequence[Table]) -> None:
    """ContractError naming the blocked ones of these tables, with their fatal checks."""
    names = [table.name for table in tables]
    blocked = {row["table_name"]: row["checks"] for row in lake.rows(QUALITY_BLOCK, "is_blocked")}
    found = [f"{one} ({', '.join(blocked[one])})" for one in sorted(blocked) if one in names]
    if found:
        raise ContractError(f"fatal checks block {'; '.join(found)}: mend what clinical-lakehouse "
                            "quality report shows, then run data_quality")  # fmt: skip
