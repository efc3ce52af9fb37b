"""Feature groups are data; what does not fit is refused with its file and line."""

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.features.groups import AGGREGATIONS, EVER, load_groups, read_group
from clinical_lakehouse.tables.conf import conf_dir

GOOD = """\
group: g
owner: o
meaning: m
features:
  hba1c:
    source: lab
    codes: ["4548-4"]
    unit: "%"
    normal: [4, 5.6]
    windows: [30d, ever]
    aggregations: [latest, days_abnormal]
    meaning: Haemoglobin A1c.
"""
BAD = {
    "source: lab|source: labs": (6, "source must be one of"),
    "latest, d|latst, d": (11, "unknown aggregation 'latst'"),
    "latest, d|exposure_days, d": (11, "exposure_days cannot be taken of lab"),
    "latest, d|trend_change, d": (10, "trend_change needs windows of an even number of days"),
    "    normal: [4, 5.6]\n|": (10, "days_abnormal cannot be taken of lab"),
    "[30d, ever]|[30d, 0d]": (10, "has no window '0d'"),
    "[30d, ever]|[30d, 30d]": (10, "windows names one twice"),
    "[30d, ever]|[]": (10, "windows must name at least one window"),
    'unit: "%"|unit: percents': (8, "unit is not a UCUM unit"),
    '"4548-4"]\n    unit: "%"|"2345-7"]\n    unit: mm[Hg]': (8, "cannot be reached from mg/dL"),
    '    unit: "%"\n|': (5, "needs the field 'unit'"),
    "source: lab|source: visit": (11, "latest cannot be taken of visit"),
    "normal: [4, 5.6]|normal: [6, 4]": (9, "normal must be [low, high]"),
    "    meaning: H|    mening: H": (12, "unknown field 'mening'"),
    "owner: o|ownr: o": (2, "unknown field 'ownr'"),
    "  hba1c:|  HbA1c:": (5, "names are lower case"),
    "owner: o|owner: o\nknowledge: later": (3, "knowledge must be one of"),
    "owner: o|owner: o\nentity: site": (3, "entity must be one of"),
    'codes: ["4548-4"]|classes: [A10]': (7, "classes must be a list of OMOP concept ids"),
}


def _read(folder, text):
    (folder / "g.yml").write_text(text)
    return read_group(folder / "g.yml", folder)


def test_a_series_gives_one_feature_per_window_and_aggregation(tmp_path):
    group = _read(tmp_path, GOOD)
    assert [(f.name, f.window_days, f.unit) for f in group.features] == [
        ("hba1c_days_abnormal_30d", 30, "d"),
        ("hba1c_latest_30d", 30, "%"),
        ("hba1c_days_abnormal_ever", EVER, "d"),
        ("hba1c_latest_ever", EVER, "%"),
    ]


@pytest.mark.parametrize("change", BAD, ids=lambda change: change.split("|")[1][:30])
def test_what_does_not_fit_is_refused_with_file_and_line(tmp_path, change):
    before, after = change.split("|")
    line, text = BAD[change]
    assert before in GOOD
    with pytest.raises(SettingsError) as refused:
        _read(tmp_path, GOOD.replace(before, after))
    assert text in str(refused.value)
    assert str(refused.value).startswith(f"g.yml:{line} ")


def test_a_group_declared_twice_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "conf" / "features").mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / "features" / f"{name}.yml").write_text(GOOD)
    with pytest.raises(SettingsError, match=r"b.yml:1 declares the group 'g' a second time"):
        load_groups(tmp_path / "conf")


def test_the_suites_own_groups_use_every_aggregation():
    groups = load_groups(conf_dir())
    used = {f.aggregation for group in groups.values() for f in group.features}
    assert used == set(AGGREGATIONS)
    names = [f.name for group in groups.values() for f in group.features]
    assert len(set(names)) == len(names) > 100
