"""Reads what followed predictions: one JSON object a line, as the people who act write it down."""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from clinical_lakehouse.errors import SourceError

_FIELDS = ("research_subject_key", "index_date", "action", "propensity", "is_held_out")
NOTHING = "none"


def read_actions(name: str, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """gold.prediction_action rows without model and recorded_at; empty lines are passed over.

    SourceError names file and line of what does not fit, never what stands there.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row, fault = _parsed(line)
        if row is None:
            raise SourceError(f"{name}:{number} {fault}; see gold.prediction_action")
        yield row


def _parsed(line: str) -> tuple[dict[str, Any] | None, str]:
    """The row, or what is wrong with the line."""
    try:
        given = json.loads(line)
        day = date.fromisoformat(given["index_date"])
        key, action = given["research_subject_key"], given["action"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, "needs research_subject_key, index_date (e.g. 2024-06-30) and action"
    chance, held_out = given.get("propensity"), given.get("is_held_out", False)
    is_number = isinstance(chance, int | float) and not isinstance(chance, bool)
    for is_wrong, fault in (
        (set(given) - set(_FIELDS), f"has a field that is none of {', '.join(_FIELDS)}"),
        (type(key) is not int, "research_subject_key must be a number"),
        (not isinstance(action, str) or not action, "action must be a word, none for nothing"),
        (chance is not None and not (is_number and 0 <= chance <= 1), "propensity must be 0 to 1"),
        (type(held_out) is not bool, "is_held_out must be true or false"),
        (held_out is True and action != NOTHING, "is held out and was acted on"),
    ):
        if is_wrong:
            return None, fault
    return {
        "research_subject_key": key,
        "index_date": day,
        "action": action,
        "propensity_ratio": None if chance is None else float(chance),
        "is_held_out": held_out,
    }, ""
