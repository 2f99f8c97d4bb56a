"""Sparse reduced-rank regression: the linear counterpart of the bottleneck network, and its paths."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin

from sbnn._checks import check_flag, check_matrix, check_number, check_same_cells, check_targets, check_whole
from sbnn.models.elastic_net import check_solver, solve_rows
from sbnn.models.latent_regressor import LatentRegressorMixin, all_or_nothing_fit
from sbnn.models.missing_values import fit_observed

#: Alternation stops when the relative residual changes by less than this, or after MAX_ROUNDS rounds.
ALTERNATION_TOLERANCE = 1e-6
MAX_ROUNDS = 100
#: Beyond this, products of several values overflow double precision.
LARGEST_VALUE = 1e60


class ReducedRankFit(NamedTuple):
    """Factors of one fit: predictions are X W V' with orthonormal columns of V.

    Attributes
    ----------
    W : float64 array, shape (n_genes, rank)
        Encoder; a gene is selected if its row is not zero.
    V : float64 array, shape (n_features, rank)
        Decoder; all zero if nothing was selected.
    offset : float64 array, shape (n_features,), or 0
        Intercept in addition to the means of the observed values; zero if no value is missing.
    """

    W: np.ndarray
    V: np.ndarray
    offset: np.ndarray | float = 0.0

    @property
    def selected(self) -> np.ndarray:
        """Bool array (n_genes,): genes with a non-zero row of W."""
        return np.any(self.W != 0, axis=1)

    @property
    def norms(self) -> np.ndarray:
        """Float array (n_genes,): row norms of W."""
        return np.linalg.norm(self.W, axis=1)

    @property
    def reaches_rank(self) -> bool:
        """Whether as many genes are selected as the map has components; at full rank, which is no limit, any."""
        full = self.W.shape[1] == full_rank(len(self.W), len(self.V))
        return bool(self.selected.sum() >= (1 if full else self.W.shape[1]))


class ReducedRankRegressor(LatentRegressorMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Reduced-rank regression with a row-wise elastic net (sparse RRR).

    Minimises over W (n_genes x rank) and V (n_features x rank), for centred X and Y,

    .. math:: \frac{1}{2n} \|Y - X W V^\top\|_F^2 + \alpha \Big(\rho \sum_i \|W_{i\cdot}\|_2
              + \frac{1 - \rho}{2} \|W\|_F^2\Big) \quad \text{subject to } V^\top V = I

    by alternating between W (a multi-response elastic net on Y V) and V (from the singular vectors of Y'XW),
    starting at the leading right singular vectors of X'Y. Full rank needs no alternation; l1_ratio = 0 has a
    closed form. Ridge, lasso and elastic net are special cases: `rank=None` with l1_ratio 0, 1 or in between.

    Parameters
    ----------
    rank : int or None
        Number of components; None for full rank: n_features, or n_genes if there are fewer (`full_rank`).
    alpha : float
        Strength of the penalty (glmnet's lambda).
    l1_ratio : float in [0, 1]
        Share of the row-wise lasso (glmnet's alpha); 0 is reduced-rank ridge.
    relaxed : bool
        Fit again with l1_ratio = 0 and the same alpha on the selected genes.
    solver : {"sklearn", "glmnet"}
        Solver of the elastic net: coordinate descent of scikit-learn, or that of glmnet, from its authors' package
        (`pip install glmstar`). The problem is the same.

    Attributes
    ----------
    n_features_in_ : int
        Number of genes.
    feature_names_in_ : str array, shape (n_genes,)
        Their names, if X was a DataFrame.
    W_ : float64 array, shape (n_genes, rank)
        Encoder, components ordered by explained variance at full rank; signs such that the entry of largest
        absolute value in each column of V is positive.
    V_ : float64 array, shape (n_features, rank)
        Decoder with orthonormal columns (zero where no gene is selected).
    selected_ : bool array, shape (n_genes,)
        Genes with a non-zero row of W.
    gene_norms_ : float64 array, shape (n_genes,)
        Row norms of W before relaxation.
    x_mean_, y_mean_ : arrays
        Means of the training cells (for y: of the observed values).
    intercept_ : float64 array, shape (n_features,)
        Prediction for a cell at the mean of X; equal to `y_mean_` unless values are missing.

    References
    ----------
    Kobak et al., "Sparse reduced-rank regression for exploratory visualisation of paired multivariate data",
    J. R. Stat. Soc. C 70:980 (2021).
    """

    def __init__(
        self,
        rank: int | None = 2,
        alpha: float = 0.4,
        l1_ratio: float = 1.0,
        relaxed: bool = False,
        solver: str = "sklearn",
    ):
        self.rank = rank
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.relaxed = relaxed
        self.solver = solver

    @all_or_nothing_fit
    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fit W and V.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)
            Expression; centred here.
        y : array, shape (n_cells, n_features)
            Features; centred here; NaN where not measured (see `reduced_rank_path`).

        Returns
        -------
        ReducedRankRegressor
            The fitted instance itself.

        Raises
        ------
        ValueError
            An argument is out of range, X is not finite, Y is infinite, or a feature or a cell has no value.
        ImportError
            solver="glmnet" and the package glmstar is not installed.
        RuntimeError
            glmnet does not converge.
        """
        self.check_settings()
        X, Y = self._check_training(X, y, np.float64)
        sparse = reduced_rank_path(
            X, Y, alphas=[self.alpha], rank=self.rank, l1_ratio=self.l1_ratio, solver=self.solver
        )[0]
        final = relax(X, Y, sparse, self.alpha) if self.relaxed else sparse
        return self.adopt(final, sparse.selected, sparse.norms, X.mean(axis=0), np.nanmean(Y, axis=0))

    def check_settings(self, n_genes: int | None = None, n_features: int | None = None) -> None:
        """Raise ValueError for arguments with which data of this size cannot be fitted; ImportError without glmstar.

        Parameters
        ----------
        n_genes, n_features : int, optional
            Size of the data, if known.
        """
        if self.rank is not None:
            sizes = [size for size in (n_genes, n_features) if size is not None]
            check_whole(self.rank, "rank", most=min(sizes, default=None))
        check_number(self.alpha, "alpha", above=True)
        check_number(self.l1_ratio, "l1_ratio", most=1)
        check_flag(self.relaxed, "relaxed")
        check_solver(self.solver)

    def adopt(
        self,
        final: ReducedRankFit,
        selected: np.ndarray,
        gene_norms: np.ndarray,
        x_mean: np.ndarray,
        y_mean: np.ndarray,
    ) -> Self:
        """Adopt a fit of `reduced_rank_path`.

        Parameters
        ----------
        final : ReducedRankFit
            The fit used for prediction: the sparse fit itself, or its relaxed refit.
        selected, gene_norms : arrays, shape (n_genes,)
            Of the sparse fit that selected the genes.
        x_mean, y_mean : arrays
            Means of the training cells.

        Returns
        -------
        ReducedRankRegressor
            The instance itself.
        """
        self.W_, self.V_ = final.W, final.V
        self.x_mean_, self.y_mean_, self.intercept_ = x_mean, y_mean, y_mean + final.offset
        self.selected_, self.gene_norms_ = selected, gene_norms
        self.n_features_in_ = len(final.W)
        self.__dict__.pop("calibration_", None)
        return self

    @property
    def _n_latent(self):
        return self.V_.shape[1]

    def _latent(self, X):
        """Latent coordinates (X - mean) W, shape (n_cells, rank)."""
        return (self._check_cells(X, np.float64) - self.x_mean_) @ self.W_

    def decode_features(self, Z: np.ndarray) -> np.ndarray:
        """Return the features predicted from latent coordinates Z (n_cells, rank)."""
        return Z @ self.V_.T + self.intercept_

    def decode_genes(self, Z: np.ndarray) -> np.ndarray:
        """Return the expression Z pinv(W) of every gene, shape (n_cells, n_genes), on the scale of X."""
        return Z @ np.linalg.pinv(self.W_) + self.x_mean_


def full_rank(n_genes: int, n_features: int) -> int:
    """Return the rank that `rank=None` stands for: that of any linear map from so many genes to so many features."""
    return min(n_genes, n_features)


def reduced_rank_path(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    alphas: Sequence[float],
    rank: int | None = 2,
    l1_ratio: float = 1.0,
    solver: str = "sklearn",
) -> list[ReducedRankFit]:
    """Fit sparse reduced-rank regression for many alphas, each warm-started from the next larger one.

    Parameters
    ----------
    X : array, shape (n_cells, n_genes)
        Expression; centred here.
    Y : array, shape (n_cells, n_features)
        Features; centred here. Missing values (NaN) are filled with the model's own predictions, which are updated
        until they converge: this minimises the squared error over the observed values (majorisation).
    alphas : sequence of float
        Penalties, in any order.
    rank, l1_ratio, solver
        As in `ReducedRankRegressor`.

    Returns
    -------
    list of ReducedRankFit
        In the order of `alphas`.

    Raises
    ------
    ValueError, ImportError, RuntimeError
        As in `ReducedRankRegressor.fit`.
    """
    X, Y = check_matrix(X, "X"), check_targets(Y)
    rank = _check_settings(X, Y, alphas, rank, l1_ratio, solver)
    _check_scale(X, Y)
    X, Y = np.asfortranarray(X - X.mean(axis=0)), np.asarray(Y - np.nanmean(Y, axis=0))
    if l1_ratio == 0:
        return [_observed_ridge(X, Y, alpha, rank) for alpha in alphas]
    is_full = rank == full_rank(X.shape[1], Y.shape[1])
    # V at which the alternation starts: leading right singular vectors of X'Y.
    start = np.eye(Y.shape[1]) if is_full else np.linalg.svd(X.T @ np.nan_to_num(Y), full_matrices=False)[2][:rank].T
    rows = partial(solve_rows, X, l1_ratio=l1_ratio, solver=solver)

    def finish(filled, alpha, first):
        return _rotated_to_axes(X, first, rank) if is_full else _alternate(X, filled, first, alpha, rows)

    descending = sorted(set(alphas), reverse=True)
    if np.isnan(Y).any():
        fits = _path_of_observed(X, Y, descending, start, rows, finish)
    else:
        # Every alpha starts at the same V, so that the first W of all alphas form one path.
        firsts = rows(Y @ start, descending)
        fits = {alpha: finish(Y, alpha, first) for alpha, first in zip(descending, firsts, strict=True)}
    return [fits[alpha] for alpha in alphas]


def _path_of_observed(X, Y, alphas, start, rows, finish):
    """Fit descending alphas to Y with missing values; the first W of each starts at the first W of the one before."""

    def fit(filled, before, alpha):
        (first,) = rows(filled @ start, [alpha], start=before)
        return finish(filled, alpha, first), first

    fits, first = {}, None
    for alpha in alphas:
        fits[alpha], first = fit_observed(X, Y, partial(fit, alpha=alpha), first)
    return fits


def _check_scale(X, Y):
    """Raise ValueError if squares of the values, or their sums, are not finite."""
    for values, name in ((X, "X"), (Y, "Y")):
        largest = np.nanmax(np.abs(values), initial=0)
        if largest > LARGEST_VALUE:
            raise ValueError(
                f"{name} holds values up to {largest:.3g}, whose products overflow: z-score it (sbnn.Preprocessor)"
            )


def _check_settings(X, Y, alphas, rank, l1_ratio, solver):
    """Check the arguments of a path and return the rank as a number."""
    check_same_cells(X, Y)
    most = full_rank(X.shape[1], Y.shape[1])
    rank = most if rank is None else rank
    check_whole(rank, "rank", most=most)
    if not np.iterable(alphas) or not len(alphas):
        raise ValueError(f"alphas must be one or more penalties, got {alphas!r}")
    for alpha in alphas:
        check_number(alpha, "alpha", above=True)
    check_number(l1_ratio, "l1_ratio", most=1)
    check_solver(solver)
    return rank


def relax(X: npt.ArrayLike, Y: npt.ArrayLike, fit: ReducedRankFit, alpha: float) -> ReducedRankFit:
    """Fit reduced-rank ridge with the same alpha on the genes that a sparse fit selected.

    Parameters
    ----------
    X, Y : arrays
        As given to the sparse fit.
    fit : ReducedRankFit
        The sparse fit.
    alpha : float
        Its penalty, now used as a pure ridge penalty.

    Returns
    -------
    ReducedRankFit
        Zero for the other genes; the sparse fit itself if it does not reach its rank (`ReducedRankFit.reaches_rank`).
    """
    X, Y = check_matrix(X, "X"), check_targets(Y)
    if not fit.reaches_rank:
        return fit
    chosen = X[:, fit.selected] - X[:, fit.selected].mean(axis=0)
    refit = _observed_ridge(chosen, Y - np.nanmean(Y, axis=0), alpha, fit.W.shape[1])
    W = np.zeros_like(fit.W)
    W[fit.selected] = refit.W
    return refit._replace(W=W)


def _observed_ridge(X, Y, alpha, rank):
    """Reduced-rank ridge on the observed values of Y."""
    return fit_observed(X, Y, lambda filled, start: (_ridge(X, filled, alpha, rank), start))[0]


def _ridge(X, Y, alpha, rank):
    """Reduced-rank ridge as in the paper: full ridge, then the leading components of its fit.

    The smaller of the two Gram matrices is used. (Below full rank, the exact minimiser of the penalised
    objective uses the components of fit and penalty combined; R2 differs by 0.0005 on M1.)
    """
    n_cells, n_genes = X.shape
    penalty = n_cells * alpha
    if n_genes <= n_cells:
        coefficients = np.linalg.solve(X.T @ X + penalty * np.eye(n_genes), X.T @ Y)
    else:
        coefficients = X.T @ np.linalg.solve(X @ X.T + penalty * np.eye(n_cells), Y)
    return _rotated_to_axes(X, coefficients, rank)


def _alternate(X, Y, W, alpha, rows):
    """Alternate between V and W until the residual converges."""
    total = np.sum(Y**2)
    residual = np.inf
    V = np.zeros((Y.shape[1], W.shape[1]))
    for round_number in range(MAX_ROUNDS):
        if round_number:
            (W,) = rows(Y @ V, [alpha], start=W)
        if not W.any():
            return ReducedRankFit(W, np.zeros_like(V))
        latent = X @ W
        left, _, right = np.linalg.svd(Y.T @ latent, full_matrices=False)
        V = left @ right
        before, residual = residual, np.sum((Y - latent @ V.T) ** 2) / total
        if abs(before - residual) < ALTERNATION_TOLERANCE:
            break
    signs = _column_signs(V)
    return ReducedRankFit(W * signs, V * signs)


def _rotated_to_axes(X, coefficients, rank):
    """Write full-rank coefficients B as B V V' with V the leading right singular vectors of the fit X B."""
    if not coefficients.any():
        return ReducedRankFit(coefficients[:, :rank], np.zeros((coefficients.shape[1], rank)))
    fitted = X @ coefficients
    _, vectors = np.linalg.eigh(fitted.T @ fitted)
    V = vectors[:, ::-1][:, :rank]
    V = V * _column_signs(V)
    return ReducedRankFit(coefficients @ V, V)


def _column_signs(V):
    """Signs that make the entry of largest absolute value in each column positive."""
    signs = np.sign(V[np.argmax(np.abs(V), axis=0), np.arange(V.shape[1])])
    return np.where(signs == 0, 1, signs)
