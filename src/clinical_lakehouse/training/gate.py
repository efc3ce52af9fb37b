"""The gate a model passes before it may become champion: rules in words, each passed or failed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What a model must reach on held-out rows."""

    auroc_min: float
    gain_over_baseline_min: float
    group_gap_max: float
    calibration_slope: tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """Passed or not, with one sentence per rule."""

    is_passed: bool
    reason: str


def decide(figures: Iterable[Mapping[str, Any]], limits: Limits) -> Verdict:
    """Judge gold.model_evaluation rows of one version; a figure that is missing fails its rule,
    except gaps between groups, which are judged only where two groups are large enough."""
    rows = list(figures)
    overall = {row["metric"]: row["value"] for row in rows if row["group_name"] == "all"}
    low, high = limits.calibration_slope
    judged = [
        _within("AUROC", overall.get("auroc"), limits.auroc_min, None),
        _within("Gain over the baseline", overall.get("auroc_gain"), limits.gain_over_baseline_min),
        _within("Calibration slope", overall.get("calibration_slope"), low, high),
        *(
            _gap(row["group_name"], row["value"], limits.group_gap_max)
            for row in rows
            if row["metric"] == "true_positive_rate_gap"
        ),
    ]
    return Verdict(all(passed for passed, _ in judged), " ".join(said for _, said in judged))


def _within(
    what: str, value: float | None, low: float, high: float | None = None
) -> tuple[bool, str]:
    wanted = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
    if value is None:
        return False, f"Failed: {what} cannot be computed on the held-out rows, wanted {wanted}."
    passed = value >= low and (high is None or value <= high)
    return passed, f"{_word(passed)}: {what} is {value:.3f}, wanted {wanted}."


def _gap(group: str, value: float | None, limit: float) -> tuple[bool, str]:
    name = group.replace("_", " ")
    if value is None:
        return True, f"Not judged: fewer than two groups by {name} are large enough."
    passed = value <= limit
    what = f"True positive rates differ by {value:.3f} between groups by {name}"
    return passed, f"{_word(passed)}: {what}, allowed {limit:g}."


def _word(passed: bool) -> str:
    return "Passed" if passed else "Failed"
