"""Lines of a file against rows in bronze: the first that differs is named."""

import pytest

from clinical_lakehouse.errors import AccountingError
from clinical_lakehouse.ingestion.accounting import Stored, check_lines
from clinical_lakehouse.ingestion.landing import survey


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ([1, 3, 4], None),
        ([1, 3], "has 3 resources, bronze.fhir_resource 2: line 4 is missing"),
        ([3, 4], "line 1 is missing"),
        ([1, 3, 3, 4], "has 3 resources, bronze.fhir_resource 4: line 3 is there twice"),
        ([1, 3, 4, 4], "line 4 is there twice"),
        ([1, 1, 4], "line 1 is there twice"),
        ([], "line 1 is missing"),
    ],
)
def test_first_line_that_differs_is_named(tmp_path, stored, said):
    (tmp_path / "a.ndjson").write_bytes(b"{}\n\n{}\n{}\n")
    file = survey(tmp_path, "a.ndjson")
    asked = []

    def lines_of(file_id):
        asked.append(file_id)
        return iter(stored)

    there = {file.file_id: Stored(len(stored), len(stored), sum(stored))} if stored else {}
    if said is None:
        check_lines([file], there, lines_of)
        assert asked == []  # nothing is read again while the sums agree
    else:
        with pytest.raises(AccountingError, match=rf"^a\.ndjson .*{said}$"):
            check_lines([file], there, lines_of)


def test_a_bundle_has_no_lines_to_count(tmp_path):
    (tmp_path / "a.json").write_bytes(b"{}")
    file = survey(tmp_path, "a.json")
    check_lines([file], {file.file_id: Stored(3, 1, 1)}, lambda _: iter(()))
