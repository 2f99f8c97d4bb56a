"""How cells are split into training and test cells, and the data as each fold sees them."""

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold

from sbnn.preprocessing import Preprocessor

N_FOLDS = 10


class Fold(NamedTuple):
    """Rows of the training and test cells of a fold."""

    train: np.ndarray
    test: np.ndarray


class FoldData(NamedTuple):
    """A fold with the values it sees: those of all cells, or normalised by its own training cells."""

    X: np.ndarray
    Y: np.ndarray
    train: np.ndarray
    test: np.ndarray


def make_folds(data, folds="paper"):
    """Split cells into training and test cells.

    Parameters
    ----------
    data : PairedData
    folds : "paper", "donor", "all", scikit-learn splitter, or list of (train, test)
        "paper": ten blocks of floor(n / 10) cells of the order RandomState(42).permutation; the cells left over
        are never tested. "donor": ten folds (as many as there are donors, where fewer) that keep all cells of an
        animal together. "all": one fold, trained
        on all cells in file order, without test cells. Bool masks or row numbers in a list.

    Returns
    -------
    list of Fold

    Raises
    ------
    ValueError
        Unknown name, fewer cells than folds, fewer than two donors, or folds whose cells overlap or do not exist.

    References
    ----------
    Paper folds: arXiv 2006.10411 and its public code.
    """
    n_cells = data.n_cells
    if isinstance(folds, str):
        makers = {"paper": _paper_folds, "donor": _donor_folds, "all": _all_cells}
        if folds not in makers:
            raise ValueError(f"unknown folds {folds!r}: expected {', '.join(map(repr, makers))}, a splitter or a list")
        return makers[folds](data)
    if hasattr(folds, "split"):
        by_group = "Group" in type(folds).__name__  # the others warn of groups they do not use
        folds = folds.split(data.X, groups=data.donors if by_group else None)
    folds = [Fold(_rows(train, n_cells, "train"), _rows(test, n_cells, "test")) for train, test in folds]
    for number, fold in enumerate(folds):
        if not len(fold.train):
            raise ValueError(f"fold {number} has no training cells")
        if len(np.intersect1d(fold.train, fold.test)):
            raise ValueError(f"fold {number} has cells that are both training and test cells")
    return folds


def _rows(cells, n_cells, what):
    """Row numbers from a mask or row numbers, within range."""
    cells = np.asarray(cells)
    cells = np.flatnonzero(cells) if cells.dtype == bool else cells.astype(int)
    if len(cells) and (cells.min() < 0 or cells.max() >= n_cells):
        raise ValueError(f"{what} cells must be rows between 0 and {n_cells - 1}, got {cells.min()} to {cells.max()}")
    return cells


def _paper_folds(data):
    if data.n_cells < N_FOLDS:
        raise ValueError(f"{N_FOLDS} folds need at least {N_FOLDS} cells, got {data.n_cells}")
    order = np.random.RandomState(42).permutation(data.n_cells)
    size = data.n_cells // N_FOLDS
    starts = size * np.arange(N_FOLDS)
    return [
        Fold(np.concatenate([order[:start], order[start + size :]]), order[start : start + size]) for start in starts
    ]


def _donor_folds(data):
    if data.donors is None:
        raise ValueError('folds="donor" needs data.donors, which is None')
    n_donors = len(np.unique(data.donors))
    if n_donors < 2:
        raise ValueError(f"donor folds need at least 2 donors, got {n_donors}")
    splitter = GroupKFold(min(N_FOLDS, n_donors), shuffle=True, random_state=42)
    # Training cells in random order: the first 60 % of them must not be the animals recorded first.
    shuffle = np.random.default_rng(42).permutation
    return [Fold(shuffle(train), test) for train, test in splitter.split(data.X, groups=data.donors)]


def _all_cells(data):
    return [Fold(np.arange(data.n_cells), np.empty(0, dtype=int))]


def fold_data(data, fold, within_fold=False):
    """Return the values that the models of a fold see.

    Parameters
    ----------
    data : PairedData
    fold : Fold
    within_fold : bool
        False: X and Y as they are, z-scored on all cells as in the paper, which lets a little of the test cells
        leak. True: depth, means and SDs of the training cells alone (from `data.counts` and `data.features` where
        there, else by z-scoring X and Y anew).

    Returns
    -------
    FoldData
    """
    if not within_fold:
        return FoldData(data.X, data.Y, fold.train, fold.test)
    features = data.Y if data.features is None else data.features
    genes = {"expression": data.X} if data.counts is None else {"counts": data.counts}
    train = {key: values[fold.train] for key, values in genes.items()}
    preprocessor = Preprocessor(allow_constant=True).fit(features=features[fold.train], **train)
    return FoldData(
        preprocessor.transform_genes(**genes),
        preprocessor.transform_features(features),
        fold.train,
        fold.test,
    )
