"""An encounter is complete once every linked type has been loaded up to its export time."""

import json
from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.features import events
from clinical_lakehouse.ingestion import data_completeness
from clinical_lakehouse.ingestion.completeness import completeness, export_times, loaded_until
from clinical_lakehouse.ingestion.landing import find, survey
from clinical_lakehouse.ingestion.manifests import (
    manifests_of,
    missing_files,
    rows_of_manifests,
    with_times,
)
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.bronze import FHIR_RESOURCE
from tests.builders import rows
from tests.ingestion.chain import AS_OF, new_lake

LINKED = ("Condition", "Observation")


def _manifest(day, *files, asked=""):
    output = [{"type": name.split(".")[0], "url": f"https://x.org/f/{name}"} for name in files]
    request = f"https://x.org/fhir/$export?_type={asked}"
    return {"transactionTime": f"2024-06-0{day}T00:00:00Z", "request": request, "output": output}


MANIFESTS = {
    # A whole export; that there are no conditions is known, because they were asked for.
    "1": _manifest(1, "Patient.0", "Encounter.0", asked="Patient,Encounter,Condition"),
    "2": _manifest(2, "Encounter.0", "Observation.0", "Observation.1", asked="Condition"),
}
# The files that came, day by day, and what each encounter then lacks.
DAYS = (
    ({"1/Patient.0": (), "1/Encounter.0": ("e1",)}, {"e1": ["Observation"]}),
    (
        # One file of observations has not come yet.
        {"2/Encounter.0": ("e1", "e2"), "2/Observation.0": ()},
        {"e1": ["Observation"], "e2": ["Observation"]},
    ),
    ({"2/Observation.1": ()}, {"e1": [], "e2": []}),
    # A file without a manifest is as new as the run that takes it.
    ({"Encounter.3": ("e3",)}, {"e1": [], "e2": [], "e3": list(LINKED)}),
)


@pytest.fixture(scope="module")
def landing(tmp_path_factory):
    """A landing folder with the manifests, and with one of their files."""
    folder = tmp_path_factory.mktemp("landing")
    for name, said in MANIFESTS.items():
        (folder / name).mkdir()
        (folder / name / "manifest.json").write_text(json.dumps(said))
    (folder / "2" / "Observation.1.ndjson.gz").touch()
    return folder


def _manifests(landing):
    return manifests_of(landing, find(landing).ignored)


def test_manifest_dates_its_files_and_names_those_that_have_not_come(landing):
    manifests = _manifests(landing)
    assert missing_files(manifests.values(), find(landing).names) == [
        "1/Encounter.0",
        "1/Patient.0",
        "2/Encounter.0",
        "2/Observation.0",
    ]
    (landing / "2" / "Observation.1.json").touch()
    file = survey(landing, "2/Observation.1.json")
    (timed,) = with_times([file], manifests)
    assert timed.chunks[0].exported_at == "2024-06-02T00:00:00+00:00"
    (landing / "2" / "Observation.1.json").unlink()


@pytest.mark.parametrize("said", ["{", "[]", '{"output": 1}', '{"transactionTime": "noon"}'])
def test_what_is_no_manifest_yet_is_left_alone(tmp_path, said):
    (tmp_path / "manifest.json").write_text(said)
    assert manifests_of(tmp_path, ["manifest.json"]) == {}


def _files(lake, days):
    """Ledger and Encounter rows of bronze after so many days."""
    ledger, resources = [], []
    for day, (files, _) in enumerate(DAYS[:days]):
        for name, encounters in files.items():
            kind, at = name.split("/")[-1].split(".")[0], AS_OF + timedelta(days=day)
            file = {"file_id": name, "file_name": f"{name}.ndjson", "resource_type": kind}
            ledger.append({**file, "received_at": at})
            resources += [{**file, "status": "valid", "resource_id": e} for e in encounters]
    return rows(lake, ops.LANDING_FILE, *ledger), rows(lake, FHIR_RESOURCE, *resources)


@pytest.mark.parametrize("days", [1, 2, 3, 4])
def test_late_type_flips_the_flag_and_a_late_file_does_too(lake, landing, days):
    files, bronze = _files(lake, days)
    manifests = rows(lake, ops.LANDING_MANIFEST, *rows_of_manifests(_manifests(landing), AS_OF))
    if days == 1:
        manifests = manifests.filter("folder = '1'")
    times, until = export_times(files, manifests), loaded_until(files, manifests)
    found = completeness(bronze, times, until, LINKED, lambda _, id_: id_).collect()
    assert {row.encounter_key: row.missing_types for row in found} == DAYS[days - 1][1]
    assert all(row.is_complete == (not row.missing_types) for row in found)


@pytest.mark.soak
def test_task_writes_once_what_features_may_leave_out(spark, tmp_path):
    lake = new_lake(spark, tmp_path / "lake")
    files, bronze = _files(lake, 4)
    lake.append(ops.LANDING_FILE, files)
    lake.append(FHIR_RESOURCE, bronze)
    pseudonym = vault_keys(_run(lake), may_make=True).pseudonym
    key = surrogate_key(pseudonym, "Encounter", F.col("resource_id")).alias("key")
    known = bronze.filter("resource_id IN ('e1', 'e3')").select(key).distinct().collect()
    visits = [{"encounter_key": row.key} for row in known]  # e2 may not be used
    lake.append(silver.ENCOUNTER, rows(lake, silver.ENCOUNTER, *visits))
    said = data_completeness.assess_encounters.execute(_run(lake))
    # Without manifests a file is as new as its run: e3 came after the last observations.
    assert said == {"encounters_complete": 1, "encounters_incomplete": 1}
    before = lake.version(silver.ENCOUNTER_COMPLETENESS)
    data_completeness.assess_encounters.execute(_run(lake))
    assert lake.version(silver.ENCOUNTER_COMPLETENESS) == before
    judged = lake.read(silver.ENCOUNTER_COMPLETENESS)
    assert events.only_complete(lake.read(silver.ENCOUNTER), judged).count() == 1


def _run(lake):
    settings = load_settings("dev", environ={})
    of = settings.completeness.model_copy(update={"linked_types": ("Observation",)})
    return Run(lake, settings.model_copy(update={"completeness": of}), AS_OF, "run")
