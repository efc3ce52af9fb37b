"""The allow-list of labels: what is not on it, or not of its form, never leaves in a message."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# A word has no blank: names of people and free text do not fit, ids and table names do.
_FORMS = {
    "word": re.compile(r"[A-Za-z0-9_.:/+-]{1,80}"),
    "phrase": re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029<>]{1,120}"),
    "link": re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,600}"),
}
FORMS = (*_FORMS, "number", "moment")


def visible(labels: Mapping[str, Any], allowed: Mapping[str, str]) -> dict[str, str]:
    """Every allowed name with its value as text; empty where it is missing or not of its form.

    `allowed` gives each name's form: word, phrase (from our own conf only), link, number or moment.
    """
    return {name: _shown(labels.get(name), form) for name, form in allowed.items()}


def _shown(value: Any, form: str) -> str:
    if form == "number":
        return _number(value)
    if form == "moment":
        return _moment(value)
    text = value if isinstance(value, str) else ""
    return text if _FORMS[form].fullmatch(text) else ""


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _moment(value: Any) -> str:
    if not isinstance(value, datetime):
        return ""
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return f"{aware:%Y-%m-%d %H:%M} UTC"
