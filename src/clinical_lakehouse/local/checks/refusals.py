"""What databricks-bundles, where it is installed, refuses of a resource."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from clinical_lakehouse.local.definition import KEYED, Definition, did_you_mean


@cache
def resource_classes() -> dict[str, Any]:
    """The class of each kind of resource; empty where databricks-bundles is not installed."""
    try:
        from databricks.bundles.core._resource_type import _ResourceType
    except ImportError:
        return {}
    return {kind.plural_name: kind.resource_type for kind in _ResourceType.all()}


def refusals(definitions: Mapping[str, Mapping[str, Definition]]) -> list[str]:
    """One line for each part of a resource that its class does not take, and for each resource of
    a kind that has none."""
    classes, faults = resource_classes(), list[str]()
    for kind, ones in definitions.items() if classes else ():
        for one in ones.values():
            if kind in classes:
                faults += _resource_faults(classes[kind], one)
            else:
                hint = did_you_mean(kind, classes)
                faults.append(f"{one.place()}: unknown kind of resource {kind!r}{hint}")
    return faults


def _resource_faults(kind: Any, one: Definition) -> Iterator[str]:
    """The whole resource says that something is wrong, its parts say where."""
    whole = _fault(kind, one.document())
    if whole is None:
        return
    needed = [f.name for f in fields(kind) if MISSING is f.default is f.default_factory]
    stub = {name: one.content[name] for name in needed if name in one.content}
    faults = []
    for name, value in one.content.items():
        if name in KEYED and isinstance(value, Mapping):
            faults += _item_faults(kind, one, name)
        else:
            fault = _fault(kind, {**stub, name: value})
            faults += [str(one.refuse(fault, name))] if fault else []
    yield from faults or [str(one.refuse(whole))]


def _item_faults(kind: Any, one: Definition, name: str) -> list[str]:
    faults = []
    for key, item in one.content[name].items():
        whole = _fault(kind, {name: [item]})
        if whole is None:
            continue
        label = {KEYED[name]: key}
        lacking = _fault(kind, {name: [label]})  # what a part alone lacks, another part may bring
        parts = {
            part: _fault(kind, {name: [{**label, part: value}]}) for part, value in item.items()
        }
        found = [
            str(one.refuse(fault, name, key, part))
            for part, fault in parts.items()
            if fault and fault != lacking
        ]
        faults += found or [str(one.refuse(whole, name, key))]
    return faults


def _fault(kind: Any, document: Mapping[str, Any]) -> str | None:
    try:
        kind.from_dict(dict(document))
    except Exception as error:  # its own kinds of error are not documented
        return f"databricks-bundles refuses it: {' '.join(str(error).split())}"
    return None
