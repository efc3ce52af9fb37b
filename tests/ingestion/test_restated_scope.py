"""What a restatement is asked for: read strictly, days whole, and whose people are whole."""

from datetime import UTC, datetime

import pytest

from clinical_lakehouse.errors import UsageError
from clinical_lakehouse.ingestion.restated_scope import Part, part_asked


def test_a_part_is_read_and_a_day_is_whole():
    given = {"subject": "12, 7,", "received_from": "2024-03-01", "received_to": "2024-03-02"}
    assert part_asked(given) == Part(
        subjects=(7, 12),
        received_from=datetime(2024, 3, 1, tzinfo=UTC),
        received_to=datetime(2024, 3, 2, 23, 59, 59, 999999, tzinfo=UTC),
    )
    assert part_asked({"received_to": "2024-03-02T06:00:00"}).received_to.hour == 6
    assert part_asked({"subject": "7", "site": "3"}).is_of_whole_people
    assert not part_asked({"subject": "7", "file": "a/b.ndjson"}).is_of_whole_people


@pytest.mark.parametrize(("given", "said"), [
    ({}, "say what to restate"),
    ({"subject": " , "}, "say what to restate"),
    ({"site": "north"}, "--site must be a surrogate key"),
    ({"received_to": "yesterday"}, "--to must be an ISO date"),
    ({"received_from": "2024-03-02", "received_to": "2024-03-01"}, "--to must not be earlier"),
])  # fmt: skip
def test_what_names_no_part_is_refused(given, said):
    with pytest.raises(UsageError, match=said):
        part_asked(given)
