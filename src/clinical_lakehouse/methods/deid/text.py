"""Free text without identifiers: patterns, what is known of the subject, and a recogniser if given.

45 CFR 164.514(b)(2)(i); what it finds and what it wrongly takes: benchmarks/deid_text.py.
"""

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from clinical_lakehouse.methods.deid.known_identity import Known, known_spans
from clinical_lakehouse.methods.deid.patterns import pattern_spans
from clinical_lakehouse.methods.deid.spans import Scrubbed, Span, masked

# Finds places in a text: presidio.recogniser() makes one.
Recogniser = Callable[[str], Iterable[Span]]
MASKED = "masked"


def scrub(text: str, known: Known, recogniser: Recogniser | None = None) -> Scrubbed:
    """One subject's text without identifiers, `known` being what is known of that very subject.

    Each place becomes `[KIND]` and an age over 89 `90+`; `counts` says how many of each kind.
    """
    places = [*pattern_spans(text), *known_spans(text, known)]
    return masked(text, [*places, *(recogniser(text) if recogniser else ())])


def scrubbing(
    text: str, known: str, recogniser: Recogniser | None = None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for `mapInArrow`: column `text` scrubbed, column `known` gone, `masked` added.

    `known` is MAP<STRING, ARRAY<STRING>>, `masked` MAP<STRING, INT> (places per kind). A null
    text stays null with no count; all other columns are handed on. One row in, one row out.
    """

    def scrubbed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            pairs = zip(batch[text].to_pylist(), batch[known].to_pylist(), strict=True)
            rows = [
                Scrubbed("", {}) if value is None else scrub(value, dict(who or ()), recogniser)
                for value, who in pairs
            ]
            yield _with(batch, text, known, rows)

    return scrubbed


def _with(batch: pa.RecordBatch, text: str, known: str, rows: list[Scrubbed]) -> pa.RecordBatch:
    is_null = batch[text].is_null().to_pylist()
    texts = [None if null else row.text for null, row in zip(is_null, rows, strict=True)]
    columns = {name: batch[name] for name in batch.schema.names if name != known}
    columns[text] = pa.array(texts, batch[text].type)
    counts = [list(row.counts.items()) for row in rows]
    columns[MASKED] = pa.array(counts, pa.map_(pa.string(), pa.int32()))
    return pa.RecordBatch.from_pydict(columns)
