"""Features: each from hand-made rows with values worked out by hand, and none from the future.

Each rule has its own person; the table is built from all of them at once.
"""

from datetime import UTC, date, datetime, timedelta

import pytest

from clinical_lakehouse.features.feature_engineering import build
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import omop_clinical as omop
from clinical_lakehouse.tables import silver
from clinical_lakehouse.tables.gold_features import SUBJECT_FEATURE
from tests.builders import rows

AS_OF = datetime(2024, 9, 2, 12, tzinfo=UTC)  # a Monday, and not over
ENROLLED = date(2024, 1, 3)  # a Wednesday: the grid begins on Monday 8 January
MONDAY = date(2024, 1, 8)
PLANTED = date(2024, 3, 12)
HBA1C, GLUCOSE, WEIGHT = "4548-4", "2345-7", "29463-7"
VISIT = {"visit_code": "V", "status": "finished"}
PLAIN, OLD, LEFT, DIED, GONE, ON_GRID, HOPEFUL, TWIN_PAST, TWIN_FUTURE, LATE = range(1, 11)


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 10, tzinfo=UTC)


# Person -> what differs from a woman born in 1960, enrolled on ENROLLED and still on study.
PATIENTS = {OLD: {"birth_year": None, "is_over_89": True}, DIED: {"deceased_at": _at(MONDAY)}}
SUBJECTS = {
    LEFT: {"ended_at": _at(date(2024, 1, 15))},
    DIED: {},
    GONE: {"ended_at": _at(date(2024, 1, 6))},
    ON_GRID: {"started_at": _at(MONDAY)},
    HOPEFUL: {"started_at": None},
}
# person, LOINC code, date, value, unit
MEASURED = (
    (PLAIN, HBA1C, date(2024, 1, 3), 9.0, "%"),
    (PLAIN, HBA1C, date(2024, 1, 18), 8.0, "%"),
    (PLAIN, HBA1C, date(2024, 2, 2), 7.0, "%"),
    (PLAIN, GLUCOSE, date(2024, 1, 4), 5.5, "mg/dL"),  # mmol/L labelled mg/dL
    (PLAIN, WEIGHT, date(2024, 1, 4), 180.0, "[lb_av]"),
    (PLAIN, "9999-9", date(2024, 1, 4), 1.0, None),
    (OLD, WEIGHT, date(2024, 1, 3), 82.5, "kg"),
    (OLD, WEIGHT, date(2024, 1, 3), 82.5, "kg"),  # one fact under two concepts
    (OLD, WEIGHT, date(2024, 1, 5), 80.5, "kg"),
    (ON_GRID, HBA1C, date(2024, 1, 2), 9.0, None),
    (ON_GRID, HBA1C, date(2024, 1, 9), 8.0, None),
    (TWIN_PAST, HBA1C, date(2024, 1, 3), 9.0, "%"),
    (TWIN_FUTURE, HBA1C, date(2024, 1, 3), 9.0, "%"),
    (TWIN_FUTURE, HBA1C, PLANTED, 4.0, "%"),
    (TWIN_FUTURE, WEIGHT, PLANTED, 70.0, "kg"),
)
VISITS = (
    (PLAIN, date(2024, 1, 3), VISIT),
    (PLAIN, date(2024, 1, 31), VISIT),
    (PLAIN, date(2024, 2, 28), {**VISIT, "status": "cancelled"}),
    (PLAIN, date(2024, 3, 1), {**VISIT, "visit_code": None}),
    (PLAIN, date(2023, 12, 20), VISIT),
    (TWIN_FUTURE, PLANTED, {**VISIT, "status": "cancelled"}),
)
ADVERSE = (
    (PLAIN, date(2024, 1, 10), {"seriousness_code": "Serious", "status": "actual"}),
    (PLAIN, date(2024, 3, 10), {"seriousness_code": "Non-serious"}),
    (PLAIN, date(2024, 3, 11), {"status": "potential"}),
    (TWIN_FUTURE, PLANTED, {"seriousness_code": "serious"}),
)
DOSES = (
    (PLAIN, date(2024, 2, 24), {"status": "completed"}),
    (PLAIN, date(2024, 2, 25), {"status": "completed"}),
    (PLAIN, date(2024, 3, 1), {"status": "not-done"}),
    (TWIN_FUTURE, PLANTED, {"status": "completed"}),
)
LONG_AGO = date(2020, 1, 1)
PROBLEM_LIST, CASE_REPORT_FORM, PRESCRIBED, GIVEN = 32840, 32809, 32838, 32818
CONDITIONS = (
    (PLAIN, LONG_AGO, "44054006", PROBLEM_LIST),
    (PLAIN, LONG_AGO, "44054006", PROBLEM_LIST),
    (PLAIN, LONG_AGO, "I50.9", PROBLEM_LIST),
    (PLAIN, LONG_AGO, "22298006", CASE_REPORT_FORM),
    (TWIN_FUTURE, PLANTED, "I50.9", PROBLEM_LIST),
)
DRUGS = (
    (PLAIN, LONG_AGO, "861007", PRESCRIBED),
    (PLAIN, LONG_AGO, "861007", PRESCRIBED),
    (PLAIN, LONG_AGO, "314076", PRESCRIBED),
    (PLAIN, LONG_AGO, "140", GIVEN),
    (TWIN_FUTURE, PLANTED, "861007", PRESCRIBED),
)


