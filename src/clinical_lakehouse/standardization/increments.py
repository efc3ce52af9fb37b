"""What an increment makes anew: the records that changed, and those that hang on what changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization import routing, vocabulary_change
from clinical_lakehouse.standardization.events import Reader, all_events, together
from clinical_lakehouse.standardization.persons import lost_persons
from clinical_lakehouse.standardization.visits import with_inner
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import RESTATED_RECORD

RECORD = RESTATED_RECORD.key


@dataclass(frozen=True)
class Increment:
    """Silver as it is (`read`) and its `changes` since the versions `seen`, of which OMOP was last
    made; `moved` names the tables written since."""

    read: Reader
    changes: Callable[[Table, int], DataFrame]
    seen: Mapping[str, int]
    moved: frozenset[str]

    def records(self, changed_codes: DataFrame) -> DataFrame:
        """Records (source_table, source_key) that changed, whose visit, provider or person's place
        changed, or that hold one of the changed codes."""
        events = all_events(self.read)
        persons = self._persons()
        found = [*self._own(), *self._hanging(events, "subject_key", persons)]
        found += self._hanging(events, "encounter_key", self._encounters(persons))
        if not changed_codes.isEmpty():
            found += vocabulary_change.holding(events, changed_codes)
        rows = [rows.select(*RECORD) for rows in found]
        return reduce(DataFrame.union, rows, self.read(RESTATED_RECORD).limit(0)).distinct()

    def old_keys(self, events: Mapping[str, DataFrame], code_map: DataFrame) -> DataFrame:
        """Keys (target_table, omop_key) that OMOP may hold of these `events` and of all that their
        records were since, under the code map of that time."""
        before = all_events(self.changed)
        return routing.possible_keys(
            together([*events.values(), *before.values()]), code_map
        ).distinct()

    def changed(self, table: Table) -> DataFrame:
        """The table's rows that came, went or changed, as they were and as they are."""
        return self.changes(table, self.seen[table.name])

    def is_silver_changed(self) -> bool:
        """Has any silver table been written since?"""
        return any(name.startswith("silver.") for name in self.moved)

    def _has_moved(self, table: Table) -> bool:
        return table.name in self.moved

    def _own(self) -> list[DataFrame]:
        """Changed events; a device changes with the statements of its use."""
        device = (F.lit(silver.DEVICE.name), F.col("device_key"))
        uses = self.changed(silver.DEVICE_USE).select(
            *(column.alias(name) for column, name in zip(device, RECORD, strict=True))
        )
        return [*all_events(self.changed).values(), uses]

    def _encounters(self, persons: DataFrame | None) -> DataFrame | None:
        """Keys of encounters that changed, that are inside one that did, whose practitioner's
        resource has come or gone, or that are of these `persons`."""
        read, found = self.read, []
        if self._has_moved(silver.ENCOUNTER):
            found.append(self.changed(silver.ENCOUNTER).select("encounter_key"))
        if self._has_moved(silver.PRACTITIONER):
            staff = self.changed(silver.PRACTITIONER).select("practitioner_key").distinct()
            theirs = read(silver.ENCOUNTER).join(
                F.broadcast(staff), "practitioner_key", "left_semi"
            )
            found.append(theirs.select("encounter_key"))
        if persons is not None:
            theirs = read(silver.ENCOUNTER).join(persons, "subject_key", "left_semi")
            found.append(theirs.select("encounter_key"))
        if not found:
            return None
        keys = reduce(DataFrame.union, found).distinct()
        return with_inner(keys, read(silver.ENCOUNTER))

    def _persons(self) -> DataFrame | None:
        """Keys of changed people who have no place in OMOP, or had none."""
        if not self._has_moved(silver.PATIENT):
            return None
        lost = lost_persons(self.changed(silver.PATIENT)).select("subject_key").distinct()
        return None if lost.isEmpty() else lost

    def _hanging(
        self, events: Mapping[str, DataFrame], name: str, keys: DataFrame | None
    ) -> list[DataFrame]:
        if keys is None:
            return []
        return [rows.join(F.broadcast(keys), name, "left_semi") for rows in events.values()]


def of_records(events: Mapping[str, DataFrame], records: DataFrame) -> dict[str, DataFrame]:
    """By source table the events of these records; none of other tables."""
    names = {row[0] for row in records.select("source_table").distinct().collect()}
    chosen = {name: records.filter(F.col("source_table") == name) for name in sorted(names)}
    return {
        name: events[name].join(F.broadcast(keys), list(RECORD), "left_semi")
        for name, keys in chosen.items()
    }


def with_gone(rows: DataFrame, gone: DataFrame) -> DataFrame:
    """A table's new `rows` and the keys of rows that are `gone`, marked by `is_gone`."""
    marked = rows.withColumn("is_gone", F.lit(False))
    return marked.unionByName(gone.withColumn("is_gone", F.lit(True)), allowMissingColumns=True)
