"""Rules judged at one moment: what fires, what is over, what cannot be known for lack of data."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from clinical_lakehouse.alerting.alert_state import Sighting, alert_fingerprint
from clinical_lakehouse.alerting.conf_node import in_words
from clinical_lakehouse.alerting.rules.expressions import grouped
from clinical_lakehouse.alerting.rules.observations import (
    LabelKey,
    Observations,
    Series,
    label_key,
)
from clinical_lakehouse.alerting.rules.rates import Counts, RateEvidence, judge_rate
from clinical_lakehouse.alerting.rules.rule import Rate, Rule, number
from clinical_lakehouse.errors import ContractError, LakehouseError

SOURCE = "alerting-evaluate"
RULE_FAILED, INPUT_STALE = "rule_failed", "rule_input_stale"


@dataclass(frozen=True)
class Standing:
    """What a rule remembers of one label set between evaluations."""

    newest_at: datetime | None = None
    pending_since: datetime | None = None
    firing_since: datetime | None = None
    value: float = 0.0


Standings = Mapping[tuple[str, LabelKey], Standing]


@dataclass(frozen=True)
class Verdict:
    """How a rule judged one label set: firing, pending, ok, too few or no data; and why."""

    rule: str
    labels: Mapping[str, str]
    outcome: str
    value: float | None
    limit: float
    count: int
    because: str


@dataclass(frozen=True)
class Evaluation:
    """Sightings for the alerts' state, what to remember, and every judgement for `explain`."""

    sightings: tuple[Sighting, ...]
    standings: Standings
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class _Found:
    """What is known now of one label set; `evidence` says more than a limit (rates)."""

    value: float | None
    count: int
    newest_at: datetime | None
    is_proven: bool | None = None
    evidence: str = ""


def evaluate(
    rules: Sequence[Rule], observations: Observations, known: Standings, at: datetime
) -> Evaluation:
    """Judge every rule at this moment; a rule that fails is an alert, and stops no other."""
    sightings: list[Sighting] = []
    standings: dict[tuple[str, LabelKey], Standing] = {}
    verdicts: list[Verdict] = []
    for rule in rules:
        before = {key: one for (name, key), one in known.items() if name == rule.name}
        try:
            judged = list(_judged(rule, observations, before, at))
        except Exception as error:  # whatever it is: a rule that cannot judge must be heard of
            # Our own errors hold no data value; of others only the kind is told.
            why = str(error) if isinstance(error, LakehouseError) else type(error).__name__
            sightings.append(_failed(rule, at, f"rule {rule.name} cannot be judged: {why}"))
            sightings += [
                _sighting(rule, *one, at) for one in before.items() if one[1].firing_since
            ]
            standings |= {(rule.name, key): one for key, one in before.items()}
            continue
        sightings.append(_failed(rule, at, None))
        sightings += _freshness(rule, {key: after for key, after, _ in judged}, at)
        for key, after, verdict in judged:
            verdicts.append(verdict)
            sightings.append(_sighting(rule, key, after, at))
            standings[rule.name, key] = after
    return Evaluation(tuple(sightings), standings, tuple(verdicts))


def rule_labels(rule: Rule, key: LabelKey) -> dict[str, str]:
    """Labels of a rule's alert: those of its series, and the rule's own, which win."""
    return {**dict(key), **rule.labels}


def _judged(
    rule: Rule, observations: Observations, before: Mapping[LabelKey, Standing], at: datetime
) -> Iterator[tuple[LabelKey, Standing, Verdict]]:
    if isinstance(rule.measure, Rate):
        found = _rates(rule.measure, rule, observations, at)
    else:
        measured = rule.measure.measured(observations, at)
        found = {key: _Found(one.value, one.count, one.newest_at) for key, one in measured.items()}
    if len({label_key(rule_labels(rule, key)) for key in found}) < len(found):
        raise ContractError(f"{rule.place}: labels of rule {rule.name} hide those of its series")
    for key in sorted({*found, *before}):
        standing = before.get(key, Standing())
        one = found.get(key, _Found(None, 0, standing.newest_at))
        newest_at = max((m for m in (one.newest_at, standing.newest_at) if m), default=None)
        standing = replace(standing, newest_at=newest_at)
        if newest_at is None or at - newest_at <= rule.forget_after:
            yield key, *_judge(rule, key, standing, one, at)


