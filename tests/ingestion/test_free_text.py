"""Free text reaches silver without identifiers: by patterns, and by what is known of whom."""

import json

import orjson
import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion.free_text import KNOWN, _may_hold, per_person_known, scrubbed
from clinical_lakehouse.methods.deid.known_identity import known_of, known_spans, tokens_of

ZOE = {
    "resourceType": "Patient",
    "id": "zoe-1",
    "name": [{"family": "Müller Long", "given": ["Zoë", "Al"]}],
    "telecom": [{"system": "phone", "value": "(617) 555-0123"}],
    "address": [{"city": "Springfield", "line": ["12 Elm Lane"], "postalCode": "02139"}],
}
IVO = {"resourceType": "Patient", "id": "ivo-1", "name": [{"family": "Gray", "given": ["Ivo"]}]}
# Whose row, the text, and what silver may hold of it.
TEXTS = [
    (ZOE, "Hemoglobin A1c in Blood", "Hemoglobin A1c in Blood"),
    (ZOE, "seen by muller long today", "seen by [NAMES] today"),
    (ZOE, "call 617.555.0123", "call [PHONE]"),
    (ZOE, "Insulin, long-acting", "Insulin, [NAMES]-acting"),
    (IVO, "Insulin, long-acting", "Insulin, long-acting"),
    (IVO, "Gray matter", "[NAMES] matter"),
    (ZOE, "Gray matter", "Gray matter"),
    (IVO, "results of 2024-03-05, SSN 123-45-6789", "results of [DATES], SSN [SSN]"),
    (ZOE, "lives in Springfield", "lives in [GEOGRAPHY]"),
    (IVO, "µg/dL", "µg/dL"),
    (IVO, None, None),
    (IVO, "", ""),
]


@pytest.fixture(scope="module")
def made(spark):
    """Every text scrubbed as the two columns of a row, beside a key."""
    patients = spark.createDataFrame(
        [(p["id"], orjson.dumps(p).decode()) for p in (ZOE, IVO)],
        "patient_id STRING, content STRING",
    )
    rows = spark.createDataFrame(
        [(n, of["id"], text) for n, (of, text, _) in enumerate(TEXTS)],
        "number INT, patient_id STRING, display STRING",
    )
    joined = rows.join(per_person_known(patients), "patient_id")
    wide = joined.select("number", "display", F.col("display").alias("unit"), "known")
    done = scrubbed(wide, ["display", "unit"], "number INT, display STRING, unit STRING")
    return {row.number: (row.display, row.unit) for row in done.collect()}


def test_each_text_loses_its_own_subjects_identity_and_no_others(made):
    expected = {n: (wanted, wanted) for n, (_, _, wanted) in enumerate(TEXTS)}
    assert made == expected


def test_the_cheap_look_misses_no_text_that_holds_something_known(spark):
    """Whatever the patterns find in a text, in any case, spacing or accent."""
    known = known_of(ZOE)
    pairs = [(kind, value) for kind, values in known.items() for value in values]
    items = [{"kind": k, "value": v, "tokens": tokens_of(k, v)} for k, v in pairs]
    texts = [
        *("MULLER", "mu-ller long", "Müller", "Zoe's", "ZOË", "617 555 0123", "(617)555-0123"),
        *("12  elm_lane", "0 2 1 3 9", "zoe-1", "zoe1", "spring field", "nothing of theirs", "Al"),
    ]
    rows = spark.createDataFrame(
        [(text, json.dumps(items)) for text in texts], "text STRING, said STRING"
    )
    looked = rows.select("text", _may_hold(F.col("text"), F.from_json("said", KNOWN)).alias("near"))
    near = {row.text for row in looked.collect() if row.near}
    holding = {text for text in texts if list(known_spans(text, known))}
    assert len(holding) >= 9
    assert holding <= near
    assert "nothing of theirs" not in near
