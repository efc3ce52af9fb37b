"""Steps are told within one run; weekly patterns, chance and slow growth are not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from clinical_lakehouse.methods.quality.trends import (
    Point,
    measure_steps,
    share_steps,
    usual,
)

START = datetime(2024, 1, 1, 4, tzinfo=UTC)  # a Monday


def days(values):
    return [Point(START + timedelta(days=n), float(v)) for n, v in enumerate(values)]


def weekly(seed: int, count: int) -> list[Point]:
    """1% on weekdays, 5% at weekends, each with its own noise."""
    draws = np.random.default_rng(seed)
    return days([
        draws.normal(0.05 if n % 7 >= 5 else 0.01, 0.001) for n in range(count)
    ])  # fmt: skip


def test_fewer_than_eight_points_say_nothing():
    points = days([0.1] * 7)
    assert usual(points, START + timedelta(days=7)) is None
    assert usual(days([0.1] * 8), START + timedelta(days=8)) is not None


def test_centre_and_spread_are_median_and_scaled_mad():
    """As scipy computes them, of points that all lie on one weekday."""
    values = [1.0, 1, 2, 2, 4, 6, 9, 2]
    points = [Point(START + timedelta(weeks=n), v) for n, v in enumerate(values)]
    found = usual(points, START + timedelta(weeks=8))
    scaled = median_abs_deviation(values, scale="normal")
    assert (found.centre, found.spread) == (np.median(values), pytest.approx(scaled, rel=1e-4))
    assert found.point_count == 8


def test_a_weekly_pattern_does_not_alert_and_a_step_on_any_day_does():
    false, points = 0, weekly(1, 84)
    for at in range(8, 84):
        expected = usual(points[:at], points[at].at)
        false += share_steps(expected, points[at].value, 20_000)
    assert false <= 2  # of 76 runs; 0.4% are expected by chance, more while weekdays are new
    for at in range(77, 84):
        expected = usual(points[:at], points[at].at)
        step = expected.centre + 3.5 * max(expected.spread, (0.05 * 0.95 / 20_000) ** 0.5)
        assert share_steps(expected, step, 20_000), at


def test_a_saturday_is_no_step_in_the_second_week():
    points = weekly(2, 12)
    saturday = START + timedelta(days=12)
    assert not share_steps(usual(points, saturday), 0.051, 20_000)
    assert share_steps(usual(points, saturday), 0.08, 20_000)
    assert share_steps(usual(points, saturday - timedelta(days=1)), 0.051, 20_000)


def test_one_failing_row_more_is_chance_and_a_fall_is_no_step():
    clean = usual(days([0.0] * 20), START + timedelta(days=20))
    assert not share_steps(clean, 1 / 300, 300)
    assert share_steps(clean, 12 / 300, 300)
    bad = usual(days([0.2, 0.21] * 10), START + timedelta(days=20))
    assert not share_steps(bad, 0.0, 300)


def test_measured_figures_step_both_ways_but_may_grow():
    growing = days(range(1000, 1800, 10))
    expected = usual(growing, START + timedelta(days=80))
    assert not measure_steps(expected, 1800)
    assert measure_steps(expected, 100)
    assert measure_steps(usual(days([500.0] * 9), START + timedelta(days=9)), 530)
    assert not measure_steps(usual(days([500.0] * 9), START + timedelta(days=9)), 510)
