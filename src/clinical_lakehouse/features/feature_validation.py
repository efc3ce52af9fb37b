"""Job feature_validation: are the newest values of each group fit to be served."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.features import feature_checks as checks
from clinical_lakehouse.features.feature_profiling import (
    PROFILE_SCHEMA,
    as_profile,
    long_values,
    people_matrix,
    profiler,
)
from clinical_lakehouse.features.feature_store import definition, in_use
from clinical_lakehouse.features.relation_change import Relation, relation_changes
from clinical_lakehouse.methods.outcomes import with_outcome, withdrawals
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_feature_store import (
    FEATURE_PROMOTION,
    FEATURE_VALUE,
    FEATURE_VERSION,
)
from clinical_lakehouse.tables.gold_feature_validation import (
    FEATURE_PROFILE,
    FEATURE_RELATION,
    FEATURE_VALIDATION,
)

DROPOUT = "dropout"  # the other side of a feature's importance
_OUTCOME_DAYS = 28
_GOOD = (checks.FIRST, checks.PASSED, "accepted")
_MOST_PEOPLE = 5_000  # that the driver holds to compare relations by
_PROFILED_DAYS = 56  # how far back index dates without a profile get one


@task(reads=[FEATURE_VALUE, FEATURE_PROMOTION, FEATURE_VERSION], writes=[FEATURE_PROFILE])
def profile(run: Run) -> Metrics:
    """Profile each feature of the versions in use on each recent index date by edges frozen at the
    version's first; the newest date anew, for its values may still change."""
    count = 0
    for name, row in sorted(in_use(run).items()):
        version = row["feature_version"]
        known = _of(run.lake.read(FEATURE_PROFILE), name, version)
        values = _of(run.lake.read(FEATURE_VALUE), name, version)
        newest = values.agg(F.max("index_date")).collect()[0][0]
        if newest is None:
            continue
        names = [feature.name for feature in definition(run, name, version).features]
        edges = {r["feature_name"]: tuple(r["edges"]) for r in known.collect() if r["edges"]}
        done = known.filter(F.col("index_date") < F.lit(newest)).select("index_date").distinct()
        since = F.col("index_date") >= F.lit(newest - timedelta(days=_PROFILED_DAYS))
        due = values.filter(since).join(done, "index_date", "left_anti")
        made = long_values(due, names).groupBy("feature_name")
        rows = made.applyInPandas(profiler(edges), PROFILE_SCHEMA)
        count += _upsert(run, FEATURE_PROFILE, (name, version), rows)
    return {"profile_count": count}


@task(
    reads=[
        *(FEATURE_PROFILE, FEATURE_VALUE, FEATURE_PROMOTION, FEATURE_VERSION),
        *(FEATURE_VALIDATION, silver.SUBJECT),
    ],
    writes=[FEATURE_VALIDATION, FEATURE_RELATION, ops.ALERT_EVENT],
    params={"accept": ""},
)
def validate(run: Run) -> Metrics:
    """Hold the newest index date of each group in use against its last good one. A group that fails
    is an alert and keeps its last good values online, until it passes or a person says by the
    parameter `accept` (a group's name) that the change is real."""
    using, told = in_use(run), []
    accepted = run.params.get("accept", "")
    if accepted and accepted not in using:
        raise UsageError(f"no group {accepted!r} is in use; groups: {', '.join(sorted(using))}")
    for name, row in sorted(using.items()):
        found = _validated(run, (name, row["feature_version"]), name == accepted)
        told += [found] if found else []
    failed = [one for one in told if one["state"] == checks.FAILED]
    emit(run, "feature_validation", [_finding(one) for one in failed])
    return {"group_count": len(told), "failed_count": len(failed)}


def _validated(run: Run, key: tuple[str, str], is_accepted: bool) -> dict[str, Any] | None:
    """The group's row; None before its first profile."""
    rows = _of(run.lake.read(FEATURE_PROFILE), *key).collect()
    if not rows:
        return None
    newest = max(row["index_date"] for row in rows)
    good = _last_good(run, key, newest)
    now, before = (
        {r["feature_name"]: as_profile(r) for r in rows if r["index_date"] == day}
        for day in (newest, good)
    )
    made = checks.checked(before, now, run.settings.limits.drift_max)
    relations = _relations(run, key, (good, newest)) if good else []
    people = max((one.profile.rows for one in now.values()), default=0)
    whole = checks.group_row(made, relations, people)
    if good is None:
        whole |= {"state": checks.FIRST, "explanation": "The first index date: nothing before it."}
    elif is_accepted:
        whole |= {"state": "accepted", "explanation": f"Accepted. {whole['explanation']}"}
    dated = {"index_date": newest, "reference_date": good, "validated_at": run.as_of}
    _replace(run, FEATURE_VALIDATION, key, newest, [{**row, **dated} for row in [*made, whole]])
    shown = [*checks.changed(relations), *checks.changed(_importance(run, key))]
    stamp = {"index_date": newest, "validated_at": run.as_of}
    pairs = [{**_pair(one), **stamp} for one in shown]
    if pairs or run.lake.exists(FEATURE_RELATION):
        _replace(run, FEATURE_RELATION, key, newest, pairs)
    return {**whole, **dated, "feature_group": key[0]}


