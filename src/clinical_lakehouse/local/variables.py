"""What `${...}` stands for when the bundle is read: variables, the target, other resources."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinical_lakehouse.errors import BundleError
from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.references import fill_static
from clinical_lakehouse.methods.yaml_source import Source

_PREFIX = "BUNDLE_VAR_"
Definitions = Mapping[str, Mapping[str, Definition]]


@dataclass(frozen=True)
class Variables:
    """Values of `${var.x}`: given > BUNDLE_VAR_x > the target's > default, as Databricks' CLI."""

    declared: tuple[str, ...]
    values: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """The variable's value, or a BundleError that says what is missing."""
        if name not in self.declared:
            known = ", ".join(self.declared) or "none"
            raise BundleError(f"variable {name!r} is not declared ({known})")
        if name not in self.values:
            raise BundleError(f"variable {name!r} has no value; set {_PREFIX}{name}")
        return self.values[name]


@dataclass(frozen=True)
class Scope:
    """Everything a reference of one target may name."""

    bundle: str
    target: str
    variables: Variables
    definitions: Definitions

    def fill(self, text: str, depth: int = 0) -> Any:
        """Fill a text; a variable may stand for another one, a few levels deep.

        Raises BundleError for a name that leads nowhere.
        """
        value = fill_static(text, self._lookup)
        if isinstance(value, str) and "${" in value:
            if depth > 8:
                raise BundleError(f"variables of {text} refer to one another in a circle")
            return self.fill(value, depth + 1)
        return value

    def _lookup(self, name: str) -> Any:
        parts = name.split(".")
        if parts[0] == "var" and len(parts) == 2:
            return self.variables.value(parts[1])
        if name in ("bundle.target", "bundle.environment"):
            return self.target
        if name == "bundle.name":
            return self.bundle
        if parts[0] == "resources" and len(parts) == 4:
            return self._field(name, *parts[1:])
        raise BundleError(f"${{{name}}} is not a reference known here")

    def _field(self, name: str, kind: str, key: str, field: str) -> Any:
        """A field of another resource; its id, which Databricks gives out, is its key here."""
        if key not in self.definitions.get(kind, {}):
            noun = kind.removesuffix("s").replace("_", " ")
            raise BundleError(f"${{{name}}} names no {noun} of the bundle")
        if field == "id":
            return key
        content = self.definitions[kind][key].content
        if field not in content:
            raise BundleError(f"${{{name}}}: {kind}.{key} says nothing of {field!r}")
        return content[field]


def read_variables(
    root: Source, target: str, given: Mapping[str, str], environ: Mapping[str, str]
) -> Variables:
    """The variables of one target; BundleError for a value of a variable nobody declared."""
    declared = root.content.get("variables") or {}
    of_target = (root.content["targets"][target] or {}).get("variables") or {}
    for name in (*of_target, *given):
        if name not in declared:
            place = root.place("targets", target, "variables", name)
            raise BundleError(f"{place}: variable {name!r} is not declared")
    defaults = {k: v["default"] for k, v in declared.items() if v and "default" in v}
    targeted = {k: v.get("default") if isinstance(v, dict) else v for k, v in of_target.items()}
    named = {k: environ[_PREFIX + k] for k in declared if _PREFIX + k in environ}
    return Variables(tuple(declared), {**defaults, **targeted, **named, **given})
