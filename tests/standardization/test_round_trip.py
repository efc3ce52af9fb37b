"""Silver to FHIR, into a second lake, to OMOP: the same CDM but for its keys."""

from dataclasses import replace

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.operators.fhir_transformer import FHIRTransformer
from clinical_lakehouse.registry import task_named
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import omop_clinical as cdm
from tests.standardization.conftest import INGESTION, MAPPING, synthea_run

TABLES = (
    cdm.PERSON,
    cdm.OBSERVATION_PERIOD,
    cdm.VISIT_OCCURRENCE,
    cdm.CONDITION_OCCURRENCE,
    cdm.DRUG_EXPOSURE,
    cdm.PROCEDURE_OCCURRENCE,
    cdm.MEASUREMENT,
    cdm.OBSERVATION,
    cdm.DEATH,
)
# Named *_source_value, and yet keys of the lake.
_KEYS = ("person_source_value", "visit_source_value", "specimen_source_id")


def _without_keys(lake, table):
    """The table's rows as text, each key as whether there is one."""
    cells = [
        F.col(c.name).isNotNull().alias(c.name)
        if c.type == "BIGINT" or c.name in _KEYS
        else F.col(c.name)
        for c in table.columns
    ]
    return sorted(str(row) for row in lake.read(table).select(*cells).collect())


@pytest.mark.soak
def test_synthea_exported_and_ingested_again_gives_the_same_cdm(spark, synthea_lake, tmp_path):
    run = synthea_run(synthea_lake)
    out = tmp_path / "export"
    FHIRTransformer(out, "ndjson", agreement="DUA-7").execute(run)
    other = synthea_run(Lakehouse(spark, tmp_path / "lake"), landing=str(out))
    limited = {"hipaa_compliance_mode": "limited", "data_use_agreement": "DUA-7"}
    privacy = other.settings.privacy.model_copy(update=limited)
    settings = other.settings.model_copy(update={"privacy": privacy})
    for job, names in (("patient-ingestion", INGESTION), ("data-standardization", MAPPING)):
        for name in names:
            task_named(f"{job}-{name}").execute(replace(other, settings=settings))
    for table in TABLES:
        expected = _without_keys(synthea_lake, table)
        assert _without_keys(other.lake, table) == expected, table.name
