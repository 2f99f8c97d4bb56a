"""Donors whose cells are among the training and the test cells of one fold."""

from collections.abc import Sequence

import numpy as np

from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.validation.folds import Fold


def share_of_known_donors(data: PairedData, folds: Sequence[Fold]) -> float:
    """Return the share of test cells with a training cell of the same donor, over all folds.

    Parameters
    ----------
    data : PairedData
    folds : list of Fold

    Returns
    -------
    float
        Of the test cells whose donor is known; 0 if fewer than two donors are.
    """
    donors = np.full(data.n_cells, UNKNOWN) if data.donors is None else data.donors
    known = donors != UNKNOWN
    if len(np.unique(donors[known])) < 2:
        return 0.0
    shared = [np.isin(donors[fold.test][known[fold.test]], donors[fold.train]) for fold in folds]
    cells = np.concatenate(shared) if shared else np.empty(0, dtype=bool)
    return float(cells.mean()) if len(cells) else 0.0


def describe_shared_donors(data: PairedData, folds: Sequence[Fold]) -> str | None:
    """Say in plain words that folds divide donors, and what to do; None if they do not, or donors are not known."""
    share = share_of_known_donors(data, folds)
    if share == 0:
        return None
    return (
        f"for {share:.0%} of the test cells a cell of the same donor is among the training cells: scores are those "
        'for further cells of these donors, and may be better than for other donors. Give folds="donor"'
    )
