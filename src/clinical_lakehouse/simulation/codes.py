"""Codes the trial uses: facts of LOINC, SNOMED CT, ICD-10-CM, RxNorm, CVX and MedDRA."""

from dataclasses import dataclass

from clinical_lakehouse.simulation.fhir import CVX, ICD10CM, LOINC, MEDDRA, RXNORM, SNOMED, Code


@dataclass(frozen=True)
class Test:
    """A measurement with its unit and how it varies between and within people."""

    code: Code
    unit: str
    ucum: str
    mean: float
    between: float
    within: float
    decimals: int


@dataclass(frozen=True)
class Disease:
    """A disorder in two systems and what is usually prescribed for it."""

    snomed: Code
    icd10cm: Code
    drug: Code | None = None


@dataclass(frozen=True)
class Event:
    """An adverse event: its codes, rate per 28 days, and the share that is serious."""

    name: str
    snomed: Code
    meddra: Code
    rate: float
    serious: float = 0.0


def _test(
    code: str,
    display: str,
    unit: tuple[str, str],
    spread: tuple[float, float, float],
    decimals: int,
) -> Test:
    return Test(Code(LOINC, code, display), *unit, *spread, decimals)


def _disease(snomed: str, icd: str, display: str, drug: tuple[str, str] | None = None) -> Disease:
    prescribed = Code(RXNORM, *drug) if drug else None
    return Disease(Code(SNOMED, snomed, display), Code(ICD10CM, icd, display), prescribed)


def _event(snomed: str, meddra: str, name: str, rate: float, serious: float = 0.0) -> Event:
    return Event(name, Code(SNOMED, snomed, name), Code(MEDDRA, meddra, name), rate, serious)


_MG_DL = ("mg/dL", "mg/dL")
_MMOL_L = ("mmol/L", "mmol/L")

HBA1C = _test("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", ("%", "%"), (8, 0, 0.15), 1)
GLUCOSE = _test("2345-7", "Glucose [Mass/volume] in Serum or Plasma", _MG_DL, (0, 8, 18), 0)
PHQ9 = _test("44261-6", "PHQ-9 total score", ("{score}", "{score}"), (8, 0, 1.6), 0)
LABS = (
    _test("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", _MG_DL, (0.95, 0.2, 0.06), 2),
    _test("1742-6", "Alanine aminotransferase", ("U/L", "U/L"), (28, 9, 4), 0),
    _test("2951-2", "Sodium [Moles/volume] in Serum or Plasma", _MMOL_L, (140, 1.8, 1.4), 0),
    _test("718-7", "Hemoglobin [Mass/volume] in Blood", ("g/dL", "g/dL"), (13.8, 1.2, 0.4), 1),
    _test("2823-3", "Potassium [Moles/volume] in Serum or Plasma", _MMOL_L, (4.3, 0.3, 0.2), 1),
    _test("2075-0", "Chloride [Moles/volume] in Serum or Plasma", _MMOL_L, (102, 2, 1.5), 0),
    _test("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", _MG_DL, (185, 30, 10), 0),
    _test("777-3", "Platelets [#/volume] in Blood", ("10*3/uL", "10*3/uL"), (250, 50, 15), 0),
)
HEART_RATE = _test("8867-4", "Heart rate", ("beats/min", "/min"), (74, 8, 5), 0)
VITALS = (
    HEART_RATE,
    _test("9279-1", "Respiratory rate", ("breaths/min", "/min"), (15, 1.5, 1), 0),
    _test("2708-6", "Oxygen saturation in Arterial blood", ("%", "%"), (97, 0.8, 0.6), 0),
    _test("8310-5", "Body temperature", ("Cel", "Cel"), (36.7, 0.2, 0.2), 1),
)
WEIGHT = _test("29463-7", "Body weight", ("kg", "kg"), (88, 15, 0.6), 1)
BMI = _test("39156-5", "Body mass index (BMI)", ("kg/m2", "kg/m2"), (0, 0, 0), 1)
BLOOD_PRESSURE = Code(LOINC, "85354-9", "Blood pressure panel with all children optional")
SYSTOLIC = _test("8480-6", "Systolic blood pressure", ("mmHg", "mm[Hg]"), (134, 11, 6), 0)
DIASTOLIC = _test("8462-4", "Diastolic blood pressure", ("mmHg", "mm[Hg]"), (79, 7, 4), 0)
AGE = _test("30525-0", "Age", ("a", "a"), (0, 0, 0), 0)
CHIEF_COMPLAINT = Code(LOINC, "10154-3", "Chief complaint Narrative - Reported")
LAB_PANEL = Code(LOINC, "24323-8", "Comprehensive metabolic 2000 panel - Serum or Plasma")
NOTE_HISTORY = Code(LOINC, "34117-2", "History and physical note")
NOTE_PROGRESS = Code(LOINC, "11506-3", "Progress note")

