"""A canary: a new version serves a growing share of subjects until a sequential test decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from clinical_lakehouse.methods.discrimination import delong_test
from clinical_lakehouse.methods.drift import psi, quantile_edges
from clinical_lakehouse.methods.intervals import (
    Floats,
    Interval,
    clopper_pearson,
    normal_quantile,
)
from clinical_lakehouse.methods.lots import lot_of
from clinical_lakehouse.methods.sequential import always_valid_interval
from clinical_lakehouse.methods.yaml_fields import read_fields

FILE = "deployment/canary.yml"
RUNNING, WON, LOST, UNDECIDED = "running", "won", "lost", "undecided"
OPEN = (RUNNING, WON)  # one that has won is watched on until it is in use
_BINS = 10
_SURE = 0.98  # two-sided: each bound holds with 99%
_FIELDS = (
    *("environments", "shares", "subjects_min", "outcomes_min", "events_min", "worse_by_max"),
    *("alpha", "prior_sd", "days_max", "score_shift_max", "missing_ratio_max", "guard_rows_min"),
    *("latency_ms_max", "slow_ratio_max", "failed_ratio_max"),
)


@dataclass(frozen=True)
class CanaryPlan:
    """Where canaries run, their phases, what a step needs, and what stops one at once."""

    environments: tuple[str, ...]
    shares: tuple[float, ...]
    subjects_min: int
    outcomes_min: int
    events_min: int
    worse_by_max: float
    alpha: float
    prior_sd: float
    days_max: int
    score_shift_max: float
    missing_ratio_max: float
    guard_rows_min: int
    latency_ms_max: float
    slow_ratio_max: float
    failed_ratio_max: float


@dataclass(frozen=True)
class Answered:
    """What a server was asked of the canary's version: answers, those slower than the plan allows,
    and those that failed."""

    count: int
    slow: int
    failed: int


@dataclass(frozen=True)
class Standing:
    """How a canary stands: its state, its phase (0 is the first) and why."""

    state: str
    phase: int
    reason: str


@dataclass(frozen=True)
class Look:
    """What is known at one look: subjects served in this phase, rows whose outcome has matured,
    events among them, AUROC new less old with its always-valid limits, days since the start."""

    subjects: int
    outcomes: int
    events: int
    difference: Interval | None
    days: int


def bucket_of(subject: int, model_name: str, version: int) -> float:
    """A subject's place from 0 to below 1 in a canary, by SHA-256 of model, version and key: who is
    served at a small share is at every larger one, and each canary draws anew."""
    return lot_of(f"{model_name}/{version}", subject)


def read_canary_plan(conf: Path) -> CanaryPlan:
    """Read the file below conf/; SettingsError names file and line of the first fault."""
    top = read_fields(conf / FILE, conf.parent).allow(*_FIELDS)
    shares = top.value("shares")
    is_rising = isinstance(shares, list) and shares == sorted(set(shares))
    if not is_rising or not all(0 < share <= 1 for share in shares) or shares[-1:] != [1]:
        raise top.refusal("shares must rise, from above 0 to 1", "shares")
    number: dict[str, Any] = {name: top.number(name) for name in _FIELDS[2:]}
    for name in ("alpha", "prior_sd"):
        if not 0 < number[name] < 1:
            raise top.refusal(f"{name} must lie between 0 and 1", name)
    return CanaryPlan(top.words("environments"), tuple(shares), **number)


def auroc_gain(
    outcomes: ArrayLike, new: ArrayLike, old: ArrayLike, people: ArrayLike, plan: CanaryPlan
) -> Interval | None:
    """AUROC of the new version less that of the one in use on the same rows (DeLong 1988, clustered
    by person), with limits that hold at all looks together; None below `events_min` of a class."""
    events = np.asarray(outcomes, dtype=bool)
    if min(int(events.sum()), int((~events).sum())) < plan.events_min:
        return None
    compared = delong_test(events, new, old, people)
    if compared is None:
        return None
    found = compared.difference
    error = (found.high - found.low) / (2 * normal_quantile(0.95))
    if error == 0:
        return found if found.value == 0 else None
    return always_valid_interval(found.value, error, plan.prior_sd, plan.alpha)


def breaches(new: ArrayLike, old: ArrayLike, missing_ratio: float, plan: CanaryPlan) -> list[str]:
    """Guards that need no outcome, each broken one in a sentence: scores that cannot be, that lie
    elsewhere than those of the version in use for the same people, inputs that are missing."""
    scores, others = (np.asarray(values, dtype=float) for values in (new, old))
    if scores.size < plan.guard_rows_min:
        return []
    said = []
    impossible = int((~np.isfinite(scores) | (scores < 0) | (scores > 1)).sum())
    if impossible:
        said.append(f"{impossible} scores are no probabilities")
    shift = _shift(others, scores)
    if shift > plan.score_shift_max:
        said.append(f"scores have shifted by {shift:.2f} (PSI), {plan.score_shift_max:g} allowed")
    if missing_ratio > plan.missing_ratio_max:
        said.append(
            f"{missing_ratio:.0%} of the inputs are missing, {plan.missing_ratio_max:.0%} allowed"
        )
    return said


def serving_breaches(answered: Answered, plan: CanaryPlan) -> list[str]:
    """Guards on a server's answers, each broken one in a sentence. A share counts as too large when
    its exact lower 99% bound is: with few answers a slow one is no verdict."""
    said = []
    for part, limit, what in (
        (answered.slow, plan.slow_ratio_max, f"took over {plan.latency_ms_max:g} ms"),
        (answered.failed, plan.failed_ratio_max, "failed"),
    ):
        share = clopper_pearson(part, answered.count, _SURE)
        if share is not None and share.low > limit:
            said.append(f"{share.value:.1%} of the answers {what}, {limit:.0%} allowed")
    return said


def advance(plan: CanaryPlan, now: Standing, look: Look, broken: Sequence[str]) -> Standing:
    """The standing after a look. A guard outranks everything, also a wait for approval; then the
    sequential test; then a step, which needs subjects and matured outcomes; else it holds."""
    if now.state not in OPEN:
        return now
    if broken:
        return Standing(LOST, now.phase, f"A guard stopped it: {'; '.join(broken)}.")
    gain, is_last = look.difference, now.phase == len(plan.shares) - 1
    if gain is not None and gain.high < 0:
        return Standing(LOST, now.phase, f"It ranks worse: {_said(gain)}.")
    if now.state == WON:
        return now
    if gain is not None and gain.low > 0 and is_last:
        return Standing(WON, now.phase, f"It ranks better: {_said(gain)}.")
    if look.days >= plan.days_max:
        return Standing(UNDECIDED, now.phase, f"Neither was proven better in {look.days} days.")
    lacks = _lacks(plan, look)
    if lacks or is_last:
        return Standing(now.state, now.phase, lacks or f"Not decided yet: {_said(gain)}.")
    share = plan.shares[now.phase + 1]
    return Standing(now.state, now.phase + 1, f"Goes on to {share:.0%}: {_said(gain)}.")


def _lacks(plan: CanaryPlan, look: Look) -> str:
    """What a step still lacks; empty where it lacks nothing."""
    for have, least, what in (
        (look.subjects, plan.subjects_min, "subjects served"),
        (look.outcomes, plan.outcomes_min, "matured outcomes"),
        (look.events, plan.events_min, "events"),
    ):
        if have < least:
            return f"Holds: {have} {what}, {least} needed."
    if look.difference is None:
        return f"Holds: fewer than {plan.events_min} rows without the event."
    if look.difference.low < -plan.worse_by_max:
        return f"Holds: may rank worse by over {plan.worse_by_max:g}, {_said(look.difference)}."
    return ""


def _said(gain: Interval | None) -> str:
    if gain is None:
        return "no AUROC yet"
    return f"AUROC {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f} at all looks)"


def _shift(others: Floats, scores: Floats) -> float:
    finite = scores[np.isfinite(scores)]
    return psi(others, finite, quantile_edges(others, _BINS)) if finite.size else float("inf")
