"""Silver: flattened FHIR R4 and trial records, no direct identifiers, dates shifted per person."""

from clinical_lakehouse.tables.contract import Column, Phi, Table, key, ordered, refers_to

_OWNER = "data-engineering"
_PSEUDONYM = Phi.PSEUDONYM


def _at(name: str, comment: str) -> Column:
    return Column(name, "TIMESTAMP", f"{comment} (UTC, shifted per person).", phi=_PSEUDONYM)


def _coding(prefix: str, comment: str) -> tuple[Column, ...]:
    """The first coding of a CodeableConcept: system URI, code and display."""
    lead = f"{prefix}_" if prefix else ""
    return (
        Column(f"{lead}code_system", "STRING", f"{comment}: code system URI."),
        Column(f"{lead}code", "STRING", f"{comment}: code."),
        Column(f"{lead}display", "STRING", f"{comment}: the code's display."),
    )


_SUBJECT = key("subject_key", "The person: silver.patient.")
_ENCOUNTER = key("encounter_key", "The visit: silver.encounter.", nullable=True)

PATIENT = Table(
    name="silver.patient",
    comment="One row per person (FHIR Patient), without direct identifiers.",
    owner=_OWNER,
    key=("subject_key",),
    columns=(
        key("subject_key", "The person."),
        Column("sex", "STRING", "Administrative gender: male, female, other, unknown."),
        Column("birth_year", "INT", "Null for people older than 89 years.", phi=Phi.QUASI),
        Column("is_over_89", "BOOLEAN", "Older than 89 years at the run (164.514(b)(2)(i)(C))."),
        Column("race_code", "STRING", "OMB race category code (US Core).", phi=Phi.QUASI),
        Column("race", "STRING", "OMB race category.", phi=Phi.QUASI),
        Column("ethnicity_code", "STRING", "OMB ethnicity category code.", phi=Phi.QUASI),
        Column("ethnicity", "STRING", "OMB ethnicity category.", phi=Phi.QUASI),
        Column("state", "STRING", "State of residence.", phi=Phi.QUASI),
        _at("deceased_at", "Time of death"),
        Column("is_deceased", "BOOLEAN", "Known to have died."),
        key("organization_key", "Managing organization: the site.", nullable=True),
    ),
)

ENCOUNTER = Table(
    name="silver.encounter",
    comment="One row per encounter (FHIR Encounter); trial visits carry a visit code.",
    owner=_OWNER,
    key=("encounter_key",),
    columns=(
        key("encounter_key", "The encounter."),
        _SUBJECT,
        Column("status", "STRING", "FHIR EncounterStatus; cancelled = missed visit."),
        Column("class_code", "STRING", "v3-ActCode: AMB, IMP, EMER, ..."),
        *_coding("type", "Type of encounter"),
        Column("visit_code", "STRING", "Trial visit, e.g. SCREENING, BASELINE, WEEK-4."),
        _at("started_at", "Start"),
        _at("ended_at", "End"),
        *_coding("reason", "Reason"),
        key("organization_key", "Service provider: the site.", nullable=True),
        key("practitioner_key", "First participant.", nullable=True),
        key("location_key", "First location.", nullable=True),
        key("part_of_key", "The encounter it is part of.", nullable=True),
    ),
    checks=(refers_to("subject_key", PATIENT), ordered("started_at", "ended_at")),
)

ENCOUNTER_COMPLETENESS = Table(
    name="silver.encounter_completeness",
    comment="One row per encounter: has every linked type been loaded up to its export time?",
    owner=_OWNER,
    key=("encounter_key",),
    columns=(
        key("encounter_key", "The encounter: silver.encounter."),
        Column("is_complete", "BOOLEAN", "Nothing that belongs to it is still to come.", False),
        Column("missing_types", "ARRAY<STRING>", "Linked types not loaded that far yet.", False),
    ),
    checks=(refers_to("encounter_key", ENCOUNTER),),
)

CONDITION = Table(
    name="silver.condition",
    comment="One row per condition (FHIR Condition).",
    owner=_OWNER,
    key=("condition_key",),
    columns=(
        key("condition_key", "The condition."),
        _SUBJECT,
        _ENCOUNTER,
        Column("clinical_status", "STRING", "active, recurrence, remission, resolved, ..."),
        Column("verification_status", "STRING", "confirmed, provisional, refuted, ..."),
        Column("category_code", "STRING", "problem-list-item or encounter-diagnosis."),
        *_coding("", "Diagnosis"),
        _at("onset_at", "Onset"),
        _at("abatement_at", "Abatement"),
        _at("recorded_at", "Recorded"),
    ),
    checks=(refers_to("subject_key", PATIENT), ordered("onset_at", "abatement_at")),
)

