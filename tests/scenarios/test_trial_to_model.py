"""The whole chain on a simulated trial whose truth is known."""

import base64
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
import re2

from clinical_lakehouse.tables.catalog import all_tables
from tests.scenarios.conftest import Trial, failures, give_secret, hashes, open_comparable


def test_every_row_received_is_loaded_quarantined_or_a_duplicate(trial):
    rows = trial.sql(
        "SELECT file_name, sum(received_count) AS received, sum(loaded_count) AS loaded, "
        "sum(quarantined_count) AS quarantined, sum(duplicate_count) AS duplicate "
        "FROM ops.landing_file GROUP BY file_name"
    )
    found = {row.file_name: row for row in rows}
    for name, counts in trial.truth["counts"].items():
        ledger = found[name]
        assert ledger.received == counts["lines"] - counts.get("ignored", 0), name
        assert ledger.received == ledger.loaded + ledger.quarantined + ledger.duplicate, name
        assert ledger.quarantined == counts.get("invalid", 0), name
        assert ledger.duplicate == counts.get("duplicate", 0), name


def test_quarantine_holds_exactly_the_planted_invalid_rows(trial):
    planted = {(fault["file"], fault["line"]) for fault in trial.truth["invalid"]}
    rows = trial.sql("SELECT file_name, line, reason FROM bronze.quarantine")
    assert {(row.file_name, row.line) for row in rows} == planted
    assert len({fault["kind"] for fault in trial.truth["invalid"]}) >= 20
    assert all(row.reason for row in rows)


def _texts(lake: Path) -> str:
    """Every byte that leaves the restricted layers: files as they are, Parquet decoded."""
    parts = []
    for path in sorted(lake.rglob("*")):
        restricted = path.relative_to(lake).parts[0] in ("bronze", "vault", "landing")
        if restricted or not path.is_file():
            continue
        parts.append(path.read_bytes().decode("latin-1"))
        if path.suffix == ".parquet":
            parts.extend(_distinct(column) for column in parquet.read_table(path).columns)
    return "\n".join(parts)


def _distinct(column: pyarrow.ChunkedArray) -> str:
    """A column's values, each once where its type can be compared."""
    is_nested = pyarrow.types.is_nested(column.type)
    return str((column if is_nested else column.unique()).to_pylist())


@pytest.fixture(scope="module")
def published(trial) -> str:
    """What left the restricted layers, read once."""
    return _texts(trial.workspace.lake.root)


def test_no_canary_leaves_the_restricted_layers(trial, published):
    text = published
    assert len(text) > 1_000_000
    canaries = [c for c in trial.truth["canaries"] if c["scan"]]
    assert len({c["kind"] for c in canaries}) >= 16
    plain = {c["value"]: c["kind"] for c in canaries}
    encoded = {_in_base64(c["value"]): c["kind"] for c in canaries}
    assert {plain[one] for one in _which(plain, text)} == set()
    assert {encoded[one] for one in _which(encoded, text)} == set()
    (first, *_) = plain
    assert _which(plain, f"{text}{first}") == {first}, "it would be found"


def _which(texts: Iterable[str], inside: str) -> set[str]:
    """Those of the texts that stand somewhere inside, in one pass for all of them."""
    options = re2.Options()
    options.max_mem = 1 << 30
    return set(re2.compile("|".join(map(re2.escape, texts)), options).findall(inside))


def _in_base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()[:-4]


def test_no_source_id_of_a_person_leaves_the_restricted_layers(trial, published):
    ids = [subject["patient_id"] for subject in trial.truth["subjects"]]
    assert _which(ids, published) == set()


def test_a_canary_in_a_silver_file_would_be_found(trial):
    planted = trial.workspace.lake.root / "silver" / "planted.txt"
    planted.write_text(trial.truth["canaries"][0]["value"])
    try:
        assert trial.truth["canaries"][0]["value"] in _texts(trial.workspace.lake.root)
    finally:
        planted.unlink()


