"""Checks of conf: each kind compiles into one Check; what does not fit is refused with its line."""

from pathlib import Path

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.methods.quality.grammar import read_checks
from clinical_lakehouse.methods.quality.scores import Judged, read_weights, score
from clinical_lakehouse.methods.quality.sql_names import column_names
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.tables.contract import CATEGORIES

TABLE = "silver.encounter"
LOOKUP = """
      lookups:
        - table: silver.patient
          on: subject_key
          take: {died_at: max(deceased_at)}"""


def read(tmp_path: Path, entry: str, table: str = TABLE):
    """The checks of one table whose only entry this is."""
    folder = tmp_path / "conf" / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"      {line}" for line in entry.strip().splitlines())
    text = f"tables:\n  {table}:\n    checks:\n    - {lines.lstrip()}\n"
    (folder / "own.yml").write_text(text, encoding="utf-8")
    return read_checks(folder, all_tables())[table]


def test_the_suites_own_checks_are_accepted_and_weighted():
    found = read_checks(conf_dir() / "quality", all_tables())
    kinds = {check.kind for checks in found.values() for check in checks}
    assert kinds > {"temporal", "unit", "reconciliation", "uniqueness", "code", "distribution"}
    assert all(check.category in ("completeness", "conformance", "plausibility")
               for checks in found.values() for check in checks)  # fmt: skip
    weights = read_weights(conf_dir() / "quality")
    assert weights["fatal"] > weights["error"] > weights["warn"] > 0


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("kind: colour\nname: x", "conf/quality/own.yml:4 kind must be one of"),
        ("kind: completeness\nname: x\ncolumn: ended", "own.yml:6 column names an unknown column"),
        ("kind: cross_field\nname: x\nholds: started_at < upto", "own.yml:6 holds names an unk"),
        ("kind: validity\nname: x\ncolumn: status\nwhere: site = 1\nin: [a]", "own.yml:7 where"),
        ("kind: validity\nname: x\ncolumn: status", "needs one of the fields in, between"),
        ("kind: validity\nname: x\ncolumn: status\nin: [a]\npattern: b", "needs one of the fields"),
        ("kind: validity\nname: x\ncolumn: status\nbetween: [5, 1]", "must be [low, high]"),
        ("kind: validity\nname: x\nholds: status RLIKE '^a$'", "use the field pattern"),
        ("kind: volume\nname: x", "needs the field min, max or both"),
        ("kind: volume\nname: x\nmin: 1\nmax_failed: 0.1", "judges the table as a whole"),
        ("kind: completeness\nname: x\ncolumn: status\nmax_failed: 5", "must be below 1"),
        ("kind: completeness\nname: x\ncolumn: status\nlimit: 5", "own.yml:7 has an unknown field"),
        ("kind: reference\nname: x\ncolumn: status\nrefers_to: vault.key.id", "names no column"),
        ("kind: temporal\nname: x\nearlier: started_at\nlater: died_at", "unknown column 'died"),
        ("kind: completeness\nname: encounter_key_unique\ncolumn: status", "already; rename one"),
        ("kind: reconciliation\nname: x\nmeasure: count(1)\nother: {table: silver.none}",
         "names an unknown table"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_file_and_line(tmp_path, entry, said):
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, entry)
    assert said in str(refused.value)


def test_a_table_that_is_unknown_secret_or_says_nothing_is_refused(tmp_path):
    for table in ("silver.unknown", "vault.identity", "ops.alert"):
        with pytest.raises(SettingsError, match=r"own\.yml:2 names .* not a table of bronze"):
            read(tmp_path, "name: x", table)
    (tmp_path / "conf/quality/own.yml").write_text("tables:\n  silver.patient: {checks: []}\n")
    with pytest.raises(SettingsError, match=r"own\.yml:2 says nothing of silver\.patient"):
        read_checks(tmp_path / "conf" / "quality", all_tables())


def test_two_meanings_of_one_looked_up_name_are_refused(tmp_path):
    first = f"kind: temporal\nname: a\nearlier: started_at\nlater: died_at{LOOKUP}".replace(
        "\n      ", "\n"
    )
    (one,) = read(tmp_path, first)
    assert one.lookups[0].takes == (("died_at", "max(deceased_at)"),)
    path = tmp_path / "conf/quality/own.yml"
    text = path.read_text()
    entry = text.split("checks:\n")[1].replace("name: a", "name: b").replace("max(", "min(")
    path.write_text(text + entry)
    with pytest.raises(SettingsError, match="gives 'died_at' a second meaning"):
        read_checks(path.parent, all_tables())


def test_a_pattern_fits_the_whole_value(tmp_path):
    (check,) = read(tmp_path, "kind: code\nname: x\ncolumn: status\npattern: '[a-z]+$'")
    assert check.predicate == r"regexp_like(CAST(`status` AS STRING), r'\A(?:[a-z]+$)\z')"


def test_the_version_changes_with_the_meaning_only(tmp_path):
    (check,) = read(tmp_path, "kind: completeness\nname: x\ncolumn: status\nmax_failed: 0.05")
    assert check.max_failed_ratio == "0.05"
    (same,) = read(tmp_path, "kind: completeness\nname: y\nmax_failed: 0.05\ncolumn: status")
    (other,) = read(tmp_path, "kind: completeness\nname: x\ncolumn: status\nmax_failed: 0.06")
    assert check.version == same.version != other.version


def test_columns_of_sql_are_told_from_words_functions_and_literals():
    sql = "NOT a BETWEEN 1 AND `b c` OR upper(d) = 'and e' AND exists(f, x -> x.g > h.i) AND j > 1"
    assert column_names(sql) == ["a", "b c", "d", "f", "h", "j"]
    assert column_names("max(k + INTERVAL 1 DAY) FILTER (WHERE l IS NOT NULL)") == ["k", "l"]


def test_every_kind_has_a_category_of_kahns():
    assert set(CATEGORIES.values()) == {"completeness", "conformance", "plausibility"}


def test_a_score_weighs_by_severity():
    weights = {"fatal": 4.0, "error": 2.0, "warn": 1.0}
    found = score([Judged("error", 0.5, True), Judged("warn", 1.0, False)], weights)
    assert found.score == pytest.approx(2 / 3)  # (2 x 0.5 + 1 x 1) / 3
    assert (found.check_count, found.failed_check_count) == (2, 1)
    assert score([], weights) is None
