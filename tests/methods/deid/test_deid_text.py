"""Free text loses what identifies a person, by 45 CFR 164.514(b)(2)(i), and keeps the clinic."""

from importlib.util import find_spec

import pyarrow as pa
import pytest

from clinical_lakehouse.errors import PrerequisiteError
from clinical_lakehouse.methods.deid import presidio
from clinical_lakehouse.methods.deid.known_identity import known_of
from clinical_lakehouse.methods.deid.text import scrub, scrubbing

# One sentence per kind, written for this test; RFC 5737/3849 addresses, 555 numbers.
SAID = [
    ("names", "Seen with Mrs. Adela Quirke today", "Seen with Mrs. [NAMES] today"),
    ("names", "Next of kin: Bram Oddie", "Next of kin: [NAMES]"),
    ("names", "lives with daughter Yasmin Oyelaran", "lives with daughter [NAMES]"),
    ("geography", "moved to 12 Old Mill Road last", "moved to [GEOGRAPHY] last"),
    ("geography", "of Springfield, IL 62704 since", "of [GEOGRAPHY], IL [GEOGRAPHY] since"),
    ("geography", "write to P.O. Box 77 please", "write to [GEOGRAPHY] please"),
    ("dates", "on 2024-03-09 and 9 March 2024", "on [DATES] and [DATES]"),
    ("dates", "from 3/9/2024 until March 10th, 2024", "from [DATES] until [DATES]"),
    ("dates", "at 2024-03-09T08:15:00+01:00", "at [DATES]"),
    ("dates", "since March 2024", "since [DATES]"),
    ("phone", "call (212) 555-0147 or +44 20 7946 0958", "call [PHONE] or [PHONE]"),
    ("fax", "Fax: 212-555-0148", "Fax: [FAX]"),
    ("email", "mail a.quirke@example.org", "mail [EMAIL]"),
    ("ssn", "SSN 078-05-1120", "SSN [SSN]"),
    ("medical_record", "MRN: 00123456 and chart no. A-7731", None),
    ("health_plan", "member ID W1234-5678", "member ID [HEALTH_PLAN]"),
    ("account", "billing account 99-8812", "billing account [ACCOUNT]"),
    ("licence", "driver's licence D123-4567", "driver's licence [LICENCE]"),
    ("vehicle", "VIN 1HGCM82633A004352", "VIN [VEHICLE]"),
    ("device", "pacemaker serial no. PM-44718X", "pacemaker serial no. [DEVICE]"),
    ("url", "see https://me.example.org/adela.", "see [URL]."),
    ("ip", "from 203.0.113.7 and 2001:db8::8a2e:370", "from [IP] and [IP]"),
    ("biometric", "fingerprint template FP99A1", "fingerprint template [BIOMETRIC]"),
    ("photo", "at https://x.example.org/adela.jpg", "at [PHOTO]"),
    ("other", "randomisation number R-20417", "randomisation number [OTHER]"),
    ("age", "a 94-year-old woman, aged 94", "a 90+-year-old woman, aged 90+"),
]

CLINICAL = [
    "BP 128/76 mmHg, pulse 72, temperature 36.8, SpO2 97 % on room air.",
    "HbA1c fell from 8.4 to 7.1 % over 26 weeks on metformin 1000 mg twice daily.",
    "Type 2 diabetes (ICD-10 E11.9, SNOMED 44054006, LOINC 4548-4).",
    "An 89-year-old man with 2 of 3 criteria; NYHA class III, ECOG 1.",
    "COVID-19 and SARS-CoV-2 excluded; HLA-B27 positive; CA-125 18 U/mL.",
    "Dose reduced by 50 % at visit 3 because of grade 2 nausea, may resume.",
    "Ratio 1:2:4, version 4.0.1, day 15 of cycle 2, 12:30:45 sampling.",
    "Mother had breast cancer; father died of stroke. Heart sounds normal.",
]

PERSON = {
    "resourceType": "Patient",
    "id": "pat-0042x",
    "name": [{"family": "Núñez-O'Hara", "given": ["Zoë", "B"]}],
    "telecom": [{"system": "phone", "value": "0151 496 0123"}],
    "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "77-31-9ab"}],
    "address": [{"line": ["Flat 2, Beechwood"], "city": "Hebden", "postalCode": "HX7 8AB"}],
    "contact": [{"name": {"family": "Marsh"}, "address": {"city": "Todmorden"}}],
    "photo": [{"url": "https://p.example.org/1"}],
}


