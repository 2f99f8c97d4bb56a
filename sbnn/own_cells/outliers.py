"""How far cells are from the training cells, and how far is too far."""

import numpy as np
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors

#: Neighbours over which the distance of a cell is averaged.
N_NEIGHBOURS = 10
#: Fraction of held-out training cells that are called outliers.
OUTLIER_RATE = 0.01


def distances(training: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the mean Euclidean distance of each cell to its nearest training cells.

    Parameters
    ----------
    training, cells : arrays, shape (n_training_cells, n_genes) and (n_cells, n_genes)

    Returns
    -------
    array, shape (n_cells,)
    """
    neighbours = NearestNeighbors(n_neighbors=min(N_NEIGHBOURS, len(training))).fit(training)
    return neighbours.kneighbors(cells)[0].mean(axis=1)


def outlier_distance(training: np.ndarray) -> float:
    """Return the distance below which all but a fraction of held-out training cells lie (five folds).

    Parameters
    ----------
    training : array, shape (n_cells, n_genes)

    Returns
    -------
    float
    """
    folds = KFold(min(5, len(training)), shuffle=True, random_state=0).split(training)
    held_out = np.concatenate([distances(training[kept], training[left]) for kept, left in folds])
    return float(np.quantile(held_out, 1 - OUTLIER_RATE))
