"""The elastic net on whole rows of coefficients: one problem, and the two packages that solve it."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import enet_path

from sbnn._checks import check_choice

SOLVERS = ("sklearn", "glmnet")

#: Duality gap, relative to the response, at which scikit-learn's elastic net counts as solved.
SOLVER_TOLERANCE = 1e-7
#: glmnet stops when no step lowers the objective by more than this part of its value with no gene. glmnet's own 1e-7
#: leaves coefficients of scala_2020 (19 alphas, ranks 2 and 16) wrong by 1e-3, and a gene in or out by chance; this one
#: leaves 2e-6, for two to three times the time.
GLMNET_TOLERANCE = 1e-13
#: Passes over the genes that glmnet may take for each alpha; its own default, there for a whole path.
GLMNET_PASSES = 100_000


def check_solver(solver: str) -> None:
    """Raise ValueError unless `solver` is one of SOLVERS, ImportError where its package is not here."""
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
    r"""Solve a multi-response elastic net whose lasso takes or leaves whole genes, for descending penalties.

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
        Penalties, the largest first; each starts at the solution before.
    l1_ratio : float, more than 0 and at most 1
        Share of the row-wise lasso.
    solver : {"sklearn", "glmnet"}
    start : array, shape (n_genes, n_targets), optional
        Where the first alpha starts; glmnet takes none.

    Returns
    -------
    list of float64 array, shape (n_genes, n_targets)
        One W an alpha.

    Raises
    ------
    RuntimeError
        Where glmnet does not converge.

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

    Genes come in where the gradient exceeds the penalty (the condition for a row of zeros to be optimal is broken),
    until none does: the solution is that of all genes, for a fraction of the time.
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
    """Solve for a few genes; with fewer genes than cells on the triangle of X = QR, where the problem is the same."""
    n_cells, n_genes = X.shape
    tolerance = SOLVER_TOLERANCE
    if n_genes < n_cells:
        Q, X = np.linalg.qr(X)
        squares, target = np.sum(target**2), Q.T @ target
        # Both count per row and relative to the target, which is shorter now.
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
    """Return glmnet's multi-response model and its settings; imported here because it brings statsmodels along."""
    try:
        from glmnet import MultiGaussNet
        from glmnet.paths.fastnet import FastNetControl
    except ImportError as error:
        # Other packages call their module glmnet too; those have no MultiGaussNet.
        raise ImportError(
            f'solver="glmnet" needs the package glmstar, whose module is called glmnet ({error}): pip install glmstar, '
            'or the extra sbnn[glmnet]; solver="sklearn" solves the same problem without it'
        ) from error
    return MultiGaussNet, FastNetControl


def _path_of_glmnet(X, target, alphas, l1_ratio):
    """Solve for all alphas in one call of glmnet, which starts each at the one before but takes no start itself."""
    n_targets = target.shape[1]
    gradient = np.linalg.norm(X.T @ target, axis=1).max() / len(X)
    if gradient <= min(alphas) * l1_ratio:  # no gene comes in; glmnet does not converge where X or T is zero
        return [np.zeros((X.shape[1], n_targets)) for _ in alphas]
    if n_targets == 1:  # glmnet's multi-response model wants two; one of zeros changes no norm of a row
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
    if len(fit.coefs_) < len(alphas):  # it leaves out what did not converge
        raise RuntimeError(
            f"glmnet had not converged at alpha={alphas[len(fit.coefs_)]:g} after {passes} passes over the genes: "
            'raise alpha, or use solver="sklearn"'
        )
    return list(fit.coefs_[:, :, :n_targets])