DIABETES = _disease(
    "44054006",
    "E11.9",
    "Type 2 diabetes mellitus",
    ("861007", "metformin hydrochloride 500 MG Oral Tablet"),
)
COMORBIDITIES = (
    _disease(
        "59621000", "I10", "Essential hypertension", ("314076", "lisinopril 10 MG Oral Tablet")
    ),
    _disease("55822004", "E78.5", "Hyperlipidemia", ("312961", "simvastatin 20 MG Oral Tablet")),
    _disease("414916001", "E66.9", "Obesity"),
    _disease(
        "53741008", "I25.10", "Coronary arteriosclerosis", ("243670", "aspirin 81 MG Oral Tablet")
    ),
    _disease(
        "49436004", "I48.91", "Atrial fibrillation", ("855332", "warfarin sodium 5 MG Oral Tablet")
    ),
    _disease("84114007", "I50.9", "Heart failure", ("313988", "furosemide 40 MG Oral Tablet")),
    _disease("195967001", "J45.909", "Asthma"),
    _disease("235595009", "K21.9", "Gastroesophageal reflux disease"),
    _disease("90560007", "M10.9", "Gout", ("197319", "allopurinol 100 MG Oral Tablet")),
    _disease("709044004", "N18.9", "Chronic kidney disease"),
    _disease("40930008", "E03.9", "Hypothyroidism"),
    _disease("13645005", "J44.9", "Chronic obstructive lung disease"),
)

NAUSEA = _event("422587007", "10028813", "Nausea", 0.08)
HEADACHE = _event("25064002", "10019211", "Headache", 0.10)
EVENTS = (
    NAUSEA,
    HEADACHE,
    _event("62315008", "10012735", "Diarrhoea", 0.06),
    _event("404640003", "10013573", "Dizziness", 0.04),
    _event("84229001", "10016256", "Fatigue", 0.05),
    _event("54150009", "10046306", "Upper respiratory tract infection", 0.05),
    _event("302866003", "10020993", "Hypoglycaemia", 0.03, 0.05),
    _event("68566005", "10046571", "Urinary tract infection", 0.02, 0.05),
    _event("161891005", "10003988", "Back pain", 0.03),
    _event("271807003", "10037844", "Rash", 0.015, 0.02),
    _event("233604007", "10035664", "Pneumonia", 0.003, 0.9),
    _event("75694006", "10033645", "Pancreatitis", 0.001, 1.0),
)
FATAL_EVENT = _event("22298006", "10028596", "Myocardial infarction", 0.0, 1.0)

ECG = Code(SNOMED, "29303009", "Electrocardiographic procedure")
BLOOD_DRAW = Code(SNOMED, "82078001", "Collection of blood specimen for laboratory")
SURGERY = (
    Code(SNOMED, "80146002", "Appendectomy"),
    Code(SNOMED, "38102005", "Cholecystectomy"),
)
VACCINES = (
    Code(CVX, "140", "Influenza, seasonal, injectable, preservative free"),
    Code(CVX, "33", "pneumococcal polysaccharide vaccine, 23 valent"),
    Code(CVX, "115", "tetanus toxoid, reduced diphtheria toxoid, acellular pertussis"),
    Code(CVX, "208", "COVID-19, mRNA, LNP-S, PF, 30 mcg/0.3 mL dose"),
    Code(CVX, "187", "zoster vaccine recombinant"),
)
ALLERGIES = (
    Code(SNOMED, "91936005", "Allergy to penicillin"),
    Code(SNOMED, "91935009", "Allergy to peanut"),
    Code(SNOMED, "300916003", "Latex allergy"),
    Code(SNOMED, "294505008", "Allergy to amoxicillin"),
)

RACES = (
    ("2106-3", "White", 0.58),
    ("2054-5", "Black or African American", 0.20),
    ("2028-9", "Asian", 0.15),
    ("1002-5", "American Indian or Alaska Native", 0.04),
    ("2076-8", "Native Hawaiian or Other Pacific Islander", 0.03),
)
BIASED_RACE = "2054-5"
