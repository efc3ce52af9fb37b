"""What keeps an alert from being told: inhibition, silences and maintenance windows."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from clinical_lakehouse.alerting.routing.matchers import Labels, Matcher, matches_all
from clinical_lakehouse.alerting.routing.time_intervals import Intervals, containing
from clinical_lakehouse.errors import UsageError


@dataclass(frozen=True)
class InhibitRule:
    """An alert that `source` takes keeps alerts that `target` takes quiet, where the labels named
    in `equal` have equal values in both (a label that both lack is equal)."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True)
class Silence:
    """Who wants which alerts quiet, from when until when, and why."""

    silence_id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    reason: str

    def __post_init__(self) -> None:
        if not self.created_by.strip() or not self.reason.strip():
            raise UsageError("a silence needs who made it and why: give a name and a reason")
        if self.ends_at < self.starts_at:  # equal: withdrawn before it started
            raise UsageError("a silence must not end before it starts")
        if all(matcher.matches({}) for matcher in self.matchers):
            raise UsageError("a silence needs a matcher that an alert without labels does not meet")

    def state(self, at: datetime) -> str:
        """pending, active or expired, as in Alertmanager."""
        if at < self.starts_at:
            return "pending"
        return "active" if at < self.ends_at else "expired"


@dataclass(frozen=True)
class Maintenance:
    """Planned work that comes back: alerts it takes are quiet during the named time intervals."""

    name: str
    matchers: tuple[Matcher, ...]
    time_intervals: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Quiet:
    """Why an alert is not told now: fingerprints of its inhibitors, silences, maintenance."""

    inhibited_by: tuple[str, ...] = ()
    silenced_by: tuple[Silence, ...] = ()
    maintained_by: tuple[Maintenance, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.inhibited_by or self.silenced_by or self.maintained_by)


@dataclass(frozen=True)
class Suppressions:
    """Everything that may keep alerts quiet.

    `protected` takes alerts (of safety) that only a silence naming one of these matchers' labels by
    `=` may keep quiet: no inhibition, no maintenance, no broad silence.
    """

    rules: tuple[InhibitRule, ...] = ()
    silences: tuple[Silence, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    intervals: Intervals | None = None
    protected: tuple[Matcher, ...] = ()

    def is_protected(self, labels: Labels) -> bool:
        """Whether the alert is one of those that no rule of others may keep quiet."""
        return bool(self.protected) and matches_all(self.protected, labels)

    def quiet(
        self, alerts: Mapping[str, Labels], at: datetime, firing: Container[str] | None = None
    ) -> dict[str, Quiet]:
        """Per alert (by fingerprint) what keeps it quiet at this moment.

        Only those in `firing` (all, if not given) inhibit others.
        """
        sources = {n: one for n, one in alerts.items() if firing is None or n in firing}
        by_rule = [_sources(rule, sources) for rule in self.rules]
        return {name: self._quiet(labels, by_rule, at) for name, labels in alerts.items()}

    def _quiet(self, labels: Labels, sources: Sequence["_Sources"], at: datetime) -> Quiet:
        protected = self.is_protected(labels)
        named = {matcher.name for matcher in self.protected}
        silences = tuple(
            silence
            for silence in self.silences
            if silence.state(at) == "active"
            and matches_all(silence.matchers, labels)
            and (not protected or any(_names(m, named) for m in silence.matchers))
        )
        if protected:
            return Quiet(silenced_by=silences)
        inhibitors = dict.fromkeys(name for source in sources for name in source.of(labels))
        return Quiet(tuple(inhibitors), silences, self._maintenance(labels, at))

    def _maintenance(self, labels: Labels, at: datetime) -> tuple[Maintenance, ...]:
        return tuple(
            work
            for work in self.maintenance
            if matches_all(work.matchers, labels)
            and containing(work.time_intervals, self.intervals or {}, at)
        )


@dataclass(frozen=True)
class _Sources:
    """The firing alerts that a rule's source takes, by their values of its equal labels."""

    rule: InhibitRule
    by_values: Mapping[tuple[str, ...], Sequence[tuple[str, bool]]]

    def of(self, labels: Labels) -> Iterable[str]:
        """Fingerprints of the alerts that inhibit this one.

        As in Alertmanager, an alert that is source and target at once is not inhibited by another
        such alert, so none inhibits itself.
        """
        if not matches_all(self.rule.target, labels):
            return ()
        is_source = matches_all(self.rule.source, labels)
        found = self.by_values.get(_values(labels, self.rule.equal), ())
        return [name for name, is_target in found if not (is_source and is_target)]


def _sources(rule: InhibitRule, alerts: Mapping[str, Labels]) -> _Sources:
    found: dict[tuple[str, ...], list[tuple[str, bool]]] = defaultdict(list)
    for name, labels in alerts.items():
        if matches_all(rule.source, labels):
            both = matches_all(rule.target, labels)
            found[_values(labels, rule.equal)].append((name, both))
    return _Sources(rule, found)


def _values(labels: Labels, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in names)


def _names(matcher: Matcher, labels: set[str]) -> bool:
    return matcher.operator == "=" and matcher.name in labels and bool(matcher.value)
