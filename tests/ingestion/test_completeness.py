"""An encounter is complete once every linked type has been loaded up to its export time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from clinical_lakehouse.features import events
from clinical_lakehouse.ingestion import data_completeness
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import ops, silver
from tests.ingestion.chain import AS_OF, ingest, new_lake, write_lines
from tests.ingestion.test_increments import _measurement, _patient

LINKED = ("Condition", "Observation")


def _encounter(name):
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/anna"},
    }


def _manifest(at, *files, asked=""):
    output = [{"type": name.split(".")[0], "url": f"https://x.org/{name}"} for name in files]
    request = f"https://x.org/fhir/$export?_type={asked}"
    return {"transactionTime": f"2024-06-{at}T00:00:00Z", "request": request, "output": output}


# What arrives, day by day, and which encounters then lack which types.
DAYS = (
    (
        # A whole export; that there are no conditions is known, because they were asked for.
        {
            "1/manifest.json": [
                _manifest("01", "Patient.0", "Encounter.0", asked="Patient,Encounter,Condition")
            ],
            "1/Patient.0.ndjson": [_patient("anna")],
            "1/Encounter.0.ndjson": [_encounter("e1")],
        },
        {"e1": ["Observation"]},
    ),
    (
        # An export of which one file of observations has not come yet.
        {
            "2/manifest.json": [
                _manifest("02", "Encounter.0", "Observation.0", "Observation.1", asked="Condition")
            ],
            "2/Encounter.0.ndjson": [_encounter("e2"), {**_encounter("e1"), "status": "arrived"}],
            "2/Observation.0.ndjson": [_measurement("o1", "anna", 1)],
        },
        {"e1": ["Observation"], "e2": ["Observation"]},
    ),
    ({"2/Observation.1.ndjson.gz": []}, {"e1": [], "e2": []}),
    # A file without a manifest is as new as the run that takes it.
    ({"3.ndjson": [_encounter("e3")]}, {"e1": [], "e2": [], "e3": list(LINKED)}),
)


@pytest.fixture(scope="module")
def seen(spark, tmp_path_factory):
    """What lacked after each day, what the tasks said, and the lake."""
    folder = tmp_path_factory.mktemp("complete")
    lake = new_lake(spark, folder / "lake")
    states, said, files = [], [], []
    for day, (delivery, _) in enumerate(DAYS):
        for name, resources in delivery.items():
            write_lines(folder / "landing" / name, *resources)
            if name.endswith(".gz"):
                _pack(folder / "landing" / name, _measurement("o2", "anna", 2))
        files.append(ingest(lake, folder / "landing", day)["land"]["files_missing"])
        said.append(data_completeness.assess_encounters.execute(_run(lake, day)))
        states.append(_lacking(lake))
    return states, said, files, lake


def _pack(path, resource):
    import gzip

    import orjson

    path.write_bytes(gzip.compress(orjson.dumps(resource)))


def _run(lake, day):
    settings = load_settings("dev", environ={})
    of = settings.completeness.model_copy(update={"linked_types": LINKED})
    settings = settings.model_copy(update={"completeness": of})
    return Run(lake, settings, AS_OF + timedelta(days=day), f"run-{day}")


def _lacking(lake):
    """Missing types of each encounter; the flag says the same."""
    rows = lake.read(silver.ENCOUNTER_COMPLETENESS).collect()
    assert all(row.is_complete == (not row.missing_types) for row in rows)
    return sorted(row.missing_types for row in rows)


def test_late_type_flips_the_flag_and_a_late_file_does_too(seen):
    states, said, _, _ = seen
    assert states == [sorted(lacking.values()) for _, lacking in DAYS]
    assert [one["encounters_complete"] for one in said] == [0, 0, 2, 2]


def test_files_that_a_manifest_announces_and_the_ledger_holds(seen):
    _, _, missing, lake = seen
    assert missing == [0, 1, 0, 0]
    announced = lake.read(ops.LANDING_MANIFEST).filter("kind = 'output'")
    ledger = lake.read(ops.LANDING_FILE).selectExpr(
        "regexp_replace(file_name, '[.]ndjson([.]gz)?$', '') AS file_name"
    )
    assert announced.join(ledger, "file_name", "left_anti").isEmpty()
    assert announced.count() == 5


def test_features_can_leave_out_visits_that_are_not_complete(seen):
    lake = seen[3]
    shown = events.only_complete(
        lake.read(silver.ENCOUNTER), lake.read(silver.ENCOUNTER_COMPLETENESS)
    )
    assert (lake.read(silver.ENCOUNTER).count(), shown.count()) == (3, 2)


def test_second_look_changes_nothing(seen):
    lake = seen[3]
    before = lake.version(silver.ENCOUNTER_COMPLETENESS)
    run = _run(lake, 3)
    data_completeness.assess_encounters.execute(replace(run, run_id="again"))
    assert lake.version(silver.ENCOUNTER_COMPLETENESS) == before
