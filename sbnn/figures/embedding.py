"""t-SNE pictures of cells, with the paper's settings."""

import numpy as np
import numpy.typing as npt
from openTSNE import TSNE
from sklearn.decomposition import PCA


def principal_components(values: npt.ArrayLike, variance: float = 0.8) -> np.ndarray:
    """Return the principal components that together explain a share of the variance, shape (n_cells, k)."""
    return PCA(variance, svd_solver="full").fit_transform(np.asarray(values, dtype=np.float64))


def tsne(values: npt.ArrayLike, perplexity: float = 30, random_state: int = 42) -> np.ndarray:
    """Embed cells in two dimensions with openTSNE from a PCA start.

    Parameters
    ----------
    values : array, shape (n_cells, n_dimensions)
        What distances are computed from.
    perplexity : float
        Lowered for fewer than 100 cells.
    random_state : int

    Returns
    -------
    float32 array, shape (n_cells, 2)
    """
    values = np.asarray(values, dtype=np.float64)
    perplexity = min(perplexity, (len(values) - 1) / 3)
    embedding = TSNE(perplexity=perplexity, initialization="pca", random_state=random_state, n_jobs=1).fit(values)
    return np.asarray(embedding, dtype=np.float32)
