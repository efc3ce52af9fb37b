"""A parsed FHIR R4 resource as a tree of typed nodes, and back; types from fhir.resources R4B."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.fhir_models import (
    model_at,
    path_of_known,
    path_of_type,
    primitive_named,
    unwrapped,
)

_PYTHON_PRIMITIVES = {"bool": "boolean", "str": "string", "Decimal": "decimal", "int": "integer"}


@dataclass(frozen=True)
class Element:
    """What a type says of one element: FHIRPath name, type, whether it repeats."""

    name: str
    type: str
    is_list: bool
    is_primitive: bool


class Node:
    """One element: `value` of a primitive, `children` of anything; compared by identity.

    A plain class, not a frozen dataclass: anonymising changes the tree in place.
    """

    __slots__ = ("children", "element", "key", "parent", "type", "value")

    def __init__(self, key: str, element: Element, value: Any = None) -> None:
        self.key, self.element, self.value = key, element, value
        self.type, self.parent = element.type, None
        self.children: list[Node] = []

    parent: "Node | None"

    @property
    def is_resource(self) -> bool:
        """Is it a resource, not an element of one?"""
        return _is_resource_type(self.type)

    def named(self, name: str) -> list["Node"]:
        """The children with that FHIRPath name, in order."""
        return [child for child in self.children if child.element.name == name]

    def descendants(self) -> Iterator["Node"]:
        """All nodes under this one, resources inside it and what is under them left out."""
        for child in self.children:
            if not child.is_resource:
                yield child
                yield from child.descendants()

    def root(self) -> "Node":
        """The outermost resource."""
        return self if self.parent is None else self.parent.root()

    def add(self, child: "Node") -> None:
        """Append a child."""
        child.parent = self
        self.children.append(child)


def tree_of(resource: Mapping[str, Any]) -> Node:
    """The tree of a parsed resource; SourceError where R4 does not know its type or an element."""
    name = resource.get("resourceType")
    if not isinstance(name, str) or not _is_resource_type(name):
        raise SourceError("a resource is of a type that FHIR R4B does not have; leave it out")
    return _grown(Node("", Element("", name, False, False)), resource)


def fragment_of(like: Node, value: Any) -> Node:
    """A value written as JSON, as a node of the same element as `like`."""
    node = Node(like.key, like.element)
    if like.element.is_primitive:
        if isinstance(value, (Mapping, list)):
            raise SourceError(f"a {like.type} can only be replaced with one plain value")
        node.value = value
        return node
    return _grown(node, value or {})


def append(node: Node, key: str, value: Any) -> None:
    """Append what `value` says in JSON of one item of the element `key`."""
    node.add(_child(key, elements_of(node.type)[key], value, None))


def json_of(node: Node) -> dict[str, Any]:
    """The resource or complex element as JSON again; elements without any content are left out."""
    made: dict[str, Any] = {"resourceType": node.type} if node.is_resource else {}
    for key in dict.fromkeys(child.key for child in node.children):
        same = [child for child in node.children if child.key == key]
        is_list = same[0].element.is_list
        if same[0].element.is_primitive:
            values = [child.value for child in same]
            extended = [_extended(child) for child in same]
            if any(value is not None for value in values):
                made[key] = values if is_list else values[0]
            if any(item is not None for item in extended):
                made[f"_{key}"] = extended if is_list else extended[0]
        else:
            written = [json_of(child) for child in same]
            made[key] = written if is_list else written[0]
    return made


def prune(node: Node) -> None:
    """Take out every node with neither value nor children; a resource stays."""
    for child in list(node.children):
        prune(child)
        if not child.children and child.value is None and not child.is_resource:
            node.children.remove(child)


def _extended(node: Node) -> dict[str, Any] | None:
    return json_of(node) if node.children else None


def _grown(node: Node, value: Mapping[str, Any]) -> Node:
    if not isinstance(value, Mapping):
        raise SourceError(f"an element of type {node.type} must be an object; correct its source")
    elements = elements_of(node.type)
    for key in dict.fromkeys(key.removeprefix("_") for key in value):
        if key in ("resourceType", "fhir_comments"):
            continue
        element = elements.get(key)
        if element is None:
            raise SourceError(f"{node.type} has an element that FHIR R4B does not have; remove it")
        values, extras = _listed(value.get(key)), _listed(value.get(f"_{key}"))
        for at in range(max(len(values), len(extras))):
            own = values[at] if at < len(values) else None
            extra = extras[at] if at < len(extras) else None
            node.add(_child(key, element, own, extra))
    return node


def _child(key: str, element: Element, value: Any, extra: Any) -> Node:
    if element.is_primitive:
        made = Node(key, element, value)
        return _grown(made, extra) if extra else made
    if element.type == "Resource":
        made = tree_of(value)
        made.key, made.element = key, element
        return made
    return _grown(Node(key, element), value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


@cache
def _is_resource_type(name: str) -> bool:
    path = path_of_type(name)
    if path is None or name in ("Resource", "DomainResource"):
        return name in ("Resource", "DomainResource")
    return bool(model_at(path).has_resource_base())


@cache
def elements_of(type_: str) -> Mapping[str, Element]:
    """Elements by JSON key; a primitive has `id` and `extension`, as an Element."""
    model = model_at(path_of_type(type_) or path_of_known("Element"))
    found = {}
    for field in model.model_fields.values():
        key = field.alias or ""
        if key == "fhir_comments" or key.startswith("_"):
            continue
        inner, is_list = unwrapped(field.annotation)
        type_name = _name_of(inner)
        facts = field.json_schema_extra
        name = facts.get("one_of_many", key) if isinstance(facts, dict) else key
        is_primitive = path_of_type(type_name) is None
        found[key] = Element(str(name), type_name, is_list, is_primitive)
    return found


def _name_of(inner: Any) -> str:
    """FHIR type name of what stands inside Optional and List."""
    name = str(getattr(inner, "__name__", ""))
    return primitive_named(inner) or _PYTHON_PRIMITIVES.get(name, name.removesuffix("Type"))
