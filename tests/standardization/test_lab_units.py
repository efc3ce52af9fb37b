"""Measurements in standard units: simulated trials of several seeds, and rows with hard units."""

import hashlib
from datetime import UTC, datetime

import pytest

from clinical_lakehouse.methods.unit_suspicion import suspicions
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.simulation import TrialPlan
from clinical_lakehouse.standardization import lab_units
from clinical_lakehouse.standardization.data_standardization import standardize_units
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_standardization import UNIT_CONVERSION, UNIT_SUSPICION
from clinical_lakehouse.tables.omop_clinical import MEASUREMENT
from tests.builders import rows
from tests.simulation.written import write

SEEDS = (7, 11, 23)


def _key(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _values(trial):
    """(person, site, LOINC, unit, value) of every quantity of a simulated trial."""
    site_of = {s["patient_id"]: s["site_id"] for s in trial.truth["subjects"]}
    for made in trial.newest("Observation").values():
        patient = made["subject"]["reference"].removeprefix("Patient/")
        for part in (made, *made.get("component", ())):
            if "valueQuantity" in part:
                code, quantity = part["code"]["coding"][0]["code"], part["valueQuantity"]
                yield patient, site_of[patient], code, quantity["code"], float(quantity["value"])


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Trials of 150 subjects, 6 sites and 6 months, one per seed."""
    return {
        seed: write(
            tmp_path_factory.mktemp(f"seed{seed}"), TrialPlan(patients=150, months=6, seed=seed)
        )
        for seed in SEEDS
    }


@pytest.fixture(scope="module")
def converted(spark, trials, tmp_path_factory):
    """The first trial's measurements, standardised, and the task to run again."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("units") / "lake")
    found = list(_values(trials[SEEDS[0]]))
    people = sorted({(patient, site) for patient, site, *_ in found})
    patients = [{"subject_key": _key(p), "organization_key": _key(s)} for p, s in people]
    lake.replace(silver.PATIENT, rows(lake, silver.PATIENT, *patients))
    given = [
        {"measurement_id": i, "person_id": _key(p), "measurement_source_value": code,
         "unit_source_value": unit, "value_as_number": value}
        for i, (p, _, code, unit, value) in enumerate(found)
    ]  # fmt: skip
    hard = [("2345-7", "furlong", 5.0), ("2345-7", None, 5.0), ("2345-7", "kg", 5.0),
            ("2345-7", "mmol/L", 5.0), ("8310-5", "[degF]", 98.6), ("99-9", "10+3/ul", 1.0),
            ("99-9", "g", 2.0)]  # fmt: skip
    given += [
        {"measurement_id": -i, "person_id": 1, "measurement_source_value": code,
         "unit_source_value": unit, "value_as_number": value}
        for i, (code, unit, value) in enumerate(hard, 1)
    ]  # fmt: skip
    given.append({"measurement_id": -99, "person_id": 1})
    lake.replace(MEASUREMENT, rows(lake, MEASUREMENT, *given))
    as_of = datetime(2024, 6, 30, 12, tzinfo=UTC)
    run = Run(lake, load_settings("dev", environ={}), as_of, "test")
    return run, standardize_units(run), len(given) - 1


def test_every_numeric_measurement_is_kept_with_value_unit_factor_and_rule(converted):
    run, said, count = converted
    assert said["unit_conversion_count"] == count
    found = {r["measurement_id"]: r for r in run.lake.read(UNIT_CONVERSION).collect()}
    assert len(found) == count and -99 not in found
    shown = {k: (r["value_standard"], r["unit_standard"], r["rule"], r["unit_flag"])
             for k, r in found.items() if k < 0}  # fmt: skip
    assert shown[-1] == (None, None, "unknown_unit", "unknown_unit")
    assert shown[-2] == (None, None, "missing_unit", "missing_unit")
    assert shown[-3] == (None, None, "no_conversion", "no_conversion")
    assert shown[-4] == (pytest.approx(90.078), "mg/dL", "molar_to_mass", None)
    assert shown[-5] == (pytest.approx(37.0), "Cel", "affine", None)
    assert shown[-6] == (None, None, "unknown_unit", "unknown_unit")
    assert shown[-7] == (2.0, "g", "same_unit", None)


def test_exactly_the_planted_site_and_analyte_is_suspected(converted, trials):
    run, said, _ = converted
    (planted,) = {row["site_id"] for row in trials[SEEDS[0]].truth["glucose_mislabelled"]}
    (found,) = run.lake.read(UNIT_SUSPICION).collect()
    assert (found["site_key"], found["loinc"]) == (_key(planted), "2345-7")
    assert (found["labelled_unit"], found["suspected_unit"]) == ("mg/dL", "mmol/L")
    assert said["suspected_count"] == 1 and not found["is_inferred"]
    flagged = run.lake.read(UNIT_CONVERSION).filter("unit_flag = 'suspected'")
    mislabelled = trials[SEEDS[0]].truth["glucose_mislabelled"]
    assert flagged.filter("value_standard = value").count() == len(
        {row["observation_id"] for row in mislabelled}
    )


@pytest.mark.parametrize("seed", SEEDS[1:])
def test_the_planted_site_is_found_with_other_seeds(spark, trials, seed):
    names = ["person_id", "site_key", "loinc", "unit_from", "value"]
    given = [(_key(p), _key(s), *rest) for p, s, *rest in _values(trials[seed])]
    levels = lab_units.site_levels(spark.createDataFrame(given, names))
    planted = {_key(row["site_id"]) for row in trials[seed].truth["glucose_mislabelled"]}
    found = suspicions(levels)
    assert [(s.site_key, s.loinc, s.suspected_unit) for s in found] == [
        (site, "2345-7", "mmol/L") for site in planted
    ]


@pytest.mark.soak
def test_inference_is_asked_for_flagged_and_undone_by_a_run_without(converted):
    run, _, count = converted
    inferring = Run(run.lake, run.settings, run.as_of, "again", {"infer_units": "yes"})
    standardize_units(inferring)
    inferred = run.lake.read(UNIT_CONVERSION).filter("unit_flag = 'inferred'").collect()
    assert inferred and {r["rule"] for r in inferred} == {"inferred_unit"}
    assert all(r["value_standard"] == pytest.approx(r["value"] * 18.0156) for r in inferred)
    assert all(r["unit"] == "mg/dL" and 50 < r["value_standard"] < 600 for r in inferred)
    standardize_units(run)
    again = run.lake.read(UNIT_CONVERSION)
    assert again.count() == count and again.filter("unit_flag = 'inferred'").isEmpty()
