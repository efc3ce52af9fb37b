"""Labels of an ACES task: every trigger with its windows, its label, and the step it fell at."""

from collections.abc import Iterator
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import Window as Rows
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.training.aces_task import (
    ANY_EVENT,
    RECORD_END,
    RECORD_START,
    TRIGGER,
    AcesTask,
    CodePredicate,
    DerivedPredicate,
    Edge,
    Window,
)

DEMOGRAPHICS = "patient_demographics"
# Where marks stand among rows of the same time.
_BEFORE, _BETWEEN, _AFTER = 0, 1, 2


def label_triggers(task: AcesTask, events: DataFrame) -> DataFrame:
    """One row per trigger: subject_id, trigger_at, index_at, label (the label's count), the start
    and end of each window, and `dropped_by`: the first step it fails, null if it is labelled.

    `events` are MEDS rows: subject_id, time (null for what does not change), code, numeric_value.
    """
    timeline = _timeline(task, _moments(task, events))
    rows = timeline.filter(F.col(f"count_{task.trigger}") > 0).select(
        "subject_id", F.col("point").alias(TRIGGER), "first", "last", "dropped_by"
    )
    marks = timeline.drop("first", "last", "dropped_by")
    for window in task.windows:
        rows = _with_window(task, window, rows, marks)
    return rows.select(
        "subject_id",
        F.col(f"{TRIGGER}.time").alias("trigger_at"),
        _index(task).alias("index_at"),
        _label(task).alias("label"),
        *(c for w in task.windows for c in _bounds(w)),
        "dropped_by",
    )


def steps(task: AcesTask) -> Iterator[str]:
    """The steps at which a trigger may fall, in order; attrition.counted counts them."""
    if task.demographics:
        yield DEMOGRAPHICS
    for window in task.windows:
        yield _unfound(window)
        yield from (f"{window.name}: {constraint}" for constraint in window.has)


def _unfound(window: Window) -> str:
    return f"{window.name}: no start or end"


def _moments(task: AcesTask, events: DataFrame) -> DataFrame:
    """One row per subject and time: how often each predicate holds; and whether the subject is
    what the demographics ask for."""
    known = events.columns
    plain = {n: p for n, p in task.predicates.items() if isinstance(p, CodePredicate)}
    counts = [_count(_holds(p, known)).alias(f"count_{name}") for name, p in plain.items()]
    static = [F.max(_holds(p, known) & F.col("time").isNull()) for p in task.demographics.values()]
    whole = Rows.partitionBy("subject_id")
    fits = reduce(lambda a, b: a & b, static) if static else F.lit(True)
    grouped = events.groupBy("subject_id", "time").agg(
        F.lit(1).alias(f"count_{ANY_EVENT}"), *counts, fits.alias("fits")
    )
    told = grouped.withColumn("fits", F.coalesce(F.max("fits").over(whole), F.lit(False)))
    timed = told.filter("time IS NOT NULL")
    return reduce(lambda rows, name: _with_derived(task, rows, name), task.predicates, timed)


def _with_derived(task: AcesTask, rows: DataFrame, name: str) -> DataFrame:
    found = task.predicates[name]
    if not isinstance(found, DerivedPredicate):
        return rows
    # Whoever is left is what the demographics ask for, so these hold at every moment.
    parts = [F.lit(True) if p in task.demographics else F.col(f"count_{p}") > 0 for p in found.of]
    holds = reduce(lambda a, b: a & b if found.every else a | b, parts)
    return rows.withColumn(f"count_{name}", holds.cast("bigint"))


def _holds(predicate: CodePredicate, known: list[str]) -> Column:
    absent = [name for name, _ in predicate.others if name not in known]
    if absent:
        raise SettingsError(f"{predicate.place} names the column {absent[0]!r} that no event has")
    code, value = F.col("code"), F.col("numeric_value")
    tests = [code.rlike(predicate.regex) if predicate.regex else code.isin(*predicate.codes)]
    if predicate.low is not None:
        tests.append(value >= predicate.low if predicate.low_counts else value > predicate.low)
    if predicate.high is not None:
        tests.append(value <= predicate.high if predicate.high_counts else value < predicate.high)
    tests += [F.col(name) == word for name, word in predicate.others]
    return reduce(lambda a, b: a & b, tests)


def _count(condition: Column) -> Column:
    return F.count_if(condition)


def _timeline(task: AcesTask, moments: DataFrame) -> DataFrame:
    """The moments of each subject as points, with the first and the last one of the record.

    A point is a time and how often each counted predicate held up to it and before it, so that the
    count of a window is a difference of two points.
    """
    order = Rows.partitionBy("subject_id").orderBy("time")
    upto = order.rowsBetween(Rows.unboundedPreceding, Rows.currentRow)
    whole = order.rowsBetween(Rows.unboundedPreceding, Rows.unboundedFollowing)
    rows = moments.withColumns({
        f"count_{RECORD_START}": (F.min("time").over(whole) == F.col("time")).cast("bigint"),
        f"count_{RECORD_END}": (F.max("time").over(whole) == F.col("time")).cast("bigint"),
    })  # fmt: skip
    own = [F.col(f"count_{name}").cast("bigint") for name in task.counted]
    sums = [F.sum(column).over(upto) for column in own]
    point = F.struct(
        F.col("time").alias("time"),
        _array(sums).alias("upto"),
        _array([total - column for total, column in zip(sums, own, strict=True)]).alias("before"),
    )
    rows = rows.withColumn("point", point)
    drop = F.when(~F.col("fits"), DEMOGRAPHICS)
    return rows.withColumns({
        "first": F.first("point").over(whole),
        "last": F.last("point").over(whole),
        "dropped_by": drop.cast("string"),
    })  # fmt: skip


