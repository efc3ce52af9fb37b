"""Small cells stay hidden, also from somebody who can subtract."""

import itertools

from clinical_lakehouse.pages.disclosure import hidden, is_small


def test_one_to_ten_people_are_a_small_cell_and_nobody_is_none():
    assert [n for n in range(14) if is_small(n)] == list(range(1, 11))


def test_single_small_cell_takes_the_smallest_other_with_it():
    assert hidden({"a": 40, "b": 7, "c": 12, "d": 0}) == {"b", "c"}
    assert hidden({"a": 40, "b": 7, "c": 3}) == {"b", "c"}
    assert hidden({"a": 40, "b": 11}) == frozenset()


def test_no_small_cell_is_the_total_less_what_is_shown():
    for numbers in itertools.product((0, 1, 10, 11, 12, 50), repeat=4):
        people = dict(zip("abcd", numbers, strict=True))
        out = hidden(people)
        assert all(group in out for group, number in people.items() if is_small(number))
        others = [group for group in people if group not in out and people[group] > 0]
        assert len(out) != 1 or not others
