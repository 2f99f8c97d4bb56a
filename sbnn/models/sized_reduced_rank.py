"""Sparse reduced-rank regression that is told how many genes to select, instead of its penalty."""

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sbnn._checks import check_flag, check_matrix, check_number, check_same_cells, check_whole
from sbnn.models.elastic_net import check_solver
from sbnn.models.reduced_rank import ReducedRankRegressor, reduced_rank_path

#: Penalties that are tried, relative to the smallest one that selects no gene. The weaker one is, the more genes are
#: selected: every STEP-th is tried until enough are, then those between the last two.
STRENGTHS = tuple(np.geomspace(1, 0.02, 40).tolist())
STEP = 4


class SizedReducedRank(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A `ReducedRankRegressor` whose penalty is the one that selects nearest to a number of genes.

    The numbers of genes along a path of penalties decide, and nothing else: predictions are not looked at.

    Parameters
    ----------
    n_selected : int
        Number of genes; of two penalties that miss it by as much, the larger is taken.
    rank : int, optional
        None: full rank.
    l1_ratio : float
        More than 0, at most 1.
    relaxed : bool
    solver : {"sklearn", "glmnet"}
        See `sbnn.ReducedRankRegressor`.

    Attributes
    ----------
    alpha_ : float
        The penalty.
    fitted_ : ReducedRankRegressor
    selected_ : bool array, shape (n_genes,)
    gene_norms_ : float array, shape (n_genes,)
    """

    def __init__(
        self,
        n_selected: int = 25,
        rank: int | None = 2,
        l1_ratio: float = 1.0,
        relaxed: bool = True,
        solver: str = "sklearn",
    ):
        self.n_selected = n_selected
        self.rank = rank
        self.l1_ratio = l1_ratio
        self.relaxed = relaxed
        self.solver = solver

    def check_settings(self, n_genes: int | None = None, n_features: int | None = None) -> None:
        """Raise ValueError if a setting is out of range, or cannot be had with so many genes and features."""
        check_whole(self.n_selected, "n_selected")
        check_number(self.l1_ratio, "l1_ratio", above=True, most=1)
        check_flag(self.relaxed, "relaxed")
        check_solver(self.solver)
        if n_genes is not None and self.n_selected > n_genes:
            raise ValueError(f"n_selected must be between 1 and the {n_genes} genes, got {self.n_selected}")
        self._with(1.0).check_settings(n_genes, n_features)

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Find the penalty, and fit.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)
        y : array, shape (n_cells, n_features)
            Without missing values.

        Returns
        -------
        SizedReducedRank
            The fitted instance itself.

        Raises
        ------
        ValueError
            A setting is out of range, numbers of cells differ, values are not finite, or no gene predicts anything.
        """
        X, Y = check_matrix(X, "X"), check_matrix(y, "y")
        check_same_cells(X, Y, "X", "y")
        self.check_settings(X.shape[1], Y.shape[1])
        gradients = (X - X.mean(axis=0)).T @ (Y - Y.mean(axis=0)) / len(X)
        largest = np.linalg.norm(gradients, axis=1).max() / self.l1_ratio
        if not largest > 0:
            raise ValueError("no gene of X varies with y: there is nothing to select")
        alphas = [float(largest * strength) for strength in STRENGTHS]
        numbers: dict[int, int] = {}
        for coarse in range(0, len(alphas), STEP):
            numbers[coarse] = self._count(X, Y, alphas[coarse])
            if numbers[coarse] >= self.n_selected:
                break
        enough = numbers[coarse] >= self.n_selected
        fine = range(max(0, coarse - STEP + 1), coarse) if enough else range(coarse + 1, len(alphas))
        numbers |= {place: self._count(X, Y, alphas[place]) for place in fine}
        self.alpha_ = alphas[min(numbers, key=lambda place: (abs(numbers[place] - self.n_selected), place))]
        self.fitted_ = self._with(self.alpha_).fit(X, Y)
        self.selected_, self.gene_norms_ = self.fitted_.selected_, self.fitted_.gene_norms_
        return self

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Return predicted features of cells X (n_cells, n_genes), shape (n_cells, n_features)."""
        check_is_fitted(self, "fitted_")
        return self.fitted_.predict(X)

    def _count(self, X, Y, alpha):
        """Return how many genes a penalty selects."""
        return int(reduced_rank_path(X, Y, [alpha], self.rank, self.l1_ratio, self.solver)[0].selected.sum())

    def _with(self, alpha):
        """Return the model with a penalty, unfitted."""
        return ReducedRankRegressor(self.rank, alpha, self.l1_ratio, self.relaxed, solver=self.solver)
