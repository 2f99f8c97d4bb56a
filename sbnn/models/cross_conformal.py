"""Prediction intervals by cross-conformal prediction (CV+): folds of the calibration, and the bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_coverage, check_length, check_whole, preview, warn
from sbnn.models.fit_arguments import group_numbers
from sbnn.models.inner_folds import inner_folds
from sbnn.models.r2 import as_columns

#: Folds of a calibration, unless the caller gives another number.
N_FOLDS = 5
#: Sums of a prediction and a residual that are held in memory at once.
_HELD_AT_ONCE = 2**22
#: Errors of rounding in coverage (n + 1), which must not raise it to the next whole number.
_ROUNDING = 1e-9


class Interval(NamedTuple):
    """Lower and upper bounds of features, of the shape of the predictions: arrays, or DataFrames of cells x features.

    Attributes
    ----------
    low, high : arrays or DataFrames
    """

    low: Any
    high: Any


class CalibrationFolds(NamedTuple):
    """Training and held-out cells of each fold of a calibration.

    Attributes
    ----------
    folds : list of (training rows, held-out rows)
        Every cell is held out once.
    groups : int array, shape (n_cells,), or None
        Number of the group (animal) of each cell, which folds keep together; None if cells were drawn one by one.
    """

    folds: list[tuple[np.ndarray, np.ndarray]]
    groups: np.ndarray | None

    @property
    def n_groups(self) -> int | None:
        """Number of groups."""
        return None if self.groups is None else int(self.groups.max()) + 1


def calibration_folds(
    n_cells: int, n_folds: int = N_FOLDS, groups: npt.ArrayLike | None = None, random_state: int = 0
) -> CalibrationFolds:
    """Split cells into folds for a calibration, at random, with the cells of a group (an animal) together.

    Parameters
    ----------
    n_cells : int
    n_folds : int
        At least 2; as many folds as there are groups, if these are fewer.
    groups : array, shape (n_cells,), optional
        Names or numbers of groups.
    random_state : int
        Of the same value, the same folds.

    Returns
    -------
    CalibrationFolds
        Training cells are in random order: a stage that trains on the first of them must not see those of the animals
        recorded first.

    Raises
    ------
    ValueError
        Fewer than two folds, groups or cells; groups of another number of cells, or missing ones.

    Warns
    -----
    UserWarning
        There are no groups.
    """
    check_whole(n_folds, "n_folds", least=2)
    check_whole(random_state, "random_state", least=0, most=2**32 - 1)
    numbered = group_numbers(groups, n_cells)
    folds = inner_folds(n_cells, random_state, numbered, n_folds)
    if numbered is None:
        warn(
            "the donors of the cells are not given, or not all known: folds of the calibration are random cells, and "
            "intervals hold for further cells of the same donors, hardly for those of others"
        )
    return CalibrationFolds(folds, numbered)


def order_of_bound(n_residuals: int, coverage: float) -> int:
    """Return which of n values in ascending order is the upper bound: ceil(coverage (n + 1)).

    Beyond n, there are too few residuals for this coverage.
    """
    return max(1, math.ceil(coverage * (n_residuals + 1) - _ROUNDING))  # .55 * 100 is a little more than 55


def residuals_needed(coverage: float) -> int:
    """Return the smallest number of residuals from which an interval of this coverage has finite bounds."""
    return max(1, math.ceil((coverage - _ROUNDING) / (1 - coverage)))


def cross_conformal_bounds(
    predictions: npt.ArrayLike, residuals: npt.ArrayLike, folds: npt.ArrayLike, coverage: float = 0.9
) -> Interval:
    r"""Return the bounds of CV+ for new cells, feature by feature.

    With :math:`\hat\mu_{-k(i)}` the model of the fold that held training cell i out, and its absolute residual
    :math:`R_i = |y_i - \hat\mu_{-k(i)}(x_i)|`, the upper bound at x is the ceil(coverage (n + 1))-th smallest of
    :math:`\hat\mu_{-k(i)}(x) + R_i` over the n training cells whose feature is observed, the lower bound the
    ceil(coverage (n + 1))-th largest of :math:`\hat\mu_{-k(i)}(x) - R_i`.

    Parameters
    ----------
    predictions : array, shape (n_folds, n_new_cells, n_features)
        Of the model of each fold for the new cells.
    residuals : array, shape (n_cells, n_features)
        Absolute residuals of the training cells; NaN where a feature was not measured.
    folds : int array, shape (n_cells,)
        The fold that held a training cell out.
    coverage : float

    Returns
    -------
    Interval
        Two float64 arrays (n_new_cells, n_features). Infinite for a feature with too few residuals
        (`residuals_needed`). The bounds for a larger coverage always enclose those for a smaller one; below one half,
        where the definition can give an empty interval, bounds are moved, if needed, to hold the median over training
        cells of :math:`\hat\mu_{-k(i)}(x)`.

    Raises
    ------
    ValueError
        A coverage that is not between 0 and 1, shapes that disagree, folds without predictions.

    Notes
    -----
    If cells are exchangeable, at least 2 coverage - 1 (minus about the root of 2 / n) of new cells are inside whatever
    the model; in practice about `coverage` are.

    References
    ----------
    Barber, Candès, Ramdas & Tibshirani, "Predictive inference with the jackknife+", Annals of Statistics 49:486
    (2021), section 3.
    """
    coverage = check_coverage(coverage)
    predictions, residuals = np.asarray(predictions, np.float64), np.asarray(residuals, np.float64)
    folds = np.asarray(folds)
    if predictions.ndim != 3 or residuals.ndim != 2 or predictions.shape[2] != residuals.shape[1]:
        raise ValueError(
            "predictions must have the shape (folds, new cells, features) and residuals (cells, features) of the same "
            f"features, got {predictions.shape} and {residuals.shape}"
        )
    check_length(folds, len(residuals), "folds", "cell of residuals")
    if folds.dtype.kind not in "iu" or (len(folds) and not (folds.min() >= 0 and folds.max() < len(predictions))):
        raise ValueError(f"folds must be numbers below {len(predictions)}, one per row of predictions, got {folds!r}")
    low, high = (np.full(predictions.shape[1:], bound) for bound in (-np.inf, np.inf))
    for feature in range(residuals.shape[1]):
        observed = ~np.isnan(residuals[:, feature])
        n = int(observed.sum())
        order = order_of_bound(n, coverage)
        if order > n:
            continue
        size = max(1, _HELD_AT_ONCE // n)
        for start in range(0, predictions.shape[1], size):
            block = slice(start, start + size)
            centres = predictions[:, block, feature][folds[observed]]
            reach = residuals[observed, feature][:, None]
            high[block, feature] = np.partition(centres + reach, order - 1, axis=0)[order - 1]
            low[block, feature] = np.partition(centres - reach, n - order, axis=0)[n - order]
            if 2 * order <= n:
                middle = np.median(centres, axis=0)
                low[block, feature] = np.minimum(low[block, feature], middle)
                high[block, feature] = np.maximum(high[block, feature], middle)
    return Interval(low, high)


@dataclass(eq=False, repr=False)
class Calibration:
    """What intervals are made of: a model per fold, and the residuals of the cells that it did not see.

    Attributes
    ----------
    models : list
        One per fold, in the form that predicts (`sbnn.models.calibration_models`).
    residuals : float64 array, shape (n_cells, n_features)
        Absolute residual of each training cell from the model of the fold that held it out; NaN where not measured.
    folds : int array, shape (n_cells,)
        That fold.
    n_groups : int or None
        Groups of cells (animals) that the folds keep together; None if they hold out random cells.
    feature_names : sequence of str, optional
        For warnings.
    """

    models: Sequence[Any]
    residuals: np.ndarray
    folds: np.ndarray
    n_groups: int | None = None
    feature_names: Sequence[str] | np.ndarray | None = None

    def __repr__(self) -> str:
        """Say from how many folds, cells and groups it is."""
        n_cells, n_features = self.residuals.shape
        kept = "random cells" if self.n_groups is None else f"{self.n_groups} groups of cells kept together"
        return f"Calibration: {len(self.models)} folds, {n_cells} cells, {n_features} features, {kept}"

    def interval(self, X: npt.ArrayLike, coverage: float = 0.9) -> Interval:
        """Return the bounds for cells X, shape (n_cells, n_features); see `cross_conformal_bounds`."""
        coverage = check_coverage(coverage)
        predictions = [np.asarray(model.predict(X)) for model in self.models]
        shape = (len(predictions[0]), self.residuals.shape[1])
        return self.interval_around([as_columns(one, shape) for one in predictions], coverage)

    def interval_around(self, predictions: Sequence[np.ndarray], coverage: float) -> Interval:
        """Return the bounds for cells of which each fold's model predicts (n_cells, n_features).

        Parameters
        ----------
        predictions : list of arrays
        coverage : float

        Returns
        -------
        Interval

        Warns
        -----
        UserWarning
            A feature has too few residuals: its bounds are infinite.
        """
        n_observed = (~np.isnan(self.residuals)).sum(axis=0)
        needed = residuals_needed(check_coverage(coverage))
        few = np.flatnonzero(n_observed < needed)
        if len(few):
            names = np.arange(len(n_observed)) if self.feature_names is None else np.asarray(self.feature_names)
            lacking = [f"{name} ({n} cells)" for name, n in zip(names[few], n_observed[few], strict=True)]
            warn(
                f"bounds of {len(few)} feature(s) are infinite: too few training cells have a value of them for a "
                f"coverage of {coverage:g}, which needs {needed}: {preview(lacking)}"
            )
        return cross_conformal_bounds(np.stack(predictions), self.residuals, self.folds, coverage)