def _judge(
    rule: Rule, key: LabelKey, before: Standing, found: _Found, at: datetime
) -> tuple[Standing, Verdict]:
    """One label set: no data and too few decide nothing, unless silence means that all is well."""
    is_firing = before.firing_since is not None

    def verdict(outcome: str, because: str) -> Verdict:
        labels = rule_labels(rule, key)
        return Verdict(rule.name, labels, outcome, value, rule.limit, found.count, because)

    value = found.value
    if value is None and rule.stale_after is None:
        ended = replace(before, pending_since=None, firing_since=None)
        return ended, verdict("ok", "nothing was seen, and this input tells only what is bad")
    if value is None:
        held = "; it fires on until data say otherwise" if is_firing else ""
        return before, verdict("no data", f"no data in its window{held}")
    if found.count < rule.min_count:
        held = "; it fires on" if is_firing else ""
        because = f"below minimum count: {found.count} of {rule.min_count}{held}"
        return before, verdict("too few", because)
    against = f"{number(value)} against {rule.limit_name} {number(rule.limit)}{found.evidence}"
    is_bad = rule.is_over(value, is_firing)
    if found.is_proven is not None and not is_firing:
        is_bad = found.is_proven
    if not is_bad and not found.is_proven:
        return Standing(before.newest_at, value=value), verdict("ok", against)
    pending_since = before.pending_since or at
    firing_since = before.firing_since or (at if at - pending_since >= rule.wait else None)
    after = Standing(before.newest_at, pending_since, firing_since, value)
    if firing_since:
        return after, verdict("firing", against)
    until = pending_since + rule.wait
    return after, verdict("pending", f"{against}, pending until {until:%Y-%m-%d %H:%M}")


def _rates(
    rate: Rate, rule: Rule, observations: Observations, at: datetime
) -> dict[LabelKey, _Found]:
    """Per label set its runs' failure rate, in the window that proves most."""
    members: dict[LabelKey, list[Series]] = defaultdict(list)
    for series in observations.select(rate.selector):
        if series.newest_at(at):
            members[grouped(series.labels, rate.by)].append(series)
    found = {}
    for key, group in members.items():
        evidence = judge_rate(_counts(group, at), rule.limit, rate.policy, len(members))
        newest_at = max(moment for one in group if (moment := one.newest_at(at)))
        found[key] = _rate_found(evidence, rule.min_count, newest_at)
    return found


def _counts(group: Sequence[Series], at: datetime) -> Counts:
    """Failures and runs of a group within a window up to now."""

    def counts(window: timedelta) -> tuple[int, int]:
        found = [one.counts(window, at) for one in group]
        return sum(failed for failed, _ in found), sum(runs for _, runs in found)

    return counts


def _rate_found(evidence: Sequence[RateEvidence], least: int, newest_at: datetime) -> _Found:
    """The shortest window that proves it, or else the shortest with enough runs."""
    enough = [one for one in evidence if one.trials >= least]
    proofs = [one for one in enough if one.is_over]
    best = next(iter(proofs or enough), max(evidence, key=lambda one: one.trials))
    if not best.trials:
        return _Found(None, 0, newest_at)
    said = f" ({best.failures} of {best.trials} runs in {in_words(best.window)}"
    proof = f", proven above {number(best.needed)})" if proofs else ", not proven)"
    return _Found(best.rate, best.trials, newest_at, bool(proofs), said + proof)


def _sighting(rule: Rule, key: LabelKey, standing: Standing, at: datetime) -> Sighting:
    """The rule's alert as it stands; firing also while there is no new data."""
    labels = rule_labels(rule, key)
    told = rule.annotations({**labels, "severity": rule.severity}, standing.value)
    return Sighting(
        fingerprint=alert_fingerprint(SOURCE, rule.name, labels),
        source=SOURCE,
        kind=rule.name,
        severity=rule.severity,
        labels=labels,
        value=standing.value,
        limit=rule.limit,
        message=told["summary"],
        at=at,
        window_at=at,
        is_firing=standing.firing_since is not None,
        runbook=rule.runbook,
    )


def _freshness(rule: Rule, after: Mapping[LabelKey, Standing], at: datetime) -> Iterator[Sighting]:
    """Input that is too old, or was never there, per label set: no data is not OK.

    What was never there pages nobody: in a new lake that is so until the job that writes it ran.
    """
    if rule.stale_after is None:
        return
    absent = not any(one.newest_at for one in after.values())
    said = f"rule {rule.name} has no input at all: {rule.selector}"
    yield replace(_own(rule, INPUT_STALE, said, at, is_firing=absent), severity="info")
    for key, one in after.items():
        if one.newest_at is not None:
            age = at - one.newest_at
            said = f"input of rule {rule.name} is {in_words(age)} old"
            is_stale = age > rule.stale_after
            yield _own(rule, INPUT_STALE, said, at, is_firing=is_stale, series=key, age=age)


def _failed(rule: Rule, at: datetime, said: str | None) -> Sighting:
    return _own(rule, RULE_FAILED, said or "", at, is_firing=said is not None)


def _own(
    rule: Rule,
    kind: str,
    said: str,
    at: datetime,
    *,
    is_firing: bool,
    series: LabelKey = (),
    age: timedelta | None = None,
) -> Sighting:
    """An alert about the alerting itself: as bad as the rule, and for whom it would have told."""
    labels = {**dict(series), **rule.labels, "rule": rule.name}
    return Sighting(
        fingerprint=alert_fingerprint(SOURCE, kind, labels),
        source=SOURCE,
        kind=kind,
        severity=rule.severity,
        labels=labels,
        value=age.total_seconds() if age else None,
        limit=rule.stale_after.total_seconds() if age and rule.stale_after else None,
        message=said,
        at=at,
        window_at=at,
        is_firing=is_firing,
        runbook=rule.runbook,
    )
