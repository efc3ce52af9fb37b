"""Values as the kind expected of them, so that an odd one is told of but crashes nothing."""

from collections.abc import Iterator, Mapping
from typing import Any


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def mappings(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The items of a mapping that are mappings themselves."""
    for key, item in as_mapping(value).items():
        if isinstance(item, Mapping):
            yield key, item
