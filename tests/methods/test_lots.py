"""Lots: the same in Python and in Spark, shares as asked for, larger ones hold smaller ones."""

import hashlib

import numpy as np
import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.methods.lots import held_out, is_held_out, lot, lot_of


def test_a_lot_is_the_share_of_its_hash():
    digest = hashlib.sha256(b"dropout_risk/2/17").hexdigest()
    assert lot_of("dropout_risk/2", 17) == int(digest[:12], 16) % 10_000 / 10_000


def test_shares_are_as_asked_for_nested_and_drawn_anew_for_each_model():
    held = np.array([is_held_out(n, "dropout_risk", 0.1) for n in range(20_000)])
    more = np.array([is_held_out(n, "dropout_risk", 0.3) for n in range(20_000)])
    other = np.array([is_held_out(n, "readmission", 0.1) for n in range(20_000)])
    assert held.mean() == pytest.approx(0.1, abs=0.01)
    assert more[held].all()
    assert (held & other).mean() == pytest.approx(0.01, abs=0.004)
    assert not any(is_held_out(n, "dropout_risk", 0) for n in range(1000))


def test_a_column_gives_the_same(spark):
    subjects = spark.range(300)
    found = subjects.select(
        "id", lot("m/1", F.col("id")).alias("lot"), held_out(F.col("id"), "m", 0.2).alias("held")
    ).collect()
    assert all(row.lot == lot_of("m/1", row.id) for row in found)
    assert all(row.held == is_held_out(row.id, "m", 0.2) for row in found)
