"""Follow-up ends by dropout, death, or on the last day that is surely recorded."""

from datetime import UTC, date, datetime, timedelta

from clinical_lakehouse.tables.silver import PATIENT, SUBJECT
from clinical_lakehouse.training.follow_up import COLUMNS, follow_up
from tests.builders import rows

FIRST = date(2024, 1, 1)
UNTIL = date(2024, 6, 30)


def _ended(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 15, tzinfo=UTC)


def test_first_row_counts_and_each_end_has_its_cause(run):
    people = {
        1: ("withdrawn", date(2024, 1, 31)),
        2: ("off-study", date(2024, 2, 10)),  # died
        3: ("off-study", date(2024, 3, 1)),  # completed
        4: ("on-study", None),
        5: ("withdrawn", date(2024, 6, 15)),  # after the last day that is surely recorded
        6: ("withdrawn", FIRST),  # on the very day: followed for a day
    }
    subjects = [
        {"research_subject_key": n, "subject_key": n, "status": status,
         "ended_at": _ended(end) if end else None}
        for n, (status, end) in people.items()
    ]  # fmt: skip
    patients = [{"subject_key": n, "is_deceased": n == 2} for n in people]
    features = run.lake.spark.createDataFrame(
        [(n, n, FIRST + timedelta(days=7 * week), "female", 60.0, 8.0, 7.0, 2)
         for n in people for week in (1, 0)],
        "research_subject_key BIGINT, subject_key BIGINT, index_date DATE, sex STRING, "
        "age_years DOUBLE, phq9_baseline DOUBLE, hba1c_baseline DOUBLE, condition_count INT",
    )  # fmt: skip
    found = follow_up(
        features, rows(run.lake, SUBJECT, *subjects), rows(run.lake, PATIENT, *patients), UNTIL, 30
    ).collect()
    assert set(found[0].asDict()) == {*COLUMNS, "days", "cause"}
    last = (UNTIL - timedelta(days=30) - FIRST).days
    assert {one.research_subject_key: (one.days, one.cause) for one in found} == {
        1: (30, 1), 2: (40, 2), 3: (60, 0), 4: (last, 0), 5: (last, 0), 6: (1, 1),
    }  # fmt: skip
