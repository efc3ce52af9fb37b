"""Seeded random label sets, matchers, routing trees and inhibition rules."""

import json
import random

NAMES = ("severity", "site", "team", "kind")
VALUES = ("a", "b", "ab", "a.b", "", "12", "éa", 'a"b', "a\\b", "a, b", "a}")
PATTERNS = (
    *("a", "a|b", "a.*", ".+", "", "b?", "[ab]+", "(?i)A", "a.b", ".*b", "\\d+", "[^a]+"),
    *("é.", "a\\\\b", 'a.b|.*"b', "a{1,2}", "(a|b)(.b)?", "\\w+", "a, ?b|a[}]"),
)
INTERVALS = ("30s", "1m", "5m", "1h30m", "4h")


def _value(rng: random.Random, among: tuple[str, ...] = VALUES) -> str:
    """Mostly one of the first, so that there is much to match; sometimes an odd one."""
    return rng.choice(among[:5] if rng.random() < 0.75 else among)


def labels(rng: random.Random) -> dict[str, str]:
    """Some of the names with values, also empty ones."""
    return {name: _value(rng) for name in NAMES if rng.random() < 0.7}


def matcher(rng: random.Random) -> str:
    """One matcher in the notation of `matchers`."""
    operator = rng.choice(("=", "!=", "=~", "!~"))
    value = _value(rng, PATTERNS if "~" in operator else VALUES)
    is_plain = value.isalnum() and rng.random() < 0.3
    shown = value if is_plain else json.dumps(value, ensure_ascii=False)
    return f"{rng.choice(NAMES)} {operator} {shown}"


def conditions(rng: random.Random, prefix: str = "") -> dict:
    """The keys match, match_re and matchers, some of them."""
    found: dict = {}
    if rng.random() < 0.3:
        found[f"{prefix}match"] = {rng.choice(NAMES): _value(rng)}
    if rng.random() < 0.3:
        found[f"{prefix}match_re"] = {rng.choice(NAMES): _value(rng, PATTERNS)}
    if rng.random() < 0.6:
        found[f"{prefix}matchers"] = [matcher(rng) for _ in range(rng.randint(1, 2))]
    return found


def route(rng: random.Random, receivers: list[str], depth: int = 3) -> dict:
    """A node of a routing tree and what is below it."""
    found = {"receiver": rng.choice(receivers)} if rng.random() < 0.8 else {}
    found |= conditions(rng)
    if rng.random() < 0.4:
        found["continue"] = True
    if rng.random() < 0.5:
        grouped = rng.sample(NAMES, rng.randint(0, 2))
        found["group_by"] = ["..."] if rng.random() < 0.2 else grouped
    for key in ("group_wait", "group_interval", "repeat_interval"):
        if rng.random() < 0.2:
            found[key] = rng.choice(INTERVALS)
    if depth:
        found["routes"] = [route(rng, receivers, depth - 1) for _ in range(rng.randint(0, 3))]
    return found
