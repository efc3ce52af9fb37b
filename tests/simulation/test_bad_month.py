"""A bad month holds the faults that it says, each at its site, and the corrected one none."""

import json
from contextlib import suppress

import orjson
import pytest

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.quality.past import told_steps
from clinical_lakehouse.simulation import TrialPlan, simulate
from clinical_lakehouse.simulation.bad_month import FAULTS, bad_month, corrected_month


def _lines(folder):
    return {
        made["id"]: made
        for path in folder.glob("*.ndjson")
        for made in _parsed(path.read_bytes().split(b"\n"))
    }


def _parsed(lines):
    """Those that are resources; a trial has lines that are none."""
    for line in lines:
        with suppress(orjson.JSONDecodeError):
            made = orjson.loads(line)
            if isinstance(made, dict) and "id" in made:
                yield made


def test_faults_stand_in_new_versions_and_are_gone_in_the_next(tmp_path):
    plan = TrialPlan(patients=50, sites=5, months=4, seed=12)
    simulate(tmp_path, plan)
    truth = json.loads((tmp_path / "truth.json").read_text())
    sites = tuple(site["site_id"] for site in truth["sites"])
    planted = bad_month(tmp_path, plan.end, sites)
    corrected_month(tmp_path, plan.end, planted)
    assert [one.fault for one in planted] == [fault.name for fault in FAULTS]
    assert [one.site_id for one in planted] == [*sites[:4], "*"]
    bad, good = _lines(tmp_path / "bad-month"), _lines(tmp_path / "corrected-month")
    ids = [id_ for one in planted for id_ in one.resource_ids]
    assert len(ids) == len(set(ids)) and set(bad) == set(good) == set(ids)
    for one in planted:
        for id_ in one.resource_ids:
            versions = [int(made[id_]["meta"]["versionId"]) for made in (bad, good)]
            times = [made[id_]["meta"]["lastUpdated"] for made in (bad, good)]
            assert versions[0] + 1 == versions[1] and times[0] < times[1]
    about = {(m.get("subject") or m["patient"])["reference"] for m in bad.values()}
    withdrew = {f"Patient/{row['patient_id']}" for row in truth["withdrawn_consents"]}
    assert withdrew and not withdrew & about, "what they sent is in no table that is judged"
    before = _lines(tmp_path)
    assert all(before[id_]["meta"]["lastUpdated"] < bad[id_]["meta"]["lastUpdated"] for id_ in ids)
    hot = [bad[id_]["valueQuantity"] for id_ in planted[0].resource_ids]
    assert all(one["value"] > 90 and one["code"] == "Cel" for one in hot)
    assert all(good[id_]["valueQuantity"]["value"] < 43 for id_ in planted[0].resource_ids)


def test_a_trial_with_too_few_resources_is_refused(tmp_path):
    plan = TrialPlan(patients=2, sites=1, months=2, seed=1)
    simulate(tmp_path, plan)
    with pytest.raises(SourceError, match="too few resources for"):
        bad_month(tmp_path, plan.end, ("site-101",))


def _step(check, dimension, place):
    return {"table_name": "t", "check_name": check, "dimension": dimension, "slice": place}


def test_one_fault_is_told_once_where_it_is():
    at_site = [_step("one", d, s) for d, s in (("table", "t"), ("site", "7"), ("study", "5"))]
    everywhere = [_step("all", "table", "t"), *(_step("all", "site", str(n)) for n in range(3))]
    of_source = [_step("file", "source", "lab")]
    told = told_steps([*at_site, *everywhere, *of_source])
    assert [(one["check_name"], one["dimension"], one["slice"]) for one in told] == [
        ("one", "site", "7"), ("all", "table", "t"), ("file", "source", "lab")
    ]  # fmt: skip
