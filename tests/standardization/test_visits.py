"""Golden stays: the same day, one inside another, overlapping, without an end, and death."""

from datetime import UTC, date, datetime

import pytest

from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.standardization import visits
from clinical_lakehouse.tables import silver
from tests.builders import rows

AS_OF = datetime(2024, 6, 30, tzinfo=UTC)


def at(day: int, hour: int = 8) -> datetime:
    return datetime(2024, 3, day, hour, tzinfo=UTC)


PATIENTS = [{"subject_key": 1}, {"subject_key": 2, "is_deceased": True, "deceased_at": at(12)}]
# Two visits on one day; a stay (20) with wards 21 and 22, 22 with its theatre 23; 24 overlaps the
# stay and is no part of it; 25 and 26 are parts of each other; 27 names a parent that never came;
# 28 is inside another person's stay; 29 is inside a stay that was cancelled (30); 40 is the stay
# that person 2 died in.
ENCOUNTERS = [
    {"encounter_key": 10, "class_code": "AMB", "started_at": at(1, 8), "ended_at": at(1, 9)},
    {"encounter_key": 11, "class_code": "EMER", "started_at": at(1, 15), "ended_at": at(1, 16)},
    {"encounter_key": 20, "class_code": "IMP", "started_at": at(5), "ended_at": at(9),
     "organization_key": 100, "practitioner_key": 300},
    {"encounter_key": 21, "class_code": "EMER", "started_at": at(5), "ended_at": at(6),
     "part_of_key": 20, "location_key": 200, "organization_key": 100},
    {"encounter_key": 22, "class_code": "IMP", "started_at": at(6), "ended_at": at(9),
     "part_of_key": 20, "location_key": 201},
    {"encounter_key": 23, "class_code": "IMP", "started_at": at(7), "ended_at": at(7, 12),
     "part_of_key": 22, "practitioner_key": 301},
    {"encounter_key": 24, "class_code": "AMB", "started_at": at(8), "ended_at": at(8, 9)},
    {"encounter_key": 25, "class_code": "AMB", "started_at": at(10), "part_of_key": 26},
    {"encounter_key": 26, "class_code": "AMB", "started_at": at(10), "part_of_key": 25},
    {"encounter_key": 27, "class_code": "AMB", "started_at": at(11), "part_of_key": 99},
    {"encounter_key": 28, "class_code": "AMB", "started_at": at(12), "part_of_key": 40},
    {"encounter_key": 29, "class_code": "AMB", "started_at": at(13), "part_of_key": 30},
    {"encounter_key": 30, "class_code": "IMP", "started_at": at(13), "status": "cancelled"},
    {"encounter_key": 40, "class_code": "IMP", "started_at": at(10), "subject_key": 2},
    {"encounter_key": 41, "class_code": "IMP", "started_at": at(14)},
]  # fmt: skip


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory):
    lake = Lakehouse(spark, tmp_path_factory.mktemp("visits") / "lake")
    given = [{"subject_key": 1, "status": "finished", **row} for row in ENCOUNTERS]
    patients = rows(lake, silver.PATIENT, *PATIENTS)
    placed = visits.placed_encounters(
        rows(lake, silver.ENCOUNTER, *given), patients.select("subject_key").limit(0), patients
    )
    inside = visits.nested(placed)
    known = visits.with_staff_and_site(
        placed,
        rows(lake, silver.ORGANIZATION, {"organization_key": 100}),
        rows(lake, silver.LOCATION, {"location_key": 200}),
        rows(lake, silver.PRACTITIONER, {"practitioner_key": 300}),
    )
    whole, parts = visits.visits(known, inside, AS_OF), visits.visit_details(known, inside, AS_OF)
    links = {row.visit_link_key: row for row in visits.links(whole, parts).collect()}
    return (
        {row.visit_occurrence_id: row for row in whole.collect()},
        {row.visit_detail_id: row for row in parts.collect()},
        links,
    )


def test_encounters_inside_another_are_its_details_however_deep(made):
    whole, parts, links = made
    assert whole.keys() == {10, 11, 20, 24, 25, 26, 27, 28, 29, 40, 41}
    assert {k: (r.visit_occurrence_id, r.parent_visit_detail_id) for k, r in parts.items()} == {
        21: (20, None), 22: (20, None), 23: (20, 22),
    }  # fmt: skip
    assert [parts[k].preceding_visit_detail_id for k in (21, 22, 23)] == [None, 21, 22]
    assert (links[23].visit_occurrence_id, links[23].visit_detail_id) == (20, 23)
    assert (links[24].visit_occurrence_id, links[24].visit_detail_id) == (24, None)


def test_visits_of_one_day_and_overlapping_ones_stay_apart_and_in_order(made):
    whole, _, _ = made
    before = {k: whole[k].preceding_visit_occurrence_id for k in (10, 11, 20, 24, 25)}
    assert before == {10: None, 11: 10, 20: 11, 24: 20, 25: 24}


def test_an_open_stay_ends_with_the_persons_death_else_with_the_run(made):
    whole, _, _ = made
    assert whole[40].visit_end_date == date(2024, 3, 12)
    assert whole[41].visit_end_date == date(2024, 6, 30)
    assert whole[25].visit_end_date == date(2024, 3, 10), "no stay: the day it began"


def test_site_place_and_practitioner_are_named_only_where_they_are_known(made):
    whole, parts, _ = made
    assert (whole[20].care_site_id, whole[20].provider_id) == (100, 300)
    assert (parts[21].care_site_id, parts[22].care_site_id) == (200, None)
    assert parts[23].provider_id is None
