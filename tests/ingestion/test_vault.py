"""The vault: no identifier in clear, keys that are drawn once and stay, and only one secret."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.ingestion import identity
from clinical_lakehouse.ingestion import patient_ingestion as job
from clinical_lakehouse.ingestion.vault_rotation import rotate
from clinical_lakehouse.runtime.lake import Lakehouse
from clinical_lakehouse.runtime.vault_keys import vault_keys
from clinical_lakehouse.tables import silver, vault
from tests.ingestion.chain import AS_OF, ingest, new_lake, people, run_on, write_lines

NAMES = [f"Zweistein-{number:03d}" for number in range(40)]


def _visit(name):
    return {
        "resourceType": "Encounter",
        "id": f"visit-of-{name}",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": f"Patient/{name}"},
        "period": {"start": "2024-01-10"},
    }


def _identified(lake, folder, day, **privacy):
    """People known after `land` and `deidentify` alone."""
    run = run_on(lake, folder, day, **{"surrogate_keys": "random", **privacy})
    for task in (job.land, job.deidentify):
        task.execute(run)
    return _known(lake)


def _known(lake, **privacy):
    rows = people(lake, **privacy).collect()
    return {row.patient_id: (row.subject_key, row.date_shift_days) for row in rows}


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """A landing folder with forty people and a visit of each."""
    folder = tmp_path_factory.mktemp("delivered")
    patients = [{"resourceType": "Patient", "id": name} for name in NAMES]
    write_lines(folder / "one.ndjson", *patients, *map(_visit, NAMES))
    return folder


@pytest.fixture(scope="module")
def random_lake(spark, tmp_path_factory, delivered):
    """A lake with keys drawn at random, run once."""
    lake = new_lake(spark, tmp_path_factory.mktemp("vault") / "lake")
    ingest(lake, delivered, surrogate_keys="random")
    return lake


def test_no_byte_of_the_vaults_folder_holds_an_id_and_the_key_opens_it(random_lake):
    files = [p for p in (random_lake.root / "vault").rglob("*") if p.is_file()]
    assert len(files) > 4
    assert not [p.name for p in files if b"Zweistein" in p.read_bytes()]
    assert set(_known(random_lake)) == set(NAMES)


def test_the_same_id_is_sealed_differently_each_time(random_lake):
    keys = vault_keys(run_on(random_lake, random_lake.root))
    again = identity.sealed(people(random_lake), keys.seal)
    both = again.join(random_lake.read(vault.SUBJECT), ["patient_id_sealed"], "left_semi")
    assert again.count() == 40 and both.isEmpty()


@pytest.mark.soak
def test_random_keys_and_offsets_stay_over_reruns_and_new_people(random_lake, delivered):
    before = _known(random_lake)
    write_lines(delivered / "two.ndjson", {"resourceType": "Patient", "id": "late"})
    after = _identified(random_lake, delivered, 1)
    assert before.items() <= after.items() and set(after) - set(before) == {"late"}
    assert _identified(random_lake, delivered, 2) == after
    keys, days = zip(*after.values(), strict=True)
    assert len(set(keys)) == 41 and min(keys) >= 0
    assert 0 not in days and max(map(abs, days)) <= 30 and len(set(days)) > 10


def test_random_key_of_a_patient_is_not_the_hmac_of_their_id(random_lake):
    keys = vault_keys(run_on(random_lake, random_lake.root))
    derived = identity.Identities(30, keys.pseudonym).of(people(random_lake).drop("subject_key"))
    same = derived.join(random_lake.read(vault.SUBJECT), ["patient_index", "subject_key"])
    assert same.isEmpty()


def test_rows_of_a_person_carry_the_drawn_key_and_moved_dates(random_lake):
    known = {key: days for key, days in _known(random_lake).values()}
    rows = random_lake.read(silver.ENCOUNTER).select("subject_key", F.to_date("started_at"))
    visits = {row[0]: row[1] for row in rows.collect()}
    assert len(visits) == 40 and set(visits) <= set(known)
    for key, day in visits.items():
        assert (day - AS_OF.date().replace(month=1, day=10)) == timedelta(days=known[key])


@pytest.mark.soak
def test_a_correction_of_a_patient_reaches_the_row_with_the_drawn_key(
    random_lake, delivered, tmp_path
):
    meta = {"lastUpdated": "2024-06-01T00:00:00Z"}
    gone = {"resourceType": "Consent", "id": "no", "status": "active",
            "scope": {"coding": [{"code": "research"}]}, "category": [{"text": "research"}],
            "patient": {"reference": f"Patient/{NAMES[1]}"},
            "policyRule": {"coding": [{"code": "OPTOUT"}]}}  # fmt: skip
    patient = {"resourceType": "Patient", "id": NAMES[0], "gender": "female", "meta": meta}
    write_lines(tmp_path / "three.ndjson", gone, patient)
    ingest(random_lake, tmp_path, day=3, surrogate_keys="random")
    rows = {row.subject_key: row.sex for row in random_lake.read(silver.PATIENT).collect()}
    known = _known(random_lake)
    assert rows[known[NAMES[0]][0]] == "female"
    assert known[NAMES[1]][0] not in rows and len(rows) == len(known) - 1


@pytest.mark.soak
def test_two_people_with_one_drawn_key_get_another(random_lake, delivered):
    before = _known(random_lake)
    first, second = sorted(before, key=lambda name: before[name][0])[:2]
    changed = F.when(F.col("subject_key") == before[second][0], before[first][0])
    rows = random_lake.read(vault.SUBJECT).withColumn(
        "subject_key", F.coalesce(changed, F.col("subject_key"))
    )
    random_lake.replace(vault.SUBJECT, rows)
    after = _identified(random_lake, delivered, 4)
    assert len({key for key, _ in after.values()}) == len(after) == len(before)
    assert len([name for name in before if after[name] != before[name]]) in (1, 2)


@pytest.mark.soak
def test_another_mode_moves_dates_back_and_keeps_keys(random_lake, delivered):
    before = _known(random_lake)
    limited = _identified(random_lake, delivered, 5, hipaa_compliance_mode="limited")
    strict = _identified(random_lake, delivered, 6)
    assert {days for _, days in limited.values()} == {0}
    assert 0 not in {days for _, days in strict.values()}
    keys = [{name: key for name, (key, _) in all_.items()} for all_ in (before, limited, strict)]
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize("is_missing", [True, False])
def test_wrong_or_missing_secret_is_refused_and_nothing_is_written(
    random_lake, delivered, tmp_path, is_missing
):
    path = random_lake.root / "vault" / "vault.key"
    kept, version = path.read_bytes(), random_lake.version(vault.SUBJECT)
    write_lines(tmp_path / "new.ndjson", {"resourceType": "Patient", "id": "unwritten"})
    run = run_on(random_lake, tmp_path, 7, surrogate_keys="random")
    job.land.execute(run)
    try:
        path.unlink() if is_missing else path.write_bytes(kept[::-1])
        for task in (job.deidentify, job.publish):
            with pytest.raises(SettingsError, match="restore it"):
                task.execute(run)
    finally:
        path.write_bytes(kept)
        path.chmod(0o600)
    assert random_lake.version(vault.SUBJECT) == version
    assert vault_keys(run).pseudonym


def test_lost_lake_key_is_not_replaced_by_a_new_one(random_lake, tmp_path):
    away = tmp_path / "sealed_key"
    place = random_lake.path(vault.SEALED_KEY)
    place.rename(away)
    try:
        with pytest.raises(SettingsError, match=r"vault\.sealed_key is lost"):
            job.deidentify.execute(run_on(random_lake, tmp_path, surrogate_keys="random"))
    finally:
        away.rename(place)


def test_row_under_an_unknown_key_stops_the_query(random_lake):
    rows = identity.opened(random_lake.read(vault.SUBJECT), {"other": bytes(32)})
    with pytest.raises(Exception, match="under another key"):
        rows.collect()


def test_sealed_id_moved_to_another_row_does_not_open(random_lake):
    keys = vault_keys(run_on(random_lake, random_lake.root))
    rows = random_lake.read(vault.SUBJECT).withColumn("patient_index", F.lit("0" * 64))
    with pytest.raises(Exception, match="AES_CRYPTO_ERROR"):
        identity.opened(rows, keys.seals).collect()


def test_task_on_an_empty_landing_folder_makes_the_lakes_key(run, tmp_path):
    here = replace(run, params={"landing": str(tmp_path)})
    job.deidentify.execute(here)
    assert vault_keys(here).pseudonym and run.lake.exists(vault.SUBJECT)


def _rotated(lake, landing, **more):
    """A run whose settings name another secret file, and the former one."""
    secrets = {"vault_secret": "file:second.key", "vault_secret_previous": "file:vault.key"}
    return run_on(lake, landing, 8, surrogate_keys="random", **{**secrets, **more})


@pytest.mark.soak
def test_rotation_killed_between_its_two_tables_goes_on_and_keys_and_dates_stay(
    random_lake, delivered, monkeypatch
):
    before, key = _known(random_lake), vault_keys(run_on(random_lake, delivered)).pseudonym
    job.publish.execute(run_on(random_lake, delivered, 8, surrogate_keys="random"))
    run = _rotated(random_lake, delivered)
    kept = Lakehouse.replace

    def dying(self, table, rows, where=None):
        if table is vault.SEALED_KEY:
            raise KeyboardInterrupt
        return kept(self, table, rows, where)

    monkeypatch.setattr(Lakehouse, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        rotate.execute(run)
    monkeypatch.undo()
    # Both secrets open it now: rows under the second, the lake's key under the first.
    seals = vault_keys(run).seals
    both = {row.key_id for t in (vault.SUBJECT, vault.SEALED_KEY)
            for row in random_lake.read(t).collect()}  # fmt: skip
    assert both == set(seals)
    assert rotate.execute(run)["rows_resealed"] == 0
    (random_lake.root / "vault" / "vault.key").unlink()
    alone = _rotated(random_lake, delivered, vault_secret_previous=None)
    assert vault_keys(alone).pseudonym == key
    opened = identity.opened(random_lake.read(vault.SUBJECT), vault_keys(alone).seals)
    after = {row.patient_id: (row.subject_key, row.date_shift_days) for row in opened.collect()}
    assert after == before
    assert job.publish.execute(alone)["tables_written"] == 0


def test_rotation_without_a_former_secret_says_what_to_name(run):
    with pytest.raises(SettingsError, match=r"privacy\.vault_secret_previous"):
        rotate.execute(run)
