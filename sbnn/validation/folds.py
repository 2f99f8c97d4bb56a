"""Splits into training and test cells, and the data as each fold sees them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import BaseCrossValidator, GroupKFold

from sbnn._checks import check_number, check_rows, check_whole, preview
from sbnn._hints import Rows
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.data.variable_genes import MIN_CELLS, gene_statistics, select_above_curve

N_FOLDS = 10


#: What folds are made from.
FoldChoice: TypeAlias = str | BaseCrossValidator | Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]


class Fold(NamedTuple):
    """Rows of the training and test cells of a fold."""

    train: np.ndarray
    test: np.ndarray


class FoldView(NamedTuple):
    """What the models of a fold see: values of all cells, normalised on all cells or on its training cells.

    Attributes
    ----------
    X : float32 array, shape (n_cells, n_seen)
    Y : float32 array, shape (n_cells, n_features)
    train, test : int arrays
        Rows of the training and test cells.
    genes : bool array, shape (n_genes,), int array, or None
        Which genes of the data are the columns of X, as a mask or as their numbers; None: all.
    feature_sds : float64 array, shape (n_features,), or None
        What a difference of 1 in Y is in the units of the features; None if Y is that of the data, unchanged.
    """

    X: np.ndarray
    Y: np.ndarray
    train: np.ndarray
    test: np.ndarray
    genes: np.ndarray | None = None
    feature_sds: np.ndarray | None = None

    def seen(self, gene_names: np.ndarray) -> np.ndarray:
        """Return the names of the columns of X, given those of all genes."""
        return gene_names if self.genes is None else gene_names[self.genes]


def name_of_fold(number: int, names: Sequence[str] = ()) -> str:
    """Return what a fold is called in warnings and errors: its own name, if folds have names, or its number."""
    return names[number] if names else f"fold {number}"


def make_folds(data: PairedData, folds: FoldChoice = "paper") -> list[Fold]:
    """Split cells into training and test cells.

    Parameters
    ----------
    data : PairedData
    folds : "paper", "donor", "all", scikit-learn splitter, or list of (train, test)
        "paper": ten blocks of floor(n / 10) cells of the order RandomState(42).permutation; the cells left over
        are never tested. "donor": ten folds (or as many as there are donors, if fewer) that keep all cells of an
        animal together. "all": one fold, trained on all cells in file order, without test cells. A list has Boolean
        masks or row numbers.

    Returns
    -------
    list of Fold

    Raises
    ------
    ValueError
        Unknown name, fewer cells than folds, fewer than two donors, cells of unknown donor if donors are kept
        together, or folds without cells, or whose cells overlap, are repeated or do not exist.

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
    if hasattr(folds, "split") and not isinstance(folds, (type, bytes)):
        by_group = "Group" in type(folds).__name__  # the others warn about groups they do not use
        by_class = "Stratified" in type(folds).__name__
        if by_class and data.cell_types is None:
            raise ValueError(f"{type(folds).__name__} needs data.cell_types, which is None")
        classes = data.cell_types if by_class else None
        folds = folds.split(data.X, classes, groups=_known_donors(data) if by_group else None)
    return _listed(folds, n_cells)


def _listed(folds, n_cells):
    """Folds from pairs of training and test cells."""
    expected = "folds must be 'paper', 'donor', 'all', a splitter such as KFold(5), or a list of (train, test)"
    if not np.iterable(folds):
        raise ValueError(f"{expected}, got {folds!r}")
    found = []
    for number, pair in enumerate(folds):
        if isinstance(pair, str) or not np.iterable(pair) or len(pair) != 2:
            raise ValueError(f"{expected}; entry {number} is {pair!r}")
        train, test = (check_rows(cells, n_cells, f"{what} cells of fold {number}") for cells, what in
                       zip(pair, ("training", "test"), strict=True))  # fmt: skip
        for cells, what in ((train, "training"), (test, "test")):
            if not len(cells):
                raise ValueError(f'fold {number} has no {what} cells (folds="all" trains on all cells, without a test)')
        if len(np.intersect1d(train, test)):
            raise ValueError(f"fold {number} has cells that are both training and test cells")
        found.append(Fold(train, test))
    if not found:
        raise ValueError(f"{expected}, got no fold at all")
    return found


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
    donors = _known_donors(data)
    n_donors = len(np.unique(donors))
    if n_donors < 2:
        raise ValueError(f"donor folds need at least 2 donors, got {n_donors}")
    splitter = GroupKFold(min(N_FOLDS, n_donors), shuffle=True, random_state=42)
    # Training cells in random order: the first 60 % must not be those of the animals recorded first.
    shuffle = np.random.default_rng(42).permutation
    return [Fold(shuffle(train), test) for train, test in splitter.split(data.X, groups=donors)]


