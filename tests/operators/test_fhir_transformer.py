"""What is exported as FHIR is valid and, read again, is silver as it was, keys included."""

import json
from dataclasses import replace

import orjson
import pytest
from click.testing import CliRunner
from fhir.resources.R4B import get_fhir_model_class
from pyspark.sql import functions as F

from clinical_lakehouse import cli
from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.resource_rules import judge
from clinical_lakehouse.operators.fhir_transformer import READS, FHIRTransformer
from clinical_lakehouse.runtime.run import Run
from clinical_lakehouse.runtime.settings import load_settings
from clinical_lakehouse.tables import silver
from tests.ingestion.chain import AS_OF, SILVER, ingest, new_lake, write_lines

HL7 = "http://terminology.hl7.org/CodeSystem/"
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"


def _concept(code, system=LOINC, display=None):
    coding = {"system": system, "code": code, **({"display": display} if display else {})}
    return {"coding": [coding]}


def _amount(value, code="mg", **more):
    return {"value": value, "unit": code, "system": UCUM, "code": code, **more}


def _of(name, id_, about="subject", **more):
    return {"resourceType": name, "id": id_, about: {"reference": "Patient/anna"}, **more}


VISIT = {"encounter": {"reference": "Encounter/e"}}
RACE = {
    "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
    "extension": [
        {
            "url": "ombCategory",
            "valueCoding": {
                "system": "urn:oid:2.16.840.1.113883.6.238",
                "code": "2106-3",
                "display": "White",
            },
        },
        {"url": "text", "valueString": "White"},
    ],
}
GLUCOSE = {
    "code": _concept("2345-7", display="Glucose"),
    "valueQuantity": _amount(5.25, "mmol/L", comparator="<"),
    "interpretation": [_concept("H", f"{HL7}v3-ObservationInterpretation")],
    "referenceRange": [{"low": _amount(3.9, "mmol/L"), "high": _amount(5.6, "mmol/L")}],
}
RESOURCES = (
    {
        "resourceType": "Patient",
        "id": "anna",
        "extension": [RACE],
        "gender": "female",
        "birthDate": "1962-05-04",
        "deceasedDateTime": "2024-05-01T08:00:00.125Z",
        "address": [{"state": "MA", "postalCode": "02139", "line": ["1 Way"]}],
        "managingOrganization": {"reference": "Organization/site"},
        "name": [{"family": "Canary"}],
    },
    {"resourceType": "Patient", "id": "old", "birthDate": "1920-01-01", "deceasedBoolean": True},
    _of(
        "Encounter",
        "e",
        status="finished",
        type=[
            _concept("185349003", SNOMED, "Check up"),
            _concept("WEEK-4", "https://clinical-lakehouse.example/visit"),
        ],
        period={"start": "2024-01-05T10:00:00+02:00", "end": "2024-01-05T11:00:00Z"},
        reasonCode=[_concept("E11.9", "http://hl7.org/fhir/sid/icd-10-cm")],
        serviceProvider={"reference": "Organization/site"},
        participant=[{"individual": {"reference": "Practitioner/doc"}}],
        location=[{"location": {"reference": "Location/ward"}}],
        **{"class": {"system": f"{HL7}v3-ActCode", "code": "AMB"}},
    ),
    _of("Encounter", "bare", status="planned", **{"class": {"display": "no code"}}),
    _of(
        "Condition",
        "c",
        clinicalStatus=_concept("active", f"{HL7}condition-clinical"),
        verificationStatus=_concept("confirmed", f"{HL7}condition-ver-status"),
        category=[_concept("encounter-diagnosis", f"{HL7}condition-category")],
        code=_concept("E11.9", "http://hl7.org/fhir/sid/icd-10-cm", "Type 2 diabetes"),
        onsetDateTime="2020-03",
        recordedDate="2024-01-05",
        **VISIT,
    ),
    _of(
        "Observation",
        "o",
        status="final",
        category=[_concept("laboratory", f"{HL7}observation-category")],
        effectiveDateTime="2024-01-05T10:00:00Z",
        **GLUCOSE,
        **VISIT,
    ),
    _of(
        "Observation",
        "parts",
        status="final",
        code=_concept("85354-9"),
        component=[
            {"code": _concept("8480-6"), "valueQuantity": _amount(120, "mm[Hg]")},
            {"code": {"text": "no code"}, "valueBoolean": False},
            {"code": _concept("72166-2"), "valueCodeableConcept": _concept("LA18976-3")},
            {"code": _concept("x"), "valueString": "Canary said no"},
        ],
    ),
    _of("Observation", "whole", status="final", code=_concept("x"), valueInteger=3),
    _of("Observation", "told", status="final", code={"text": "Canary"}, valueString="Canary"),
    _of(
        "MedicationRequest",
        "mr",
        status="active",
        intent="order",
        medicationCodeableConcept=_concept("860975", "http://www.nlm.nih.gov/research/umls/rxnorm"),
        authoredOn="2024-01-05",
        dosageInstruction=[{"doseAndRate": [{"doseQuantity": _amount(500)}]}],
        dispenseRequest={
            "numberOfRepeatsAllowed": 2,
            "quantity": {"value": 60},
            "expectedSupplyDuration": _amount(2, "wk"),
        },
        **VISIT,
    ),
    _of(
        "MedicationRequest",
        "mr2",
        status="active",
        intent="plan",
        medicationCodeableConcept={"text": "Canary's herbs"},
    ),
    _of(
        "MedicationAdministration",
        "ma",
        status="completed",
        medicationCodeableConcept=_concept("1"),
        effectivePeriod={"start": "2024-01-05T10:00:00Z", "end": "2024-01-05T10:30:00Z"},
        dosage={"dose": _amount(2.5), "route": _concept("26643006", SNOMED)},
        context={"reference": "Encounter/e"},
    ),
    _of(
        "MedicationAdministration",
        "ma2",
        status="completed",
        medicationCodeableConcept=_concept("1"),
        _effectiveDateTime={"extension": [{"url": "https://x.org/y", "valueCode": "unknown"}]},
    ),
    _of("Procedure", "p", status="completed", code=_concept("1", SNOMED), performedDateTime="2024"),
    _of(
        "Immunization",
        "i",
        "patient",
        status="completed",
        vaccineCode=_concept("140", "http://hl7.org/fhir/sid/cvx"),
        occurrenceDateTime="2024-01-05",
        **VISIT,
    ),
    _of(
        "Immunization",
        "i2",
        "patient",
        status="not-done",
        vaccineCode={"text": "Canary"},
        occurrenceString="when Canary was small",
    ),
    _of(
        "AllergyIntolerance",
        "ai",
        "patient",
        clinicalStatus=_concept("active", f"{HL7}allergyintolerance-clinical"),
        category=["food"],
        criticality="high",
        code=_concept("1", SNOMED),
        recordedDate="2024-01-05",
    ),
    _of("DiagnosticReport", "d", status="final", code=_concept("58410-2"), **VISIT),
    _of(
        "DocumentReference",
        "doc",
        status="current",
        type=_concept("34117-2"),
        date="2024-01-05T10:00:00Z",
        content=[{"attachment": {"title": "Canary"}}],
        context={"encounter": [{"reference": "Encounter/e"}]},
    ),
    _of(
        "AdverseEvent",
        "ae",
        actuality="actual",
        event={
            "coding": [
                {"system": SNOMED, "code": "422587007"},
                {"system": "https://www.meddra.org", "code": "10028813"},
            ]
        },
        date="2024-02-01",
        recordedDate="2024-02-02",
        seriousness=_concept("Non-serious", f"{HL7}adverse-event-seriousness"),
        severity=_concept("mild", f"{HL7}adverse-event-severity"),
        outcome=_concept("resolved", f"{HL7}adverse-event-outcome"),
        study=[{"reference": "ResearchStudy/s"}],
    ),
    _of("Device", "dev", "patient", status="active", type=_concept("1", SNOMED)),
    _of(
        "DeviceUseStatement",
        "du",
        status="active",
        device={"reference": "Device/dev"},
        timingPeriod={"start": "2024-01-05"},
    ),
    _of(
        "Specimen",
        "sp",
        status="available",
        type=_concept("119297000", SNOMED),
        collection={
            "collectedDateTime": "2024-01-05",
            "quantity": _amount(5, "mL"),
            "bodySite": _concept("368208006", SNOMED),
        },
    ),
    _of(
        "Coverage",
        "cov",
        "beneficiary",
        status="active",
        type=_concept("HIP", f"{HL7}v3-ActCode"),
        period={"start": "2024-01-01"},
        payor=[{"reference": "Organization/payer"}],
    ),
    _of(
        "ResearchSubject",
        "rs",
        "individual",
        status="on-study",
        study={"reference": "ResearchStudy/s"},
        period={"start": "2024-01-01"},
        actualArm="A",
    ),
    {
        "resourceType": "ResearchStudy",
        "id": "s",
        "title": "Trial",
        "status": "active",
        "phase": _concept("phase-2", f"{HL7}research-study-phase"),
        "period": {"start": "2023-12-01"},
    },
    {
        "resourceType": "Organization",
        "id": "site",
        "name": "Site",
        "type": [_concept("prov", f"{HL7}organization-type")],
        "address": [{"state": "MA"}],
    },
    {"resourceType": "Organization", "id": "payer", "name": "Payer"},
    {
        "resourceType": "Location",
        "id": "ward",
        "name": "Ward",
        "address": {"state": "MA"},
        "managingOrganization": {"reference": "Organization/payer"},
    },
    {
        "resourceType": "Practitioner",
        "id": "doc",
        "gender": "male",
        "qualification": [{"code": _concept("MD", f"{HL7}v2-0360")}],
    },
)


