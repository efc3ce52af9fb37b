"""Surrogate keys are Python's own HMAC-SHA256; offsets are never 0 and stay within bounds."""

import hashlib
import hmac

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.methods.surrogate import date_shift_days, hmac_sha256, surrogate_key

SECRET = bytes(range(32))
IDS = ["a", "cbc86e51-9eca-3855-76ec-c058f72c5761", "ü", *(str(number) for number in range(500))]


@pytest.fixture(scope="module")
def ids(spark):
    return spark.createDataFrame([(one,) for one in IDS], "id STRING")


def _expected(message: str) -> int:
    digest = hmac.new(SECRET, message.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") & ((1 << 63) - 1)


def test_digest_equals_rfc_4231_test_case_2(spark):
    row = spark.range(1).select(hmac_sha256(b"Jefe", F.lit("what do ya want for nothing?")))
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert row.collect()[0][0] == expected


def test_key_is_the_low_63_bits_of_pythons_hmac(ids):
    rows = ids.select("id", surrogate_key(SECRET, "Patient", F.col("id")).alias("k")).collect()
    assert {row.id: row.k for row in rows} == {one: _expected(f"Patient/{one}") for one in IDS}
    assert min(row.k for row in rows) >= 0


def test_key_differs_by_type_and_secret_and_is_null_for_null(ids):
    row = ids.limit(1).select(
        surrogate_key(SECRET, "Patient", F.col("id")),
        surrogate_key(SECRET, "Encounter", F.col("id")),
        surrogate_key(SECRET[::-1], "Patient", F.col("id")),
        surrogate_key(SECRET, "Patient", F.lit(None).cast("string")),
    )
    *keys, of_null = row.collect()[0]
    assert len(set(keys)) == 3
    assert of_null is None


def test_offset_is_within_bounds_never_zero_and_takes_every_value(ids):
    rows = ids.select(date_shift_days(SECRET, F.col("id"), 5).alias("d")).collect()
    assert {row.d for row in rows} == {-5, -4, -3, -2, -1, 1, 2, 3, 4, 5}


def test_offset_is_zero_where_dates_are_to_stay_real(ids):
    assert ids.select(date_shift_days(SECRET, F.col("id"), 0).alias("d")).distinct().count() == 1


def test_secret_longer_than_a_block_is_refused():
    with pytest.raises(ValueError, match="1 to 64"):
        hmac_sha256(b"x" * 65, None)
