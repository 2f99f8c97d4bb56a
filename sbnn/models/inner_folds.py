"""Random folds of a model's training cells: to choose a number of genes, to choose settings, or to calibrate."""

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, KFold

#: Folds, unless the caller gives another number.
N_INNER_FOLDS = 5


def inner_folds(
    n_cells: int, random_state: int, groups: npt.ArrayLike | None = None, n_folds: int = N_INNER_FOLDS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split cells into folds at random, with the cells of a group (an animal) together.

    Parameters
    ----------
    n_cells : int
    random_state : int
    groups : array, shape (n_cells,), optional
    n_folds : int

    Returns
    -------
    list of (training rows, test rows)
        Fewer if there are fewer groups (cells). Training cells are in random order: a stage that trains on the first
        of them must not see those of the animals recorded first.

    Raises
    ------
    ValueError
        Fewer than two groups, or cells.
    """
    n_units = n_cells if groups is None else len(np.unique(groups))
    if n_units < 2:
        what = "cells" if groups is None else "groups of cells"
        raise ValueError(
            f"inner folds hold out some of the training cells: at least 2 {what} are needed, got {n_units}"
        )
    kind = KFold if groups is None else GroupKFold
    splitter = kind(min(n_folds, n_units), shuffle=True, random_state=random_state)
    shuffle = np.random.default_rng(random_state).permutation
    return [(shuffle(train), test) for train, test in splitter.split(np.empty((n_cells, 1)), groups=groups)]
