"""Outcomes: what is an event, what competes with it, and what is not known yet."""

from datetime import UTC, date, datetime

import pytest

from clinical_lakehouse.methods.outcomes import with_outcome
from clinical_lakehouse.tables import silver
from tests.builders import rows

INDEX = date(2024, 1, 1)
HORIZON_END = date(2024, 3, 31)  # 90 days later
LAST_DAY = date(2024, 5, 30)  # known until 29 June, 30 days of margin


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 17, tzinfo=UTC)


# name -> (status, end, index date); expected: is_event, is_complete, followed_days
CASES = {
    "on study": (("on-study", None, INDEX), (False, True, 90)),
    "left on the last day of the horizon": (("withdrawn", HORIZON_END, INDEX), (True, True, 90)),
    "left a day later": (("withdrawn", date(2024, 4, 1), INDEX), (False, True, 90)),
    "left on the index date": (("withdrawn", INDEX, INDEX), (False, True, 0)),
    "left a day after the index date": (("withdrawn", date(2024, 1, 2), INDEX), (True, True, 1)),
    "died": (("off-study", date(2024, 1, 31), INDEX), (False, True, 30)),
    "completed": (("completed", date(2024, 1, 31), INDEX), (False, True, 30)),
    "horizon ends on the last day": (("on-study", None, date(2024, 3, 1)), (False, True, 90)),
    "horizon ends a day later": (("on-study", None, date(2024, 3, 2)), (False, False, 89)),
    "early event of an unfinished horizon": (
        ("withdrawn", date(2024, 5, 20), date(2024, 5, 10)),
        (True, False, 10),
    ),
    "event within the margin": (
        ("withdrawn", date(2024, 5, 31), date(2024, 5, 10)),
        (False, False, 20),
    ),
    "index date after the last day": (("on-study", None, date(2024, 6, 3)), (False, False, 0)),
}


@pytest.fixture(scope="module")
def outcomes(spark, tmp_path_factory):
    """The outcome of each case: is_event, is_complete, followed_days."""
    from clinical_lakehouse.runtime.lake import Lakehouse

    lake = Lakehouse(spark, tmp_path_factory.mktemp("outcomes") / "lake")
    given = [case for case, _ in CASES.values()]
    subjects = [
        {"research_subject_key": n, "status": status, "ended_at": end and _at(end)}
        for n, (status, end, _) in enumerate(given)
    ]
    asked = [(n, index) for n, (_, _, index) in enumerate(given)]
    index_rows = spark.createDataFrame(asked, "research_subject_key BIGINT, index_date DATE")
    known = rows(lake, silver.SUBJECT, *subjects)
    made = with_outcome(index_rows, known, 90, date(2024, 6, 29), 30).collect()
    found = {r.research_subject_key: (r.is_event, r.is_complete, r.followed_days) for r in made}
    return {name: found[n] for n, name in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES)
def test_outcome_of(case, outcomes):
    assert outcomes[case] == CASES[case][1]
