"""The measurement_quality job: values and sites that look wrong, each with rule and range."""

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.quality.measurement_rules import (
    changes,
    factor_rows,
    outliers,
    scale_errors,
    typical_levels,
)
from clinical_lakehouse.quality.measurement_series import series, with_reference
from clinical_lakehouse.quality.measurement_visits import (
    copied_visits,
    frozen_devices,
    shifted_dates,
    swapped_subjects,
)
from clinical_lakehouse.quality.site_rules import (
    digit_preferences,
    last_digits,
    site_shifts,
    weekly_levels,
)
from clinical_lakehouse.runtime.alerts import Finding, emit
from clinical_lakehouse.runtime.reading import rows_of
from clinical_lakehouse.runtime.run import Metrics, Run
from clinical_lakehouse.runtime.task import task
from clinical_lakehouse.tables.gold_measurement_quality import (
    MEASUREMENT_ANOMALY,
    MEASUREMENT_LEVEL,
    SITE_ANOMALY,
)
from clinical_lakehouse.tables.gold_standardization import UNIT_CONVERSION
from clinical_lakehouse.tables.omop_clinical import MEASUREMENT, VISIT_OCCURRENCE
from clinical_lakehouse.tables.ops import ALERT_EVENT

_READ = [UNIT_CONVERSION, MEASUREMENT, VISIT_OCCURRENCE]


@task(reads=_READ, writes=[MEASUREMENT_LEVEL], inspects=True)
def compare(run: Run) -> Metrics:
    """Put every numeric measurement beside its person's and its test's usual level, once for all
    rules."""
    rows = with_reference(series(*(run.lake.read(table) for table in _READ)))
    return {"measurement_count": run.lake.replace(MEASUREMENT_LEVEL, rows).inserted}


@task(reads=[MEASUREMENT_LEVEL], writes=[MEASUREMENT_ANOMALY], inspects=True)
def judge(run: Run) -> Metrics:
    """List every measurement that breaks a rule: another unit, a slipped decimal, an outlier, too
    large a change, a copied visit, swapped people, a shifted date, a frozen device."""
    rows = run.lake.read(MEASUREMENT_LEVEL)
    factors = factor_rows(typical_levels(rows))
    made = [scale_errors(rows, factors)] + [
        rule(rows)
        for rule in (
            *(outliers, changes, copied_visits, swapped_subjects, shifted_dates, frozen_devices),
        )
    ]
    run.lake.replace(MEASUREMENT_ANOMALY, reduce(DataFrame.unionByName, made))
    told = run.lake.read(MEASUREMENT_ANOMALY).groupBy("rule").agg(F.count("*").alias("n"))
    return {f"{row['rule']}_count": row["n"] for row in told.orderBy("rule").collect()}


@task(reads=[MEASUREMENT_LEVEL], writes=[SITE_ANOMALY, ALERT_EVENT], inspects=True)
def judge_sites(run: Run) -> Metrics:
    """List every site with a favourite last digit or a level that shifts, and alert on each."""
    rows = run.lake.read(MEASUREMENT_LEVEL)
    digits, weeks = rows_of([last_digits(rows), weekly_levels(rows)])
    found = digit_preferences(digits) + site_shifts(weeks)
    run.lake.replace(SITE_ANOMALY, found)
    findings = [
        Finding(
            "site_anomaly",
            "warning",
            {"site": str(one["site_key"]), "loinc": one["loinc"], "rule": one["rule"]},
            one["value"],
            one["expected_high"],
            f"{one['rule']} at a site; see gold.site_anomaly",
            run.as_of,
        )
        for one in found
    ]
    emit(run, judge_sites.name, findings)
    return {"site_anomalies": len(found)}
