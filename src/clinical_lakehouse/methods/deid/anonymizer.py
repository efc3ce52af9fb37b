"""Microsoft's FHIR anonymizer: the rules of a configuration applied to a parsed R4 resource."""

from collections.abc import Iterator, Mapping
from datetime import date
from random import Random, SystemRandom
from typing import Any

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.deid.anonymizer_config import Configuration, Rule
from clinical_lakehouse.methods.deid.anonymizer_methods import METHODS, Step
from clinical_lakehouse.methods.deid.fhir_tree import Node, append, json_of, prune, tree_of
from clinical_lakehouse.methods.deid.fhirpath_evaluation import values_of
from clinical_lakehouse.methods.deid.fhirpath_functions import MISFITS

_GENERAL = frozenset(("", "Resource", "DomainResource"))
_OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
# In the order in which the tool writes them; CRYTOHASH is the code system's own spelling.
_LABELS = {
    "REDACTED": {"system": _OBSERVATION_VALUE, "code": "REDACTED", "display": "redacted"},
    "ABSTRED": {"system": _OBSERVATION_VALUE, "code": "ABSTRED", "display": "abstracted"},
    "CRYTOHASH": {
        "system": _OBSERVATION_VALUE,
        "code": "CRYTOHASH",
        "display": "cryptographic hash function",
    },
    "ENCRYPT": {"code": "ENCRYPT", "display": "exact value is transformed into ciphertext"},
    "PERTURBED": {
        "code": "PERTURBED",
        "display": "exact value is replaced with another exact value",
    },
    "SUBSTITUTED": {
        "code": "SUBSTITUTED",
        "display": "exact value is replaced with a predefined value",
    },
    "GENERALIZED": {
        "code": "GENERALIZED",
        "display": "exact value is replaced with a general value",
    },
}


def anonymized(
    resource: Mapping[str, Any],
    configuration: Configuration,
    as_of: date,
    scope: str = "",
    *,
    noise: Random | None = None,
) -> dict[str, Any]:
    """One resource under the rules, labelled in `meta.security` with what was done to it.

    The first rule that reaches an element decides; what no rule reaches stays. Ages over 89 are
    those on `as_of`. `scope` is the file's or folder's name where dates shift by it. SourceError
    where the resource is not FHIR R4, or a rule cannot be applied and errors are not skipped.
    """
    root = tree_of(resource)
    step = Step(configuration.parameters, as_of, scope, noise or SystemRandom(), set(), set())
    try:
        _visit(root, configuration.rules, step)
    except SourceError:
        if not configuration.is_skipping:
            raise
        label = {"security": [_LABELS["REDACTED"]]}
        return {"resourceType": root.type, "meta": label}
    prune(root)
    return json_of(root)


def _visit(node: Node, rules: tuple[Rule, ...], step: Step) -> set[str]:
    """Apply the rules to a resource, then to those inside it; gives what was done, and labels."""
    done: set[str] = set()
    for rule in rules:
        if rule.resource_type in _GENERAL or rule.resource_type == node.type:
            for found in _matches(rule, node):
                _apply(found, rule, step.counting(done))
    for inner in _inner_resources(node):
        done |= _visit(inner, rules, step)
    if node.element.name != "contained":
        _label(node, done)
    return done


def _matches(rule: Rule, node: Node) -> list[Node]:
    if rule.path == rule.resource_type:
        return [node]
    try:
        found = values_of(rule.find, node)
    except MISFITS:
        raise SourceError(f"rule {rule.path!r} does not fit a {node.type}; correct it") from None
    return [item for item in found if isinstance(item, Node)]


def _apply(node: Node, rule: Rule, step: Step) -> None:
    """The method on a node and all under it, except what an earlier rule has decided."""
    if node in step.decided:
        return
    METHODS[rule.method](node, rule, step)
    step.decided.add(node)
    for child in list(node.children):
        if not child.is_resource:
            _apply(child, rule, step)


def _inner_resources(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.is_resource:
            yield child
        else:
            yield from _inner_resources(child)


def _label(node: Node, done: set[str]) -> None:
    if not done:
        return
    if not node.named("meta"):
        append(node, "meta", {})
    meta = node.named("meta")[0]
    codes = [code.value for label in meta.named("security") for code in label.named("code")]
    for name, label in _LABELS.items():
        if name in done and name not in codes:
            append(meta, "security", label)