OBSERVATION = Table(
    name="silver.observation",
    comment="One row per observation value: index 0 is the Observation, 1.. are its components.",
    owner=_OWNER,
    key=("observation_key", "component_index"),
    columns=(
        key("observation_key", "The Observation resource."),
        Column(
            "component_index", "INT", "0 for the Observation itself, 1.. its components.", False
        ),
        _SUBJECT,
        _ENCOUNTER,
        Column("status", "STRING", "FHIR ObservationStatus."),
        Column("category_code", "STRING", "laboratory, vital-signs, survey, ..."),
        *_coding("", "What was measured"),
        _at("effective_at", "Clinically relevant time"),
        Column("value_number", "DOUBLE", "valueQuantity.value or valueInteger, in unit_code."),
        Column("comparator", "STRING", "<, <=, >=, > where the value is a limit."),
        Column("unit_code", "STRING", "UCUM code of the value."),
        Column("unit", "STRING", "Unit as displayed."),
        *_coding("value", "valueCodeableConcept"),
        Column("value_boolean", "BOOLEAN", "valueBoolean."),
        Column("interpretation_code", "STRING", "H, L, N, ..."),
        Column("range_low", "DOUBLE", "Reference range, low, in unit_code."),
        Column("range_high", "DOUBLE", "Reference range, high, in unit_code."),
        Column("has_value", "BOOLEAN", "Any value[x] was sent, free text included."),
    ),
    checks=(refers_to("subject_key", PATIENT),),
)


def _event(name: str, what: str, *columns: Column, start: str = "started_at") -> Table:
    """A table of dated, coded events of a person: key, person, encounter, status, code, ..."""
    return Table(
        name=f"silver.{name}",
        comment=f"One row per {what}.",
        owner=_OWNER,
        key=(f"{name}_key",),
        columns=(
            key(f"{name}_key", "The resource."),
            _SUBJECT,
            _ENCOUNTER,
            Column("status", "STRING", "FHIR status of the resource."),
            *_coding("", "What it is"),
            _at(start, "When"),
            *columns,
        ),
        checks=(refers_to("subject_key", PATIENT),),
    )


MEDICATION_REQUEST = _event(
    "medication_request",
    "prescription (FHIR MedicationRequest)",
    Column("intent", "STRING", "order, plan, ..."),
    Column("dose_value", "DOUBLE", "First dose quantity, in dose_unit."),
    Column("dose_unit", "STRING", "UCUM code of the dose."),
    Column("supply_days", "DOUBLE", "expectedSupplyDuration in days.", unit="d"),
    Column("quantity", "DOUBLE", "dispenseRequest.quantity."),
    Column("refills", "INT", "numberOfRepeatsAllowed."),
    start="authored_at",
)
MEDICATION_ADMINISTRATION = _event(
    "medication_administration",
    "dose given (FHIR MedicationAdministration)",
    _at("ended_at", "End"),
    Column("dose_value", "DOUBLE", "Dose, in dose_unit."),
    Column("dose_unit", "STRING", "UCUM code of the dose."),
    Column("route_code", "STRING", "SNOMED route."),
)
PROCEDURE = _event("procedure", "procedure (FHIR Procedure)", _at("ended_at", "End"))
IMMUNIZATION = _event("immunization", "vaccine dose (FHIR Immunization)", start="occurred_at")
ALLERGY_INTOLERANCE = _event(
    "allergy_intolerance",
    "allergy or intolerance (FHIR AllergyIntolerance); status is its clinical status",
    Column("category_code", "STRING", "food, medication, environment, biologic."),
    Column("criticality", "STRING", "low, high, unable-to-assess."),
    start="recorded_at",
)
DIAGNOSTIC_REPORT = _event(
    "diagnostic_report", "report (FHIR DiagnosticReport)", start="effective_at"
)
DOCUMENT_REFERENCE = _event(
    "document_reference",
    "document's metadata (FHIR DocumentReference), never its text",
    start="authored_at",
)
DEVICE = _event(
    "device",
    "device that belongs to a person (FHIR Device), without its identifiers or dates",
    start="used_at",
)
SPECIMEN = _event(
    "specimen",
    "specimen of a person (FHIR Specimen)",
    Column("quantity", "DOUBLE", "collection.quantity, in unit_code."),
    Column("unit_code", "STRING", "UCUM code of the quantity."),
    Column("unit", "STRING", "Unit as displayed."),
    *_coding("site", "collection.bodySite"),
    start="collected_at",
)
DEVICE_USE = Table(
    name="silver.device_use",
    comment="One row per statement that a device was used (FHIR DeviceUseStatement).",
    owner=_OWNER,
    key=("device_use_key",),
    columns=(
        key("device_use_key", "The resource."),
        _SUBJECT,
        key("device_key", "silver.device.", nullable=True),
        Column("status", "STRING", "active, completed, intended, ..."),
        _at("started_at", "First used"),
        _at("ended_at", "Last used"),
    ),
    checks=(refers_to("subject_key", PATIENT), ordered("started_at", "ended_at")),
)
COVERAGE = Table(
    name="silver.coverage",
    comment="One row per insurance coverage (FHIR Coverage), without member or policy numbers.",
    owner=_OWNER,
    key=("coverage_key",),
    columns=(
        key("coverage_key", "The resource."),
        _SUBJECT,
        Column("status", "STRING", "active, cancelled, ..."),
        *_coding("type", "Kind of coverage"),
        _at("started_at", "Start"),
        _at("ended_at", "End"),
        key("payer_key", "The payer: silver.organization.", nullable=True),
    ),
    checks=(refers_to("subject_key", PATIENT), ordered("started_at", "ended_at")),
)