def _fill(lake, table, made):
    lake.replace(table, rows(lake, table, *({**row, table.key[0]: n} for n, row in made)))


def _person_rows(person):
    patient = {"subject_key": person, "birth_year": 1960, "is_over_89": False, "sex": "female"}
    subject = {"subject_key": person, "organization_key": 5, "started_at": _at(ENROLLED)}
    return {**patient, **PATIENTS.get(person, {})}, {**subject, **SUBJECTS.get(person, {})}


def _fill_people(lake):
    made = {person: _person_rows(person) for person in range(PLAIN, LATE + 1)}
    _fill(lake, silver.PATIENT, [(n, patient) for n, (patient, _) in made.items()])
    _fill(lake, silver.SUBJECT, [(n + 100, subject) for n, (_, subject) in made.items()])


def _fill_facts(lake):
    measured = [
        {"person_id": p, "measurement_source_value": code, "measurement_date": day}
        | {"measurement_datetime": _at(day), "value_as_number": value, "unit_source_value": unit}
        for p, code, day, value, unit in MEASURED
    ]
    conditions = [
        {"person_id": p, "condition_start_date": day, "condition_source_value": code}
        | {"condition_type_concept_id": origin}
        for p, day, code, origin in CONDITIONS
    ]
    drugs = [
        {"person_id": p, "drug_exposure_start_date": day, "drug_source_value": code}
        | {"drug_type_concept_id": origin}
        for p, day, code, origin in DRUGS
    ]
    _fill(lake, omop.MEASUREMENT, enumerate(measured))
    _fill(lake, omop.CONDITION_OCCURRENCE, enumerate(conditions))
    _fill(lake, omop.DRUG_EXPOSURE, enumerate(drugs))
    for table, start, events in (
        (silver.ENCOUNTER, "started_at", VISITS),
        (silver.ADVERSE_EVENT, "occurred_at", ADVERSE),
        (silver.MEDICATION_ADMINISTRATION, "started_at", DOSES),
    ):
        made = [{"subject_key": p, start: _at(day), **more} for p, day, more in events]
        _fill(lake, table, enumerate(made))


