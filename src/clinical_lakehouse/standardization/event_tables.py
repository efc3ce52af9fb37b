"""The tables of events: what they are made of, and how routed events become their rows."""

from pyspark.sql import DataFrame

from clinical_lakehouse.standardization import routing
from clinical_lakehouse.standardization.clinical import SHAPES
from clinical_lakehouse.standardization.events import EVENT_TABLES
from clinical_lakehouse.standardization.routes import Routes
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.contract import Table
from clinical_lakehouse.tables.gold_standardization import CODE_MAP

INPUTS = (silver.PATIENT, silver.ENCOUNTER, silver.PRACTITIONER, *EVENT_TABLES, CODE_MAP)
OUTPUTS = tuple(table for table, _ in SHAPES.values())


def shaped(table: Table, found: DataFrame, routes: Routes, links: DataFrame) -> DataFrame:
    """Rows of an OMOP table from the routed events that reach it."""
    _, shape = SHAPES[table.name]
    linked = routing.with_visits(found, links)
    return shape(routing.with_value_concepts(linked, routes.code_map))
