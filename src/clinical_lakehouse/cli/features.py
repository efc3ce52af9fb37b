"""`clinical-lakehouse features`: what is declared, computed, served; sets to train on."""

import getpass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from clinical_lakehouse.cli.place import Place, placed
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.local.output import grid


@click.group()
def features() -> None:
    """Feature groups of conf/features: values, versions, training sets."""


@features.command("list")
@placed
def list_(place: Place) -> None:
    """List every declared feature: unit, source, what it means.

    \b
    Example:  clinical-lakehouse features list
    """
    rows = [
        (group.name, feature.name, feature.unit, series.source, series.meaning)
        for group in _declared().values()
        for series in group.series
        for feature in group.features
        if feature.series == series.name
    ]
    grid(("group", "feature", "unit", "source", "meaning"), rows)


@features.command()
@click.argument("key", type=int)
@click.option("--group", "only", help="Only this group.")
@click.option("--log", is_flag=True, help="Note the read down; feature_store works it out again.")
@placed
def get(place: Place, key: int, only: str | None, log: bool) -> None:
    """Read one person's features online, without Spark.

    \b
    Example:  clinical-lakehouse features get 4711 --group labs --log
    """
    from clinical_lakehouse.runtime.clock import wall_clock
    from clinical_lakehouse.runtime.online_features import OnlineFeatures, online_place
    from clinical_lakehouse.runtime.settings import load_settings

    store = OnlineFeatures(online_place(place.root, load_settings(place.env)), must_exist=True)
    names = [name for name in sorted(store.serving()) if only in (None, name)]
    at = wall_clock()
    found = [store.get(name, key, at if log else None) for name in names]
    rows = [
        (one.feature_group, name, "" if value is None else f"{value:g}",
         one.null_reasons.get(name, ""), one.index_date, one.feature_version,
         f"{one.age(at) / timedelta(hours=1):.0f} h")
        for one in found if one for name, value in sorted(one.values.items())
    ]  # fmt: skip
    if not rows:
        raise UsageError("nothing is served under that key and group")
    grid(("group", "feature", "value", "why null", "index date", "version", "age"), rows)


@features.command()
@click.argument("name")
@placed
def explain(place: Place, name: str) -> None:
    """Say how a feature is made.

    \b
    Example:  clinical-lakehouse features explain hba1c_slope_180d
    """
    for group in _declared().values():
        for feature in group.features:
            if feature.name == name:
                series = next(one for one in group.series if one.name == feature.series)
                told = {"group": group.name, "meaning": series.meaning, "unit": feature.unit,
                        "aggregation": feature.aggregation, "window in days": feature.window_days,
                        "source": series.source, "codes": ", ".join(series.codes) or "any",
                        "classes": ", ".join(map(str, series.classes)) or "none",
                        "unit of values": series.unit or "none", "plausible": series.plausible,
                        "normal": series.normal, "known": group.knowledge,
                        "owner": group.owner}  # fmt: skip
                grid(("what", "how"), list(told.items()))
                return
    raise UsageError(f"no feature {name!r}; see clinical-lakehouse features list")


@features.command()
@click.argument("group")
@placed
def verdict(place: Place, group: str) -> None:
    """Say what the change of a group's file asks for, against the version in use.

    \b
    Example:  clinical-lakehouse features verdict labs
    """
    from clinical_lakehouse.features.feature_store import current_groups, definition, in_use
    from clinical_lakehouse.features.meaning import verdict as judged
    from clinical_lakehouse.features.meaning import version_of

    run = _opened(place)
    using, now = in_use(run).get(group), current_groups(run).get(group)
    if using is None or now is None:
        raise UsageError(f"{group!r} is not both declared and in use; run the job feature_store")
    before = definition(run, group, using["feature_version"])
    click.echo(f"{group}: {judged(before, now).value} ({version_of(before)} -> {version_of(now)})")


