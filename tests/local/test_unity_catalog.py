"""`bundle sql`: a golden file of a small catalog, and what holds for the whole real one."""

import ast
import logging
import re
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.local.access import ARM, SIGHTS, read_access
from clinical_lakehouse.local.bundle import find_bundle
from clinical_lakehouse.local.unity_catalog import script, statements
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.contract import (
    Column,
    Phi,
    Severity,
    Table,
    between,
    is_one_of,
    refers_to,
)
from tests.local.good_bundle import RAW, THING, write

GOLDEN = Path(__file__).with_name("golden_catalog.sql")
PART = Table(
    "silver.part",
    "One row per part of a thing; it's small.",
    "data-engineering",
    ("thing_key", "number"),
    (
        Column("thing_key", "BIGINT", "The thing.", False, Phi.PSEUDONYM),
        Column("number", "INT", "Its number.", False),
        Column("weight_mg", "DOUBLE", "Weight.", unit="mg"),
        Column("kind", "STRING", "Kind."),
    ),
    checks=(
        refers_to("thing_key", THING),
        between("weight_mg", -1, 500),
        is_one_of("kind", "a", "b"),
        is_one_of("number", "1", "2", severity=Severity.WARN),
    ),
    cluster_by=("thing_key",),
    retention_days=30,
    change_feed=True,
)
SMALL = {table.name: table for table in (RAW, THING, PART)}
TABLES = all_tables()
ACCESS = read_access(find_bundle(), TABLES)
SECTIONS = dict(statements("clinical_prod", TABLES, ACCESS))
LINES = [line for lines in SECTIONS.values() for line in lines]
NAME = r"`[^`]+`"
FULL = rf"{NAME}\.{NAME}\.{NAME}"
TAGS = r"SET TAGS \('\w+' = '[^']*'(, '\w+' = '[^']*')*\)"
# What Databricks' SQL reference allows and the parser knows only as a command.
COMMANDS = re.compile(
    rf"ALTER SCHEMA {NAME}\.{NAME} {TAGS}"
    rf"|ALTER TABLE {FULL} ALTER COLUMN {NAME} {TAGS}"
    rf"|ALTER TABLE {FULL} ALTER COLUMN {NAME} SET MASK {FULL}"
    rf"|ALTER TABLE {FULL} SET ROW FILTER {FULL} ON \({NAME}(, {NAME})*\)"
    rf"|GRANT USE CATALOG ON CATALOG {NAME} TO {NAME}"
)


