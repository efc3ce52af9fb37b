"""`clinical-lakehouse alerts`: what is wrong, who was told or why not, and a person's decisions."""

import getpass
import sys
from pathlib import Path

import click

from clinical_lakehouse.cli.place import Place, perform, placed, show_found
from clinical_lakehouse.errors import SettingsError, UsageError
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.output import grid
from clinical_lakehouse.local.request import Request

_NONE_OPEN = "no alert is open; `alerts list --all` shows those that are over"


@click.group()
def alerts() -> None:
    """What is wrong, who was told or why not; take an alert, silence others, try rules."""


@alerts.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@placed
def list_(place: Place, everything: bool) -> None:
    """List open alerts, the worst first.

    \b
    Example:  clinical-lakehouse alerts list
    """
    statement = """SELECT left(fingerprint, 12) AS alert, severity, kind, labels, state,
       round(value, 4) AS value, threshold AS limit, starts_at, acknowledged_by AS taken_by
FROM ops.alert WHERE state <> 'resolved' OR :everything
ORDER BY state = 'resolved', array_position(array('critical', 'warning', 'info'), severity),
         starts_at DESC"""
    show_found(place, statement, {"everything": everything}, _NONE_OPEN)


@alerts.command()
@click.argument("name")
@placed
def explain(place: Place, name: str) -> None:
    """Say of an alert (its first characters), or of a rule, why it fires and who was told, or why
    nobody was.

    \b
    Example:  clinical-lakehouse alerts explain 3f2ab1
              clinical-lakehouse alerts explain accuracy_drop
    """
    from clinical_lakehouse.runtime.entry import open_lake

    lake = open_lake({"root": str(place.root)})
    found = lake.query(
        "SELECT explanation FROM ops.alert WHERE startswith(fingerprint, :name)", {"name": name}
    ).collect()
    if len(found) > 1:
        raise UsageError(f"{len(found)} alerts start with {name!r}; give more of it")
    if found:
        click.echo(found[0]["explanation"])
        return
    statement = "SELECT labels, explanation FROM ops.rule_standing WHERE rule = :name ORDER BY 1"
    judged = lake.query(statement, {"name": name}).collect()
    if not judged:
        raise UsageError(f"no alert starts with {name!r} and no rule of that name was judged yet")
    for row in judged:
        click.echo(f"{row['labels']} {row['explanation']}")


@alerts.command()
@click.argument("alert")
@click.option("--why", required=True, help="What you do about it; kept beside it.")
@click.option("--by", default=getpass.getuser, help="Who takes it (default: you).")
@placed
def ack(place: Place, alert: str, why: str, by: str) -> None:
    """Take an alert: nobody is paged of it again unless it gets worse.

    \b
    Example:  clinical-lakehouse alerts ack 3f2ab1 --why 'site 3 is called'
    """
    _decide(place, {"decision": "ack", "alert": alert, "why": why, "by": by})


@alerts.command()
@click.argument("matchers")
@click.option("--hours", required=True, help="How long from now, at most 720.")
@click.option("--why", required=True, help="Why; kept beside it.")
@click.option("--by", default=getpass.getuser, help="Who silences (default: you).")
@placed
def silence(place: Place, matchers: str, hours: str, why: str, by: str) -> None:
    """Keep the alerts quiet that all the matchers take.

    \b
    Example:  clinical-lakehouse alerts silence 'site="3"' --hours 4 --why 'move of servers'
    """
    given = {"decision": "silence", "matchers": matchers, "hours": hours, "why": why, "by": by}
    _decide(place, given)


@alerts.command()
@click.argument("silence_id")
@click.option("--why", required=True, help="Why; kept beside it.")
@click.option("--by", default=getpass.getuser, help="Who ends it (default: you).")
@placed
def unsilence(place: Place, silence_id: str, why: str, by: str) -> None:
    """End a silence now (its id may be its first characters).

    \b
    Example:  clinical-lakehouse alerts unsilence 0192 --why 'move is over'
    """
    _decide(place, {"decision": "unsilence", "alert": silence_id, "why": why, "by": by})


@alerts.command()
@placed
def silences(place: Place) -> None:
    """List silences, the newest first.

    \b
    Example:  clinical-lakehouse alerts silences
    """
    statement = """SELECT silence_id, matchers, starts_at, ends_at, created_by, reason
FROM ops.silence ORDER BY ends_at DESC"""
    show_found(place, statement, {}, "nothing is silenced")


@alerts.command("test-route")
@click.argument("labels", nargs=-1, required=True)
@placed
def test_route(place: Place, labels: tuple[str, ...]) -> None:
    """Say who would be told of an alert with these labels, by conf/alerting/routing.yml.

    \b
    Example:  clinical-lakehouse alerts test-route alertname=drift_high severity=warning
    """
    from clinical_lakehouse.alerting.routing.alertmanager_config import read_routing
    from clinical_lakehouse.tables.conf import conf_dir

    given = dict(_label(one) for one in labels)
    for route in read_routing(conf_dir() / "alerting" / "routing.yml").root.match(given):
        click.echo(f"{route.receiver}\t{route.group_key(given)}")


@alerts.command()
@placed
def test(place: Place) -> None:
    """Run the rules' own tests (conf/alerting/rules/*_test.yml, in promtool's format).

    \b
    Example:  clinical-lakehouse alerts test
    """
    from clinical_lakehouse.alerting.rules.rule_tests import read_tests, run_tests
    from clinical_lakehouse.runtime.settings import load_settings
    from clinical_lakehouse.tables.conf import conf_dir

    folder: Path = conf_dir() / "alerting" / "rules"
    faults = run_tests(folder, load_settings(place.env).limits.model_dump())
    if faults:
        raise SettingsError("\n".join(faults))
    click.echo(f"{len(list(read_tests(folder)))} tests of rules, no fault")


@alerts.command()
@click.argument("rule")
@click.option("--days", type=click.IntRange(1, 100), default=90, help="How far back (90).")
@placed
def backtest(place: Place, rule: str, days: int) -> None:
    """Run a rule over what the lake has stored: when it would have fired, and how often it flaps.

    \b
    Example:  clinical-lakehouse alerts backtest quality_score_low --days 30
    """
    from clinical_lakehouse.local.alert_review import backtested

    found = backtested(place.root, place.env, rule, days)
    if not found.firings:
        click.echo(f"{rule} would not have fired in {days} days")
        return
    rows = [(one.starts_at, one.ends_at or "still firing", one.labels) for one in found.firings]
    grid(["from", "until", "labels"], rows)
    click.echo(f"{len(found.firings)} firings, {found.flaps} of them flaps")


@alerts.command()
@click.option("--port", default=8477, show_default=True, type=click.IntRange(0, 65535))
@click.option("--host", default="127.0.0.1", show_default=True, help="Behind a TLS proxy.")
@placed
def serve(place: Place, port: int, host: str) -> None:
    """Answer the links in pages: who presses the button takes the alert.

    \b
    Example:  clinical-lakehouse alerts serve --port 8477
    """
    from clinical_lakehouse.local.acknowledging import serve as answer
    from clinical_lakehouse.local.progress import watch

    def ready(address: str) -> None:
        click.echo(f"answering links at {address}; Ctrl-C stops")

    with watch() as listen:
        answer(place.root, place.env, (host, port), listen, ready)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"{text!r} is no label; write name=value")
    return name, value.strip('"')


def _decide(place: Place, given: dict[str, str]) -> None:
    sys.exit(exit_code(perform(place, Request("alert_decision", given))))
