"""Montgomery's worked examples of the tabular CUSUM and the EWMA come out as he prints them."""

import pytest

from clinical_lakehouse.methods.control_charts import cusum, ewma

# Montgomery, Introduction to Statistical Quality Control, 7th ed., table 9.1: 20 values of mean 10,
# then 10 of mean 11; sigma 1.
VALUES = [
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34),
    *(9.03, 11.47, 10.51, 9.40, 10.08, 9.37, 10.62, 10.31, 8.52, 10.84),
    *(10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
]


def test_cusum_is_montgomerys_example_9_1():
    """k 0.5, h 5: signal at period 29, C+ 5.28, N+ 7: the shift lies between 22 and 23."""
    points = cusum(VALUES, target=10, sigma=1)
    assert [round(p.below, 2) for p in points[:3]] == [0.05, 1.56, 1.77]
    assert [round(p.above, 2) for p in points[3:5]] == [1.16, 2.82]
    first = next(number for number, p in enumerate(points, 1) if p.height > 5)
    assert (first, round(points[28].above, 2), points[28].count_above) == (29, 5.28, 7)


def test_ewma_is_montgomerys_example_9_2():
    """lambda 0.10, L 2.7: z1 9.945, z2 9.7495, limits from 9.73 and 10.27 to 9.38 and 10.62. By the
    recursion worked by hand z28 is 10.573 and z29 10.647: only then a limit is crossed."""
    points = ewma(VALUES, target=10, sigma=1)
    assert [p.mean for p in points[:2]] == pytest.approx([9.945, 9.7495])
    assert (round(points[0].low, 2), round(points[0].high, 2)) == (9.73, 10.27)
    assert (round(points[29].low, 2), round(points[29].high, 2)) == (9.38, 10.62)
    assert [round(p.mean, 3) for p in points[27:29]] == [10.573, 10.647]
    assert next(number for number, p in enumerate(points, 1) if p.is_out) == 29
