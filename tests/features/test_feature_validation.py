"""A group that fails keeps its last good values online, readers see their age, a person accepts."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import yaml

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.features import feature_store
from clinical_lakehouse.features.feature_validation import profile, validate
from clinical_lakehouse.features.groups import read_group
from clinical_lakehouse.features.meaning import as_json, version_of
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.online_features import OnlineFeatures, online_path
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import ops
from clinical_lakehouse.tables.gold_feature_store import (
    FEATURE_PROMOTION,
    FEATURE_VALUE,
    FEATURE_VERSION,
)
from clinical_lakehouse.tables.gold_feature_validation import FEATURE_PROFILE, FEATURE_VALIDATION

GOOD, BAD, LATER = (date(2024, 1, 1) + timedelta(days=7 * week) for week in range(3))
PEOPLE = 60
LAB = {"source": "lab", "codes": ["4548-4"], "unit": "%", "windows": ["90d"], "meaning": "m",
       "aggregations": ["latest", "count"]}  # fmt: skip


def _at(day):
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def _values(run, group, day, factor):
    """Everybody's values on an index date; hba1c in another unit where the factor is not 1."""
    draws = np.random.default_rng(day.toordinal())
    named = {"feature_group": group.name, "feature_version": version_of(group)}
    latest = next(f.name for f in group.features if f.aggregation == "latest")
    count = next(f.name for f in group.features if f.aggregation == "count")
    made = []
    for key in range(PEOPLE):
        value = None if key < 5 else float(factor * draws.normal(7, 1))
        reasons = {latest: "never"} if value is None else {}
        values = {latest: value, count: float(draws.integers(1, 5))}
        row = {"subject_key": key, "index_date": day, "known_at": _at(day)}
        made.append({**named, **row, "feature_values": values, "null_reasons": reasons})
    run.lake.merge(FEATURE_VALUE, run.lake.frame(FEATURE_VALUE, made))
    return latest


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """Three weeks: good; in another unit, which is held; and the same again, accepted."""
    lake = Lakehouse(spark, tmp_path_factory.mktemp("validation") / "lake")
    run = Run(lake, load_settings("dev", environ={}), _at(GOOD), "test")
    file = tmp_path_factory.mktemp("conf") / "labs.yml"
    declared = {"group": "labs", "owner": "o", "meaning": "m", "every_days": 7, "knowledge": "then"}
    file.write_text(yaml.safe_dump({**declared, "features": {"hba1c": LAB}}, sort_keys=False))
    group = read_group(file, file.parent)
    named = {"feature_group": "labs", "feature_version": version_of(group)}
    version = {**named, "definition": as_json(group), "made_at": _at(GOOD)}
    lake.merge(FEATURE_VERSION, lake.frame(FEATURE_VERSION, [version]))
    use = {**named, "promotion_number": 1, "action": "first", "decided_by": "d", "why": "w"}
    use |= {"decided_at": _at(GOOD)}
    lake.merge(FEATURE_PROMOTION, lake.frame(FEATURE_PROMOTION, [use]))
    told = {}
    weeks = ((GOOD, 1, {}), (BAD, 10.93, {}), (LATER, 10.93, {"accept": "labs"}))
    for day, factor, params in weeks:
        latest = _values(run, group, day, factor)
        now = replace(run, as_of=_at(day))
        profile.execute(now)
        judged = validate.execute(replace(now, params=params))
        published = feature_store.publish.execute(now)
        store = OnlineFeatures(online_path(lake.root), must_exist=True)
        told[day] = (judged, published, store.get("labs", 10))
        store.close()
    return run, latest, told


def test_a_group_that_fails_keeps_its_last_good_values_online_and_readers_see_their_age(story):
    _, latest, told = story
    judged, published, served = told[GOOD]
    assert (judged["failed_count"], published["held_count"]) == (0, 0)
    assert served.index_date == GOOD and served.age(_at(GOOD)) == timedelta(0)
    judged, published, held = told[BAD]
    assert (judged["failed_count"], published["held_count"]) == (1, 1)
    assert held == served and held.values[latest] < 15
    assert held.age(_at(BAD)) == timedelta(days=7)


def test_what_failed_is_named_and_is_an_alert(story):
    run, latest, _ = story
    rows = {
        (row.feature_name, row.index_date): row
        for row in run.lake.read(FEATURE_VALIDATION).collect()
    }
    assert rows["*", GOOD].state == "first" and rows["*", BAD].state == "failed"
    assert rows[latest, BAD].state == "failed" and rows[latest, BAD].reference_date == GOOD
    assert rows[latest, BAD].psi > 0.2 and rows[latest, BAD].missing_ratio == pytest.approx(5 / 60)
    (alert,) = run.lake.read(ops.ALERT_EVENT).filter("kind = 'feature_group_failed'").collect()
    assert latest in alert.message and "accept=labs" in alert.message


def test_a_change_a_person_accepts_is_published_and_held_against_the_last_good_day(story):
    run, latest, told = story
    judged, published, served = told[LATER]
    assert (judged["failed_count"], published["held_count"]) == (0, 0)
    assert served.index_date == LATER and served.values[latest] > 30
    (row,) = (
        run.lake.read(FEATURE_VALIDATION)
        .filter(f"feature_name = '*' AND index_date = DATE '{LATER}'")
        .collect()
    )
    assert row.state == "accepted" and row.reference_date == GOOD


def test_edges_are_frozen_and_a_run_again_leaves_the_same_rows(story):
    run, latest, _ = story
    profiles = run.lake.read(FEATURE_PROFILE).filter(f"feature_name = '{latest}'")
    edges = {tuple(row.edges) for row in profiles.collect()}
    assert len(edges) == 1 and profiles.count() == 3
    before = {t: run.lake.read(t).count() for t in (FEATURE_PROFILE, FEATURE_VALIDATION)}
    again = replace(run, as_of=_at(LATER), params={"accept": "labs"})
    profile.execute(again)
    validate.execute(again)
    assert before == {t: run.lake.read(t).count() for t in before}
    assert {tuple(row.edges) for row in profiles.collect()} == edges


def test_a_group_that_is_not_in_use_cannot_be_accepted(story):
    run, _, _ = story
    with pytest.raises(UsageError, match="groups: labs"):
        validate.execute(replace(run, params={"accept": "vitals"}))
