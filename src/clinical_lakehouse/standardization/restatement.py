"""The job restatement, in the middle: OMOP of the marked people from silver."""

from clinical_lakehouse.runtime.bookmarks import bookmarks, move_bookmarks
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.standardization import data_standardization as steps
from clinical_lakehouse.standardization.event_tables import OUTPUTS
from clinical_lakehouse.standardization.events import EVENT_TABLES
from clinical_lakehouse.standardization.routes import received
from clinical_lakehouse.tables.gold_standardization import (
    GONE_ROW,
    RESTATED_PERSON,
    RESTATED_RECORD,
    VOCABULARY_CHANGE,
)
from clinical_lakehouse.tables.omop_records import NOTE

# The ordinary steps whose tables follow from silver alone, in the order of their job.
_BEFORE = (steps.map_codes, steps.map_places, steps.map_persons, steps.map_visits)
_AFTER = (steps.build_eras, steps.standardize_units)
_STEPS = (*_BEFORE, steps.map_events, *_AFTER)
_READS = {table.name: table for step in _STEPS for table in step.reads}
# Tables in which increments note what they did, and one that nothing feeds, are not written.
_NOT_WRITTEN = (NOTE, VOCABULARY_CHANGE, RESTATED_RECORD, GONE_ROW)
_WRITES = {t.name: t for step in _STEPS for t in step.writes if t not in _NOT_WRITTEN}


@task(reads=[*_READS.values(), RESTATED_PERSON], writes=list(_WRITES.values()))
def standardize(run: Run) -> Metrics:
    """Let the steps of data_standardization make OMOP, and of what they make write the rows of the
    marked people and those of codes, places and units that differ."""
    people = run.lake.read(RESTATED_PERSON).select("subject_key")
    restating = run.with_lake(run.lake.restating(people))
    seen, before = bookmarks(run, steps.EVENTS_READER), _versions(run)
    done = [step.function(restating) for step in _BEFORE]
    done.append(steps.map_all(restating, received(run.lake.read, EVENT_TABLES)))
    done += [step.function(restating) for step in _AFTER]
    if all(seen.get(name) == version for name, version in before.items()):
        # They were the reader's own and are again; what silver has of others is still to be read.
        move_bookmarks(run, steps.EVENTS_READER, seen | _versions(run))
    return {name: value for metrics in done for name, value in metrics.items()}


def _versions(run: Run) -> dict[str, int]:
    return {table.name: run.lake.version(table) for table in OUTPUTS}
