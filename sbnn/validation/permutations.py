"""Permutations of one gene among the held-out cells of a fold, and how they change the squared errors."""

import numpy as np
from sklearn.base import BaseEstimator

from sbnn.models.r2 import as_columns
from sbnn.validation.folds import FoldView

#: Predictions that change by less, in SDs of the feature, are the same: the last bits of a matrix product depend on the
#: number of its rows.
ROUNDING = 1e-6
#: Values of X that are copied for one call of `predict`.
VALUES_AT_ONCE = 8_000_000


class HeldOutCells:
    """The test cells of a fold, what its model predicts for them, and permutations that are the same for all genes.

    Parameters
    ----------
    number : int
        Of the fold, for errors.
    estimator : estimator
        Fitted on the training cells.
    view : FoldView
        What it saw.
    units : int array, shape (n_test,)
        Number of the animal (or cell) that each test cell counts for.
    n_repeats : int
    random : Generator

    Attributes
    ----------
    residuals : array, shape (n_test, n_features)
        Y minus predictions; 0 where Y is missing.
    deviations : array, shape (n_test, n_features)
        Y minus the means of the training cells; 0 where Y is missing.
    observed : bool array, shape (n_test, n_features)
    selected : bool array, shape (n_genes,)
        Genes of the data that the model reads; all that it sees, if it does not say.
    partners : int array, shape (n_repeats, n_test)
        From which cell each cell gets the gene: permutations without cells that stay in place, so that the expected
        difference is that of two different cells however few there are.

    Raises
    ------
    ValueError
        Fewer than two test cells, or predictions that are not finite.
    """

    def __init__(
        self,
        number: int,
        estimator: BaseEstimator,
        view: FoldView,
        units: np.ndarray,
        n_repeats: int,
        random: np.random.Generator,
    ):
        n_test = len(view.test)
        if n_test < 2:
            raise ValueError(
                f"fold {number} has {n_test} test cell(s), and permuting takes at least 2: choose larger folds"
            )
        self.number, self.estimator, self.units = number, estimator, units
        self.X, Y = view.X[view.test], view.Y[view.test].astype(np.float64)
        self.observed = ~np.isnan(Y)
        self.deviations = np.where(self.observed, Y - np.nanmean(view.Y[view.train].astype(np.float64), axis=0), 0)
        self.predictions = self._predict(self.X)
        self.residuals = np.where(self.observed, Y - self.predictions, 0)
        seen = np.ones(self.X.shape[1], dtype=bool) if view.genes is None else view.genes
        self.selected = seen.copy()
        self.selected[seen] = getattr(estimator, "selected_", True)
        self._column = np.cumsum(seen) - 1
        self.partners = np.stack([_move_all(n_test, random) for _ in range(n_repeats)])

    def _predict(self, X):
        """Predictions, two-dimensional and finite, in double precision."""
        predictions = as_columns(self.estimator.predict(X), (len(X), self.observed.shape[1])).astype(np.float64)
        if not np.isfinite(predictions).all():
            raise ValueError(
                f"the model of fold {self.number} predicts values that are not finite: did its training diverge?"
            )
        return predictions

    def increase(self, gene: int) -> np.ndarray:
        """Return by how much squared errors increase when a gene is permuted, on average over permutations.

        Parameters
        ----------
        gene : int
            Number of the gene in the data, one that the model sees.

        Returns
        -------
        array, shape (n_test, n_features)
            0 where Y is missing.
        """
        column = self._column[gene]
        levels, own = np.unique(self.X[:, column], return_inverse=True)
        repeat, cell = np.nonzero(own[self.partners] != own)  # many get the value that they had: that of a zero count
        # ... or the same value several times, which is predicted once.
        pairs, times = np.unique(cell * len(levels) + own[self.partners[repeat, cell]], return_counts=True)
        increase = np.zeros_like(self.residuals)
        smallest = ROUNDING * np.sqrt(np.mean(self.deviations**2, axis=0))
        rows = max(1, VALUES_AT_ONCE // self.X.shape[1])
        for start in range(0, len(pairs), rows):
            cells, values = np.divmod(pairs[start : start + rows], len(levels))
            X = self.X[cells]
            X[:, column] = levels[values]
            change = self._predict(X) - self.predictions[cells]
            change[np.abs(change) <= smallest] = 0
            more = change * (change - 2 * self.residuals[cells])
            np.add.at(increase, cells, times[start : start + rows, None] * more)
        return np.where(self.observed, increase, 0) / len(self.partners)


def _move_all(n_cells, random):
    """Return a permutation in which no cell stays in place, and each other one is equally likely."""
    order = random.permutation(n_cells)
    partners = np.empty(n_cells, dtype=int)
    partners[order] = np.roll(order, 1)
    return partners
