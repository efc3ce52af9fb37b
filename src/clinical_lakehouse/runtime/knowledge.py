"""As known on D: a table as it stood before the first run that knew more than that moment."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlparse

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import LakeError
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.contract import Table

EPOCH = datetime.fromtimestamp(0, UTC)


def version_known(lake: Lakehouse, table: Table, at: datetime) -> int:
    """The Delta version of what was known `at`: the last one by runs whose as_of is not later,
    before any by a run whose as_of is; without the run ledger, by the time of the commit.

    LakeError where nothing was known then, or where the version's files have been vacuumed.
    """
    written = _versions(lake, table)
    if written:
        first_later = min(
            (v for v, as_of in written if as_of > at), default=lake.version(table) + 1
        )
        known = [v for v, as_of in written if as_of <= at and v < first_later]
    else:
        known = _committed_until(lake, table, at)
    if not known:
        raise LakeError(f"{table.name}: the lake knew nothing of it at {at:%Y-%m-%d %H:%M} UTC")
    _require_files(lake, table, max(known), at)
    return max(known)


def as_known(lake: Lakehouse, table: Table, at: datetime) -> DataFrame:
    """The table's rows as the lake knew them `at`; LakeError as version_known."""
    return lake.read(table, version=version_known(lake, table, at))


def _versions(lake: Lakehouse, table: Table) -> list[tuple[int, datetime]]:
    """Versions of the table and the as_of of the task that wrote each, as the ledger has them."""
    rows = lake.read(ops.TASK_RUN).filter(F.col("versions").contains(f'"{table.name}"'))
    told = rows.select("versions", F.unix_micros("as_of").alias("micros")).distinct().collect()
    pairs = ((json.loads(row["versions"]).get(table.name), row["micros"]) for row in told)
    return [(int(v), _moment(micros)) for v, micros in pairs if v is not None]


def _committed_until(lake: Lakehouse, table: Table, at: datetime) -> list[int]:
    if not lake.exists(table):
        return []
    history = lake.spark.sql(f"DESCRIBE HISTORY {lake.identifier(table)}")
    told = history.select("version", F.unix_micros("timestamp").alias("micros")).collect()
    return [int(row["version"]) for row in told if _moment(row["micros"]) <= at]


def _moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def _require_files(lake: Lakehouse, table: Table, version: int, at: datetime) -> None:
    """A version whose log or files are gone is refused before anything is read of it."""
    try:
        files = lake.read(table, version=version).inputFiles()
        is_whole = lake.catalog is not None or all(map(os.path.exists, map(_path, files)))
    except AnalysisException:
        is_whole = False
    if not is_whole:
        raise LakeError(
            f"{table.name} as known at {at:%Y-%m-%d %H:%M} UTC (version {version}) has been "
            "vacuumed; ask for a later moment, or restore the lake from a backup of that time"
        )


def _path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
