"""Feature values by site and period as data_drift_detection gets them from its workers."""

import numpy as np

from clinical_lakehouse.methods.drift import quantile_edges
from clinical_lakehouse.methods.drift_verdict import Profile
from clinical_lakehouse.monitoring.feature_profiles import (
    CURRENT,
    TRAINING,
    Described,
    describe_values,
)

FEATURES = ("age_years", "glucose_latest", "hba1c_latest", "heart_rate_mean", "weight_latest")
_SITES = tuple(f"{number}" for number in range(1, 7))


def trial(seed, change=lambda site, feature, values, draws: values, sites=_SITES, size=60):
    """Six sites of 60 subjects then and now, five features of a mean and spread of their own;
    `change` is what happened since, at the sites that there are now."""
    draws = np.random.default_rng(seed)
    was = {(site, f): draws.normal(100, 15, size) for site in _SITES for f in FEATURES}
    now = {
        (s, f): change(s, f, draws.normal(100, 15, size), draws) for s in sites for f in FEATURES
    }
    return profiled(was, now)


def profiled(was, now):
    """Values by site and feature as what the workers say of them."""
    found = {}
    for feature in dict.fromkeys(f for _, f in was):
        pooled = np.concatenate([v for (_, f), v in was.items() if f == feature])
        edges = tuple(quantile_edges(pooled, 10))
        for period, side in ((TRAINING, was), (CURRENT, now)):
            for (site, name), values in side.items():
                if name == feature:
                    made = describe_values(np.asarray(values, dtype=float), edges)
                    profile = Profile(edges, tuple(made["counts"]))
                    one = Described(profile, made["median"], made["spread"])
                    found[(site, "0"), period, name] = one
    return found
