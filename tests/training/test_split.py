"""Folds by site keep a site, and a subject who moved, on one side."""

import numpy as np
import pandas as pd
import pytest

from clinical_lakehouse.training.split import FOLDS, cross_fit, fold_of, fold_of_site


@pytest.fixture
def rows() -> pd.DataFrame:
    """2,000 rows of 400 subjects at 12 sites of unlike size; subject 7 moves, some have no site."""
    draws = np.random.default_rng(1)
    subject = np.repeat(np.arange(400), 5)
    site = np.repeat(draws.choice(12, 400, p=np.arange(1, 13) / 78), 5).astype(float)
    site[np.flatnonzero(subject == 7)[3:]] = (site[np.flatnonzero(subject == 7)[0]] + 1) % 12
    site[subject >= 390] = np.nan
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * np.tile(np.arange(5), 400), "D")
    return pd.DataFrame({"subject_key": subject, "organization_key": site, "index_date": dates,
                         "is_event": draws.random(2000) < 0.3})  # fmt: skip


def test_a_site_and_a_subject_are_in_one_fold(rows):
    folds = pd.Series(fold_of_site(rows), index=rows.index)
    stayed = rows["subject_key"] != 7
    assert (folds[stayed].groupby(rows["organization_key"]).nunique() == 1).all()
    assert (folds.groupby(rows["subject_key"]).nunique() == 1).all()


def test_folds_by_site_are_about_equal(rows):
    counts = np.bincount(fold_of_site(rows), minlength=FOLDS)
    assert counts.min() > 0.6 * counts.max()
    assert (fold_of_site(rows) == fold_of_site(rows.sample(frac=1, random_state=2))[
        np.argsort(rows.sample(frac=1, random_state=2).index)]).all()  # fmt: skip


def test_no_site_helps_to_score_its_own_rows(rows):
    seen = []

    class Spy:
        def __init__(self, used):
            self.used = used

        def predict_proba(self, asked):
            seen.append((self.used, asked))
            return np.column_stack([np.ones(len(asked)), np.zeros(len(asked))])

    known = rows[(rows["subject_key"] != 7) & rows["organization_key"].notna()]
    cross_fit(known, pd.Timestamp("2024-01-15"), Spy, fold_of_site)
    assert len(seen) == FOLDS
    for used, asked in seen:
        assert not set(used["organization_key"]) & set(asked["organization_key"])
    seen.clear()
    cross_fit(known, pd.Timestamp("2024-01-15"), Spy, fold_of)
    assert any(set(used["organization_key"]) & set(asked["organization_key"])
               for used, asked in seen)  # fmt: skip
