"""Simulated canaries: subjects come daily, outcomes 28 days later, somebody looks every day."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.training.canary import (
    OPEN,
    RUNNING,
    Look,
    Standing,
    advance,
    auroc_gain,
    read_canary_plan,
)

PLAN = read_canary_plan(conf_dir())
SUBJECTS, DAYS, DELAY, PREVALENCE, CORRELATION = 2000, 100, 28, 0.2, 0.7


@dataclass(frozen=True)
class Ended:
    """How a canary ended, and the share of all subjects that it had served."""

    state: str
    served_ratio: float


def run_canary(seed: int, old_auroc: float, new_auroc: float, plan=PLAN) -> Ended:
    """One canary of two models with these AUROCs (binormal scores that correlate)."""
    draws = np.random.default_rng(seed)
    arrived = np.sort(draws.integers(0, DAYS, SUBJECTS))
    events = draws.random(SUBJECTS) < PREVALENCE
    noise = draws.multivariate_normal([0, 0], [[1, CORRELATION], [CORRELATION, 1]], SUBJECTS)
    gaps = np.sqrt(2) * stats.norm.ppf([old_auroc, new_auroc])
    old, new = (noise + events[:, None] * gaps).T
    place, people = draws.random(SUBJECTS), np.arange(SUBJECTS)
    standing, phase_day, served = Standing(RUNNING, 0, ""), 0, 0
    for day in range(DAYS + DELAY):
        share = plan.shares[standing.phase]
        served += int(((arrived == day) & (place < share)).sum())
        in_phase = (arrived >= phase_day) & (arrived <= day) & (place < share)
        known = int(np.searchsorted(arrived, day - DELAY, side="right"))
        gain = auroc_gain(events[:known], new[:known], old[:known], people[:known], plan)
        look = Look(int(in_phase.sum()), known, int(events[:known].sum()), gain, day)
        then = advance(plan, standing, look, [])
        if then.state not in OPEN or then.state != RUNNING:
            return Ended(then.state, served / SUBJECTS)
        phase_day = day + 1 if then.phase != standing.phase else phase_day
        standing = then
    return Ended(standing.state, served / SUBJECTS)
