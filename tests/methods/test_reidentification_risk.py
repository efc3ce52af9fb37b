"""Re-identification risks against the worked tables of the papers that define them."""

from math import exp, log

import pytest

from clinical_lakehouse.methods.reidentification_risk import class_risk, closeness, diversity

QUASI = ("zip", "age")
# Li, Li, Venkatasubramanian 2007 (ICDE), Table 4: a 3-diverse version of Table 3.
LI_4 = [
    ("476**", "2*", 3, "gastric ulcer"),
    ("476**", "2*", 4, "gastritis"),
    ("476**", "2*", 5, "stomach cancer"),
    ("4790*", ">=40", 6, "gastritis"),
    ("4790*", ">=40", 11, "flu"),
    ("4790*", ">=40", 8, "bronchitis"),
    ("476**", "3*", 7, "bronchitis"),
    ("476**", "3*", 9, "pneumonia"),
    ("476**", "3*", 10, "stomach cancer"),
]
# The same paper, Table 5: has 0.167-closeness with respect to salary.
LI_5 = [
    ("4767*", "<=40", 3, "gastric ulcer"),
    ("4767*", "<=40", 5, "stomach cancer"),
    ("4767*", "<=40", 9, "pneumonia"),
    ("4790*", ">=40", 6, "gastritis"),
    ("4790*", ">=40", 11, "flu"),
    ("4790*", ">=40", 8, "bronchitis"),
    ("4760*", "<=40", 4, "gastritis"),
    ("4760*", "<=40", 7, "bronchitis"),
    ("4760*", "<=40", 10, "stomach cancer"),
]
# Machanavajjhala et al. 2007 (ACM TKDD 1), Figure 2: 4-anonymous, one class all cancer.
MACHANAVAJJHALA_2 = [
    *[("130**", "<30", 0, d) for d in ("heart", "heart", "viral", "viral")],
    *[("1485*", ">=40", 0, d) for d in ("cancer", "heart", "viral", "viral")],
    *[("130**", "3*", 0, "cancer") for _ in range(4)],
]
# The same paper, Figure 3: 3-diverse.
MACHANAVAJJHALA_3 = [
    *[("1305*", "<=40", 0, d) for d in ("heart", "viral", "cancer", "cancer")],
    *[("1485*", ">40", 0, d) for d in ("cancer", "heart", "viral", "viral")],
    *[("1306*", "<=40", 0, d) for d in ("heart", "viral", "cancer", "cancer")],
]


@pytest.fixture
def table(spark):
    """Records of a worked table as a DataFrame."""

    def make(rows):
        return spark.createDataFrame(rows, "zip STRING, age STRING, salary INT, disease STRING")

    return make


def _row(frame):
    (row,) = frame.collect()
    return row


@pytest.mark.parametrize(("rows", "t"), [(LI_4, 0.375), (LI_5, 0.167)])
def test_salary_closeness_is_that_of_the_paper(table, rows, t):
    made = _row(closeness(table(rows), QUASI, "salary", is_ordered=True)).t
    assert made == pytest.approx(t, abs=5e-4)


def test_disease_closeness_with_equal_distances(table):
    """By hand: class of ulcer, cancer, pneumonia at 1/3 each against 1/9, 2/9, 1/9: 5/9."""
    made = _row(closeness(table(LI_5), QUASI, "disease", is_ordered=False)).t
    assert made == pytest.approx(5 / 9)


def test_a_class_of_one_disease_has_no_diversity(table):
    made = _row(diversity(table(MACHANAVAJJHALA_2), QUASI, "disease"))
    assert (made.distinct_l, made.entropy_l) == (1, pytest.approx(1.0))


def test_three_diverse_table_is_three_diverse(table):
    """Entropy by hand: shares 1/2, 1/4, 1/4 in every class."""
    made = _row(diversity(table(MACHANAVAJJHALA_3), QUASI, "disease"))
    assert made.distinct_l == 3
    assert made.entropy_l == pytest.approx(exp(0.5 * log(2) + 2 * 0.25 * log(4)))


def test_four_anonymous_table_gives_its_risks(table):
    made = _row(class_risk(table(MACHANAVAJJHALA_2), QUASI))
    assert (made.records, made.classes, made.k) == (12, 3, 4)
    assert made.prosecutor_max_risk_ratio == 0.25
    assert made.prosecutor_mean_risk_ratio == pytest.approx(0.25)
    assert made.marketer_risk_ratio == 0.25
    assert made.small_class_records_ratio == 1.0 and made.is_below_smallest_class


def test_uneven_classes_and_nulls(table):
    """By hand: classes of 12, 3 and one person with neither value; 3 classes over 16 records."""
    rows = [("1", "a", 1, "x")] * 12 + [("1", None, 1, "x")] * 3 + [(None, None, 1, "x")]
    made = _row(class_risk(table(rows), QUASI))
    assert (made.records, made.classes, made.k) == (16, 3, 1)
    assert made.prosecutor_max_risk_ratio == 1.0
    assert made.marketer_risk_ratio == pytest.approx(3 / 16)
    assert made.small_class_records_ratio == pytest.approx(4 / 16)
    assert not _row(class_risk(table(rows[:12]), QUASI)).is_below_smallest_class
    assert _row(closeness(table(rows), QUASI, "disease", is_ordered=False)).t == 0.0


def test_no_records_give_no_risk(table):
    made = _row(class_risk(table([]), QUASI))
    assert (made.records, made.classes, made.k) == (0, 0, None)
    assert made.marketer_risk_ratio is None
