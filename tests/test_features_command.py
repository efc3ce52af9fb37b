"""`features` reads declarations and the online store without Spark, and refuses in one line."""

from datetime import UTC, date, datetime

from click.testing import CliRunner

from clinical_lakehouse.cli import main
from clinical_lakehouse.runtime.online_features import OnlineFeatures, online_path


def _called(*arguments):
    return CliRunner().invoke(main, ["features", *map(str, arguments)])


def _published(root):
    store = OnlineFeatures(online_path(root))
    row = {
        "subject_key": 7, "index_date": date(2024, 6, 24), "known_us": 0,
        "feature_values": {"a_mean_30d": 1.25, "b_mean_30d": None},
        "null_reasons": {"b_mean_30d": "never"},
    }  # fmt: skip
    store.publish(("labs", "abc"), ["a_mean_30d"], datetime(2024, 6, 30, tzinfo=UTC), [row])
    return store


def test_list_and_explain_show_what_is_declared():
    shown = _called("list").output
    assert "hba1c_slope_180d" in shown and "%/d" in shown
    told = _called("explain", "hba1c_slope_180d").output
    assert "4548-4" in told and "Haemoglobin A1c" in told
    assert "no feature 'x'" in _called("explain", "x").output


def test_get_shows_values_and_reasons_and_notes_the_read_down_only_if_asked(tmp_path):
    store = _published(tmp_path)
    shown = _called("get", 7, "--root", tmp_path).output
    assert "1.25" in shown and "never" in shown and "2024-06-24" in shown
    assert store.unchecked(9) == []
    _called("get", 7, "--root", tmp_path, "--log")
    assert [served.subject_key for _, served in store.unchecked(9)] == [7]


def test_get_refuses_an_unknown_key_and_a_lake_without_a_store(tmp_path):
    assert "run the job feature_store" in _called("get", 7, "--root", tmp_path).output
    assert not online_path(tmp_path).exists()
    _published(tmp_path)
    refused = _called("get", 8, "--root", tmp_path)
    assert refused.exit_code == 2 and "nothing is served under that key" in refused.output


def test_a_training_set_needs_labels_or_a_manifest_not_both(tmp_path):
    refused = _called("training-set", "--out", tmp_path)
    assert refused.exit_code == 2 and "give LABELS, or --again MANIFEST" in refused.output
