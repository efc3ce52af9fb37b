"""The gate a model passes before it may become champion: criteria with value, limit and verdict."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinical_lakehouse.methods.decisions import FEWEST_EVENTS
from clinical_lakehouse.methods.small_cells import SMALLEST_CELL

PASSED, FAILED, INDETERMINATE, NOT_JUDGED = "passed", "failed", "indeterminate", "not judged"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a model must reach on held-out rows."""

    people_min: int
    auroc_min: float
    gain_over_baseline_min: float
    group_gap_max: float
    calibration_slope: tuple[float, float]
    headline: str
    instability_max: float
    drop_max: float


@dataclass(frozen=True)
class Criterion:
    """One rule of the gate: what was found, what is allowed, and the verdict in words."""

    criterion: str
    value: float | None
    at_least: float | None
    at_most: float | None
    verdict: str
    sentence: str
    group_name: str = "all"


@dataclass(frozen=True)
class Verdict:
    """All criteria together: failed if one is, indeterminate if one is, else passed."""

    criteria: tuple[Criterion, ...]

    @property
    def state(self) -> str:
        """passed, failed or indeterminate."""
        found = {one.verdict for one in self.criteria}
        return FAILED if FAILED in found else INDETERMINATE if INDETERMINATE in found else PASSED

    @property
    def is_passed(self) -> bool:
        """May it become champion? Never while too little is known."""
        return self.state == PASSED

    @property
    def reason(self) -> str:
        """One sentence per criterion."""
        return " ".join(one.sentence for one in self.criteria)


@dataclass(frozen=True)
class Evidence:
    """What else is known of the version: rows of gold.model_comparison, of
    fairness_finding and of leakage_finding."""

    compared: Sequence[Row] = ()
    groups: Sequence[Row] = ()
    leaks: Sequence[Row] = ()


def decide(figures: Iterable[Row], evidence: Evidence, limits: Limits) -> Verdict:
    """Judge gold.model_evaluation rows of one version, and the other evidence on it.

    A figure that is missing fails its criterion, except gaps between groups, which are judged only
    where two groups are large enough, and what there is nothing to compare with.
    """
    rows = list(figures)
    overall = {row["metric"]: row["value"] for row in rows if row["group_name"] == "all"}
    against = {(row["compared_with"], row["metric"]): row for row in evidence.compared}
    low, high = limits.calibration_slope
    criteria = [
        _enough(overall, limits.people_min),
        _within("auroc", "AUROC", overall.get("auroc"), limits.auroc_min),
        _within("auroc_gain", "Gain over the baseline", overall.get("auroc_gain"),
                limits.gain_over_baseline_min),
        _within("calibration_slope", "Calibration slope", overall.get("calibration_slope"), low,
                high),
        *_useful(against),
        _drop(against.get(("champion", limits.headline)), limits),
        *(
            _gap(row["group_name"], row["value"], limits.group_gap_max)
            for row in rows
            if row["metric"] == "true_positive_rate_gap"
        ),
        _harm(evidence.groups),
        _leaks(evidence.leaks),
        _stable(overall.get("risk_instability"), limits.instability_max),
    ]  # fmt: skip
    return Verdict(tuple(criteria))


def _enough(overall: Mapping[str, float | None], fewest: int) -> Criterion:
    """Fewer people with or without the event than this, and nothing else means much."""
    counts = [int(overall.get(f"people_{side}_event") or 0) for side in ("with", "without")]
    verdict = PASSED if min(counts) >= fewest else INDETERMINATE
    few = f"; figures are precise from {FEWEST_EVENTS} on"
    less = few if fewest < FEWEST_EVENTS else ""
    who = f"{_people(counts[0])} people with the outcome and {_people(counts[1])} without"
    sentence = f"{verdict.capitalize()}: {who}, wanted at least {fewest} of each{less}."
    return Criterion("enough_people", float(min(counts)), float(fewest), None, verdict, sentence)


