"""Fits to features with missing values, which are filled with the model's own predictions."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sbnn._checks import warn

#: Filled values have converged when they change by less than this, relative to Y; and the largest number of rounds.
FILLING_TOLERANCE = 1e-9
MAX_FILLINGS = 1000


def fit_observed(
    X: np.ndarray, Y: np.ndarray, fit: Callable[[np.ndarray, Any], tuple[Any, Any]], start: Any = None
) -> tuple[Any, Any]:
    """Fit centred Y where it is observed, repeatedly filling missing values with predictions.

    The squared error against the filled Y is an upper bound of that over the observed values, and equal to it at the
    current predictions, so that every round lowers the latter.

    Parameters
    ----------
    X : float64 array, shape (n_cells, n_genes)
        Centred expression.
    Y : float64 array, shape (n_cells, n_features)
        Features, centred by the means of the observed values; NaN where a value is missing.
    fit : callable
        Takes Y without missing values and a starting point; returns a `ReducedRankFit`, and a starting point for the
        next fit.
    start : object, optional
        Starting point of the first fit, in the form that `fit` takes.

    Returns
    -------
    fit : ReducedRankFit
        With its `offset`, if values are missing.
    start : object
        Starting point for a fit to similar data.

    References
    ----------
    Mazumder, Hastie & Tibshirani, "Spectral regularization algorithms for learning large incomplete matrices",
    JMLR 11:2287 (2010).
    """
    missing = np.isnan(Y)
    filled = np.where(missing, 0, Y)
    if not missing.any():
        return fit(filled, start)
    for _ in range(MAX_FILLINGS):
        offset = filled.mean(axis=0)
        found, start = fit(filled - offset, start)
        found = found._replace(offset=offset)
        predicted = (X @ found.W @ found.V.T + offset)[missing]
        change = np.sum((filled[missing] - predicted) ** 2)
        if change <= FILLING_TOLERANCE * np.sum(filled**2):
            return found, start
        filled[missing] = predicted
    warn(
        f"the values filled in for missing ones had not converged after {MAX_FILLINGS} rounds: raise alpha",
        ConvergenceWarning,
    )
    return found, start
