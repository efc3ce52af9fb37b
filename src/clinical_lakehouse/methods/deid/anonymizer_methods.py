"""The eight methods of Microsoft's FHIR anonymizer, each on one node of a resource."""

import hmac
import os
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import sha256
from random import Random

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.deid.anonymizer_config import Parameters, Rule
from clinical_lakehouse.methods.deid.fhir_tree import Node, fragment_of
from clinical_lakehouse.methods.deid.fhirpath_evaluation import values_of
from clinical_lakehouse.methods.deid.fhirpath_functions import MISFITS, true
from clinical_lakehouse.methods.deid.fhirpath_values import MOMENTS, written

_OLDEST_AGE = 89
_MOST_DAYS, _SEED = 50, 131
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(T[^Z+-]*)?(.*))?)?")
_LITERAL = (
    re.compile(r"((?:https?://[A-Za-z0-9/.:%$]*)?[A-Z][A-Za-z]+/)([A-Za-z0-9.-]{1,64})"
               r"(/_history/[A-Za-z0-9.-]{1,64})?"),
    re.compile(r"(urn:oid:)([0-2](?:\.(?:0|[1-9]\d*))+)()"),
    re.compile(r"(urn:uuid:)([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})()"),
    re.compile(r"(#)(.+)()", re.DOTALL),
)  # fmt: skip
_INTEGERS = frozenset(("integer", "positiveInt", "unsignedInt"))
_QUANTITIES = frozenset(("Quantity", "Age", "Count", "Distance", "Duration", "Money"))
_LEAST = {"positiveInt": 1, "unsignedInt": 0}


@dataclass(frozen=True)
class Step:
    """What a method needs beside its node; `done` collects what happened, `decided` nodes."""

    parameters: Parameters
    as_of: date
    scope: str
    noise: Random
    decided: set[Node]
    done: set[str]

    def counting(self, done: set[str]) -> "Step":
        """The same, collecting elsewhere."""
        return replace(self, done=done)


Method = Callable[[Node, Rule, Step], None]


def _keep(node: Node, rule: Rule, step: Step) -> None:
    """Nothing: being decided, the node is left alone by later rules."""


def _redact(node: Node, rule: Rule, step: Step) -> None:
    if node.value in (None, ""):
        return
    holder = node.parent.type if node.parent else ""
    if node.type in MOMENTS:
        node.value = _year(node, step)
    elif holder == "Age" and node.type == "decimal":
        is_kept = step.parameters.enablePartialAgesForRedact and float(node.value) <= _OLDEST_AGE
        node.value = node.value if is_kept else None
    elif node.element.name == "postalCode" and step.parameters.enablePartialZipCodesForRedact:
        node.value = _coarse_zip(str(node.value), step.parameters.restrictedZipCodeTabulationAreas)
        step.done.add("ABSTRED")
        return
    else:
        node.value = None
    step.done.add("REDACTED")


def _year(node: Node, step: Step) -> str | None:
    """The year where years may stay and it tells no age over 89."""
    match = _DATE.match(str(node.value))
    is_kept = match and step.parameters.enablePartialDatesForRedact and not _is_old(match, step)
    return match[1] if match and is_kept else None


def _is_old(match: re.Match[str], step: Step) -> bool:
    year, month, day = int(match[1]), int(match[2] or 1), int(match[3] or 1)
    had_birthday = (step.as_of.month, step.as_of.day) >= (month, day)
    return step.as_of.year - year - (not had_birthday) > _OLDEST_AGE


def _coarse_zip(code: str, restricted: tuple[str, ...]) -> str:
    kept = 0 if code.startswith(restricted) else 3
    return code[:kept] + re.sub(r"\d", "0", code[kept:])


def _date_shift(node: Node, rule: Rule, step: Step) -> None:
    if node.type not in MOMENTS or not node.value:
        return
    match = _DATE.match(str(node.value))
    if match is None or match[3] is None or _is_old(match, step):
        _redact(node, rule, step)
        return
    try:
        day = date(int(match[1]), int(match[2]), int(match[3])) + _offset(node, step)
    except (ValueError, OverflowError):
        raise SourceError("a date is none of the calendar; correct its source") from None
    time = re.sub(r"\d", "0", match[4]) + match[5] if match[4] else ""
    node.value = f"{day.isoformat()}{time}"
    step.done.add("PERTURBED")


