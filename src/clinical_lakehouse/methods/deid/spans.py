"""Where an identifier stands in a text, and how marked places are taken out of it."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

NAMES, GEOGRAPHY, DATES, PHONE, FAX = "names", "geography", "dates", "phone", "fax"
EMAIL, SSN, MEDICAL_RECORD, HEALTH_PLAN = "email", "ssn", "medical_record", "health_plan"
ACCOUNT, LICENCE, VEHICLE, DEVICE, URL = "account", "licence", "vehicle", "device", "url"
IP, BIOMETRIC, PHOTO, OTHER = "ip", "biometric", "photo", "other"
AGE = "age"
GROUPED_AGE = "90+"


class Span(NamedTuple):
    """A stretch of text, [start, end), and its kind: one of 45 CFR 164.514(b)(2)(i)(A)-(R).

    `age` (an age over 89) belongs to (C), dates, and is told apart because it is grouped.
    """

    start: int
    end: int
    kind: str


class Scrubbed(NamedTuple):
    """A text without its marked places, and how many of each kind were taken out."""

    text: str
    counts: dict[str, int]


def masked(text: str, spans: Iterable[Span]) -> Scrubbed:
    """The text with each place as `[KIND]` and ages as `90+`; overlapping places become one.

    Where places overlap, the kind of the longest of them is written and counted.
    """
    pieces, counts, at = [], Counter[str](), 0
    for span in _merged(spans):
        pieces += [text[at : span.start], _stand_in(span.kind)]
        counts[span.kind] += 1
        at = span.end
    return Scrubbed("".join([*pieces, text[at:]]), dict(counts))


def _stand_in(kind: str) -> str:
    return GROUPED_AGE if kind == AGE else f"[{kind.upper()}]"


def _merged(spans: Iterable[Span]) -> list[Span]:
    made: list[Span] = []
    longest = 0
    for span in sorted(spans):
        if made and span.start < made[-1].end:
            before = made.pop()
            kind = span.kind if span.end - span.start > longest else before.kind
            longest = max(longest, span.end - span.start)
            made.append(Span(before.start, max(before.end, span.end), kind))
        else:
            longest = span.end - span.start
            made.append(span)
    return made
