"""Leave one site out: does the recipe work at a site it has never seen, and which one is odd."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from clinical_lakehouse.methods import calibration, discrimination
from clinical_lakehouse.methods.intervals import Interval, normal_quantile
from clinical_lakehouse.methods.random_effects import deleted_residuals, pool
from clinical_lakehouse.methods.small_cells import SMALLEST_CELL
from clinical_lakehouse.training.held_out import risk, tested
from clinical_lakehouse.training.mitigation import refit

MEASURES = ("auroc", "observed_expected", "calibration_slope")
_ALPHA = 0.05
_JUDGED = 10  # people with the outcome, below which a site's limits are too rough to call it odd
_SCALES = {
    "auroc": (special.logit, special.expit),
    "observed_expected": (np.log, np.exp),
    "calibration_slope": (lambda value: value, lambda value: value),
}


@dataclass(frozen=True)
class SiteFigure:
    """One measure of one site that the model was not fitted on, or of all sites pooled (no key):
    then with the interval for a new site. `is_named`: far from what the other sites say."""

    organization_key: int | None
    measure: str
    value: float
    low: float
    high: float
    row_count: int
    event_count: int
    person_count: int
    event_person_count: int
    new_site_low: float | None = None
    new_site_high: float | None = None
    heterogeneity_ratio: float | None = None
    p_value: float | None = None
    is_named: bool = False


def leave_site_out(rows: pd.DataFrame, model: Any, names: Sequence[str]) -> list[SiteFigure]:
    """AUROC, O/E and calibration slope of each site of at least 11 people among the held-out rows,
    by the recipe refitted on the training rows of the other sites; then pooled.

    A site is named where its deleted residual is beyond chance over all sites and measures (Holm
    1979). Nothing for fewer than two sites.
    """
    test, train = tested(rows), rows[~rows["is_test"]]
    sites = sorted(test["organization_key"].dropna().unique())
    if len(sites) < 2:
        return []
    found: list[SiteFigure] = []
    for site in sites:
        others, own = (
            train[train["organization_key"] != site],
            test[test["organization_key"] == site],
        )
        enough = own["subject_key"].nunique() >= SMALLEST_CELL
        if enough and others["is_event"].nunique() == 2:
            found += _measures(int(site), own, risk(refit(model, others, names), own, names))
    pooled = [one for measure in MEASURES for one in _pooled(measure, found)]
    return [*_named(found), *pooled]


def _measures(site: int, own: pd.DataFrame, scores: np.ndarray) -> list[SiteFigure]:
    events, people = own["is_event"].to_numpy(bool), own["subject_key"].to_numpy()
    fitted = calibration.recalibration(events, scores, people)
    measured = {
        "auroc": discrimination.auroc(events, scores, people),
        "observed_expected": calibration.observed_expected(events, scores, clusters=people),
        "calibration_slope": fitted.slope if fitted else None,
    }
    counts = len(own), int(events.sum()), len(np.unique(people)), len(np.unique(people[events]))
    return [
        SiteFigure(site, measure, one.value, one.low, one.high, *counts)
        for measure, one in measured.items()
        if one is not None and _error(measure, one) is not None
    ]


def _error(measure: str, figure: Interval | SiteFigure) -> float | None:
    """The standard error on the scale that is pooled; None where there is none."""
    inside = measure != "auroc" or 0 < figure.value < 1
    if not inside or (measure == "observed_expected" and figure.value <= 0):
        return None
    forth = _SCALES[measure][0]
    error = float(forth(figure.high) - forth(figure.low)) / (2 * normal_quantile(0.95))
    return error if np.isfinite(error) and error > 0 else None


def _pooled(measure: str, found: Sequence[SiteFigure]) -> list[SiteFigure]:
    own = [one for one in found if one.measure == measure]
    forth, back = _SCALES[measure]
    whole = pool([forth(one.value) for one in own], [_error(measure, one) or 0.0 for one in own])
    if whole is None:
        return []
    mean, new = whole.mean, whole.new_site
    figure = SiteFigure(
        organization_key=None,
        measure=measure,
        value=float(back(mean.value)),
        low=float(back(mean.low)),
        high=float(back(mean.high)),
        row_count=sum(one.row_count for one in own),
        event_count=sum(one.event_count for one in own),
        person_count=sum(one.person_count for one in own),
        event_person_count=sum(one.event_person_count for one in own),
        new_site_low=float(back(new.low)),
        new_site_high=float(back(new.high)),
        heterogeneity_ratio=whole.heterogeneity,
    )
    return [figure]


def _named(found: Sequence[SiteFigure]) -> list[SiteFigure]:
    judged: list[SiteFigure] = []
    for measure in MEASURES:
        own = [o for o in found if o.measure == measure and o.event_person_count >= _JUDGED]
        forth = _SCALES[measure][0]
        errors = [_error(measure, one) or 1.0 for one in own]
        far = deleted_residuals([float(forth(one.value)) for one in own], errors)
        judged += [
            replace(one, p_value=float(2 * stats.norm.sf(abs(gap))))
            for one, gap in zip(own, far, strict=True)
        ]
    order = sorted(judged, key=lambda one: one.p_value or 0.0)
    limits = [_ALPHA / (len(order) - place) for place in range(len(order))]
    proven = 0
    while proven < len(order) and (order[proven].p_value or 0.0) <= limits[proven]:
        proven += 1
    rest = [one for one in found if one.event_person_count < _JUDGED]
    return [*(replace(one, is_named=place < proven) for place, one in enumerate(order)), *rest]
