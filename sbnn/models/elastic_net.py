"""The elastic net on whole rows of coefficients: one problem, and two packages that solve it."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import enet_path

from sbnn._checks import check_choice

SOLVERS = ("sklearn", "glmnet")

#: Duality gap, relative to the response, at which scikit-learn's elastic net counts as solved.
SOLVER_TOLERANCE = 1e-7
#: glmnet stops when no step lowers the objective by more than this fraction of its value without any gene. With
#: glmnet's default of 1e-7, coefficients of scala_2020 (19 alphas, ranks 2 and 16) are off by 1e-3, and single genes
#: are in or out by chance; this value leaves 2e-6, in two to three times the time.
GLMNET_TOLERANCE = 1e-13
#: Passes over the genes that glmnet may take for each alpha; its own default, which it applies to a whole path.
GLMNET_PASSES = 100_000


def check_solver(solver: str) -> None:
    """Raise ValueError unless `solver` is one of SOLVERS, ImportError if its package is not installed."""
    check_choice(solver, SOLVERS, "solver")
    if solver == "glmnet":
        _import_glmnet()


def solve_rows(
    X: np.ndarray,
    target: np.ndarray,
    alphas: Sequence[float],
    l1_ratio: float,
    solver: str,
    start: np.ndarray | None = None,
) -> list[np.ndarray]:
    r"""Solve a multi-response elastic net whose lasso includes or excludes whole genes, for descending penalties.

    Minimises, with :math:`\rho` the l1_ratio,

    .. math:: \frac{1}{2n} \|T - X W\|_F^2 + \alpha \Big(\rho \sum_i \|W_{i\cdot}\|_2
              + \frac{1 - \rho}{2} \|W\|_F^2\Big).

    Parameters
    ----------
    X : float64 array, shape (n_cells, n_genes)
        Centred expression.
    target : float64 array, shape (n_cells, n_targets)
        The responses T, centred.
    alphas : sequence of float
        Penalties, the largest first; each starts at the solution of the one before.
    l1_ratio : float, more than 0 and at most 1
        Share of the row-wise lasso.
    solver : {"sklearn", "glmnet"}
    start : array, shape (n_genes, n_targets), optional
        Where the first alpha starts; not used by glmnet.

    Returns
    -------
    list of float64 array, shape (n_genes, n_targets)
        One W per alpha.

    Raises
    ------
    RuntimeError
        glmnet does not converge.

    References
    ----------
    Friedman, Hastie & Tibshirani, "Regularization paths for generalized linear models via coordinate descent",
    J. Stat. Softw. 33:1 (2010).
    """
    if solver == "glmnet":
        return _path_of_glmnet(X, target, alphas, l1_ratio)
    W = np.zeros((X.shape[1], target.shape[1])) if start is None else start
    path = []
    for alpha in alphas:
        W = _rows_of_sklearn(X, target, alpha, l1_ratio, W)
        path.append(W)
    return path


def _rows_of_sklearn(X, target, alpha, l1_ratio, start):
    """Solve by scikit-learn's coordinate descent on the genes that matter.

    Genes are added where the gradient exceeds the penalty (the condition for a row of zeros to be optimal is violated),
    until there are none: the solution is that for all genes, in a fraction of the time.
    """
    W = np.array(start)
    working, solved = W.any(axis=1), False
    while True:
        gradient = X.T @ (target - X[:, working] @ W[working]) / len(X)
        broken = ~working & (np.linalg.norm(gradient, axis=1) > alpha * l1_ratio * (1 + SOLVER_TOLERANCE))
        working |= broken
        if (solved and not broken.any()) or not working.any():
            return W
        W[working] = _coordinate_descent(X[:, working], target, alpha, l1_ratio, W[working])
        solved = True


def _coordinate_descent(X, target, alpha, l1_ratio, start):
    """Solve for a few genes; with fewer genes than cells, R of X = QR replaces X, which is an equivalent problem."""
    n_cells, n_genes = X.shape
    tolerance = SOLVER_TOLERANCE
    if n_genes < n_cells:
        Q, X = np.linalg.qr(X)
        squares, target = np.sum(target**2), Q.T @ target
        # Both are per row and relative to the target, which is shorter now.
        alpha, tolerance = alpha * n_cells / n_genes, tolerance * squares / max(np.sum(target**2), 1e-300)
    _, coefficients, _ = enet_path(
        np.asfortranarray(X),
        target,
        l1_ratio=l1_ratio,
        alphas=[alpha],
        coef_init=np.asfortranarray(start.T),
        tol=tolerance,
        max_iter=10_000,
    )
    return coefficients[:, :, 0].T


def _import_glmnet():
    """Return glmnet's multi-response model and its settings; imported here because it imports statsmodels."""
    try:
        from glmnet import MultiGaussNet
        from glmnet.paths.fastnet import FastNetControl
    except ImportError as error:
        # Other packages also have a module glmnet, without MultiGaussNet.
        raise ImportError(
            f'solver="glmnet" needs the package glmstar, whose module is called glmnet ({error}): pip install glmstar, '
            'or the extra sbnn[glmnet]; solver="sklearn" solves the same problem without it'
        ) from error
    return MultiGaussNet, FastNetControl


def _path_of_glmnet(X, target, alphas, l1_ratio):
    """Solve for all alphas in one call of glmnet, which starts each at the one before but accepts no start itself."""
    n_targets = target.shape[1]
    gradient = np.linalg.norm(X.T @ target, axis=1).max() / len(X)
    if gradient <= min(alphas) * l1_ratio:  # no gene enters; glmnet does not converge if X or T is zero
        return [np.zeros((X.shape[1], n_targets)) for _ in alphas]
    if n_targets == 1:  # glmnet's multi-response model needs two; a target of zeros does not change the norms of rows
        target = np.column_stack([target, np.zeros(len(target))])
    multi_response, control = _import_glmnet()
    passes = GLMNET_PASSES * len(alphas)
    fit = multi_response(
        alpha=l1_ratio,
        lambda_values=np.array(alphas, dtype=np.float64),
        standardize=False,
        standardize_response=False,
        fit_intercept=False,
        control=control(thresh=GLMNET_TOLERANCE, maxit=passes),
    ).fit(X, target)
    if len(fit.coefs_) < len(alphas):  # it omits alphas that did not converge
        raise RuntimeError(
            f"glmnet had not converged at alpha={alphas[len(fit.coefs_)]:g} after {passes} passes over the genes: "
            'raise alpha, or use solver="sklearn"'
        )
    return list(fit.coefs_[:, :, :n_targets])
