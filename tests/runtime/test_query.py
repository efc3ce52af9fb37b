"""`lake.query` reads and does nothing else, however the statement is dressed up."""

import pytest

from clinical_lakehouse.errors import ContractError, UsageError
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.readonly import tables_read
from clinical_lakehouse.tables import ops, silver
from tests.builders import rows

READING = [
    "SELECT 1",
    "select * from ops.alert;",
    "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
    "SHOW TABLES IN silver",
    "SHOW COLUMNS IN ops.alert",
    "DESCRIBE TABLE ops.alert",
    "-- a comment; INSERT\nSELECT 'it''s; a -- string', \"/*\" /* ; DROP */",
    "SELECT r'\\' AS backslash, `update` FROM (SELECT 1 AS `update`)",
    "SELECT replace('a', 'a', 'b'), transform(array(1), x -> x + 1)",
    "SELECT a.fingerprint FROM ops.alert a JOIN ops.alert b USING (fingerprint)",
]
WRITING = [
    "",
    ";",
    "DROP TABLE ops.alert",
    "SELECT 1; DROP TABLE ops.alert",
    "WITH a AS (SELECT 1 AS x) INSERT INTO ops.bookmark SELECT x FROM a",
    "WITH a AS (SELECT 1 AS x) DELETE FROM ops.alert",
    "WITH a AS (SELECT 1 AS x) FROM a JOIN a b ON a.x > 1. INSERT INTO t SELECT 1",
    "FROM ops.alert INSERT INTO ops.bookmark SELECT 1",
    "SELECT reflect('java.lang.System', 'exit', 1)",
    "SELECT `java_method`('java.lang.System', 'getenv', 'SECRET')",
    "SELECT * FROM IDENTIFIER('vault' || '.subject')",
    "SELECT TRANSFORM(1) USING 'cat' AS x",
    "SELECT * FROM (MAP 1 USING r'cat' AS x)",
    "SELECT * FROM delta.`/lake/vault/subject`",
    "SELECT * FROM text.`file:///etc/hosts`",
    "SELECT '${env:DB_PASSWORD}'",
    "SELECT 'not closed",
    "WITH a AS (SELECT 1) --\\\n' \n INSERT INTO t SELECT 1 -- '",
    "WITH a AS (SELECT 1 /* a /* b */ ' */) INSERT INTO t SELECT '1'",
    "WITH a AS (SELECT 1 AS \u00e9r'\\' x ') INSERT INTO t SELECT 1 -- '",
    "SELECT /*+ BROADCAST(a) */ 1",
    "SELECT 1 /* not closed",
    "SET spark.sql.ansi.enabled = false",
    "EXPLAIN SELECT 1",
]


@pytest.mark.parametrize("statement", READING)
def test_statement_that_reads_is_taken(statement):
    assert tables_read(statement) <= {"ops.alert", "a.fingerprint"}


@pytest.mark.parametrize("statement", WRITING)
def test_statement_that_could_do_more_than_read_is_refused(statement):
    with pytest.raises(UsageError):
        tables_read(statement)


def test_spark_takes_the_statements_that_are_taken(lake):
    lake.append(ops.ALERT, rows(lake, ops.ALERT, {}))
    lake.append(silver.PATIENT, rows(lake, silver.PATIENT, {}))
    lake.register([silver.PATIENT])
    for statement in READING:
        lake.query(statement).collect()


def test_tables_are_found_by_name_and_values_are_bound(lake):
    lake.append(ops.ALERT, rows(lake, ops.ALERT, {"fingerprint": "a"}, {"fingerprint": "b'c"}))
    found = lake.query("SELECT fingerprint FROM ops.alert WHERE fingerprint = :one", {"one": "b'c"})
    assert [row.fingerprint for row in found.collect()] == ["b'c"]


def test_two_lakes_in_one_session_answer_for_themselves(spark, tmp_path):
    lakes = [Lakehouse(spark, tmp_path / name) for name in ("first", "second")]
    for lake in lakes:
        lake.append(ops.ALERT, rows(lake, ops.ALERT, {"source": lake.root.name}))
    for lake in [*lakes, *lakes]:
        assert lake.query("SELECT source FROM ops.alert").collect()[0].source == lake.root.name


def test_query_reads_neither_undeclared_nor_unmade_tables(lake):
    lake.append(ops.ALERT, rows(lake, ops.ALERT, {}))
    with pytest.raises(ContractError, match=r"reads ops\.alert"):
        lake.scoped([silver.PATIENT], []).query("SELECT * FROM ops.`alert`")
    with pytest.raises(UsageError, match=r"silver\.patient is not made yet"):
        lake.query("SELECT * FROM silver.patient")
