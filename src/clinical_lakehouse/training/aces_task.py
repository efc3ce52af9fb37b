"""Reads a task definition of ACES (Xu et al. 2024): trigger, windows, constraints and label."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical_lakehouse.methods.yaml_fields import Fields, read_fields

ANY_EVENT, RECORD_START, RECORD_END = "_ANY_EVENT", "_RECORD_START", "_RECORD_END"
SPECIAL = (ANY_EVENT, RECORD_START, RECORD_END)
TRIGGER = "trigger"
_NAME = re.compile(r"\w+")
_DERIVED = re.compile(r"(and|or)\(([^()]*)\)")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_UNITS = {
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), "w"),
    **dict.fromkeys(("d", "dy", "dys", "day", "days"), "d"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
}
_VALUE_FIELDS = ("value_min", "value_max", "value_min_inclusive", "value_max_inclusive")


@dataclass(frozen=True)
class CodePredicate:
    """Events by their code (one of `codes`, or a regular expression) and bounds of their value.
    `others` are columns that must hold a word; `place` says where it is defined."""

    codes: tuple[str, ...]
    regex: str | None
    low: float | None
    high: float | None
    low_counts: bool
    high_counts: bool
    others: tuple[tuple[str, str], ...]
    place: str


@dataclass(frozen=True)
class DerivedPredicate:
    """Moments at which all (`every`), or at least one, of other predicates hold."""

    every: bool
    of: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """Where a window begins or ends: at `refers`, `seconds` away from it, or at the next or
    previous moment of `event`."""

    refers: str
    seconds: float = 0
    event: str | None = None
    is_before: bool = False


@dataclass(frozen=True)
class Constraint:
    """How many moments or events of a predicate a window may hold."""

    predicate: str
    least: int | None
    most: int | None

    def __str__(self) -> str:
        low = "" if self.least is None else f"{self.least} <= "
        high = "" if self.most is None else f" <= {self.most}"
        return f"{low}{self.predicate}{high}"


@dataclass(frozen=True)
class Window:
    """A span of the record; `root` is the edge that refers to something outside the window."""

    name: str
    start: Edge
    end: Edge
    root: str
    start_inclusive: bool
    end_inclusive: bool
    has: tuple[Constraint, ...]
    label: str | None
    index: str | None

    @property
    def order(self) -> tuple[str, str]:
        """Its edges in the order in which they can be found."""
        return ("end", "start") if self.root == "end" else ("start", "end")

    def edge(self, side: str) -> Edge:
        """The edge of that side."""
        return self.start if side == "start" else self.end


@dataclass(frozen=True)
class AcesTask:
    """A task: predicates in the order in which they can be computed, what a person must be, and
    windows in the order in which they can be found."""

    predicates: Mapping[str, CodePredicate | DerivedPredicate]
    demographics: Mapping[str, CodePredicate]
    trigger: str
    windows: tuple[Window, ...]

    @property
    def counted(self) -> tuple[str, ...]:
        """The predicates whose counts a constraint or the label asks for, in a fixed order."""
        asked = {c.predicate for w in self.windows for c in w.has}
        asked |= {w.label for w in self.windows if w.label}
        return tuple(sorted(asked))

    @property
    def label(self) -> Window | None:
        """The window whose count is the label."""
        return next((w for w in self.windows if w.label), None)

    @property
    def index(self) -> Window | None:
        """The window whose edge is the moment of prediction."""
        return next((w for w in self.windows if w.index), None)


def read_task(path: Path, root: Path) -> AcesTask:
    """The task of a YAML file below `root`; SettingsError names file and line of what is wrong."""
    fields = read_fields(path, root)
    fields.allow(
        "description", "metadata", "predicates", "patient_demographics", "trigger", "windows"
    )
    plain = dict(_predicates(fields, "predicates"))
    demographics: dict[str, CodePredicate] = {}
    for name, found in _predicates(fields, "patient_demographics"):
        if not isinstance(found, CodePredicate):
            raise fields.refusal(f"{name} must be defined by a code", "patient_demographics", name)
        demographics[name] = found
    known = {*plain, *demographics}
    trigger = fields.text("trigger")
    if trigger not in {*plain, *SPECIAL}:
        raise fields.refusal(f"the trigger {trigger!r} is no predicate of this task", "trigger")
    windows = [_window(name, one, known) for name, one in fields.named("windows")]
    _at_most_one(fields, windows)
    asked = {trigger, *(p for w in windows for p in _asked(w))}
    needed = _in_order(fields, plain, asked, set(demographics))
    return AcesTask(needed, demographics, trigger, _placed(fields, windows))


def _predicates(
    fields: Fields, part: str
) -> Iterator[tuple[str, CodePredicate | DerivedPredicate]]:
    for name, one in fields.named(part):
        if not _NAME.fullmatch(name) or name in SPECIAL:
            raise one.refusal(f"the predicate's name {name!r} must be letters, digits and _")
        if "expr" in one.content:
            one.allow("expr", "static")
            yield name, _derived(one)
        else:
            yield name, _by_code(one)


def _derived(one: Fields) -> DerivedPredicate:
    text = one.text("expr").strip()
    found = _DERIVED.fullmatch(text)
    of = tuple(part.strip() for part in found.group(2).split(",")) if found else ()
    if found is None or len(of) < 2 or not all(of):
        raise one.refusal("expr must be and(a, b, ...) or or(a, b, ...)", "expr")
    return DerivedPredicate(found.group(1) == "and", of)


def _by_code(one: Fields) -> CodePredicate:
    codes, regex = _codes(one)
    bounds = {n: one.number(n, None, least=float("-inf")) for n in ("value_min", "value_max")}
    known = {"code", "static", *_VALUE_FIELDS}
    others = tuple((name, one.text(name)) for name in one.content if name not in known)
    return CodePredicate(
        codes,
        regex,
        bounds["value_min"],
        bounds["value_max"],
        one.flag("value_min_inclusive", False),
        one.flag("value_max_inclusive", False),
        others,
        str(one.place()),
    )


def _codes(one: Fields) -> tuple[tuple[str, ...], str | None]:
    """Exact codes, or none and a regular expression."""
    found = one.value("code")
    if isinstance(found, str):
        return (found,), None
    if not isinstance(found, dict) or set(found) not in ({"regex"}, {"any"}):
        raise one.refusal("code must be a code, {regex: ...} or {any: [...]}", "code")
    inner = one.inner("code")
    if "any" in found:
        return inner.words("any"), None
    regex = inner.text("regex")
    try:
        re.compile(regex)
    except re.error:
        raise inner.refusal("regex is no regular expression", "regex") from None
    return (), regex


def _window(name: str, one: Fields, known: Collection[str]) -> Window:
    one.allow("start", "end", "start_inclusive", "end_inclusive", "has", "label",
              "index_timestamp")  # fmt: skip
    if not _NAME.fullmatch(name) or name == TRIGGER:
        raise one.refusal(f"the window's name {name!r} must be letters, digits and _")
    start, end = _edge(one, "start", "end", known), _edge(one, "end", "start", known)
    if (start.refers == "end") == (end.refers == "start"):
        raise one.refusal("exactly one of start and end must refer to the other")
    root = "end" if start.refers == "end" else "start"
    backwards = start.event is None and start.seconds > 0, end.event is None and end.seconds < 0
    wrong_event = bool(start.event) and not start.is_before, bool(end.event) and end.is_before
    if (root == "end" and (backwards[0] or wrong_event[0])) or (
        root == "start" and (backwards[1] or wrong_event[1])
    ):
        raise one.refusal("the window must start before it ends", "end" if root == "start" else
                          "start")  # fmt: skip
    label = one.text("label", None)
    if label is not None and label not in known:
        raise one.refusal(f"the label {label!r} is no predicate of this task", "label")
    return Window(
        name,
        start,
        end,
        root,
        _boolean(one, "start_inclusive"),
        _boolean(one, "end_inclusive"),
        tuple(_constraints(one, known)),
        label,
        one.choice("index_timestamp", ("start", "end"), None),
    )


def _boolean(one: Fields, name: str) -> bool:
    one.value(name)
    return one.flag(name, False)


def _edge(one: Fields, side: str, other: str, known: Collection[str]) -> Edge:
    """`x`, `x + 2 days`, `x -> predicate`, `x <- predicate`; nothing is the record's edge."""
    text = one.text(side, None)
    if text is None:
        event = RECORD_START if side == "start" else RECORD_END
        return Edge(other, event=event, is_before=side == "start")
    arrows = [arrow for arrow in ("->", "<-") if arrow in text]
    if arrows:
        refers, _, event = (part.strip() for part in text.partition(arrows[0]))
        if event not in known and event not in SPECIAL:
            raise one.refusal(f"{side} names {event!r}, which is no predicate of this task", side)
        return Edge(_reference(one, side, refers), event=event, is_before=arrows[0] == "<-")
    found = re.fullmatch(r"([^+-]*)([+-])([^+-]*)", text)
    if found is None:
        return Edge(_reference(one, side, text.strip()))
    refers, sign, span = (part.strip() for part in found.groups())
    seconds = _seconds(span)
    if seconds is None:
        raise one.refusal(f"{side} must be like 'trigger + 24h' or 'end - 30 days'", side)
    return Edge(_reference(one, side, refers), seconds if sign == "+" else -seconds)


