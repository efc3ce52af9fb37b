"""DQD's files are read whole, and what does not fit is refused with file and line."""

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.quality.dqd_suite import read_suite
from clinical_lakehouse.quality.dqd_types import CHECK_TYPES
from tests.quality.made_up_dqd import KINDS, write_files


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path)


def _change(folder, what, old, new):
    path = folder / f"OMOP_CDMv5.4_{what}.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_every_check_type_of_dqd_is_known(folder):
    assert len(CHECK_TYPES) == 27
    assert {check.kind.name for check in read_suite(folder)} == set(KINDS)


def test_a_check_carries_its_own_words(folder):
    found = {check.check_id: check for check in read_suite(folder)}
    check = found["field_isrequired_visit_occurrence_visit_concept_id"]
    assert check.description == "isRequired of VISIT_OCCURRENCE.VISIT_CONCEPT_ID"
    assert (check.threshold, check.severity, check.category) == (None, "fatal", "Conformance")
    assert found["field_measurevaluecompleteness_location_location_id"].threshold == 100


@pytest.mark.parametrize(
    ("what", "old", "new", "told"),
    [
        ("Check_Descriptions", ",isRequired,", ",isWished,",
         r"Check_Descriptions.csv:7 names a check that this suite does not know: FIELD isWished"),
        ("Check_Descriptions", "isRequired=='Yes'", "isRequired>3",
         r"Check_Descriptions.csv:7 has an evaluationFilter"),
        ("Check_Descriptions", "isRequired=='Yes'", "isWished=='Yes'",
         r"Check_Descriptions.csv:7 filters by isWished, which OMOP_CDMv5.4_Field_Level.csv"),
        ("Field_Level", "PERSON,gender_source_value,Yes,0", "PERSON,gender_source_value,Yes,few",
         r"Field_Level.csv:10 measureValueCompletenessThreshold must be a percentage"),
        ("Field_Level", ",0.5", ",half", r"Field_Level.csv:14 plausibleValueLow must be a number"),
        ("Concept_Level", ",15,", ",heavy,", r"Concept_Level.csv:4 conceptId must be a list"),
        ("Table_Level", "NOTE,", "NOTE,x,y,z,a,b,", r"Table_Level.csv:2 has not as many fields"),
        ("Table_Level", "cdmTableName", "table", r"Table_Level.csv:1 has no column cdmTableName"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_file_and_line(folder, what, old, new, told):
    _change(folder, what, old, new)
    with pytest.raises(SettingsError, match=told):
        read_suite(folder)


def test_a_folder_without_the_files_says_where_they_come_from(tmp_path):
    with pytest.raises(SettingsError, match="must name inst/csv of OHDSI's DataQualityDashboard"):
        read_suite(tmp_path)