def _known_donors(data):
    """Donors of all cells; ValueError for cells of unknown donor, which are not one more animal."""
    if data.donors is None:
        raise ValueError(
            "folds that keep donors together need data.donors, which is None: give the animal of each cell, or choose "
            "other folds, for example folds='paper'"
        )
    unknown = data.donors == UNKNOWN
    if unknown.any():
        raise ValueError(
            f"the donor of {int(unknown.sum())} of {data.n_cells} cells is not known "
            f"({preview(data.cell_names[unknown], 3)}): leave them out with data.subset(data.donors != {UNKNOWN!r})"
        )
    return data.donors


def donors_of(data: PairedData, cells: Rows = slice(None)) -> np.ndarray | None:
    """Return the donor of each cell, for folds that keep donors together.

    Parameters
    ----------
    data : PairedData
    cells : int array or slice
        Rows of the cells.

    Returns
    -------
    str array, or None
        None unless the donors of all these cells are known, and there are at least two.
    """
    if data.donors is None:
        return None
    donors = data.donors[cells]
    return donors if UNKNOWN not in donors and len(np.unique(donors)) > 1 else None


def _all_cells(data):
    return [Fold(np.arange(data.n_cells), np.empty(0, dtype=int))]


def view_fold(
    data: PairedData,
    fold: Fold,
    within_fold: bool = False,
    n_variable_genes: int | None = None,
    detection_threshold: float = 0,
) -> FoldView:
    """Return the values that the models of a fold see.

    Parameters
    ----------
    data : PairedData
    fold : Fold
    within_fold : bool
        False: X and Y unchanged, z-scored on all cells as in the paper, which leaks a little information from the
        test cells. True: depth, means and SDs of the training cells only (from `data.counts` and `data.features` if
        available, else by z-scoring X and Y again).
    n_variable_genes, detection_threshold
        See `sbnn.cross_validate`.

    Returns
    -------
    FoldView

    Raises
    ------
    ValueError
        Variable genes are asked for without `within_fold` or without counts, or more than the training cells express;
        a cell has no count of those chosen.
    """
    if n_variable_genes is not None:
        genes = _variable_genes(data, fold.train, within_fold, n_variable_genes, detection_threshold)
    elif not within_fold:
        return FoldView(data.X, data.Y, fold.train, fold.test)
    else:
        genes = None
    preprocessor, X, Y = fit_preprocessor(data, fold.train, genes)
    return FoldView(X, Y, fold.train, fold.test, genes, preprocessor.feature_sds_)


def _variable_genes(data, train, within_fold, n_genes, threshold):
    """Return the genes that are the most variable of all, as `select_variable_genes` defines it, on training cells."""
    check_whole(n_genes, "n_variable_genes", most=data.n_genes)
    check_number(threshold, "detection_threshold")
    if not within_fold:
        raise ValueError(
            f"n_variable_genes={n_genes} chooses genes on the training cells of each fold, which needs "
            "within_fold=True: z-scores of all cells would bring back what the choice leaves out"
        )
    if data.counts is None:
        raise ValueError(f"n_variable_genes={n_genes} chooses genes by their counts, but data.counts is None")
    statistics = gene_statistics(data.counts[train], threshold)
    n_detected = int(statistics["zero_rate"].notna().sum())
    if n_genes > n_detected:
        raise ValueError(
            f"n_variable_genes must be at most {n_detected}, the number of genes that at least {MIN_CELLS} of "
            f"{len(train)} training cells express above detection_threshold={threshold:g}, got {n_genes}"
        )
    genes = select_above_curve(statistics, n_genes).mask
    empty = np.asarray(data.counts[:, genes].sum(axis=1)).ravel() == 0
    if empty.any():
        raise ValueError(
            f"{int(empty.sum())} cell(s) have no count of the {int(genes.sum())} genes that a fold's training cells "
            f"choose ({preview(data.cell_names[empty], 3)}): leave these cells out, or raise n_variable_genes"
        )
    return genes
