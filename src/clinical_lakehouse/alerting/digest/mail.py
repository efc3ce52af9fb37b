"""A digest as subject, text, HTML and pictures: data in, the same bytes out."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from clinical_lakehouse.alerting.channels.envelope import Image
from clinical_lakehouse.alerting.digest.content import AlertLine, DigestData, Figure, Group, Series
from clinical_lakehouse.alerting.digest.disclosure import Sight
from clinical_lakehouse.alerting.digest.template import TEMPLATE
from clinical_lakehouse.alerting.digest.words import WORDS
from clinical_lakehouse.alerting.messages.labels import visible
from clinical_lakehouse.rendering import charts, figures
from clinical_lakehouse.rendering.marks import Axis, Line, Rule
from clinical_lakehouse.rendering.raster import as_png

LARGEST_BYTES = 150_000
_MOST_ALERTS, _MOST_GROUP_ROWS, _MOST_CHARTS, _MOST_TILES = 10, 12, 2, 4
_COLOURS = {"good": "#1b7a4b", "watch": "#9a5b00", "bad": "#b3261e", "soft": "#4b5868"}
_STRIPES = {"good": "#1b7a4b", "watch": "#c07a1a", "bad": "#b3261e"}
_STATE_TONES = {"firing": "bad", "acknowledged": "watch", "resolved": "good"}


@dataclass(frozen=True)
class Digest:
    """The mail. In `html` pictures are `cid:`, as mail has them."""

    subject: str
    text: str
    html: str
    images: tuple[Image, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: pictures are base64 there."""
        pictures = sum(len(base64.encodebytes(image.png)) for image in self.images)
        return len(self.text.encode()) + len(self.html.encode()) + pictures

    @property
    def page(self) -> bytes:
        """The same as a file for a browser, the pictures within."""
        html = self.html
        for image in self.images:
            data = base64.b64encode(image.png).decode()
            html = html.replace(f"cid:{image.name}", f"data:image/png;base64,{data}")
        return html.encode()


def render_digest(data: DigestData, *, hides_small: bool, language: str = "en") -> Digest:
    """The digest for an audience. Over 150 kB it loses pictures, the last one first."""
    words, sight = WORDS.get(language, WORDS["en"]), Sight(hides_small)
    data = _in_words(data, words)
    view = _view(data, words, sight)
    view["language"] = language if language in WORDS else "en"
    drawn = [_chart(at, one, words, sight) for at, one in enumerate(data.series[:_MOST_CHARTS])]
    images = [image for image in drawn if image is not None]
    while True:
        found = _mail(view, images)
        if found.size_bytes <= LARGEST_BYTES or not images:
            return found
        images = images[:-1]


def _in_words(data: DigestData, words: Mapping[str, str]) -> DigestData:
    """The names of figures, groups and charts in the reader's language, where there is a word."""
    return replace(
        data,
        figures=[replace(one, name=words.get(one.name, one.name)) for one in data.figures],
        groups=[replace(one, title=words.get(one.title, one.title)) for one in data.groups],
        series=[replace(one, title=words.get(one.title, one.title)) for one in data.series],
    )


def _view(data: DigestData, words: Mapping[str, str], sight: Sight) -> dict[str, Any]:
    span = {"since": figures.moment(data.since), "until": figures.moment(data.until)}
    heading = words[data.period]
    quiet, lead, tone = _summary(data, words, span)
    return {
        "words": words,
        "heading": heading,
        "subject": f"{heading} {_day(data.until)}: {quiet or lead}",
        "span": f"{span['since']} – {span['until']}",
        "lead": lead,
        "quiet": quiet,
        "stripe": _STRIPES[tone],
        "colours": _COLOURS,
        "tiles": [_tile(figure, words, sight) for figure in data.figures[:_MOST_TILES]],
        "changes": [text for figure in data.figures for text in _changed(figure, words, sight)],
        "alerts": [_alert(a, words) for a in _urgent_first(data.alerts)[:_MOST_ALERTS]],
        "more_alerts": _more(len(data.alerts) - _MOST_ALERTS, words),
        "groups": [_group(group, words, sight) for group in data.groups],
        "footer": words["footer"].format(audience=data.audience, **span),
        "small": words["small"] if sight.hides_small else "",
    }


def _summary(
    data: DigestData, words: Mapping[str, str], span: Mapping[str, str]
) -> tuple[str, str, str]:
    """That nothing happened, where so; one sentence; and how urgent it all is."""
    new = [a for a in data.alerts if a.is_new and a.state != "resolved"]
    still = [a for a in data.alerts if a.state != "resolved"]
    numbers = {
        "runs": figures.count(data.runs),
        "failed": figures.count(data.failed_runs),
        "new": len(new),
        "ended": len(data.alerts) - len(still),
        "open": len(still),
        **span,
    }
    if not data.runs:  # silence where nothing ran is no peace
        return "", words["no_runs"].format(**numbers), "bad"
    if not (data.failed_runs or data.alerts or _has_changed(data)):
        return words["quiet"], words["quiet_text"].format(**numbers), "good"
    is_bad = any(a.severity == "critical" for a in still)
    tone = "bad" if is_bad else "watch" if still or data.failed_runs else "good"
    return "", words["summary"].format(**numbers), tone


def _group(group: Group, words: Mapping[str, str], sight: Sight) -> dict[str, Any]:
    rows = list(sight.rows(group))
    more = _more(len(rows) - _MOST_GROUP_ROWS, words)
    return {"title": group.title, "rows": rows[:_MOST_GROUP_ROWS], "more": more}


