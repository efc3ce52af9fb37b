"""MEDS folders: what is written can be read back, by this code and by whoever follows MEDS 0.4."""

import json
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from clinical_lakehouse import cli
from clinical_lakehouse.errors import SourceError, UsageError
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.meds_folder import Dataset, read_meds, write_labels, write_meds
from clinical_lakehouse.tables.catalog import table_named
from clinical_lakehouse.training.meds_events import (
    TABLES,
    code_metadata,
    meds_events,
    subject_splits,
)
from tests.builders import rows
from tests.conftest import PUBLIC_DATA

FIRST, LAST = date(2024, 3, 1), date(2024, 3, 4)
CDM = {
    "person": [
        {"person_id": n, "gender_concept_id": 8507, "year_of_birth": 1960} for n in range(30)
    ],
    "death": [{"person_id": 3, "death_date": date(2024, 5, 1)}],
    "concept": [
        {"concept_id": 8507, "concept_code": "M", "vocabulary_id": "Gender",
         "concept_name": "MALE"},
        {"concept_id": 9201, "concept_code": "IP", "vocabulary_id": "Visit",
         "concept_name": "Inpatient Visit"},
        {"concept_id": 3004249, "concept_code": "8480-6", "vocabulary_id": "LOINC",
         "concept_name": "Systolic blood pressure"},
    ],
    "visit_occurrence": [
        {"person_id": 3, "visit_concept_id": 9201, "visit_start_date": FIRST,
         "visit_end_date": LAST},
    ],
    "condition_occurrence": [
        {"person_id": 3, "condition_concept_id": 0, "condition_source_value": "X99",
         "condition_start_date": FIRST},
    ],
    "measurement": [
        {"person_id": 3, "measurement_concept_id": 3004249, "measurement_date": FIRST,
         "measurement_datetime": datetime(2024, 3, 1, 9, 30), "value_as_number": 130.5,
         "unit_source_value": "mm[Hg]"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory):
    """(events, folder): a lake's events, and the folder written of them and of the public sample's
    held-out shard."""
    root = tmp_path_factory.mktemp("meds")
    lake = Lakehouse(spark, root / "lake")
    cdm = {n: rows(lake, table_named(f"omop.{n}"), *CDM.get(n, [])) for n in TABLES}
    events = meds_events(cdm).cache()
    codes = code_metadata(events, cdm["concept"])
    facts = {"dataset_name": "test"}
    write_meds(Dataset(events, subject_splits(events), codes, facts), root / "out", shards=2)
    yield lake, events, root / "out"
    events.unpersist()


def test_omop_becomes_events_with_code_time_value_and_unit(made):
    _, events, _ = made
    told = {
        (str(r.time), r.code, r.numeric_value, r.unit)
        for r in events.filter("subject_id = 3").collect()
    }
    assert told == {
        ("None", "Gender/M", None, None),
        ("1960-07-01 00:00:00", "MEDS_BIRTH", None, None),
        ("2024-03-01 00:00:00", "Visit/IP", None, None),
        ("2024-03-04 00:00:00", "Visit/IP//END", None, None),
        ("2024-03-01 00:00:00", "UNMAPPED/condition_occurrence//X99", None, None),
        ("2024-03-01 09:30:00", "LOINC/8480-6", 130.5, "mm[Hg]"),
        ("2024-05-01 00:00:00", "MEDS_DEATH", None, None),
    }


def test_what_was_written_is_read_back_row_for_row(made):
    lake, events, folder = made
    back = read_meds(lake, folder).withColumnRenamed("split", "place").cache()
    columns = events.columns
    same = back.selectExpr(
        *(c if c != "numeric_value" else "CAST(numeric_value AS DOUBLE) AS numeric_value"
          for c in columns)
    )  # fmt: skip
    assert same.exceptAll(events).isEmpty() and events.exceptAll(same).isEmpty()
    placed = {(r.subject_id, r.place) for r in back.select("subject_id", "place").collect()}
    splits = pq.read_table(folder / "metadata/subject_splits.parquet").to_pydict()
    assert placed == set(zip(splits["subject_id"], splits["split"], strict=True))
    assert len(placed) == 30 and {place for _, place in placed} == {"train", "tuning", "held_out"}


def test_files_are_what_the_standard_asks_for(made):
    _, _, folder = made
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = [name for name in names if name.startswith("data/")]
    assert {name.split("/")[1] for name in files} == {"train", "tuning", "held_out"}
    assert [n for n in names if n.startswith("metadata/")] == [
        "metadata/codes.parquet",
        "metadata/dataset.json",
        "metadata/subject_splits.parquet",
    ]
    seen = []
    for name in files:
        table = pq.read_table(folder / name)
        fields = {f.name: f.type for f in table.schema}
        assert fields["subject_id"] == pa.int64()
        assert fields["time"] == pa.timestamp("us")
        assert fields["code"] in (pa.string(), pa.large_string())
        assert fields["numeric_value"] == pa.float32()
        subjects, times = table["subject_id"].to_pylist(), table["time"].to_pylist()
        blocks = [s for at, s in enumerate(subjects) if not at or subjects[at - 1] != s]
        assert len(blocks) == len(set(blocks))  # a subject stands together
        seen += blocks
        for subject in blocks:
            own = [t for s, t in zip(subjects, times, strict=True) if s == subject]
            assert own == sorted(own, key=lambda t: (t is not None, t or 0))
    assert len(seen) == len(set(seen)) == 30  # and in one file only
    assert json.loads((folder / "metadata/dataset.json").read_text())["meds_version"] == "0.4.1"
    codes = pq.read_table(folder / "metadata/codes.parquet").to_pylist()
    assert {c["code"]: c["description"] for c in codes} == {
        "Gender/M": "MALE",
        "LOINC/8480-6": "Systolic blood pressure",
        "MEDS_BIRTH": None,
        "MEDS_DEATH": None,
        "UNMAPPED/condition_occurrence//X99": None,
        "Visit/IP": "Inpatient Visit",
        "Visit/IP//END": "Inpatient Visit",
    }


def test_the_public_sample_is_read_whole(made):
    lake, _, _ = made
    folder = PUBLIC_DATA / "aces_tasks/sample_data/meds_sample"
    if not folder.exists():
        pytest.skip("public data aces_tasks is not beside the checkout (CLINICAL_PUBLIC_DATA)")
    counted = read_meds(lake, folder).groupBy("split").count().collect()
    # rows of the Parquet files' own footers
    assert {r["split"]: r["count"] for r in counted} == {
        "train": 26563 + 26643, "tuning": 13500, "held_out": 10836,
    }  # fmt: skip


def test_labels_are_written_in_the_label_schema(made, spark, tmp_path):
    given = [(1, datetime(2024, 1, 2, 3), 2), (1, datetime(2024, 1, 1), 0)]
    labels = spark.createDataFrame(given, "subject_id BIGINT, index_at TIMESTAMP, label BIGINT")
    write_labels(labels, tmp_path / "labels.parquet")
    table = pq.read_table(tmp_path / "labels.parquet")
    assert {f.name: f.type for f in table.schema} == {
        "subject_id": pa.int64(),
        "prediction_time": pa.timestamp("us"),
        "boolean_value": pa.bool_(),
    }
    assert [r["boolean_value"] for r in table.to_pylist()] == [False, True]
    assert [p.name for p in tmp_path.iterdir()] == ["labels.parquet"]


def test_what_exists_is_not_overwritten_and_what_is_not_there_is_said(made, tmp_path):
    lake, events, folder = made
    with pytest.raises(UsageError, match=r"out \(or its draft \.out\.part\) exists"):
        write_meds(Dataset(events, events, events, {}), folder)
    with pytest.raises(SourceError, match=r"holds no MEDS events \(data/<split>/\*\.parquet\)"):
        read_meds(lake, tmp_path)
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"subject_id": [1], "code": ["a"]}), tmp_path / "data" / "0.parquet")
    with pytest.raises(SourceError, match="events without the column 'time' that MEDS needs"):
        read_meds(lake, tmp_path)


def test_events_with_dates_do_not_leave_without_an_agreement(tmp_path):
    said = CliRunner().invoke(
        cli.meds, ["export", "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    )
    assert str(said.exception) == (
        "events carry dates; name the data use agreement with --agreement"
    )
    assert not (tmp_path / "out").exists()
