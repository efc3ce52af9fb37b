"""Features worked out one by one in plain Python: slow, and written without the engine's code."""

import math
from datetime import timedelta
from statistics import mean, stdev

EVER = 1_000_000
DAY = timedelta(days=1)


def slow_features(group, events, subject, at, known_at):
    """Name -> (value, reason) of every feature; events are dictionaries of gold.feature_event."""
    names = [f.name for f in group.features]
    if subject is None:
        return dict.fromkeys(names, (None, "no-subject"))
    if at is None or known_at is None:
        return dict.fromkeys(names, (None, "no-time"))
    theirs = [e for e in events if e["subject_key"] == subject and e["known_from"] <= known_at]
    theirs = [e for e in theirs if e["known_until"] is None or known_at < e["known_until"]]
    if not any(e["source"] == "person" for e in theirs):
        return dict.fromkeys(names, (None, "not-consented"))
    theirs = [e for e in theirs if e["event_at"] is not None and e["event_at"] <= at]
    found = {}
    series = {one.name: one for one in group.series}
    for feature in group.features:
        one = series[feature.series]
        mine = [e for e in theirs if e["source"] == one.source]
        if one.codes:
            mine = [e for e in mine if e["code"] in one.codes]
        found[feature.name] = _value(one, feature, mine, at)
    return found


def _judged(series, event):
    """(value, None) or (None, why)."""
    if series.source == "visit":
        return event["value"], None
    if series.unit is None:
        return None, None
    if event["value"] is None:
        return None, event["why_no_value"] or "no-value"
    if event["unit"] != series.unit:
        return None, "unit-unknown"
    if series.plausible and not series.plausible[0] <= event["value"] <= series.plausible[1]:
        return None, "implausible"
    return event["value"], None


def _value(series, feature, mine, at):
    days, kind = feature.window_days, feature.aggregation
    inside = [e for e in mine if days == EVER or e["event_at"] > at - days * DAY]
    judged = [(e, *_judged(series, e)) for e in inside]
    valued = sorted(((e["event_at"], v, e["record_key"]) for e, v, _ in judged if v is not None))
    made = _aggregate(series, kind, days, mine, inside, valued, at)
    if made is not None:
        return round(float(made), 6), None
    numeric = series.unit is not None
    if valued if numeric else inside:
        return None, "too-few"
    if inside:
        order = ["no-value", "implausible", "unit-unknown"]
        return None, max((why for _, _, why in judged), key=order.index)
    return None, "outside-window" if mine else "never"


def _aggregate(series, kind, days, mine, inside, valued, at):
    counted = {
        "count": lambda: len(inside),
        "days_since": lambda: min(((at - e["event_at"]) / DAY for e in inside), default=None),
        "is_active": lambda: int(any(e["end_at"] is None or at < e["end_at"] for e in mine)),
        "missing_ratio": lambda: 1 - len({(at - e["event_at"]) // DAY for e in inside}) / days,
        "exposure_days": lambda: len(_covered(mine, at, days)),
    }
    if kind in counted:
        return counted[kind]()
    return _of_values(series, kind, days, valued, at) if valued else None


def _of_values(series, kind, days, valued, at):
    values, points = [v for _, v, _ in valued], [(t, v) for t, v, _ in valued]
    low, high = series.normal or (None, None)
    return {
        "latest": lambda: values[-1],
        "first": lambda: values[0],
        "mean": lambda: mean(values),
        "adherence": lambda: mean(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "sd": lambda: stdev(values) if len(values) > 1 else None,
        "slope": lambda: _slope(points, at),
        "trend_change": lambda: _change(points, at, days // 2),
        "days_abnormal": lambda: len({(at - t) // DAY for t, v in points if v < low or v > high}),
    }[kind]()


def _change(points, at, half):
    late = _slope([(t, v) for t, v in points if t > at - half * DAY], at)
    early = _slope([(t, v) for t, v in points if t <= at - half * DAY], at)
    return None if late is None or early is None else late - early


def _slope(points, at):
    """Least squares over whole days, counted back from the moment."""
    xs, ys = [-((at - t) // DAY) for t, _ in points], [v for _, v in points]
    if len(set(xs)) < 2:
        return None
    middle, level = mean(xs), mean(ys)
    across = math.fsum((x - middle) ** 2 for x in xs)
    return math.fsum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / across


def _covered(mine, at, days):
    """Days k (from at - (k+1) days, excluded, to at - k days) that a span touches."""
    found = set()
    for e in mine:
        end = e["end_at"] or at + DAY
        last = min(end - timedelta(microseconds=1), at)
        if end <= e["event_at"]:
            continue
        oldest = (at - e["event_at"]) // DAY
        found |= set(range((at - last) // DAY, oldest + 1))
    return {k for k in found if days == EVER or k < days}
