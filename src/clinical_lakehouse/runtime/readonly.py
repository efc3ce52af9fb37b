"""Which SQL may only read: one SELECT, WITH, SHOW or DESCRIBE statement, judged token by token.

Where Spark's own lexer might see something else than this one does, the text is refused.
"""

import re
from collections.abc import Iterator

from clinical_lakehouse.errors import UsageError

_HEADS = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC")
# Spark takes `WITH ... INSERT`, so a statement that begins well may still write.
_WRITES = ("INSERT", "DELETE", "UPDATE", "MERGE")
# Functions that run Java code, send requests, or name tables and files past the contracts.
_CALLS = (
    *("REFLECT", "TRY_REFLECT", "JAVA_METHOD", "IDENTIFIER", "READ_FILES", "CLOUD_FILES"),
    *("SECRET", "TRY_SECRET", "HTTP_REQUEST", "REMOTE_QUERY", "AI_QUERY"),
)
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\r\n]*|/\*(?:(?!/\*|\*/).)*\*/)
    | (?P<text>[rR]'[^']*'|[rR]"[^"]*"|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    | (?P<quoted>`(?:[^`]|``)*`)
    | (?P<word>[A-Za-z0-9_]+)
    | (?P<sign>[^\s'"`\\$A-Za-z0-9_])
    """,
    re.VERBOSE | re.DOTALL,
)
Token = tuple[str, str]
_END: Token = ("end", "")


def tables_read(statement: str) -> frozenset[str]:
    """Every `schema.table`-like name the statement mentions, in lower case.

    Raises UsageError unless it is one statement that can only read.
    """
    tokens = list(_tokens(statement))
    while tokens and tokens[-1] == ("sign", ";"):
        tokens.pop()
    if not tokens or tokens[0][0] != "word" or tokens[0][1].upper() not in _HEADS:
        raise UsageError(f"sql reads only: begin with {', '.join(_HEADS[:-1])}")
    queries = tokens[0][1].upper() in ("SELECT", "WITH")
    for token, following in zip(tokens, [*tokens[1:], _END], strict=True):
        _refuse_reach(token, following)
        if queries and token[0] == "word" and token[1].upper() in _WRITES:
            raise UsageError(f"sql reads only; write a column named {token[1]} in backquotes")
    return frozenset(_names(tokens))


def _tokens(statement: str) -> Iterator[Token]:
    """Words, quoted names, strings and signs, without comments."""
    if "${" in statement:
        raise UsageError("sql takes no ${...}: Spark would put settings and secrets there")
    place = 0
    while place < len(statement):
        found = _TOKEN.match(statement, place)
        if found is None:
            raise UsageError("sql has a quote that is not closed, a backslash or a $")
        kind, text = found.lastgroup or "", found.group()
        if text.startswith("/*+") or statement.startswith("/*", place) and kind == "sign":
            raise UsageError("sql takes no hints, nested comments or comments that do not close")
        if text.startswith("--") and text.endswith("\\"):
            raise UsageError("sql has a comment that ends in a backslash: Spark would go on")
        if kind == "sign" and not text.isascii():
            raise UsageError("sql has a letter outside quotes that is not ASCII")
        if kind != "space":
            yield kind, text
        place = found.end()


def _refuse_reach(token: Token, following: Token) -> None:
    """No second statement, file, script or function that could do more than read tables."""
    kind, text = token
    word = text.strip("`").upper()
    if token == ("sign", ";"):
        raise UsageError("sql takes one statement; remove what follows the semicolon")
    if kind == "quoted" and re.search(r"[/:\\]", text):
        raise UsageError("sql reads tables by name (schema.table), not files by path")
    if following == ("sign", "(") and word in _CALLS:
        raise UsageError(f"sql does not call {word.lower()}: it could do more than read")
    if kind == "word" and word == "USING" and following[0] == "text":
        raise UsageError("sql runs no script (TRANSFORM ... USING)")


def _names(tokens: list[Token]) -> Iterator[str]:
    for first, dot, second in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if dot == ("sign", ".") and {first[0], second[0]} <= {"word", "quoted"}:
            yield f"{first[1].strip('`')}.{second[1].strip('`')}".lower()
