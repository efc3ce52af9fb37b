"""The online store: a publication is one transaction, a read is quick and can be noted down."""

import time
from datetime import UTC, date, datetime

import pytest

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.runtime.online_features import OnlineFeatures

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


@pytest.fixture
def store(tmp_path):
    """A store with two people."""
    made = OnlineFeatures(tmp_path / "online" / "features.sqlite")
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


def test_readers_see_the_old_values_until_a_publication_ends(store, tmp_path):
    reader = OnlineFeatures(tmp_path / "online" / "features.sqlite", must_exist=True)

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
    assert reads[0][1] == store.get("labs", 1)
    store.note_checked(reads[0][0])
    assert [served.subject_key for _, served in store.unchecked(10)] == [2]


def test_people_who_left_are_neither_served_nor_in_the_log(store):
    store.get("labs", 1, MOMENT)
    store.forget([1])
    assert store.get("labs", 1) is None and store.unchecked(10) == []
    assert store.get("labs", 2) is not None


def test_reading_before_anything_is_published_says_what_to_run(tmp_path):
    with pytest.raises(UsageError, match="run the job feature_store"):
        OnlineFeatures(tmp_path / "none.sqlite", must_exist=True)


def test_99_of_100_reads_of_one_key_take_less_than_5_ms(store):
    store.publish(GROUP, ["a", "b"], MOMENT, (_row(key, float(key)) for key in range(2000)))
    took = []
    for key in range(1000):
        begun = time.perf_counter()
        store.get("labs", key * 2)
        took.append(time.perf_counter() - begun)
    assert sorted(took)[990] < 0.005
