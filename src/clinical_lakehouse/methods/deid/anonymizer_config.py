"""Configurations of Microsoft's FHIR anonymizer, read as they are; what we do not know is refused.

Source: Tools for Health Data Anonymization, docs/FHIR-anonymization.md.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.methods.deid.fhirpath_evaluation import Expression, compiled

_SECTIONS = {"fhirVersion", "processingErrors", "fhirPathRules", "parameters"}
# Method in lower case (case does not matter) to the settings its rules may have.
METHODS: dict[str, frozenset[str]] = {
    "keep": frozenset(),
    "redact": frozenset(),
    "dateshift": frozenset(),
    "cryptohash": frozenset(),
    "encrypt": frozenset(),
    "substitute": frozenset(("replaceWith",)),
    "perturb": frozenset(("span", "rangeType", "roundTo")),
    "generalize": frozenset(("cases", "otherValues")),
}
_NEEDED = {"substitute": "replaceWith", "perturb": "span", "generalize": "cases"}
_RESOURCE_TYPE = re.compile(r"([A-Z][A-Za-z]*)?\.?(.*)", re.DOTALL)
_MOST_PLACES = 28
_SCOPES = ("resource", "file", "folder")


@dataclass(frozen=True)
class Rule:
    """What to do where; `resource_type` is empty for every type, `cases` are those compiled."""

    path: str
    resource_type: str
    find: Expression
    method: str
    settings: Mapping[str, Any]
    cases: tuple[tuple[Expression, Expression], ...] = ()


@dataclass(frozen=True)
class Parameters:
    """The section `parameters`, by its own names; empty keys were drawn at random."""

    dateShiftKey: str = ""
    dateShiftScope: str = "resource"
    cryptoHashKey: str = ""
    encryptKey: str = ""
    enablePartialAgesForRedact: bool = False
    enablePartialDatesForRedact: bool = False
    enablePartialZipCodesForRedact: bool = False
    restrictedZipCodeTabulationAreas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """Rules in their order; a resource that a rule fails on is emptied or stops the run."""

    rules: tuple[Rule, ...]
    parameters: Parameters
    is_skipping: bool


def read_configuration(path: Path) -> Configuration:
    """The configuration in a JSON file; SettingsError names what is missing or not understood."""
    try:
        content = orjson.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, orjson.JSONDecodeError):
        raise SettingsError(f"{path.name} cannot be read as JSON; correct the file") from None
    return configuration_of(content)


def configuration_of(content: Any) -> Configuration:
    """The same of parsed JSON."""
    if not isinstance(content, dict) or not isinstance(content.get("fhirPathRules"), list):
        raise SettingsError("an anonymizer configuration needs a list of fhirPathRules")
    _refuse_unknown(content, _SECTIONS, "section")
    if content.get("fhirVersion") not in (None, "", "R4"):
        raise SettingsError(f"fhirVersion {content['fhirVersion']} is not read; only R4 is")
    errors = content.get("processingErrors", "raise")
    if errors not in ("raise", "skip"):
        raise SettingsError("processingErrors must be raise or skip")
    rules = tuple(_rule(rule) for rule in content["fhirPathRules"])
    return Configuration(rules, _parameters(content.get("parameters") or {}), errors == "skip")


def _rule(given: Any) -> Rule:
    if not isinstance(given, dict) or not all(given.get(name) for name in ("path", "method")):
        raise SettingsError("every rule of fhirPathRules needs a path and a method")
    path, method = given["path"], str(given["method"]).lower()
    if method not in METHODS:
        raise SettingsError(f"method {given['method']} is not known; use {', '.join(METHODS)}")
    _refuse_unknown(given, {"path", "method", *METHODS[method]}, f"setting of {method}")
    if method in _NEEDED and _NEEDED[method] not in given:
        raise SettingsError(f"rule {path!r} needs {_NEEDED[method]}")
    _refuse_misfits(path, method, given)
    match = _RESOURCE_TYPE.fullmatch(path)
    resource_type, expression = (match[1] or "", match[2]) if match else ("", path)
    cases = tuple(
        (compiled(when), compiled(str(then))) for when, then in given.get("cases", {}).items()
    )
    return Rule(path, resource_type, compiled(expression or path), method, given, cases)


def _refuse_misfits(path: str, method: str, given: Mapping[str, Any]) -> None:
    """Settings of a rule must be of the right kind, before any resource is read."""
    wanted = {
        "span": lambda value: _is_number(value) and value >= 0,
        "roundTo": lambda value: isinstance(value, int) and 0 <= value <= _MOST_PLACES,
        "rangeType": lambda value: str(value).lower() in ("fixed", "proportional"),
        "otherValues": lambda value: str(value).lower() in ("redact", "keep"),
        "cases": lambda value: isinstance(value, dict),
    }
    for name, fits in wanted.items():
        if name in METHODS[method] and name in given and not fits(given[name]):
            raise SettingsError(f"rule {path!r}: {name} has a value that {method} cannot use")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parameters(given: Mapping[str, Any]) -> Parameters:
    _refuse_unknown(given, {field.name for field in fields(Parameters)}, "parameter")
    areas = tuple(given.get("restrictedZipCodeTabulationAreas") or ())
    drawn = {name: given.get(name) or secrets.token_hex(16) for name in
             ("dateShiftKey", "cryptoHashKey", "encryptKey")}  # fmt: skip
    made = Parameters(**{**given, **drawn, "restrictedZipCodeTabulationAreas": areas})
    if made.dateShiftScope not in _SCOPES:
        raise SettingsError(f"dateShiftScope must be one of {', '.join(_SCOPES)}")
    if len(made.encryptKey.encode()) not in (16, 24, 32):
        raise SettingsError("encryptKey must have 16, 24 or 32 bytes")
    return made


def _refuse_unknown(given: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingsError(f"{what} {unknown[0]} is not known; remove it or correct its name")
