"""FHIR R4 element types, read from fhir.resources' models: what a view's paths may name."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.methods.fhir_models import (
    model_at,
    path_of_type,
    primitive_named,
    unwrapped,
)

ANY_RESOURCE = "Resource"
INTEGERS = frozenset(("integer", "positiveInt", "unsignedInt"))
TEMPORALS = frozenset(("date", "dateTime", "instant", "time"))
# Every primitive but these is text in Spark: dates may be partial, decimals keep their digits.
_SQL_TYPES = {"boolean": "BOOLEAN", "integer64": "BIGINT", **dict.fromkeys(INTEGERS, "INT")}
_PRIMITIVES = INTEGERS | TEMPORALS | frozenset(
    ("boolean", "integer64", "decimal", "string", "code", "id", "uri", "url", "canonical", "oid")
    + ("uuid", "markdown", "base64Binary", "xhtml")
)  # fmt: skip


@dataclass(frozen=True)
class Element:
    """An element of a type: its own type, whether it repeats, and its choice (value[x])."""

    name: str
    type: str
    is_list: bool
    choice: str | None


def is_primitive(type_: str) -> bool:
    """Is it a FHIR primitive type?"""
    return type_ in _PRIMITIVES


def sql_type(type_: str) -> str:
    """The Spark SQL type that holds a FHIR primitive without loss."""
    return _SQL_TYPES.get(type_, "STRING")


def type_named(name: str) -> str:
    """The type a FHIRPath type specifier names (`Quantity`, `FHIR.string`, `System.Integer`)."""
    short = name.rsplit(".", 1)[-1]
    if name.startswith("System."):
        short = short[0].lower() + short[1:]
    if is_primitive(short) or short == ANY_RESOURCE:
        return short
    path = path_of_type(short)
    if path is None:
        raise UsageError(f"{name} is no FHIR R4 type")
    return path


def short_name(type_: str) -> str:
    """A type as FHIR calls it."""
    return type_.rsplit(".", 1)[-1]


def resource_named(name: str) -> str:
    """The type of a resource; UsageError unless it is a resource of R4."""
    path = path_of_type(name)
    if path is None or not model_at(path).has_resource_base():
        raise UsageError(f"{name!r} is no FHIR R4 resource type")
    return path


def is_resource(type_: str) -> bool:
    """Is it a concrete resource type?"""
    return not is_primitive(type_) and type_ != ANY_RESOURCE and model_at(type_).has_resource_base()


@cache
def elements_of(type_: str) -> Mapping[str, Element]:
    """A complex type's elements by name; choices stand under each of their names."""
    found = {}
    for field in model_at(type_).model_fields.values():
        name = field.alias
        if name == "fhir_comments" or name.startswith("_"):
            continue
        inner, is_list = unwrapped(field.annotation)
        facts = field.json_schema_extra or {}
        found[name] = Element(name, _type_of(inner), is_list, facts.get("one_of_many"))
    return found


def _type_of(inner: Any) -> str:
    primitive = primitive_named(inner)
    if primitive is not None:
        return primitive
    path = str(inner._model_klass)
    return ANY_RESOURCE if path.endswith((".resource.Resource", ".element.Element")) else path