ADVERSE_EVENT = _event(
    "adverse_event",
    "adverse event (FHIR AdverseEvent); status is its actuality",
    Column("meddra_code", "STRING", "MedDRA PT code where sent."),
    Column("seriousness_code", "STRING", "Non-serious, Serious, ..."),
    Column("severity_code", "STRING", "mild, moderate, severe."),
    Column("outcome_code", "STRING", "resolved, recovering, ongoing, fatal, ..."),
    _at("recorded_at", "Recorded"),
    Column("suspect_code", "STRING", "Code of the first suspect product, if coded."),
    key("study_key", "silver.study.", nullable=True),
    start="occurred_at",
)

STUDY = Table(
    name="silver.study",
    comment="One row per trial (FHIR ResearchStudy).",
    owner=_OWNER,
    key=("study_key",),
    columns=(
        key("study_key", "The trial."),
        Column("title", "STRING", "Title."),
        Column("status", "STRING", "active, completed, ..."),
        Column("phase_code", "STRING", "phase-1 .. phase-4."),
        Column("started_date", "DATE", "Period start."),
        Column("ended_date", "DATE", "Period end."),
    ),
)
SUBJECT = Table(
    name="silver.subject",
    comment="One row per person and trial (FHIR ResearchSubject).",
    owner=_OWNER,
    key=("research_subject_key",),
    columns=(
        key("research_subject_key", "The participation."),
        _SUBJECT,
        key("study_key", "silver.study.", nullable=True),
        key("organization_key", "Site: the person's managing organization.", nullable=True),
        Column("status", "STRING", "on-study, withdrawn, off-study, screening, ..."),
        Column("arm", "STRING", "actualArm, else assignedArm. Unblinded: restricted by role."),
        _at("started_at", "Enrolled"),
        _at("ended_at", "Left the trial"),
    ),
    checks=(refers_to("subject_key", PATIENT), ordered("started_at", "ended_at")),
)


def _directory(name: str, what: str, *columns: Column) -> Table:
    return Table(
        name=f"silver.{name}",
        comment=f"One row per {what}.",
        owner=_OWNER,
        key=(f"{name}_key",),
        columns=(key(f"{name}_key", "The resource."), *columns),
    )


ORGANIZATION = _directory(
    "organization",
    "organization or site (FHIR Organization)",
    Column("name", "STRING", "Name of the organization."),
    Column("type_code", "STRING", "organization-type code."),
    Column("state", "STRING", "State or region."),
)
LOCATION = _directory(
    "location",
    "place (FHIR Location)",
    Column("name", "STRING", "Name of the place."),
    Column("state", "STRING", "State or region."),
    key("organization_key", "Managing organization.", nullable=True),
)
PRACTITIONER = _directory(
    "practitioner",
    "practitioner (FHIR Practitioner), without a name",
    Column("sex", "STRING", "Administrative gender."),
    Column("specialty_code", "STRING", "First qualification's code."),
)
