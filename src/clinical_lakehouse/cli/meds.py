"""`clinical-lakehouse meds`: MEDS folders out of the lake, and ACES labels on either."""

from pathlib import Path
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.output import grid


@click.group()
def meds() -> None:
    """Events in the Medical Event Data Standard, and labels of ACES tasks."""


@meds.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--agreement", help="Id of the data use agreement: events carry shifted dates.")
@click.option("--shards", default=1, show_default=True, help="Files a split.")
@placed
def export(place: Place, out: Path, agreement: str | None, shards: int) -> None:
    """Write what omop holds as a MEDS folder: data by split, codes, splits, dataset.json.

    \b
    Example:  clinical-lakehouse meds export --agreement DUA-7 --out meds
    """
    from clinical_lakehouse.runtime.clock import wall_clock
    from clinical_lakehouse.runtime.ledger import code_version
    from clinical_lakehouse.runtime.meds_folder import Dataset, write_meds
    from clinical_lakehouse.runtime.settings import load_settings
    from clinical_lakehouse.training import meds_events as made

    named = agreement or load_settings(place.env).privacy.data_use_agreement
    if not named:
        raise UsageError("events carry dates; name the data use agreement with --agreement")
    cdm = _cdm(place, made.TABLES)
    events = made.meds_events(cdm)
    facts = {
        "dataset_name": "clinical_lakehouse",
        "dataset_version": named,
        "etl_name": "clinical_lakehouse",
        "etl_version": code_version(),
        "created_at": wall_clock().isoformat(),
        "code_modifier_columns": ["unit"],
    }
    codes = made.code_metadata(events, cdm["concept"])
    write_meds(Dataset(events, made.subject_splits(events), codes, facts), out, shards)
    click.echo(f"{out}: written under {named}")


@meds.command()
@click.argument("folder", type=click.Path(path_type=Path))
@placed
def read(place: Place, folder: Path) -> None:
    """Say what a MEDS folder holds.

    \b
    Example:  clinical-lakehouse meds read meds
    """
    from pyspark.sql import functions as F

    found = _folder(place, folder).groupBy("split").agg(
        F.count_distinct("subject_id").alias("subjects"),
        F.count(F.lit(1)).alias("events"),
        F.count_distinct("code").alias("codes"),
        F.count("numeric_value").alias("values"),
        F.min("time").alias("first"),
        F.max("time").alias("last"),
    )  # fmt: skip
    rows = found.orderBy("split").collect()
    grid(found.columns, [list(row) for row in rows])


@meds.command()
@click.argument("task", metavar="TASK.yaml", type=click.Path(path_type=Path))
@click.option("--input", "folder", type=click.Path(path_type=Path), help="A MEDS folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new Parquet file.")
@placed
def labels(place: Place, task: Path, folder: Path | None, out: Path) -> None:
    """Label the triggers of an ACES task, in a MEDS folder or in this lake, and count who fell
    where.

    \b
    Example:  clinical-lakehouse meds labels readmission.yaml --input meds --out labels.parquet
    """
    from clinical_lakehouse.runtime.meds_folder import write_labels
    from clinical_lakehouse.training.aces_labels import label_triggers, steps
    from clinical_lakehouse.training.aces_task import read_task
    from clinical_lakehouse.training.attrition import counted, only_labelled

    if not task.is_file():
        raise UsageError(f"cannot read {task}; give the YAML file of an ACES task")
    read_one = read_task(task.resolve(), task.resolve().parent)
    if read_one.label is None or read_one.index is None:
        raise UsageError(f"{task} needs a window with a label and one with an index_timestamp")
    triggers = label_triggers(read_one, _events(place, folder)).cache()
    told = counted(steps(read_one), triggers)
    write_labels(only_labelled(triggers), out)
    grid(("step", "before", "dropped", "left"), [_row(step) for step in told])
    click.echo(f"{out}: {told[-1].after} labels")


def _row(step: Any) -> tuple[str, int, int, int]:
    return step.name, step.before, step.dropped, step.after


def _events(place: Place, folder: Path | None) -> Any:
    from clinical_lakehouse.training.meds_events import TABLES, meds_events

    return _folder(place, folder) if folder else meds_events(_cdm(place, TABLES))


def _folder(place: Place, folder: Path) -> Any:
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.meds_folder import read_meds

    return read_meds(open_lake({"root": str(place.root)}), folder)


def _cdm(place: Place, names: tuple[str, ...]) -> dict[str, Any]:
    from clinical_lakehouse.runtime.blocks import refuse_reading
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.tables.catalog import table_named

    lake = open_lake({"root": str(place.root)})
    tables = {name: table_named(f"omop.{name}") for name in names}
    refuse_reading(lake, list(tables.values()))
    return {name: lake.read(table) for name, table in tables.items()}
