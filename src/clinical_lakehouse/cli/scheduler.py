"""`scheduler`: the bundle's triggers on one machine, or their timetable on a made-up clock."""

from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.bundle import load_bundle
from clinical_lakehouse.local.events import Event
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.runtime.clock import parse_as_of, wall_clock


@click.command()
@click.option("--include-paused", is_flag=True, help="Run triggers that file or target pauses.")
@click.option("--parallel", default=1, show_default=True, type=click.IntRange(1, 16),
              help="Jobs that may run at once.")  # fmt: skip
@click.option("--once", is_flag=True, help="Run what is due now, then end.")
@click.option("--wait", is_flag=True, help="Wait while another scheduler has this lake.")
@click.option("--simulate-until", help="Print the timetable up to then; nothing runs.")
@click.option("--simulate-from", help="Where the timetable begins (default now).")
@click.option("--zone", help="Zone of the timetable's local times (default this machine's).")
@placed
def scheduler(place: Place, **options: Any) -> None:
    """Run the jobs when their triggers say so; Ctrl-C or SIGTERM stops it.

    \b
    Examples:  clinical-lakehouse scheduler --include-paused
               clinical-lakehouse scheduler --env prod --simulate-until 2024-04-30 --zone Asia/Tokyo
    """
    from clinical_lakehouse.local.schedule_plan import make_plan

    bundle = load_bundle(place.env)
    plan = make_plan(bundle, include_paused=options["include_paused"], parallel=options["parallel"])
    if plan.paused:
        click.echo(f"paused: {', '.join(plan.paused)}; --include-paused runs them too", err=True)
    if options["simulate_until"]:
        _show_timetable(plan, options)
        return
    if options["simulate_from"]:
        raise UsageError("--simulate-from needs --simulate-until")
    from clinical_lakehouse.local.schedule_here import schedule_here

    for key in plan.jobs:
        click.echo(f"{key} runs on {str(plan.trigger(key)).removesuffix(' (paused)')}")
    once, wait = options["once"], options["wait"]
    schedule_here(bundle, plan, place.root, _listen, _tell, once=once, wait=wait)


def _show_timetable(plan: Any, options: dict[str, Any]) -> None:
    from clinical_lakehouse.local.due import TIMED
    from clinical_lakehouse.local.timetable import timetable

    until = _moment(options["simulate_until"], "--simulate-until")
    given = options["simulate_from"]
    start = _moment(given, "--simulate-from") if given else wall_clock()
    if until <= start:
        raise UsageError("--simulate-until must be later than --simulate-from (default now)")
    zone = _zone(options["zone"])
    rows = [
        (f"{line.at:%Y-%m-%d %H:%M:%S}", f"{line.at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}",
         line.job, line.what)
        for line in timetable(plan, start, until)
    ]  # fmt: skip
    grid(("UTC", f"local ({zone})", "job", "why"), rows)
    for key in plan.jobs:
        if plan.trigger(key).kind not in TIMED:
            click.echo(f"not in the table: {key} on {plan.trigger(key)}", err=True)


def _moment(text: str, option: str) -> datetime:
    try:
        return parse_as_of(text)
    except UsageError:
        raise UsageError(f"{option} must be an ISO date or time, e.g. 2024-06-30") from None


def _zone(name: str | None) -> tzinfo:
    import tzlocal

    try:
        return ZoneInfo(name) if name else tzlocal.get_localzone()
    except (ValueError, OSError, LookupError):
        raise UsageError(f"--zone {name!r} is no time zone; write one like Europe/Berlin") from None


def _tell(at: datetime, job: str, what: str) -> None:
    click.echo(f"{at:%Y-%m-%d %H:%M:%SZ}  {job}: {what}")


def _listen(event: Event) -> None:
    from clinical_lakehouse.local.progress import sentence

    said = sentence(event)
    if said:
        click.echo(f"{wall_clock():%Y-%m-%d %H:%M:%SZ}  {said}")
