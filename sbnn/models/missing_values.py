"""Fits to features of which some values are missing: the model's own predictions stand in for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sbnn._checks import warn

#: What stands in for missing values has settled when it changes by less than this, relative to Y; else after so many.
FILLING_TOLERANCE = 1e-9
MAX_FILLINGS = 1000


def fit_observed(
    X: np.ndarray, Y: np.ndarray, fit: Callable[[np.ndarray, Any], tuple[Any, Any]], start: Any = None
) -> tuple[Any, Any]:
    """Fit centred Y where it is observed, again and again, predictions standing in for what is missing.

    The squared error against the filled Y lies above that over the observed values and touches it at the current
    predictions, so that every round lowers the latter.

    Parameters
    ----------
    X : float64 array, shape (n_cells, n_genes)
        Centred expression.
    Y : float64 array, shape (n_cells, n_features)
        Features, centred by the means of the values that are there; NaN where there is none.
    fit : callable
        Takes Y with nothing missing and where to start; returns a `ReducedRankFit`, and where the next fit may start.
    start : object, optional
        Where the first fit starts, as `fit` takes it.

    Returns
    -------
    fit : ReducedRankFit
        With its `offset`, where something is missing.
    start : object
        Where a fit to similar data may start.

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
        f"the values that stand in for missing ones had not settled after {MAX_FILLINGS} rounds: raise alpha",
        ConvergenceWarning,
    )
    return found, start
