"""What a restatement will do, said before it does it: tables in order, rows, people, seconds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.restated_scope import Part
from clinical_lakehouse.ingestion.restatement import scope
from clinical_lakehouse.local.bundle import Bundle
from clinical_lakehouse.local.graph import in_order
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.task import Task
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.views import silver_views

JOB = "restatement"
_LAYERS = ("silver", "omop", "gold")
_OWN = ("gold.restated_person",)
_TYPES = {view.table.name: view.resource for view in silver_views()}


@dataclass(frozen=True)
class Step:
    """A table that is brought to what its sources say: the task that does it, which rows of it are
    compared (of the part's `people`, `resources`, or `all`), how many stand there now, and how many
    keys that may touch."""

    task: str
    table: str
    compared: str
    row_count: int
    key_count: int


@dataclass(frozen=True)
class RestatementPlan:
    """The plan of one part: its id, steps in order, seconds each task took of late (None where the
    ledger knows no run), and tables made of these that other jobs must bring up themselves."""

    plan_id: str
    resource_count: int
    person_count: int
    steps: tuple[Step, ...]
    seconds: Mapping[str, float | None]
    left: tuple[str, ...]


def plan_restatement(
    run: Run, part: Part, bundle: Bundle, tasks: Mapping[str, Task]
) -> RestatementPlan:
    """Look at the lake, change nothing; UsageError where bronze holds nothing of the part."""
    resources, people = scope(run, part)
    found = {row[0]: row[1] for row in resources.groupBy("resource_type").count().collect()}
    if not found:
        raise UsageError("bronze holds no valid resource of that part; check the key, file or date")
    job = bundle.job(JOB)
    order = [(key, tasks[job.tasks[key].entry_point]) for key in in_order(job.edges)]
    persons = people.count()
    steps = tuple(
        _step(run.lake, key, table, found, people if persons else None)
        for key, task in order
        for table in task.writes
        if _is_due(run.lake, table, found, part)
    )
    seconds = {key: _seconds(run.lake, task, tasks) for key, task in order}
    left = tuple(sorted(_left(run.lake, {step.table for step in steps}, tasks)))
    return RestatementPlan(
        part.plan_id(resources), sum(found.values()), persons, steps, seconds, left
    )


def _is_due(lake: Lakehouse, table: Table, found: Mapping[str, int], part: Part) -> bool:
    if table.schema_name not in _LAYERS or table.name in _OWN or lake.version(table) < 1:
        return False
    if table.name in _TYPES:
        is_personal = part.is_of_whole_people and table.person_column is not None
        return _TYPES[table.name] in found or is_personal
    return True


def _step(
    lake: Lakehouse, task: str, table: Table, found: Mapping[str, int], people: DataFrame | None
) -> Step:
    rows, column = lake.read(table), table.person_column
    if column is None or people is None:
        if table.name in _TYPES:
            return Step(task, table.name, "resources", rows.count(), found[_TYPES[table.name]])
        return Step(task, table.name, "all", (count := rows.count()), count)
    keys = people.select(F.col("subject_key").alias(column))
    theirs = rows.join(keys, column, "left_semi").agg(
        F.count(F.lit(1)), F.count_distinct(*table.key)
    )
    return Step(task, table.name, "people", *theirs.collect()[0])


def _seconds(lake: Lakehouse, task: Task, tasks: Mapping[str, Task]) -> float | None:
    """What the task took of late or, where it never ran, what those took that write its tables."""
    ended = lake.read(ops.TASK_RUN).filter("state = 'success' AND duration_seconds IS NOT NULL")
    taken: dict[str, list[float]] = {}
    for row in ended.select("entry_point", "duration_seconds").collect():
        taken.setdefault(row["entry_point"], []).append(row["duration_seconds"])
    if task.name in taken:
        return median(taken[task.name])
    own = {table.name for table in task.writes if table.schema_name in _LAYERS}
    others = [o for o in tasks.values() if own & {t.name for t in o.writes} and o.name in taken]
    return sum(median(taken[other.name]) for other in others) if own and others else None


def _left(lake: Lakehouse, restated: set[str], tasks: Mapping[str, Task]) -> Iterator[str]:
    """Gold tables that are made of restated ones by tasks outside of the plan."""
    for task in tasks.values():
        if restated & {table.name for table in task.reads}:
            for table in task.writes:
                is_left = table.schema_name == "gold" and table.name not in (*restated, *_OWN)
                if is_left and lake.exists(table):
                    yield table.name
