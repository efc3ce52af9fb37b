"""ClinicalDatabase: brings what changed in a clinical database into the landing folder, as FHIR."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import AccountingError, SourceError
from clinical_lakehouse.methods.row_mapping import Source, as_resources, read_mapping
from clinical_lakehouse.runtime.database import Database, Survey, Window, open_database
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.ops import DATABASE_EXTRACT

_ROWS_PER_PART = 50_000


@dataclass(frozen=True)
class ClinicalDatabase:
    """Reads the sources of a connection's mapping (conf/sources/<mapping>.yml), each since its
    latest change minus an overlap, and writes one NDJSON file per part into `landing`.

    Rows read twice through the overlap are the same bytes and count as duplicates further on. A
    row that was deleted in the database is not seen: its table has to mark it, and the mapping
    says what the mark means (e.g. status entered-in-error).
    """

    connection: str
    landing: Path

    def execute(self, run: Run) -> Metrics:
        """Read every source once per as_of; a task that declares ops.database_extract calls it."""
        place = run.settings.connections.get(self.connection)
        if place is None or not place.mapping:
            return {"sources_read": 0, "outcome": f"{self.connection} has no mapping in conf"}
        sources = read_mapping(conf_dir() / "sources" / f"{place.mapping}.yml")
        pending = [source for source in sources if not self._is_read(run, source)]
        if not pending:
            return {"sources_read": 0, "outcome": "read before for this as_of"}
        database = open_database(run, self.connection)
        counts = {source.name: self._extract(run, database, source) for source in pending}
        return {"sources_read": len(counts), **{f"{k}_count": n for k, n in counts.items()}}

    def _is_read(self, run: Run, source: Source) -> bool:
        at = F.lit(run.as_of).cast("timestamp")
        return not self._earlier(run, source).filter(F.col("as_of") == at).isEmpty()

    def _earlier(self, run: Run, source: Source) -> DataFrame:
        mine = (F.col("connection") == self.connection) & (F.col("source") == source.name)
        return run.lake.read(DATABASE_EXTRACT).filter(mine)

    def _extract(self, run: Run, database: Database, source: Source) -> int:
        """Files first, the ledger's row last: a killed run writes the same files again."""
        reached = self._earlier(run, source).agg(F.max("until_at").alias("at")).collect()[0]["at"]
        since = reached and reached - timedelta(minutes=source.overlap_minutes)
        open_end = Window(source.table, source.watermark, since)
        found = database.survey(open_end, source.key)
        window = Window(source.table, source.watermark, since, found.latest)
        written, files = 0, 0
        if found.count:
            written, files = self._write(run, database, source, window, found)
        _check(database, source, window, written, found)
        row = {
            "connection": self.connection,
            "source": source.name,
            "as_of": run.as_of,
            "since_at": since,
            "until_at": max(filter(None, (found.latest, reached)), default=None),
            "row_count": written,
            "file_count": files,
            "run_id": run.run_id,
        }
        run.lake.append(DATABASE_EXTRACT, [row])
        return written

    def _write(
        self, run: Run, database: Database, source: Source, window: Window, found: Survey
    ) -> tuple[int, int]:
        """Rows and files written; `land` passes over the draft folder."""
        parts = min(source.partitions, 1 + found.count // _ROWS_PER_PART)
        rows = as_resources(database.rows(window, source.key, found, parts), source)
        folder = self.landing / self.connection
        draft = folder / f".draft-{source.name}"
        try:
            rows.write.mode("overwrite").text(str(draft))
        except Exception as error:
            raise SourceError(database.explain(source.table, error)) from None
        moved = list(_moved(draft, folder, f"{source.name}-{_stamp(run.as_of)}"))
        shutil.rmtree(draft)
        return sum(moved), len(moved)


def _moved(draft: Path, folder: Path, name: str) -> Iterator[int]:
    """Give every part its name in the landing folder; the number of lines of each."""
    for stale in folder.glob(f"{name}-*.ndjson"):
        stale.unlink()
    filled = (part for part in sorted(draft.glob("part-*")) if part.stat().st_size)
    for number, part in enumerate(filled):
        with part.open("rb") as lines:
            yield sum(1 for _ in lines)
        os.replace(part, folder / f"{name}-{number:04d}.ndjson")


def _check(database: Database, source: Source, window: Window, written: int, found: Survey) -> None:
    """Fewer rows than were there before and are there after is a loss; a row that was changed
    meanwhile has left the window and comes with the next run."""
    if written < found.count and written < (now := database.survey(window, source.key).count):
        raise AccountingError(f"{source.table} has {now} changed rows, {written} were read")


def _stamp(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%SZ")
