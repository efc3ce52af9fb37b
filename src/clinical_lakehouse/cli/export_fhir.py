"""`clinical-lakehouse export-fhir`: what silver holds of a subject, as FHIR R4."""

from pathlib import Path

import click

from clinical_lakehouse.cli.place import Place, placed


@click.command("export-fhir")
@click.argument("subject_keys", type=int, nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--layout", default="bundle", help="bundle: one a subject; ndjson: one file a type.")
@click.option("--agreement", help="Id of the data use agreement; without one, years only.")
@placed
def export_fhir(
    place: Place, subject_keys: tuple[int, ...], out: Path, layout: str, agreement: str | None
) -> None:
    """Write subjects (everybody, if none is named) as FHIR R4, de-identified as silver is.

    \b
    Examples:  clinical-lakehouse export-fhir 4711 --out subject-4711
               clinical-lakehouse export-fhir --layout ndjson --agreement DUA-7 --out export
    """
    from clinical_lakehouse.operators.fhir_transformer import NOT_KEPT, READS, FHIRTransformer
    from clinical_lakehouse.runtime.blocks import refuse_reading
    from clinical_lakehouse.runtime.clock import wall_clock
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.run import Run
    from clinical_lakehouse.runtime.settings import load_settings

    settings = load_settings(place.env)
    run = Run(open_lake({"root": str(place.root)}), settings, wall_clock(), "export-fhir")
    refuse_reading(run.lake, READS)
    said = FHIRTransformer(out, layout, subject_keys, agreement).execute(run)
    click.echo(f"{out}: {', '.join(f'{value} {name}' for name, value in said.items())}")
    click.echo("not kept, because silver does not hold it:")
    for what in NOT_KEPT:
        click.echo(f"  - {what}")
