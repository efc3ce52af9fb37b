"""What a digest is made from, as frozen data; the caller reads it from tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class Figure:
    """A number now and at the last digest; `unit` is count, number, ratio
    (0-1) or people. `good_when` says which way is better: up, down, or none of both."""

    name: str
    value: float | None
    before: float | None
    unit: str = "count"
    good_when: str = ""
    limit: float | None = None


@dataclass(frozen=True)
class Group:
    """People by group (site, arm, ...), now and at the last digest."""

    title: str
    now: Mapping[str, int]
    before: Mapping[str, int]


@dataclass(frozen=True)
class AlertLine:
    """An alert that began, ended or is still open. Texts are labels (`messages.labels`)."""

    severity: str
    kind: str
    where: str
    state: str
    since: datetime
    is_new: bool


@dataclass(frozen=True)
class Series:
    """A figure over time with its limit; `is_people`: small numbers may have to be left out."""

    title: str
    points: Sequence[tuple[date, float]]
    unit: str = "count"
    limit: float | None = None


@dataclass(frozen=True)
class DigestData:
    """Everything one digest tells. `period` is daily or weekly; times are UTC.

    `runs` and `failed_runs` count what ran between `since` and `until`.
    """

    period: str
    audience: str
    since: datetime
    until: datetime
    runs: int
    failed_runs: int
    figures: Sequence[Figure] = ()
    groups: Sequence[Group] = ()
    alerts: Sequence[AlertLine] = ()
    series: Sequence[Series] = ()
