"""Gives each event its concepts, its OMOP table by the concept's domain, its date and its key."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.standardization.concepts import ALLERGY_TO, concept_or_zero
from clinical_lakehouse.standardization.keys import hashed_key

# Domain of a standard concept -> table. Domains without a table here go to observation, which
# OHDSI keeps for what fits nowhere else.
_TABLES = {
    "Condition": "condition_occurrence",
    "Drug": "drug_exposure",
    "Procedure": "procedure_occurrence",
    "Measurement": "measurement",
    "Observation": "observation",
    "Device": "device_exposure",
    "Specimen": "specimen",
}
# Records that say something was not done, is only planned, or was a mistake.
NOT_HAPPENED = (
    *("entered-in-error", "not-done", "cancelled", "planned", "preparation", "draft"),
    *("refuted", "potential", "intended"),
)
_ALLERGY_DOMAINS = ("Observation", "Condition")
_UNPLACED = ("source_table", "source_key", "component_index", "subject_key", "reason")


def routed(events: DataFrame, code_map: DataFrame, unplaced_persons: DataFrame) -> DataFrame:
    """Events with concept_id, target_table, start_date, omop_key and reason.

    One row per event and standard concept it maps to. `reason` says why an event has no place: such
    an event stands once.
    """
    coded = _with_event_concept(events, code_map)
    dated = _with_person(coded, unplaced_persons).withColumn("start_date", F.to_date("started_at"))
    index = F.coalesce("map_index", F.lit(0))
    reasoned = dated.withColumn("map_index", index).withColumn("reason", _reason())
    once = reasoned.filter("reason IS NULL OR map_index = 0")
    return once.withColumn("target_table", _target()).withColumn("omop_key", omop_key())


def possible_keys(events: DataFrame, code_map: DataFrame) -> DataFrame:
    """target_table and omop_key of every OMOP row that these events can have, whatever speaks
    against their place."""
    coded = _with_event_concept(events, code_map)
    indexed = coded.withColumn("map_index", F.coalesce("map_index", F.lit(0)))
    return indexed.select(_target().alias("target_table"), omop_key().alias("omop_key"))


def with_value_concepts(events: DataFrame, code_map: DataFrame) -> DataFrame:
    """Routed events with the concepts of their coded value, unit, route and body site.

    An allergy coded by its substance becomes the kind of allergy, with the substance as value.
    """
    maps = code_map.filter("map_index = 0")
    valued = _with_role(events, maps, "value", "value_system")
    with_unit = _with_role(valued, maps, "unit")
    with_route = _with_role(with_unit, maps, "route")
    return _allergies(_with_role(with_route, maps, "site", "site_code_system"))


def with_visits(events: DataFrame, links: DataFrame) -> DataFrame:
    """Events with the visit, the part of it, and the provider, of their encounter: null where there
    is none. `links` comes from visits.links."""
    same = F.col("encounter_key") == F.col("visit_link_key")
    return events.join(links, same, "left").drop("visit_link_key")


def with_visit_dates(events: DataFrame, encounters: DataFrame) -> DataFrame:
    """Events without a time take the start of their visit, those outside of visits none."""
    visits = encounters.select(
        "encounter_key", F.coalesce("started_at", "ended_at").alias("visit_at")
    )
    joined = events.join(visits, "encounter_key", "left")
    dated = joined.withColumn("started_at", F.coalesce("started_at", "visit_at"))
    return dated.select(*events.columns)


def unplaced(events: DataFrame) -> DataFrame:
    """gold.unplaced_record: routed events that have no place, with the reason."""
    return events.filter("reason IS NOT NULL").select(*_UNPLACED)


def survey(events: DataFrame) -> DataFrame:
    """One row per source, target and reason: event_count (of silver), row_count (of OMOP)."""
    grouped = events.groupBy("source_table", "target_table", "reason")
    first = F.count_if(F.col("map_index") == 0)
    return grouped.agg(first.alias("event_count"), F.count(F.lit(1)).alias("row_count"))


def omop_key() -> Column:
    """An event's key: the silver key for the record itself and its first concept, else a hash of
    source_table, source_key, component_index and map_index."""
    parts = ("source_table", "source_key", "component_index", "map_index")
    is_first = (F.col("component_index") == 0) & (F.col("map_index") == 0)
    return F.when(is_first, F.col("source_key")).otherwise(hashed_key(*parts))


def _with_event_concept(events: DataFrame, code_map: DataFrame) -> DataFrame:
    own = code_map.filter("role = 'event'").select(
        *("source_table", "code_system", "code"),
        *("map_index", "source_concept_id", "concept_id", "domain_id"),
        F.col("value_concept_id").alias("implied_value_concept_id"),
    )
    same = {name: name for name in ("source_table", "code_system", "code")}
    return _joined(events, own, same)


def _with_role(
    events: DataFrame, maps: DataFrame, role: str, system: str | None = None
) -> DataFrame:
    ours = maps.filter(F.col("role") == role).select(
        *("source_table", "code", *(("code_system",) if system else ())),
        F.col("concept_id").alias(f"{role}_concept_id"),
        F.col("source_concept_id").alias(f"{role}_source_concept_id"),
    )
    same = {"source_table": "source_table", f"{role}_code": "code"}
    return _joined(events, ours, {**same, system: "code_system"} if system else same)


def _joined(events: DataFrame, maps: DataFrame, same: Mapping[str, str]) -> DataFrame:
    """Left join of the small map; what was not sent stands in it as an empty text."""
    keys = {theirs: f"_key_{number}" for number, theirs in enumerate(same.values())}
    renamed = maps.withColumnsRenamed(keys)
    pairs = zip(same, keys.values(), strict=True)
    condition = [F.coalesce(F.col(mine), F.lit("")) == F.col(key) for mine, key in pairs]
    return events.join(F.broadcast(renamed), condition, "left").drop(*keys.values())


def _allergies(events: DataFrame) -> DataFrame:
    is_substance = _is_allergy() & ~F.col("domain_id").isin(*_ALLERGY_DOMAINS)
    by_category = concept_or_zero("category_code", ALLERGY_TO)
    told = F.coalesce("value_concept_id", "implied_value_concept_id")
    value = F.when(is_substance, F.col("concept_id")).otherwise(told)
    event = F.when(is_substance, by_category).otherwise(F.col("concept_id"))
    return events.withColumns({"value_concept_id": value, "concept_id": event})


def _is_allergy() -> Column:
    return F.col("source_table") == "silver.allergy_intolerance"


def _with_person(events: DataFrame, unplaced_persons: DataFrame) -> DataFrame:
    lost = unplaced_persons.select(
        F.col("subject_key").alias("_lost_key"), F.lit(True).alias("is_person_unplaced")
    )
    same = F.col("subject_key") == F.col("_lost_key")
    return events.join(F.broadcast(lost), same, "left").drop("_lost_key")


def _reason() -> Column:
    return (
        F.when(F.col("status").isin(*NOT_HAPPENED), "not_happened")
        .when(F.col("is_person_unplaced"), "person_unplaced")
        .when(F.col("start_date").isNull(), "undated")
    )


def _target() -> Column:
    """By the domain of the standard concept, else by the FHIR type. An allergy's substance is
    nothing the person was given."""
    pairs = [F.lit(item) for pair in _TABLES.items() for item in pair]
    by_domain = F.coalesce(F.create_map(*pairs)[F.col("domain_id")], F.lit("observation"))
    is_substance = _is_allergy() & ~F.col("domain_id").isin(*_ALLERGY_DOMAINS)
    return (
        F.when(is_substance, F.lit("observation"))
        .when(F.col("domain_id").isNotNull(), by_domain)
        .otherwise(F.col("fallback_table"))
    )
