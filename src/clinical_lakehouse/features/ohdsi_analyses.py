"""OHDSI's 118 predefined covariate analyses as data: id, name, table, window and what is counted.

Ids and meaning are those of OHDSI FeatureExtraction (PrespecAnalyses), so that a covariate id made
here names the same thing in every hospital that runs OHDSI's tools.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clinical_lakehouse.errors import UsageError

# Days before the index date at which a window begins; None has no beginning. It ends on day 0.
ANY_TIME, LONG, MEDIUM, SHORT = None, -365, -180, -30
_WINDOWS = {
    "AnyTimePrior": ANY_TIME,
    "LongTerm": LONG,
    "MediumTerm": MEDIUM,
    "ShortTerm": SHORT,
}
_BOUNDED = {name: start for name, start in _WINDOWS.items() if start is not None}


@dataclass(frozen=True)
class Domain:
    """A CDM table of dated concepts: its columns for the concept and the first and last day."""

    table: str
    concept: str
    start: str
    end: str


CONDITION = Domain(
    *("condition_occurrence", "condition_concept_id"),
    *("condition_start_date", "condition_start_date"),
)
CONDITION_ERA = Domain(
    *("condition_era", "condition_concept_id"),
    *("condition_era_start_date", "condition_era_end_date"),
)
DRUG = Domain(
    *("drug_exposure", "drug_concept_id"),
    *("drug_exposure_start_date", "drug_exposure_start_date"),
)
DRUG_ERA = Domain(*("drug_era", "drug_concept_id"), *("drug_era_start_date", "drug_era_end_date"))
PROCEDURE = Domain(
    *("procedure_occurrence", "procedure_concept_id"), *("procedure_date", "procedure_date")
)
DEVICE = Domain(
    *("device_exposure", "device_concept_id"),
    *("device_exposure_start_date", "device_exposure_start_date"),
)
MEASUREMENT = Domain(
    *("measurement", "measurement_concept_id"), *("measurement_date", "measurement_date")
)
OBSERVATION = Domain(
    *("observation", "observation_concept_id"), *("observation_date", "observation_date")
)
VISIT = Domain(*("visit_occurrence", "visit_concept_id"), *("visit_start_date", "visit_end_date"))


@dataclass(frozen=True)
class Analysis:
    """One analysis. `kind` says how it counts; `starts` that only the first day of an era must lie
    in the window; `sub` narrows it (inpatient, distinct, stratified, all)."""

    id: int
    name: str
    kind: str
    domain: Domain | None = None
    window_start: int | None = None
    starts: bool = False
    sub: str = "all"


_DEMOGRAPHICS = (
    *("Gender", "Age", "AgeGroup", "Race", "Ethnicity", "IndexYear", "IndexMonth"),
    *("PriorObservationTime", "PostObservationTime", "TimeInCohort", "IndexYearMonth"),
)
_SCORES = {901: "CharlsonIndex", 902: "Dcsi", 903: "Chads2", 904: "Chads2Vasc", 926: "Hfrs"}
# Why the rest is not computed: whoever asks for it is told so.
NOT_COMPUTED = {
    901: "its lists of about 1,500 concepts are published nowhere else; use charlson_score",
}
DEFAULT_IDS = (
    *(1, 3, 4, 5, 6, 7, 210, 212, 410, 412, 413, 502, 504, 602, 604, 702, 704, 710, 712, 714, 716),
    *(802, 804, 806, 808, 901, 902, 903, 904),
)


def _windowed(
    first: int, name: str, kind: str, domain: Domain, sub: str = "all"
) -> Iterator[Analysis]:
    """Any time, long, medium and short term."""
    for at, (term, start) in enumerate(_WINDOWS.items()):
        yield Analysis(first + at, name + term, kind, domain, start, sub=sub)


def _eras(first: int, name: str, kind: str, domain: Domain) -> Iterator[Analysis]:
    """The four windows, the era that holds the index date, and eras that begin in a window."""
    yield from _windowed(first, name, kind, domain)
    yield Analysis(first + 4, f"{name}Overlapping", kind, domain, 0)
    for at, (term, start) in enumerate(_BOUNDED.items()):
        yield Analysis(first + 5 + at, f"{name}Start{term}", kind, domain, start, starts=True)


def _counts(first: int, name: str, domain: Domain, sub: str) -> Iterator[Analysis]:
    for at, (term, start) in enumerate(_BOUNDED.items()):
        yield Analysis(first + at, name + term, "count", domain, start, sub=sub)


def _all() -> Iterator[Analysis]:
    for number, name in enumerate(_DEMOGRAPHICS, 1):
        yield Analysis(number, f"Demographics{name}", "demographics")
    yield Analysis(12, "CareSiteId", "care_site")
    yield from _windowed(101, "ConditionOccurrence", "concept", CONDITION)
    yield from _windowed(
        105, "ConditionOccurrencePrimaryInpatient", "concept", CONDITION, "inpatient"
    )
    yield from _eras(201, "ConditionEra", "concept", CONDITION_ERA)
    yield from _eras(209, "ConditionGroupEra", "group", CONDITION_ERA)
    yield from _windowed(301, "DrugExposure", "concept", DRUG)
    yield from _eras(401, "DrugEra", "concept", DRUG_ERA)
    yield from _eras(409, "DrugGroupEra", "group", DRUG_ERA)
    yield from _windowed(501, "ProcedureOccurrence", "concept", PROCEDURE)
    yield from _windowed(601, "DeviceExposure", "concept", DEVICE)
    yield from _windowed(701, "Measurement", "concept", MEASUREMENT)
    yield from _windowed(705, "MeasurementValue", "value", MEASUREMENT)
    yield from _windowed(709, "MeasurementRangeGroup", "range", MEASUREMENT)
    yield from _windowed(713, "MeasurementValueAsConcept", "value_concept", MEASUREMENT)
    yield from _windowed(801, "Observation", "concept", OBSERVATION)
    yield from _windowed(805, "ObservationValueAsConcept", "value_concept", OBSERVATION)
    yield from _windowed(809, "ObservationValue", "value", OBSERVATION)
    yield from (Analysis(number, name, "score") for number, name in _SCORES.items())
    yield from _counts(905, "DistinctConditionCount", CONDITION_ERA, "distinct")
    yield from _counts(908, "DistinctIngredientCount", DRUG_ERA, "distinct")
    yield from _counts(911, "DistinctProcedureCount", PROCEDURE, "distinct")
    yield from _counts(914, "DistinctMeasurementCount", MEASUREMENT, "distinct")
    yield from _counts(917, "DistinctObservationCount", OBSERVATION, "distinct")
    yield from _counts(920, "VisitCount", VISIT, "all")
    yield from _counts(923, "VisitConceptCount", VISIT, "stratified")


ANALYSES: dict[int, Analysis] = {analysis.id: analysis for analysis in _all()}


def asked_ids(text: str) -> list[int]:
    """The ids of "1,3,210", of "default" (what FeatureExtraction makes by default) or of "all";
    the two words leave out what is not computed. UsageError where it is neither."""
    if text in ("default", "all"):
        named = DEFAULT_IDS if text == "default" else ANALYSES
        return [number for number in named if number not in NOT_COMPUTED]
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words):
        raise UsageError("analyses must be default, all, or ids such as 1,3,210")
    return [int(word) for word in words]


def chosen(ids: Sequence[int]) -> list[Analysis]:
    """The analyses of those ids; UsageError names an id that does not exist or is not computed."""
    for number in ids:
        if number not in ANALYSES:
            raise UsageError(f"no analysis {number}; OHDSI's predefined ones are 1 to 926")
        if number in NOT_COMPUTED:
            name = ANALYSES[number].name
            raise UsageError(f"analysis {number} ({name}) is not computed: {NOT_COMPUTED[number]}")
    return [ANALYSES[number] for number in sorted(set(ids))]


def tables_needed(analyses: Sequence[Analysis]) -> set[str]:
    """The omop tables that these analyses read."""
    needed = {a.domain.table for a in analyses if a.domain}
    for analysis in analyses:
        needed |= _ALSO.get(analysis.kind, set())
    return needed


_ALSO = {
    "demographics": {"person", "observation_period", "concept"},
    "care_site": {"person", "visit_occurrence", "visit_detail"},
    "group": {"concept", "concept_ancestor"},
    "score": {"person", "condition_era", "concept", "concept_ancestor", "concept_relationship"},
}
