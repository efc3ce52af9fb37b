"""Rows for tests: each required column gets a value that fits, a test names those it means."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables.contract import Table

_SAMPLES: Mapping[str, Any] = {
    "STRING": "x",
    "BIGINT": 1,
    "INT": 1,
    "DOUBLE": 1.0,
    "BOOLEAN": False,
    "BINARY": b"x",
    "DATE": date(2024, 1, 1),
    "TIMESTAMP": datetime(2024, 1, 1, tzinfo=UTC),
}


def rows(lake: Lakehouse, table: Table, *given: Mapping[str, Any]) -> DataFrame:
    """One row per mapping; required columns it does not name get a sample, others null."""
    return lake.frame(table, [{**_required(table), **row} for row in given])


def _required(table: Table) -> dict[str, Any]:
    return {c.name: _sample(c.type) for c in table.columns if not c.nullable}


def _sample(type_: str) -> Any:
    return Decimal(1) if type_.startswith("DECIMAL") else _SAMPLES[type_]
