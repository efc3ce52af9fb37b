"""The structure of FHIR R4 resources, compiled once from fhir.resources' models into plain rules.

The models themselves judge about 3,000 resources a second; these rules need no object per element.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from clinical_lakehouse.ingestion.date_order import ORDERED, fault_of_order
from clinical_lakehouse.ingestion.primitives import RULES, Fault, Rule, matching, one_of
from clinical_lakehouse.ingestion.required_codes import (
    DATA_TYPES,
    REQUIRED_CODES,
    REQUIRED_CONCEPTS,
    REQUIRED_PATTERNS,
    REQUIRED_TYPES,
)
from clinical_lakehouse.methods.fhir_models import (
    model_at,
    path_of_known,
    path_of_type,
    primitive_named,
    unwrapped,
)

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


@lru_cache(512)
def is_resource_type(name: str) -> bool:
    """Is it a concrete R4 resource type?"""
    if name in R4_ONLY:
        return True
    path = path_of_type(name)
    return path is not None and name not in _ABSTRACT and bool(model_at(path).has_resource_base())


def is_modelled(name: str) -> bool:
    """Is there a rule set for this resource type?"""
    return name not in R4_ONLY and name not in R4B_DIFFERS


def rule_of_resource(name: str) -> Rule:
    """The rule of a modelled resource type."""
    return rule_of(path_of_known(name))


# A choice (value[x]): its group, the names of its elements, and whether one is required.
_Choice = tuple[str, frozenset[str], bool]


@dataclass(frozen=True)
class _Whole:
    """What is judged of an object as a whole: required elements, choices, dates in order."""

    required: frozenset[str]
    choices: tuple[_Choice, ...]
    order: tuple[tuple[str, str, str], ...]


@cache
def rule_of(path: str) -> Rule:
    """The rule of the model at an import path; compiled on its first use."""
    elements: dict[str, Rule] = {}
    whole = _Whole(frozenset(), (), ())
    required, is_simple = whole.required, True

    def object_(value: Any) -> Fault | None:
        nonlocal whole, required, is_simple
        if not elements:
            whole = _compile(path, elements)
            required, is_simple = whole.required, not (whole.choices or whole.order)
        if type(value) is not dict:
            return ("wrong-type", "")
        for name, child in value.items():
            rule = elements.get(name)
            if rule is None:
                return ("duplicate-key" if name == DUPLICATE_KEY else "unknown-element", "")
            fault = rule(child)
            if fault is not None and not _is_only_extended(value, name, rule):
                return ("null-element" if child is None else fault[0], f".{name}{fault[1]}")
        if is_simple and value and required <= value.keys():
            return None
        return _fault_of_whole(whole, value)

    return object_


def _compile(path: str, elements: dict[str, Rule]) -> _Whole:
    """Fill in a rule per element; what holds for the object as a whole."""
    model = model_at(path)
    elements["resourceType"] = RULES["string"]
    required: set[str] = set()
    choices: dict[str, tuple[set[str], bool]] = {}
    for field in model.model_fields.values():
        name = field.alias
        if name == "fhir_comments" or name.startswith("_"):
            continue
        facts = field.json_schema_extra or {}
        inner, is_list = unwrapped(field.annotation)
        rule = _rule(f"{model.__name__}.{name}", inner, facts)
        elements[name] = _each(rule) if is_list else rule
        if primitive_named(inner) is not None:
            beside = rule_of(path_of_known("FHIRPrimitiveExtension"))
            elements[f"_{name}"] = _each_or_null(beside) if is_list else beside
        if field.is_required() or facts.get("element_required"):
            required.add(name)
        if "one_of_many" in facts:
            group = facts["one_of_many"]
            names, needed = choices.get(group, (set(), False))
            choices[group] = (names | {name}, needed or facts["one_of_many_required"])
    groups = tuple((group, frozenset(names), need) for group, (names, need) in choices.items())
    return _Whole(frozenset(required), groups, ORDERED.get(model.__name__, ()))


def _fault_of_whole(whole: _Whole, value: dict[str, Any]) -> Fault | None:
    if not value:
        return ("empty-object", "")
    if not whole.required <= value.keys():
        for name in sorted(whole.required):
            if name not in value and f"_{name}" not in value:
                return ("missing-required", f".{name}")
    for group, names, needed in whole.choices:
        if needed or not names.isdisjoint(value):
            fault = _fault_of_choice(group, names, needed, value)
            if fault is not None:
                return fault
    return fault_of_order(whole.order, value) if whole.order else None


def _fault_of_choice(
    group: str, names: frozenset[str], needed: bool, value: dict[str, Any]
) -> Fault | None:
    given = len(names & value.keys())
    if given > 1:
        return ("two-values", f".{group}[x]")
    if needed and not given and not any(f"_{name}" in value for name in names):
        return ("missing-required", f".{group}[x]")
    return None


def _is_only_extended(value: dict[str, Any], name: str, rule: Rule) -> bool:
    """Nulls in an array of primitives stand for values that have only an extension."""
    child = value[name]
    if type(child) is not list or None not in child or f"_{name}" not in value:
        return False
    present = [item for item in child if item is not None]
    return bool(present) and rule(present) is None


def _rule(element: str, inner: Any, facts: Mapping[str, Any]) -> Rule:
    """The rule of an element's type, narrowed by its required binding."""
    primitive = primitive_named(inner)
    if element in REQUIRED_CONCEPTS:
        return _bound_concept(_rule_of_type(inner), *REQUIRED_CONCEPTS[element])
    if element in REQUIRED_PATTERNS:
        return matching(REQUIRED_PATTERNS[element], "bad-code")
    if element in REQUIRED_TYPES:
        return _type_name(REQUIRED_TYPES[element])
    codes = REQUIRED_CODES.get(element, facts.get("enum_values"))
    if codes and primitive == "code":
        return one_of(frozenset(codes))
    return _rule_of_type(inner)


