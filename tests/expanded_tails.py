"""Quantiles of a bootstrap over few units that are as wide as Student's t."""

from scipy.stats import norm, t


def expanded_tails(level, n):
    """Return the two quantiles of resamples of n units between which an interval of this level reaches."""
    upper = norm.cdf(t.ppf((1 + level) / 2, n - 1) * (n / (n - 1)) ** 0.5)
    return [1 - upper, upper]
