"""The structure of FHIR R4 resources, compiled once from fhir.resources' models into plain rules.

The models themselves judge about 3,000 resources a second; these rules need no object per element.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, get_args, get_origin

import fhir.resources.R4B.fhirtypes  # noqa: F401  (fills the map of types)
from fhir_core.constraints import FHIR_TYPES_MAPS

from clinical_lakehouse.ingestion.primitives import RULES, Fault, Rule, one_of
from clinical_lakehouse.ingestion.required_codes import REQUIRED_CODES

DUPLICATE_KEY = "$duplicate-key"  # marks an object of a Bundle that held a key twice
# R4 types that R4B dropped: known, but without a model; only id and meta are judged.
R4_ONLY = frozenset(
    (
        "EffectEvidenceSynthesis",
        "MedicinalProduct",
        "MedicinalProductAuthorization",
        "MedicinalProductContraindication",
        "MedicinalProductIndication",
        "MedicinalProductIngredient",
        "MedicinalProductInteraction",
        "MedicinalProductManufactured",
        "MedicinalProductPackaged",
        "MedicinalProductPharmaceutical",
        "MedicinalProductUndesirableEffect",
        "RiskEvidenceSynthesis",
        "SubstanceNucleicAcid",
        "SubstancePolymer",
        "SubstanceProtein",
        "SubstanceReferenceInformation",
        "SubstanceSourceMaterial",
        "SubstanceSpecification",
    )
)
# R4B renamed or reshaped these; R4 instances are valid, so their inner structure is not judged.
R4B_DIFFERS = frozenset(("Evidence", "EvidenceVariable"))
_ABSTRACT = frozenset(("Resource", "DomainResource"))
_PREFIX = "R4."


@dataclass(frozen=True)
class Shape:
    """What a type may hold: a rule per element, required elements, and choices (value[x])."""

    elements: Mapping[str, Rule]
    required: tuple[tuple[str, str], ...]
    choices: tuple[tuple[str, frozenset[str], bool], ...]


def is_resource_type(name: str) -> bool:
    """Is it a concrete R4 resource type?"""
    if name in R4_ONLY:
        return True
    path = FHIR_TYPES_MAPS.get(f"{_PREFIX}{name}Type")
    return path is not None and name not in _ABSTRACT and bool(_model(path).has_resource_base())


def is_modelled(name: str) -> bool:
    """Is there a rule set for this resource type?"""
    return name not in R4_ONLY and name not in R4B_DIFFERS


def shape_of_resource(name: str) -> Shape:
    """The shape of a resource type."""
    return shape_of(FHIR_TYPES_MAPS[f"{_PREFIX}{name}Type"])


@cache
def shape_of(path: str) -> Shape:
    """The shape of the model at an import path; compiled on first use."""
    model = _model(path)
    elements: dict[str, Rule] = {"resourceType": RULES["string"]}
    required: list[tuple[str, str]] = []
    choices: dict[str, tuple[set[str], bool]] = {}
    for field in model.model_fields.values():
        name = field.alias
        if name == "fhir_comments" or name.startswith("_"):
            continue
        facts = field.json_schema_extra or {}
        inner, is_list = _unwrapped(field.annotation)
        elements[name] = _rule(f"{model.__name__}.{name}", inner, is_list, facts)
        if _primitive(inner) is not None:
            elements[f"_{name}"] = _extension_list if is_list else _extension
        if field.is_required() or facts.get("element_required"):
            required.append((name, f"_{name}"))
        if "one_of_many" in facts:
            names, needed = choices.setdefault(facts["one_of_many"], (set(), False))
            choices[facts["one_of_many"]] = (
                names | {name},
                needed or facts["one_of_many_required"],
            )
    groups = tuple((group, frozenset(names), need) for group, (names, need) in choices.items())
    return Shape(elements, tuple(required), groups)


def fault_in(shape: Shape, value: Any) -> Fault | None:
    """The first fault of an object against its shape."""
    if type(value) is not dict:
        return ("wrong-type", "")
    if not value:
        return ("empty-object", "")
    elements = shape.elements
    for name, child in value.items():
        rule = elements.get(name)
        if rule is None:
            return ("duplicate-key" if name == DUPLICATE_KEY else "unknown-element", "")
        fault = rule(child)
        if fault is not None and not _is_only_extended(value, name, rule, fault):
            return (fault[0], f".{name}{fault[1]}")
    return _missing_or_double(shape, value)


def _missing_or_double(shape: Shape, value: dict[str, Any]) -> Fault | None:
    for name, extension in shape.required:
        if name not in value and extension not in value:
            return ("missing-required", f".{name}")
    for group, names, needed in shape.choices:
        given = len(names & value.keys())
        if given > 1:
            return ("two-values", f".{group}[x]")
        if needed and not given and not any(f"_{name}" in value for name in names):
            return ("missing-required", f".{group}[x]")
    return None


def _is_only_extended(value: dict[str, Any], name: str, rule: Rule, fault: Fault) -> bool:
    """Nulls in an array of primitives stand for values that have only an extension."""
    child = value[name]
    if fault[0] != "null-element" or type(child) is not list or f"_{name}" not in value:
        return False
    present = [item for item in child if item is not None]
    return bool(present) and rule(present) is None


def _model(path: str) -> Any:
    module, name = path.rsplit(".", 1)
    return getattr(import_module(module), name)


def _rule(element: str, inner: Any, is_list: bool, facts: Mapping[str, Any]) -> Rule:
    codes = REQUIRED_CODES.get(element, facts.get("enum_values"))
    if codes and _primitive(inner) == "code" and "+" not in codes:
        rule = one_of(frozenset(codes))
    else:
        rule = _rule_of_type(inner)
    return _each(rule) if is_list else _present(rule)


def _unwrapped(annotation: Any) -> tuple[Any, bool]:
    """The type inside Optional and List, and whether there was a List."""
    is_list = False
    while get_origin(annotation) is not None and not hasattr(annotation, "__metadata__"):
        is_list = is_list or get_origin(annotation) is list
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation, is_list


def _primitive(inner: Any) -> str | None:
    """The FHIR name of a primitive type, None for a complex one."""
    if inner is bool:
        return "boolean"
    for mark in getattr(inner, "__metadata__", ()):
        named = getattr(mark, "__visit_name__", None)
        if named:
            return str(named)
        if type(mark).__name__ == "UuidVersion":
            return "uuid"
    return None


def _rule_of_type(inner: Any) -> Rule:
    primitive = _primitive(inner)
    if primitive is not None:
        return RULES[primitive]
    path: str = inner._model_klass
    if path.endswith((".resource.Resource", ".element.Element")):
        return _any_resource

    def complex_(value: Any) -> Fault | None:
        return fault_in(shape_of(path), value)

    return complex_


def _any_resource(value: Any) -> Fault | None:
    if type(value) is not dict:
        return ("wrong-type", "")
    name = value.get("resourceType")
    if type(name) is not str or not is_resource_type(name):
        return ("unknown-resource-type", "")
    return fault_in(shape_of_resource(name), value) if is_modelled(name) else None


def _present(rule: Rule) -> Rule:
    def one(value: Any) -> Fault | None:
        fault = rule(value)
        return ("null-element", "") if fault is not None and value is None else fault

    return one


def _each(rule: Rule) -> Rule:
    def all_(value: Any) -> Fault | None:
        if type(value) is not list:
            return ("not-an-array", "")
        if not value:
            return ("empty-array", "")
        for number, item in enumerate(value):
            fault = rule(item)
            if fault is not None:
                reason = "null-element" if item is None else fault[0]
                return (reason, f"[{number}]{fault[1]}")
        return None

    return all_


def _extension(value: Any) -> Fault | None:
    """What stands beside a primitive: its id and extensions."""
    path = FHIR_TYPES_MAPS[f"{_PREFIX}FHIRPrimitiveExtensionType"]
    return fault_in(shape_of(path), value)


def _extension_list(value: Any) -> Fault | None:
    if type(value) is not list:
        return ("not-an-array", "")
    faults = (_extension(item) for item in value if item is not None)
    return next((fault for fault in faults if fault is not None), None)
