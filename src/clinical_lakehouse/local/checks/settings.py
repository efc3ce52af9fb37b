"""The root file and the resources that are no jobs: what leads nowhere, what nobody reads."""

import re
from collections.abc import Collection, Iterator, Mapping

from clinical_lakehouse.local.checks.shapes import as_list, mappings
from clinical_lakehouse.local.definition import Definition
from clinical_lakehouse.local.reading import Survey, all_texts
from clinical_lakehouse.methods.yaml_source import Source

_VARIABLE = re.compile(r"\$\{var\.([^}.]+)")
_LEVELS = ("CAN_VIEW", "CAN_RUN", "CAN_MANAGE")
_MODES = ("development", "production")


def setting_faults(found: Survey) -> list[str]:
    """Undeclared and unread variables, unknown modes and levels, schemas nobody defines."""
    root = found.root
    faults = list(_variable_faults(found))
    for name, settings in mappings(root.content.get("targets")):
        where = ("targets", name)
        mode = settings.get("mode")
        if mode is not None and mode not in _MODES:
            place = root.place(*where, "mode")
            faults.append(f"{place}: mode {mode!r} must be one of {', '.join(_MODES)}")
        faults += _permission_faults(root, settings, *where)
    faults += _permission_faults(root, root.content)
    return faults + list(_schema_faults(found.filled))


def missing_values(found: Survey) -> list[str]:
    """Variables of the target that someone must set before deploying."""
    scope = found.scope
    return [name for name in scope.variables.declared if name not in scope.variables.values]


def monitor_faults(
    definitions: Mapping[str, Mapping[str, Definition]], tables: Collection[str]
) -> list[str]:
    """Monitors of tables that no contract describes."""
    faults: list[str] = []
    for one in definitions.get("quality_monitors", {}).values():
        table = ".".join(str(one.content.get("table_name")).split(".")[1:])
        if table not in tables:
            said = f"watches {table or 'nothing'}, which no contract describes"
            faults.append(str(one.refuse(said, "table_name")))
    return faults


def _variable_faults(found: Survey) -> Iterator[str]:
    declared, read = found.scope.variables.declared, set()
    for place, text in all_texts(found.sources):
        for name in _VARIABLE.findall(text):
            read.add(name)
            # Resources say so themselves, with their own name.
            if name not in declared and place.startswith(f"{found.root.file}:"):
                known = ", ".join(declared) or "none"
                yield f"{place}: variable {name!r} is not declared ({known})"
    for name in declared:
        if name not in read:
            declared_at = found.root.place("variables", name)
            yield f"{declared_at}: variable {name!r} is read by nothing"


def _permission_faults(root: Source, settings: Mapping[str, object], *where: str) -> Iterator[str]:
    for at, item in enumerate(as_list(settings.get("permissions"))):
        level = item.get("level") if isinstance(item, Mapping) else None
        if level not in _LEVELS:
            place = root.place(*where, "permissions", at)
            yield f"{place}: level {level!r} must be one of {', '.join(_LEVELS)}"


def _schema_faults(definitions: Mapping[str, Mapping[str, Definition]]) -> Iterator[str]:
    """A volume or model in a schema that the bundle does not make."""
    schemas = {str(one.content.get("name")) for one in definitions.get("schemas", {}).values()}
    for kind in ("volumes", "registered_models"):
        for one in definitions.get(kind, {}).values():
            schema = one.content.get("schema_name")
            if schemas and schema not in schemas:
                said = f"schema_name {schema!r} is none of the bundle's ({', '.join(schemas)})"
                yield str(one.refuse(said, "schema_name"))
