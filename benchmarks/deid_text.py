"""Recall and over-masking of free-text scrubbing per kind, on a simulated trial's planted canaries.

Run by hand: `python benchmarks/deid_text.py 200`; prints the tables that benchmarks/README.md
keeps. Recall: planted values of a kind of which no word is left in the text they were planted in.
Over-masking: places taken out in which none of the subject's identifiers stands, on the same texts
and on the codes' displays of the trial, which name nobody.
"""

import re
import sys
import tempfile
import time
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from clinical_lakehouse.methods.deid import presidio
from clinical_lakehouse.methods.deid.known_identity import Known, known_of, known_spans
from clinical_lakehouse.methods.deid.patterns import pattern_spans
from clinical_lakehouse.methods.deid.spans import Span, masked
from clinical_lakehouse.simulation import TrialPlan, simulate
from clinical_lakehouse.simulation.identity import KINDS

Finder = Callable[[str, Known], Iterable[Span]]
Trial = tuple[list[tuple[str, str, list[tuple[str, str]]]], dict, dict, list[str]]
_STEP = re.compile(r"([A-Za-z]+)(?:\[(\d+)])?")
_WORD = re.compile(r"[^\W_]{5,}")
_A_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|(?<!\d)9\d(?=-year-old)|(?<!\d)1[0-2]\d(?=-year-old)")


def main(patients: int) -> None:
    """One table: rows are kinds, columns the ways of looking."""
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), TrialPlan(patients=patients))
        truth = orjson.loads((Path(folder) / "truth.json").read_bytes())
        newest = _newest(Path(folder))
    texts = _texts(truth["canaries"], newest)
    displays = sorted(set(_displays([*newest.values()])))
    known = {of: known_of(newest["Patient", of]) for of in {text[1] for text in texts}}
    _print(
        f"{len(texts):,} texts of {len(known):,} subjects; {len(displays):,} displays of codes\n"
    )
    own: dict[str, set[str]] = defaultdict(set)
    for row in truth["canaries"]:
        if row["resource_type"] == "Patient":
            own[row["id"]].add(row["value"])
    for name, find in _finders().items():
        _report(name, find, (texts, known, own, displays))


def _finders() -> dict[str, Finder]:
    made: dict[str, Finder] = {
        "patterns alone": lambda text, _: pattern_spans(text),
        "known identity alone": known_spans,
        "both": lambda text, who: [*pattern_spans(text), *known_spans(text, who)],
    }
    if presidio.is_installed():
        find = presidio.recogniser()
        made["Presidio alone (persons, places)"] = lambda text, _: find(text)
        made["both and Presidio"] = lambda text, who: [*made["both"](text, who), *find(text)]
    else:
        _print("Presidio is not installed: pip install 'clinical-lakehouse[nlp]'\n")
    return made


def _report(name: str, find: Finder, trial: Trial) -> None:
    texts, known, own, displays = trial
    planted, gone, wrong, taken = Counter[str](), Counter[str](), Counter[str](), 0
    start = time.perf_counter()
    found = [list(find(text, known[of])) for text, of, _ in texts]
    seconds = time.perf_counter() - start
    for (text, of, values), places in zip(texts, found, strict=True):
        left = masked(text, places).text
        for kind, value in values:
            planted[kind] += 1
            words = _WORD.findall(value) or [value]
            gone[kind] += not any(word in left for word in words)
        right = [m.span() for value in own[of] for m in re.finditer(re.escape(value), text)]
        right += [m.span() for m in _A_DATE.finditer(text)]
        for place in places:
            if not any(start < place.end and place.start < end for start, end in right):
                wrong[place.kind] += 1
    for display in displays:
        taken += bool(list(find(display, {})))
    _print(f"### {name}\n\n| kind | planted | recall | wrongly taken |\n|---|--:|--:|--:|")
    for kind in KINDS:
        recall = f"{gone[kind] / planted[kind]:.3f}" if planted[kind] else "-"
        _print(f"| {kind} | {planted[kind]:,} | {recall} | {wrong[kind]:,} |")
    _print(f"\nDisplays of codes touched: {taken} of {len(displays)}; ")
    _print(f"{len(texts) / seconds:,.0f} texts/s.\n")


def _newest(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in folder.glob("*.ndjson"):
        for line in path.read_bytes().splitlines():
            try:
                made = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(made, dict) and isinstance(made.get("id"), str):
                found[made.get("resourceType", ""), made["id"]] = made
    return found


def _texts(canaries: list, newest: dict) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Each free text outside Patient with its subject's id and what was planted in it."""
    planted: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in canaries:
        planted[row["resource_type"], row["id"], row["path"]].append((row["kind"], row["value"]))
    made = []
    for (resource_type, resource_id, path), values in planted.items():
        resource = newest[resource_type, resource_id]
        text = _at(resource, path)
        if resource_type != "Patient" and isinstance(text, str):
            subject = resource["subject"]["reference"].removeprefix("Patient/")
            made.append((text, subject, values))
    return made


def _at(node: Any, path: str) -> Any:
    is_note = path.startswith("DocumentReference.")
    for name, index in _STEP.findall(path.partition(".")[2]):
        node = node[name][int(index)] if index else node[name]
    return b64decode(node).decode() if is_note else node


def _displays(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "code" in node and isinstance(node.get("display"), str):
            yield node["display"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _displays(child)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
