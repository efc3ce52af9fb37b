"""The lake holds contracts: schema, scope, keys, versions."""

import json

import pytest

from clinical_lakehouse.errors import ContractError, LakeError
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.tables import ops, silver
from clinical_lakehouse.tables.contract import Column, Phi, Table, key
from tests.builders import rows

PERSON = Table(
    "silver.test_person",
    "One row per test person.",
    "test",
    ("person_key",),
    (key("person_key", "Key"), Column("name", "STRING", "Name", phi=Phi.DIRECT)),
    change_feed=True,
)


def _people(lake: Lakehouse, *people: tuple[int, str]):
    return lake.frame(PERSON, [{"person_key": k, "name": n} for k, n in people])


def _content(lake: Lakehouse) -> dict[int, str]:
    return {row.person_key: row.name for row in lake.read(PERSON).collect()}


def test_table_not_made_yet_reads_as_empty(lake):
    assert lake.read(silver.PATIENT).count() == 0
    assert lake.version(silver.PATIENT) == -1


def test_merge_updates_inserts_and_removes_by_key(lake):
    lake.merge(PERSON, _people(lake, (1, "a"), (2, "b"), (3, "c")))
    changes = _people(lake, (2, "B"), (3, "gone"), (4, "d")).selectExpr("*", "name = 'gone' AS out")
    done = lake.merge(PERSON, changes, deleted="out")
    assert _content(lake) == {1: "a", 2: "B", 4: "d"}
    assert (done.inserted, done.updated, done.deleted) == (1, 1, 1)


def test_merging_the_same_rows_again_changes_no_row(lake):
    lake.merge(PERSON, _people(lake, (1, "a")))
    again = lake.merge(PERSON, _people(lake, (1, "a")))
    assert (again.inserted, again.updated, again.deleted) == (0, 0, 0)


def test_first_merge_does_not_insert_rows_marked_deleted(lake):
    marked = _people(lake, (1, "a"), (2, "gone")).selectExpr("*", "name = 'gone' AS out")
    lake.merge(PERSON, marked, deleted="out")
    assert _content(lake) == {1: "a"}


def test_commit_knows_how_many_rows_it_wrote(lake):
    assert lake.append(PERSON, _people(lake, (1, "a"), (2, "b"))).inserted == 2
    assert lake.replace(PERSON, _people(lake, (3, "c"))).inserted == 1
    assert lake.replace(PERSON, _people(lake)).inserted == 0


def test_replace_where_leaves_other_rows(lake):
    lake.replace(PERSON, _people(lake, (1, "a"), (2, "b")))
    lake.replace(PERSON, _people(lake, (2, "B")), where="person_key = 2")
    assert _content(lake) == {1: "a", 2: "B"}


def test_read_since_a_version_gives_what_changed(lake):
    lake.append(PERSON, _people(lake, (1, "a")))
    before = lake.version(PERSON)
    lake.merge(PERSON, _people(lake, (1, "A"), (2, "b")))
    assert {r.name for r in lake.read(PERSON, since=before).collect()} == {"A", "b"}
    assert lake.read(PERSON, since=lake.version(PERSON)).count() == 0


VISIT = Table(
    "silver.test_visit",
    "One row per visit of a test person.",
    "test",
    ("visit_key",),
    (key("visit_key", "Key"), key("subject_key", "Person"), Column("day", "INT", "Day")),
)


def _visits(lake: Lakehouse, *visits: tuple[int, int, int]):
    names = VISIT.column_names
    return lake.frame(VISIT, [dict(zip(names, visit, strict=True)) for visit in visits])


def _stored(lake: Lakehouse) -> set[tuple[int, ...]]:
    return {tuple(row) for row in lake.read(VISIT).collect()}


def test_restating_people_writes_their_rows_alone_and_leaves_the_others_in_their_files(lake):
    lake.replace(VISIT, _visits(lake, (1, 7, 10), (2, 7, 20), (3, 8, 30), (4, 8, 40)).coalesce(1))
    files = "visit_key, _metadata.file_path"
    others = lake.read(VISIT).filter("subject_key = 8").selectExpr(*files.split(", ")).collect()
    people = lake.frame(VISIT, [{"subject_key": 7}]).select("subject_key")
    given = _visits(lake, (1, 7, 11), (5, 7, 50), (3, 8, 31))
    done = lake.restating(people).replace(VISIT, given)
    assert _stored(lake) == {(1, 7, 11), (5, 7, 50), (3, 8, 30), (4, 8, 40)}
    assert (done.inserted, done.updated, done.deleted) == (3, 1, 1), "given, changed, gone"
    now = lake.read(VISIT).filter("subject_key = 8").selectExpr(*files.split(", ")).collect()
    assert sorted(now) == sorted(others)


def test_restating_keeps_to_the_window_and_makes_tables_about_nobody_equal(lake):
    lake.replace(VISIT, _visits(lake, (1, 7, 10), (2, 7, 20)))
    restating = lake.restating(lake.frame(VISIT, [{"subject_key": 7}]).select("subject_key"))
    restating.replace(VISIT, _visits(lake), where="day > 15")
    assert _stored(lake) == {(1, 7, 10)}
    lake.replace(PERSON, _people(lake, (1, "a"), (2, "b")))
    restating.replace(PERSON, _people(lake, (1, "A"), (3, "c")))
    assert _content(lake) == {1: "A", 3: "c"}


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [("person_key", "missing"), ("*, 1 AS more", "unknown"), ("name, '1' AS person_key", "type")],
)
def test_rows_that_do_not_fit_the_contract_are_refused(lake, expression, wrong):
    with pytest.raises(ContractError, match=wrong):
        lake.append(PERSON, _people(lake, (1, "a")).selectExpr(*expression.split(", ")))


def test_undeclared_tables_can_neither_be_read_nor_written(lake):
    narrow = lake.scoped(reads=[ops.BOOKMARK], writes=[])
    with pytest.raises(ContractError, match=r"reads silver\.patient"):
        narrow.read(silver.PATIENT)
    with pytest.raises(ContractError, match=r"writes ops\.bookmark"):
        narrow.append(ops.BOOKMARK, rows(lake, ops.BOOKMARK, {}))


def test_identifier_columns_leave_no_statistics_in_the_log(lake):
    lake.append(PERSON, _people(lake, (1, "Canary-Surname")))
    lake.append(PERSON, [{"person_key": 2, "name": "Canary-Surname"}])
    lake.merge(PERSON, [{"person_key": 1, "name": "Other Canary-Surname"}])
    lake.replace(PERSON, [{"person_key": 2, "name": "Third Canary-Surname"}], "person_key = 2")
    assert all("Canary-Surname" in name for name in _content(lake).values())
    log = lake.path(PERSON) / "_delta_log"
    assert not any(b"Canary-Surname" in f.read_bytes() for f in log.rglob("*") if f.is_file())


def test_lake_of_a_newer_version_is_refused(spark, tmp_path):
    (tmp_path / "lake.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(LakeError, match="install a newer"):
        Lakehouse(spark, tmp_path)
