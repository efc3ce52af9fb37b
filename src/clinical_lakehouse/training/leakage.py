"""Inputs that know what they cannot know: each leak is named, by kind and input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from clinical_lakehouse.methods import discrimination
from clinical_lakehouse.training.families import CATEGORIES

FUTURE, DERIVED, ORDERED, SITE, DUPLICATE = (
    "future value", "derived from the outcome", "ordered id", "site code", "duplicated subject",
)  # fmt: skip
_SURE = 0.995  # an input alone that ranks like this is the outcome, under another name
_STRONG = 0.9  # one that ranks like this, and far better than any other, comes after it
_GAIN = 0.05
_ORDERED = 0.98  # rank correlation with the order of enrolment
_OF_SITE = 0.95  # share of rows whose site the input tells
_FEWEST_SUBJECTS = 20


@dataclass(frozen=True)
class Leak:
    """A leak: its kind, the input (or * for all of them), what was measured and its limit."""

    kind: str
    feature: str
    value: float
    limit: float


def leaks(rows: pd.DataFrame, names: Sequence[str]) -> list[Leak]:
    """Look at labelled rows (is_event, keys, index_date, organization_key) for inputs that
    rank like the outcome itself or like its consequence, number people as they came, or stand for
    the site; and for people who are there twice under two keys, in training and test."""
    people = rows.sort_values("index_date").drop_duplicates("subject_key")
    found: list[Leak] = []
    for name in names:
        numbers = pd.Series(_numbers(rows[name]), index=rows.index)
        found += _outcome(rows, numbers, name, names)
        if len(people) >= _FEWEST_SUBJECTS:
            found += [*_ordered(people, numbers, name), *_of_site(people, name)]
    return [*found, *_twice(rows, names)]


def _numbers(values: pd.Series) -> np.ndarray:
    """Categories as codes, missing values as a value of their own below all others."""
    if values.dtype == object or isinstance(values.dtype, pd.CategoricalDtype):
        return pd.factorize(values, sort=True)[0].astype(float)
    numbers = values.to_numpy(dtype=float)
    low = np.nanmin(numbers) - 1 if np.isfinite(numbers).any() else 0.0
    return np.where(np.isnan(numbers), low, numbers)


def _outcome(
    rows: pd.DataFrame, numbers: pd.Series, name: str, names: Sequence[str]
) -> Iterator[Leak]:
    events = rows["is_event"].to_numpy(bool)
    area = discrimination.auroc(events, numbers.to_numpy())
    alone = max(area.value, 1 - area.value) if area else 0.0
    if alone >= _SURE:
        yield Leak(DERIVED, name, alone, _SURE)
    elif alone >= _STRONG and alone - _others(rows, name, names) >= _GAIN:
        yield Leak(FUTURE, name, alone, _STRONG)


def _others(rows: pd.DataFrame, name: str, names: Sequence[str]) -> float:
    """The best AUROC of another input alone; 0.5 without one."""
    rest = (_numbers(rows[other]) for other in names if other != name)
    areas = [discrimination.auroc(rows["is_event"], numbers) for numbers in rest]
    return max((max(a.value, 1 - a.value) for a in areas if a), default=0.5)


def _ordered(people: pd.DataFrame, numbers: pd.Series, name: str) -> Iterator[Leak]:
    own = numbers.loc[people.index].to_numpy()
    if len(np.unique(own)) < 0.95 * len(own) or not (own == np.round(own)).all():
        return
    came = pd.to_datetime(people["index_date"]).astype("int64").to_numpy()
    found = abs(float(stats.spearmanr(own, came).statistic)) if np.ptp(came) else 0.0
    if found >= _ORDERED:
        yield Leak(ORDERED, name, found, _ORDERED)


def _of_site(people: pd.DataFrame, name: str) -> Iterator[Leak]:
    """A value that stands for one site; a site with a single value does not tell by itself."""
    known = people.dropna(subset=["organization_key"])
    values = known[name].nunique(dropna=False)
    sites = known["organization_key"].nunique()
    if sites < 2 or name in CATEGORIES or not sites <= values <= len(known) / 3:
        return
    largest = known.groupby(name, dropna=False)["organization_key"].agg(
        lambda own: own.value_counts().iloc[0]
    )
    told = float(largest.sum()) / len(known)
    if told >= _OF_SITE:
        yield Leak(SITE, name, told, _OF_SITE)


def _twice(rows: pd.DataFrame, names: Sequence[str]) -> Iterator[Leak]:
    """The same inputs on the same date under two keys; few inputs may agree by chance."""
    numbers = [name for name in names if name not in CATEGORIES]
    if len(numbers) < 3:
        return
    distinct = rows.drop_duplicates(["subject_key", "index_date"])
    same = distinct.groupby([*numbers, "index_date"], dropna=True)["subject_key"]
    doubled = int((same.nunique() > 1).sum())
    if doubled:
        yield Leak(DUPLICATE, "*", float(doubled), 0.0)
