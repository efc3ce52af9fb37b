"""One element of a FHIR resource's JSON read and changed; all else stays as it was written."""

import json
import re
from typing import Any

_STEP = re.compile(r"([A-Za-z][A-Za-z0-9]*)(?:\[(\d+)\])?")
# Numbers keep their digits: 1.10 says more than 1.1 (FHIR R4, decimal).
_EXACT = "\x00"
_WRITTEN = re.compile(r'"\\u0000([^"]+)"')


def parsed(content: str) -> dict[str, Any]:
    """The resource, each decimal as it was written."""
    found: dict[str, Any] = json.loads(content, parse_float=lambda text: f"{_EXACT}{text}")
    return found


def written(resource: dict[str, Any]) -> str:
    """The resource as one line of JSON."""
    text = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    return _WRITTEN.sub(r"\1", text)


def value_at(resource: dict[str, Any], path: str) -> str | None:
    """The element's value as text, e.g. of `valueQuantity.value` or `component[1].code.text`; None
    where there is none. KeyError for an element that has parts."""
    at, last = _parent(resource, path)
    found = at.get(last) if isinstance(at, dict) else _item(at, last)
    if found is None:
        return None
    if isinstance(found, dict | list):
        raise KeyError(path)
    return _text(found)


def with_value(resource: dict[str, Any], path: str, value: str | None) -> None:
    """Set the element in place, in the JSON type that it has; None takes it away."""
    at, last = _parent(resource, path)
    if isinstance(at, list):
        if value is None or _item(at, last) is None:
            raise KeyError(path)
        at[last] = _typed(at[last], value)
    elif value is None:
        at.pop(last, None)
    else:
        at[last] = _typed(at.get(last), value)


def _parent(resource: dict[str, Any], path: str) -> tuple[Any, Any]:
    """What holds the path's last step, and that step's name or number."""
    steps: list[Any] = []
    for part in path.split("."):
        match = _STEP.fullmatch(part)
        if match is None:
            raise KeyError(path)
        steps += [match[1], *([int(match[2])] if match[2] is not None else [])]
    at: Any = resource
    for step in steps[:-1]:
        at = at.get(step) if isinstance(at, dict) and isinstance(step, str) else _item(at, step)
        if not isinstance(at, dict | list):
            raise KeyError(path)
    if isinstance(at, dict) != isinstance(steps[-1], str):
        raise KeyError(path)
    return at, steps[-1]


def _item(at: Any, place: Any) -> Any:
    is_there = isinstance(at, list) and isinstance(place, int) and place < len(at)
    return at[place] if is_there else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removeprefix(_EXACT)


def _typed(before: Any, value: str) -> Any:
    """The new value in the old one's type; a new element is a text unless it reads as a number."""
    is_number = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", value) is not None
    was_number = isinstance(before, int | float) or str(before).startswith(_EXACT)
    if isinstance(before, bool) and value in ("true", "false"):
        return value == "true"
    if is_number and was_number and not isinstance(before, bool):
        return f"{_EXACT}{value}"
    return value