@pytest.mark.parametrize(("kind", "said", "expected"), SAID, ids=[s[1][:24] for s in SAID])
def test_a_pattern_takes_out_its_kind(kind, said, expected):
    made = scrub(said, {})
    assert made.counts.get(kind), made
    assert set(made.counts) == {kind}
    if expected is not None:
        assert made.text == expected


@pytest.mark.parametrize("said", CLINICAL, ids=[s[:24] for s in CLINICAL])
def test_clinical_text_is_left_alone(said):
    assert scrub(said, {}) == (said, {})


def test_known_identity_is_found_whatever_case_accents_and_dashes():
    said = (
        "nunez-o'hara (zoe) of Hebden HX7-8AB, flat 2 beechwood; 01514960123, file 77319AB; "
        "Marsh from Todmorden; NUÑEZ O’HARA's id PAT-0042X"
    )
    made = scrub(said, known_of(PERSON))
    left = made.text.lower()
    for piece in ("nu", "zo", "hebden", "hx7", "beechwood", "0151", "marsh", "todmorden", "0042"):
        assert piece not in left
    assert made.counts["geography"] == 4 and made.counts["medical_record"] == 1


def test_a_number_written_without_its_dashes_is_still_the_number():
    known = {"medical_record": ["77-31-9ab"]}
    assert scrub("file 77 31 9AB and 77319ab", known).counts == {"medical_record": 2}


def test_another_subjects_identity_is_not_looked_for():
    assert scrub("Hebden is fine", {"geography": ["Todmorden"]}).text == "Hebden is fine"


def test_a_name_part_inside_a_word_is_no_name():
    assert scrub("marshmallow, Marshall", {"names": ["Ann Marsh"]}).text == "marshmallow, Marshall"


def test_overlapping_places_become_one_of_the_longest_kind():
    made = scrub("https://x.example.org/adela.jpg", {"names": ["Adela"]})
    assert made == ("[PHOTO]", {"photo": 1})


def test_batches_keep_rows_and_columns_and_report_counts():
    known_type = pa.map_(pa.string(), pa.list_(pa.string()))
    batch = pa.RecordBatch.from_pydict(
        {
            "key": pa.array([1, 2, 3]),
            "note": pa.array(["Hebden, aged 93", None, "well"]),
            "known": pa.array([[("geography", ["Hebden"])], None, None], known_type),
        }
    )
    (made,) = scrubbing("note", "known")(iter([batch]))
    assert made.schema.names == ["key", "note", "masked"]
    assert made["note"].to_pylist() == ["[GEOGRAPHY], aged 90+", None, "well"]
    assert [dict(row) for row in made["masked"].to_pylist()] == [{"geography": 1, "age": 1}, {}, {}]


def test_spark_scrubs_in_arrow_batches(spark):
    rows = [(1, "Call Hebden, SSN 078-05-1120", {"geography": ["Hebden"]}), (2, None, None)]
    notes = spark.createDataFrame(rows, "key INT, note STRING, known MAP<STRING, ARRAY<STRING>>")
    made = notes.mapInArrow(
        scrubbing("note", "known"), "key INT, note STRING, masked MAP<STRING, INT>"
    )
    first, second = sorted(made.collect())
    assert first.note == "Call [GEOGRAPHY], SSN [SSN]"
    assert first.masked == {"geography": 1, "ssn": 1} and second.note is None


def test_presidio_finds_a_name_that_no_pattern_knows():
    if not presidio.is_installed():
        pytest.skip("the extra [nlp] is not installed")
    said = "Yesterday John Smith flew back from Paris with a mild fever."
    assert scrub(said, {}).counts == {}
    made = scrub(said, {}, presidio.recogniser())
    assert made.counts == {"names": 1, "geography": 1} and "fever" in made.text


def test_without_the_extra_presidio_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(
        presidio, "find_spec", lambda name: None if "presidio" in name else find_spec(name)
    )
    with pytest.raises(PrerequisiteError, match=r"clinical-lakehouse\[nlp\]"):
        presidio.recogniser()
