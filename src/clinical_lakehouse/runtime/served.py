"""Answers that servers of models noted on disk, on their way into gold.served_answer."""

from pathlib import Path

from clinical_lakehouse.runtime.journal import dead_journals, living_entries
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.ledger import typed_row
from clinical_lakehouse.tables.gold_deployment import SERVED_ANSWER


def served_folder(root: Path) -> Path:
    """Where the answers of a local lake's servers lie until they are taken."""
    return root / SERVED_ANSWER.schema_name / "_served"


def take_served(lake: Lakehouse) -> int:
    """Append the answers noted so far that the table does not have; how many were noted. What a
    server has finished with, or left when it died, is then removed. None on Databricks."""
    if lake.catalog:
        return 0
    folder = served_folder(lake.root)
    noted, finished = living_entries(folder), list(dead_journals(folder))
    for journal in finished:
        noted += journal.entries()
    # A server that ends between the two looks is seen by both.
    rows = {tuple(row[name] for name in SERVED_ANSWER.key): row for _, row in noted}
    if rows:
        typed = [typed_row(SERVED_ANSWER, row) for row in rows.values()]
        lake.append_missing(SERVED_ANSWER, typed)
    for journal in finished:
        journal.close(remove=True)
    return len(rows)
