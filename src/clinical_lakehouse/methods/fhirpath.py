"""FHIRPath text to a syntax tree: the grammar of FHIRPath N1, without quantities and sorting.

Two evaluators stand on it: methods/sql_on_fhir on Columns, methods/deid on a resource's tree.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from clinical_lakehouse.errors import UsageError

Scalar = str | int | bool | Decimal


@dataclass(frozen=True)
class Literal:
    """A constant and its FHIR type; type None is the empty collection."""

    value: Scalar | None
    type: str | None


@dataclass(frozen=True)
class Variable:
    """%name, $this or $index."""

    name: str


@dataclass(frozen=True)
class Member:
    """An element of `base`, or of the context where there is no base."""

    base: "Node | None"
    name: str


@dataclass(frozen=True)
class Call:
    """A function of `base`, or of the context."""

    base: "Node | None"
    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True)
class Index:
    """The item at a position, from 0."""

    base: "Node"
    position: "Node"


@dataclass(frozen=True)
class Operation:
    """An operator and its one or two operands."""

    operator: str
    operands: tuple["Node", ...]


Node = Literal | Variable | Member | Call | Index | Operation

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<time>@T?[0-9][0-9T:\-]*(?:\.[0-9]+)?(?:Z|[+-]\d\d:\d\d)?)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<variable>%(?:[A-Za-z_][\w-]*|`[^`]+`|'[^']+')|\$[a-z]+)
    |(?P<name>[A-Za-z_]\w*|`[^`]+`)
    |(?P<symbol><=|>=|!=|!~|[=<>~+\-*/&|.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
# From the loosest to the tightest binding (FHIRPath N1, section 9, operator precedence).
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "~", "!=", "!~"),
    ("<=", "<", ">", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
    ("*", "/", "div", "mod"),
)
Token = tuple[str, str]


def parse(text: str) -> Node:
    """The syntax tree of an expression; UsageError says at which character it cannot be read."""
    reader = _Reader(text)
    found = reader.operation(0)
    reader.expect_end()
    return found


class _Reader:
    """A recursive-descent reader over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def operation(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._signed()
        left = self.operation(level + 1)
        while self._peek()[1] in _LEVELS[level] and self._peek()[0] in ("name", "symbol"):
            operator = self._next()[1]
            left = Operation(operator, (left, self.operation(level + 1)))
        return left

    def expect_end(self) -> None:
        if self._peek()[0] != "end":
            raise UsageError(f"{self._peek()[1]!r} is not expected there")

    def _signed(self) -> Node:
        if self._peek() in (("symbol", "-"), ("symbol", "+")):
            operator = self._next()[1]
            return Operation(operator, (self._signed(),))
        return self._path()

    def _path(self) -> Node:
        found = self._term()
        while True:
            if self._took("."):
                found = self._invocation(found)
            elif self._took("["):
                found = Index(found, self.operation(0))
                self._expect("]")
            else:
                return found

    def _term(self) -> Node:
        kind, text = self._peek()
        if self._took("("):
            inner = self.operation(0)
            self._expect(")")
            return inner
        if self._took("{"):
            self._expect("}")
            return Literal(None, None)
        if kind == "name" and text not in ("true", "false"):
            return self._invocation(None)
        self._next()
        return _term(kind, text)

    def _invocation(self, base: Node | None) -> Node:
        kind, text = self._next()
        if kind == "variable" and text.startswith("$") and base is None:
            return Variable(text)
        if kind != "name":
            raise UsageError(f"a name is expected instead of {text or 'the end'!r}")
        if text.startswith("`") or not self._took("("):
            return Member(base, text.strip("`"))
        arguments: list[Node] = []
        while not self._took(")"):
            arguments.append(self.operation(0))
            if self._peek() != ("symbol", ")"):
                self._expect(",")
        return Call(base, text, tuple(arguments))

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += token[0] != "end"
        return token

    def _took(self, symbol: str) -> bool:
        if self._peek() != ("symbol", symbol):
            return False
        self._at += 1
        return True

    def _expect(self, symbol: str) -> None:
        if not self._took(symbol):
            raise UsageError(f"{symbol!r} is missing before {self._peek()[1] or 'the end'!r}")


def _tokens(text: str) -> list[Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise UsageError(f"character {at + 1} is not FHIRPath")
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0]))
        at = match.end()
    return [*found, ("end", "")]


def _term(kind: str, text: str) -> Node:
    if kind == "string":
        return Literal(_unescaped(text[1:-1]), "string")
    if kind == "number":
        return Literal(Decimal(text), "decimal") if "." in text else Literal(int(text), "integer")
    if kind == "time":
        return _temporal(text[1:])
    if kind == "variable":
        return Variable(text[0] + text[1:].strip("`'"))
    if text in ("true", "false"):
        return Literal(text == "true", "boolean")
    raise UsageError(f"{text or 'the end'!r} is not expected there")


def _temporal(text: str) -> Literal:
    if text.startswith("T"):
        return Literal(text[1:], "time")
    return Literal(text.removesuffix("T"), "dateTime" if "T" in text else "date")


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", one, text, flags=re.DOTALL)
