"""Rules on sites: a favourite last digit, and a level that shifts in time (CUSUM and EWMA)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from math import sqrt
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.stats import chi2

from clinical_lakehouse.methods.control_charts import cusum, ewma
from clinical_lakehouse.quality.measurement_series import VALUES_MIN

# Family-wise error of all tests of a lake together (Bonferroni).
ALPHA = 0.001
DIGIT_VALUES_MIN = 100
# A digit is a favourite where it is this much more frequent than elsewhere: more than significant.
DIGIT_EXCESS_MIN = 0.1
WEEKS_MIN = 16
_BASELINE_SHARE = 0.4
# A baseline of few weeks estimates its own spread: wider than 5 and 2.7, of which one run of some
# 465 points alarms (Montgomery, table 9.3) and here are thousands.
CUSUM_HEIGHT, EWMA_WIDTH = 12.0, 4.0
# Without two other sites nobody can say which one moved.
SITES_MIN = 3
_MEDIAN_COST = 1.57  # a median's variance over a mean's: pi / 2
_WRONG = 5.0
_WRITTEN = 1e-9


def last_digits(rows: DataFrame) -> DataFrame:
    """One row per site, LOINC and last digit: how many values as sent end in it. The last digit is
    that of the fewest decimals, up to 2, that show 95% of the site's values of the test."""
    value = F.abs("value")
    fits = [
        F.avg((F.abs(value - F.round(value, places)) < _WRITTEN).cast("INT")) >= 0.95
        for places in (0, 1)
    ]
    places = F.when(fits[0], 0).when(fits[1], 1).otherwise(2)
    place = ["site_key", "loinc"]
    written = rows.groupBy(*place).agg(places.alias("places"))
    scaled = F.round(value * F.pow(F.lit(10), F.col("places"))).cast("BIGINT")
    digits = rows.join(F.broadcast(written), place).withColumn("digit", scaled % 10)
    return digits.groupBy("site_key", "loinc", "digit").agg(F.count("*").alias("n"))


def digit_preferences(counts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """gold.site_anomaly rows of sites whose last digits differ from the other sites' (chi-square of
    two rows and ten columns), with the digit that is most over its share elsewhere. The others
    count by the median of their shares, so that one of them that rounds accuses no one else."""
    tests: dict[str, dict[int, np.ndarray]] = defaultdict(lambda: defaultdict(lambda: np.zeros(10)))
    for row in counts:
        tests[row["loinc"]][row["site_key"]][row["digit"]] += row["n"]
    judged = [
        (site, loinc, own, _elsewhere([n for name, n in sites.items() if name != site]))
        for loinc, sites in tests.items()
        for site, own in sites.items()
        if len(sites) >= SITES_MIN
    ]
    judged = [one for one in judged if min(one[2].sum(), one[3].sum()) >= DIGIT_VALUES_MIN]
    found = [_digit_preference(*one, ALPHA / len(judged)) for one in judged]
    return [one for one in found if one]


def _elsewhere(others: list[np.ndarray]) -> np.ndarray:
    """The other sites' counts, as many as they are and shared as the median site does."""
    shares = np.median([one / one.sum() for one in others], axis=0)
    return np.asarray(shares / max(shares.sum(), _WRITTEN) * sum(one.sum() for one in others))


def _digit_preference(
    site: int, loinc: str, own: np.ndarray, others: np.ndarray, alpha: float
) -> dict[str, Any] | None:
    table = np.vstack([own, others])
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    score = float(((table - expected) ** 2 / expected).sum())
    share, elsewhere = own / own.sum(), others / others.sum()
    digit = int(np.argmax(share - elsewhere))
    is_even = table.shape[1] < 2 or chi2.sf(score, table.shape[1] - 1) >= alpha
    if is_even or share[digit] - elsewhere[digit] < DIGIT_EXCESS_MIN:
        return None
    noise = 4 * sqrt(elsewhere[digit] * (1 - elsewhere[digit]) / own.sum())
    return {
        "site_key": site,
        "loinc": loinc,
        "rule": "digit_preference",
        "value": float(share[digit]),
        "expected_low": max(0.0, float(elsewhere[digit]) - noise),
        "expected_high": min(1.0, float(elsewhere[digit]) + noise),
        "score": score,
        "since": None,
        "detail": f"share of values that end in {digit}",
    }


def weekly_levels(rows: DataFrame) -> DataFrame:
    """One row per site, LOINC and week: how many values, and their mean distance from each person's
    own median in standard deviations. Dates are shifted by person, so that a step looks like a
    slope of some weeks."""
    usable = rows.filter(f"person_count >= {VALUES_MIN} AND level > 0 AND person_level > 0")
    distance = (F.log("level") - F.log("person_level")) / F.col("sigma_within")
    # A single wrong value is another rule's matter.
    usable = usable.filter(F.abs(distance) < _WRONG)
    week = F.date_trunc("week", "day").cast("DATE").alias("week")
    return usable.groupBy("site_key", "loinc", week).agg(
        F.count("*").alias("n"), F.avg(distance).alias("mean")
    )


def site_shifts(weeks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """gold.site_anomaly rows of sites whose level, less that of the other sites in the same week,
    leaves its first weeks' level by CUSUM and EWMA both."""
    tests: dict[str, dict[date, dict[int, tuple[int, float]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in weeks:
        tests[row["loinc"]][row["week"]][row["site_key"]] = (row["n"], row["mean"])
    found = []
    for loinc, by_week in tests.items():
        for site in sorted({site for one in by_week.values() for site in one}):
            points = [
                (week, value)
                for week, one in sorted(by_week.items())
                if (value := _against_others(site, one)) is not None
            ]
            made = _shift(site, loinc, points)
            found += [made] if made else []
    return found


def _against_others(site: int, sites: Mapping[int, tuple[int, float]]) -> float | None:
    """The site's mean of the week less the median of the others', in standard errors: a shifted
    site among them moves no other's."""
    if site not in sites or len(sites) < SITES_MIN:
        return None
    count, mean = sites[site]
    others = [one for name, one in sites.items() if name != site]
    total = sum(n for n, _ in others)
    elsewhere = float(np.median([m for _, m in others]))
    return (mean - elsewhere) / sqrt(1 / count + _MEDIAN_COST / total)


def _shift(site: int, loinc: str, points: list[tuple[date, float]]) -> dict[str, Any] | None:
    if len(points) < WEEKS_MIN:
        return None
    values = [value for _, value in points]
    first = values[: int(len(values) * _BASELINE_SHARE)]
    target, sigma = float(np.mean(first)), max(float(np.std(first, ddof=1)), 1.0)
    sums = cusum(values, target, sigma)
    means = ewma(values, target, sigma, width=EWMA_WIDTH)
    out = [n for n, one in enumerate(sums) if one.height > CUSUM_HEIGHT]
    signal = next((n for n in out if means[n].is_out), None)
    if signal is None:
        return None
    one = sums[signal]
    began = signal - (one.count_above if one.above > one.below else one.count_below) + 1
    return {
        "site_key": site,
        "loinc": loinc,
        "rule": "site_shift",
        "value": means[signal].mean,
        "expected_low": means[signal].low,
        "expected_high": means[signal].high,
        "score": one.height,
        "since": points[began][0],
        "detail": "weekly level against the other sites, in standard errors: CUSUM and EWMA",
    }
