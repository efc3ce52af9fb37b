"""Features of subjects at moments, from what had happened by then and the lake knew by then."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.features import window_sums
from clinical_lakehouse.features.groups import SOURCES, Group
from clinical_lakehouse.features.series_events import BAD, series_events
from clinical_lakehouse.features.window_sums import BY_DAY, SUMS, aggregations, wanted

_KEY = ("subject_key", "at_us", "known_us")
_DAY = 86_400_000_000
# What a null may say; the place + 1 is what the engine keeps until the end.
REASONS = (*BAD, "too-few", "outside-window", "never")
_BY_DAY_USES = frozenset().union(*(SUMS[name].needed for name in BY_DAY))


def point_in_time(asked: DataFrame, events: DataFrame, group: Group) -> DataFrame:
    """Each row asked once, whatever repeats or is null in it, with `feature_values` and
    `null_reasons` (arrays in the order of `group.features`).

    `asked` has subject_key, at and known_at (TIMESTAMP) and any other columns: an event of
    gold.feature_event counts if event_at <= at and the lake held it at known_at (known_from <=
    known_at < known_until); a window of n days is (at - n days, at]; what lasts, lasts over
    [event_at, end_at). Codes of classes must be resolved before (`meaning.resolved`).
    """
    keys = asked.select(
        "subject_key",
        F.unix_micros("at").alias("at_us"),
        F.unix_micros("known_at").alias("known_us"),
    )
    known = keys.dropna().distinct()
    found = _per_key(known, series_events(events, group), group)
    found = found.withColumnsRenamed({name: f"_{name}" for name in _KEY})
    same = [
        F.col("subject_key") == F.col("_subject_key"),
        F.unix_micros("at") == F.col("_at_us"),
        F.unix_micros("known_at") == F.col("_known_us"),
    ]
    joined = asked.join(found, same, "left")
    nothing = F.array_repeat(F.lit(None).cast("DOUBLE"), len(group.features))
    why = F.array_repeat(_why_nothing(), len(group.features))
    return joined.select(
        *asked.columns,
        F.coalesce("_values", nothing).alias("feature_values"),
        F.coalesce("_reasons", why).alias("null_reasons"),
    )


def as_columns(rows: DataFrame, group: Group) -> DataFrame:
    """One DOUBLE column per feature in place of the arrays."""
    kept = [c for c in rows.columns if c not in ("feature_values", "null_reasons")]
    values = F.col("feature_values")
    return rows.select(*kept, *(values[n].alias(f.name) for n, f in enumerate(group.features)))


def as_maps(rows: DataFrame, group: Group) -> DataFrame:
    """The same columns as maps by feature name; `null_reasons` holds what is null alone."""
    names = _texts([feature.name for feature in group.features])
    pairs = F.zip_with(names, "null_reasons", _pair)
    told = F.filter(pairs, lambda pair: pair["why"].isNotNull())
    return rows.withColumns(
        {
            "feature_values": F.map_from_arrays(names, "feature_values"),
            "null_reasons": F.map_from_entries(told),
        }
    )


def _pair(name: Column, why: Column) -> Column:
    return F.struct(name.alias("name"), why.alias("why"))


def _per_key(keys: DataFrame, events: DataFrame, group: Group) -> DataFrame:
    """One row per key of a person whom the lake knew, with both arrays."""
    held = _held(keys, events)
    parts = _parts(held, group)
    if _BY_DAY_USES & set(aggregations(group)):
        parts = parts.unionByName(_day_parts(held, group), allowMissingColumns=True)
    slots = F.broadcast(_slots(keys, group))
    windows = parts.join(slots, "series").groupBy(*_KEY, *slots.drop("series").columns)
    summed = windows.agg(*window_sums.per_window(group)).filter("person = 1")
    used = aggregations(group)
    values = F.array(*(window_sums.result(name) for name in used))
    if any(set(one.aggregations) != set(used) for one in group.series):
        values = F.filter(values, lambda _, at: F.getbit("wanted", at) == 1)
    slot_struct = F.struct("slot", values.alias("v"), _why().alias("why"))
    slotted = summed.select(*_KEY, slot_struct.alias("s"))
    grouped = slotted.groupBy(*_KEY).agg(F.sort_array(F.collect_list("s")).alias("s"))
    names = _texts(REASONS)

    def reasons(slot: Column) -> Column:
        why = F.get(names, slot["why"] - 1)
        return F.transform(slot["v"], lambda value: F.when(value.isNull(), why))

    return grouped.select(
        *_KEY,
        F.flatten(F.transform("s", lambda slot: slot["v"])).alias("_values"),
        F.flatten(F.transform("s", reasons)).alias("_reasons"),
    )


def _texts(words: Sequence[str]) -> Column:
    """A constant array of plain words: one literal, where a list would be one for each."""
    return F.split(F.lit(",".join(words)), ",")


def _held(keys: DataFrame, events: DataFrame) -> DataFrame:
    """Each key with every event it may see."""
    theirs = events.withColumnRenamed("subject_key", "_person")
    condition = [
        F.col("subject_key") == F.col("_person"),
        F.col("event_us") <= F.col("at_us"),
        F.col("horizon_us") > F.col("at_us"),
        F.col("from_us") <= F.col("known_us"),
        F.col("until_us") > F.col("known_us"),
    ]
    joined = keys.join(theirs, condition).drop("_person", "from_us", "until_us", "horizon_us")
    age = F.when(F.col("w") == 1, F.col("at_us") - F.col("event_us")).otherwise(0)
    aged = joined.withColumn("age_us", age)
    lasts = F.coalesce(F.col("end_us") > F.col("at_us"), F.lit(True)) & (F.col("w") == 1)
    return aged.withColumns(
        {"age_days": F.expr("age_us DIV 86400000000"), "active": lasts.cast("INT")}
    )


def _parts(held: DataFrame, group: Group) -> DataFrame:
    sums = {n: one for n, one in wanted(group).items() if n not in BY_DAY}
    edged = held.withColumn("edge", window_sums.edge_below(F.col("age_days"), group))
    grouped = edged.groupBy(*_KEY, "series", "edge")
    made = grouped.agg(*(one.start().alias(name) for name, one in sums.items()))
    nothing = [name for name in wanted(group) if name in BY_DAY]
    return made.withColumns({name: F.lit(None).cast("BIGINT") for name in nothing})


def _day_parts(held: DataFrame, group: Group) -> DataFrame:
    """Days (24 hours each, counted back from the moment) with a record, with an abnormal one, and
    touched by what lasts."""
    ours = [n for n, s in enumerate(group.series) if _BY_DAY_USES & set(s.aggregations)]
    lasting = [n for n in ours if "exposure_days" in group.series[n].aggregations]
    asked = held.filter((F.col("w") == 1) & F.col("series").isin(*ours))
    recorded = _days(asked, F.col("age_days"), F.lit(1), F.lit(0), F.coalesce("abnormal", F.lit(0)))
    if lasting:
        spans = asked.filter(F.col("series").isin(*lasting) & _is_span())
        each = F.explode(F.sequence(_last_day(), F.col("age_days")))
        recorded = recorded.unionByName(_days(spans, each, F.lit(0), F.lit(1), F.lit(0)))
    once = recorded.groupBy(*_KEY, "series", "day").agg(
        *(F.max(name).alias(name) for name in ("touched", "covered", "abnormal"))
    )
    edged = once.withColumn("edge", window_sums.edge_below(F.col("day"), group))
    needed = [name for name in wanted(group) if name in BY_DAY]
    grouped = edged.groupBy(*_KEY, "series", "edge")
    return grouped.agg(*(SUMS[name].start().alias(name) for name in needed))


def _days(rows: DataFrame, day: Column, *flags: Column) -> DataFrame:
    names = ("touched", "covered", "abnormal")
    named = [flag.alias(name) for flag, name in zip(flags, names, strict=True)]
    return rows.select(*_KEY, "series", day.alias("day"), *named)


def _is_span() -> Column:
    return F.col("end_us").isNull() | (F.col("end_us") > F.col("event_us"))


def _last_day() -> Column:
    """Age in days of the last moment before the end; 0 for what has not ended."""
    over = F.expr("(at_us - end_us + 1) DIV 86400000000")
    return F.when(F.col("end_us") <= F.col("at_us"), over).otherwise(F.lit(0).cast("BIGINT"))


def _slots(keys: DataFrame, group: Group) -> DataFrame:
    """One row per series and window, numbered as the features come; the bits of `wanted` say which
    of the group's aggregations."""
    used = aggregations(group)
    rows: list[tuple[int, int, int, bool, int]] = []
    for number, one in enumerate(group.series):
        wanted_bits = sum(1 << used.index(name) for name in one.aggregations)
        is_numeric = SOURCES[one.source][0]
        for days in one.windows:
            rows.append((number, len(rows), days, is_numeric, wanted_bits))
    kinds = "series INT, slot INT, window_days INT, is_numeric BOOLEAN, wanted BIGINT"
    return keys.sparkSession.createDataFrame(rows, kinds)


def _why() -> Column:
    """Why a null of the window is one: place + 1 in REASONS."""
    enough = F.when(F.col("is_numeric"), F.col("nv") > 0).otherwise(F.col("n") > 0)
    return (
        F.when(enough, 4)
        .when(F.col("n") > 0, F.coalesce("bad", F.lit(1)))
        .when(F.col("ever_n") > 0, 5)
        .otherwise(6)
    )


def _why_nothing() -> Column:
    return (
        F.when(F.col("subject_key").isNull(), "no-subject")
        .when(F.col("at").isNull() | F.col("known_at").isNull(), "no-time")
        .otherwise("not-consented")
    )
