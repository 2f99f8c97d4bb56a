"""k-means clusters of the features: the targets of pre-training."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

#: Outputs of the pre-training softmax, as in the paper.
N_CLUSTERS = 20


class View(Protocol):
    """What is read of `sbnn.validation.folds.FoldView`."""

    @property
    def Y(self) -> np.ndarray: ...  # noqa: D102, N802
    @property
    def train(self) -> np.ndarray: ...  # noqa: D102
    @property
    def test(self) -> np.ndarray: ...  # noqa: D102


def cluster_features(Y: npt.ArrayLike, n_init: int = 1000, random_state: int = 17) -> np.ndarray:
    """Cluster cells by their features with k-means, as in the paper.

    Parameters
    ----------
    Y : array, shape (n_cells, n_features)
        z-scored features; missing values (NaN) count as the mean.
    n_init : int
        Number of starts; the best is kept.
    random_state : int

    Returns
    -------
    int array, shape (n_cells,)
        Cluster of each cell. There are 20 clusters, or fewer if that left fewer than 20 cells per cluster.
    """
    Y = np.ascontiguousarray(Y, dtype=np.float64)
    return _cluster(Y.tobytes(), Y.shape, n_init, random_state).copy()


@lru_cache(maxsize=16)
def _cluster(content, shape, n_init, random_state):
    """Cluster once per session what is needed many times: in a cross-validation, and by single networks."""
    Y = np.frombuffer(content).reshape(shape)
    Y = np.where(np.isnan(Y), np.nanmean(Y, axis=0), Y)
    n_clusters = max(1, min(N_CLUSTERS, len(Y) // 20))
    return KMeans(n_clusters, n_init=n_init, random_state=random_state).fit_predict(Y)


def leave_out_small_clusters(clusters: np.ndarray, min_cells: int = 10) -> np.ndarray:
    """Return the clusters with -1 for cells whose cluster has fewer than `min_cells` cells."""
    sizes = np.bincount(clusters)
    return np.where(sizes[clusters] < min_cells, -1, clusters)


def fold_clusters(views: Sequence[View], n_init: int, within_fold: bool = False) -> list[np.ndarray]:
    """Cluster the features as the networks of a cross-validation see them.

    Small clusters are left out, except in a fold without test cells (`folds="all"`).

    Parameters
    ----------
    views : list of FoldView
    n_init : int
        Starts of k-means.
    within_fold : bool
        Cluster the training cells of each fold separately, instead of all cells once.

    Returns
    -------
    list of int arrays
        Clusters of the training cells of each fold; -1 for cells that are left out.
    """
    if not len(views[0].test):
        return [cluster_features(views[0].Y, n_init)]
    if within_fold:
        return [leave_out_small_clusters(cluster_features(fold.Y[fold.train], n_init)) for fold in views]
    clusters = leave_out_small_clusters(cluster_features(views[0].Y, n_init))
    return [clusters[fold.train] for fold in views]