@features.command()
@click.argument("group")
@click.argument("version", required=False)
@placed
def compare(place: Place, group: str, version: str | None) -> None:
    """Compare a version (default: that of conf/features) with the one in use, feature by feature.

    \b
    Example:  clinical-lakehouse features compare labs
    """
    from clinical_lakehouse.features.comparison import compared
    from clinical_lakehouse.features.feature_store import current_groups, in_use
    from clinical_lakehouse.features.meaning import version_of
    from clinical_lakehouse.tables.gold_feature_store import FEATURE_VALUE

    run = _opened(place)
    using, declared = in_use(run).get(group), current_groups(run)
    if using is None or (version is None and group not in declared):
        raise UsageError(f"no version of {group!r} is in use; run the job feature_store")
    wanted = version or version_of(declared[group])
    rows = run.lake.read(FEATURE_VALUE).where(f"feature_group = '{using['feature_group']}'")
    versions = [rows.where(rows["feature_version"] == v)
                for v in (using["feature_version"], wanted)]  # fmt: skip
    found = compared(*versions).collect()
    if not found:
        raise UsageError(f"version {wanted} of {group} is not computed; run the job feature_store")
    grid(list(found[0].asDict()), found)


@features.command()
@click.argument("group")
@click.argument("version")
@click.option("--why", required=True, help="The reason, for the record.")
@placed
def promote(place: Place, group: str, version: str, why: str) -> None:
    """Let a computed version come into use; the job feature_store then publishes it.

    \b
    Example:  clinical-lakehouse features promote labs 3f2a9c01b7de --why "New assay range."
    """
    from clinical_lakehouse.features.feature_store import definition

    run = _opened(place)
    definition(run, group, version)
    _change(run, group, version, "promote", why)


@features.command()
@click.argument("group")
@click.option("--why", required=True, help="The reason, for the record.")
@placed
def rollback(place: Place, group: str, why: str) -> None:
    """Let the version that was in use before come into use again.

    \b
    Example:  clinical-lakehouse features rollback labs --why "Wrong unit at site 4."
    """
    from clinical_lakehouse.features.feature_store import in_use, used_before

    run = _opened(place)
    if group not in in_use(run):
        raise UsageError(f"no version of {group!r} is in use; run the job feature_store")
    _change(run, group, used_before(run, group), "rollback", why)


@features.command("training-set")
@click.argument("labels", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--group", default="labs", show_default=True)
@click.option("--as-of", help="What the lake knew then enters (default now).")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--again", type=click.Path(exists=True, path_type=Path),
              help="A manifest: make its set again, byte by byte.")  # fmt: skip
@placed
def training_set(place: Place, labels: Path | None, **options: Any) -> None:
    """Write LABELS (CSV: subject_key, at, ...) with features as of each `at`, and a manifest.

    \b
    Examples:  clinical-lakehouse features training-set labels.csv --group labs --out sets
               clinical-lakehouse features training-set --again sets/ID.manifest.json --out again
    """
    from clinical_lakehouse.local import training_set_file as files

    if (labels is None) == (options["again"] is None):
        raise UsageError("give LABELS, or --again MANIFEST")
    run = _opened(place)
    if labels is None:
        wanted = files.read_wanted(options["again"])
    else:
        wanted = files.new_wanted(run, labels, options["group"], options["as_of"])
    made = files.write_training_set(run, wanted, options["out"])
    click.echo(f"{options['out'] / made['file']}: {made['row_count']} rows of {made['label_count']}"
               f" labels, {len(made['missing'])} people missing, see the manifest")  # fmt: skip


def _declared() -> Any:
    from clinical_lakehouse.features.groups import load_groups
    from clinical_lakehouse.tables.conf import conf_dir

    return load_groups(conf_dir())


def _change(run: Any, group: str, version: str, action: str, why: str) -> None:
    from clinical_lakehouse.features.feature_store import in_use
    from clinical_lakehouse.features.feature_store import promote as come_into_use

    using = in_use(run).get(group)
    if using and using["feature_version"] == version:
        raise UsageError(f"version {version} of {group} is in use already")
    number = using["promotion_number"] + 1 if using else 1
    row = {"feature_group": group, "feature_version": version, "promotion_number": number,
           "action": action, "decided_by": getpass.getuser(), "why": why}  # fmt: skip
    come_into_use(run, row)
    click.echo(f"{group}: version {version} is in use; run feature_store to serve it online")


def _opened(place: Place) -> Any:
    from clinical_lakehouse.runtime.clock import wall_clock
    from clinical_lakehouse.runtime.entry import open_lake
    from clinical_lakehouse.runtime.run import Run
    from clinical_lakehouse.runtime.settings import load_settings

    lake = open_lake({"root": str(place.root)})
    return Run(lake, load_settings(place.env), wall_clock(), "features")
