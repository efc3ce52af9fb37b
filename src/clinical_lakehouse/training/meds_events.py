"""OMOP as MEDS events: who did or had what, when, with which value and unit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

BIRTH, DEATH = "MEDS_BIRTH", "MEDS_DEATH"
_TRAIN, _TUNING = 8, 1  # tenths of the subjects; the rest is held out


@dataclass(frozen=True)
class _Source:
    """A table of dated concepts: which column says what and when; `end` makes an event of its own,
    `value` and `unit` belong to the event."""

    table: str
    concept: str
    raw: str
    date: str
    datetime: str
    end: tuple[str, str] | None = None
    value: str | None = None
    unit: str | None = None


def _source(table: str, name: str, start: str, **more: object) -> _Source:
    stem = f"{start}_start" if more.pop("spans", True) else start
    return _Source(
        table,
        f"{name}_concept_id",
        f"{name}_source_value",
        f"{stem}_date",
        f"{stem}_datetime",
        **more,  # type: ignore[arg-type]
    )


_SOURCES = (
    _source("visit_occurrence", "visit", "visit", end=("visit_end_date", "visit_end_datetime")),
    _source("condition_occurrence", "condition", "condition"),
    _source("drug_exposure", "drug", "drug_exposure"),
    _source("procedure_occurrence", "procedure", "procedure", spans=False),
    _source("device_exposure", "device", "device_exposure"),
    _source(
        *("measurement", "measurement", "measurement"),
        spans=False,
        value="value_as_number",
        unit="unit_source_value",
    ),
    _source(
        *("observation", "observation", "observation"),
        spans=False,
        value="value_as_number",
        unit="unit_source_value",
    ),
)
TABLES = ("person", "death", "concept", *(source.table for source in _SOURCES))


def meds_events(cdm: Mapping[str, DataFrame]) -> DataFrame:
    """One row per event: subject_id, time (null for what does not change), code, numeric_value,
    unit. A code is `<vocabulary>/<code>` of the standard concept, `//END` where a visit ends, and
    `UNMAPPED/<table>//<code as sent>` where there is none. `cdm` holds TABLES by name."""
    names = _named(cdm["concept"])
    parts = [*_people(cdm["person"], names), _deaths(cdm["death"])]
    for source in _SOURCES:
        parts += list(_of_table(cdm[source.table], source, names))
    return reduce(DataFrame.unionByName, parts)


def subject_splits(events: DataFrame) -> DataFrame:
    """One row per subject: eight tenths train, one tuning, the rest held out, by a hash of the
    subject, so that a subject stays where it is when others come."""
    tenth = F.pmod(F.xxhash64("subject_id"), F.lit(10))
    split = F.when(tenth < _TRAIN, "train").when(tenth < _TRAIN + _TUNING, "tuning")
    return events.select("subject_id").distinct().withColumn("split", split.otherwise("held_out"))


def code_metadata(events: DataFrame, concepts: DataFrame) -> DataFrame:
    """One row per code that occurs: its description, and no parents: omop.concept_ancestor has
    them."""
    named = _named(concepts).select("code", "description")
    plain = events.select("code").distinct()
    root = F.regexp_replace("code", "//END$", "")
    told = plain.withColumn("_root", root).join(
        named.withColumnRenamed("code", "_root").dropDuplicates(["_root"]), "_root", "left"
    )
    parents = F.lit(None).cast("array<string>").alias("parent_codes")
    return told.select("code", "description", parents)


def _named(concepts: DataFrame) -> DataFrame:
    """concept_id, code and description of every concept."""
    code = F.concat_ws("/", "vocabulary_id", "concept_code")
    return concepts.filter("concept_id <> 0").select(
        F.col("concept_id").alias("_concept"), code.alias("code"),
        F.col("concept_name").alias("description"),
    )  # fmt: skip


def _people(persons: DataFrame, names: DataFrame) -> Iterator[DataFrame]:
    """What does not change, and birth: in the middle of the year, for the lake knows no more."""
    for what in ("gender", "race", "ethnicity"):
        static = persons.select(
            F.col("person_id").alias("subject_id"),
            F.col(f"{what}_concept_id").alias("_concept"),
            F.lit(None).cast("timestamp").alias("time"),
        )
        yield _shaped(static.join(names, "_concept"))
    middle = F.make_date("year_of_birth", F.lit(7), F.lit(1)).cast("timestamp")
    born = persons.select(
        F.col("person_id").alias("subject_id"), middle.alias("time"), F.lit(BIRTH).alias("code")
    )
    yield _shaped(born)


def _deaths(deaths: DataFrame) -> DataFrame:
    time = F.coalesce("death_datetime", F.col("death_date").cast("timestamp"))
    return _shaped(
        deaths.select(
            F.col("person_id").alias("subject_id"), time.alias("time"), F.lit(DEATH).alias("code")
        )
    )


def _of_table(rows: DataFrame, source: _Source, names: DataFrame) -> Iterator[DataFrame]:
    known = rows.withColumn("_concept", F.col(source.concept)).join(names, "_concept", "left")
    raw = F.concat(F.lit(f"UNMAPPED/{source.table}//"), F.coalesce(source.raw, F.lit("")))
    coded = known.withColumn("code", F.coalesce("code", raw))
    value = F.col(source.value) if source.value else F.lit(None)
    unit = F.col(source.unit) if source.unit else F.lit(None)
    yield _at(coded, source.date, source.datetime, (F.col("code"), value, unit))
    if source.end:
        ended = F.concat("code", F.lit("//END"))
        yield _at(coded, *source.end, (ended, F.lit(None), F.lit(None)))


def _at(
    rows: DataFrame, date: str, datetime: str, what: tuple[Column, Column, Column]
) -> DataFrame:
    code, value, unit = what
    time = F.coalesce(F.col(datetime), F.col(date).cast("timestamp"))
    made = rows.select(
        F.col("person_id").alias("subject_id"),
        time.alias("time"),
        code.alias("code"),
        value.cast("double").alias("numeric_value"),
        unit.cast("string").alias("unit"),
    )
    return _shaped(made.filter("time IS NOT NULL"))


def _shaped(rows: DataFrame) -> DataFrame:
    """The columns of an event; what a source does not have is null."""
    have = set(rows.columns)
    value = F.col("numeric_value") if "numeric_value" in have else F.lit(None).cast("double")
    unit = F.col("unit") if "unit" in have else F.lit(None).cast("string")
    return rows.select(
        F.col("subject_id").cast("bigint").alias("subject_id"),
        F.col("time").cast("timestamp_ntz").alias("time"),
        "code",
        value.alias("numeric_value"),
        unit.alias("unit"),
    )