@pytest.fixture(scope="module")
def exported(spark, tmp_path_factory):
    """A lake with every kind of silver row; the run; the export in both layouts."""
    folder = tmp_path_factory.mktemp("export")
    lake = new_lake(spark, folder / "lake")
    write_lines(folder / "landing" / "all.ndjson", *RESOURCES)
    said = ingest(lake, folder / "landing")
    assert said["validate"]["resources_quarantined"] == 0
    run = Run(lake.scoped(READS, ()), load_settings("dev", environ={}), AS_OF, "export")
    say = {
        layout: FHIRTransformer(folder / layout, layout, agreement="DUA-7").execute(run)
        for layout in ("bundle", "ndjson")
    }
    return lake, run, folder, say


def _contents(folder):
    lines = [line for path in folder.glob("*.ndjson") for line in path.read_bytes().splitlines()]
    bundles = [orjson.loads(path.read_bytes()) for path in folder.glob("*.json")]
    inner = [entry["resource"] for bundle in bundles for entry in bundle.get("entry", ())]
    return [*lines, *(orjson.dumps(resource) for resource in inner)]


@pytest.mark.soak
def test_every_resource_is_valid_by_our_rules_and_by_the_models(exported):
    _, _, folder, say = exported
    for layout in ("bundle", "ndjson"):
        found = _contents(folder / layout)
        assert len(found) == say[layout]["resources"]
        for raw in found:
            verdict = judge(raw)
            assert (verdict.reason, verdict.path) == (None, None), raw
            get_fhir_model_class(verdict.resource_type).model_validate_json(raw)
    assert len(_contents(folder / "ndjson")) == len(RESOURCES)
    for path in (folder / "bundle").glob("*.json"):
        get_fhir_model_class("Bundle").model_validate_json(path.read_bytes())


