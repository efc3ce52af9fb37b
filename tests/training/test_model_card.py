"""The card asks what TRIPOD+AI and HTI-1 ask, and says who answered."""

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from clinical_lakehouse.errors import SettingsError
from clinical_lakehouse.tables.conf import conf_dir
from clinical_lakehouse.training.model_card import NOBODY, PERSON, RUN, Known, Predicts, model_card

FOLDER = conf_dir() / "model_cards"


@pytest.fixture
def known() -> Known:
    version = {
        "model_name": "dropout_risk", "model_version": 3, "horizon_days": 90,
        "train_from_date": date(2024, 1, 1), "train_to_date": date(2024, 3, 1),
        "test_from_date": date(2024, 3, 8), "test_to_date": date(2024, 4, 1),
        "feature_names": '["age_years", "phq9_baseline"]', "algorithm": "logistic_core",
        "parameters": '{"C": 1.0}', "tracking_run_id": "abc", "train_row_count": 590,
        "test_row_count": 739,
    }  # fmt: skip
    whole = {"group_name": "all", "low": None, "high": None}
    figures = [
        {**whole, "metric": "auroc", "value": 0.791, "low": 0.679, "high": 0.871},
        {**whole, "metric": "people_with_event", "value": 7.0},
        {**whole, "metric": "people_without_event", "value": 118.0},
    ]
    sites = [{"organization_key": None, "measure": "auroc", "value": 0.8, "new_site_low": 0.6,
              "new_site_high": 0.9}]  # fmt: skip
    groups = [{"attribute": "sex", "group_value": "female", "metric": "selection_rate",
               "verdict": "alike", "value": 0.4, "person_count": 70}]  # fmt: skip
    predicts = Predicts("The risk of leaving the trial by withdrawal.", "withdrawal", "competing")
    return Known(version, predicts, figures, [], groups, sites)


def test_the_documents_have_all_their_items(known):
    """27 items of TRIPOD+AI in 52 parts, 31 source attributes of HTI-1 in nine categories."""
    card = model_card(FOLDER, "dropout_risk", known)
    counted = Counter(one.document for one in card)
    assert counted == {"tripod_ai": 52, "hti1": 31}
    whole = {one.item.rstrip("abcdefg") for one in card if one.document == "tripod_ai"}
    assert whole == {str(number) for number in range(1, 28)}
    parts = Counter(one.item.split(".")[0] for one in card if one.document == "hti1")
    assert list(parts.values()) == [4, 4, 2, 4, 2, 4, 5, 4, 2]


def test_each_item_is_answered_by_the_run_or_a_person_or_still_asked(known):
    card = {(one.document, one.item): one for one in model_card(FOLDER, "dropout_risk", known)}
    validity = card["hti1", "7.i"]
    assert (validity.answered_by, validity.answer) == (RUN, "AUROC 0.79 (0.68 to 0.87)")
    assert card["hti1", "2.iii"].answered_by == PERSON
    funding = card["tripod_ai", "18a"]
    assert (funding.answered_by, funding.answer) == (NOBODY, None)
    assert card["hti1", "6.i"].answered_by == NOBODY, "no other data were looked at"
    assert "new site 0.60 to 0.90" in card["tripod_ai", "23b"].answer
    assert "fewer than 11 with" in card["tripod_ai", "21"].answer


def test_a_model_nobody_spoke_of_has_no_persons_answers(known):
    card = model_card(FOLDER, "another", known)
    assert PERSON not in {one.answered_by for one in card}


def test_a_persons_answer_goes_before_the_runs(known, tmp_path: Path):
    folder = tmp_path / "model_cards"
    folder.mkdir()
    (folder / "documents.yml").write_text((FOLDER / "documents.yml").read_text())
    (folder / "x.yml").write_text("answers:\n  hti1:\n    7.i: See the paper\n")
    card = {one.item: one for one in model_card(folder, "x", known) if one.document == "hti1"}
    assert (card["7.i"].answered_by, card["7.i"].answer) == (PERSON, "See the paper")


def test_an_answer_to_what_nobody_asks_is_refused_with_file_and_line(known, tmp_path: Path):
    folder = tmp_path / "model_cards"
    folder.mkdir()
    (folder / "documents.yml").write_text((FOLDER / "documents.yml").read_text())
    (folder / "x.yml").write_text("answers:\n  hti1:\n    2.i: Good\n    10.i: Secret value\n")
    with pytest.raises(SettingsError, match=r"model_cards/x.yml:4 .*unknown field '10.i'"):
        model_card(folder, "x", known)
