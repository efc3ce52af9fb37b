"""Rows of the driver: written and read without Spark, and the same to Spark."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.runtime.reading import later_than
from clinical_lakehouse.tables.contract import Column, Table
from clinical_lakehouse.tables.ops_audit import AUDIT

KINDS = Table(
    "ops.test_kinds",
    "One row per name, with a column of every type that contracts use.",
    "test",
    ("name",),
    (
        Column("name", "STRING", "Name", nullable=False),
        Column("whole", "BIGINT", "Number"),
        Column("small", "INT", "Number"),
        Column("real", "DOUBLE", "Number"),
        Column("exact", "DECIMAL(12,2)", "Number"),
        Column("is_so", "BOOLEAN", "Flag"),
        Column("day", "DATE", "Day"),
        Column("moment", "TIMESTAMP", "Moment"),
        Column("bytes", "BINARY", "Bytes"),
        Column("many", "ARRAY<STRING>", "Texts"),
        Column("named", "MAP<STRING, DOUBLE>", "Numbers by name"),
        Column("parts", "STRUCT<a: STRING, b: INT>", "Parts"),
    ),
    change_feed=True,
)
AT = datetime(2024, 3, 31, 1, 30, 0, 123456, tzinfo=UTC)


def row(name, **values):
    """One row that has everything, but for what is given."""
    numbers = {"whole": 2**53 + 1, "small": 7, "real": 0.1, "exact": Decimal("1.10")}
    times = {"day": date(2024, 2, 29), "moment": AT}
    nested = {"many": ["a", "b"], "named": {"x": 1.0}, "parts": {"a": "p", "b": 2}}
    return {
        "name": name,
        "is_so": True,
        "bytes": b"\x00\xff",
        **numbers,
        **times,
        **nested,
        **values,
    }


EMPTY = {"name": "empty"}


def by_spark(lake):
    return sorted(repr(one) for one in lake.read(KINDS).collect())


def test_what_the_driver_writes_spark_reads_as_if_it_had_written_it(lake):
    lake.append(KINDS, lake.frame(KINDS, [row("it's"), EMPTY]))
    known = by_spark(lake)
    lake.replace(KINDS, [row("it's"), EMPTY])
    assert by_spark(lake) == known


def test_what_spark_writes_the_driver_reads_with_times_in_utc(lake):
    lake.append(KINDS, lake.frame(KINDS, [row("a"), EMPTY]))
    found = sorted(lake.rows(KINDS), key=lambda one: one["name"])
    assert found == [row("a"), {**dict.fromkeys(KINDS.column_names), **EMPTY}]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (later_than("moment", AT), {"late"}),
        (later_than("day", datetime(2024, 2, 29, tzinfo=UTC)), {"late"}),
        ("name = 'late' AND is_so", {"late"}),
        ("whole IS NULL", {"empty"}),
    ],
)
def test_a_condition_means_the_same_to_both(lake, where, names):
    late = row("late", moment=AT.replace(microsecond=123457), day=date(2024, 3, 1))
    lake.append(KINDS, [row("a"), late, EMPTY])
    assert {one["name"] for one in lake.rows(KINDS, where)} == names
    assert {one.name for one in lake.read(KINDS).filter(where).collect()} == names


def test_merge_writes_what_differs_and_nothing_else(lake):
    lake.append(KINDS, [row("a"), row("b"), EMPTY])
    before = lake.version(KINDS)
    assert lake.merge(KINDS, [row("a"), EMPTY]).version == before
    done = lake.merge(KINDS, [row("a"), row("b", real=0.2), row("c")])
    assert (done.inserted, done.updated) == (1, 1)
    found = {one["name"]: one["real"] for one in lake.rows(KINDS)}
    assert found == {"a": 0.1, "b": 0.2, "c": 0.1, "empty": None}
    assert {one.name for one in lake.read(KINDS, since=before).collect()} == {"b", "c"}
    assert {one["name"] for one in lake.rows(KINDS, since=before)} == {"b", "c"}
    assert lake.rows(KINDS, since=lake.version(KINDS)) == []


def test_rows_that_spark_deleted_stay_deleted(lake):
    """A deletion vector hides them in files that are still there."""
    one_file = lake.frame(KINDS, [row(name) for name in "abcd"]).coalesce(1)
    lake.append(KINDS, one_file)
    lake.spark.sql(f"DELETE FROM {lake.identifier(KINDS)} WHERE name = 'b'")
    assert {one["name"] for one in lake.rows(KINDS)} == {"a", "c", "d"}
    lake.merge(KINDS, [row("c", small=8)])
    lake.replace(KINDS, [row("d", small=9)], "name = 'd'")
    found = {one.name: one.small for one in lake.read(KINDS).collect()}
    assert found == {"a": 7, "c": 8, "d": 9}


def test_what_is_read_on_the_driver_is_noted_as_read(lake):
    lake.append(KINDS, [row("a")])
    narrow = lake.scoped([KINDS], [])
    narrow.rows(KINDS)
    assert narrow.seen == {KINDS.name: lake.version(KINDS)}


def test_missing_rows_are_added_once(lake):
    lake.append_missing(KINDS, [row("a")])
    lake.append_missing(KINDS, [row("a", small=0), row("b")])
    lake.append_missing(KINDS, [row("b")])
    assert {one["name"]: one["small"] for one in lake.rows(KINDS)} == {"a": 7, "b": 7}
    assert lake.claim(KINDS, row("c"))
    assert not lake.claim(KINDS, row("c"))


@pytest.mark.parametrize(
    ("values", "column"), [({"small": "Jane"}, "small"), ({"name": None}, "name")]
)
def test_a_value_that_does_not_fit_is_refused_and_not_shown(lake, values, column):
    with pytest.raises(ContractError, match=f"ops.test_kinds: {column} ") as refused:
        lake.append(KINDS, [row("a"), {**row("b"), **values}])
    assert "Jane" not in str(refused.value)
    assert lake.rows(KINDS) == []


def test_many_small_commits_leave_a_checkpoint_that_spark_reads(lake):
    for number in range(21):
        lake.append(KINDS, [row(f"n{number}")])
    assert list((lake.path(KINDS) / "_delta_log").glob("*20.checkpoint.parquet"))
    assert lake.read(KINDS).count() == 21


def test_a_clustered_table_takes_rows_too(lake):
    values = {c.name: "x" for c in AUDIT.columns if c.type == "STRING"}
    moments = {"segment_date": AT.date(), "recorded_at": AT, "as_of": AT, "sequence": 1}
    lake.append_missing(AUDIT, [{**values, **moments}])
    lake.append(AUDIT, lake.frame(AUDIT, [{**values, **moments, "audit_id": "y"}]))
    assert {one["audit_id"] for one in lake.rows(AUDIT)} == {"x", "y"}
    assert AUDIT.cluster_by


def test_a_table_whose_making_was_killed_is_made_by_the_next_writer(lake):
    """Delta takes an empty log for a table and creates none."""
    (lake.path(KINDS) / "_delta_log").mkdir(parents=True)
    lake.append(KINDS, [row("a")])
    assert lake.read(KINDS).count() == 1
