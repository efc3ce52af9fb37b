"""`clinical-lakehouse models`: versions and which is in use; promote, approve, roll back."""

import getpass
import sys

import click

from clinical_lakehouse.cli.place import Place, perform, placed, show_found
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.request import Request

_VERSIONS = """
    WITH last AS (SELECT model_name, max_by(to_version, promotion_number) AS version
                  FROM gold.model_promotion GROUP BY model_name)
    SELECT v.model_name, v.model_version,
           CASE WHEN l.version = v.model_version THEN 'in use' ELSE '' END AS state,
           v.algorithm, v.train_row_count, g.is_passed AS gate_passed, v.trained_at
    FROM gold.model_version v LEFT JOIN last l USING (model_name)
    LEFT JOIN gold.model_gate g USING (model_name, model_version)
    ORDER BY v.model_name, v.model_version DESC"""
_HISTORY = """
    SELECT model_name, promotion_number, action, from_version, to_version, decided_by, role,
           meaning, reason, coalesce(cause, '') AS cause, decided_at
    FROM gold.model_promotion ORDER BY model_name, promotion_number DESC"""


@click.group()
def models() -> None:
    """Model versions: which is in use, how it came there, and a person's decision on it."""


@models.command("list")
@placed
def list_(place: Place) -> None:
    """List the versions, the newest first, and which is in use.

    \b
    Example:  clinical-lakehouse models list
    """
    show_found(place, _VERSIONS, {}, "no version is trained yet; run model_training")


@models.command()
@placed
def history(place: Place) -> None:
    """List every change of the version in use: from, to, by whom and why.

    \b
    Example:  clinical-lakehouse models history
    """
    show_found(place, _HISTORY, {}, "no version was put in use yet; run model_deployment")


@models.command()
@click.option("--model", help="The model's name (default: that of the settings).")
@placed
def page(place: Place, model: str | None) -> None:
    """Write the page of a model: how it stands and for whom, what moved, who decided.

    \b
    Example:  clinical-lakehouse models page
    """
    from clinical_lakehouse.pages.model_page import write_model_page
    from clinical_lakehouse.runtime.clock import wall_clock
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.settings import load_settings

    name = model or load_settings(place.env).model.name
    lake = open_lake({"root": str(place.root)})
    out = place.root / "reports" / f"model-{name}.html"
    click.echo(f"page: {write_model_page(lake, name, wall_clock(), out)}")


@models.command()
@click.option("--model", default="", help="The model's name (default: that of the settings).")
@placed
def promote(place: Place, model: str) -> None:
    """Put the newest version in use, as far as its gate and the change control plan allow.

    \b
    Example:  clinical-lakehouse models promote
    """
    sys.exit(exit_code(perform(place, Request("model_deployment", {"model": model}, "promote"))))


@models.command()
@click.argument("version")
@click.option("--role", required=True, help="Your role, of conf/deployment/change_plan.yml.")
@click.option("--meaning", required=True, help="What you sign: review, approval, responsibility.")
@click.option("--why", required=True, help="Is kept with the signature.")
@click.option("--by", default=getpass.getuser, help="Who signs (default: you).")
@click.option("--model", default="", help="The model's name (default: that of the settings).")
@placed
def approve(place: Place, **given: str) -> None:
    """Sign a version; with the meaning approval, model_deployment puts it in use.

    \b
    Example:  clinical-lakehouse models approve 3 --role ml_lead --meaning approval --why 'CR-12'
    """
    sys.exit(exit_code(perform(place, Request("model_review", {"decision": "approve", **given}))))


@models.command()
@click.option("--to", "version", default="", help="The version (default: the one in use before).")
@click.option("--role", default="", help="Your role.")
@click.option("--why", required=True, help="Is kept with the decision.")
@click.option("--by", default=getpass.getuser, help="Who decides (default: you).")
@click.option("--model", default="", help="The model's name (default: that of the settings).")
@placed
def rollback(place: Place, **given: str) -> None:
    """Put the version in use before back in use, now; the bad one is not promoted again.

    \b
    Example:  clinical-lakehouse models rollback --why 'scores look wrong at site 3'
    """
    sys.exit(exit_code(perform(place, Request("model_review", {"decision": "rollback", **given}))))


@models.command()
@click.option("--port", type=int, default=8478, help="Where it listens (default 8478).")
@click.option("--host", default="127.0.0.1", help="Address (default: this machine only).")
@click.option("--model", help="The model's name (default: that of the settings).")
@placed
def serve(place: Place, port: int, host: str, model: str | None) -> None:
    """Answer POST /invocations with the version in use; a rollback takes effect at once.

    \b
    Example:  clinical-lakehouse models serve --port 8478
    """
    from clinical_lakehouse.local.serving import Shelf
    from clinical_lakehouse.local.serving import serve as answer
    from clinical_lakehouse.runtime.settings import load_settings

    def ready(address: str) -> None:
        click.echo(f"answering at {address}/invocations; Ctrl-C stops")

    settings = load_settings(place.env).model
    shelf = Shelf(place.root, hold_out_ratio=settings.hold_out_ratio)
    answer(shelf, model or settings.name, (host, port), ready)
