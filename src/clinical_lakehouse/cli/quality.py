"""`clinical-lakehouse quality`: what checks say, what one means, and how it has fared."""

from pathlib import Path

import click

from clinical_lakehouse.cli.place import Place, placed, show_found
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.tables.contract import Check, Table


@click.group()
def quality() -> None:
    """Data quality: a page of the latest run, what a check means, its results over time."""


@quality.command()
@click.option("--out", type=click.Path(path_type=Path), help="The file (default: in reports/).")
@placed
def report(place: Place, out: Path | None) -> None:
    """Write the page of the latest run: what fails, where, since when, and what is not as usual.

    \b
    Example:  clinical-lakehouse quality report --out quality.html
    """
    from clinical_lakehouse.pages.quality_page import write_quality_page
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.settings import load_settings

    lowest = load_settings(place.env).limits.quality_score_min
    lake = open_lake({"root": str(place.root)})
    path = write_quality_page(lake, lowest, out or place.root / "reports" / "quality.html")
    click.echo(f"page: {path}")


@quality.command()
@click.argument("check")
def explain(check: str) -> None:
    """What a check asks of a table: NAME, or schema.table.NAME where several have it.

    \b
    Examples:  clinical-lakehouse quality explain not_before_consent
               clinical-lakehouse quality explain silver.patient.subject_key_unique
    """
    for table, one in _found(check):
        grid((f"{table.name}: {one.name}", ""), list(_meaning(table, one)))


@quality.command()
@click.argument("check")
@click.option("--failing", is_flag=True, help="The rows that fail now, by key, instead.")
@placed
def history(place: Place, check: str, failing: bool) -> None:
    """What a check found in each run, the latest first; --failing: which rows fail now.

    \b
    Examples:  clinical-lakehouse quality history not_before_consent
               clinical-lakehouse quality history not_before_consent --failing
    """
    found = _found(check)
    name = found[0][1].name
    tables = ",".join(table.name for table, _ in found)
    where = "check_name = :name AND array_contains(split(:tables, ','), table_name)"
    of_rows, of_tables = (
        "SELECT checked_at, table_name, state, CAST(failed_count AS STRING) AS failed, "
        "CAST(row_count AS STRING) AS of, rule_version, run_id FROM ops.quality_result",
        "SELECT checked_at, table_name, state, CAST(measured AS STRING), CAST(against AS STRING), "
        "rule_version, run_id FROM ops.quality_table_result",
    )
    statement = f"{of_rows} WHERE {where} UNION ALL {of_tables} WHERE {where} ORDER BY 1 DESC"
    if failing:
        statement = (
            "SELECT table_name, row_key, severity, owner, first_seen_at, rule_version, reason "
            f"FROM ops.quality_failure WHERE is_failing AND {where} ORDER BY first_seen_at, row_key"
        )
    nothing = f"{name} fails for no row now" if failing else f"no run has judged {name} yet"
    show_found(place, statement, {"name": name, "tables": tables},
               f"{nothing}; run data_quality to judge")  # fmt: skip


@quality.command()
@click.option("--out", type=click.Path(path_type=Path), help="The folder (default: in reports/).")
@placed
def expectations(place: Place, out: Path | None) -> None:
    """Write the checks as Great Expectations suites, with the latest run's results, below gx/.

    \b
    Example:  clinical-lakehouse quality expectations --out suites
    """
    from clinical_lakehouse.quality.expectations import store
    from clinical_lakehouse.runtime.entry import open_lake

    lake = open_lake({"root": str(place.root)})
    latest = (
        "WITH latest AS (SELECT max_by(run_id, checked_at) AS run_id FROM ops.quality_score) "
        "SELECT table_name, check_name, state, rule_version, {} run_id, checked_at "
        "FROM {} JOIN latest USING (run_id)"
    )
    found = [
        row.asDict()
        for figures, table in (("row_count, failed_count,", "ops.quality_result"),
                               ("measured,", "ops.quality_table_result"))
        for row in lake.query(latest.format(figures, table)).collect()
    ]  # fmt: skip
    if not found:
        raise UsageError("nothing is judged yet; run clinical-lakehouse run data_quality")
    judged = {row["table_name"] for row in found}
    checks: dict[Table, list[Check]] = {}
    for table, one in _every():
        if table.name in judged:
            checks.setdefault(table, []).append(one)
    folder = out or place.root / "reports" / "expectations"
    run = (found[0]["run_id"], found[0]["checked_at"])
    count = store(folder, checks, found, run)
    click.echo(f"{count} suites and their results: {folder / 'gx'}")


def _found(check: str) -> list[tuple[Table, Check]]:
    """The checks of that name; UsageError lists like ones where there is none."""
    every = _every()
    found = [(t, one) for t, one in every if check in (one.name, f"{t.name}.{one.name}")]
    if not found:
        like = sorted({one.name for _, one in every if check.split(".")[-1] in one.name})[:8]
        said = f"; like it: {', '.join(like)}" if like else "; see clinical-lakehouse tables NAME"
        raise UsageError(f"no check {check!r}{said}")
    return found


def _every() -> list[tuple[Table, Check]]:
    """Every check with its table: of contracts, then of conf/quality."""
    from clinical_lakehouse.methods.quality.grammar import read_checks
    from clinical_lakehouse.tables.catalog import all_tables
    from clinical_lakehouse.tables.conf import conf_dir

    tables = all_tables()
    given = read_checks(conf_dir() / "quality", tables)
    return [
        (table, one)
        for name, table in tables.items()
        for one in (*table.all_checks(), *given.get(name, ()))
    ]


def _meaning(table: Table, one: Check) -> list[tuple[str, str]]:
    from clinical_lakehouse.methods.quality.failing_rows import reason

    return [
        ("a good row", reason(one) if one.scope != "table" else one.why or f"the {one.kind}"),
        ("kind", f"{one.kind} ({one.category})"),
        ("severity", f"{one.severity.value}: {_EFFECT[one.severity.value]}"),
        ("rows judged", "all" if one.where == "true" else one.where),
        ("may fail", f"{one.max_failed_ratio} of them" if one.scope != "table" else "no"),
        ("predicate", one.predicate if one.scope != "table" else _figure(one)),
        *((f"looks up {look.table}", ", ".join(f"{n}: {sql}" for n, sql in look.takes))
          for look in one.lookups),
        ("owner", one.owner or table.owner),
        ("version", one.version),
        ("declared in", one.place or f"the contract of {table.name}"),
    ]  # fmt: skip


def _figure(one: Check) -> str:
    measured = one.measure.expression if one.measure else "columns unlike the contract"
    against = f" against {one.against.expression} of {one.against.table}" if one.against else ""
    least = "" if one.low is None else f", at least {one.low:g}"
    most = "" if one.high is None else f", at most {one.high:g}"
    return f"{measured}{against}{least}{most}"


_EFFECT = {
    "fatal": "the job fails once results are stored, so that nothing after it runs",
    "error": "counts twice in scores",
    "warn": "counts once in scores",
}
