"""Bootstraps of animals: the cells of animals that are drawn with replacement."""

import numpy as np

from sbnn._checks import preview
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.validation.folds import Fold


def donor_bootstraps(data: PairedData, n: int, random_state: int = 0) -> list[Fold]:
    """Draw as many animals as there are with replacement, n times.

    Parameters
    ----------
    data : PairedData
        With `donors`.
    n : int
    random_state : int
        Draw i comes from `numpy.random.default_rng([random_state, i])`. A draw of each animal once, which can happen
        if there are few, changes nothing, and is drawn again.

    Returns
    -------
    list of Fold
        `train`: rows of the cells of the drawn animals in random order, as often as their animal was drawn; `test`:
        rows of the cells of the other animals.

    Raises
    ------
    ValueError
        `data.donors` is None, the donor of a cell is not known, or there are fewer than two.
    """
    if data.donors is None:
        raise ValueError('resample="donor" draws animals, but data.donors is None: give them, or use resample="seed"')
    unknown = data.donors == UNKNOWN
    if unknown.any():
        raise ValueError(
            f'resample="donor" draws animals, but that of {int(unknown.sum())} of {data.n_cells} cells is not known '
            f"({preview(data.cell_names[unknown], 3)}): leave them out with data.subset(data.donors != {UNKNOWN!r})"
        )
    animals, animal_of_cell = np.unique(data.donors, return_inverse=True)
    if len(animals) < 2:
        raise ValueError(f'resample="donor" needs at least 2 animals in data.donors, got {len(animals)}')
    folds = []
    for run in range(n):
        random = np.random.default_rng([random_state, run])
        times = np.ones(len(animals), dtype=int)
        while times.all():
            times = np.bincount(random.integers(len(animals), size=len(animals)), minlength=len(animals))
        drawn = times[animal_of_cell]
        folds.append(Fold(random.permutation(np.repeat(np.arange(data.n_cells), drawn)), np.flatnonzero(drawn == 0)))
    return folds
