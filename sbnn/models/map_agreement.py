"""How far maps of the same cells agree, whatever their place, rotation, reflection and scale."""

import numpy as np
from scipy.linalg import orthogonal_procrustes


def procrustes_r2(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of variance of one map that the other explains after shift, rotation, reflection and scale.

    Parameters
    ----------
    one, other : arrays, shape (n_cells, n_dims)
        Coordinates of the same cells.

    Returns
    -------
    float
        Between 0 and 1; symmetric.
    """
    first, second = (_standardised(coordinates) for coordinates in (one, other))
    return float(np.linalg.svd(first.T @ second, compute_uv=False).sum() ** 2)


def most_central(maps: np.ndarray) -> int:
    """Return which of several maps (n_maps, n_cells, n_dims) agrees most with the others, by mean Procrustes R2."""
    agreement = [np.mean([procrustes_r2(one, other) for other in maps]) for one in maps]
    return int(np.argmax(np.round(agreement, 6)))


def spread_of_maps(consensus: np.ndarray, maps: np.ndarray, known: np.ndarray, known_maps: np.ndarray) -> np.ndarray:
    """Return how far the members' places of each cell are from the consensus, after aligning their maps.

    Every member's map is shifted, rotated and scaled so that it fits the consensus on the training cells.

    Parameters
    ----------
    consensus : array, shape (n_cells, n_dims)
    maps : array, shape (n_networks, n_cells, n_dims)
    known : array, shape (n_training_cells, n_dims)
        Consensus coordinates of the training cells.
    known_maps : array, shape (n_networks, n_training_cells, n_dims)

    Returns
    -------
    array, shape (n_cells,)
        Root of the mean squared distance over members, in units of the consensus map.
    """
    squares = np.zeros(len(consensus))
    for cells, training in zip(maps, known_maps, strict=True):
        centre, target = training.mean(axis=0), known.mean(axis=0)
        rotation, scale = orthogonal_procrustes(training - centre, known - target)
        scale /= np.square(training - centre).sum()
        squares += np.square(scale * (cells - centre) @ rotation + target - consensus).sum(axis=1)
    return np.sqrt(squares / len(maps))


def _standardised(coordinates):
    """Coordinates with mean 0 and sum of squares 1."""
    centred = coordinates - coordinates.mean(axis=0)
    return centred / max(np.linalg.norm(centred), 1e-300)
