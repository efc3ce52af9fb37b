"""`clinical-lakehouse retrain`: a registered version trained again, and held against itself."""

import sys

import click

from clinical_lakehouse.cli.place import Place, perform, placed
from clinical_lakehouse.local.execution import exit_code
from clinical_lakehouse.local.request import Request


@click.command()
@click.option("--run", "tracking_run", required=True, help="tracking_run_id of a model version.")
@placed
def retrain(place: Place, tracking_run: str) -> None:
    """Train the version of an MLflow run again: same rows, same predictions, or it fails.

    \b
    Example:  clinical-lakehouse retrain --run 0f3c...
    """
    request = Request("model_reproduction", {"tracking_run": tracking_run})
    sys.exit(exit_code(perform(place, request)))
