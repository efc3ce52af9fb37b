"""`backfill`: one run of a job per interval of the past."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.backfill import Plan, make_plan, moments_between
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.execution import JobResult
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.runtime.clock import parse_as_of


@click.command()
@click.argument("job")
@click.option("--from", "start", required=True, help="The first date or time, e.g. 2024-01-01.")
@click.option("--to", "end", required=True, help="The last one, included.")
@click.option("--every", default="1d", show_default=True, help="Between two runs: 6h, 1d, 2w.")
@click.option("--parallel", default=1, show_default=True, type=click.IntRange(1, 16),
              help="Runs at once, as far as the job allows.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would run and be written; run nothing.")
@placed
def backfill(place: Place, job: str, **options: Any) -> None:
    """Run a job once per interval of the past, each with its own clock; begun again, it goes on.

    \b
    Example:  clinical-lakehouse backfill my_job --from 2024-01-01 --to 2024-03-31 --every 1w
    """
    from clinical_lakehouse.local.history import backfilled
    from clinical_lakehouse.local.progress import watch
    from clinical_lakehouse.local.workspace import open_workspace
    from clinical_lakehouse.registry import tasks

    bundle = load_bundle(place.env)
    start, end = parse_as_of(options["start"]), parse_as_of(options["end"])
    moments = moments_between(start, end, options["every"])
    plan = make_plan(bundle, job, moments, tasks())
    with watch() as listen:
        workspace = open_workspace(bundle, place.root, listen)
        plan = replace(plan, done=backfilled(workspace.lake, plan.job))
        left = list(plan.requests)
        if not options["dry_run"] and left:
            slots = min(options["parallel"], bundle.job(job).most_runs)
            results = _run(workspace, left, slots)
    if options["dry_run"]:
        _show(plan)
    elif not left:
        click.echo(f"all {len(moments)} moments are done")
    elif not all(result.ok for result in results):
        failed = sum(not result.ok for result in results)
        raise UsageError(f"{failed} of {len(left)} runs failed; mend the cause and start it again")


def _run(workspace: Any, requests: Any, slots: int) -> list[JobResult]:
    """The runs, the oldest first; after Ctrl-C the rest is left for the next time."""
    if slots == 1:
        results = []
        for request in requests:
            results.append(workspace.run(request))
            if results[-1].state == "cancelled":
                break
        return results
    beside = replace(workspace, is_alone=False)
    with ThreadPoolExecutor(slots) as pool:
        return list(pool.map(beside.run, requests))


def _show(plan: Plan) -> None:
    rows = [(f"{at:%Y-%m-%d %H:%M}", "done" if at in plan.done else "to do") for at in plan.moments]
    grid((f"{plan.job} as of (UTC)", "state"), rows)
    click.echo(f"reads {', '.join(plan.reads) or 'nothing'}")
    click.echo(
        f"writes {', '.join(plan.writes) or 'nothing'}, each run the window of its own moment"
    )
