"""One SQL-on-FHIR view on raw files: reads as `land` does, and gives lines to show."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from clinical_lakehouse.errors import ContractError, SourceError
from clinical_lakehouse.ingestion.landing import bins as packed_in_tasks
from clinical_lakehouse.ingestion.landing import find, form_of, survey
from clinical_lakehouse.ingestion.reading import ROW_DDL, reader
from clinical_lakehouse.methods.sql_on_fhir.definition import read_view
from clinical_lakehouse.methods.sql_on_fhir.dropped import dropped
from clinical_lakehouse.methods.sql_on_fhir.running import Compiled, compile_view, run_view
from clinical_lakehouse.runtime.entry import open_lake
from clinical_lakehouse.runtime.lake import Lakehouse

# What a view's own rules say when the data break them; the text is ours and holds no value.
_RAISED = re.compile(r"\[USER_RAISED_EXCEPTION\] (.+?) SQLSTATE")


@dataclass(frozen=True)
class ViewRun:
    """A view on the resources of some files."""

    compiled: Compiled
    resources: DataFrame

    @property
    def columns(self) -> list[str]:
        """The view's columns in order."""
        return [field.name for field in self.compiled.fields]

    def rows(self) -> Iterator[list[Any]]:
        """The rows, a few at a time; ContractError where the data break the view's rules."""
        try:
            for row in run_view(self.compiled, self.resources).toLocalIterator():
                yield list(row)
        except Exception as error:  # of pyspark or, from an iterator, of py4j
            said = _RAISED.search(str(error))
            if said is None:
                raise
            raise ContractError(f"{self.compiled.view.source}: {said[1]}") from None

    def lines(self, style: str) -> Iterator[str]:
        """The rows as CSV or as one JSON object per line; decimals with all their digits."""
        if style == "csv":
            yield _csv_line(self.columns)
        for row in self.rows():
            yield _csv_line([_cell(value) for value in row]) if style == "csv" else self._json(row)

    def left_out(self) -> dict[str, int]:
        """Elements present that the view does not take, by path."""
        return dropped(self.compiled, self.resources)

    def passed_over(self) -> list[str]:
        """Resources that make no row, in words: unreadable ones, and those of other types."""
        wanted = self.compiled.view.resource
        counts: list[Row] = self.resources.groupBy("resource_type").count().collect()
        said = []
        for row in sorted(counts, key=lambda row: row["resource_type"] or ""):
            if row["resource_type"] is None:
                said.append(f"{row['count']} entries are no readable resource")
            elif row["resource_type"] != wanted:
                said.append(f"{row['count']} resources are {row['resource_type']}, not {wanted}")
        return said

    def _json(self, row: list[Any]) -> str:
        cells = (
            f"{json.dumps(field.name)}: {_json_value(value, field.fhir_type)}"
            for field, value in zip(self.compiled.fields, row, strict=True)
        )
        return "{" + ", ".join(cells) + "}"


def open_view(view: Path, source: Path, root: Path) -> ViewRun:
    """The view and the files it shall run on: a folder, an NDJSON file or a Bundle.

    The view is judged before Spark starts its first job; references are as bronze holds them.
    """
    defined = read_view(view)
    folder, names = _files(source)
    lake = open_lake({"root": str(root)})
    return ViewRun(compile_view(defined), _resources(lake, folder, names))


def _files(source: Path) -> tuple[Path, tuple[str, ...]]:
    if source.is_dir():
        found = find(source)
        if not found.names:
            raise SourceError(f"{source} holds no .ndjson or .json file")
        return source, found.names
    if not source.is_file():
        raise SourceError(f"no file or folder at {source}; check --input")
    if form_of(source.name) is None:
        raise SourceError(f"{source.name} is neither .ndjson nor .json (or packed as .gz or .zst)")
    return source.parent, (source.name,)


def _resources(lake: Lakehouse, folder: Path, names: tuple[str, ...]) -> DataFrame:
    files = [survey(folder, name) for name in names]
    packed = packed_in_tasks([chunk for file in files for chunk in file.chunks])
    known = {file.file_id: file.name for file in files}
    rows = lake.spread(len(packed), reader(packed, known), ROW_DDL)
    return rows.filter("NOT is_deleted").select("resource_type", F.col("content"))


def _json_value(value: Any, fhir_type: str) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_json_value(item, fhir_type) for item in value) + "]"
    if fhir_type == "decimal" and value is not None:
        return str(value)  # a JSON number as it was written: 1.10
    return json.dumps(value, default=str, ensure_ascii=False)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _csv_line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
