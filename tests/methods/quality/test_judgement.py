"""Thresholds are exact, and nothing judged is nothing passed."""

from datetime import UTC, datetime, timedelta

import pytest

from clinical_lakehouse.methods.quality.asked import Asked
from clinical_lakehouse.methods.quality.judgement import Count, is_over, row_state, table_state
from clinical_lakehouse.methods.quality.past import Past, step_rows
from clinical_lakehouse.methods.quality.results import verdict
from clinical_lakehouse.methods.quality.trends import Point
from clinical_lakehouse.tables.contract import Check, Column, Measure, Table

WEIGHTS = {"fatal": 4.0, "error": 2.0, "warn": 1.0}
NOON = datetime(2024, 6, 30, 12, tzinfo=UTC)
TABLE = Table("silver.x", "One row per x.", "me", ("k",), (Column("k", "BIGINT", "Key."),))


@pytest.mark.parametrize(
    ("failed", "judged", "tolerated", "over"),
    [
        (5, 100, "0.05", False),  # 0.05 * 100 is above 5 as floats: DQD issue of rounding
        (3, 10, "0.3", False),
        (7, 100, "0.07", False),
        (3, 1_000_000, "0", True),  # looks like 0.00%
        (0, 1_000_000, "0", False),
        (1, 100_000_000, "0.00000001", False),
    ],
)
def test_a_share_equal_to_what_is_tolerated_passes(failed, judged, tolerated, over):
    assert is_over(Count(judged, failed), tolerated) is over


def test_no_row_is_not_applicable_and_no_column_is_not_judged():
    check = Check("x", "true")
    states = [row_state(check, count) for count in (Count(0, 0), None, Count(4, 1), Count(4, 0))]
    assert states == ["not_applicable", "not_judged", "failed", "passed"]


def test_two_figures_agree_within_a_ratio_of_the_larger():
    check = Check("x", "true", scope="table", high=0.1, against=Measure("count(1)", table="y"))
    assert table_state(check, 100, 90) == "passed"
    assert table_state(check, 90, 100) == "passed"
    assert table_state(check, 100, 89) == "failed"
    assert table_state(check, 0, 0) == "passed"
    assert table_state(check, None, 4) == "failed"


def sums(site, *found):
    return {"table_name": "silver.x", "part": "sums", "site": site, "study": None,
            "source": None, "found": list(map(float, found))}  # fmt: skip


def test_sites_add_up_to_the_table_and_a_step_at_one_is_told():
    check = Check("c", "k > 0", max_failed_ratio="0.5")
    asked = [Asked(TABLE, (check,))]
    found = verdict(asked, [sums("1", 100, 1), sums("2", 100, 30), sums(None, 50, 0)], WEIGHTS)
    (outcome,) = found.outcomes
    assert (outcome.count, outcome.state) == (Count(250, 31), "passed")
    assert found.scores["site", "2"].score == pytest.approx(0.7)
    before = [NOON - timedelta(days=n) for n in range(1, 12)]
    past = Past(
        shares={outcome.rule: [Point(at, 0.124) for at in before]},
        slices={(*outcome.rule, "site", "1"): [Point(at, 0.01) for at in before]},
        runs={("site", "1"): before, ("site", "2"): before},
    )
    (step,) = step_rows(found, past, NOON)  # site 2 was clean whenever it was judged
    assert (step["slice"], step["value"], step["usual"]) == ("2", 0.3, 0.0)
    stepped = Past(past.shares, {}, {}, past.runs, {("silver.x", "c", "site", "2"): before[:4]})
    assert step_rows(found, stepped, NOON) == []  # seven usual runs are too few


def test_runs_of_an_earlier_version_of_a_check_are_no_baseline():
    check = Check("c", "k > 0")
    found = verdict([Asked(TABLE, (check,))], [sums(None, 100, 30)], WEIGHTS)
    before = [Point(NOON - timedelta(days=n), 0.0) for n in range(1, 12)]
    other = Past(shares={("silver.x", "c", "another"): before})
    own = Past(shares={found.outcomes[0].rule: before})
    assert step_rows(found, other, NOON) == []
    assert len(step_rows(found, own, NOON)) == 1
