"""`quality explain` says what a check means and where it stands; a wrong name is refused."""

from click.testing import CliRunner

from clinical_lakehouse.cli import main


def told(*words: str) -> str:
    return " ".join(CliRunner().invoke(main, ["quality", *words]).output.split())


def test_a_check_is_explained_with_its_place_version_and_effect():
    said = told("explain", "not_before_consent")
    assert "silver.adverse_event: not_before_consent" in said
    for word in ("conf/quality/trial.yml:", "0.01 of them", "consented_at: min(started_at)",
                 "error: counts twice", "temporal (plausibility)"):  # fmt: skip
        assert word in said, word


def test_a_contracts_check_is_explained_by_its_table():
    said = told("explain", "silver.patient.subject_key_unique")
    assert "no other row has the same" in said and "the contract of silver.patient" in said


def test_an_unknown_check_is_refused_with_like_ones():
    result = CliRunner().invoke(main, ["quality", "explain", "before_consent"])
    assert result.exit_code != 0
    assert "not_before_consent" in result.output
