"""On seeded mutations our verdict is the models' own, but for the differences listed here."""

from collections import Counter

import orjson
import pytest
from fhir.resources.R4B import get_fhir_model_class

from clinical_lakehouse.ingestion.resource_rules import judge
from clinical_lakehouse.ingestion.structure import R4_ONLY, R4B_DIFFERS
from tests.ingestion.mutations import CLASSES, mutants, resources

# Where we refuse what fhir.resources 8.3.0 takes: reason, the mutations that may lead to it, why.
_TEXTS = ("blank", "code", "date-form", "empty-string", "uri")
_MOVED_DATES = ("date-form", "day", "reversed-period", "second-choice", "string-to-number", "uri")
STRICTER = {
    "bad-code": (
        ("blank", "code", "drop", "drop-top", "empty-string", "from-array", "id", "uri",
         "resource-type"),
        "required bindings: the models take any code",
    ),
    "bad-base64": (("blank", "empty-string"), "R4: a value is not empty; the models take it so"),
    "bad-id": (("id",), "id is [A-Za-z0-9-.]{1,64} of every resource, not only of some models"),
    "bad-narrative": (("blank", "empty-string"), "xhtml begins with a div"),
    "bad-uri": (_TEXTS, "uri is \\S+ in R4; the models take spaces and the empty text"),
    "blank-string": (("blank", "empty-string"), "R4: a text is not empty nor only white space"),
    "duplicate-key": (("twice",), "the models see the last of two equal keys only"),
    "empty-array": (("empty-array",), "R4 JSON: an array is never empty"),
    "empty-object": (("empty-object", "drop"), "ele-1: an element has a value or children"),
    "end-before-start": (_MOVED_DATES, "an end is not before its start"),
    "death-before-birth": (_MOVED_DATES, "nobody dies before birth"),
    "missing-id": (("drop", "drop-top"), "bronze and silver know a resource by its id"),
    "missing-resource-type": (("drop", "drop-top"), "the models are told the type"),
    "nul-character": (("nul",), "no NUL in a string; databases do not take it"),
    "null-element": (("null", "null-item"), "R4 JSON: null stands only beside an extension"),
    "period-reversed": (_MOVED_DATES, "per-1: a Period's start is not after its end"),
    "unknown-modifier-extension": (
        tuple(CLASSES), "R4: who does not know a modifier may not read the rest; the models do"
    ),
    "unknown-resource-type": (
        ("drop", "empty-object", "resource-type"),
        "a resource has a concrete type, inside another too; the models take abstract ones",
    ),
    "wrong-type": (
        ("boolean-to-other", "null", "number-to-string", "second-choice", "string-to-number",
         "date-form"),
        "the models turn \"1\" into 1, \"yes\" into true, numbers into dates",
    ),
}  # fmt: skip
LAXER = {
    "no model": "R4 types that R4B dropped: only id and text are judged",
    "R4B reshaped": "Evidence and EvidenceVariable: R4 instances do not fit the R4B models",
    "no-break space": "R4's \\S takes it, the models' regular expressions do not",
    "extension beside": "R4 lets an extension stand beside any primitive, a few models do not",
}


def _model_accepts(raw: bytes) -> bool | None:
    """The judge's verdict; None where it has no model of the type."""
    try:
        name = orjson.loads(raw).get("resourceType", "Patient")
    except (orjson.JSONDecodeError, AttributeError):
        name = "Patient"
    try:
        model = get_fhir_model_class(name)
    except (KeyError, LookupError, TypeError, ValueError):
        return None
    try:
        model.model_validate_json(raw)
    except Exception:  # the models also refuse by a KeyError or an AssertionError
        return False
    return True


def _explained_laxity(name: str, raw: bytes) -> str | None:
    text = raw.decode(errors="replace")
    if any(f'"{type_}"' in text for type_ in R4_ONLY):
        return "no model"
    if any(f'"{type_}"' in text for type_ in R4B_DIFFERS):
        return "R4B reshaped"
    if name == "blank" and ("\u00a0" in text or "\\u00a0" in text):
        return "no-break space"
    return "extension beside" if name == "extension-beside" else None


def _differences(public, count, seed):
    """Unexplained differences with their first case, and how often each explanation was used."""
    unexplained, explained, refused = Counter(), Counter(), Counter()
    for name, raw in mutants(resources(public), count, seed):
        verdict, accepts = judge(raw), _model_accepts(raw)
        refused[name] += verdict.reason is not None
        if verdict.reason is not None and accepts:
            known = name in STRICTER.get(verdict.reason, ((), ""))[0]
            told = (verdict.reason, name, verdict.path)
            (explained if known else unexplained)[told[:1] if known else told] += 1
        elif verdict.reason is None and not accepts:
            why = _explained_laxity(name, raw)
            (explained if why else unexplained)[(why or "laxer", name)] += 1
    return unexplained, explained, refused


# Mutations that leave a valid resource, and those after which nothing is valid.
_HARMLESS = ("unchanged", "spaces", "order", "extension-beside")
_FATAL = (
    *("empty-string", "empty-object", "empty-array", "object-to-string", "nan", "rename", "null"),
    *("boolean-to-other", "number-to-string", "twice", "cut", "trailing", "bom", "nul"),
    *("surrogate", "utf8"),
)


def _check(public, count, seed):
    unexplained, explained, refused = _differences(public, count, seed)
    assert not unexplained
    of_class = count // len(CLASSES)
    assert {n for n in _HARMLESS if refused[n] > of_class * 0.02} == set()
    assert {n for n in _FATAL if refused[n] < of_class * 0.9} == set()
    return explained


@pytest.fixture
def public(public_data):
    for name in ("fhir_r4_examples", "smart_bulk_10_partial"):
        public_data(name)
    return public_data("synthea_r4_10").parent


def test_there_are_at_least_twenty_classes_of_mutation():
    assert len(CLASSES) >= 20


@pytest.mark.soak
def test_verdicts_are_the_models_but_for_the_listed_differences(public):
    _check(public, 3_000, seed=11)


@pytest.mark.soak
def test_verdicts_on_100_000_mutations(public):
    explained = _check(public, 100_000, seed=2024)
    used = {key[0] for key in explained}
    rare = {"death-before-birth", "unknown-resource-type", "end-before-start"}
    assert (set(STRICTER) | set(LAXER)) - rare <= used