def _reference(one: Fields, side: str, text: str) -> str:
    if not re.fullmatch(r"\w+(\.(start|end))?", text):
        raise one.refusal(f"{side} must refer to trigger, start, end or a window's edge", side)
    return text


def _seconds(span: str) -> float | None:
    """Seconds of "24h", "1 day 2 hours", ...; None where it is no such span."""
    text = span.lower().replace(",", " ").strip()
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text).strip() or any(unit not in _UNITS for _, unit in parts):
        return None
    return sum(float(number) * _SECONDS[_UNITS[unit]] for number, unit in parts)


def _constraints(one: Fields, known: Collection[str]) -> Iterator[Constraint]:
    limits = one.inner("has")
    for name, value in limits.content.items():
        predicate = ANY_EVENT if name == "*" else name
        if predicate not in known and predicate not in SPECIAL:
            raise limits.refusal(f"names {name!r}, which is no predicate of this task", name)
        least, most = _limits(limits, name, value)
        yield Constraint(predicate, least, most)


def _limits(limits: Fields, name: str, value: Any) -> tuple[int | None, int | None]:
    """(5, None) as a text, or [5, null] as a list."""
    parts = value.strip("() ").split(",") if isinstance(value, str) else value
    wrong = limits.refusal(f"{name} must be (least, most), e.g. (1, None)", name)
    if not isinstance(parts, list) or len(parts) != 2:
        raise wrong
    words = ["None" if part is None else str(part).strip() for part in parts]
    if not all(word in ("None", "") or word.isdigit() for word in words):
        raise wrong
    least, most = (int(word) if word.isdigit() else None for word in words)
    if least is None and most is None:
        raise wrong
    if least is not None and most is not None and most < least:
        raise wrong
    return least, most


