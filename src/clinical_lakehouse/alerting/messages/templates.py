"""Templates of conf/alerting/templates: labels only, checked when they are read.

`<language>/<name>.txt` is a mail as one writes it: `Subject: ...`, an empty line, the text.
`layout.html` makes the HTML of any of them: paragraphs, and lines `Name: value` as a table.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from clinical_lakehouse.alerting.channels.envelope import one_line
from clinical_lakehouse.alerting.messages.labels import visible
from clinical_lakehouse.errors import SettingsError

FOLDER = "alerting/templates"
LAYOUT = "layout.html"
_FILTERS = ("upper", "lower", "capitalize")
_TAGS = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Name, nodes.Const,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Filter, nodes.CondExpr,
    nodes.Concat,
)  # fmt: skip
_LAYOUT_NAMES = ("subject", "blocks", "severity", "language")
_FACT = re.compile(r"([^:\n]{1,40}): (\S.*)")
_LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Rendered:
    """Subject, text and HTML of a message."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Block:
    """A paragraph, or facts: names with their values."""

    text: str
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Facts whose value is an address: shown as buttons."""
        return tuple(fact for fact in self.facts if _LINK.fullmatch(fact[1]))

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The other facts."""
        return tuple(fact for fact in self.facts if not _LINK.fullmatch(fact[1]))


@dataclass(frozen=True)
class Templates:
    """Every template by language and name, and the labels that all of them may show."""

    parts: Mapping[tuple[str, str], tuple[Template, Template]]
    layout: Template
    labels: Mapping[str, str]

    def has(self, language: str, name: str) -> bool:
        """Is there such a template?"""
        return (language, name) in self.parts

    def render(self, language: str, name: str, labels: Mapping[str, Any]) -> Rendered:
        """The message; labels that are not allowed are not even given to the template."""
        shown = visible(labels, self.labels)
        subject, body = self.parts[(language, name)]
        title = one_line(subject.render(shown)) or name
        text = re.sub(r"\n{3,}", "\n\n", body.render(shown)).strip() + "\n"
        html = self.layout.render(
            subject=title,
            blocks=list(_blocks(text)),
            severity=shown.get("severity", ""),
            language=language,
        )
        return Rendered(title, text, html)


def load_templates(conf: Path, labels: Mapping[str, str]) -> Templates:
    """Read and check all templates; SettingsError names file and line of the first fault."""
    folder, root = conf / FOLDER, conf.parent
    plain, escaped = _environment(is_html=False), _environment(is_html=True)
    layout = _template(escaped, folder / LAYOUT, root)
    parts = {}
    for path in sorted(folder.glob("*/*.txt")):
        head, _, body = _read(path, root).partition("\n")
        name = path.relative_to(root).as_posix()
        if not head.startswith("Subject: ") or not body.startswith("\n"):
            raise SettingsError(f"{name}:1 must be `Subject: ...`, followed by an empty line")
        subject = _checked(plain, head.removeprefix("Subject: "), (name, 0), labels)
        parts[(path.parent.name, path.stem)] = (subject, _checked(plain, body, (name, 1), labels))
    return Templates(parts, layout, labels)


def _environment(*, is_html: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=is_html, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals = {}
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    return environment


def _checked(
    environment: ImmutableSandboxedEnvironment,
    text: str,
    place: tuple[str, int],
    labels: Mapping[str, str],
) -> Template:
    """A template of labels, conditions and three filters, and nothing else."""
    file, before = place
    try:
        tree = environment.parse(text)
        for node, line in _lines(tree):
            fault = _fault(node, labels)
            if fault:
                raise SettingsError(f"{file}:{line + before} {fault}")
        return environment.from_string(text)
    except TemplateSyntaxError as error:
        raise SettingsError(f"{file}:{error.lineno + before} {error.message}") from None


def _fault(node: nodes.Node, labels: Mapping[str, str]) -> str | None:
    if isinstance(node, nodes.Name) and node.name not in labels:
        return (
            f"shows {node.name!r}, which is not an allowed label; "
            "add it to labels in notifications.yml if it never tells of a person"
        )
    if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
        return f"has an unknown filter {node.name!r}; known: {', '.join(_FILTERS)}"
    if not isinstance(node, _TAGS):
        return f"may hold labels and conditions only, no {type(node).__name__}"
    return None


def _lines(node: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    yield node, node.lineno
    for child in node.iter_child_nodes():
        yield from _lines(child)


def _template(environment: ImmutableSandboxedEnvironment, path: Path, root: Path) -> Template:
    """The layout: it sees what was rendered already, so it may loop; it is tried once."""
    name, text = path.relative_to(root).as_posix(), _read(path, root)
    try:
        found = environment.from_string(text)
        known = {*_LAYOUT_NAMES}
        for node in environment.parse(text).find_all(nodes.Name):
            if node.ctx == "store":
                known.add(node.name)
        for node in environment.parse(text).find_all(nodes.Name):
            if node.name not in known:
                raise SettingsError(f"{name}:{node.lineno} shows an unknown {node.name!r}")
        example = [Block("Text"), Block("", (("Name", "value"), ("Open", "https://example.org")))]
        found.render(subject="s", blocks=example, severity="critical", language="en")
        return found
    except TemplateSyntaxError as error:
        raise SettingsError(f"{name}:{error.lineno} {error.message}") from None
    except TemplateError:
        raise SettingsError(f"{name} cannot be rendered; restore it from the suite") from None


def _read(path: Path, root: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path.relative_to(root).as_posix()} cannot be read") from None


def _blocks(text: str) -> Iterator[Block]:
    for paragraph in text.strip().split("\n\n"):
        facts = [_FACT.fullmatch(line) for line in paragraph.splitlines()]
        if all(facts):
            yield Block("", tuple((fact[1], fact[2]) for fact in facts if fact))
        else:
            yield Block(paragraph)