def test_withdrawn_subjects_are_in_no_silver_table(trial):
    withdrawn = {w["patient_id"] for w in trial.truth["withdrawn_consents"]}
    decided = trial.sql("SELECT patient_id FROM bronze.consent_decision WHERE NOT is_permitted")
    assert {row.patient_id for row in decided} == withdrawn
    (kept,) = trial.sql("SELECT count(*) AS n FROM silver.patient")
    assert kept.n == len(trial.truth["subjects"]) - len(withdrawn)


def test_dates_are_shifted_by_one_offset_per_person(trial):
    shifts = Counter(r.date_shift_days for r in trial.sql("SELECT * FROM vault.subject"))
    assert 0 not in shifts
    assert max(map(abs, shifts)) <= 30
    assert len(shifts) > 20


def test_everybody_over_89_has_no_birth_year(trial):
    over = [s for s in trial.truth["subjects"] if int(s["birth_date"][:4]) <= 1934]
    assert over
    rows = trial.sql("SELECT birth_year, is_over_89 FROM silver.patient")
    assert min(r.birth_year for r in rows if r.birth_year) >= 1934
    assert any(r.is_over_89 and r.birth_year is None for r in rows)


def test_measurements_are_all_of_silvers_observations(trial):
    (counts,) = trial.sql(
        "SELECT (SELECT count(DISTINCT observation_key) FROM silver.observation) AS silver, "
        "(SELECT count(*) FROM omop.measurement) AS measurement, "
        "(SELECT count(*) FROM omop.observation) AS observation, "
        "(SELECT count(*) FROM gold.subject_feature) AS features"
    )
    assert counts.silver > 10_000
    assert counts.measurement + counts.observation >= counts.silver
    assert counts.features > 1_000


def test_model_is_registered_evaluated_and_judged_with_a_reason(trial):
    (version,) = trial.sql("SELECT * FROM gold.model_version")
    (gate,) = trial.sql("SELECT * FROM gold.model_gate")
    (auroc,) = trial.sql(
        "SELECT * FROM gold.model_evaluation WHERE metric = 'auroc' AND group_name = 'all'"
    )
    assert (version.model_version, gate.model_version) == (1, 1)
    assert version.train_to_date < version.test_from_date
    assert gate.reason
    assert auroc.low <= auroc.value <= auroc.high


def test_every_task_run_is_in_the_ledger_with_its_clock_and_code(trial):
    rows = trial.sql("SELECT * FROM ops.task_run WHERE state = 'success'")
    assert len({row.entry_point for row in rows if row.entry_point}) >= 15
    assert {row.as_of.date() for row in rows} == {trial.plan.end}
    assert all(row.settings_hash and row.code_version for row in rows)


@pytest.mark.soak
def test_second_run_leaves_the_same_tables(trial):
    before = hashes(trial.workspace)
    assert len(before) > 30
    again = trial.run()
    assert again.ok, failures(again)
    after = hashes(trial.workspace)
    assert {name for name in before if before[name] != after[name]} == set()


def test_tables_of_every_layer_were_made(trial):
    lake = trial.workspace.lake
    made = Counter(t.schema_name for t in all_tables().values() if lake.exists(t))
    assert made["silver"] >= 15
    assert made["omop"] >= 10
    assert made["gold"] >= 6


@pytest.mark.soak
def test_file_order_does_not_matter(trial, tmp_path):
    """The same files under other names and in two folders give the same silver and OMOP rows."""
    landing = tmp_path / "landing"
    for number, path in enumerate(sorted(trial.landing.glob("*.ndjson"), reverse=True)):
        folder = landing / f"day{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    root = tmp_path / "lake"
    give_secret(root, trial.secret)
    other = open_comparable(root)
    moved = Trial(trial.plan, landing, trial.truth, other)
    result = moved.run("clinical_data_pipeline")
    assert result.ok, failures(result)
    layers = ("silver", "omop")
    assert hashes(other, layers) == hashes(trial.workspace, layers)
