"""Which rows fail, by key and check; and what changes in the list of those known already."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clinical_lakehouse.methods.quality.asked import Asked, failing_predicate
from clinical_lakehouse.methods.quality.one_pass import Rows, united, with_lookups
from clinical_lakehouse.tables.contract import Check, Phi, Table

# A check that fails for more rows is a rule or a source to mend, not a list to work through.
MOST_LISTED = 10_000
_SAMPLES = 5
_RULE = ("table_name", "check_name", "rule_version")


def failing_rows(
    asked: Sequence[Asked], failing: Mapping[str, Collection[str]], rows_of: Rows
) -> DataFrame:
    """One row per check, version and key of a failing row: severity, reason, owner, row_count.

    `failing` names the checks to look at, by table; all of a table's are found in one pass. Of a
    check the 10,000 keys with the least hash are listed.
    """
    parts = [_of_table(one, failing[one.table.name], rows_of) for one in asked
             if failing.get(one.table.name)]  # fmt: skip
    return united(parts)


def _of_table(one: Asked, names: Collection[str], rows_of: Rows) -> DataFrame:
    checks = [check for check in one.checks if check.name in names]
    rows = with_lookups(rows_of(one.table.name), one.lookups(), rows_of)
    for number, check in enumerate(checks):
        if check.scope == "key":
            rows = _with_repeats(rows, check, f"_repeats_{number}")
    marks = [F.when(_fails(check, number), F.lit(number)) for number, check in enumerate(checks)]
    found = rows.select(row_key(one.table).alias("row_key"),
                        F.explode(F.array_compact(F.array(*marks))).alias("_number"))  # fmt: skip
    counted = found.groupBy("_number", "row_key").agg(F.count("*").alias("row_count"))
    least = Window.partitionBy("_number").orderBy(F.xxhash64("row_key"), "row_key")
    listed = counted.withColumn("_place", F.row_number().over(least))
    return listed.filter(F.col("_place") <= MOST_LISTED).select(
        F.lit(one.table.name).alias("table_name"),
        _by_number([check.name for check in checks]).alias("check_name"),
        _by_number([check.version for check in checks]).alias("rule_version"),
        "row_key",
        _by_number([check.severity.value for check in checks]).alias("severity"),
        _by_number([reason(check) for check in checks]).alias("reason"),
        _by_number([check.owner or one.table.owner for check in checks]).alias("owner"),
        "row_count",
    )


def _by_number(words: Sequence[str]) -> Column:
    return F.element_at(F.array(*(F.lit(word) for word in words)), F.col("_number") + 1)


def _fails(check: Check, number: int) -> Column:
    if check.scope == "key":
        return F.col(f"_repeats_{number}") > 1
    return F.expr(failing_predicate(check))


def _with_repeats(rows: DataFrame, check: Check, name: str) -> DataFrame:
    """How many rows inside the filter share the key; null outside it. A window, not a join, so that
    rows whose key is null are not lost."""
    inside = F.expr(check.where)
    keys = F.expr(f"struct({check.predicate})")
    sharing = F.count_if(inside).over(Window.partitionBy(keys))
    return rows.withColumn(name, F.when(inside, sharing))


def row_key(table: Table) -> Column:
    """The row's key as JSON, nulls kept; its SHA-256 where a key column may identify a person."""
    text = F.to_json(F.struct(*table.key), {"ignoreNullFields": "false"})
    phi = {column.phi for column in table.columns if column.name in table.key}
    return F.sha2(text, 256) if phi & {Phi.DIRECT, Phi.QUASI} else text


def reason(check: Check) -> str:
    """What a good row does, in the words of the check."""
    if check.why:
        return check.why
    if check.refers:
        own, other, key = check.refers
        return f"{own} stands in {other}.{key}"
    return f"no other row has the same {check.predicate}" if check.scope == "key" \
        else check.predicate  # fmt: skip


def changed(known: DataFrame, found: DataFrame, judged: DataFrame, as_of: datetime) -> DataFrame:
    """Rows of ops.quality_failure (but run_id) that differ from `known`: new, failing again, or
    resolved. `judged` lists table, check and version that this run could judge; the rest stay.

    A row that was seen after `as_of` is not resolved by an older run.
    """
    key = [*_RULE, "row_key"]
    mine = known.join(F.broadcast(judged), list(_RULE), "left_semi")
    before = mine.select(*key, F.struct("*").alias("_before"))
    now = found.select(*key, F.struct(*found.columns).alias("_now"))
    both = before.join(now, key, "full_outer")
    at, was, is_ = F.lit(as_of), F.col("_before"), F.col("_now")
    again = is_.isNotNull() & (was.isNull() | ~was.is_failing)
    over = is_.isNull() & was.is_failing & (was.first_seen_at <= at)
    recounted = is_.isNotNull() & (is_.row_count != was.row_count)
    kept = ["severity", "reason", "owner", "row_count"]
    return both.filter(again | over | recounted).select(
        *key,
        *(F.coalesce(is_[name], was[name]).alias(name) for name in kept),
        F.coalesce(F.least(was.first_seen_at, at), at).alias("first_seen_at"),
        is_.isNotNull().alias("is_failing"),
        F.when(is_.isNull(), at).alias("resolved_at"),
    )


def retired(known: DataFrame, judged: DataFrame, as_of: datetime) -> DataFrame:
    """Failing rows of checks that this run's rules no longer hold: resolved, for nobody asks."""
    gone = known.filter("is_failing").join(F.broadcast(judged), list(_RULE), "left_anti")
    return gone.withColumn("is_failing", F.lit(False)).withColumn("resolved_at", F.lit(as_of))


def samples(known: DataFrame) -> DataFrame:
    """Per table, check and version up to five keys of rows that fail now, in the keys' order."""
    keys = F.slice(F.array_sort(F.collect_list("row_key")), 1, _SAMPLES)
    return known.filter("is_failing").groupBy(*_RULE).agg(keys.alias("sample_keys"))
