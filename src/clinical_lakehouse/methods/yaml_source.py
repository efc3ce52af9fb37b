"""Reads one YAML file of the bundle or of conf and remembers on which line each thing stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clinical_lakehouse.errors import BundleError

# libyaml's parser is ten times as fast; a wheel of PyYAML without it is rare.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Where a thing stands in the document, e.g. ("resources", "jobs", "x", "tasks", 0).
Where = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """A file of the bundle and a line in it."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Source:
    """A YAML file: its content as plain Python and the line of every key and list item."""

    file: str
    content: Mapping[str, Any]
    lines: Mapping[Where, int]

    def place(self, *where: str | int) -> Place:
        """The line of the nearest thing known at or above `where`."""
        for length in range(len(where), 0, -1):
            if where[:length] in self.lines:
                return Place(self.file, self.lines[where[:length]])
        return Place(self.file)


def _composed(text: str) -> yaml.Node | None:
    """The document; what is wrong is said by Python's parser, whose marks are nearer to it."""
    try:
        return yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError:
        return yaml.compose(text, Loader=yaml.SafeLoader)


def read_source(path: Path, root: Path) -> Source:
    """Read a file below the bundle's root; BundleError names file and line of what is wrong."""
    name = path.relative_to(root).as_posix()
    try:
        node = _composed(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise BundleError(f"{Place(name, line)} is not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BundleError(f"{name} is not valid YAML: not text in UTF-8") from None
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}") from None
    lines: dict[Where, int] = {}
    content = _plain(node, (), lines, name) if node else {}
    if not isinstance(content, dict):
        raise BundleError(f"{name}:1 must hold a mapping")
    return Source(name, content, lines)


def _plain(node: yaml.Node, where: Where, lines: dict[Where, int], file: str) -> Any:
    """The node as Python values; a key that stands twice is refused, YAML would keep the last."""
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in content:
                raise BundleError(f"{Place(file, line)} says {key!r} a second time")
            lines[(*where, key)] = line
            content[key] = _plain(value_node, (*where, key), lines, file)
        return content
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*where, at), lines, file) for at, item in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)
