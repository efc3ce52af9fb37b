"""The part of FHIRPath that de-identification rules are written in, compiled to functions.

HL7 FHIRPath 2.0.0; what is not here is refused by name when a rule is read, never passed over.
"""

import re
from collections.abc import Callable
from typing import Any

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.methods.deid.fhirpath_functions import (
    FUNCTIONS,
    OPERATORS,
    is_of_type,
    true,
)
from clinical_lakehouse.methods.deid.fhirpath_values import Items, Moment

# What an expression gives for the items it stands on and for $this.
Expression = Callable[[Items, Items], Items]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<moment>@[\d:.TZ+-]+)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>\$this|[A-Za-z_]\w*|`[^`]+`)|(?P<sign><=|>=|!=|[-+*/&|=<>().,\[\]{}]))"
)
# From the loosest binding to the tightest (FHIRPath 6.8).
_LEVELS = (
    ("implies",), ("or", "xor"), ("and",), ("in", "contains"), ("=", "!="),
    ("<", ">", "<=", ">="), ("|",), ("is", "as"), ("+", "-", "&"), ("*", "/", "div", "mod"),
)  # fmt: skip
_TAKES_TYPE = frozenset(("ofType", "as", "is"))
_TAKES_ONE = _TAKES_TYPE | {"where", "nodesByType", "nodesByName"}
_UNNAMED = "<lambda>"
_LITERALS: dict[str, Items] = {"true": [True], "false": [False]}


def compiled(expression: str) -> Expression:
    """The function of an expression; SettingsError names what is not understood."""
    reader = _Reader(expression)
    path = reader.binary(0)
    if reader.token:
        raise SettingsError(f"FHIRPath {expression!r}: {reader.token!r} does not fit; correct it")
    return path


class _Reader:
    """Reads one expression from left to right by recursive descent."""

    def __init__(self, expression: str) -> None:
        self._expression, self._at = expression, 0
        self.token, self._kind = "", ""
        self._advance()

    def _advance(self) -> str:
        """Step to the next token and give the one just left; at the end the token is empty."""
        left, match = self.token, _TOKEN.match(self._expression, self._at)
        if match is None:
            if self._expression[self._at :].strip():
                raise SettingsError(f"FHIRPath {self._expression!r} has a sign it may not have")
            self.token, self._kind = "", ""
        else:
            self._kind = match.lastgroup or ""
            self.token, self._at = match[self._kind], match.end()
        return left

    def _expect(self, sign: str) -> None:
        if self._advance() != sign:
            raise SettingsError(f"FHIRPath {self._expression!r} lacks {sign!r}")

    def binary(self, level: int) -> Expression:
        """An expression of operators that bind at least as tightly as `level`."""
        if level == len(_LEVELS):
            return self._invocations()
        left = self.binary(level + 1)
        while self.token in _LEVELS[level] and self._kind != "string":
            operator = self._advance()
            if operator in ("is", "as"):
                left = _typed(left, operator, self._advance())
            else:
                left = _operated(left, OPERATORS[operator], self.binary(level + 1))
        return left

    def _invocations(self) -> Expression:
        path = self._term()
        while self.token in (".", "["):
            if self._advance() == ".":
                path = _then(path, self._step(self._advance()))
            else:
                path = _indexed(path, self.binary(0))
                self._expect("]")
        return path

    def _term(self) -> Expression:
        kind, token = self._kind, self._advance()
        if kind == "string":
            text = re.sub(r"\\(.)", r"\1", token[1:-1])
            return lambda items, this: [text]
        if kind == "number":
            number = float(token) if "." in token else int(token)
            return lambda items, this: [number]
        if kind == "moment":
            moment = Moment.of(token[1:])
            return lambda items, this: [moment]
        if token == "(":
            path = self.binary(0)
            self._expect(")")
            return path
        if token == "{":
            self._expect("}")
            return lambda items, this: []
        if kind != "name":
            raise SettingsError(
                f"FHIRPath {self._expression!r}: {token!r} does not fit; correct it"
            )
        if token == "$this":
            return lambda items, this: this
        if token in _LITERALS:
            return lambda items, this: _LITERALS[token]
        return self._step(token)

    def _step(self, name: str) -> Expression:
        """A child by name, the type's own name at the start of a path, or a function."""
        if self.token != "(":
            return _child(name.strip("`"))
        self._advance()
        arguments = []
        while self.token and self.token != ")":
            # A type may stand where an expression does: ofType(Quantity).
            arguments.append(self.binary(0))
            if self.token == ",":
                self._advance()
        self._expect(")")
        return self._called(name, arguments)

    def _called(self, name: str, arguments: list[Expression]) -> Expression:
        if name != "where" and name not in FUNCTIONS:
            raise SettingsError(f"FHIRPath function {name} is not understood; write it otherwise")
        if name in _TAKES_ONE and len(arguments) != 1:
            raise SettingsError(f"FHIRPath function {name} takes one argument")
        if name == "where":
            return _filtered(arguments[0])
        function = FUNCTIONS[name]
        if name in _TAKES_TYPE:
            wanted = arguments[0].__name__
            if wanted == _UNNAMED:
                raise SettingsError(f"FHIRPath function {name} takes the plain name of a type")
            return lambda items, this: function(items, [wanted])
        return lambda items, this: function(items, *(given(items, this) for given in arguments))


def _child(name: str) -> Expression:
    def step(items: Items, this: Items) -> Items:
        found: Items = []
        for item in items:
            own = item.named(name) if hasattr(item, "named") else []
            found += own or ([item] if name[0].isupper() and is_of_type(item, name) else [])
        return found

    step.__name__ = name  # read again where the name is a type
    return step


def _then(path: Expression, step: Expression) -> Expression:
    return lambda items, this: step(path(items, this), this)


def _indexed(path: Expression, index: Expression) -> Expression:
    def pick(items: Items, this: Items) -> Items:
        found, at = path(items, this), index(items, this)
        return found[at[0] : at[0] + 1] if at else []

    return pick


def _filtered(condition: Expression) -> Expression:
    return lambda items, this: [i for i in items if true(condition([i], [i]))]


def _typed(path: Expression, operator: str, name: str) -> Expression:
    return lambda items, this: FUNCTIONS[operator](path(items, this), [name])


def _operated(
    left: Expression, operator: Callable[[Items, Items], Items], right: Expression
) -> Expression:
    return lambda items, this: operator(left(items, this), right(items, this))


def values_of(path: Expression, node: Any) -> Items:
    """What a compiled expression gives for one node."""
    return path([node], [node])