def _at_most_one(fields: Fields, windows: list[Window]) -> None:
    for what, named in (
        ("label", [w.name for w in windows if w.label]),
        ("index_timestamp", [w.name for w in windows if w.index]),
    ):
        if len(named) > 1:
            raise fields.refusal(f"only one window may have a {what}", "windows", named[1], what)


def _asked(window: Window) -> Iterator[str]:
    """The predicates that a window names."""
    yield from (constraint.predicate for constraint in window.has)
    yield from (edge.event for edge in (window.start, window.end) if edge.event)
    if window.label:
        yield window.label


def _in_order(
    fields: Fields,
    plain: Mapping[str, CodePredicate | DerivedPredicate],
    asked: set[str],
    static: set[str],
) -> dict[str, CodePredicate | DerivedPredicate]:
    """What is asked for and what that is made of; parts come before what is derived from them."""
    ordered: dict[str, CodePredicate | DerivedPredicate] = {}

    def add(name: str, below: tuple[str, ...]) -> None:
        if name in ordered or name in static or name in SPECIAL:
            return
        where = ("predicates", below[-1] if below else name, "expr")
        if name in below:
            raise fields.refusal(f"{name} is derived from itself", *where)
        if name not in plain:
            raise fields.refusal(f"names {name!r}, which is no predicate of this task", *where)
        found = plain[name]
        for part in found.of if isinstance(found, DerivedPredicate) else ():
            add(part, (*below, name))
        ordered[name] = found

    for name in sorted(asked):
        add(name, ())
    return ordered


def _placed(fields: Fields, windows: list[Window]) -> tuple[Window, ...]:
    """The windows, each after those it refers to."""
    placed: dict[str, Window] = {}
    names = {window.name for window in windows}
    left = list(windows)
    for window in windows:
        refers = window.edge(window.root).refers
        if refers != TRIGGER and refers.split(".")[0] not in names or refers in names:
            text = f"{window.root} refers to {refers!r}, which is neither trigger nor an edge"
            raise fields.refusal(text, "windows", window.name, window.root)
    while left:
        ready = [w for w in left if w.edge(w.root).refers.split(".")[0] in {TRIGGER, *placed}]
        if not ready:
            raise fields.refusal("refers to itself in a circle", "windows", left[0].name)
        placed.update((w.name, w) for w in ready)
        left = [w for w in left if w.name not in placed]
    return tuple(placed.values())
