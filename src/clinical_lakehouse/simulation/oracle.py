"""The best any model can reach on a simulated trial, row by row, from its truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.simulation.hazard import risk


@dataclass(frozen=True)
class IndexRow:
    """A subject at risk on an index date with complete follow-up.

    `risk` is the true probability of dropping out within the horizon, `risk_measured` what the
    covariates as recorded give: the most a model that does not know of the bias can reach.
    """

    patient_id: str
    index_date: date
    is_dropout: bool
    risk: float
    risk_measured: float


def index_rows(
    truth: Mapping[str, Any], index_dates: Sequence[date], horizon_days: int = 90
) -> Iterator[IndexRow]:
    """One row per subject and index date, for subjects randomised and still on study that day.

    Left out: index dates whose horizon passes the trial's end, and deaths within the horizon.
    The label is a dropout on one of the `horizon_days` days after the index date.
    """
    end = date.fromisoformat(truth["plan"]["end"])
    concept_from = date.fromisoformat(truth["drift"]["concept"]["from"])
    horizon = timedelta(days=horizon_days)
    for subject in truth["subjects"]:
        first = date.fromisoformat(subject["randomised_date"])
        dropout = date.fromisoformat(subject["dropout_date"] or date.max.isoformat())
        death = date.fromisoformat(subject["death_date"] or date.max.isoformat())
        for day in index_dates:
            last = day + horizon
            if not first <= day < min(dropout, death) or last >= end or death <= last:
                continue
            before = min(max((concept_from - day).days - 1, 0), horizon_days)
            yield IndexRow(
                patient_id=subject["patient_id"],
                index_date=day,
                is_dropout=dropout <= last,
                risk=_risk(subject, "daily_hazard", before, horizon_days),
                risk_measured=_risk(subject, "daily_hazard_measured", before, horizon_days),
            )


def _risk(subject: Mapping[str, Any], hazard: str, before: int, days: int) -> float:
    total = subject[f"{hazard}_before"] * before + subject[f"{hazard}_after"] * (days - before)
    return risk(total, 1)


def best_auroc(
    truth: Mapping[str, Any],
    index_dates: Sequence[date],
    horizon_days: int = 90,
    is_measured: bool = False,
) -> float:
    """AUROC of the true risk (or of that from measured covariates) over `index_rows`."""
    rows = list(index_rows(truth, index_dates, horizon_days))
    scores = [row.risk_measured if is_measured else row.risk for row in rows]
    return auroc([row.is_dropout for row in rows], scores)


def auroc(labels: Sequence[bool], scores: Sequence[float]) -> float:
    """Area under the ROC curve; ties count half (Mann-Whitney U over n1 n0)."""
    label = np.asarray(labels, dtype=bool)
    positives, negatives = int(label.sum()), int((~label).sum())
    if not positives or not negatives:
        raise UsageError("AUROC needs rows of both outcomes; choose more index dates or subjects")
    _, inverse, count = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[inverse]
    u = ranks[label].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def weekly(first: date, last: date) -> tuple[date, ...]:
    """Index dates from `first` to `last`, a week apart."""
    return tuple(first + timedelta(weeks=n) for n in range((last - first).days // 7 + 1))