@pytest.mark.soak
def test_a_bundle_holds_all_that_its_references_lead_to(exported):
    lake, _, folder, _ = exported
    (anna,) = lake.read(silver.PATIENT).filter("NOT is_over_89").collect()
    bundle = json.loads((folder / "bundle" / f"{anna.subject_key}.json").read_bytes())
    resources = [entry["resource"] for entry in bundle["entry"]]
    assert len(resources) == len(RESOURCES) - 1  # all but the other person
    there = {f"{one['resourceType']}/{one['id']}" for one in resources}
    text = json.dumps(bundle)
    assert {part.split('"')[0] for part in text.split('"reference": "')[1:]} <= there
    assert "Canary" not in text and "anna" not in text


@pytest.mark.soak
def test_ingested_into_a_second_lake_it_is_silver_as_it_was(exported, spark, tmp_path):
    """But for its keys: the export's ids are the first lake's keys, and get keys of their own."""
    lake, _, folder, _ = exported
    other = new_lake(spark, tmp_path / "lake")
    # The dates are shifted already; a second shift would be told by every one of them.
    said = ingest(other, folder / "ndjson", hipaa_compliance_mode="limited")
    assert said["validate"]["resources_loaded"] == len(RESOURCES)
    assert said["land"]["files_missing"] == 0
    for table in SILVER:
        expected, found = (_without_keys(one, table) for one in (lake, other))
        assert expected, table.name
        assert found == expected, table.name
    visits = other.read(silver.ENCOUNTER).select("encounter_key", "subject_key")
    linked = other.read(silver.OBSERVATION).join(visits, ["encounter_key", "subject_key"])
    assert linked.count() == 1


def _without_keys(lake, table):
    """The table's rows as text, each key as whether there is one."""
    cells = [
        F.col(name).isNotNull().alias(name) if name.endswith("_key") else F.col(name)
        for name in table.column_names
    ]
    return sorted(str(row) for row in lake.read(table).select(*cells).collect())


@pytest.mark.soak
def test_without_an_agreement_only_years_leave(exported, tmp_path):
    lake, run, _, _ = exported
    key = lake.read(silver.PATIENT).filter("NOT is_over_89").collect()[0].subject_key
    said = FHIRTransformer(tmp_path / "out", subject_keys=(key,)).execute(run)
    assert (said["subjects"], said["dates"], said["agreement"]) == (1, "years", "none")
    found = _contents(tmp_path / "out")
    assert all(judge(raw).reason is None for raw in found)
    assert not [raw for raw in found if b"T" in raw and b":00Z" in raw]


@pytest.mark.soak
def test_an_export_does_not_write_over_another(exported):
    _, run, folder, _ = exported
    with pytest.raises(UsageError, match="exists; give another"):
        FHIRTransformer(folder / "bundle").execute(replace(run))


@pytest.mark.soak
def test_command_writes_one_subject_and_says_what_is_not_kept(exported, tmp_path):
    lake, _, _, _ = exported
    key = lake.read(silver.PATIENT).filter("is_over_89").collect()[0].subject_key
    out = tmp_path / "one"
    asked = ["--root", str(lake.root), "export-fhir", str(key), "--out", str(out)]
    done = CliRunner().invoke(cli.main, asked)
    assert done.exit_code == 0, done.output
    assert "1 subjects, 1 resources, years dates" in done.output
    assert "the scale of decimals" in done.output
    bundle = json.loads((out / f"{key}.json").read_bytes())
    assert bundle["entry"][0]["resource"]["deceasedBoolean"] is True
