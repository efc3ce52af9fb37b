"""How many rows of each text column hold something that looks like an identifier, by kind."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import pyarrow as pa

from clinical_lakehouse.methods.deid.patterns import pattern_spans

FOUND = "table_name STRING, column_name STRING, kind STRING, found_count BIGINT"
_MOST_REMEMBERED = 1 << 16


def counting(
    table: str, columns: Sequence[str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for mapInArrow: STRING `columns` in, rows of FOUND out, to be summed; no value.

    A text counts once for each kind of 45 CFR 164.514(b)(2)(i) that its patterns find in it.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        kinds = lru_cache(_MOST_REMEMBERED)(_kinds)
        found: Counter[tuple[str, str]] = Counter()
        for batch in batches:
            for name in columns:
                for pair in batch[name].value_counts().to_pylist():
                    if pair["values"] is not None:
                        for kind in kinds(pair["values"]):
                            found[name, kind] += pair["counts"]
        rows = [(table, name, kind, count) for (name, kind), count in sorted(found.items())]
        if rows:
            arrays = [pa.array(values) for values in zip(*rows, strict=True)]
            names = [part.split()[0] for part in FOUND.split(", ")]
            yield pa.RecordBatch.from_arrays(arrays, names)

    return run


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(sorted({span.kind for span in pattern_spans(text)}))
