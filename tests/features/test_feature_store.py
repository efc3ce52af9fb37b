"""The feature store learns of late, corrected, deleted and withdrawn records by one increment each.

Run once: a first delivery, a second one 30 days later with all of these; then every rule is looked
at. What an increment leaves is compared with a full computation and with what is served online.
"""

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import yaml

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.features import feature_store
from clinical_lakehouse.features.comparison import compared
from clinical_lakehouse.features.index_moments import index_moments, last_index_date
from clinical_lakehouse.features.meaning import version_of
from clinical_lakehouse.features.point_in_time import as_maps, point_in_time
from clinical_lakehouse.local.training_set_file import new_wanted, read_wanted, write_training_set
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.online_features import OnlineFeatures, online_path
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.gold_feature_store import (
    FEATURE_ABSENCE,
    FEATURE_EVENT,
    FEATURE_VALUE,
)
from clinical_lakehouse.tables.gold_standardization import CODE_MAP
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT_ANCESTOR
from tests.builders import rows

# Two deliveries and every task after each take over a minute; test_point_in_time is the quick part.
pytestmark = pytest.mark.soak

FIRST = datetime(2024, 3, 4, 12, tzinfo=UTC)  # a Monday
SECOND = FIRST + timedelta(days=30)
LATE, CORRECTED, DELETED, GONE, SAME, NEW = range(1, 7)
LAB = {"source": "lab", "codes": ["4548-4"], "unit": "%", "windows": ["90d"], "meaning": "m",
       "aggregations": ["latest", "mean", "count"]}  # fmt: skip
VISIT = {"source": "visit", "windows": ["90d"], "aggregations": ["adherence"], "meaning": "m"}


def _group(name, knowledge):
    return {"group": name, "owner": "o", "meaning": "m", "every_days": 14, "knowledge": knowledge,
            "features": {"hba1c": LAB, "visit": VISIT}}  # fmt: skip


def _day(number):
    return datetime(2024, 1, 8, 9, tzinfo=UTC) + timedelta(days=number)


def _deliver(lake, people, labs, visits):
    """Silver as a delivery leaves it."""
    observed = [
        {"observation_key": key, "subject_key": who, "component_index": 0, "code": "4548-4",
         "category_code": "laboratory", "status": "final", "has_value": True, "unit_code": "%",
         "effective_at": _day(day), "value_number": value}
        for key, (who, day, value) in labs.items()
    ]  # fmt: skip
    seen = [
        {"encounter_key": key, "subject_key": who, "visit_code": "V", "status": status,
         "started_at": _day(day)}
        for key, (who, day, status) in visits.items()
    ]  # fmt: skip
    patients = [{"subject_key": who, "birth_year": 1960, "is_over_89": False} for who in people]
    subjects = [
        {"research_subject_key": who + 100, "subject_key": who, "started_at": _day(0)}
        for who in people
    ]
    for table, made in ((silver.OBSERVATION, observed), (silver.ENCOUNTER, seen),
                        (silver.PATIENT, patients), (silver.SUBJECT, subjects)):  # fmt: skip
        lake.replace(table, rows(lake, table, *made))


LABS = {
    1: (LATE, 10, 9.0), 2: (CORRECTED, 10, 8.0), 3: (DELETED, 10, 7.0), 4: (DELETED, 20, 7.5),
    5: (GONE, 10, 6.0), 6: (SAME, 10, 5.0),
}  # fmt: skip
VISITS = {1: (CORRECTED, 10, "finished"), 2: (CORRECTED, 20, "cancelled")}
LABELS = "subject_key,at,dropped_out\n" + "".join(
    f"{who},2024-02-20T00:00:00Z,{who % 2}\n" for who in (SAME, LATE, CORRECTED, GONE, GONE, 99)
)


