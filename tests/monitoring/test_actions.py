"""What followed predictions: lines are read or refused, and measuring takes them into account."""

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.monitoring import performance, windows
from clinical_lakehouse.monitoring.action_log import read_actions
from clinical_lakehouse.monitoring.findings import effects
from clinical_lakehouse.monitoring.intervention import Limits
from clinical_lakehouse.monitoring.model_performance_monitoring import record_actions
from clinical_lakehouse.monitoring.verdicts import performance_rows, verdict_rows
from clinical_lakehouse.tables.gold_deployment import SERVED_PREDICTION
from clinical_lakehouse.tables.gold_models import PREDICTION
from clinical_lakehouse.tables.gold_monitoring import PREDICTION_ACTION
from tests.builders import rows
from tests.monitoring.test_intervention import _world

DAY = date(2024, 3, 4)
LINE = {"research_subject_key": 7, "index_date": "2024-03-04", "action": "call"}


def test_a_line_becomes_a_row():
    given = {**LINE, "propensity": 0.8}
    (row,) = read_actions("a.jsonl", ["", json.dumps(given)])
    assert (row["index_date"], row["propensity_ratio"], row["is_held_out"]) == (DAY, 0.8, False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "needs research_subject_key"),
        ({**LINE, "index_date": "Jane Doe"}, "needs research_subject_key"),
        ({**LINE, "research_subject_key": "Jane"}, "must be a number"),
        ({**LINE, "propensity": 8}, "propensity must be 0 to 1"),
        ({**LINE, "action": ""}, "action must be a word"),
        ({**LINE, "is_held_out": True}, "is held out and was acted on"),
        ({**LINE, "name": "Jane Doe"}, "has a field that is none of"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_with_its_place_and_without_its_data(line, said):
    text = line if isinstance(line, str) else json.dumps(line)
    with pytest.raises(SourceError, match=rf"^a.jsonl:2 .*{said}") as refusal:
        list(read_actions("a.jsonl", [json.dumps(LINE), text]))
    assert "Jane" not in str(refusal.value)


def _window(seed, treated=True):
    """One window of 4,000 subjects of the recipe's world, as per_window's workers get it."""
    _, seen, risk, acted = _world(seed, share=0.8 if treated else 0)
    return pd.DataFrame(
        {
            "research_subject_key": np.arange(risk.size),
            "index_date": DAY,
            "score": risk,
            "is_event": seen,
            "is_complete": True,
            "is_due": True,
            "followed_days": 28,
            "is_treated": acted.is_treated,
            "propensity": np.nan,
            "is_held_out": False,
        }
    )


def _said(rows):
    found = performance.window_rows(rows, performance.Reading(windows.WINDOW_DAYS, 0.95))
    return [{"index_date": DAY, **row} for row in found]


LIMITS = Limits(Interval(0.781, 0.775, 0.787), 0.02, 0.05)


def test_a_window_acted_on_is_watched_by_the_untreated_and_called_an_intervention():
    found = _said(_window(5))
    by = {(r["population"], r["metric"]): r for r in found}
    watched = by["watched", "auroc"]
    assert watched["value"] == by["untreated", "auroc"]["value"] > by["all", "auroc"]["value"]
    (row,) = verdict_rows(found, LIMITS)
    assert (row["verdict"], row["advice"], row["due_count"]) == ("intervention", "none", 4000)
    assert 250 < row["treated_count"] < 400
    populations = {r["population"] for r in performance_rows(found)}
    assert populations == {"all", "untreated", "estimated"}
    (told,) = effects([row])
    assert (told.kind, told.severity) == ("intervention_effect", "info")
    assert "8% were acted on" in told.message
    (calm,) = verdict_rows(_said(_window(5, treated=False)), LIMITS)
    assert (calm["verdict"], calm["treated_count"]) == ("stable", 0)


def test_a_window_whose_outcomes_are_coming_says_what_is_known_so_far():
    rows = _window(5, treated=False).assign(is_complete=False, is_due=False, followed_days=14)
    rows["is_event"] &= np.random.default_rng(1).random(len(rows)) < 0.5
    found = _said(rows)
    (ratio,) = [r for r in found if r["population"] == "matured"]
    assert ratio["low"] < 1.1
    (row,) = verdict_rows(found, LIMITS)
    assert (row["verdict"], row["due_count"]) == ("open", 0)
    assert row["arrived_count"] == rows["is_event"].sum()
    assert row["censored_count"] == (~rows["is_event"]).sum()


def test_actions_are_recorded_once_and_those_of_unknown_predictions_are_counted(run):
    assert record_actions.execute(run) == {"outcome": "no actions"}
    key = {"model_name": "dropout_risk", "index_date": DAY}
    made = [{**key, "research_subject_key": subject} for subject in (7, 8)]
    run.lake.append(PREDICTION, rows(run.lake, PREDICTION, *made))
    folder = run.lake.root / "actions"
    folder.mkdir(parents=True)
    lines = [LINE, {**LINE, "research_subject_key": 99}]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    told = {"outcome": "recorded", "row_count": 1, "unknown": 1}
    assert record_actions.execute(run) == told
    version = run.lake.version(PREDICTION_ACTION)
    assert record_actions.execute(run) == told
    assert run.lake.version(PREDICTION_ACTION) == version
    at_risk = run.lake.frame(PREDICTION, []).select("research_subject_key", "index_date", "score")
    days = [(7, DAY + timedelta(days=n), 0.5) for n in (-1, 0, 14, 15)]
    days += [(8, DAY + timedelta(days=n), 0.5) for n in (-7, 0, 7)]
    at_risk = run.lake.spark.createDataFrame(days, at_risk.schema)
    acted = windows.with_actions(at_risk, run.lake.read(PREDICTION_ACTION))
    marks = [{**key, "research_subject_key": one, "is_held_out": True} for one in (7, 8)]
    marks += [{**key, "research_subject_key": 8, "index_date": DAY + timedelta(7)}]
    lots = windows.with_lots(acted, rows(run.lake, SERVED_PREDICTION, *marks)).collect()
    assert {(r.research_subject_key, (r.index_date - DAY).days): r.is_held_out for r in lots} == {
        (7, -1): False, (7, 0): False, (7, 14): False, (7, 15): True,  # acted on all the same
        (8, -7): False, (8, 0): True, (8, 7): True,
    }  # fmt: skip
    mine = [row for row in acted.collect() if row.research_subject_key == 7]
    assert {(row.index_date - DAY).days: row.is_treated for row in mine} == {
        -1: False, 0: True, 14: True, 15: False,
    }  # fmt: skip
