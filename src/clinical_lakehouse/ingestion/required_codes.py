"""Required bindings that fhir.resources leaves out or shortens ("registered | preliminary | +").

Source: FHIR R4 (4.0.1), the value sets of the elements' required bindings. Every other required
binding of a `code` is in the models' own `enum_values`. Left open, because their value sets are
rules or registers outside FHIR: SPDX licences (ImplementationGuide.license), UCUM units
(ResearchElementDefinition.characteristic.unitOfMeasure), LOINC answer list LL379-9
(MolecularSequence.structureVariant.variantType).
"""

from collections.abc import Mapping


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_OBSERVATION_STATUS = (
    "registered",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "cancelled",
    "entered-in-error",
    "unknown",
)
_ENCOUNTER_STATUS = (
    "planned",
    "arrived",
    "triaged",
    "in-progress",
    "onleave",
    "finished",
    "cancelled",
    "entered-in-error",
    "unknown",
)
_REQUEST_STATUS = ("draft", "active", "suspended", "cancelled", "completed", "entered-in-error")
_ITEM_TYPES = (
    "group",
    "display",
    "question",
    "boolean",
    "decimal",
    "integer",
    "date",
    "dateTime",
    "time",
    "string",
    "text",
    "url",
    "choice",
    "open-choice",
    "attachment",
    "reference",
    "quantity",
)
_TASK_STATUS = (
    "draft",
    "requested",
    "received",
    "accepted",
    "rejected",
    "ready",
    "cancelled",
    "in-progress",
    "on-hold",
    "failed",
    "completed",
    "entered-in-error",
)
_COMPARATORS = ("<", "<=", ">=", ">")
_FHIR_VERSIONS = (
    "0.01 0.05 0.06 0.11 0.0.80 0.0.81 0.0.82 0.4.0 0.5.0 1.0.0 1.0.1 1.0.2 1.1.0 1.4.0 1.6.0 "
    "1.8.0 3.0.0 3.0.1 3.3.0 3.5.0 4.0.0 4.0.1"
)

REQUIRED_CODES: Mapping[str, tuple[str, ...]] = {
    "ActivityDefinition.kind": _words(
        "Appointment AppointmentResponse CarePlan Claim CommunicationRequest Contract "
        "DeviceRequest EnrollmentRequest ImmunizationRecommendation MedicationRequest "
        "NutritionOrder ServiceRequest SupplyRequest Task VisionPrescription"
    ),
    "AuditEvent.action": _words("C R U D E"),
    "AuditEvent.outcome": _words("0 4 8 12"),
    "AuditEventAgentNetwork.type": _words("1 2 3 4 5"),
    "CapabilityStatement.fhirVersion": _words(_FHIR_VERSIONS),
    "CapabilityStatement.format": (),  # MIME types, or the short names xml and json
    "Composition.confidentiality": _words("U L M N R V"),
    "ImplementationGuide.fhirVersion": _words(_FHIR_VERSIONS),
    "ImplementationGuideDefinitionResource.fhirVersion": _words(_FHIR_VERSIONS),
    "OperationOutcomeIssue.code": _words(
        "invalid structure required value invariant security login unknown expired forbidden "
        "suppressed processing not-supported duplicate multiple-matches not-found deleted "
        "too-long code-invalid extension too-costly business-rule conflict transient lock-error "
        "no-store exception timeout incomplete throttled informational"
    ),
    "StructureDefinition.fhirVersion": _words(_FHIR_VERSIONS),
    "StructureMapGroupRuleTarget.transform": _words(
        "create copy truncate escape cast append translate reference dateOp uuid pointer "
        "evaluate cc c qty id cp"
    ),
    "TimingRepeat.when": _words(
        "MORN MORN.early MORN.late NOON AFT AFT.early AFT.late EVE EVE.early EVE.late NIGHT PHS "
        "HS WAKE C CM CD CV AC ACM ACD ACV PC PCM PCD PCV"
    ),
    "DetectedIssue.status": _OBSERVATION_STATUS,
    "Observation.status": _OBSERVATION_STATUS,
    "RiskAssessment.status": _OBSERVATION_STATUS,
    "DiagnosticReport.status": (*_OBSERVATION_STATUS, "partial", "appended"),
    "Encounter.status": _ENCOUNTER_STATUS,
    "EncounterStatusHistory.status": _ENCOUNTER_STATUS,
    "DeviceUdiCarrier.entryType": (
        "barcode",
        "rfid",
        "manual",
        "card",
        "self-reported",
        "unknown",
    ),
    "DeviceUseStatement.status": (
        "active",
        "completed",
        "entered-in-error",
        "intended",
        "stopped",
        "on-hold",
    ),
    "QuestionnaireItem.type": _ITEM_TYPES,
    "SupplyRequest.status": (*_REQUEST_STATUS, "unknown"),
    "Task.status": _TASK_STATUS,
    "Quantity.comparator": _COMPARATORS,
    "Age.comparator": _COMPARATORS,
    "Count.comparator": _COMPARATORS,
    "Distance.comparator": _COMPARATORS,
    "Duration.comparator": _COMPARATORS,
}