def _last_good(run: Run, key: tuple[str, str], newest: date) -> date | None:
    rows = _of(run.lake.read(FEATURE_VALIDATION), *key)
    mine = (F.col("feature_name") == checks.WHOLE) & F.col("state").isin(*_GOOD)
    earlier = rows.filter(mine & (F.col("index_date") < F.lit(newest)))
    found: date | None = earlier.agg(F.max("index_date")).collect()[0][0]
    return found


def _relations(run: Run, key: tuple[str, str], days: tuple[date, date]) -> list[Relation]:
    names = [feature.name for feature in definition(run, *key).features]
    values = _of(run.lake.read(FEATURE_VALUE), *key)
    sides = [_people(values.filter(F.col("index_date") == F.lit(day)), names) for day in days]
    return relation_changes(names, *sides)


def _importance(run: Run, key: tuple[str, str]) -> list[Relation]:
    """Each feature's correlation with leaving within 28 days, on the last index date whose outcomes
    are certainly recorded, beside the one 28 days before or the nearest after it."""
    margin = run.settings.privacy.date_shift_days
    names = [feature.name for feature in definition(run, *key).features]
    values = _of(run.lake.read(FEATURE_VALUE), *key)
    last = run.as_of.date() - timedelta(days=_OUTCOME_DAYS + margin)
    known = values.filter(F.col("index_date") <= F.lit(last)).select("index_date").distinct()
    days = sorted(row["index_date"] for row in known.collect())
    earlier = [day for day in days if day >= days[-1] - timedelta(days=_OUTCOME_DAYS)][:-1]
    if not earlier:
        return []
    people = run.lake.read(silver.SUBJECT).dropDuplicates(["subject_key"])
    ends = withdrawals(people.withColumn("research_subject_key", F.col("subject_key")))
    rows = values.withColumn("research_subject_key", F.col("subject_key"))
    told = with_outcome(rows, ends, _OUTCOME_DAYS, run.as_of.date(), margin)
    sides = [
        _people(told.filter(F.col("index_date") == F.lit(day)), names, "is_event")
        for day in (earlier[0], days[-1])
    ]
    return relation_changes([*names, DROPOUT], *sides, outcome=DROPOUT)


def _people(rows: DataFrame, names: Sequence[str], *more: str) -> Any:
    """A matrix of people by feature, of a fixed share of people where they are many."""
    chosen = rows.orderBy(F.xxhash64("subject_key")).limit(_MOST_PEOPLE)
    return people_matrix(chosen.select("feature_values", *more).toPandas(), names, more)


def _pair(one: Relation) -> dict[str, Any]:
    named = {"feature_name": one.feature, "other_name": one.other}
    return {**named, "before": one.before, "now": one.now, "p_value": one.p_value}


def _of(rows: DataFrame, group: str, version: str) -> DataFrame:
    return rows.filter((F.col("feature_group") == group) & (F.col("feature_version") == version))


def _upsert(run: Run, table: Table, key: tuple[str, str], rows: DataFrame) -> int:
    named = {"feature_group": F.lit(key[0]), "feature_version": F.lit(key[1])}
    stamped = rows.withColumns({**named, "validated_at": F.lit(run.as_of)})
    done = run.lake.merge(table, stamped.select(*table.column_names))
    return done.inserted + done.updated


def _replace(
    run: Run, table: Table, key: tuple[str, str], day: date, rows: list[dict[str, Any]]
) -> None:
    """Put the date's rows in place of those of an earlier run for it."""
    where = f"feature_group = '{key[0]}' AND feature_version = '{key[1]}'"
    named = {"feature_group": key[0], "feature_version": key[1]}
    made = run.lake.frame(table, [{**named, **row} for row in rows])
    run.lake.replace(table, made, where=f"{where} AND index_date = DATE '{day}'")


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(
        kind="feature_group_failed",
        severity="warning",
        labels={"group": row["feature_group"]},
        value=1.0,
        threshold=0.0,
        message=f"The newest values of {row['feature_group']} are not served, the last good ones "
        f"are: {row['explanation']} If the change is real: run feature_validation with "
        f"accept={row['feature_group']}.",
        window_at=datetime.combine(row["index_date"], time(), UTC),
    )
