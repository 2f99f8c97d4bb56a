"""Tests of differences between models: over folds, over animals, and many at once."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from sbnn._checks import check_coverage, check_length


class ResampledT(NamedTuple):
    """Mean difference over folds, the limits of its interval, and the two-sided p value; arrays, shape (n_columns,)."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def corrected_resampled_t(
    differences: npt.ArrayLike, n_train: npt.ArrayLike, n_test: npt.ArrayLike, level: float = 0.95
) -> ResampledT:
    r"""Test differences between two models over folds, whose training cells overlap.

    The scores of folds are not independent, because most training cells are the same in any two folds. The variance of
    the mean of J differences is therefore taken as

    .. math:: \left(\frac{1}{J} + \frac{n_\text{test}}{n_\text{train}}\right) s^2

    instead of :math:`s^2 / J`, where :math:`s^2` is their variance over folds, and the mean divided by its root follows
    a t distribution with J - 1 degrees of freedom.

    Parameters
    ----------
    differences : array, shape (n_folds,) or (n_folds, n_columns)
        Score of one model minus that of the other, each column tested by itself; NaN where a fold has no score.
    n_train, n_test : int array, shape (n_folds,)
        Numbers of training and test cells of each fold; their ratio is averaged over the folds that have a score.
    level : float
        Coverage of the interval.

    Returns
    -------
    ResampledT
        NaN with fewer than two folds. If all differences are the same, the interval has no width; p is then 1 if they
        are zero, and 0 if not.

    Raises
    ------
    ValueError
        Not one number of cells for each fold, or a level that is not between 0 and 1.

    References
    ----------
    Nadeau & Bengio, "Inference for the generalization error", Machine Learning 52:239 (2003).
    """
    check_coverage(level, "level")
    differences = np.asarray(differences, dtype=np.float64)
    differences = differences[:, None] if differences.ndim == 1 else differences
    n_train, n_test = np.asarray(n_train, dtype=float), np.asarray(n_test, dtype=float)
    check_length(n_train, len(differences), "n_train", "fold")
    check_length(n_test, len(differences), "n_test", "fold")
    there = np.isfinite(differences)
    n_folds = there.sum(axis=0)
    enough, degrees = n_folds > 1, np.maximum(n_folds - 1, 1)
    mean = np.where(there, differences, 0).sum(axis=0) / np.maximum(n_folds, 1)
    ratio = np.where(there, (n_test / n_train)[:, None], 0).sum(axis=0) / np.maximum(n_folds, 1)
    variance = (np.where(there, differences - mean, 0) ** 2).sum(axis=0) / degrees
    # Differences that are the same but for their last bits have no variance.
    variance = np.where(variance <= (1e-12 * mean) ** 2, 0, variance)
    error = np.sqrt((1 / np.maximum(n_folds, 1) + ratio) * variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, 2 * stats.t.sf(np.abs(mean) / error, degrees), np.where(mean == 0, 1.0, 0.0))
    reach = stats.t.ppf((1 + level) / 2, degrees) * error
    return ResampledT(*(np.where(enough, values, np.nan) for values in (mean, mean - reach, mean + reach, p)))


def t_test_over_units(gains: np.ndarray, n_values: np.ndarray) -> np.ndarray:
    """Test that the sums of animals are above zero on average: one-sided t test over animals that have values.

    Parameters
    ----------
    gains : array, shape (n_units, n_columns)
        What squared errors summed over the cells of an animal (or a cell) decrease or increase by.
    n_values : array, shape (n_units, n_columns)
        How many values are in each sum; those without are left out.

    Returns
    -------
    array, shape (n_columns,)
        p values: 1 if nothing changes, NaN with fewer than two animals or if a sum is NaN.
    """
    measured = n_values > 0
    n_units = measured.sum(axis=0)
    mean = np.where(measured, gains, 0).sum(axis=0) / np.maximum(n_units, 1)
    squares = (np.where(measured, gains - mean, 0) ** 2).sum(axis=0)
    error = np.sqrt(squares / np.maximum(n_units - 1, 1) / np.maximum(n_units, 1))
    p = stats.t.sf(np.divide(mean, error, out=np.zeros_like(mean), where=error > 0), np.maximum(n_units - 1, 1))
    return np.where((n_units < 2) | np.isnan(mean), np.nan, np.where(error > 0, p, 1.0))


def benjamini_hochberg(p: npt.ArrayLike) -> np.ndarray:
    """Return q values of Benjamini & Hochberg over the p values that there are; NaN where p is NaN.

    Parameters
    ----------
    p : array, shape (n,)

    Returns
    -------
    array, shape (n,)
    """
    p = np.asarray(p, dtype=np.float64)
    q = np.full(len(p), np.nan)
    there = ~np.isnan(p)
    if there.any():
        q[there] = stats.false_discovery_control(p[there])
    return q
