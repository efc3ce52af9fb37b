"""The online store: a publication is one transaction, a read is quick and can be noted down."""

import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from clinical_lakehouse.errors import LakeError, SettingsError, UsageError
from clinical_lakehouse.runtime.online_backends import Server
from clinical_lakehouse.runtime.online_features import OnlineFeatures, online_place
from clinical_lakehouse.runtime.settings import load_settings
from tests.operators.server import binaries, running

MOMENT = datetime(2024, 6, 30, 12, tzinfo=UTC)
GROUP = ("labs", "abc")


def _row(key, value):
    return {
        "subject_key": key,
        "index_date": date(2024, 6, 24),
        "known_us": int(MOMENT.timestamp() * 1_000_000) + 1,
        "feature_values": {"a": value, "b": None},
        "null_reasons": {"b": "never"},
    }


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL server of our own; skipped where it or its driver is not installed."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("pg8000", reason="the extra `online` (pg8000) is not installed")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, running(Path(folder)) as postgres:
        yield postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where the store is: a file, or an empty database of the server."""
    if request.param == "sqlite":
        return tmp_path / "online" / "features.sqlite"
    postgres = request.getfixturevalue("server")
    postgres.run("DROP SCHEMA IF EXISTS lakehouse_online CASCADE")
    return Server("127.0.0.1", postgres.port, "postgres", "lakehouse", "not-asked-for")


@pytest.fixture
def store(place):
    """A store with two people."""
    made = OnlineFeatures(place)
    made.publish(GROUP, ["a", "b"], MOMENT, [_row(1, 0.1), _row(2, 0.2)])
    yield made
    made.close()


def test_a_read_gives_values_reasons_and_what_they_stand_for(store):
    served = store.get("labs", 1)
    assert (served.values, served.null_reasons) == ({"a": 0.1, "b": None}, {"b": "never"})
    assert (served.feature_version, served.index_date) == ("abc", date(2024, 6, 24))
    assert served.known_at == MOMENT.replace(microsecond=1)
    assert store.get("labs", 3) is None and store.get("other", 1) is None
    assert store.serving() == {"labs": ("abc", MOMENT)}


def test_a_publication_that_fails_leaves_what_was_served(store):
    def broken():
        yield _row(1, 9.9)
        raise RuntimeError("the lake went away")

    with pytest.raises(RuntimeError):
        store.publish(("labs", "new"), ["a"], MOMENT, broken())
    assert store.get("labs", 1).values["a"] == 0.1
    assert store.get("labs", 2).feature_version == "abc"


def test_readers_see_the_old_values_until_a_publication_ends(store, place):
    reader = OnlineFeatures(place, must_exist=True)

    def slow():
        yield _row(1, 9.9)
        assert reader.get("labs", 1).values["a"] == 0.1

    assert store.publish(("labs", "new"), ["a", "b"], MOMENT, slow()) == 1
    assert reader.get("labs", 1).values["a"] == 9.9
    assert reader.get("labs", 2) is None
    reader.close()


def test_reads_are_noted_where_asked_and_checked_once(store):
    store.get("labs", 1)
    store.get("labs", 1, MOMENT)
    store.get("labs", 2, MOMENT)
    reads = store.unchecked(10)
    assert [served.subject_key for _, served in reads] == [1, 2]
    assert reads[0][1] == store.get("labs", 1)  # published at the moment it was read
    store.note_checked(reads[0][0])
    assert [served.subject_key for _, served in store.unchecked(10)] == [2]


def test_people_who_left_are_neither_served_nor_in_the_log(store):
    store.get("labs", 1, MOMENT)
    store.forget([1])
    assert store.get("labs", 1) is None and store.unchecked(10) == []
    assert store.get("labs", 2) is not None


def test_reading_before_anything_is_published_says_what_to_run(place):
    with pytest.raises(UsageError, match="run the job feature_store"):
        OnlineFeatures(place, must_exist=True)


def test_readers_see_the_age_of_what_they_read(store):
    later = MOMENT + timedelta(days=3)
    assert store.get("labs", 1).age(later) == timedelta(days=3)
    store.publish(GROUP, ["a", "b"], later, [_row(1, 0.3)])
    assert store.get("labs", 1).age(later) == timedelta(0)


def test_settings_name_the_server_and_its_secret_is_a_reference(tmp_path, monkeypatch):
    settings = load_settings("dev", environ={})
    assert online_place(tmp_path, settings) == tmp_path / "online" / "features.sqlite"
    given = settings.connections["online_features"].model_copy(update={"host": "db.test"})
    named = {**settings.connections, "online_features": given}
    settings = settings.model_copy(update={"connections": named})
    with pytest.raises(SettingsError, match="ONLINE_FEATURES_PASSWORD"):
        online_place(tmp_path, settings)
    monkeypatch.setenv("ONLINE_FEATURES_PASSWORD", "hidden")
    place = online_place(tmp_path, settings)
    assert place == Server("db.test", 5432, "features", "lakehouse", "hidden")
    assert "hidden" not in repr(place)


def test_a_server_that_is_not_there_is_one_clear_line():
    pytest.importorskip("pg8000", reason="the extra `online` (pg8000) is not installed")
    with pytest.raises(LakeError, match="cannot be used"):
        OnlineFeatures(Server("127.0.0.1", 1, "features", "lakehouse", "x"))


def test_99_of_100_reads_of_one_key_take_less_than_5_ms(tmp_path):
    store = OnlineFeatures(tmp_path / "features.sqlite")
    store.publish(GROUP, ["a", "b"], MOMENT, (_row(key, float(key)) for key in range(2000)))
    took = []
    for key in range(1000):
        begun = time.perf_counter()
        store.get("labs", key * 2)
        took.append(time.perf_counter() - begun)
    assert sorted(took)[990] < 0.005
