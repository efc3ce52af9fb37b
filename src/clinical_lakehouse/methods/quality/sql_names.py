"""The columns that a piece of SQL names, without a parser of its own or a JVM."""

import re

# Literals first, so that a word inside one is no name.
_TOKEN = re.compile(r"""r?'(?:[^'\\]|\\.)*'|r?"(?:[^"\\]|\\.)*"|`([^`]+)`|([A-Za-z_]\w*)|(\S)""")
_WORDS = (
    "and or not in is null between like ilike escape case when then else end true false distinct "
    "from as cast date timestamp interval day days hour hours minute minutes second seconds month "
    "months year years week weeks quarter div filter where within group order by asc desc over "
    "partition int integer bigint smallint tinyint double float decimal string boolean binary "
    "current_date exists any some all both leading trailing for nulls first last"
)
_KEYWORDS = frozenset(_WORDS.split())


def column_names(sql: str) -> list[str]:
    """Columns in the order they are named, each once. A field of a struct, a function's name and a
    lambda's own variable are none."""
    tokens = [(m[1], m[2], m[3] or "") for m in _TOKEN.finditer(sql)]
    own = {w.lower() for (_, w, _), (_, _, s) in zip(tokens, tokens[1:], strict=False) if s == "-"
           and w and "->" in sql}  # fmt: skip
    found: dict[str, None] = {}
    for at, (quoted, word, _) in enumerate(tokens):
        following = tokens[at + 1][2] if at + 1 < len(tokens) else ""
        is_field = at > 0 and tokens[at - 1][2] == "."
        if quoted and not is_field:
            found[quoted] = None
        elif word and not is_field and following != "(" and word.lower() not in _KEYWORDS | own:
            found[word] = None
    return list(found)


def names_a_regular_expression(sql: str) -> bool:
    """Does it match text against a pattern of its own? There `$` lets a trailing newline pass."""
    return any(
        m[2] and m[2].lower() in ("rlike", "regexp", "regexp_like") for m in _TOKEN.finditer(sql)
    )
