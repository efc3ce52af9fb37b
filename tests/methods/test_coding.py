"""Codes against the public lists: check digits, ICD-10-CM by year, GEMs."""

import pytest

from clinical_lakehouse.errors import SourceError
from clinical_lakehouse.methods.coding import (
    icd10cm_status,
    is_loinc,
    is_rxcui,
    loinc_check_digit,
    read_gems,
    read_icd10cm,
    translations,
)


def test_check_digit_is_the_guides():
    """LOINC Users' Guide's own example is 12345-5; the others are known codes."""
    assert loinc_check_digit("12345") == 5
    known = ["2345-7", "2160-0", "4548-4", "718-7", "85354-9", "44261-6", "14749-6", "777-3"]
    assert all(map(is_loinc, known))
    assert not any(map(is_loinc, ["2345-6", "2354-7", "2345", "2345-77", "a-1", ""]))


def test_form_of_an_rxcui():
    assert is_rxcui("860975") and is_rxcui("7980")
    assert not any(map(is_rxcui, ["0860975", "86.1", "", "860975000", "RX1"]))


@pytest.fixture(scope="module")
def releases():
    from tests.conftest import PUBLIC_DATA

    folder = PUBLIC_DATA / "terminology"
    if not folder.exists():
        pytest.skip("public data terminology is not beside the checkout (CLINICAL_PUBLIC_DATA)")
    return (
        read_icd10cm(folder / "icd_gems_and_codes/icd10cm-codes-2024.txt.gz", 2024),
        read_icd10cm(folder / "icd10cm_2026/code-list-April-2026.txt.gz", 2026),
    )


def test_icd10cm_counts_are_the_publishers(releases):
    """CMS: 74,044 codes in FY 2024 (its own release notes)."""
    assert len(releases[0].billable) == 74044
    assert len(releases[1].billable) > 74044
    assert not set(releases[1].billable) & releases[1].headers


@pytest.mark.parametrize(
    ("code", "year", "status"),
    [("E11.9", 2026, "billable"), ("e119", 2026, "billable"), ("E11", 2026, "header"),
     ("C83.39", 2024, "billable"), ("C83.39", 2026, "expired"), ("B88.01", 2024, "not_yet"),
     ("T78.1XXA", 2026, "expired"), ("Q99.77", 2026, "unknown"), ("99.1", 2026, "malformed"),
     ("E11.90000", 2026, "malformed")],
)  # fmt: skip
def test_icd10cm_status_by_year(releases, code, year, status):
    assert icd10cm_status(code, year, releases) == status


def test_a_year_that_is_not_loaded_says_so(releases):
    with pytest.raises(SourceError, match="2019 is not loaded"):
        icd10cm_status("E11.9", 2019, releases)


def test_gems_keep_approximation_no_map_and_combination(public_data):
    gems = read_gems(public_data("terminology") / "icd_gems_and_codes/icd9toicd10cmgem.csv.gz")
    entries = [entry for found in gems.values() for entry in found]
    assert len(entries) == 23912
    assert sum(e.is_no_map for e in entries) == 425
    assert sum(e.is_combination for e in entries) == 2260
    (exact,) = translations("001.0", gems)
    assert exact.choices == (("A000",),) and not exact.is_approximate
    (loose,) = translations("002.0", gems)
    assert loose.is_approximate
    (both,) = translations("073.0", gems)
    assert both.choices == (("A70",), ("J17",)) and both.is_approximate
    assert translations("365.70", gems) == [] and translations("nothing", gems) == []


def test_gems_read_the_publishers_text(tmp_path):
    path = tmp_path / "gem.txt"
    path.write_text("0010  A000    00000\n0730  A70     10111\n0730  J17     10112\n")
    assert translations("0730", read_gems(path))[0].choices == (("A70",), ("J17",))
    path.write_text("nothing here\n")
    with pytest.raises(SourceError, match="no mapping"):
        read_gems(path)
