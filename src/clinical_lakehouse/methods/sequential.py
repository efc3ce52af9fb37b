"""A difference looked at again and again: mixture sequential probability ratio test (mSPRT)."""

from math import exp, log, sqrt

from clinical_lakehouse.methods.intervals import Interval


def likelihood_ratio(difference: float, error: float, prior_sd: float) -> float:
    """How much likelier a difference from N(0, prior_sd^2) is than none, given its estimate and
    standard error: Johari, Koomen, Pekelis and Walsh 2017 (KDD), eq. 6; Robbins 1970.

    Under no difference it exceeds 1/alpha at any look with a chance of at most alpha (Ville 1939).
    """
    variance, prior = error**2, prior_sd**2
    exponent = difference**2 * prior / (2 * variance * (variance + prior))
    return sqrt(variance / (variance + prior)) * exp(min(exponent, 700.0))


def always_valid_interval(
    difference: float, error: float, prior_sd: float, alpha: float = 0.05
) -> Interval:
    """The differences that the test does not refuse; it covers the true one at all looks together
    with a chance of 1 - alpha. It excludes 0 where the likelihood ratio is over 1/alpha."""
    variance, prior = error**2, prior_sd**2
    width = 2 * log(1 / alpha) + log((variance + prior) / variance)
    half = error * sqrt((variance + prior) / prior * width)
    return Interval(difference, difference - half, difference + half)