def _has_changed(data: DigestData) -> bool:
    """Also where the change may not be shown: "nothing happened" must be true."""
    figures_changed = any(f.before is not None and f.value != f.before for f in data.figures)
    return figures_changed or any(dict(g.now) != dict(g.before) for g in data.groups)


def _changed(figure: Figure, words: Mapping[str, str], sight: Sight) -> list[str]:
    change = sight.change(figure)
    if not change:
        return []
    now, before = (sight.shown(v, figure.unit) for v in (figure.value, figure.before))
    return [f"{figure.name}: {now}, {words['was']} {before} ({change})"]


def _tile(figure: Figure, words: Mapping[str, str], sight: Sight) -> dict[str, str]:
    change = sight.change(figure)
    tone = "soft"
    if change and figure.good_when and figure.value is not None and figure.before is not None:
        is_up = figure.value > figure.before
        tone = "good" if is_up == (figure.good_when == "up") else "bad"
    if figure.before is None:
        note = words["first"]
    elif change:
        note = f"{change}, {words['was']} {sight.shown(figure.before, figure.unit)}"
    else:
        note = words["same"] if figure.value == figure.before else figures.NOT_KNOWN
    if figure.limit is not None:
        note += f" · {words['limit']} {sight.shown(figure.limit, figure.unit)}"
    value = sight.shown(figure.value, figure.unit)
    return {"name": figure.name, "value": value, "note": note, "tone": tone}


def _urgent_first(alerts: Sequence[AlertLine]) -> list[AlertLine]:
    states, severities = ("firing", "acknowledged", "resolved"), ("critical", "warning", "info")

    def rank(alert: AlertLine) -> tuple[Any, ...]:
        severity = severities.index(alert.severity) if alert.severity in severities else 9
        return states.index(alert.state), severity, alert.since, alert.kind, alert.where

    return sorted(alerts, key=rank)


def _alert(alert: AlertLine, words: Mapping[str, str]) -> dict[str, str]:
    forms = {"kind": "word", "where": "word", "severity": "word"}
    shown = visible({name: getattr(alert, name) for name in forms}, forms)
    what = " · ".join(text for text in (shown["kind"], shown["where"], shown["severity"]) if text)
    is_begun = alert.is_new and alert.state == "firing"
    state = f"{words['new']}, {words['firing']}" if is_begun else words[alert.state]
    since = f"{_day(alert.since)} {alert.since:%H:%M}"
    return {"what": what, "since": since, "state": state, "tone": _STATE_TONES[alert.state]}


def _more(count: int, words: Mapping[str, str]) -> str:
    return words["more"].format(count=count) if count > 0 else ""


def _chart(at: int, series: Series, words: Mapping[str, str], sight: Sight) -> Image | None:
    points = sight.points(series)
    if len(points) < 2:
        return None
    axes = (Axis("", "time", ticks=6), _height(series))
    rules = [Rule(series.limit, words["limit"], "bad")] if series.limit is not None else []
    svg = charts.lines([Line(series.title, points)], axes, rules=rules, size=(520, 130))
    first, last = (sight.shown(value, series.unit) for _, value in (points[0], points[-1]))
    told = f"{series.title}: {first} – {last}"
    return Image(f"chart{at}-{series.title}", as_png(svg), told)


def _height(series: Series) -> Axis:
    """Counts stand on zero; ratios are drawn where they lie, or a small change is not seen."""
    if series.unit != "ratio":
        return Axis("", format=",.0f", ticks=4)
    values = [value for _, value in series.points]
    values += [series.limit] if series.limit is not None else []
    low, high = max(min(values) - 0.01, 0.0), min(max(values) + 0.01, 1.0)
    limits = (math.floor(low * 50) / 50, math.ceil(high * 50) / 50)
    return Axis("", format=".0%", limits=limits, ticks=4)


def _mail(view: Mapping[str, Any], images: Sequence[Image]) -> Digest:
    named = [Image(f"chart{at}", image.png, image.text) for at, image in enumerate(images)]
    titles = [image.name.partition("-")[2] for image in images]
    shown = [{"name": i.name, "alt": i.text, "text": t} for i, t in zip(named, titles, strict=True)]
    sources = {image.name: f"cid:{image.name}" for image in named}
    html = _template().render(**view, charts=shown, sources=sources)
    return Digest(view["subject"], _text(view, named), html, tuple(named))


def _text(view: Mapping[str, Any], images: Sequence[Image]) -> str:
    """The same in plain text, for mail programs and ears that want it so."""
    words = view["words"]
    parts = [f"{view['heading']}\n{view['span']}", f"{view['quiet']} {view['lead']}".strip()]
    if view["tiles"]:
        parts.append("\n".join(f"{t['name']}: {t['value']} ({t['note']})" for t in view["tiles"]))
    if view["changes"]:
        parts.append("\n".join([words["changes"], *(f"- {c}" for c in view["changes"])]))
    if view["alerts"]:
        lines = [f"- {a['what']}: {a['state']} ({a['since']})" for a in view["alerts"]]
        lines += [f"- {view['more_alerts']}"] if view["more_alerts"] else []
        parts.append("\n".join([words["alerts"], *lines]))
    parts += [image.text for image in images]
    for group in view["groups"]:
        rows = [
            f"- {row[0]}: {row[1]} ({words['was']} {row[2]}, {row[3]})" for row in group["rows"]
        ]
        rows += [f"- {group['more']}"] if group["more"] else []
        parts.append("\n".join([group["title"], *rows]))
    parts.append(f"{view['footer']} {view['small']}".strip())
    return "\n\n".join(parts) + "\n"


def _day(moment: datetime) -> str:
    return figures.day(moment.date())


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string(TEMPLATE)
