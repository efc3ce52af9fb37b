"""The job data_privacy: planted identifiers are found, clean tables pass, risks are known ones."""

from dataclasses import replace

import pytest

from clinical_lakehouse.errors import ContractError
from clinical_lakehouse.governance import data_privacy
from clinical_lakehouse.operators.hipaa_compliance import HIPAACompliance, verifiable
from clinical_lakehouse.tables import ops, silver, vault
from clinical_lakehouse.tables.catalog import all_tables
from clinical_lakehouse.tables.contract import Column, Phi, Severity, Table, key
from clinical_lakehouse.tables.gold_privacy import REIDENTIFICATION_RISK
from tests.builders import rows

# One text for each kind of 45 CFR 164.514(b)(2)(i) that a pattern can know.
PLANTED = {
    "names": "seen by Dr. Smith",
    "geography": "lives at 12 Elm Street",
    "dates": "since 2023-04-05",
    "phone": "call 617-555-0123",
    "fax": "fax: 617 555 0199",
    "email": "write to a.b@example.org",
    "ssn": "123-45-6789",
    "medical_record": "MRN 1234567",
    "health_plan": "member number M123456",
    "account": "account 98765432",
    "licence": "license no. D1234567",
    "vehicle": "VIN 1HGCM82633A004352",
    "device": "serial number A1B2C3D4",
    "url": "see https://example.org/p/1",
    "ip": "from 192.168.10.20",
    "biometric": "fingerprint template FP12345",
    "photo": "at https://example.org/face.jpg",
    "other": "accession ACC-2024-77",
}


def _fill(lake, texts, patients, days):
    lake.append(
        silver.CONDITION,
        rows(lake, silver.CONDITION, *({"condition_key": n, "display": text, "code": "44054006",
                                        "code_system": "http://snomed.info/sct"}
                                       for n, text in enumerate(texts))),
    )  # fmt: skip
    people = ({"subject_key": n, **patient} for n, patient in enumerate(patients))
    lake.append(silver.PATIENT, rows(lake, silver.PATIENT, *people))
    offsets = (
        {"patient_index": str(n), "subject_key": n, "date_shift_days": d}
        for n, d in enumerate(days)
    )
    lake.append(vault.SUBJECT, rows(lake, vault.SUBJECT, *offsets))


def _verified(run):
    data_privacy.verify.execute(replace(run, params={"sampled_ratio": "1"}))


def test_planted_identifiers_are_found_by_kind_and_no_value_is_written(run):
    patients = [
        {"birth_year": 1931, "zip3": "036"},
        {"birth_year": 1980, "zip3": "02139"},
        {"birth_year": 1990, "zip3": "021"},
        {"birth_year": None, "is_over_89": True, "zip3": "000"},
    ]
    _fill(run.lake, [*PLANTED.values(), "Diabetes mellitus"], patients, [3, 0, -4])
    with pytest.raises(ContractError, match=r"see ops\.privacy_finding") as caught:
        _verified(run)
    found = run.lake.read(ops.PRIVACY_FINDING).collect()
    counts = {(row.column_name, row.kind): row.found_count for row in found}
    assert {kind for column, kind in counts if column == "display"} >= set(PLANTED)
    assert counts["birth_year", "birth-year"] == 1
    assert counts["zip3", "zip3"] == 2
    assert counts["date_shift_days", "unmoved-dates"] == 1
    written = str(found) + str(caught.value) + str(run.lake.read(ops.ALERT_EVENT).collect())
    assert not [text for text in PLANTED.values() if text in written]
    assert {row.severity for row in found} == {"error"}


def test_clean_tables_pass_and_leave_no_finding(run):
    _fill(run.lake, ["Diabetes mellitus", None], [{"birth_year": 1980, "zip3": "021"}], [3, -4])
    said = data_privacy.verify.execute(run)
    assert (said["tables"], said["findings"]) == (2, 0)
    assert not run.lake.exists(ops.PRIVACY_FINDING)


def test_column_of_an_identifier_in_a_de_identified_layer_is_a_finding(run):
    table = Table("silver.planted", "One row per x.", "x", ("subject_key",),
                  (key("subject_key", "x"), Column("mrn", "STRING", "x", phi=Phi.DIRECT),
                   Column("seen_at", "TIMESTAMP", "x")))  # fmt: skip
    run.lake.ensure(table)
    with pytest.raises(ContractError, match="2 privacy findings"):
        HIPAACompliance((table,)).execute(run)
    HIPAACompliance((table,), fails_from=Severity.FATAL).execute(run)


def test_every_table_with_a_person_is_verified():
    wanted = {
        table.name
        for table in all_tables().values()
        if table.schema_name in ("silver", "omop", "gold")
        and {"subject_key", "person_id"} & set(table.column_names)
    }
    assert wanted <= {table.name for table in verifiable(list(all_tables().values()))}


@pytest.mark.soak
def test_risk_of_known_classes_is_the_known_one_and_small_ones_alert(run):
    """Twelve alike and two alike: k 2, prosecutor 1/2 and mean 2/14, marketer 2/14, 2/14 small."""
    common = {"sex": "male", "birth_year": 1980, "zip3": "021"}
    rare = {"sex": "female", "birth_year": 1990, "zip3": "021"}
    patients = [common | {"is_deceased": n < 6} for n in range(12)]
    patients += [rare | {"is_deceased": True}] * 2
    _fill(run.lake, ["x"], patients, [1])
    said = data_privacy.assess_risk.execute(run)
    assert said == {"tables_assessed": 2, "below_smallest_class": 2}
    assessed = run.lake.read(REIDENTIFICATION_RISK).filter("sensitive = 'is_deceased'")
    (row,) = assessed.collect()
    assert (row.record_count, row.class_count, row.smallest_class) == (14, 2, 2)
    assert row.prosecutor_max_risk_ratio == 0.5
    assert row.prosecutor_mean_risk_ratio == pytest.approx(2 / 14)
    assert row.marketer_risk_ratio == pytest.approx(2 / 14)
    assert row.small_class_records_ratio == pytest.approx(2 / 14)
    assert row.is_below_smallest_class
    # Deceased: 8 of 14; none differ among the two, so l = 1 and t = 1 - 8/14 (equal distances).
    assert (row.distinct_l, row.entropy_l) == (1, pytest.approx(1.0))
    assert row.closeness_t == pytest.approx(1 - 8 / 14)
    assert run.lake.read(ops.ALERT_EVENT).filter("kind = 'small_class'").count() == 2
