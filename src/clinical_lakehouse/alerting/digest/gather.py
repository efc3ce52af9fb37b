"""From rows of the lake's tables to what one digest tells."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from clinical_lakehouse.alerting.digest.content import (
    AlertLine,
    DigestData,
    Figure,
    Group,
    Series,
)
from clinical_lakehouse.alerting.rules.observations import in_utc

Row = Mapping[str, Any]

SPANS = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}
CHARTED = timedelta(days=28)
QUALITY, PEOPLE, REFUSED, OPEN_ALERTS = (
    "Quality score",
    "People on study",
    "Resources in quarantine",
    "Open alerts",
)
BY_SITE = "People on study by site"
_FAILED = ("failed", "timed_out", "killed")
_PLACES = ("table", "job", "model", "site", "channel", "metric")


@dataclass(frozen=True)
class Gathered:
    """Rows that every digest of a day is made from.

    `runs`: finished runs that nothing else started (state, recorded_at); `scores`: one a check
    (checked_at, passed_ratio); `alerts`: rows of ops.alert; `people`: site and its people on study;
    `aurocs`: model_name and value of its newest window; `refused_count`: open rows of the
    quarantine.
    """

    runs: Sequence[Row]
    scores: Sequence[Row]
    alerts: Sequence[Row]
    people: Sequence[Row]
    aurocs: Sequence[Row]
    refused_count: int
    quality_score_min: float


def ends_at(period: str, at: datetime) -> datetime:
    """The last midnight (UTC) up to `at`; for a weekly digest, of a Monday."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=midnight.weekday() if period == "weekly" else 0)


def digest_data(
    audience: str, period: str, until: datetime, found: Gathered, last: Row | None
) -> DigestData:
    """What the audience is told of the time up to `until`; `last` is its row of ops.digest before.

    The same rows give the same data.
    """
    since = until - SPANS[period]
    figures, groups = told(found, until)
    before = json.loads(last["figures"]) if last else {}
    before_groups = json.loads(last["groups"]) if last else {}
    ended = [row for row in found.runs if since < in_utc(row["recorded_at"]) <= until]
    return DigestData(
        period=period,
        audience=audience,
        since=since,
        until=until,
        runs=len(ended),
        failed_runs=sum(row["state"] in _FAILED for row in ended),
        figures=[_figure(name, v, before.get(name), found) for name, v in figures.items()],
        groups=[
            Group(title, now, before_groups.get(title, {})) for title, now in groups.items() if now
        ],
        alerts=list(_alerts(found.alerts, since, until)),
        series=list(_series(found, until)),
    )


def told(
    found: Gathered, until: datetime
) -> tuple[dict[str, float | None], dict[str, dict[str, int]]]:
    """Figures and groups of people as a digest tells them, for its row of ops.digest."""
    people = {str(row["site"]): int(row["people_count"]) for row in found.people}
    figures: dict[str, float | None] = {QUALITY: _last_score(found.scores, until)}
    if people:
        figures[PEOPLE] = sum(people.values())
    figures |= {f"AUROC of {row['model_name']}": row["value"] for row in found.aurocs}
    figures[REFUSED] = found.refused_count
    figures[OPEN_ALERTS] = sum(_is_open(row, until) for row in found.alerts)
    return figures, {BY_SITE: people}


def _figure(name: str, value: float | None, before: float | None, found: Gathered) -> Figure:
    if name == QUALITY:
        return Figure(name, value, before, "ratio", "up", found.quality_score_min)
    if name == PEOPLE:
        return Figure(name, value, before, "people")
    if name.startswith("AUROC"):
        return Figure(name, value, before, "number", "up")
    return Figure(name, value, before, "count", "down")


def _last_score(scores: Iterable[Row], until: datetime) -> float | None:
    known = [(in_utc(row["checked_at"]), row["passed_ratio"]) for row in scores]
    return max(((at, ratio) for at, ratio in known if at <= until), default=(None, None))[1]


def _is_open(row: Row, at: datetime) -> bool:
    ended = row["ends_at"]
    return in_utc(row["starts_at"]) <= at and (ended is None or in_utc(ended) > at)


def _alerts(rows: Iterable[Row], since: datetime, until: datetime) -> Iterable[AlertLine]:
    """Alerts that began, ended or are open; those of later are not yet known."""
    for row in sorted(rows, key=lambda one: (in_utc(one["starts_at"]), one["fingerprint"])):
        starts = in_utc(row["starts_at"])
        ends = in_utc(row["ends_at"]) if row["ends_at"] is not None else None
        if starts > until or (ends is not None and ends <= since):
            continue
        labels = json.loads(row["labels"])
        where = next((str(labels[name]) for name in _PLACES if labels.get(name)), "")
        is_over = ends is not None and ends <= until
        state = "resolved" if is_over else "acknowledged" if row["acknowledged_by"] else "firing"
        yield AlertLine(row["severity"], row["kind"], where, state, starts, starts > since)


def _series(found: Gathered, until: datetime) -> Iterable[Series]:
    """Four weeks: the last quality score of each day, and how many runs ended on it."""
    first = until - CHARTED
    scores: dict[date, float] = {}
    for row in sorted(found.scores, key=lambda one: in_utc(one["checked_at"])):
        if first < in_utc(row["checked_at"]) <= until:
            scores[in_utc(row["checked_at"]).date()] = row["passed_ratio"]
    if scores:
        yield Series(
            "Quality score, four weeks", sorted(scores.items()), "ratio", found.quality_score_min
        )
    runs: dict[date, float] = {}
    for row in found.runs:
        ended = in_utc(row["recorded_at"])
        if first < ended <= until:
            runs[ended.date()] = runs.get(ended.date(), 0) + 1
    if runs:
        yield Series("Runs a day, four weeks", sorted(runs.items()))
