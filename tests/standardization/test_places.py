"""Devices take their days from statements of use; coverage becomes periods or has a reason."""

from datetime import UTC, date, datetime

from clinical_lakehouse.standardization import places
from clinical_lakehouse.standardization.events import SOURCES, as_events, with_device_use
from clinical_lakehouse.tables import silver
from tests.builders import rows


def at(day: int) -> datetime:
    return datetime(2024, 3, day, 8, tzinfo=UTC)


USES = [
    {"device_use_key": 1, "device_key": 95, "started_at": at(2), "ended_at": at(4)},
    {"device_use_key": 2, "device_key": 95, "started_at": at(3), "ended_at": at(9)},
    {"device_use_key": 3, "device_key": 96, "started_at": at(3), "status": "entered-in-error"},
]
COVERAGE = [
    {"coverage_key": 86, "started_at": at(1), "ended_at": at(20), "payer_key": 7},
    {"coverage_key": 87, "started_at": at(2)}, {"coverage_key": 88},
    {"coverage_key": 89, "started_at": at(2), "status": "cancelled"},
    {"coverage_key": 90, "started_at": at(2), "subject_key": 4},
]  # fmt: skip


def test_a_device_was_used_from_its_first_statement_to_its_last(lake):
    devices = rows(lake, silver.DEVICE, {"device_key": 95}, {"device_key": 96})
    source = next(source for source in SOURCES if source.table is silver.DEVICE)
    dated = with_device_use(devices, rows(lake, silver.DEVICE_USE, *USES))
    found = {row.source_key: row for row in as_events(dated, source).collect()}
    assert (found[95].started_at.day, found[95].ended_at.day) == (2, 9)
    assert found[96].started_at is None, "a statement made by mistake tells nothing"


def test_coverage_lasts_until_its_end_or_the_run_and_every_other_one_says_why(lake):
    lost = rows(lake, silver.PATIENT, {"subject_key": 4}).select("subject_key")
    placed = places.placed_coverage(rows(lake, silver.COVERAGE, *COVERAGE), lost).cache()
    periods = places.payer_plan_periods(placed, datetime(2024, 6, 30, tzinfo=UTC)).collect()
    ends = {row.payer_plan_period_id: row.payer_plan_period_end_date for row in periods}
    assert ends == {86: date(2024, 3, 20), 87: date(2024, 6, 30)}
    reasons = {row.source_key: row.reason for row in places.unplaced_coverage(placed).collect()}
    assert reasons == {88: "undated", 89: "not_happened", 90: "person_unplaced"}
