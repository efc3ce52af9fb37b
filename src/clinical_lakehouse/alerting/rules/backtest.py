"""A rule run over what was stored: when it would have fired, how often rightly, how often twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clinical_lakehouse.alerting.rules.evaluation import Standings, evaluate, rule_labels
from clinical_lakehouse.alerting.rules.observations import LabelKey, Observations
from clinical_lakehouse.alerting.rules.rule import Rule


@dataclass(frozen=True)
class Incident:
    """Something that was really wrong: from when until when, where (labels an alert must share)."""

    starts_at: datetime
    ends_at: datetime
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Firing:
    """One episode of the rule; `ends_at` is None while it still fires at the end."""

    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    is_flap: bool


@dataclass(frozen=True)
class Backtest:
    """What the rule would have done; precision and recall are None where nothing is to count."""

    firings: tuple[Firing, ...]
    hits: tuple[Firing, ...]
    missed: tuple[Incident, ...]
    incident_count: int

    @property
    def flaps(self) -> int:
        """Episodes that started soon after the one before them of the same labels ended."""
        return sum(one.is_flap for one in self.firings)

    @property
    def precision(self) -> float | None:
        """Share of the firings that met a known incident, 0-1."""
        return len(self.hits) / len(self.firings) if self.firings else None

    @property
    def recall(self) -> float | None:
        """Share of the known incidents that a firing met, 0-1."""
        found = self.incident_count - len(self.missed)
        return found / self.incident_count if self.incident_count else None


@dataclass(frozen=True)
class Span:
    """From when to when the rule is run, and how often."""

    start: datetime
    end: datetime
    interval: timedelta = timedelta(minutes=5)


def backtest(
    rule: Rule,
    observations: Observations,
    span: Span,
    incidents: Sequence[Incident] = (),
    flap_within: timedelta = timedelta(hours=1),
) -> Backtest:
    """Run one rule over stored observations, evaluation by evaluation as it would have been.

    A firing is right if it overlaps an incident all of whose labels it has.
    """
    firings = _flagged(_firings(rule, observations, span), flap_within)
    hits = tuple(one for one in firings if any(_meets(one, known) for known in incidents))
    missed = tuple(known for known in incidents if not any(_meets(one, known) for one in firings))
    return Backtest(firings, hits, missed, len(incidents))


def _firings(rule: Rule, observations: Observations, span: Span) -> list[Firing]:
    found: list[Firing] = []
    open_since: dict[LabelKey, datetime] = {}
    standings: Standings = {}
    for step in range((span.end - span.start) // span.interval + 1):
        at = span.start + step * span.interval
        standings = evaluate([rule], observations, standings, at).standings
        now = {key: one.firing_since for (_, key), one in standings.items() if one.firing_since}
        for key in [key for key in open_since if key not in now]:
            found.append(Firing(rule_labels(rule, key), open_since.pop(key), at, False))
        open_since |= {key: since for key, since in now.items() if since}
    for key, since in open_since.items():
        found.append(Firing(rule_labels(rule, key), since, None, False))
    return sorted(found, key=lambda one: (one.starts_at, sorted(one.labels.items())))


def _flagged(firings: Sequence[Firing], flap_within: timedelta) -> tuple[Firing, ...]:
    """The firings, with those that came soon after another of the same labels as flaps."""
    ends: dict[LabelKey, datetime | None] = {}
    flagged = []
    for one in firings:
        key = tuple(sorted(one.labels.items()))
        before = ends.get(key)
        is_flap = before is not None and one.starts_at - before <= flap_within
        flagged.append(Firing(one.labels, one.starts_at, one.ends_at, is_flap))
        ends[key] = one.ends_at
    return tuple(flagged)


def _meets(firing: Firing, incident: Incident) -> bool:
    overlaps = firing.starts_at <= incident.ends_at and (
        firing.ends_at is None or firing.ends_at >= incident.starts_at
    )
    return overlaps and all(firing.labels.get(k) == v for k, v in incident.labels.items())
