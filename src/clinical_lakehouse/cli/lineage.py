"""`clinical-lakehouse lineage`: what a table is made from and used for, and which run wrote it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.tables.catalog import table_named

Steps = Sequence[tuple[int, str, str]]
_FORMATS = ("text", "json", "svg")


@click.command()
@click.argument("table")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", show_default=True)
@click.option("--runs", "with_runs", is_flag=True, help="Also which runs wrote it, from what.")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file.")
@placed
def lineage(place: Place, table: str, form: str, with_runs: bool, out: Path | None) -> None:
    """What a table is made from, and what is made from it; --runs: its versions, run by run.

    \b
    Examples:  clinical-lakehouse lineage gold.subject_feature
               clinical-lakehouse lineage gold.subject_feature --format svg --out lineage.svg
               clinical-lakehouse lineage gold.subject_feature --runs --format json
    """
    from clinical_lakehouse.registry import lineage_of

    contract = table_named(table)
    above, below = (lineage_of(contract, upstream=way) for way in (True, False))
    if form == "svg":
        if with_runs:
            raise UsageError("--format svg shows tasks and tables; use text or json with --runs")
        text = _picture(table, above, below)
    else:
        written = _written(place, table) if with_runs else None
        shown = _as_json if form == "json" else _as_text
        text = shown(table, above, below, written)
    if out is None:
        click.echo(text)
    else:
        out.write_text(f"{text}\n", encoding="utf-8")
        click.echo(f"lineage: {out}")


def _written(place: Place, table: str) -> list[dict[str, Any]]:
    """Runs that wrote the table, the latest first: version, task, run, and the versions read."""
    from clinical_lakehouse.runtime.entry import open_lake

    lake = open_lake({"root": str(place.root)})
    found = lake.query(
        "SELECT recorded_at, run_id, job, task, attempt, versions FROM ops.task_run "
        "WHERE state = 'success' AND json_object_keys(versions) IS NOT NULL "
        "AND array_contains(json_object_keys(versions), :table) ORDER BY recorded_at DESC, task",
        {"table": table},
    ).collect()
    if not found:
        raise UsageError(f"no recorded run wrote {table} in this lake; see the command runs list")
    return [
        {
            "version": versions[table],
            "task": f"{row['job']}.{row['task']}",
            "run_id": row["run_id"],
            "attempt": row["attempt"],
            "recorded_at": row["recorded_at"].isoformat(sep=" "),
            "from": versions.get("read", {}),
        }
        for row in found
        for versions in [json.loads(row["versions"])]
    ]


def _as_text(table: str, above: Steps, below: Steps, written: Sequence[dict[str, Any]] | None
             ) -> str:  # fmt: skip
    lines = []
    for heading, steps in (("made from", above), ("used for", below)):
        lines.append(f"{table} is {heading}:")
        lines += [f"{'  ' * depth}{other}   by {task}" for depth, task, other in steps]
        lines += [] if steps else ["  nothing declared"]
    for one in written or ():
        lines.append(f"version {one['version']} by {one['task']} of run {one['run_id']} "
                     f"at {one['recorded_at']}, from:")  # fmt: skip
        lines += [f"  {name} version {number}" for name, number in sorted(one["from"].items())]
        lines += [] if one["from"] else ["  nothing recorded"]
    return "\n".join(lines)


def _as_json(table: str, above: Steps, below: Steps, written: Sequence[dict[str, Any]] | None
             ) -> str:  # fmt: skip
    def steps(found: Steps) -> list[dict[str, Any]]:
        return [{"depth": depth, "task": task, "table": other} for depth, task, other in found]

    content = {"table": table, "made_from": steps(above), "used_for": steps(below)}
    more = {} if written is None else {"written": list(written)}
    return json.dumps({**content, **more}, indent=2)


def _picture(table: str, above: Steps, below: Steps) -> str:
    """The tasks on the table's way, drawn as in the trial report, in one SVG that stands alone."""
    from clinical_lakehouse.registry import edges
    from clinical_lakehouse.rendering.lineage import Step, alone, in_order

    near = {table} | {other for _, _, other in (*above, *below)}
    tasks = {task for _, task, _ in (*above, *below)}
    kept = [
        Step(name, tuple(t for t in reads if t in near), tuple(t for t in writes if t in near))
        for name, reads, writes in edges() if name in tasks
    ]  # fmt: skip
    if not kept:
        raise UsageError(f"no declared task reads or writes {table}: nothing to draw")
    return alone(in_order(kept))