def _type_name(with_data_types: bool) -> Rule:
    """The name of a resource type (abstract ones too), or also of a data type."""

    def name(value: Any) -> Fault | None:
        if type(value) is not str:
            return ("wrong-type", "")
        is_known = value in _ABSTRACT or (with_data_types and value in DATA_TYPES)
        return None if is_known or is_resource_type(value) else ("bad-code", "")

    return name


def _bound_concept(rule: Rule, system: str, codes: frozenset[str]) -> Rule:
    """A CodeableConcept of which one coding is from the value set of a required binding."""

    def concept(value: Any) -> Fault | None:
        fault = rule(value)
        if fault is not None:
            return fault
        for coding in value.get("coding", ()):
            if coding.get("system") == system and coding.get("code") in codes:
                return None
        return ("bad-code", ".coding")

    return concept


def _rule_of_type(inner: Any) -> Rule:
    primitive = primitive_named(inner)
    if primitive is not None:
        return RULES[primitive]
    path: str = inner._model_klass
    is_any = path.endswith((".resource.Resource", ".element.Element"))
    return _any_resource if is_any else rule_of(path)


def _any_resource(value: Any) -> Fault | None:
    if type(value) is not dict:
        return ("wrong-type", "")
    name = value.get("resourceType")
    if type(name) is not str or not is_resource_type(name):
        return ("unknown-resource-type", "")
    return rule_of_resource(name)(value) if is_modelled(name) else None


def _each(rule: Rule) -> Rule:
    def all_(value: Any) -> Fault | None:
        if type(value) is not list:
            return ("not-an-array", "")
        if not value:
            return ("empty-array", "")
        for item in value:
            if rule(item) is not None:
                return _first_fault(rule, value)
        return None

    return all_


def _first_fault(rule: Rule, items: list[Any]) -> Fault | None:
    """The fault of the first item that has one, with its place in the array."""
    for number, item in enumerate(items):
        fault = rule(item)
        if fault is not None:
            reason = "null-element" if item is None else fault[0]
            return (reason, f"[{number}]{fault[1]}")
    return None


def _each_or_null(rule: Rule) -> Rule:
    """What stands beside an array of primitives: null where an item has no extension."""

    def all_(value: Any) -> Fault | None:
        if type(value) is not list:
            return ("not-an-array", "")
        return next((f for item in value if item is not None and (f := rule(item))), None)

    return all_
