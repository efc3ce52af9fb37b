"""Detectors of a change in a stream, whose state is kept between runs as plain JSON."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf, log, sqrt
from typing import Any

State = dict[str, Any]
_HIGHEST = 1e300  # JSON knows no infinity


@dataclass(frozen=True)
class Detector:
    """A detector's name, the state it begins with, and one step: state and value in, the next state
    and whether a change is signalled out. After a signal it begins anew."""

    name: str
    begin: Callable[[], State]
    step: Callable[[State, float], tuple[State, bool]]


@dataclass(frozen=True)
class Watched:
    """A detector's state after some values, and the places among them where it signalled."""

    state: State
    signals: tuple[int, ...] = field(default=())


def watch(detector: Detector, state: State | None, values: Iterable[float]) -> Watched:
    """Take values in their order; the same in one run or in many, if the state is handed on."""
    now, signals = dict(state) if state is not None else detector.begin(), []
    for place, value in enumerate(values):
        now, is_signal = detector.step(now, float(value))
        if is_signal:
            signals.append(place)
    return Watched(now, tuple(signals))


def page_hinkley(
    delta: float = 0.005, threshold: float = 50.0, alpha: float = 0.9999, least: int = 30
) -> Detector:
    """Page 1954, Hinkley 1971: a rise of the mean, its deviations from the running mean summed (old
    ones fade by `alpha`) over their minimum."""

    def step(state: State, value: float) -> tuple[State, bool]:
        count = state["count"] + 1
        mean = state["mean"] + (value - state["mean"]) / count
        total = alpha * state["total"] + (value - mean - delta)
        lowest = min(state["lowest"], total)
        if count >= least and total - lowest > threshold:
            return _page_hinkley_state(), True
        return {"count": count, "mean": mean, "total": total, "lowest": lowest}, False

    return Detector("page_hinkley", _page_hinkley_state, step)


def _page_hinkley_state() -> State:
    return {"count": 0, "mean": 0.0, "total": 0.0, "lowest": _HIGHEST}


def ddm(least: int = 30, drift_level: float = 3.0) -> Detector:
    """Gama et al. 2004: an error rate (values 0 or 1) that lies so many standard deviations above
    its lowest."""

    def step(state: State, value: float) -> tuple[State, bool]:
        count = state["count"] + 1
        rate = state["rate"] + (value - state["rate"]) / count
        spread = sqrt(max(rate * (1 - rate), 0.0) / count)
        lowest, deviation = state["lowest"], state["deviation"]
        if count > least:
            if rate + spread <= lowest + deviation:
                lowest, deviation = rate, spread
            if rate + spread > lowest + drift_level * deviation:
                return _ddm_state(), True
        return {"count": count, "rate": rate, "lowest": lowest, "deviation": deviation}, False

    return Detector("ddm", _ddm_state, step)


def _ddm_state() -> State:
    return {"count": 0, "rate": 0.0, "lowest": _HIGHEST, "deviation": 0.0}


def hddm_a(confidence: float = 0.001) -> Detector:
    """Frias-Blanco et al. 2015, the A-test: by Hoeffding's bound, is the mean of all values above
    the lowest mean that was sure of itself? For values of 0 to 1; a rise."""

    def step(state: State, value: float) -> tuple[State, bool]:
        count, total = state["count"] + 1, state["total"] + value
        low_count, low_total = state["low_count"], state["low_total"]
        mean = total / count
        bound = sqrt(log(1 / confidence) / (2 * count))
        low_bound = sqrt(log(1 / confidence) / (2 * low_count)) if low_count else inf
        if not low_count or mean + bound <= low_total / low_count + low_bound:
            low_count, low_total = count, total
        if count > low_count and _is_risen(
            count, mean, low_count, low_total / low_count, confidence
        ):
            return _hddm_state(), True
        kept = {"count": count, "total": total, "low_count": low_count, "low_total": low_total}
        return kept, False

    return Detector("hddm_a", _hddm_state, step)


def _hddm_state() -> State:
    return {"count": 0, "total": 0.0, "low_count": 0, "low_total": 0.0}


def _is_risen(count: int, mean: float, low_count: int, low_mean: float, confidence: float) -> bool:
    size = (count - low_count) / low_count * (1 / count)
    return mean - low_mean >= sqrt(size / 2 * log(2 / confidence))


def adwin(
    delta: float = 0.002, clock: int = 32, most: int = 5, least: int = 5, grace: int = 10
) -> Detector:
    """Bifet and Gavalda 2007: the longest window whose halves do not differ, kept as an exponential
    histogram of at most `most` buckets a size; looked at every `clock` values. In the paper a
    change drops the older part; here, as in river, all of it."""

    def step(state: State, value: float) -> tuple[State, bool]:
        rows = [list(row) for row in state["rows"]]
        rows[0].append([1, value, 0.0])
        _compress(rows, most)
        ticks = state["ticks"] + 1
        if ticks % clock == 0 and ticks > grace and _is_cut(rows, delta, least):
            return _adwin_state(), True
        return {"rows": rows, "ticks": ticks}, False

    return Detector("adwin", _adwin_state, step)


def _adwin_state() -> State:
    return {"rows": [[]], "ticks": 0}


def _compress(rows: list[list[list[float]]], most: int) -> None:
    """The two oldest buckets of a size that has too many become one of the next size."""
    for size, row in enumerate(rows):
        if len(row) <= most:
            return
        if size + 1 == len(rows):
            rows.append([])
        rows[size + 1].append(_merged(row.pop(0), row.pop(0)))


def _merged(first: list[float], second: list[float]) -> list[float]:
    """Count, sum and summed squared deviations of two buckets together."""
    (n, u, v), (m, w, x) = first, second
    between = (u / n - w / m) ** 2 * n * m / (n + m)
    return [n + m, u + w, v + x + between]


def _is_cut(rows: list[list[list[float]]], delta: float, least: int) -> bool:
    """Do an older and a newer part of the window differ at any boundary of buckets?"""
    buckets = [bucket for row in reversed(rows) for bucket in row]
    if not buckets:
        return False
    whole = buckets[0]
    for bucket in buckets[1:]:
        whole = _merged(whole, bucket)
    width, total, deviations = whole
    if width < 2 * least:
        return False
    variance, prime = deviations / width, log(2 * log(width) / delta)
    old_count = old_total = 0.0
    for bucket in buckets[:-1]:
        old_count, old_total = old_count + bucket[0], old_total + bucket[1]
        new_count = width - old_count
        if old_count < least or new_count < least:
            continue
        parts = 1 / (old_count - least + 1) + 1 / (new_count - least + 1)
        bound = sqrt(2 * parts * variance * prime) + 2 / 3 * prime * parts
        if abs(old_total / old_count - (total - old_total) / new_count) > bound:
            return True
    return False


def cusum(target: float, slack: float, limit: float) -> Detector:
    """The tabular cusum of Page 1954 as Montgomery, Introduction to Statistical Quality Control,
    section 9.1 gives it: sums of deviations above and below `target` by more than `slack`; a signal
    where either is over `limit`. All three in the unit of the values."""

    def step(state: State, value: float) -> tuple[State, bool]:
        high = max(0.0, value - (target + slack) + state["high"])
        low = max(0.0, (target - slack) - value + state["low"])
        return {"high": high, "low": low}, max(high, low) > limit

    return Detector("cusum", lambda: {"high": 0.0, "low": 0.0}, step)