def _round(run):
    feature_store.collect.execute(run)
    feature_store.derive.execute(run)
    feature_store.publish.execute(run)


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """The suite's conf with two small groups: one as known then, one as known now."""
    folder = tmp_path_factory.mktemp("store") / "conf"
    shutil.copytree(conf_dir(), folder)
    shutil.rmtree(folder / "features")
    (folder / "features").mkdir()
    for name in ("then", "now"):
        text = yaml.safe_dump(_group(name, name), sort_keys=False)
        (folder / "features" / f"{name}.yml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINICAL_CONF_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory, conf):
    """The run after both deliveries, and what was looked at between them."""
    folder = tmp_path_factory.mktemp("lake")
    lake = Lakehouse(spark, folder / "lake")
    settings = load_settings("dev", environ={})
    first, second = (Run(lake, settings, at, "test") for at in (FIRST, SECOND))
    _deliver(lake, (LATE, CORRECTED, DELETED, GONE, SAME), LABS, VISITS)
    _round(first)
    (folder / "labels.csv").write_text(LABELS)
    wanted = new_wanted(first, folder / "labels.csv", "then", None)
    write_training_set(first, wanted, folder / "sets")
    with_gone = OnlineFeatures(online_path(lake.root)).get("now", GONE)
    changed = {**LABS, 7: (LATE, 20, 4.0), 2: (CORRECTED, 10, 8.8), 8: (NEW, 5, 6.6)}
    del changed[3], changed[5]
    visits = {**VISITS, 2: (CORRECTED, 20, "entered-in-error")}
    _deliver(lake, (LATE, CORRECTED, DELETED, SAME, NEW), changed, visits)
    _round(second)
    return {"run": second, "folder": folder, "with_gone": with_gone}


@pytest.fixture(scope="module")
def values(story):
    """The stored values: group -> (person, index date) -> row."""
    found = {}
    for row in story["run"].lake.read(FEATURE_VALUE).collect():
        key = (row["subject_key"], row["index_date"])
        found.setdefault(row["feature_group"], {})[key] = row.asDict()
    return found


def test_what_changed_or_went_is_closed_at_the_run_and_history_stays(story):
    events = story["run"].lake.read(FEATURE_EVENT).filter("source IN ('lab', 'visit')").collect()
    # Compared as moments, for a driver may stand in any time zone.
    told = {(e["source"], e["record_key"], e["value"], e["known_from"].astimezone(UTC) == FIRST,
             e["known_until"] and e["known_until"].astimezone(UTC) == SECOND)
            for e in events}  # fmt: skip
    assert told == {
        ("lab", 1, 9.0, True, None), ("lab", 7, 4.0, False, None),
        ("lab", 2, 8.0, True, True), ("lab", 2, 8.8, False, None),
        ("lab", 3, 7.0, True, True), ("lab", 4, 7.5, True, None),
        ("lab", 6, 5.0, True, None), ("lab", 8, 6.6, False, None),
        ("visit", 1, 1.0, True, None), ("visit", 2, 0.0, True, True),
    }  # fmt: skip


def test_an_increment_leaves_what_a_full_computation_leaves(story, values):
    run, lake = story["run"], story["run"].lake
    for name, group in feature_store.current_groups(run).items():
        everything = index_moments(
            lake.read(silver.SUBJECT), lake.read(silver.PATIENT), group, SECOND, FIRST
        )
        full = as_maps(point_in_time(everything, lake.read(FEATURE_EVENT), group), group).collect()
        assert len(full) == len(values[name]) > 20
        for row in full:
            stored = values[name][(row["subject_key"], row["index_date"])]
            assert stored["feature_values"] == row["feature_values"]
            assert stored["null_reasons"] == row["null_reasons"]


def test_the_grids_last_date_lies_before_the_day_that_is_not_over(values):
    assert last_index_date(SECOND.date(), 14) == max(day for _, day in values["now"])
    assert last_index_date(date(1970, 1, 5), 7) == date(1969, 12, 29)


def test_a_record_that_comes_late_changes_the_past_only_where_now_is_asked(values):
    past, present = date(2024, 2, 19), date(2024, 3, 18)
    late = (LATE, past)
    assert values["now"][late]["feature_values"]["hba1c_latest_90d"] == 4.0
    assert values["then"][late]["feature_values"]["hba1c_latest_90d"] == 9.0
    # It was learnt on 3 April: what stood at the end of 18 March did not know it either.
    assert values["then"][(LATE, present)]["feature_values"]["hba1c_latest_90d"] == 9.0
    assert values["then"][(LATE, date(2024, 4, 1))]["feature_values"]["hba1c_count_90d"] == 1.0
    assert values["now"][(LATE, date(2024, 4, 1))]["feature_values"]["hba1c_count_90d"] == 2.0


def test_corrected_deleted_and_mistaken_records_are_gone_from_what_is_known_now(values):
    at = date(2024, 2, 19)
    corrected = values["now"][(CORRECTED, at)]["feature_values"]
    assert corrected["hba1c_latest_90d"] == 8.8
    assert corrected["visit_adherence_90d"] == 1.0  # the missed visit was entered in error
    assert values["then"][(CORRECTED, at)]["feature_values"]["visit_adherence_90d"] == 0.5
    assert values["now"][(DELETED, at)]["feature_values"]["hba1c_count_90d"] == 1.0
    assert values["then"][(DELETED, at)]["feature_values"]["hba1c_count_90d"] == 2.0
    assert values["now"][(LATE, at)]["null_reasons"] == {"visit_adherence_90d": "never"}


def test_who_withdrew_is_nowhere_but_in_the_list_of_those_who_left(story, values):
    run = story["run"]
    assert story["with_gone"].values["hba1c_latest_90d"] == 6.0
    assert {who for rows_ in values.values() for who, _ in rows_} == {
        *(LATE, CORRECTED, DELETED, SAME, NEW)
    }
    assert run.lake.read(FEATURE_EVENT).filter(f"subject_key = {GONE}").isEmpty()
    left = run.lake.read(FEATURE_ABSENCE).collect()
    assert [(row["subject_key"], row["reason"]) for row in left] == [(GONE, "withdrawn-or-erased")]
    assert OnlineFeatures(online_path(run.lake.root)).get("now", GONE) is None


def test_online_is_the_latest_offline_row(story, values):
    store = OnlineFeatures(online_path(story["run"].lake.root))
    for name in ("then", "now"):
        for who in (LATE, CORRECTED, DELETED, SAME, NEW):
            served = store.get(name, who)
            day = max(index for person, index in values[name] if person == who)
            stored = values[name][(who, day)]
            assert served.index_date == day
            assert served.values == stored["feature_values"]
            assert served.null_reasons == stored["null_reasons"]


def test_a_run_again_with_the_same_clock_leaves_the_same_and_an_earlier_one_is_refused(story):
    run = story["run"]
    before = run.lake.version(FEATURE_EVENT)
    assert feature_store.collect.execute(run) == {"new": 0, "closed": 0, "removed": 0}
    assert run.lake.version(FEATURE_EVENT) <= before + 1
    with pytest.raises(UsageError, match="give a later as_of"):
        feature_store.collect.execute(replace(run, as_of=FIRST))


def test_ten_thousand_logged_reads_have_no_mismatch(story):
    store = OnlineFeatures(online_path(story["run"].lake.root))
    for _ in range(1000):
        for who in (LATE, CORRECTED, DELETED, SAME, NEW):
            for name in ("then", "now"):
                store.get(name, who, SECOND)
    done = feature_store.check_reads.execute(story["run"])
    assert done == {"read_count": 10_000, "differing_count": 0}


def test_logged_reads_are_worked_out_again_and_a_planted_stale_row_is_named(story):
    run, path = story["run"], online_path(story["run"].lake.root)
    store = OnlineFeatures(path)
    for who in (LATE, CORRECTED, DELETED, SAME, NEW) * 2:
        for name in ("then", "now"):
            store.get(name, who, SECOND)
    done = feature_store.check_reads.execute(run)
    assert done == {"read_count": 20, "differing_count": 0}
    with sqlite3.connect(path) as planted:
        key = ("now", SAME)
        where = "feature_group = ? AND subject_key = ?"
        (content,) = planted.execute(f"SELECT content FROM value WHERE {where}", key).fetchone()
        stale, reasons = json.loads(content)
        text = json.dumps([{**stale, "hba1c_mean_90d": 4.9}, reasons])
        planted.execute(f"UPDATE value SET content = ? WHERE {where}", (text, *key))
    store.get("now", SAME, SECOND)
    assert feature_store.check_reads.execute(run)["differing_count"] == 1
    (alert,) = run.lake.read(ops.ALERT_EVENT).collect()
    assert json.loads(alert["labels"]) == {"group": "now", "feature": "hba1c_mean_90d"}


def test_a_training_set_comes_again_byte_by_byte_but_for_who_left_and_says_who(story):
    folder, run = story["folder"], story["run"]
    (first,) = (folder / "sets").glob("*.manifest.json")
    old = json.loads(first.read_text())
    again = write_training_set(run, read_wanted(first), folder / "again")
    assert again["set_id"] == old["set_id"] and again["as_of"] == old["as_of"]
    assert [(m["subject_key"], m["reason"], m["row_count"]) for m in old["missing"]] == [
        (99, "not-consented", 1)
    ]
    assert [(m["subject_key"], m["reason"], m["row_count"]) for m in again["missing"]] == [
        (GONE, "withdrawn-or-erased", 2), (99, "not-consented", 1)
    ]  # fmt: skip
    assert again["missing"][0]["noted_at"] == SECOND.isoformat()
    lines = {f: (folder / f / old["file"]).read_text().splitlines() for f in ("sets", "again")}
    kept = [line for line in lines["sets"] if not line.startswith(f"{GONE},")]
    assert lines["again"] == kept and len(kept) == 4
    assert lines["sets"][0] == (
        "subject_key,at,dropped_out,hba1c_count_90d,hba1c_latest_90d,hba1c_mean_90d,"
        "visit_adherence_90d"
    )
    assert f"{CORRECTED},2024-02-20T00:00:00.000000Z,0,1.0,8.0,8.0,0.5" in lines["again"]
    assert old["row_count"] == 5 and old["null_counts"]["visit_adherence_90d"] == 4


def _dying(calls):
    """_valued that dies at its second call."""
    whole = feature_store._valued

    def valued(*given):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return whole(*given)

    return valued


def test_a_new_version_stands_beside_the_old_one_until_it_is_promoted(story, conf, monkeypatch):
    run, store = story["run"], OnlineFeatures(online_path(story["run"].lake.root))
    path = conf / "features" / "now.yml"
    old = feature_store.in_use(run)["now"]["feature_version"]
    path.write_text(path.read_text().replace("unit: '%'", "unit: '%'\n    plausible: [3, 8.5]"))
    with monkeypatch.context() as patch:  # killed after three index dates
        patch.setattr(feature_store, "DATES_A_COMMIT", 3)
        patch.setattr(feature_store, "_valued", _dying([]))
        with pytest.raises(RuntimeError, match="killed"):
            feature_store.derive.execute(run)
    done = feature_store.derive.execute(run)
    assert done["version_count"] == 3 and 0 < done["written_count"] < 30
    new = version_of(feature_store.current_groups(run)["now"])
    both = [run.lake.read(FEATURE_VALUE).filter(f"feature_version = '{v}'") for v in (old, new)]
    assert both[0].count() == both[1].count()
    found = {row["feature"]: row.asDict() for row in compared(*both).collect()}
    # 9.0 of LATE and 8.8 of CORRECTED are no values any more; 4.0 of LATE is.
    mean = found["hba1c_mean_90d"]
    assert (mean["person_count"], mean["changed_person_count"]) == (5, 2)
    assert mean["largest_change"] == 2.5 and mean["lost_count"] > 0 == mean["new_count"]
    assert found["visit_adherence_90d"]["changed_row_count"] == 0
    assert store.serving()["now"][0] == feature_store.in_use(run)["now"]["feature_version"] == old
    row = {"feature_group": "now", "decided_by": "me", "why": "w"}
    feature_store.promote(
        run, {**row, "feature_version": new, "promotion_number": 2, "action": "promote"}
    )
    feature_store.publish.execute(run)
    assert store.serving()["now"][0] == new
    assert store.get("now", CORRECTED).null_reasons["hba1c_mean_90d"] == "implausible"
    with pytest.raises(UsageError, match="another run changed the version in use"):
        feature_store.promote(
            run, {**row, "feature_version": old, "promotion_number": 2, "action": "rollback"}
        )
    assert feature_store.used_before(run, "now") == old


def test_codes_whose_concepts_descend_from_a_class_count_for_it(lake, run, tmp_path, monkeypatch):
    (tmp_path / "features").mkdir()
    (tmp_path / "base.yml").write_text("")
    drug = {"source": "drug", "classes": [21600712], "windows": ["90d"], "meaning": "m",
            "aggregations": ["count"]}  # fmt: skip
    text = yaml.safe_dump({**_group("drugs", "then"), "features": {"glucose_lowering": drug}})
    (tmp_path / "features" / "drugs.yml").write_text(text)
    monkeypatch.setenv("CLINICAL_CONF_DIR", str(tmp_path))
    ancestors = ((21600712, 1503297), (21600712, 40164929), (1, 2))  # metformin and a tablet of it
    made = [{"ancestor_concept_id": a, "descendant_concept_id": d} for a, d in ancestors]
    codes = (("861007", "event", 40164929), ("6809", "event", 1503297), ("mg", "unit", 1503297))
    maps = [
        {"code": c, "role": role, "concept_id": k} for c, role, k in (*codes, ("9", "event", 2))
    ]
    lake.replace(CONCEPT_ANCESTOR, rows(lake, CONCEPT_ANCESTOR, *made))
    lake.replace(CODE_MAP, rows(lake, CODE_MAP, *maps))
    (series,) = feature_store.current_groups(run)["drugs"].series
    assert series.codes == ("6809", "861007")
