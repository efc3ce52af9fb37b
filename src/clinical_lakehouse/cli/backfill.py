"""`backfill`: one run of a job per interval of the past, or a part of the lake made anew."""

import getpass
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, perform, placed
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.backfill import Plan, make_plan, moments_between
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.execution import JobResult, exit_code
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.local.request import Request
from clinical_lakehouse.runtime.clock import parse_as_of

_PER_INTERVAL = "per-interval"


class _JobOrCommand(click.Group):
    """`backfill JOB` beside `backfill plan` and `backfill restate`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [word for word in args if not word.startswith("-")]
        if words and not any(word in self.commands for word in args):
            args = [_PER_INTERVAL, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_JobOrCommand)
def backfill() -> None:
    """Make the past again: JOB once per interval, or a part of the lake from bronze to gold.

    \b
    Examples:  clinical-lakehouse backfill clinical_scores --from 2024-01-01 --to 2024-03-31
               clinical-lakehouse backfill plan --subject 4711
               clinical-lakehouse backfill restate --subject 4711 --why "Fixed the parser."
    """


def _part(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which part of the lake is meant; several must all hold."""
    for option in (
        click.option("--file", "files", multiple=True, help="A landing file, as bronze names it."),
        click.option("--to", "received_to", default="", help="Received until then, included."),
        click.option("--from", "received_from", default="", help="Received from then on."),
        click.option("--site", "sites", multiple=True, help="A site's key (its people, whole)."),
        click.option("--subject", "subjects", multiple=True, help="A person's key in silver."),
    ):
        command = option(command)
    return command


def _asked(given: dict[str, Any]) -> dict[str, str]:
    lists = {"subject": "subjects", "site": "sites", "file": "files"}
    asked = {name: ",".join(given.pop(several)) for name, several in lists.items()}
    return asked | {name: given.pop(name) for name in ("received_from", "received_to")}


@backfill.command()
@_part
@click.option("--as-of", help="The restatement's clock (default now).")
@placed
def plan(place: Place, as_of: str | None, **given: Any) -> None:
    """Say what `restate` would do: tables in order, rows, keys, seconds; nothing is changed.

    \b
    Examples:  clinical-lakehouse backfill plan --subject 4711 --subject 4712
               clinical-lakehouse backfill plan --from 2024-03-01 --to 2024-03-07
    """
    from clinical_lakehouse.ingestion.restated_scope import part_asked
    from clinical_lakehouse.local.restatement_plan import plan_restatement
    from clinical_lakehouse.registry import tasks
    from clinical_lakehouse.runtime.clock import wall_clock
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.run import Run
    from clinical_lakehouse.runtime.settings import load_settings

    part, settings = part_asked(_asked(given)), load_settings(place.env)
    now = parse_as_of(as_of) if as_of else wall_clock()
    run = Run(open_lake({"root": str(place.root)}), settings, now, "plan")
    made = plan_restatement(run, part, load_bundle(place.env), tasks())
    grid(("task", "table", "compared", "rows now", "keys"),
         [(s.task, s.table, s.compared, s.row_count, s.key_count) for s in made.steps])  # fmt: skip
    took = [(key, "not known" if s is None else f"{s:.0f}") for key, s in made.seconds.items()]
    grid(("task", "seconds, as the ledger has it"), took)
    known = sum(s for s in made.seconds.values() if s is not None)
    click.echo(f"plan {made.plan_id}: {made.resource_count} resources, {made.person_count} people,"
               f" {len(made.steps)} tables, about {known:.0f} s")  # fmt: skip
    if made.left:
        click.echo(f"made of these by other jobs, to be run after it: {', '.join(made.left)}")


@backfill.command()
@_part
@click.option("--plan", "planned", default="", help="Only if it still means what that plan said.")
@click.option("--why", required=True, help="The reason, for the audit.")
@click.option("--by", default=getpass.getuser, help="Who wants it (default: you).")
@click.option("--as-of", help="The restatement's clock (default now).")
@placed
def restate(place: Place, planned: str, as_of: str | None, **given: Any) -> None:
    """Make a part anew from bronze through silver and omop to gold; no other row is written.

    \b
    Example:  clinical-lakehouse backfill restate --site 12 --why "Parser mended."
    """
    from clinical_lakehouse.ingestion.restated_scope import part_asked
    from clinical_lakehouse.local.restatement_plan import JOB

    asked = _asked(given)
    part_asked(asked)
    clock = {"as_of": as_of} if as_of else {}
    request = Request(JOB, {**asked, **given, "plan": planned, **clock})
    sys.exit(exit_code(perform(place, request)))


@backfill.command(_PER_INTERVAL, hidden=True)
@click.argument("job")
@click.option("--from", "start", required=True, help="The first date or time, e.g. 2024-01-01.")
@click.option("--to", "end", required=True, help="The last one, included.")
@click.option("--every", default="1d", show_default=True, help="Between two runs: 6h, 1d, 2w.")
@click.option("--parallel", default=1, show_default=True, type=click.IntRange(1, 16),
              help="Runs at once, as far as the job allows.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would run and be written; run nothing.")
@placed
def per_interval(place: Place, job: str, **options: Any) -> None:
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
    made = make_plan(bundle, job, moments, tasks())
    with watch() as listen:
        workspace = open_workspace(bundle, place.root, listen)
        made = replace(made, done=backfilled(workspace.lake, made.job))
        left = list(made.requests)
        if not options["dry_run"] and left:
            slots = min(options["parallel"], bundle.job(job).most_runs)
            results = _run(workspace, left, slots)
    if options["dry_run"]:
        _show(made)
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
