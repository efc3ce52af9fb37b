"""Job feature_store: what the lake learnt, the values of each version, what is served online."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.features import index_moments as moments
from clinical_lakehouse.features.checked_reads import differing
from clinical_lakehouse.features.feature_checks import is_held
from clinical_lakehouse.features.feature_engineering import shown_encounters
from clinical_lakehouse.features.feature_events import (
    SOURCES,
    absent_people,
    learnt,
    present_events,
)
from clinical_lakehouse.features.groups import Group, load_groups
from clinical_lakehouse.features.meaning import as_json, from_json, resolved, version_of
from clinical_lakehouse.features.point_in_time import as_maps, point_in_time
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.online_features import OnlineFeatures, online_place
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_feature_store import (
    FEATURE_ABSENCE,
    FEATURE_EVENT,
    FEATURE_PROMOTION,
    FEATURE_VALUE,
    FEATURE_VERSION,
)
from clinical_lakehouse.tables.gold_feature_validation import FEATURE_VALIDATION
from clinical_lakehouse.tables.gold_standardization import CODE_MAP, UNIT_FACTOR
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT_ANCESTOR

_TABLES = {source.table.name: source.table for source in SOURCES}
_READS_CHECKED = 10_000
DATES_A_COMMIT = 104  # of a version's history: two years by the week

# (Group, version) -> row of gold.feature_version.
Definitions = Mapping[tuple[str, str], Mapping[str, Any]]


@task(
    reads=[*_TABLES.values(), silver.ENCOUNTER_COMPLETENESS, UNIT_FACTOR],
    writes=[FEATURE_EVENT, FEATURE_ABSENCE],
)
def collect(run: Run) -> Metrics:
    """Compare silver's records with the stored ones: append what is new or changed, close what is
    changed or gone as of the run, and remove people whom silver holds no more."""
    lake, patients = run.lake, run.lake.read(silver.PATIENT)
    stored = lake.read(FEATURE_EVENT)
    _, newest = _known(stored)
    if newest is not None and run.as_of < newest:
        raise UsageError("the feature store has learnt of later runs; give a later as_of")
    lost = absent_people(stored, patients) if newest else None
    if lost is not None and not lost.isEmpty():
        told = {"noted_at": F.lit(run.as_of), "reason": F.lit("withdrawn-or-erased")}
        lake.append_missing(FEATURE_ABSENCE, lost.withColumns(told))
    tables = {name: lake.read(table) for name, table in _TABLES.items()}
    tables[silver.ENCOUNTER.name] = shown_encounters(run)
    present = present_events(tables, lake.read(UNIT_FACTOR))
    done = lake.merge(FEATURE_EVENT, learnt(present, stored, patients, run.as_of), "is_gone")
    return {"new": done.inserted, "closed": done.updated, "removed": done.deleted}


def _known(events: DataFrame) -> tuple[datetime | None, datetime | None]:
    """When the lake first and last learnt anything."""
    latest = F.greatest("known_from", F.coalesce("known_until", "known_from"))
    first, last = events.agg(
        F.min(F.unix_micros("known_from")), F.max(F.unix_micros(latest))
    ).collect()[0]
    return _moment(first), _moment(last)


def _moment(micros: int | None) -> datetime | None:
    start = datetime.fromtimestamp(0, UTC)
    return None if micros is None else start + timedelta(microseconds=micros)


@task(
    reads=[silver.SUBJECT, silver.PATIENT, FEATURE_EVENT, CODE_MAP, CONCEPT_ANCESTOR],
    writes=[FEATURE_VALUE, FEATURE_VERSION, FEATURE_PROMOTION, ops.BOOKMARK],
)
def derive(run: Run) -> Metrics:
    """Compute, for each version in use and each of conf/features, the index dates that are new and
    those of people of whom the lake learnt something since."""
    floor, _ = _known(run.lake.read(FEATURE_EVENT))
    if floor is None:
        return {"version_count": 0, "written_count": 0}
    using, known = in_use(run), _definitions(run)
    groups = list(_due_groups(current_groups(run), using, known))
    counts = [_compute(run, group, floor) for group in groups]
    _describe(run, groups, known)
    first = {"promotion_number": 1, "action": "first", "decided_by": "derive"}
    why = {"why": "The first version of the group.", "decided_at": run.as_of}
    rows = [{**first, **why, **_named(g)} for g in groups if g.name not in using]
    if rows:
        run.lake.append_missing(FEATURE_PROMOTION, rows)
    return {"version_count": len(groups), "written_count": sum(counts)}


def _named(group: Group) -> dict[str, str]:
    return {"feature_group": group.name, "feature_version": version_of(group)}


def _due_groups(
    now: Mapping[str, Group], using: Mapping[str, Mapping[str, Any]], known: Definitions
) -> Iterator[Group]:
    """The groups of conf as they are now, and those in use as they were."""
    yield from now.values()
    wanted = {(name, row["feature_version"]) for name, row in using.items()}
    wanted -= {(group.name, version_of(group)) for group in now.values()}
    yield from (from_json(known[pair]["definition"]) for pair in sorted(wanted))


def current_groups(run: Run) -> dict[str, Group]:
    """The groups of conf/features with the codes of their classes."""
    groups = load_groups(conf_dir())
    classes = {c for group in groups.values() for s in group.series for c in s.classes}
    members: dict[int, list[str]] = {}
    if classes:
        below = run.lake.read(CONCEPT_ANCESTOR).filter(F.col("ancestor_concept_id").isin(*classes))
        codes = run.lake.read(CODE_MAP).filter("role = 'event'")
        found = codes.join(below, codes["concept_id"] == below["descendant_concept_id"])
        for row in found.select("ancestor_concept_id", "code").distinct().collect():
            members.setdefault(row["ancestor_concept_id"], []).append(row["code"])
    return {name: resolved(group, members) for name, group in groups.items()}


def definition(run: Run, group: str, version: str) -> Group:
    """The definition of a computed version; UsageError for one that is not."""
    return _meant(_definitions(run), group, version)


def _definitions(run: Run) -> Definitions:
    rows = run.lake.read(FEATURE_VERSION).collect()
    return {(row["feature_group"], row["feature_version"]): row.asDict() for row in rows}


def _meant(known: Definitions, group: str, version: str) -> Group:
    if (group, version) not in known:
        raise UsageError(f"{group} has no version {version}; run the job feature_store")
    return from_json(known[(group, version)]["definition"])


def in_use(run: Run) -> dict[str, Mapping[str, Any]]:
    """Group -> the last row of gold.feature_promotion: the version in use."""
    rows = sorted(
        (row.asDict() for row in run.lake.read(FEATURE_PROMOTION).collect()),
        key=lambda row: row["promotion_number"],
    )
    return {row["feature_group"]: row for row in rows}


def used_before(run: Run, group: str) -> str:
    """The version that was in use before the one in use; UsageError where there was none."""
    rows = run.lake.read(FEATURE_PROMOTION).filter(F.col("feature_group") == group).collect()
    ordered = sorted(rows, key=lambda row: row["promotion_number"])
    versions = [row["feature_version"] for row in ordered]
    earlier = [one for one in versions[:-1] if one != versions[-1]]
    if not earlier:
        raise UsageError(f"no other version of {group} was in use before")
    return earlier[-1]


def known_since(run: Run) -> datetime:
    """When the lake first held anything; UsageError before the first `collect`."""
    floor, _ = _known(run.lake.read(FEATURE_EVENT))
    if floor is None:
        raise UsageError("the feature store holds nothing yet; run the job feature_store")
    return floor


def promote(run: Run, row: Mapping[str, Any]) -> None:
    """Let a version come into use: one row, compare and set; UsageError where another process took
    the number."""
    if not run.lake.claim(FEATURE_PROMOTION, {**row, "decided_at": run.as_of}):
        raise UsageError("another run changed the version in use meanwhile; look, then try again")


def _compute(run: Run, group: Group, floor: datetime) -> int:
    """Bring one version up to the run; how many rows were written."""
    reader = f"feature-store {group.name} {version_of(group)}"
    read_to, since = run.lake.version(FEATURE_EVENT), bookmarks(run, reader)
    everything = moments.index_moments(
        run.lake.read(silver.SUBJECT), run.lake.read(silver.PATIENT), group, run.as_of, floor
    )
    mark = {FEATURE_EVENT.name: read_to}
    if not since:
        # Begun is noted first: an increment goes on from there, after the last date that stands.
        move_bookmarks(run, reader, mark)
        return _history(run, group, everything)
    done = _increment(run, group, everything, since[FEATURE_EVENT.name])
    if since != mark:
        move_bookmarks(run, reader, mark)
    return done


def _history(run: Run, group: Group, everything: DataFrame) -> int:
    """Compute a version from its first index date on, so many dates a commit."""
    events, done = run.lake.read(FEATURE_EVENT), 0
    start, end = everything.agg(F.min("index_date"), F.max("index_date")).collect()[0]
    while start is not None and start <= end:
        until = start + timedelta(days=group.every_days * DATES_A_COMMIT)
        dates = (F.col("index_date") >= F.lit(start)) & (F.col("index_date") < F.lit(until))
        rows = _valued(group, everything.filter(dates), events)
        span = f"index_date >= '{start}' AND index_date < '{until}'"
        done += run.lake.replace(FEATURE_VALUE, rows, f"{_where(group)} AND {span}").inserted
        start = until
    return done


def restate(run: Run, people: DataFrame) -> int:
    """Compute these people's (subject_key) values of each version there is again, up to the
    version's last index date; how many rows. The run's lake is restating them."""
    floor, _ = _known(run.lake.read(FEATURE_EVENT))
    if floor is None:
        return 0
    events = run.lake.read(FEATURE_EVENT).join(people, "subject_key", "left_semi")
    subjects = run.lake.read(silver.SUBJECT).join(people, "subject_key", "left_semi")
    patients, done = run.lake.read(silver.PATIENT), 0
    for row in _definitions(run).values():
        group = from_json(row["definition"])
        stored = run.lake.read(FEATURE_VALUE).filter(_where(group))
        last = stored.agg(F.max("index_date")).collect()[0][0]
        if last is not None:
            asked = moments.index_moments(subjects, patients, group, run.as_of, floor)
            rows = _valued(group, asked.filter(F.col("index_date") <= F.lit(last)), events)
            done += run.lake.replace(FEATURE_VALUE, rows, _where(group)).inserted
    return done


def _where(group: Group) -> str:
    named = _named(group).items()
    return " AND ".join(f"{column} = '{value}'" for column, value in named)


def _increment(run: Run, group: Group, everything: DataFrame, since: int) -> int:
    lake, stored = run.lake, run.lake.read(FEATURE_VALUE).filter(_where(group))
    changed = lake.changed(FEATURE_EVENT, since).select("subject_key").distinct()
    last = stored.agg(F.max("index_date")).collect()[0][0]
    newest = moments.last_index_date(run.as_of.date(), group.every_days)
    if last is not None and last >= newest and changed.isEmpty():
        return 0
    due = moments.due(everything, changed, last)
    theirs = lake.read(FEATURE_EVENT).join(due.select("subject_key"), "subject_key", "left_semi")
    gone = moments.outdated(stored, changed, everything).withColumns(
        {name: F.lit(value) for name, value in _named(group).items()}
    )
    rows = _valued(group, due, theirs).withColumn("is_gone", F.lit(False))
    both = rows.unionByName(gone.withColumn("is_gone", F.lit(True)), allowMissingColumns=True)
    done = lake.merge(FEATURE_VALUE, both, "is_gone")
    return done.inserted + done.updated + done.deleted


def _valued(group: Group, asked: DataFrame, events: DataFrame) -> DataFrame:
    found = as_maps(point_in_time(asked, events, group), group)
    named = {name: F.lit(value) for name, value in _named(group).items()}
    return found.withColumns(named).select(*FEATURE_VALUE.column_names)


def _describe(run: Run, groups: Sequence[Group], known: Definitions) -> None:
    """Keep the definitions; one of the same version but other words takes its place."""
    rows = []
    for group in groups:
        before = known.get((group.name, version_of(group)))
        if before is None or before["definition"] != as_json(group):
            made = before["made_at"] if before else run.as_of
            rows.append({**_named(group), "definition": as_json(group), "made_at": made})
    if rows:
        run.lake.upsert(FEATURE_VERSION, rows)


@task(
    reads=[
        *(FEATURE_VALUE, FEATURE_PROMOTION, FEATURE_VERSION, FEATURE_ABSENCE),
        FEATURE_VALIDATION,
    ]
)
def publish(run: Run) -> Metrics:
    """Put each person's latest values of the versions in use online, a group in one transaction,
    and remove people who left. A group that failed its validation keeps its last good values."""
    store, count, held = OnlineFeatures(online_place(run.lake.root, run.settings)), 0, 0
    absent = run.lake.read(FEATURE_ABSENCE).select("subject_key").distinct()
    store.forget(row["subject_key"] for row in absent.toLocalIterator())
    known = _definitions(run)
    for name, row in sorted(in_use(run).items()):
        version = row["feature_version"]
        if is_held(run.lake.read(FEATURE_VALIDATION), name, version):
            held += 1
            continue
        group = _meant(known, name, version)
        rows = _latest(run.lake.read(FEATURE_VALUE).filter(_where(group)))
        names = [feature.name for feature in group.features]
        told = (one.asDict() for one in rows.toLocalIterator())
        count += store.publish((name, version), names, run.as_of, told)
    store.close()
    return {"row_count": count, "held_count": held}


def _latest(values: DataFrame) -> DataFrame:
    """Each person's last row."""
    last = values.groupBy("subject_key").agg(F.max("index_date").alias("index_date"))
    found = values.join(last, ["subject_key", "index_date"])
    return found.select(
        *("subject_key", "index_date", "feature_values", "null_reasons"),
        F.unix_micros("known_at").alias("known_us"),
    )


