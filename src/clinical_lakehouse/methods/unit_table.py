"""Unit factors as rows for a broadcast join, and measurements with their standard unit."""

from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.methods.lab_analytes import analyte_of
from clinical_lakehouse.methods.units import conversion, is_ucum


def factor_rows(
    seen: Iterable[tuple[str, str]], targets: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """One row of gold.unit_factor per distinct (LOINC, unit) seen, made on the driver.

    A code's target unit is `targets`' or its analyte's; a code without one keeps a valid unit as
    sent. An unknown unit has no factor.
    """
    return [_factor_row(loinc, unit, targets or {}) for loinc, unit in sorted(set(seen))]


def with_standard_units(measurements: DataFrame, factors: DataFrame) -> DataFrame:
    """Measurements (loinc, unit_from, value) with unit_standard, value_standard, factor, offset,
    rule and unit_flag.

    Without a factor the standard value is null and the flag says why: missing_unit, unknown_unit,
    no_conversion or annotations_differ.
    """
    joined = measurements.join(F.broadcast(factors), ["loinc", "unit_from"], "left")
    return joined.withColumns(
        {
            "value_standard": F.col("value") * F.col("factor") + F.col("offset"),
            "unit_standard": F.when(F.col("is_known"), F.col("unit_to")),
            "rule": F.coalesce("rule", F.lit("missing_unit")),
            "unit_flag": _flag(),
        }
    ).drop("unit_to", "is_known")


def _factor_row(loinc: str, unit: str, targets: Mapping[str, str]) -> dict[str, Any]:
    analyte = analyte_of(loinc)
    declared = targets.get(loinc) or (analyte.unit if analyte else None)
    target = declared or (unit if is_ucum(unit) else None)
    found = conversion(unit, target or unit, analyte)
    return {
        "loinc": loinc,
        "unit_from": unit,
        "unit_to": target,
        "factor": found.factor,
        "offset": found.offset,
        "rule": found.rule,
        "is_known": found.is_known,
    }


def _flag() -> Column:
    is_known = F.coalesce("is_known", F.lit(False))
    return F.when(~is_known, F.coalesce("rule", F.lit("missing_unit")))
