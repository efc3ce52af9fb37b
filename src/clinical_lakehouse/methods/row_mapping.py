"""Rows of a database as FHIR R4 resources: a mapping is data, its leaves are Spark SQL."""

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SettingsError

_NAME = re.compile(r"[A-Za-z_]\w*")
_CONSTANT = re.compile(r"'[^']*'|-?[\d.]+|true|false")
Element = Mapping[str, Any]


class Source(BaseModel):
    """One table of a database and the resource that each of its rows is.

    `key` is the table's integer key; `watermark` the column that grows with every change;
    `overlap_minutes` is read again each time, for transactions that were committed late.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    table: str
    key: str
    watermark: str
    overlap_minutes: int = Field(default=60, ge=0)
    partitions: int = Field(default=4, ge=1, le=64)
    resource: Element

    @field_validator("name", "table", "key", "watermark")
    @classmethod
    def _is_identifier(cls, name: str) -> str:
        parts = name.split(".")
        if not 1 <= len(parts) <= 2 or not all(_NAME.fullmatch(part) for part in parts):
            raise ValueError("must be a plain SQL name")
        return name

    @field_validator("resource")
    @classmethod
    def _is_resource(cls, resource: Element) -> Element:
        if not {"resourceType", "id"} <= set(resource):
            raise ValueError("must give resourceType and id")
        return resource


def read_mapping(path: Path) -> tuple[Source, ...]:
    """The sources of a mapping file; SettingsError names the file and the key that is wrong."""
    if not path.is_file():
        raise SettingsError(f"no mapping {path.name} in {path.parent.name}; check its name")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = content["sources"]
        sources = tuple(Source.model_validate(entry) for entry in entries)
    except yaml.YAMLError:
        raise SettingsError(f"{path.name} is not valid YAML") from None
    except (KeyError, TypeError):
        raise SettingsError(f"{path.name} must hold a list 'sources'") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path.name}: {where}: {first['msg'].lower()}") from None
    if len({source.name for source in sources}) < len(sources):
        raise SettingsError(f"{path.name}: two sources have the same name")
    return sources


def as_resources(rows: DataFrame, source: Source) -> DataFrame:
    """One JSON text (column `value`) per row; elements without a value are left out.

    A timestamp becomes an instant in UTC, a NUMERIC keeps its scale.
    """
    resource, _ = _element(source.resource)
    return rows.select(F.to_json(resource).alias("value"))


def _element(node: Any) -> tuple[Column, Column | None]:
    """The column of a node of the mapping, and whether it has a value (None: a constant)."""
    if isinstance(node, Mapping):
        parts = {name: _element(child) for name, child in node.items()}
        made = F.struct(*(column.alias(name) for name, (column, _) in parts.items()))
        return _unless_empty(made, [present for _, present in parts.values()])
    if isinstance(node, Sequence) and not isinstance(node, str):
        items = [_element(child) for child in node]
        whole = F.filter(F.array(*(column for column, _ in items)), lambda item: item.isNotNull())
        return _unless_empty(whole, [present for _, present in items])
    column = F.expr(str(node))
    return column, None if _CONSTANT.fullmatch(str(node)) else column.isNotNull()


def _unless_empty(made: Column, parts: Sequence[Column | None]) -> tuple[Column, Column | None]:
    # FHIR knows no empty object: a Quantity of which only the unit's system is known is none.
    known = [part for part in parts if part is not None]
    if not known:
        return made, None
    present = reduce(Column.__or__, known)
    return F.when(present, made), present