@task(reads=[FEATURE_EVENT, FEATURE_VERSION], writes=[ops.ALERT_EVENT])
def check_reads(run: Run) -> Metrics:
    """Work logged online reads out again as of their moments; every feature that differs from what
    was served is an alert. At most 10,000 reads a run."""
    place = online_place(run.lake.root, run.settings)
    if isinstance(place, Path) and not place.is_file():
        return {"read_count": 0, "differing_count": 0}
    store = OnlineFeatures(place)
    reads = store.unchecked(_READS_CHECKED)
    found = reads_differing(run, [served for _, served in reads])
    emit(run, "feature_store", [_finding(run, *pair, n) for pair, n in sorted(found.items())])
    if reads:
        store.note_checked(reads[-1][0])
    store.close()
    return {"read_count": len(reads), "differing_count": sum(found.values())}


def reads_differing(run: Run, reads: list[Any]) -> dict[tuple[str, str], int]:
    """(Group, feature) -> reads whose value or reason is another one when worked out again."""
    versions = sorted({(one.feature_group, one.feature_version) for one in reads})
    events, known = run.lake.read(FEATURE_EVENT), _definitions(run)
    found = []
    for pair in versions:
        theirs = [r for r in reads if (r.feature_group, r.feature_version) == pair]
        found.append(differing(theirs, events, _meant(known, *pair)))
    if not found:
        return {}
    rows = reduce(DataFrame.unionByName, found).collect()
    return {(row["feature_group"], row["feature"]): row["read_count"] for row in rows}


def _finding(run: Run, group: str, feature: str, count: int) -> Finding:
    return Finding(
        kind="online_feature_differs",
        severity="critical",
        labels={"group": group, "feature": feature},
        value=float(count),
        threshold=0.0,
        message=f"{feature} of {group} was served with another value than offline in {count} "
        "reads; run the job feature_store, which publishes anew.",
        window_at=run.as_of,
    )
