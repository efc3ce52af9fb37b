"""What rules judge: numbers with labels and a moment, taken from events and runs."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import accumulate
from typing import Any

from clinical_lakehouse.alerting.routing.matchers import Matcher, matches_all

# A label set that can be a key: pairs sorted by name.
LabelKey = tuple[tuple[str, str], ...]

_ENDED = ("success", "failed", "timed_out", "killed")


@dataclass(frozen=True)
class Observation:
    """One number of a series: its name and labels, and when it holds (with a time zone)."""

    name: str
    labels: Mapping[str, str]
    value: float
    at: datetime


@dataclass(frozen=True)
class Selector:
    """Which series: a name and matchers, as PromQL writes them."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        conditions = ",".join(map(str, self.matchers))
        return f"{self.name}{{{conditions}}}" if conditions else self.name


@dataclass(frozen=True)
class Series:
    """One series in the order of time; `nonzero` counts the values up to each that are not 0."""

    labels: LabelKey
    moments: Sequence[datetime]
    values: Sequence[float]
    nonzero: Sequence[int]

    def within(self, window: timedelta, at: datetime) -> Sequence[float]:
        """Values later than `at - window`, up to `at` (left-open, as in Prometheus 3)."""
        return self.values[slice(*self._bounds(window, at))]

    def counts(self, window: timedelta, at: datetime) -> tuple[int, int]:
        """How many values within the window are not 0, and how many there are."""
        first, end = self._bounds(window, at)
        return self.nonzero[end] - self.nonzero[first], end - first

    def newest_at(self, at: datetime) -> datetime | None:
        """The moment of its latest value up to `at`."""
        count = bisect_right(self.moments, at)
        return self.moments[count - 1] if count else None

    def _bounds(self, window: timedelta, at: datetime) -> tuple[int, int]:
        return bisect_right(self.moments, at - window), bisect_right(self.moments, at)


@dataclass(frozen=True)
class Observations:
    """Series by name."""

    series: Mapping[str, Sequence[Series]]

    def select(self, selector: Selector) -> Iterator[Series]:
        """The series that a selector takes."""
        for one in self.series.get(selector.name, ()):
            if matches_all(selector.matchers, dict(one.labels)):
                yield one


def collect(observations: Iterable[Observation]) -> Observations:
    """The observations as series; of two of one series and moment the later given one counts."""
    found: dict[str, dict[LabelKey, dict[datetime, float]]] = defaultdict(lambda: defaultdict(dict))
    for one in observations:
        found[one.name][label_key(one.labels)][one.at] = one.value
    series = {
        name: tuple(_series(key, values) for key, values in sorted(by_labels.items()))
        for name, by_labels in found.items()
    }
    return Observations(series)


def label_key(labels: Mapping[str, str]) -> LabelKey:
    """A label set as a key; an empty label is a missing one."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def of_events(rows: Iterable[Mapping[str, Any]]) -> Iterator[Observation]:
    """Per row of ops.alert_event its value, as `<kind>_event`, at the moment it was seen."""
    for row in rows:
        if row["value"] is not None:
            labels = {**json.loads(row["labels"]), "source": row["source"]}
            at = in_utc(row["seen_at"])
            yield Observation(f"{row['kind']}_event", labels, row["value"], at)


def of_job_runs(rows: Iterable[Mapping[str, Any]]) -> Iterator[Observation]:
    """Per ended run of ops.job_run 1 if it failed, 0 if not, as `pipeline_run_failed` by job."""
    for row in rows:
        if row["state"] in _ENDED:
            failed = float(row["state"] != "success")
            at = in_utc(row["recorded_at"])
            yield Observation("pipeline_run_failed", {"job": row["job"]}, failed, at)


def of_quality_scores(rows: Iterable[Mapping[str, Any]]) -> Iterator[Observation]:
    """Per run and table of ops.quality_score its score (0-1), as `quality_score` by table."""
    for row in rows:
        at = in_utc(row["checked_at"])
        yield Observation("quality_score", {"table": row["slice"]}, row["score"], at)


def of_model_metrics(rows: Iterable[Mapping[str, Any]]) -> Iterator[Observation]:
    """Per window of gold.model_metric, at its end, what is certain at the metric's confidence:
    `accuracy_drop_at_least` (AUROC lost against evaluation), `drift_at_least` (PSI) by metric."""
    for row in rows:
        labels = {"model": row["model_name"], "version": str(row["model_version"])}
        at = datetime.combine(row["window_end_date"], time(), UTC)
        if row["metric"] == "auroc" and None not in (row["high"], row["reference"]):
            drop = row["reference"] - row["high"]
            yield Observation("accuracy_drop_at_least", labels, drop, at)
        if "psi" in row["metric"] and row["low"] is not None:
            named = {**labels, "metric": row["metric"]}
            yield Observation("drift_at_least", named, row["low"], at)


def in_utc(moment: datetime) -> datetime:
    """A moment with its zone; without one it is UTC, as Spark hands timestamps back."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def seen_by(at: datetime, events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ops.alert_event as a run at this moment takes them: its clock stands on whole
    seconds, so what was seen within its second was seen by now."""
    return [{**row, "seen_at": min(row["seen_at"], at)} for row in events]


def _series(key: LabelKey, values: Mapping[datetime, float]) -> Series:
    moments = sorted(values)
    ordered = [values[moment] for moment in moments]
    nonzero = [0, *accumulate(int(value != 0) for value in ordered)]
    return Series(key, moments, ordered, nonzero)