@pytest.fixture(autouse=True)
def _quiet():
    """The parser warns of each command."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)


def test_a_small_catalog_is_written_as_in_the_golden_file(tmp_path):
    made = script("main", SMALL, read_access(write(tmp_path), SMALL))
    assert made == GOLDEN.read_text(encoding="utf-8")


def test_the_script_is_the_same_every_time():
    assert script("c", TABLES, ACCESS) == script("c", TABLES, read_access(find_bundle(), TABLES))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_statement_is_parsed_and_every_name_quoted(section):
    assert SECTIONS[section]
    for line in SECTIONS[section]:
        parsed = sqlglot.parse_one(line, dialect="databricks")
        if isinstance(parsed, exp.Command):
            assert COMMANDS.fullmatch(line), line
        else:
            assert [i.name for i in parsed.find_all(exp.Identifier) if not i.quoted] == [], line


def test_the_whole_script_is_as_many_statements():
    parsed = sqlglot.parse(script("clinical_prod", TABLES, ACCESS), dialect="databricks")
    assert len([one for one in parsed if one]) == len(LINES)


def test_every_table_of_the_contracts_is_made_once_with_its_columns_and_comments():
    made = {}
    for line in SECTIONS["tables"]:
        parsed = sqlglot.parse_one(line, dialect="databricks")
        if isinstance(parsed, exp.Create):
            table = parsed.this.this
            name = f"{table.db}.{table.name}"
            assert name not in made
            made[name] = [
                (c.name, c.find(exp.CommentColumnConstraint).this.this)
                for c in parsed.find_all(exp.ColumnDef)
            ]
    assert made == {n: [(c.name, c.comment) for c in t.columns] for n, t in TABLES.items()}


def test_everything_is_made_before_it_is_used():
    order = {line: at for at, line in enumerate(LINES)}
    masks = [line for line in LINES if " SET MASK " in line]
    assert masks
    for line in masks:
        function = line.rpartition(" SET MASK ")[2]
        made = next(at for text, at in order.items()
                    if text.startswith(f"CREATE OR REPLACE FUNCTION {function}("))  # fmt: skip
        assert made < order[line]
    primary = max(order[line] for line in LINES if " PRIMARY KEY " in line)
    assert primary < min(order[line] for line in LINES if " FOREIGN KEY " in line)


def test_every_statement_may_run_again():
    for line in LINES:
        if line.startswith("CREATE"):
            assert line.startswith(("CREATE SCHEMA IF NOT EXISTS", "CREATE TABLE IF NOT EXISTS",
                                    "CREATE OR REPLACE FUNCTION")), line  # fmt: skip
        if " ADD CONSTRAINT " in line:
            table, _, rest = line.partition(" ADD CONSTRAINT ")
            dropped = f"{table} DROP CONSTRAINT IF EXISTS {rest.split()[0]}"
            assert dropped in {LINES[LINES.index(line) - 1].removesuffix(" CASCADE")}


def _masks() -> dict[tuple[str, str], str]:
    """(table, column) -> the groups its mask shows it to, as written in the function."""
    functions = {}
    for line in LINES:
        if line.startswith("CREATE OR REPLACE FUNCTION"):
            name = line.removeprefix("CREATE OR REPLACE FUNCTION ").split("(")[0]
            functions[name] = set(re.findall(r"is_account_group_member\('([^']+)'\)", line))
    found = {}
    for line in LINES:
        if " SET MASK " in line:
            _, schema, table, column = re.findall(NAME, line)[:4]
            key = (f"{schema}.{table}".replace("`", ""), column.strip("`"))
            found[key] = functions[line.rpartition(" SET MASK ")[2]]
    return found


def test_no_role_reads_a_column_that_it_may_not_see():
    masks = _masks()
    for table in TABLES.values():
        for column in table.columns:
            why = {column.phi.value} & set(SIGHTS)
            why |= {ARM} if f"{table.name}.{column.name}" in ACCESS.arm else set()
            for role in ACCESS.roles.values():
                if role.may_read(table) and not why <= role.sees:
                    shown = masks.get((table.name, column.name))
                    assert shown is not None, f"{role.name} reads {table.name}.{column.name}"
                    assert role.group not in shown
                elif role.may_read(table):
                    assert role.group in masks.get((table.name, column.name), {role.group})


def test_a_hidden_value_that_may_not_be_null_has_a_neutral_one():
    required = {t.name: {c.name for c in t.columns if not c.nullable} for t in TABLES.values()}
    functions = {line.split("(")[0].split()[-1]: line for line in LINES if "FUNCTION" in line[:30]}
    seen = set()
    for line in SECTIONS["column masks"]:
        if " SET MASK " in line:
            _, schema, table, column = (name.strip("`") for name in re.findall(NAME, line)[:4])
            is_required = column in required[f"{schema}.{table}"]
            assert (" ELSE " in functions[line.rpartition(" ")[2]]) is is_required
            seen.add(is_required)
    assert seen == {True, False}


def test_a_blinded_role_sees_no_arm_and_the_jobs_see_everything():
    shown = _masks()[("silver.subject", "arm")]
    assert "clinical-biostatistics" not in shown
    assert all(ACCESS.roles["ingestion"].group in groups for groups in _masks().values())


def test_no_column_that_unblinds_is_forgotten():
    named = {f"{t.name}.{c.name}" for t in TABLES.values() for c in t.columns
             if re.search(r"(^|_)arm($|_)|unblind", f"{c.name} {c.comment}".lower())}  # fmt: skip
    assert named == set(ACCESS.arm)


def test_bronze_and_vault_are_granted_to_ingestion_and_privacy_only():
    for line in SECTIONS["grants"]:
        if re.search(r"`(bronze|vault)`", line):
            assert re.search(r"TO `clinical-(ingestion|privacy)`$", line)


def test_a_masked_or_filtered_table_has_no_check_and_no_job_reads_it_by_version():
    hidden = {name for name, table in TABLES.items() if ACCESS.is_masked(table)}
    assert {"silver.subject", "omop.person", "gold.unmapped_code"} <= hidden
    for line in SECTIONS["checks"]:
        if " CHECK (" in line:
            _, schema, table = re.findall(NAME, line)[:3]
            assert f"{schema}.{table}".replace("`", "") not in hidden
    assert _read_by_version() & hidden == set()


def test_conf_access_names_the_tables_that_jobs_read_by_version():
    text = (find_bundle() / "conf" / "access.yml").read_text(encoding="utf-8")
    listed = re.search(r"^read_by_version: \[(.*)\]$", text, re.MULTILINE)[1].split(", ")
    assert set(listed) == _read_by_version()


def _read_by_version() -> set[str]:
    """Tables whose constant is the first argument of a `.read(..., version=...)` in the code."""
    found = set()
    source = Path(__file__).parents[2] / "src" / "clinical_lakehouse"
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            by_version = isinstance(node, ast.Call) and any(
                k.arg == "version" for k in node.keywords
            )
            named = ast.unparse(node.args[0]) if by_version and node.args else ""
            if re.fullmatch(r"(\w+\.)?[A-Z_]+", named):
                found.add(named.rpartition(".")[2].lower())
    return {name for name in TABLES if name.split(".")[1] in found}


def test_access_that_names_nothing_or_is_missing_is_one_line(tmp_path):
    change = ("conf/access.yml", "reads: [silver]", "reads: [silber]")
    with pytest.raises(BundleError, match=r"^conf/access\.yml:8: role guest: no table"):
        read_access(write(tmp_path, change), SMALL)
    (tmp_path / "conf" / "access.yml").unlink()
    with pytest.raises(BundleError, match="conf/access.yml is missing"):
        read_access(tmp_path, SMALL)
