"""Clinical scores of participations: point in time, with their inputs' days and their reasons."""

from datetime import UTC, date, datetime

import pytest

from clinical_lakehouse.features.clinical_scores import score
from clinical_lakehouse.methods.scores.catalogue import FORMULAS
from clinical_lakehouse.methods.scores.signals import DISEASES, MEASURED
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import omop_clinical as omop
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_scores import CLINICAL_SCORE
from tests.builders import rows

AS_OF = datetime(2024, 1, 24, 12, tzinfo=UTC)
FIRST, SECOND, THIRD = date(2024, 1, 8), date(2024, 1, 15), date(2024, 1, 22)
MEASURES = (
    ("2160-0", date(2024, 1, 4), 1.2, "mg/dL"),
    ("2160-0", date(2024, 1, 20), 2.4, "mg/dL"),  # after the second index date
    ("2160-0", date(2024, 1, 21), 106.0, "umol/L"),  # not the input's unit
    ("29463-7", date(2023, 1, 10), 68.0, "kg"),  # more than a year before the third
    ("8302-2", date(2024, 1, 4), 182.0, "cm"),
    ("8480-6", date(2024, 1, 4), 110.0, "mm[Hg]"),
    ("8462-4", date(2024, 1, 5), 70.0, "mm[Hg]"),
)
DIAGNOSES = (("I50.9", FIRST), ("E11.22", FIRST), ("E11.9", FIRST), ("I63.9", THIRD))


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory):
    """(rows, the run that made them): subject 1 has records, subject 2 has none, subject 3 a
    SNOMED CT diagnosis only."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("scores"))
    run = Run(lake, load_settings("dev", environ={}), AS_OF, "test")
    started = datetime(2024, 1, 3, 10, tzinfo=UTC)
    people = [{"subject_key": n, "birth_year": 1968, "sex": "male"} for n in (1, 2, 3)]
    taking = [
        {"research_subject_key": 10 * n, "subject_key": n, "started_at": started} for n in (1, 2, 3)
    ]
    lake.merge(silver.PATIENT, rows(lake, silver.PATIENT, *people))
    lake.merge(silver.SUBJECT, rows(lake, silver.SUBJECT, *taking))
    lake.merge(omop.MEASUREMENT, rows(lake, omop.MEASUREMENT, *(
        {"measurement_id": n, "person_id": 1, "measurement_source_value": code,
         "measurement_date": day, "value_as_number": value, "unit_source_value": unit}
        for n, (code, day, value, unit) in enumerate(MEASURES)
    )))  # fmt: skip
    named = [(1, *one) for one in DIAGNOSES] + [(3, "84114007", FIRST)]
    lake.merge(omop.CONDITION_OCCURRENCE, rows(lake, omop.CONDITION_OCCURRENCE, *(
        {"condition_occurrence_id": n, "person_id": person, "condition_source_value": code,
         "condition_start_date": day}
        for n, (person, code, day) in enumerate(named)
    )))  # fmt: skip
    score(run)
    return lake.read(CLINICAL_SCORE).collect(), run


def _found(made, subject, day, name):
    (one,) = [r for r in made[0] if (r.subject_key, r.index_date, r.score) == (subject, day, name)]
    return one


def test_every_participation_has_every_score_on_every_index_date_once(made):
    names = {*FORMULAS, "charlson", "elixhauser_van_walraven"}
    assert {(r.research_subject_key, r.index_date, r.score) for r in made[0]} == {
        (n, day, name) for n in (10, 20, 30) for day in (FIRST, SECOND, THIRD) for name in names
    }
    assert len(made[0]) == 9 * len(names)


def test_a_score_is_made_of_the_latest_values_known_by_its_date(made):
    # CKD-EPI 2021 at 55.5 and 55.6 years: 1.2 mg/dL, then 2.4 (NKF's calculator: 71 and 31 at 55)
    second = _found(made, 1, SECOND, "egfr_ckd_epi_2021")
    third = _found(made, 1, THIRD, "egfr_ckd_epi_2021")
    assert (round(second.value), round(third.value)) == (71, 31)
    assert second.input_dates == {"creatinine_mg_dl": date(2024, 1, 4)}
    assert third.input_dates == {"creatinine_mg_dl": date(2024, 1, 20)}
    pressure = _found(made, 1, FIRST, "mean_arterial_pressure")
    assert (pressure.value, pressure.unit) == (83.333333, "mm[Hg]")
    assert pressure.input_dates == {
        "systolic_bp_mmhg": date(2024, 1, 4),
        "diastolic_bp_mmhg": date(2024, 1, 5),
    }


def test_a_value_older_than_the_lookback_counts_no_more(made):
    assert _found(made, 1, FIRST, "bmi").value == pytest.approx(20.529, abs=5e-4)
    third = _found(made, 1, THIRD, "bmi")
    assert (third.value, third.reason) == (None, "missing: weight_kg")
    assert third.input_dates == {"height_cm": date(2024, 1, 4)}


def test_diagnoses_count_from_their_first_day(made):
    # male, 55: heart failure and diabetes, then a stroke
    told = [_found(made, 1, day, "cha2ds2_vasc").value for day in (FIRST, SECOND, THIRD)]
    assert told == [2.0, 2.0, 4.0]
    # heart failure 1, diabetes with complications 2 (the milder form yields); stroke 1
    assert [_found(made, 1, d, "charlson").value for d in (FIRST, THIRD)] == [3.0, 4.0]
    assert _found(made, 1, FIRST, "elixhauser_van_walraven").value == 7.0
    assert _found(made, 3, FIRST, "cha2ds2_vasc").value == 1.0


def test_what_is_not_known_is_null_with_its_reason_and_never_0(made):
    assert all((r.value is None) == (r.reason is not None) for r in made[0])
    for name, reason in {
        "bmi": "missing: weight_kg, height_cm",
        "charlson": "missing: diagnoses",
        "elixhauser_van_walraven": "missing: icd10_codes",
    }.items():
        assert _found(made, 2, FIRST, name).reason == reason
    snomed = _found(made, 3, FIRST, "elixhauser_van_walraven")
    assert (snomed.value, snomed.reason) == (None, "missing: icd10_codes")
    assert _found(made, 3, FIRST, "charlson").value == 1.0


@pytest.mark.soak
def test_a_second_run_leaves_the_same_table(made):
    first, run = made
    score(run)
    again = run.lake.read(CLINICAL_SCORE).collect()
    assert sorted(map(repr, first)) == sorted(map(repr, again))


def test_every_signal_is_an_input_of_a_score():
    inputs = {one.name for formula in FORMULAS.values() for one in formula.inputs}
    assert {*MEASURED, *(one.name for one in DISEASES)} <= inputs