def _array(columns: list[Column]) -> Column:
    return F.array(*columns) if columns else F.array().cast("array<bigint>")


def _with_window(task: AcesTask, window: Window, rows: DataFrame, marks: DataFrame) -> DataFrame:
    """The rows with both edges of the window as points and with its counts; the first step of it
    that a row fails is written down."""
    for side in window.order:
        rows = _with_edge(task, window, side, rows, marks)
    start, end = F.col(f"{window.name}_start"), F.col(f"{window.name}_end")
    high = end["upto"] if window.end_inclusive else end["before"]
    low = start["before"] if window.start_inclusive else start["upto"]
    counts = F.zip_with(high, low, lambda a, b: F.greatest(a - b, F.lit(0)))
    rows = rows.withColumn(f"{window.name}_counts", counts)
    reason = F.when(start.isNull() | end.isNull(), _unfound(window))
    for constraint in window.has:
        count = F.col(f"{window.name}_counts")[task.counted.index(constraint.predicate)]
        fails = [] if constraint.least is None else [count < constraint.least]
        fails += [] if constraint.most is None else [count > constraint.most]
        name = f"{window.name}: {constraint}"
        reason = reason.when(reduce(lambda a, b: a | b, fails), name)
    return rows.withColumn("dropped_by", F.coalesce("dropped_by", reason))


def _with_edge(
    task: AcesTask, window: Window, side: str, rows: DataFrame, marks: DataFrame
) -> DataFrame:
    """The rows with one edge as a point, null where there is no such event."""
    edge, name = window.edge(side), f"{window.name}_{side}"
    refers = f"{window.name}_{edge.refers}" if edge.refers in ("start", "end") else edge.refers
    origin = F.col(refers.replace(".", "_"))
    # Of the edge that only places the window, the inclusive flags say nothing: the event must lie
    # strictly beyond what it is sought from.
    inclusive = side != window.root and (
        window.start_inclusive if side == "start" else window.end_inclusive
    )
    if edge.event in (RECORD_START, RECORD_END):
        return rows.withColumn(name, _record_edge(edge, origin, inclusive))
    if edge.event:
        wanted = marks.filter(F.col(f"count_{edge.event}") > 0)
        return _looked_up(rows, wanted, name, origin["time"], (edge.is_before, inclusive))
    if not edge.seconds:
        return rows.withColumn(name, origin)
    time = origin["time"] + F.make_dt_interval(secs=F.lit(edge.seconds))
    return _at_time(task, rows, marks, name, time)


def _record_edge(edge: Edge, origin: Column, inclusive: bool) -> Column:
    """The record's first or last moment, if it lies on the right side of the origin."""
    point = F.col("first" if edge.event == RECORD_START else "last")
    time, limit = point["time"], origin["time"]
    if edge.is_before:
        return F.when(time <= limit if inclusive else time < limit, point)
    return F.when(time >= limit if inclusive else time > limit, point)


def _at_time(
    task: AcesTask, rows: DataFrame, marks: DataFrame, name: str, time: Column
) -> DataFrame:
    """The point of a time at which nothing need have happened: it counts what came up to it."""
    found = _looked_up(rows, marks, name, time, (True, True))
    zeros = F.array_repeat(F.lit(0).cast("bigint"), len(task.counted))
    last = F.col(name)
    point = F.struct(
        time.alias("time"),
        F.coalesce(last["upto"], zeros).alias("upto"),
        F.coalesce(F.when(last["time"] == time, last["before"]), last["upto"], zeros).alias(
            "before"
        ),
    )
    return found.withColumn(name, F.when(time.isNotNull(), point))


def _looked_up(
    rows: DataFrame, marks: DataFrame, name: str, time: Column, how: tuple[bool, bool]
) -> DataFrame:
    """The rows with the nearest mark before (or after) `time`, which may be at it if inclusive.

    One sort of rows and marks together: a join by range would compare each row with each mark.
    """
    is_before, inclusive = how
    asked = rows.withColumns({"_at": time, "_turn": F.lit(_BETWEEN)})
    turn = _BEFORE if inclusive else _AFTER
    points = marks.select(
        "subject_id",
        F.col("time").alias("_at"),
        F.lit(turn).alias("_turn"),
        F.col("point").alias("_mark"),
    )
    both = asked.unionByName(points, allowMissingColumns=True)
    when = F.col("_at").asc() if is_before else F.col("_at").desc()
    order = Rows.partitionBy("subject_id").orderBy(when, "_turn")
    so_far = order.rowsBetween(Rows.unboundedPreceding, Rows.currentRow)
    nearest = F.last("_mark", ignorenulls=True).over(so_far)
    told = both.withColumn(name, F.when(F.col("_at").isNotNull(), nearest))
    return told.filter(F.col("_turn") == _BETWEEN).drop("_at", "_turn", "_mark")


def _index(task: AcesTask) -> Column:
    """The moment of prediction; null where the task names none."""
    window = task.index
    if window is None:
        return F.lit(None).cast("timestamp")
    return F.col(f"{window.name}_{window.index}")["time"]


def _label(task: AcesTask) -> Column:
    """How often the label's predicate held in its window."""
    window = task.label
    if window is None or window.label is None:
        return F.lit(None).cast("bigint")
    return F.col(f"{window.name}_counts")[task.counted.index(window.label)]


def _bounds(window: Window) -> Iterator[Column]:
    for side in ("start", "end"):
        yield F.col(f"{window.name}_{side}")["time"].alias(f"{window.name}_{side}_at")