def _people(count: int) -> str:
    return f"fewer than {SMALLEST_CELL}" if 0 < count < SMALLEST_CELL else str(count)


def _within(
    criterion: str, what: str, value: float | None, low: float, high: float | None = None
) -> Criterion:
    wanted = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
    if value is None:
        said = f"Failed: {what} cannot be computed on the held-out rows, wanted {wanted}."
        return Criterion(criterion, None, low, high, FAILED, said)
    verdict = PASSED if value >= low and (high is None or value <= high) else FAILED
    said = f"{verdict.capitalize()}: {what} is {value:.3f}, wanted {wanted}."
    return Criterion(criterion, value, low, high, verdict, said)


def _useful(against: Mapping[tuple[str, str], Row]) -> Iterator[Criterion]:
    """Acting on the model is worth more than acting on everybody or on nobody."""
    for other, word in (("treat_all", "everybody"), ("treat_none", "nobody")):
        row = against.get((other, "net_benefit"))
        what = f"Net benefit over acting on {word}"
        yield _within(f"net_benefit_over_{other}", what, row["difference"] if row else None, 0.0)


def _drop(row: Row | None, limits: Limits) -> Criterion:
    name, most = limits.headline, limits.drop_max
    if row is None:
        said = f"Not judged: there is no champion to compare {name} with."
        return Criterion("drop_from_champion", None, None, most, NOT_JUDGED, said)
    drop = -row["difference"]
    verdict = PASSED if drop <= most else FAILED
    said = f"{verdict.capitalize()}: {name} is {drop:.3f} below the champion's, allowed {most:g}."
    return Criterion("drop_from_champion", drop, None, most, verdict, said)


def _gap(group: str, value: float | None, limit: float) -> Criterion:
    name = group.replace("_", " ")
    if value is None:
        said = f"Not judged: fewer than two groups by {name} are large enough."
        return Criterion("true_positive_rate_gap", None, None, limit, NOT_JUDGED, said, group)
    verdict = PASSED if value <= limit else FAILED
    what = f"True positive rates differ by {value:.3f} between groups by {name}"
    said = f"{verdict.capitalize()}: {what}, allowed {limit:g}."
    return Criterion("true_positive_rate_gap", value, None, limit, verdict, said, group)


def _harm(groups: Sequence[Row]) -> Criterion:
    """No group is worse off than its own risks explain."""
    if all(row["verdict"] == "too few" for row in groups):
        said = "Not judged: no group is large enough to see harm in it."
        return Criterion("harm_to_groups", None, None, 0.0, NOT_JUDGED, said)
    found = [row for row in groups if row["verdict"] == "harm"]
    names = sorted({f"{row['attribute']} {row['group_value']} ({row['metric']})" for row in found})
    if not found:
        said = "Passed: differences between groups are those of their risks, or chance."
        return Criterion("harm_to_groups", 0.0, None, 0.0, PASSED, said)
    said = f"Failed: harm beyond what risks explain to {', '.join(names[:3])}."
    return Criterion("harm_to_groups", float(len(found)), None, 0.0, FAILED, said)


def _leaks(found: Sequence[Row]) -> Criterion:
    """No input knows what it cannot know."""
    verdict = FAILED if found else PASSED
    names = ", ".join(f"{row['feature']} ({row['kind']})" for row in found[:3])
    said = f"Failed: inputs leak: {names}." if found else "Passed: no input leaks the outcome."
    return Criterion("leakage", float(len(found)), None, 0.0, verdict, said)


def _stable(moved: float | None, most: float) -> Criterion:
    """The same recipe on other people of the same trial says much the same of a person."""
    if moved is None:
        said = "Not judged: the recipe could not be fitted again."
        return Criterion("risk_instability", None, None, most, NOT_JUDGED, said)
    verdict = PASSED if moved <= most else FAILED
    what = f"A person's risk moves by {moved:.3f} between refits"
    said = f"{verdict.capitalize()}: {what}, allowed {most:g}."
    return Criterion("risk_instability", moved, None, most, verdict, said)
