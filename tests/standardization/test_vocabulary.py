"""An Athena download is read by its header; what cannot be read is said in one line."""

from datetime import date

import pytest

from clinical_lakehouse.errors import SourceError, UsageError
from clinical_lakehouse.standardization import vocabulary_load as tasks
from clinical_lakehouse.standardization.vocabulary import athena_schema
from clinical_lakehouse.tables.omop_vocabulary import CONCEPT, VOCABULARY
from clinical_lakehouse.tables.ops import VOCABULARY_LOAD

HEADER = (
    "vocabulary_id\tCONCEPT_ID\tconcept_name\tdomain_id\tconcept_class_id\tstandard_concept\t"
    "concept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason"
)
ROW = (
    'LOINC\t3013762\tBody "weight" \\ scale\tMeasurement\tClinical\tS\t29463-7\t'
    "19700101\t20991231\t"
)


def _download(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "concept.CSV").write_text("\n".join((HEADER, *lines, "")), encoding="utf-8")
    return folder


def _load(run, folder):
    return tasks.load(
        type(run)(run.lake, run.settings, run.as_of, run.run_id, {"vocabulary": str(folder)})
    )


def test_columns_are_found_by_name_in_any_order_and_case(run, tmp_path):
    assert _load(run, _download(tmp_path / "athena", ROW)) == {"omop.concept": 1}
    row = run.lake.read(CONCEPT).collect()[0]
    assert (row.concept_id, row.vocabulary_id, row.concept_code) == (3013762, "LOINC", "29463-7")
    assert row.concept_name == 'Body "weight" \\ scale'
    assert (row.valid_start_date, row.valid_end_date) == (date(1970, 1, 1), date(2099, 12, 31))
    assert row.invalid_reason is None and run.lake.version(VOCABULARY) == -1


def test_only_changed_files_are_loaded(run, tmp_path):
    folder = _download(tmp_path / "athena", ROW)
    _load(run, folder)
    assert _load(run, folder) == {}
    second = ROW.replace("3013762", "3013763").replace("29463-7", "3141-9")
    assert _load(run, _download(folder, ROW, second)) == {"omop.concept": 2}
    assert [row.row_count for row in run.lake.read(VOCABULARY_LOAD).collect()] == [2]


def test_folder_that_is_no_download_is_refused(run, tmp_path):
    with pytest.raises(SourceError, match=r"holds no CONCEPT\.csv"):
        _load(run, tmp_path)
    with pytest.raises(SourceError, match="no folder"):
        _load(run, tmp_path / "nowhere")
    with pytest.raises(UsageError, match="vocabulary"):
        tasks.load(run)


def test_file_without_a_column_is_refused_and_a_new_column_is_left_out():
    with pytest.raises(SourceError, match="lacks the column domain_id"):
        athena_schema(HEADER.replace("domain_id", "dom"), CONCEPT)
    assert athena_schema(f"{HEADER}\tmore\r\n", CONCEPT).endswith("`more` STRING")
