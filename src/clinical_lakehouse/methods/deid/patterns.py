"""Identifiers that give themselves away by their shape or by the word before them.

Kinds are those of 45 CFR 164.514(b)(2)(i). The rules know no one person: `known_identity` does.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from clinical_lakehouse.methods.deid import spans as kind
from clinical_lakehouse.methods.deid.spans import Span

_OLDEST_AGE, _FIRST_GROUPED_AGE = 129, 90
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_TIME = r"(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?"
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Way"
    r"|Terrace|Square|Highway|Hwy|Parkway|Pkwy|Circle|Close|Crescent)\b"
)
_DIALLED = r"(?:\+\d{1,3}[ .-]?)?\(?\d[\d() .-]{5,}\d"
_NAME = r"[^\W\d_a-z][\w'’-]+"
_FULL_NAME = rf"{_NAME}(?:\s+(?:[A-Z]\.\s+)?{_NAME}){{0,2}}"
_STATE_AND_ZIP = r"[A-Z]{2}\s+\d{5}(?:-\d{4})?\b"
# What follows a label: at least four letters, digits, dashes or slashes, a digit among them.
_NUMBER = r"((?=[\w/-]*\d)[A-Za-z0-9][A-Za-z0-9/-]{3,})\b"
_LINK = r"(?i:\s*(?:numbers?|no\.?|nr\.?|id|code|card|is|was|template|serial|[#:=]))*\s*"

_LABELS = {
    kind.MEDICAL_RECORD: r"MRN|medical record|chart|hospital|patient id|PID|NHS",
    kind.HEALTH_PLAN: r"member|subscriber|policy|beneficiary|medicare|medicaid|health plan",
    kind.ACCOUNT: r"account|acct\.?|invoice|IBAN",
    kind.LICENCE: r"licen[cs]e|certificate|DEA|NPI|passport",
    kind.VEHICLE: r"VIN|licen[cs]e plate|plate|vehicle|drives",
    kind.DEVICE: r"serial|S/N|device|pacemaker|implant|UDI|IMEI",
    kind.BIOMETRIC: r"finger ?prints?|voice ?prints?|retinal? scan|iris scan|biometric",
    kind.OTHER: r"randomi[sz]ation|accession|specimen|case|encounter|enrolment|subject|order",
    kind.SSN: r"SSN|social security",
}
_PREFIXES = {
    "MRN": kind.MEDICAL_RECORD, "ACC": kind.ACCOUNT, "ACCT": kind.ACCOUNT, "DL": kind.LICENCE,
    "SN": kind.DEVICE, "VIN": kind.VEHICLE,
}  # fmt: skip
_BEFORE_NAME = r"next of kin|emergency contact|cc|signed by|dictated by"
_RELATIONS = (
    r"wife|husband|spouse|partner|mother|father|son|daughter|brother|sister|aunt|uncle|cousin"
    r"|grandmother|grandfather|guardian|caregiver"
)

# (kind, pattern); the first group that took part, else the whole match, is the identifier.
_RULES = [
    (kind.EMAIL, r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    (kind.PHOTO, r"https?://[^\s<>\"]+\.(?:jpe?g|png|gif|tiff?|bmp|webp)\b"),
    (kind.URL, r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:)\]]"),
    (kind.SSN, r"\b\d{3}-\d{2}-\d{4}\b"),
    (kind.FAX, rf"(?i:fax)\W{{0,3}}(?i:number|no\.?)?\W{{0,3}}({_DIALLED})"),
    (kind.PHONE, r"(?<![\w.])(?:\+?1[-. ]?)?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]?\d{4,7}\b"),
    (kind.PHONE, r"(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}\b"),
    (kind.DATES, rf"\b(?:1[89]|20)\d{{2}}-\d{{2}}(?:-\d{{2}}{_TIME})?(?![\w-])"),
    (kind.DATES, r"\b\d{1,2}([/.-])\d{1,2}\1(?:1[89]|20)\d{2}\b"),
    (kind.DATES, r"\b\d{1,2}/\d{1,2}/\d{2}\b"),
    (kind.DATES, rf"\b{_DAY}(?:\s+of)?\s+{_MONTH}(?:,?\s+\d{{4}})?\b"),
    (kind.DATES, rf"\b{_MONTH}\s+{_DAY}(?:,?\s+\d{{4}})?\b"),
    (kind.DATES, rf"\b{_MONTH},?\s+\d{{4}}\b"),
    (kind.GEOGRAPHY, rf"\b\d{{1,6}}\s+(?:[A-Z][\w'.-]*\s+){{1,4}}{_STREET}"),
    (kind.GEOGRAPHY, r"\bP\.?\s?O\.?\s+Box\s+\d+\b"),
    (kind.GEOGRAPHY, r"\b\d{5}-\d{4}\b"),
    (kind.GEOGRAPHY, rf"(?<![\w-])((?:{_NAME}\s){{0,2}}{_NAME}),\s+{_STATE_AND_ZIP}"),
    (kind.GEOGRAPHY, r"\b[A-Z]{2}\s+(\d{5}(?:-\d{4})?)\b"),
    (kind.NAMES, rf"\b(?:Mrs|Mr|Ms|Miss|Dr|Prof)\b\.?(?:/(?:Mrs|Mr|Ms)\.?)?\s+({_FULL_NAME})"),
    (kind.NAMES, rf"\b(?i:{_BEFORE_NAME}):?\s+({_FULL_NAME})"),
    (kind.NAMES, rf"\b(?i:{_RELATIONS})\s+(?i:named\s+|called\s+)?({_FULL_NAME})"),
    (kind.NAMES, rf"\b(?i:patient(?: name)?|name)\s*:\s*({_FULL_NAME})"),
    (kind.DEVICE, r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b"),
    *((name, rf"\b(?i:{labels})\b{_LINK}{_NUMBER}") for name, labels in _LABELS.items()),
]  # fmt: skip
_COMPILED = [(name, re.compile(pattern)) for name, pattern in _RULES]
_BACKREFERENCED = 3  # groups that only serve a back reference hold at most this many characters
_PREFIXED = re.compile(r"\b([A-Z]{2,4})-(?=[A-Z0-9]*\d)[A-Z0-9]{6,}\b")
_VIN = re.compile(r"\b(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{17}\b")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_AGE = re.compile(
    r"\b(\d{2,3})(?=[ -]?(?:years?|yrs?|y/?o)\b)|\b[Aa]ged?:?\s+(\d{2,3})\b|\b(\d{2,3})(?=yo\b)"
)


def pattern_spans(text: str) -> Iterator[Span]:
    """Places of a text that look like an identifier of a kind, in no order, perhaps overlapping."""
    for name, pattern in _COMPILED:
        for match in pattern.finditer(text):
            group = 1 if pattern.groups and len(match[1]) > _BACKREFERENCED else 0
            yield Span(*match.span(group), name)
    for match in _PREFIXED.finditer(text):
        yield Span(*match.span(), _PREFIXES.get(match[1], kind.OTHER))
    for match in _VIN.finditer(text):
        yield Span(*match.span(), kind.VEHICLE)
    yield from _addresses(text)
    yield from _grouped_ages(text)


def _addresses(text: str) -> Iterator[Span]:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            if pattern is _IPV6 and len(match[0]) < len("fe80::1"):
                continue
            try:
                ip_address(match[0])
            except ValueError:
                continue
            yield Span(*match.span(), kind.IP)


def _grouped_ages(text: str) -> Iterator[Span]:
    for match in _AGE.finditer(text):
        age = int(match[match.lastindex or 0])
        if _FIRST_GROUPED_AGE <= age <= _OLDEST_AGE:
            yield Span(*match.span(match.lastindex or 0), kind.AGE)
