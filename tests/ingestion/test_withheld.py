"""What error checks refuse goes into the one quarantine and out of silver; it comes back once."""

from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.ingestion import quarantine_review
from clinical_lakehouse.ingestion.accounting import only_unbalanced, only_valid, per_file_and_type
from clinical_lakehouse.ingestion.withheld import only_kept_out, withheld_resources
from clinical_lakehouse.methods.surrogate import surrogate_key
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.tables import ops, ops_quality
from clinical_lakehouse.tables.bronze import DUPLICATE, FHIR_RESOURCE, PUBLISH_SCOPE, QUARANTINE
from tests.builders import rows
from tests.ingestion.chain import AS_OF, new_lake, run_on

RELEASE = {"decision": "release", "reason": "check:known_state", "why": "it is", "by": "maria"}


def _bronze(lake, *versions, file="f", at=AS_OF):
    """Organizations in one file: id, line, day of the version and bytes' hash; received `at`."""
    made = [
        {"file_id": file, "file_name": f"{file}.ndjson", "line": line, "entry": 0,
         "status": "valid",
         "resource_type": "Organization", "resource_id": id_, "content_hash": hash_,
         "received_at": at, "last_updated_at": AS_OF + timedelta(days=day), "content": "{}"}
        for id_, line, day, hash_ in versions
    ]  # fmt: skip
    lake.append(FHIR_RESOURCE, rows(lake, FHIR_RESOURCE, *made))


def _judged(lake, run, *ids, version="v1", at=AS_OF):
    """What data_quality leaves: an error check that refuses the silver rows of these sites."""
    pseudonym = vault_keys(run).pseudonym
    keys = lake.spark.createDataFrame([(i,) for i in ids], "id STRING")
    made = keys.select(surrogate_key(pseudonym, "Organization", F.col("id"))).collect()
    rule = {"table_name": "silver.organization", "check_name": "known_state",
            "rule_version": version, "severity": "error"}  # fmt: skip
    failing = [
        {**rule, "row_key": f'{{"organization_key":{r[0]}}}', "is_failing": True} for r in made
    ]
    result = {**rule, "state": "failed", "run_id": f"{version}-{at}", "checked_at": at}
    lake.append(ops_quality.QUALITY_FAILURE, rows(lake, ops_quality.QUALITY_FAILURE, *failing))
    lake.append(ops.QUALITY_RESULT, rows(lake, ops.QUALITY_RESULT, result))


def _kept_out(lake):
    found = withheld_resources(lake.read(QUARANTINE), only_valid(lake.read(FHIR_RESOURCE)))
    return {row.resource_id for row in found.collect()}


def _ledger(lake):
    ledger = lake.read(ops.LANDING_FILE)
    assert only_unbalanced(ledger).isEmpty()
    (row,) = ledger.filter("file_name = 'f.ndjson'").collect()
    return row.loaded_count, row.quarantined_count, row.duplicate_count


@pytest.mark.soak
def test_a_refused_version_is_kept_out_until_a_newer_one_comes_or_it_is_let_go(spark, tmp_path):
    lake = new_lake(spark, tmp_path / "lake")
    _bronze(lake, ("a", 1, 0, "a1"), ("b", 2, 0, "b1"), ("b", 3, 1, "b2"), ("b", 4, 1, "b2"))
    again = {"file_id": "f", "line": 4, "entry": 0, "resource_type": "Organization"}
    lake.append(DUPLICATE, rows(lake, DUPLICATE, again))
    known = lake.read(FHIR_RESOURCE), lake.read(QUARANTINE), lake.read(DUPLICATE)
    lake.append(ops.LANDING_FILE, per_file_and_type(*known))
    assert _ledger(lake) == (3, 0, 1)
    run = run_on(lake, tmp_path)
    vault_keys(run, may_make=True)
    _judged(lake, run, "a", "b")

    assert quarantine_review.withhold.execute(run)["rows_withheld"] == 0  # judged, but not before
    _bronze(lake, ("c", 6, 0, "c1"))
    _judged(lake, run, "c")
    later = AS_OF + timedelta(days=1)
    _bronze(lake, ("c", 7, 1, "c2"), file="g", at=later)  # corrected before it is taken
    run = run_on(lake, tmp_path, day=1)
    assert quarantine_review.withhold.execute(run)["rows_withheld"] == 2
    assert quarantine_review.withhold.execute(run)["rows_withheld"] == 0  # again: nothing new
    held = lake.read(QUARANTINE).orderBy("line").collect()
    # Of b the newest version that brought something: its repetition stays a duplicate.
    assert [(r.line, r.reason, r.path) for r in held] == [
        (n, "check:known_state", "silver.organization known_state@v1") for n in (1, 3)
    ]
    assert _kept_out(lake) == {"a", "b"} and _ledger(lake) == (2, 2, 1)
    assert {r.resource_id for r in lake.read(PUBLISH_SCOPE).collect()} == {"a", "b"}

    _bronze(lake, ("b", 5, 2, "b3"), file="g", at=later)  # the correction
    assert _kept_out(lake) == {"a"}

    quarantine_review.decide.execute(run.__class__(**{**vars(run), "params": RELEASE}))
    assert _kept_out(lake) == set()
    assert only_kept_out(lake.read(QUARANTINE)).isEmpty()
    run = run_on(lake, tmp_path, day=2)
    assert quarantine_review.withhold.execute(run)["rows_withheld"] == 0  # the person's word holds
    _judged(lake, run, "a", version="v2", at=AS_OF + timedelta(days=1))
    assert quarantine_review.withhold.execute(run)["rows_withheld"] == 1  # not for an edited check
    assert _kept_out(lake) == {"a"}
