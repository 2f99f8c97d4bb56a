"""Layouts of cells by their features: coordinates that a network can learn before anything else."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_choice, check_matrix
from sbnn.models.clusters import View

LAYOUTS = ("pca", "tsne")
#: z-scores further than this from the median count as this far, so that single cells do not set the axes.
LARGEST = 4.0
#: Ridge, in units of a feature's variance, that places cells with few observed features near the centre.
RIDGE = 0.1


def feature_layout(Y: npt.ArrayLike, kind: str = "pca", n_dims: int = 2) -> np.ndarray:
    """Lay cells out by their features, without a random number: the same features give the same layout.

    Parameters
    ----------
    Y : array, shape (n_cells, n_features)
        z-scored features; missing values (NaN) are left out.
    kind : {"pca", "tsne"}
        Principal components, or t-SNE that starts from them.
    n_dims : int
        Number of coordinates.

    Returns
    -------
    float32 array, shape (n_cells, n_dims)
        With mean 0 and, on the axis that varies most, SD 1.

    Raises
    ------
    ValueError
        There are fewer features, or cells, than coordinates.
    """
    check_choice(kind, LAYOUTS, "layout")
    Y = np.asarray(Y, dtype=np.float64)
    if min(Y.shape) < n_dims:
        raise ValueError(
            f"a layout of {n_dims} coordinates needs as many cells and features, got {Y.shape[0]} cells and "
            f"{Y.shape[1]} features: choose another schedule, or a smaller bottleneck_dim"
        )
    places = principal_components(Y, n_dims)
    if kind == "tsne":
        places = _tsne(Y, places)
    places = places - places.mean(axis=0)
    return (places / max(places.std(axis=0).max(), 1e-12)).astype(np.float32)


def layout_for(Y: np.ndarray, own: npt.ArrayLike | None, kind: str | None, n_dims: int) -> np.ndarray | None:
    """Return the layout of cells that a network pre-trains on: that of their features, or one's own.

    Parameters
    ----------
    Y : array, shape (n_cells, n_features)
    own : array, shape (n_cells, n_dims), optional
        Coordinates to be used as they are.
    kind : {"pca", "tsne"} or None
        `Schedule.layout`; None pre-trains on no layout.
    n_dims : int
        Dimension of the bottleneck.

    Returns
    -------
    float32 array, shape (n_cells, n_dims), or None

    Raises
    ------
    ValueError
        `own` has another shape or holds values that are not finite, or the schedule pre-trains on no layout.
    """
    if own is None:
        return None if kind is None else feature_layout(Y, kind, n_dims)
    if kind is None:
        raise ValueError('layout is given, but the schedule pre-trains on none: give its stage "pretrained" a layout')
    own = check_matrix(own, "layout", np.float32)
    if own.shape != (len(Y), n_dims):
        raise ValueError(f"layout must have shape {(len(Y), n_dims)}, got {own.shape}")
    return own


def principal_components(Y: np.ndarray, n_dims: int) -> np.ndarray:
    """Return the first principal components of features with missing values, shape (n_cells, n_dims).

    Axes come from the covariances of the cells in which both features are observed, places from each cell's observed
    features (regression with a small ridge); values more than four SDs from the median are taken in.
    """
    centred = _taken_in(Y)
    observed = np.isfinite(centred).astype(float)
    filled = np.nan_to_num(centred)
    covariance = (filled.T @ filled) / np.maximum(observed.T @ observed, 1)
    axes = np.linalg.eigh(covariance)[1][:, : -n_dims - 1 : -1]
    axes *= np.sign(axes[np.argmax(np.abs(axes), axis=0), np.arange(n_dims)])  # eigenvectors have no sign of their own
    complete = observed.all(axis=1)
    places = filled @ axes
    for cell in np.flatnonzero(~complete):
        known = axes[observed[cell] > 0]
        places[cell] = np.linalg.solve(
            known.T @ known + RIDGE * np.eye(n_dims), known.T @ filled[cell, observed[cell] > 0]
        )
    return places


def _taken_in(Y):
    """Features around their means, with values far from the median taken in; NaN stays."""
    near = np.clip(Y - np.nanmedian(Y, axis=0), -LARGEST, LARGEST)
    return near - np.nanmean(near, axis=0)


def fold_layouts(views: Sequence[View], kind: str, n_dims: int) -> list[np.ndarray]:
    """Return the layout of the training cells of each fold; test cells have no part in it."""
    return [feature_layout(view.Y[view.train], kind, n_dims) for view in views]


def _tsne(Y, start):
    """t-SNE of the features, started from their principal components."""
    from sklearn.manifold import TSNE

    filled = np.nan_to_num(_taken_in(Y))
    perplexity = max(1.0, min(30.0, (len(Y) - 1) / 4))
    start = 1e-4 * start / max(start[:, 0].std(), 1e-12)
    method = "exact" if start.shape[1] > 3 else "barnes_hut"
    return TSNE(start.shape[1], perplexity=perplexity, init=start, method=method, random_state=0).fit_transform(filled)
