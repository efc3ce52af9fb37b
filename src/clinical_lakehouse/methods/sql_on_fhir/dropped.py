"""What resources hold and views do not take: element paths and counts, never values."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.sql_on_fhir.running import Compiled
from clinical_lakehouse.methods.sql_on_fhir.values import Taken

WHOLE = "*"  # stands for all elements of a type that no view reads
_DDL = "resource_type STRING, element_path STRING, found_count BIGINT"
_SCHEMA = pa.schema(
    [
        pa.field("resource_type", pa.string()),
        pa.field("element_path", pa.string()),
        pa.field("found_count", pa.int64()),
    ]
)
# Elements by name: how often each is there, and what lies below it.
Found = dict[str, list[Any]]


def dropped(compiled: Compiled, resources: DataFrame, content: str = "content") -> dict[str, int]:
    """How often each element that the view does not take is present, by path.

    `name.given` counts values; contained resources stand as `contained<Type>`, what stands
    beside a primitive as `_birthDate`. An element used in a condition only counts as taken.
    """
    kind = F.get_json_object(content, "$.resourceType").alias("resource_type")
    typed = resources.select(kind, F.col(content).alias("content"))
    wanted = compiled.view.resource
    rows = per_unread_element(
        typed.filter(F.col("resource_type") == wanted), {wanted: taken_paths(compiled)}
    )
    return {
        row["element_path"]: row["found_count"] for row in rows.orderBy("element_path").collect()
    }


def per_unread_element(resources: DataFrame, taken: Mapping[str, str]) -> DataFrame:
    """resource_type, element_path, found_count of the elements that `taken` does not match.

    `resources` has resource_type and content (JSON); `taken` is a pattern of element paths by type
    (as `taken_paths` gives it). A type without a pattern is one row with the path `*`.
    """
    counted = resources.select("resource_type", "content").mapInArrow(_counting(taken), _DDL)
    totals = F.sum("found_count").alias("found_count")
    return counted.groupBy("resource_type", "element_path").agg(totals)


def taken_paths(compiled: Compiled) -> str:
    """A pattern of the paths (`.name.given`) of the elements that a view takes.

    Where only its presence is asked for (value.exists()), an element is not taken.
    """
    found, waiting = set(), list(compiled.trees.values())
    while waiting:
        node = waiting.pop()
        waiting += [child for name, child in node.children.items() if not _is_only_seen(node, name)]
        if not node.children and node.path:
            found.add(node.path)
    return "|".join(sorted(found)) or r"(?!)"


def _is_only_seen(node: Taken, name: str) -> bool:
    return name in node.only_seen and not node.children[name].children


def _counting(
    taken: Mapping[str, str],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found: dict[str, Found] = {}
        whole: dict[str, int] = {}
        for batch in batches:
            pairs = zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
            for kind, text in pairs:
                if text is None:  # nothing was sent but the type: a deletion
                    continue
                if kind in taken:
                    _note_all(orjson.loads(text), found.setdefault(kind, {}))
                else:
                    whole[kind] = whole.get(kind, 0) + 1
        rows = [(kind, WHOLE, count) for kind, count in whole.items()]
        for kind, elements in found.items():
            read = re.compile(taken[kind])
            counts = _paths(elements, "")
            rows += [(kind, p[1:], count) for p, count in counts if not read.fullmatch(p)]
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        arrays = [pa.array(c, type=f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)

    return run


def _note_all(elements: Mapping[str, Any], found: Found) -> None:
    for name, value in elements.items():
        if name != "resourceType":
            _note(value, name, found)


def _note(value: Any, name: str, found: Found) -> None:
    """Count a value under its name, or what lies below it."""
    if isinstance(value, list):
        for item in value:
            _note(item, name, found)
    elif isinstance(value, dict):
        if "resourceType" in value:
            name = f"{name}<{value['resourceType']}>"
        _note_all(value, found.setdefault(name, [0, {}])[1])
    elif value is not None:
        found.setdefault(name, [0, {}])[0] += 1


def _paths(found: Found, above: str) -> Iterator[tuple[str, int]]:
    for name, (count, below) in found.items():
        path = f"{above}.{name}"
        if count:
            yield path, count
        yield from _paths(below, path)
