"""Ten public Synthea patients in OMOP, without and with a vocabulary: made once for all tests."""

import shutil
from datetime import UTC, datetime

import pytest

from clinical_lakehouse.registry import task_named
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from tests.conftest import PUBLIC_DATA

INGESTION = ("land", "validate", "check-consent", "deidentify", "publish")
MAPPING = (
    *("map-codes", "map-places", "map-persons", "map-visits", "map-events"),
    *("build-eras", "describe-source"),
)


@pytest.fixture(scope="session")
def synthea_folder():
    """The public data, or the tests are skipped with the reason."""
    folder = PUBLIC_DATA / "synthea_r4_10"
    if not folder.exists():
        pytest.skip("public data synthea_r4_10 is not beside the checkout (CLINICAL_PUBLIC_DATA)")
    return folder


@pytest.fixture(scope="session")
def synthea_lake(spark, tmp_path_factory, synthea_folder) -> Lakehouse:
    """The ten patients in silver and, without a vocabulary, in OMOP."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("synthea") / "lake")
    _execute(lake, "patient-ingestion", INGESTION, landing=str(synthea_folder / "ndjson"))
    _execute(lake, "data-standardization", MAPPING)
    return lake


@pytest.fixture(scope="session")
def mapped_lake(spark, tmp_path_factory, synthea_lake) -> Lakehouse:
    """A copy of it standardised again with a vocabulary."""
    shard = PUBLIC_DATA / "omop_vocabulary_shard"
    if not shard.exists():
        pytest.skip("public data omop_vocabulary_shard is not beside the checkout")
    root = tmp_path_factory.mktemp("mapped") / "lake"
    shutil.copytree(synthea_lake.root, root)
    lake = Lakehouse(spark, root)
    _execute(lake, "vocabulary-load", ("load",), vocabulary=str(shard))
    _execute(lake, "data-standardization", MAPPING)
    return lake


def synthea_run(lake: Lakehouse, **params: str) -> Run:
    """A run on the patients' lake."""
    as_of = datetime(2024, 6, 30, tzinfo=UTC)
    return Run(lake, load_settings("dev", environ={}), as_of, "synthea", params)


def _execute(lake, job, names, **params):
    run = synthea_run(lake, **params)
    for name in names:
        task_named(f"{job}-{name}").execute(run)