def _offset(node: Node, step: Step) -> timedelta:
    """Days in [-50, 50] by the tool's own hash of scope (or outermost id) and key."""
    ids = node.root().named("id")
    prefix = step.scope or (str(ids[0].value or "") if ids else "")
    days = 0
    for byte in f"{prefix}{step.parameters.dateShiftKey}".encode():
        days = (days * _SEED + byte) % (2 * _MOST_DAYS + 1)
    return timedelta(days=days - _MOST_DAYS)


def _crypto_hash(node: Node, rule: Rule, step: Step) -> None:
    if node.value in (None, ""):
        return
    text, key = str(node.value), step.parameters.cryptoHashKey.encode()
    before, inner, after = "", text, ""
    is_reference = node.element.name == "reference" and node.parent
    if is_reference and node.parent and node.parent.type == "Reference":
        matches = (pattern.fullmatch(text) for pattern in _LITERAL)
        match = next((found for found in matches if found), None)
        before, inner, after = (match[1], match[2], match[3] or "") if match else ("", text, "")
    node.value = before + hmac.new(key, inner.encode(), sha256).hexdigest() + after
    step.done.add("CRYTOHASH")


def _encrypt(node: Node, rule: Rule, step: Step) -> None:
    """AES-CBC under a fresh IV, which stands before the ciphertext; base64."""
    if node.value in (None, ""):
        return
    vector, padder = os.urandom(16), PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(step.parameters.encryptKey.encode()), modes.CBC(vector))
    encryptor = cipher.encryptor()
    padded = padder.update(str(node.value).encode()) + padder.finalize()
    node.value = b64encode(vector + encryptor.update(padded) + encryptor.finalize()).decode()
    step.done.add("ENCRYPT")


def _substitute(node: Node, rule: Rule, step: Step) -> None:
    _replace(node, fragment_of(node, rule.settings["replaceWith"]), step)
    step.decided.update((node, *node.descendants()))
    step.done.add("SUBSTITUTED")


def _replace(node: Node, wanted: Node | None, step: Step) -> None:
    """Give a node the value and children of another; what an earlier rule decided stays."""
    node.value = wanted.value if wanted else None
    names = dict.fromkeys(c.element.name for c in (*node.children, *(wanted or node).children))
    for name in names:
        new = wanted.named(name) if wanted else []
        old = node.named(name)
        for at, child in enumerate(old):
            if child in step.decided:
                continue
            if at < len(new) or any(inner in step.decided for inner in child.descendants()):
                _replace(child, new[at] if at < len(new) else None, step)
            else:
                node.children.remove(child)
        for extra in new[len(old) :]:
            node.add(extra)


def _perturb(node: Node, rule: Rule, step: Step) -> None:
    target = node
    if node.type in _QUANTITIES:
        target = next(iter(node.named("value")), node)
    numeric = target.type == "decimal" or target.type in _INTEGERS
    if not numeric or target.value is None or target in step.decided:
        return
    settings = rule.settings
    spread = float(settings["span"]) / 2
    if str(settings.get("rangeType", "fixed")).lower() == "proportional":
        spread *= abs(float(target.value))
    is_whole = target.type in _INTEGERS
    places = 0 if is_whole else int(settings.get("roundTo", 2))
    value = round(float(target.value) + step.noise.uniform(-spread, spread), places)
    least = _LEAST.get(target.type)
    value = value if least is None else max(value, least)
    target.value = int(value) if is_whole or not places else value
    step.decided.update(node.descendants())
    step.done.add("PERTURBED")


def _generalize(node: Node, rule: Rule, step: Step) -> None:
    if not node.element.is_primitive:
        raise SourceError(f"rule {rule.path!r} generalizes a {node.type}; only primitives can be")
    if node.value is None:
        return
    step.done.add("GENERALIZED")
    try:
        for when, then in rule.cases:
            if true(values_of(when, node)):
                node.value = next(iter(written(item) for item in values_of(then, node)), None)
                return
    except MISFITS:
        raise SourceError(f"a case of rule {rule.path!r} does not fit a {node.type}") from None
    if str(rule.settings.get("otherValues", "redact")).lower() == "redact":
        node.value = None


METHODS: dict[str, Method] = {
    "keep": _keep,
    "redact": _redact,
    "dateshift": _date_shift,
    "cryptohash": _crypto_hash,
    "encrypt": _encrypt,
    "substitute": _substitute,
    "perturb": _perturb,
    "generalize": _generalize,
}
