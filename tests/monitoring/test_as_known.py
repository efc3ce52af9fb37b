"""Old windows said anew: what was known on a day and what is known now are both read."""

from datetime import UTC, date, datetime, timedelta

from clinical_lakehouse.monitoring.as_known import as_known, revised
from clinical_lakehouse.tables.gold_monitoring import PERFORMANCE_REVISION

FIRST = datetime(2024, 6, 1, tzinfo=UTC)
MODEL = {"model_name": "dropout_risk", "model_version": 1}


def _figure(value, end=date(2024, 5, 1), **more):
    window = {"window_start_date": end - timedelta(days=28), "window_end_date": end}
    said = {"population": "all", "metric": "auroc", "row_count": 400, "event_count": 20}
    return {**window, **said, "value": value, "low": value - 0.1, "high": value + 0.1, **more}


def _meant(verdict="stable", end=date(2024, 5, 1)):
    return [{"window_end_date": end, "verdict": verdict}]


def test_what_is_said_the_same_is_not_said_again():
    (row,) = revised([], [_figure(0.75)], _meant())
    assert (row["value"], row["verdict"]) == (0.75, "stable")
    assert revised([row], [_figure(0.75 + 1e-13)], _meant()) == []


def test_a_late_label_a_correction_and_a_withdrawn_consent_are_each_said_anew():
    known = revised([], [_figure(0.75)], _meant())
    (late,) = revised(known, [_figure(0.75, event_count=21)], _meant())
    assert late["event_count"] == 21
    (corrected,) = revised(known, [_figure(0.74)], _meant())
    assert corrected["value"] == 0.74
    (judged,) = revised(known, [_figure(0.75)], _meant("drift"))
    assert judged["verdict"] == "drift"
    (gone,) = revised(known, [], [])
    assert (gone["value"], gone["row_count"], gone["population"]) == (None, 0, "all")


def test_figures_are_read_as_known_on_any_day(lake):
    later, last = FIRST + timedelta(days=30), FIRST + timedelta(days=60)
    other = date(2024, 5, 29)
    meant = [*_meant(), *_meant(end=other)]
    first = revised([], [_figure(0.75), _figure(0.8, other)], meant)
    second = revised(first, [_figure(0.7), _figure(0.8, other)], meant)
    third = revised([second[0], first[1]], [_figure(0.7)], meant)
    rows = [
        {**MODEL, **row, "known_at": moment}
        for moment, made in ((FIRST, first), (later, second), (last, third))
        for row in made
    ]
    assert len(rows) == 4
    revisions = lake.frame(PERFORMANCE_REVISION, rows)

    def known(moment):
        found = as_known(revisions, moment).collect()
        return {row.window_end_date.month * 100 + row.window_end_date.day: row.value
                for row in found}  # fmt: skip

    assert known(FIRST - timedelta(days=1)) == {}
    assert known(FIRST) == known(later - timedelta(days=1)) == {501: 0.75, 529: 0.8}
    assert known(later) == {501: 0.7, 529: 0.8}
    assert known(last) == {501: 0.7}
