"""Label matchers as Alertmanager has them: =, !=, =~, !~, in both of its notations."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

from clinical_lakehouse.errors import SettingsError

Labels = Mapping[str, str]

# Longest first, so that =~ is not read as = with a value that starts with ~.
_OPERATORS = ("=~", "!=", "!~", "=")
_QUOTE, _ESCAPE = '"', "\\"
_ESCAPED = {"n": "\n", _QUOTE: _QUOTE, _ESCAPE: _ESCAPE}
_FNV_OFFSET, _FNV_PRIME, _SEPARATOR = 14695981039346656037, 1099511628211, 255


@dataclass(frozen=True, order=True)
class Matcher:
    """A condition on one label; a label that is missing is one that is empty."""

    name: str
    value: str
    operator: str = "="

    def matches(self, labels: Labels) -> bool:
        """Whether the label set fulfils it; a regular expression must match the whole value."""
        found = labels.get(self.name, "")
        if self.operator in ("=", "!="):
            return (found == self.value) is (self.operator == "=")
        return bool(_compiled(self.value).fullmatch(found)) is (self.operator == "=~")

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{json.dumps(self.value, ensure_ascii=False)}"


def matches_all(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether every matcher is fulfilled; no matcher at all is fulfilled by everything."""
    return all(matcher.matches(labels) for matcher in matchers)


def from_maps(
    equal: Mapping[str, str] | None = None, regex: Mapping[str, str] | None = None
) -> tuple[Matcher, ...]:
    """The matchers of `match` and `match_re`; SettingsError for what RE2 refuses."""
    found = [Matcher(name, value) for name, value in (equal or {}).items()]
    found += [_checked(Matcher(name, value, "=~")) for name, value in (regex or {}).items()]
    return tuple(sorted(found))


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Matchers in the notation `{severity="critical", site=~"a|b"}`; braces and quotes optional."""
    inner = text.removeprefix("{").removesuffix("}")
    return tuple(parse_matcher(part) for part in _split(inner))


def parse_matcher(text: str) -> Matcher:
    """One matcher, e.g. `severity!="info"`; SettingsError says what is wrong with it."""
    stripped = text.strip()
    places = [(stripped.find(op), -len(op), op) for op in _OPERATORS if op in stripped]
    if not places:
        raise SettingsError(f"matcher {text!r} needs one of = != =~ !~ after a label's name")
    at, _, operator = min(places)
    name, value = stripped[:at].strip(), stripped[at + len(operator) :].strip()
    if not is_label_name(name):
        raise SettingsError(f"matcher {text!r} must start with a label's name, e.g. severity")
    return _checked(Matcher(name, _unquoted(value, text), operator))


def is_label_name(name: str) -> bool:
    """Whether Prometheus allows the name: ASCII letters, digits, underscore and colon."""
    plain = name.replace("_", "a").replace(":", "a")
    return bool(plain) and plain.isascii() and plain.isalnum() and not plain[0].isdigit()


def fingerprint(labels: Labels) -> str:
    """Alertmanager's fingerprint: FNV-1a (64 bit) of the sorted labels that are not empty, hex."""
    total = _FNV_OFFSET
    for name in sorted(name for name, value in labels.items() if value):
        for byte in (*name.encode(), _SEPARATOR, *labels[name].encode(), _SEPARATOR):
            total = ((total ^ byte) * _FNV_PRIME) % 2**64
    return f"{total:016x}"


def in_braces(labels: Labels) -> str:
    """The label set as Prometheus writes it: `{alertname="x", site="1"}`, sorted by name."""
    named = (f"{name}={json.dumps(labels[name], ensure_ascii=False)}" for name in sorted(labels))
    return "{" + ", ".join(named) + "}"


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand in no quotes; an empty last part is none."""
    part, quoted, escaped = "", False, False
    for letter in text:
        if letter == "," and not quoted:
            yield part
            part, escaped = "", False
            continue
        if letter == _QUOTE and not escaped:
            quoted = not quoted
        escaped = letter == _ESCAPE and not escaped
        part += letter
    if part.strip():
        yield part


def _unquoted(value: str, text: str) -> str:
    quoted = value.startswith(_QUOTE)
    inner = value[1:] if quoted else value
    if quoted and (len(value) < 2 or not inner.endswith(_QUOTE)):
        raise SettingsError(f"matcher {text!r} opens a quote and does not close it")
    inner = inner[:-1] if quoted else inner
    found, letters = "", iter(inner)
    for letter in letters:
        if letter == _QUOTE:
            raise SettingsError(f'matcher {text!r} holds a quote; write it as \\"')
        if letter != _ESCAPE:
            found += letter
            continue
        following = next(letters, None)
        if following is None and quoted:
            raise SettingsError(f"matcher {text!r} opens a quote and does not close it")
        # A backslash before another letter stands for itself, as in \d.
        found += _ESCAPE if following is None else _ESCAPED.get(following, _ESCAPE + following)
    return found


def _checked(matcher: Matcher) -> Matcher:
    if matcher.operator in ("=~", "!~"):
        _compiled(matcher.value)
    return matcher


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Any:
    # RE2 as in Alertmanager: linear in the value's length, so no label can stop the alerting.
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode() if error.args else "malformed"
        raise SettingsError(f"regular expression {pattern!r} is refused by RE2: {said}") from None