_HL7 = "http://terminology.hl7.org/CodeSystem/"
# CodeableConcepts with a required binding: the code system and its codes.
REQUIRED_CONCEPTS: Mapping[str, tuple[str, frozenset[str]]] = {
    element: (_HL7 + system, frozenset(codes.split()))
    for elements, system, codes in (
        (
            "AdverseEvent.outcome",
            "adverse-event-outcome",
            "resolved recovering ongoing resolvedWithSequelae fatal unknown",
        ),
        ("AdverseEvent.severity", "adverse-event-severity", "mild moderate severe"),
        (
            "AllergyIntolerance.clinicalStatus",
            "allergyintolerance-clinical",
            "active inactive resolved",
        ),
        (
            "AllergyIntolerance.verificationStatus",
            "allergyintolerance-verification",
            "unconfirmed confirmed refuted entered-in-error",
        ),
        (
            "Condition.clinicalStatus",
            "condition-clinical",
            "active recurrence relapse inactive remission resolved",
        ),
        (
            "Condition.verificationStatus",
            "condition-ver-status",
            "unconfirmed provisional differential confirmed refuted entered-in-error",
        ),
        (
            "InsurancePlanPlanSpecificCostBenefitCost.applicability",
            "applicability",
            "in-network out-of-network other",
        ),
        (
            "Measure.improvementNotation MeasureReport.improvementNotation",
            "measure-improvement-notation",
            "increase decrease",
        ),
        ("SupplyDelivery.type", "supply-item-type", "medication device"),
    )
    for element in elements.split()
}

_MIME_TYPE = r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;.+)?"  # RFC 6838 names, with parameters
# Value sets that are a rule: BCP 13 (MIME types) and ISO 4217 (currencies; the form only).
REQUIRED_PATTERNS: Mapping[str, str] = {
    "Money.currency": r"[A-Z]{3}",
    **dict.fromkeys(("Attachment.contentType", "Binary.contentType"), _MIME_TYPE),
    **dict.fromkeys(("Signature.sigFormat", "Signature.targetFormat"), _MIME_TYPE),
}

# Elements that name a type: a resource type, or (True) a data type as well.
REQUIRED_TYPES: Mapping[str, bool] = {
    **dict.fromkeys(
        (
            "CapabilityStatementRestResource.type",
            "CompartmentDefinitionResource.code",
            "ExampleScenarioInstance.resourceType",
            "GraphDefinition.start",
            "GraphDefinitionLinkTarget.type",
            "ImplementationGuideGlobal.type",
            "MessageDefinitionFocus.code",
            "OperationDefinition.resource",
            "Questionnaire.subjectType",
            "SearchParameter.base",
            "SearchParameter.target",
        ),
        False,
    ),
    **dict.fromkeys(
        (
            "DataRequirement.type",
            "OperationDefinitionParameter.type",
            "ParameterDefinition.type",
            "TestScriptSetupActionAssert.resource",
            "TestScriptSetupActionOperation.resource",
        ),
        True,
    ),
}
DATA_TYPES = frozenset(
    _words(
        "Address Age Annotation Any Attachment BackboneElement CodeableConcept Coding "
        "ContactDetail ContactPoint Contributor Count DataRequirement Distance Dosage Duration "
        "Element ElementDefinition Expression Extension HumanName Identifier MarketingStatus Meta "
        "Money MoneyQuantity Narrative ParameterDefinition Period Population ProdCharacteristic "
        "ProductShelfLife Quantity Range Ratio Reference RelatedArtifact SampledData Signature "
        "SimpleQuantity SubstanceAmount Timing TriggerDefinition Type UsageContext base64Binary "
        "boolean canonical code date dateTime decimal id instant integer markdown oid positiveInt "
        "string time unsignedInt uri url uuid xhtml"
    )
)
