"""Dates of people leave the lake as years, unless the destination names its agreement."""

from datetime import date, datetime

import pytest

from clinical_lakehouse.methods.deid.years_only import for_release
from clinical_lakehouse.tables.contract import Column, Phi, Table, key

VISIT = Table(
    "gold.visit", "One row per visit.", "x", ("visit_key",),
    (
        key("visit_key", "The visit."),
        Column("visit_date", "DATE", "When.", phi=Phi.PSEUDONYM),
        Column("started_at", "TIMESTAMP", "When.", phi=Phi.PSEUDONYM),
        Column("computed_at", "TIMESTAMP", "as_of of the run."),
    ),
)  # fmt: skip
ROW = (7, date(2023, 5, 17), datetime(2023, 5, 17, 8, 30), datetime(2024, 6, 30))


@pytest.mark.parametrize(
    ("agreement", "expected"),
    [
        ("DUA-2024-17", ROW),
        (None, (7, date(2023, 1, 1), datetime(2023, 1, 1), ROW[3])),
        (" ", (7, date(2023, 1, 1), datetime(2023, 1, 1), ROW[3])),
    ],
)
def test_dates_of_people_are_years_without_an_agreement(spark, agreement, expected):
    columns = ", ".join(f"{c.name} {c.type}" for c in VISIT.columns)
    rows = spark.createDataFrame([ROW], columns)
    made = for_release(rows, VISIT, agreement)
    assert made.dtypes == rows.dtypes
    assert [tuple(row) for row in made.collect()] == [expected]
