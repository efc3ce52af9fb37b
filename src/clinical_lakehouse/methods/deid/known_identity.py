"""What is known of one subject, and where their text says it: names, places, numbers, links."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from clinical_lakehouse.methods.deid import spans as kind
from clinical_lakehouse.methods.deid.spans import Span

# Kind to values. Values of `names` are split: each part of a name is looked for by itself.
Known = Mapping[str, Sequence[str]]

_SHORTEST_NAME, _SHORTEST_NUMBER = 3, 4
_TELECOM = {"phone": kind.PHONE, "sms": kind.PHONE, "pager": kind.PHONE, "fax": kind.FAX,
            "email": kind.EMAIL, "url": kind.URL}  # fmt: skip
# HL7 v2-0203 identifier types
_IDENTIFIER = {"MR": kind.MEDICAL_RECORD, "SS": kind.SSN, "MB": kind.HEALTH_PLAN,
               "SN": kind.HEALTH_PLAN, "AN": kind.ACCOUNT, "DL": kind.LICENCE,
               "SNO": kind.DEVICE, "PPN": kind.LICENCE}  # fmt: skip
_NAME_WORD = re.compile(r"[^\W\d_][\w'’-]*")


def known_of(person: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a parsed FHIR Patient or RelatedPerson says of who it is, by kind; their contacts too.

    The birth date is not in it: `patterns` takes out every date.
    """
    found: dict[str, list[str]] = {}
    for name, value in _said_by(person):
        if isinstance(value, str) and value.strip():
            found.setdefault(name, []).append(value.strip())
    return {name: sorted(set(values)) for name, values in found.items()}


def _said_by(person: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield kind.OTHER, person.get("id")
    for holder in (person, *_objects(person, "contact")):
        for name in _objects(holder, "name"):
            parts = (name.get("text"), name.get("family"), *(name.get("given") or ()))
            yield from ((kind.NAMES, part) for part in parts)
        for point in _objects(holder, "telecom"):
            yield _TELECOM.get(point.get("system", ""), kind.OTHER), point.get("value")
        for address in _objects(holder, "address"):
            places = [address.get(part) for part in ("text", "city", "district", "postalCode")]
            places += address.get("line") or ()
            yield from ((kind.GEOGRAPHY, place) for place in places)
    for identifier in _objects(person, "identifier"):
        codings = [c for t in _objects(identifier, "type") for c in _objects(t, "coding")]
        code = codings[0].get("code", "") if codings else ""
        yield _IDENTIFIER.get(code, kind.OTHER), identifier.get("value")
    yield from ((kind.PHOTO, photo.get("url")) for photo in _objects(person, "photo"))
    for extension in _objects(person, "extension"):
        yield kind.OTHER, extension.get("valueString")


def _objects(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects of an element, which may repeat (Patient.name) or not (contact.name)."""
    value = holder.get(name)
    return [item for item in value if item] if isinstance(value, list) else [value] if value else []


def tokens_of(name: str, value: str) -> list[str]:
    """Letters and digits, in lower case, of which a text must hold one run for `known_spans` to
    find this value in it: a cheap look before the patterns."""
    wanted = _wanted(name == kind.NAMES, _folded(value))
    return sorted({re.sub(r"[\W_]", "", item).lower() for item in wanted})


def known_spans(text: str, known: Known) -> Iterator[Span]:
    """Places where the text says a known value; case, accents, spaces and dashes do not matter.

    Name parts under 3 letters and numbers under 4 characters are too short to be looked for.
    """
    folded = _folded(text)
    for name, values in known.items():
        for value in values:
            for pattern in _patterns(name == kind.NAMES, value):
                yield from (Span(*m.span(), name) for m in pattern.finditer(folded))


def _folded(text: str) -> str:
    """Each character without its accents; as long as the text was, so that places stay true."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFKD", letter)[0] for letter in text)


@lru_cache(maxsize=4096)
def _patterns(is_name: bool, value: str) -> tuple[re.Pattern[str], ...]:
    return tuple(_pattern(item) for item in _wanted(is_name, _folded(value)))


def _wanted(is_name: bool, folded: str) -> list[str]:
    """What of a value is long enough to be looked for: all of it, and each word of a name."""
    wanted = [folded] if len(re.sub(r"[\W_]", "", folded)) >= _SHORTEST_NUMBER else []
    if is_name:
        wanted += [w for w in _NAME_WORD.findall(folded) if len(w) >= _SHORTEST_NAME]
    return list(dict.fromkeys(wanted))


def _pattern(value: str) -> re.Pattern[str]:
    words = [word for word in re.split(r"[\W_]+", value) if word]
    loose = r"[\W_]{0,3}".join(re.escape(word) for word in words)
    return re.compile(rf"(?<![^\W_]){loose}(?![^\W_])", re.IGNORECASE)
