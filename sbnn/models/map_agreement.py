"""How far maps of the same cells agree, whatever their place, rotation, reflection and scale."""

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.neighbors import NearestNeighbors

#: Rounds in which maps are aligned with their mean; a map moves by less than a thousandth of its size after three.
_ALIGNMENTS = 10


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


def mean_of_maps(maps: np.ndarray) -> np.ndarray:
    """Return the mean of several maps after aligning them (generalised Procrustes analysis, Gower 1975).

    Parameters
    ----------
    maps : array, shape (n_maps, n_cells, n_dims)

    Returns
    -------
    float64 array, shape (n_cells, n_dims)
        In the place, orientation and size of the most central of the maps; NaN if a map is not finite.
    """
    if not np.isfinite(maps).all():
        return np.full(maps.shape[1:], np.nan)
    first = np.asarray(maps[most_central(maps)], dtype=np.float64)
    centre = first.mean(axis=0)
    size, mean = float(np.linalg.norm(first - centre)), first - centre
    centred = maps - maps.mean(axis=1, keepdims=True, dtype=np.float64)
    for _ in range(_ALIGNMENTS):
        turned = [cells @ rotation * scale for cells in centred for rotation, scale in [rotation_onto(cells, mean)]]
        mean = np.mean(turned, axis=0)
        mean *= size / max(float(np.linalg.norm(mean)), 1e-300)
    return mean + centre


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
    target = known.mean(axis=0)
    for cells, training in zip(maps, known_maps, strict=True):
        centre = training.mean(axis=0)
        rotation, scale = rotation_onto(training - centre, known - target)
        squares += np.square((cells - centre) @ rotation * scale + target - consensus).sum(axis=1)
    return np.sqrt(squares / len(maps))


def rotation_onto(centred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rotation or reflection, and the scale, with which one centred map fits another best.

    Parameters
    ----------
    centred, target : arrays, shape (n_cells, n_dims)
        Maps of the same cells, with mean 0.

    Returns
    -------
    tuple
        Matrix (n_dims, n_dims) and factor: `centred @ matrix * factor` is near `target`. The factor is 0 if all cells
        of `centred` are at one place.
    """
    rotation, scale = orthogonal_procrustes(centred, target)
    size = np.sum(centred**2)
    return rotation, scale / size if size else 0.0


def nearest_cells(coordinates: np.ndarray, n_neighbours: int = 30) -> np.ndarray:
    """Return which cells are the nearest neighbours of each, bool array (n_cells, n_cells)."""
    near = NearestNeighbors(n_neighbors=n_neighbours).fit(coordinates)
    return near.kneighbors_graph().toarray().astype(bool)


def _standardised(coordinates):
    """Coordinates with mean 0 and sum of squares 1."""
    centred = coordinates - coordinates.mean(axis=0)
    return centred / max(np.linalg.norm(centred), 1e-300)
