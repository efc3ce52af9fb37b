"""Outcomes: what is an event, what competes with it, and what is not known yet."""

from datetime import UTC, date, datetime

import pytest

from clinical_lakehouse.methods.outcomes import (
    ANOTHER_END,
    EVENT,
    FOLLOWED_TO_THE_END,
    SERIOUS_ADVERSE_EVENT,
    followed,
    with_outcome,
    withdrawals,
)
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
    made = with_outcome(index_rows, withdrawals(known), 90, date(2024, 6, 29), 30).collect()
    found = {r.research_subject_key: (r.is_event, r.is_complete, r.followed_days) for r in made}
    return {name: found[n] for n, name in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES)
def test_outcome_of(case, outcomes):
    assert outcomes[case] == CASES[case][1]


def test_a_serious_event_counts_however_often_and_not_what_is_not_serious_or_actual(
    spark, tmp_path_factory
):
    from clinical_lakehouse.runtime.lake import Lakehouse

    lake = Lakehouse(spark, tmp_path_factory.mktemp("serious") / "lake")
    begun = {"started_at": _at(date(2023, 12, 1)), "status": "on-study"}
    people = [{"research_subject_key": n, "subject_key": n, **begun} for n in range(5)]
    people[4] |= {"ended_at": _at(date(2024, 1, 20)), "status": "off-study"}
    told = [
        (0, date(2023, 12, 25), "Serious", "actual"),  # a week before the index date
        (0, date(2024, 1, 10), "serious", "actual"),
        (0, date(2024, 1, 15), "serious", None),
        (1, date(2024, 1, 10), "non-serious", "actual"),
        (2, date(2024, 1, 10), "serious", "potential"),
        (3, date(2023, 11, 30), "serious", "actual"),  # before they were on study
    ]
    events = [
        {"adverse_event_key": place, "subject_key": who, "seriousness_code": kind}
        | {"occurred_at": _at(day), "status": status}
        for place, (who, day, kind, status) in enumerate(told)
    ]
    ends = followed(
        SERIOUS_ADVERSE_EVENT,
        rows(lake, silver.SUBJECT, *people),
        rows(lake, silver.ADVERSE_EVENT, *events),
    )
    asked = spark.createDataFrame(
        [(n, INDEX) for n in range(5)], "research_subject_key BIGINT, index_date DATE"
    )
    made = with_outcome(asked, ends, 30, date(2024, 6, 29), 30).orderBy("research_subject_key")
    found = [(r.is_event, r.followed_days, r.cause, r.days_since_event) for r in made.collect()]
    assert found == [
        (True, 9, EVENT, 7),
        (False, 30, FOLLOWED_TO_THE_END, None),
        (False, 30, FOLLOWED_TO_THE_END, None),
        (False, 30, FOLLOWED_TO_THE_END, None),
        (False, 19, ANOTHER_END, None),
    ]
