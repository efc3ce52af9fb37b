"""What the input holds and the view does not take: element paths and counts, never values."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.sql_on_fhir.running import Compiled
from clinical_lakehouse.methods.sql_on_fhir.values import Taken

_SCHEMA = pa.schema([pa.field("path", pa.string()), pa.field("found", pa.int64())])


def dropped(compiled: Compiled, resources: DataFrame, content: str = "content") -> dict[str, int]:
    """How often each element that the view does not take is present, by path.

    `name.given` counts values; contained resources stand as `contained<Type>`, what stands
    beside a primitive as `_birthDate`. An element used in a condition only counts as taken.
    """
    found = resources.filter(
        F.get_json_object(content, "$.resourceType") == compiled.view.resource
    ).select(content)
    counted = found.mapInArrow(_counting(), "path STRING, found BIGINT")
    rows = counted.groupBy("path").agg(F.sum("found").alias("found")).orderBy("path").collect()
    taken = re.compile("|".join(sorted(_patterns(compiled.trees))) or r"(?!)")
    left = {row["path"]: row["found"] for row in rows if not taken.fullmatch(row["path"])}
    return {path.removeprefix("."): count for path, count in left.items()}


def _patterns(trees: Mapping[str, Taken]) -> set[str]:
    found, waiting = set(), list(trees.values())
    while waiting:
        node = waiting.pop()
        waiting += node.children.values()
        if not node.children and node.path:
            found.add(node.path)
    return found


def _counting() -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counts: Counter[str] = Counter()
            for text in batch.column(0).to_pylist():
                _count(json.loads(text), "", counts)
            columns = [list(counts), list(counts.values())]
            arrays = [pa.array(c, type=f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)

    return run


def _count(value: Any, path: str, counts: Counter[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _count(item, path, counts)
    elif isinstance(value, dict):
        if path and isinstance(value.get("resourceType"), str):
            path = f"{path}<{value['resourceType']}>"
        for name, child in value.items():
            if name != "resourceType":
                _count(child, f"{path}.{name}", counts)
    elif value is not None:
        counts[path] += 1