@pytest.fixture(scope="module")
def lake_run(spark, tmp_path_factory):
    """A run on a lake with every person of this module."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("features") / "lake")
    _fill_people(lake)
    _fill_facts(lake)
    return Run(lake, load_settings("dev", environ={}), AS_OF, "test")


def _build(run):
    build.execute(run)
    return sorted(run.lake.read(SUBJECT_FEATURE).collect())


@pytest.fixture(scope="module")
def built(lake_run):
    """The feature rows, as collected."""
    return _build(lake_run)


@pytest.fixture(scope="module")
def features(built):
    """The feature rows of a person by index date."""

    def find(person: int) -> dict[date, dict]:
        return {row.index_date: row.asDict() for row in built if row.subject_key == person}

    return find


def test_index_dates_are_the_mondays_from_enrolment_to_the_day_before_as_of(features):
    expected = [MONDAY + timedelta(weeks=n) for n in range(34)]
    assert sorted(features(PLAIN)) == expected and expected[-1] == date(2024, 8, 26)
    assert features(PLAIN)[date(2024, 1, 22)]["study_day"] == 19


def test_no_index_date_on_or_after_the_day_of_leaving_or_death(features):
    assert list(features(LEFT)) == [MONDAY]
    assert features(DIED) == {}


def test_enrolment_on_a_grid_day_counts_and_leaving_before_the_grid_gives_no_row(features):
    assert min(features(ON_GRID)) == MONDAY
    assert features(GONE) == {} and features(HOPEFUL) == {}


def test_measures_are_baseline_latest_mean_slope_and_spread_by_hand(features):
    row = features(PLAIN)[date(2024, 2, 5)]
    # 9, 8, 7 fifteen days apart: mean 8, sd 1, and minus 1 per 15 days is minus 2 per 30.
    assert (row["hba1c_baseline"], row["hba1c_latest"]) == (9.0, 7.0)
    assert (row["hba1c_mean"], row["hba1c_slope"], row["hba1c_sd"]) == (8.0, -2.0, 1.0)


def test_the_same_value_under_two_concepts_weighs_once(features):
    row = features(OLD)[MONDAY]
    assert (row["weight_mean"], row["weight_slope"]) == (81.5, -30.0)
    assert row["weight_sd"] == pytest.approx(2**0.5, abs=1e-6)


def test_nothing_dated_after_the_index_date_enters_its_features(features):
    past, future = features(TWIN_PAST), features(TWIN_FUTURE)
    for day in past:
        differing = _differing(past[day], future[day])
        assert bool(differing) == (day >= PLANTED), day
    first_after = _differing(past[date(2024, 3, 18)], future[date(2024, 3, 18)])
    assert first_after == {
        *("hba1c_latest", "hba1c_mean", "hba1c_slope", "hba1c_sd", "weight_latest", "weight_mean"),
        *("visits_planned_count", "visits_missed_count", "visit_adherence_ratio"),
        *("adverse_event_30d_count", "adverse_event_90d_count", "serious_event_count"),
        *("dose_30d_count", "comedication_count", "condition_count", "charlson_score"),
    }


def _differing(one, other):
    return {n for n in one if one[n] != other[n]} - {"research_subject_key", "subject_key"}


def test_baseline_takes_a_value_of_the_day_after_enrolment_once_it_is_past(features):
    assert features(ON_GRID)[MONDAY]["hba1c_baseline"] == 9.0
    assert features(ON_GRID)[date(2024, 1, 15)]["hba1c_baseline"] == 8.0


def test_window_forgets_after_180_days_but_latest_and_baseline_do_not(features):
    inside, outside = (features(TWIN_PAST)[date(2024, 6, 24) + timedelta(d)] for d in (0, 7))
    assert (inside["hba1c_mean"], outside["hba1c_mean"]) == (9.0, None)  # 173 and 180 days old
    assert (outside["hba1c_latest"], outside["hba1c_baseline"]) == (9.0, 9.0)
    assert inside["hba1c_sd"] is None and inside["hba1c_slope"] is None


def test_implausible_values_other_units_and_unknown_codes_enter_no_feature(features):
    row = features(PLAIN)[MONDAY]
    assert (row["glucose_latest"], row["weight_latest"], row["hba1c_latest"]) == (None, None, 9.0)


def test_visits_are_planned_missed_and_attended_and_other_encounters_do_not_count(features):
    row = features(PLAIN)[date(2024, 4, 8)]  # the 90 days begin on 10 January
    assert (row["visits_planned_count"], row["visits_missed_count"]) == (2, 1)
    assert row["visit_adherence_ratio"] == pytest.approx(2 / 3, abs=1e-6)
    assert row["days_since_visit"] == 68


def test_adverse_events_and_doses_are_counted_in_their_windows(features):
    row = features(PLAIN)[date(2024, 3, 25)]  # the 30 days begin on 25 February
    assert (row["adverse_event_30d_count"], row["adverse_event_90d_count"]) == (1, 2)
    assert (row["serious_event_count"], row["dose_30d_count"]) == (1, 1)


def test_conditions_and_prescriptions_count_once_and_adverse_events_are_no_comorbidity(features):
    row = features(PLAIN)[MONDAY]
    assert (row["condition_count"], row["comedication_count"]) == (2, 2)
    assert row["charlson_score"] == 2  # diabetes and heart failure, one each


def test_age_counts_from_the_middle_of_the_birth_year_and_stops_at_90(features):
    # 1 July 1960 to 8 January 2024: 23,201 days, over 365.25.
    assert features(PLAIN)[MONDAY]["age_years"] == pytest.approx(63.52, abs=0.005)
    assert features(OLD)[MONDAY]["age_years"] == 90.0


def test_counts_are_zero_and_measures_null_where_nothing_is_known(features):
    row = features(LATE)[MONDAY]
    assert {value for name, value in row.items() if name.endswith("_count")} == {0}
    assert row["charlson_score"] == 0
    assert row["visit_adherence_ratio"] is None and row["weight_sd"] is None


def test_one_row_per_participation_and_index_date(built):
    assert len({(row.research_subject_key, row.index_date) for row in built}) == len(built)


def test_built_twice_is_the_same_table(built, lake_run):
    assert _build(lake_run) == built
