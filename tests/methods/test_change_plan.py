"""The change control plan: each clause refuses what it names, with its line; bad files are told."""

import shutil

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.methods.change_plan import (
    FILE,
    Candidate,
    broken_clauses,
    read_change_plan,
)
from clinical_lakehouse.methods.intervals import Interval
from clinical_lakehouse.tables.conf import conf_dir

PLAN = read_change_plan(conf_dir())
ROW = {
    "horizon_days": 90,
    "algorithm": "logistic_core",
    "feature_names": '["age_years", "phq9_baseline"]',
    "train_row_count": 1000,
}
USED = Candidate(ROW, Interval(0.80, 0.78, 0.82))


def _new(auroc=USED.auroc, **changed):
    return Candidate({**ROW, **changed}, auroc)


def test_a_version_like_the_one_in_use_breaks_no_clause():
    assert broken_clauses(PLAN, _new(), USED) == []


@pytest.mark.parametrize(
    ("clause", "new"),
    [
        ("horizon", _new(horizon_days=30)),
        ("algorithm", _new(algorithm="deep")),
        ("inputs", _new(feature_names='["a", "b", "c"]')),
        ("training_rows", _new(train_row_count=799)),
        ("held_out_auroc", _new(Interval(0.70, 0.68, 0.72))),
        ("held_out_auroc", _new(None)),
    ],
)
def test_a_broken_clause_is_named_with_its_line(clause, new):
    (said,) = broken_clauses(PLAN, new, USED)
    lines = (conf_dir() / FILE).read_text().splitlines()
    line = 1 + next(n for n, text in enumerate(lines) if text.startswith(f"  {clause}:"))
    assert said.startswith(f"clause {clause} (conf/{FILE}:{line}): ")


def test_the_first_version_has_no_other_to_be_compared_with():
    assert broken_clauses(PLAN, _new(None), None) == []
    assert len(broken_clauses(PLAN, _new(algorithm="deep"), None)) == 1


def test_a_lower_auroc_within_chance_is_inside_the_plan():
    assert broken_clauses(PLAN, _new(Interval(0.75, 0.68, 0.82)), USED) == []


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("ratio_min: 0.8", "ratio_min: much", "must be a number"),
        ("  horizon:", "  hozizon:", "unknown field 'hozizon'"),
        ("alone: [dev, staging]", "alone: [laptop]", "alone may name"),
        ("deciding: approval", "deciding: yes please", "deciding must be one of"),
        ("{same: true}", "{same: true, days: 3}", "unknown field 'days'"),
    ],
)
def test_a_bad_plan_is_refused_with_file_and_line(tmp_path, was, now, said):
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir() / "deployment", conf / "deployment")
    text = (conf / FILE).read_text()
    (conf / FILE).write_text(text.replace(was, now))
    with pytest.raises(SettingsError, match=rf"conf/{FILE}:\d+ .*{said}"):
        read_change_plan(conf)
