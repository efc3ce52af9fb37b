"""How far a reader has come in each table: read before the work, written after it."""

from collections.abc import Mapping

from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.tables import ops


def bookmarks(run: Run, reader: str) -> dict[str, int]:
    """Table name to the Delta version that `reader` has dealt with; empty before its first run."""
    rows = run.lake.rows(ops.BOOKMARK, f"reader = '{reader}'")
    return {row["table_name"]: row["table_version"] for row in rows}


def move_bookmarks(run: Run, reader: str, versions: Mapping[str, int]) -> None:
    """Set the reader's bookmarks to exactly these; the last thing a reader does."""
    rows = [
        {"reader": reader, "table_name": table, "table_version": version}
        for table, version in sorted(versions.items())
    ]
    run.lake.replace(ops.BOOKMARK, rows, f"reader = '{reader}'")
