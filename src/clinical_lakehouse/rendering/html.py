"""One page specification becomes one self-contained HTML file: no script, no network."""

import re
from functools import cache

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from clinical_lakehouse.rendering import figures
from clinical_lakehouse.rendering.page import Page
from clinical_lakehouse.rendering.style import CSS
from clinical_lakehouse.rendering.template import TEMPLATE

# Words of the suite's tables that say how something stands.
_TONES = {
    "good": ("success", "passed", "resolved", "ok", "champion", "helps"),
    "watch": (
        "warning",
        "warn",
        "acknowledged",
        "running",
        "skipped",
        "watch",
        "indeterminate",
        "a person must say",
    ),
    "bad": (
        *("critical", "failed", "firing", "timed_out", "killed", "fatal", "error", "over limit"),
        *("harm", "odd", "refused"),
    ),
}


def render(page: Page) -> bytes:
    """The page as UTF-8 HTML; the same page gives the same bytes, and every text is escaped."""
    return _environment().from_string(TEMPLATE).render(page=page, css=Markup(CSS)).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters.update(
        kind=lambda block: type(block).__name__,
        anchor=_anchor,
        moment=figures.moment,
        tone=_tone,
        svg=_picture,
    )
    return environment


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _tone(word: str) -> str:
    return next((tone for tone, words in _TONES.items() if word.lower() in words), "plain")


def _picture(svg: str, title: str) -> Markup:
    """The SVG, named for screen readers; its texts were escaped when it was drawn."""
    label = Markup('<svg role="img" aria-label="{}" ').format(title)
    return label + Markup(svg.removeprefix("<svg").lstrip())
