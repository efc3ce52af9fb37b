"""Training waits for information, and says for how long."""

from datetime import date, timedelta

import pandas as pd
import pytest

from clinical_lakehouse.training.readiness import readiness

START = date(2024, 1, 1)


def _rows(people: int, a_week: int = 5, every: int = 5) -> pd.DataFrame:
    """People who join by `a_week`, each on three weekly dates, one in `every` with the event."""
    return pd.DataFrame(
        {
            "subject_key": person,
            "index_date": START + timedelta(days=7 * (person // a_week + week)),
            "is_event": person % every == 0,
        }
        for person in range(people)
        for week in range(3)
    )


def test_not_enough_says_how_many_people_and_weeks_are_missing():
    """Riley's first criterion by hand: 4 parameters, prevalence 0.2, R2 0.15 of the largest,
    0.6324: 4 / (-0.1 ln(1 - 0.0949 / 0.9)) = 359.1; 260 people
    are missing, and of the last twelve weeks ten brought five."""
    found = readiness(_rows(100), 4, 0.15)
    assert not found.is_enough
    assert (found.people, found.event_people, found.criteria.people) == (100, 20, 360)
    assert found.sentence == "Not enough yet: 100 people of 360 wanted, about 63 more weeks."


def test_rows_of_the_same_people_are_no_information():
    once, often = _rows(100), pd.concat([_rows(100)] * 9)
    assert readiness(often, 4, 0.15).people == readiness(once, 4, 0.15).people == 100


def test_a_smaller_share_may_be_enough_and_is_told():
    found = readiness(_rows(100), 4, 0.15, 0.25)
    assert found.is_enough and found.enough.needed == 90
    assert found.sentence == "Enough people to train; 28% of what Riley's criteria ask for."


@pytest.mark.parametrize("every", [1, 10**6])
def test_one_outcome_alone_is_nothing_to_learn_from(every):
    rows = _rows(100, every=every)
    rows["is_event"] = every == 1
    found = readiness(rows, 4, 0.15)
    assert not found.is_enough and found.criteria is None and "Not enough yet" in found.sentence
    assert readiness(rows[:0], 4, 0.15).sentence == found.sentence
