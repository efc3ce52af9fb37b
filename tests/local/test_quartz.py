"""Quartz expressions: what the Quartz tutorial gives as examples passes, what cannot fire fails."""

import pytest

from clinical_lakehouse.local.quartz import quartz_fault


@pytest.mark.parametrize(
    "expression",
    # The examples of the Quartz scheduler's "CronTrigger Tutorial".
    [
        "0 0 12 * * ?",
        "0 15 10 ? * *",
        "0 15 10 * * ? 2005",
        "0 * 14 * * ?",
        "0 0/5 14,18 * * ?",
        "0 0-5 14 * * ?",
        "0 10,44 14 ? 3 WED",
        "0 15 10 ? * MON-FRI",
        "0 15 10 15 * ?",
        "0 15 10 L * ?",
        "0 15 10 L-2 * ?",
        "0 15 10 ? * 6L",
        "0 15 10 ? * 6L 2002-2005",
        "0 15 10 ? * 6#3",
        "0 0 12 1/5 * ?",
        "0 11 11 11 11 ?",
        "0 0 6 LW JAN-MAR ?",
        "0 0 6 15w * ?",
    ],
)
def test_expressions_of_the_quartz_tutorial_are_taken(expression):
    assert quartz_fault(expression) is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 4 * * *", "6 or 7 fields"),
        ("0 0 4 * * ? 2024 1", "6 or 7 fields"),
        ("0 0 4 * * *", "exactly one of day of month and day of week"),
        ("0 0 4 ? * ?", "exactly one of day of month and day of week"),
        ("60 0 4 * * ?", "seconds: '60' is outside 0-59"),
        ("0 0 24 * * ?", "hours: '24' is outside 0-23"),
        ("0 0 4 0 * ?", "day of month: '0' is outside 1-31"),
        ("0 0 4 ? * 0", "day of week: '0' is outside 1-7"),
        ("0 0 4 ? * MO", "day of week: 'MO' is not understood"),
        ("0 0 4 * 13 ?", "month: '13' is outside 1-12"),
        ("0 0/0 4 * * ?", "minutes: '0/0' has a step outside 1-59"),
        ("0 1-2-3 4 * * ?", "minutes: '1-2-3' is not understood"),
        ("0 ? 4 * * ?", "minutes: '\\?' stands only in a day field"),
        ("0 0 4 L,15 * ?", "cannot be part of a list"),
        ("0 0 4 ? * 6#6", "day of week: '6#6' is not understood"),
        ("0 0 4 * * ? 1969", "year: '1969' is outside 1970-2199"),
        ("", "6 or 7 fields"),
    ],
)
def test_expressions_that_cannot_fire_are_refused_with_the_field(expression, said):
    import re

    assert re.search(said, quartz_fault(expression) or "nothing was found")
