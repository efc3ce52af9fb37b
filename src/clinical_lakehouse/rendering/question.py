"""A small page that says something and may ask: one sentence, one button, no script, no network."""

from functools import cache

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from clinical_lakehouse.rendering.style import CSS

_OWN = """
.ask{max-width:30em;margin:12vh auto;padding:0 20px}
.ask p{margin:0 0 22px;color:var(--soft)}
.ask button{font:inherit;font-weight:600;color:#fff;background:#0b5c9e;border:0;border-radius:6px;
padding:12px 26px;cursor:pointer;min-height:44px}
.ask button:focus-visible{outline:3px solid var(--s6);outline-offset:2px}
"""
_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{{ title }}</title>
<style>{{ css }}</style>
</head>
<body><main class="ask">
<h1>{{ title }}</h1>
<p>{{ text }}</p>
{% if button %}<form method="post"><button>{{ button }}</button></form>{% endif %}
</main></body>
</html>
"""


def render_question(title: str, text: str, button: str = "") -> bytes:
    """The page as UTF-8 HTML; the button posts to the address that the page was asked at."""
    page = _template().render(title=title, text=text, button=button, css=Markup(CSS + _OWN))
    return page.encode()


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string(_TEMPLATE)
