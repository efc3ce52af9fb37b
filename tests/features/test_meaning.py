"""A version changes when values would; twenty edits of a definition have the verdict they must."""

import pytest

from clinical_lakehouse.features.groups import read_group
from clinical_lakehouse.features.meaning import (
    Verdict,
    as_json,
    from_json,
    resolved,
    verdict,
    version_of,
)

BEFORE = """\
group: g
owner: o
meaning: m
every_days: 7
features:
  glucose:
    source: lab
    codes: ["2345-7", "2339-0"]
    unit: mg/dL
    plausible: [20, 1000]
    normal: [70, 99]
    windows: [30d, 90d]
    aggregations: [latest, mean]
    meaning: Glucose.
  drug:
    source: drug
    classes: [21600712, 21600744]
    windows: [90d]
    aggregations: [count, exposure_days]
    meaning: Blood glucose lowering drugs.
"""
# ATC class -> codes whose concepts descend from it, as omop.concept_ancestor gives them.
MEMBERS = {21600712: ["860975", "861007"], 21600744: ["861007"], 4: ["1"]}
EDITS = {
    "nothing but layout": ("windows: [30d, 90d]", "windows:   [ 30d,  90d ]", Verdict.NOTHING),
    "a comment": ("group: g", "# words\ngroup: g", Verdict.NOTHING),
    "order of codes": ('["2345-7", "2339-0"]', '["2339-0", "2345-7"]', Verdict.NOTHING),
    "order of windows": ("[30d, 90d]", "[90d, 30d]", Verdict.NOTHING),
    "order of aggregations": ("[latest, mean]", "[mean, latest]", Verdict.NOTHING),
    "a default written out": ("every_days: 7\n", "every_days: 7\nrevision: 1\n", Verdict.NOTHING),
    "owner": ("owner: o", "owner: p", Verdict.METADATA),
    "what the group means": ("meaning: m", "meaning: n", Verdict.METADATA),
    "what a series means": ("meaning: Glucose.", "meaning: Blood sugar.", Verdict.METADATA),
    "a code more": ('"2339-0"]', '"2339-0", "2342-4"]', Verdict.RECOMPUTE),
    "a code less": (', "2339-0"]', "]", Verdict.RECOMPUTE),
    "a class that adds codes": ("21600744]", "21600744, 4]", Verdict.RECOMPUTE),
    "plausible range": ("[20, 1000]", "[20, 900]", Verdict.RECOMPUTE),
    "normal range": ("[70, 99]", "[70, 100]", Verdict.RECOMPUTE),
    "a window more": ("[30d, 90d]", "[30d, 90d, 180d]", Verdict.RECOMPUTE),
    "an aggregation more": ("[latest, mean]", "[latest, mean, sd]", Verdict.RECOMPUTE),
    "revision": ("every_days: 7\n", "every_days: 7\nrevision: 2\n", Verdict.RECOMPUTE),
    "what must be known": ("every_days: 7\n", "every_days: 7\nknowledge: now\n", Verdict.RECOMPUTE),
    "a window less": ("[30d, 90d]", "[30d]", Verdict.INCOMPATIBLE),
    "an aggregation less": ("[latest, mean]", "[latest]", Verdict.INCOMPATIBLE),
    "another unit": ("unit: mg/dL", "unit: mmol/L", Verdict.INCOMPATIBLE),
    "another grid": ("every_days: 7", "every_days: 1", Verdict.INCOMPATIBLE),
    "a series renamed": ("  glucose:", "  sugar:", Verdict.INCOMPATIBLE),
}  # fmt: skip


def _group(folder, text, members=MEMBERS):
    (folder / "g.yml").write_text(text)
    return resolved(read_group(folder / "g.yml", folder), members)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_has_its_verdict_and_a_new_version_only_where_values_change(tmp_path, edit):
    old, new, expected = EDITS[edit]
    assert BEFORE.count(old) >= 1
    before, after = _group(tmp_path, BEFORE), _group(tmp_path, BEFORE.replace(old, new, 1))
    assert verdict(before, after) is expected
    same = expected in (Verdict.NOTHING, Verdict.METADATA)
    assert (version_of(before) == version_of(after)) is same


def test_codes_that_come_into_a_class_change_the_version(tmp_path):
    grown = {**MEMBERS, 21600744: ["861007", "314000"]}
    before, after = _group(tmp_path, BEFORE), _group(tmp_path, BEFORE, grown)
    assert before.series[1].codes == ("860975", "861007")
    assert verdict(before, after) is Verdict.RECOMPUTE


def test_a_definition_comes_back_from_its_json(tmp_path):
    group = _group(tmp_path, BEFORE)
    assert from_json(as_json(group)) == group
