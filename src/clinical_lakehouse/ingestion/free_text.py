"""Free text on its way into silver: displays, units and the like, without identifiers.

A display is few distinct values, so each is scrubbed by patterns once per batch and remembered.
What is known of the very subject costs a pattern per name, so only texts that hold a run of letters
or digits of it, or anything beyond ASCII, are looked at that closely. A name that is also a word of
medicine (Long, Gray) is masked in that subject's rows; the code beside it stays.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.deid.known_identity import known_of, tokens_of
from clinical_lakehouse.methods.deid.text import scrub

# What vault.subject keeps, sealed, of who a person is.
KNOWN = "ARRAY<STRUCT<kind: STRING, value: STRING, tokens: ARRAY<STRING>>>"
_MOST_REMEMBERED = 1 << 16
_BEYOND_ASCII = r"[^\x00-\x7F]"
_NO_LETTER_OR_DIGIT = r"[^A-Za-z0-9]"


def per_person_known(patients: DataFrame) -> DataFrame:
    """`patient_id` and `known` (KNOWN) of what all these Patient rows (bronze) say of a person."""
    said = patients.select("patient_id", "content").mapInArrow(
        _known, "patient_id STRING, said STRING"
    )
    whole = F.array_distinct(F.flatten(F.collect_list(F.from_json("said", KNOWN))))
    return said.groupBy("patient_id").agg(whole.alias("known"))


def _known(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        said = [_said(text) for text in batch["content"].to_pylist()]
        columns = {"patient_id": batch["patient_id"], "said": pa.array(said, pa.string())}
        yield pa.RecordBatch.from_pydict(columns)


def _said(content: str) -> str:
    known = known_of(orjson.loads(content))
    items = [
        {"kind": kind, "value": value, "tokens": tokens_of(kind, value)}
        for kind, values in known.items()
        for value in values
    ]
    return orjson.dumps(items).decode()


def scrubbed(rows: DataFrame, texts: Sequence[str], schema: str) -> DataFrame:
    """`rows` with the columns `texts` scrubbed; column `known` (KNOWN, of the row's subject) goes.

    `schema` is what remains, as DDL. One row in, one row out.
    """
    if not texts:
        return rows.drop("known")
    is_near = F.lit(False)
    for name in texts:
        is_near = is_near | _may_hold(F.col(name), F.col("known"))
    near = rows.withColumn("known", F.when(is_near, F.col("known")))
    return near.mapInArrow(_scrubber(texts), schema)


def _may_hold(text: Column, known: Column) -> Column:
    """May the text say something known? Never false where `known_spans` finds a place."""
    squeezed = F.lower(F.regexp_replace(text, _NO_LETTER_OR_DIGIT, ""))
    tokens = F.flatten(F.transform(known, lambda one: one["tokens"]))
    holds = F.exists(tokens, lambda token: F.contains(squeezed, token))
    return F.coalesce(text.rlike(_BEYOND_ASCII) | holds, F.lit(False))


def _scrubber(texts: Sequence[str]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[Any]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[Any]:
        plain = lru_cache(_MOST_REMEMBERED)(lambda text: scrub(text, {}).text)
        for batch in batches:
            who = batch["known"].to_pylist() if batch["known"].null_count < len(batch) else []
            near = {number: _by_kind(items) for number, items in enumerate(who) if items}
            names = [name for name in batch.schema.names if name != "known"]
            columns = {name: batch[name] for name in names}
            for name in texts:
                columns[name] = _clean(batch[name], plain, near)
            yield pa.RecordBatch.from_pydict(columns)

    return run


def _clean(
    column: pa.Array, plain: Callable[[str], str], near: dict[int, dict[str, list[str]]]
) -> pa.Array:
    """Each distinct text without patterns; texts of the rows `near` also without what is known."""
    coded = column.dictionary_encode()
    words = [plain(word) for word in coded.dictionary.to_pylist()]
    made = pa.array(words, pa.string()).take(coded.indices)
    if not near:
        return made
    values = made.to_pylist()
    for number, known in near.items():
        text = column[number].as_py()
        values[number] = None if text is None else scrub(text, known).text
    return pa.array(values, pa.string())


def _by_kind(items: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    for item in items:
        known.setdefault(item["kind"], []).append(item["value"])
    return known
