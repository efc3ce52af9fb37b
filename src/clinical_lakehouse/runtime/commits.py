"""What a write of the lake may bring, what it did, and why it could not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql.types import StructType

from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.tables.contract import Table


@dataclass(frozen=True)
class Commit:
    """What a write did: the Delta version and rows inserted (or written), updated and deleted."""

    version: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


def refuse_unfit(
    table: Table, schema: StructType, offered: StructType, extra: Sequence[str]
) -> None:
    """ContractError for rows with a column that is missing, unknown or of another type."""
    wanted = {f.name: f.dataType for f in schema.fields}
    given = {f.name: f.dataType for f in offered.fields}
    missing = sorted(set(wanted) - set(given))
    unknown = sorted(set(given) - set(wanted) - set(extra))
    if missing or unknown:
        raise ContractError(f"{table.name}: columns missing {missing}, unknown {unknown}")
    retyped = [c for c, t in wanted.items() if given[c].simpleString() != t.simpleString()]
    if retyped:
        have = {c: given[c].simpleString() for c in retyped}
        raise ContractError(f"{table.name}: columns of another type than the contract: {have}")


def rows_written(folder: Path, version: int) -> int:
    """What the commit of a local table itself says, which costs no pass over the table."""
    log = folder / "_delta_log" / f"{version:020d}.json"
    actions = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    infos = [action["commitInfo"] for action in actions if "commitInfo" in action]
    metrics = infos[0].get("operationMetrics", {}) if infos else {}
    return int(metrics.get("numOutputRows", 0))


def why_not_written(table: Table, error: Exception) -> str:
    """One line, without the plan or a data value."""
    if isinstance(error, OSError):
        return f"{table.name} cannot be written: {error.strerror or type(error).__name__}"
    condition = getattr(error, "getCondition", lambda: None)() or type(error).__name__
    return f"{table.name} cannot be written: {condition}"
