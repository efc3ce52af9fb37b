"""Is a site's unit mislabelled: its level against the other sites', on the log scale."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import median

from clinical_lakehouse.methods.control_charts import MAD_TO_SIGMA
from clinical_lakehouse.methods.lab_analytes import analyte_of
from clinical_lakehouse.methods.units import conversion

MIN_SITES = 3
MIN_PERSONS = 5
SIGMAS = 4.0
# Populations of honest sites differ by this much on the log scale, however many people they have.
BETWEEN_SITES_MIN = 0.05
_MEDIAN_ERROR = 1.2533  # standard error of a median: sqrt(pi / 2) sigma / sqrt(n)
_ALTERNATIVES = (
    *("mg/dL", "g/dL", "g/L", "mg/L", "ug/dL", "ug/L", "ng/mL", "ng/dL", "pg/mL"),
    *("mmol/L", "umol/L", "nmol/L", "pmol/L", "meq/L", "U/L", "ukat/L", "%", "1", "10*9/L", "/uL"),
    *("10*3/uL", "Cel", "[degF]", "kg", "[lb_av]", "g", "cm", "[in_i]", "m", "mm[Hg]", "kPa"),
)


@dataclass(frozen=True)
class SiteLevel:
    """One site, LOINC and labelled unit: persons, and median and MAD of ln(person's median)."""

    site_key: int
    loinc: str
    unit: str
    person_count: int
    log_median: float
    log_mad: float


@dataclass(frozen=True)
class Suspicion:
    """A site's values look as if they were in another unit than labelled.

    `ratio` is its median over the median of the other sites, `expected_ratio` what the other unit
    would make of it; `bound` is the noise on the log scale that both were judged by.
    """

    site_key: int
    loinc: str
    labelled_unit: str
    suspected_unit: str
    ratio: float
    expected_ratio: float
    bound: float
    person_count: int
    site_count: int


def suspicions(levels: Iterable[SiteLevel]) -> list[Suspicion]:
    """Sites whose level is off by a known factor: outside the noise around the other sites' median,
    and within it around what another unit would show.

    Needs at least MIN_SITES sites of MIN_PERSONS people that use the same unit, most of them right.
    """
    groups: dict[tuple[str, str], list[SiteLevel]] = defaultdict(list)
    for level in levels:
        if level.person_count >= MIN_PERSONS:
            groups[level.loinc, level.unit].append(level)
    found = [_judge(level, group) for group in groups.values() for level in group]
    return [one for one in found if one]


def _judge(level: SiteLevel, group: list[SiteLevel]) -> Suspicion | None:
    if len(group) < MIN_SITES:
        return None
    others = [o.log_median for o in group if o.site_key != level.site_key]
    center = median(others)
    between = max(MAD_TO_SIGMA * median(abs(o - center) for o in others), BETWEEN_SITES_MIN)
    # The group's typical spread: a site of equal values would otherwise have no noise at all.
    within = MAD_TO_SIGMA * max(level.log_mad, median(o.log_mad for o in group))
    bound = SIGMAS * sqrt(between**2 + (_MEDIAN_ERROR * within) ** 2 / level.person_count)
    shift = level.log_median - center
    if abs(shift) <= bound:
        return None
    expected = expected_shifts(level.loinc, level.unit, exp(center))
    near = [(abs(shift - e), unit, e) for unit, e in expected if abs(shift - e) <= bound]
    if not near:
        return None
    _, unit, ideal = min(near)
    return Suspicion(
        level.site_key,
        level.loinc,
        level.unit,
        unit,
        ratio=exp(shift),
        expected_ratio=exp(ideal),
        bound=bound,
        person_count=level.person_count,
        site_count=len(group),
    )


def expected_shifts(loinc: str, labelled: str, typical: float) -> list[tuple[str, float]]:
    """By unit: ln(what a typical value reads in it / the typical value), where that is not 0."""
    expected = []
    for unit in _ALTERNATIVES:
        found = conversion(labelled, unit, analyte_of(loinc))
        if found.factor is None or found.offset is None or unit == labelled:
            continue
        reading = typical * found.factor + found.offset
        if reading > 0 and abs(log(reading / typical)) > 1e-9:
            expected.append((unit, log(reading / typical)))
    return expected
