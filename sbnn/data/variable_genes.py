"""The choice of variable genes: those that go undetected more often than their expression explains."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_counts, check_number, check_whole, warn
from sbnn._hints import Counts, is_sparse

#: Cells in which a gene must be detected to be chosen.
MIN_CELLS = 10


class GeneSelection(NamedTuple):
    """The curve that separates variable genes from the rest, and on which side each gene lies."""

    mask: np.ndarray
    offset: float
    decay: float


def gene_statistics(counts: Counts, threshold: float = 0, min_cells: int = MIN_CELLS) -> pd.DataFrame:
    """Compute how often a gene is not detected, and how strongly it is expressed where it is.

    Parameters
    ----------
    counts : array or scipy CSR / CSC matrix, shape (n_cells, n_genes)
        Counts of reads or molecules.
    threshold : float
        A gene is detected in a cell with more than `threshold` counts.
    min_cells : int
        Genes detected in fewer cells have no statistics (NaN).

    Returns
    -------
    DataFrame, one row per gene
        `zero_rate`: fraction of cells in which the gene is not detected;
        `mean_log`: mean of log2(count) over the cells in which it is.

    Raises
    ------
    ValueError
        Counts are not two-dimensional, negative or not finite, or the threshold is.
    """
    counts = check_counts(counts)
    check_number(threshold, "threshold")
    n_cells = counts.shape[0]
    if is_sparse(counts):
        counts = counts.tocsc()
        if not counts.has_canonical_format:  # an entry may be stored in parts, which add up to its count
            counts = counts.copy()
            counts.sum_duplicates()
        detected = counts.data > threshold
        logs = np.log2(counts.data, out=np.zeros(counts.data.shape), where=detected, dtype=np.float64)
        gene = np.repeat(np.arange(counts.shape[1]), np.diff(counts.indptr))
        n_detected = np.bincount(gene, weights=detected, minlength=counts.shape[1])
        sum_log = np.bincount(gene, weights=logs, minlength=counts.shape[1])
    else:
        detected = counts > threshold
        n_detected = detected.sum(axis=0)
        sum_log = np.log2(counts, out=np.zeros(counts.shape), where=detected, dtype=np.float64).sum(axis=0)
    enough = n_detected >= max(min_cells, 1)
    zero_rate = np.where(enough, 1 - n_detected / n_cells, np.nan)
    mean_log = np.divide(sum_log, n_detected, out=np.full(len(enough), np.nan), where=enough)
    return pd.DataFrame({"zero_rate": zero_rate, "mean_log": mean_log})


def variable_gene_curve(mean_log: npt.ArrayLike, offset: float, decay: float = 1.5) -> np.ndarray:
    """Return the zero rate above which a gene of this mean log2 expression counts as variable."""
    return np.exp(-decay * (np.asarray(mean_log) - offset)) + 0.02


def find_variable_genes(
    counts: Counts, n_genes: int = 1000, threshold: float = 0, min_cells: int = MIN_CELLS, decay: float = 1.5
) -> GeneSelection:
    """Select variable genes as `select_variable_genes` does, without its warning; return the curve's offset as well.

    Parameters
    ----------
    counts, n_genes, threshold, min_cells, decay
        As for `select_variable_genes`.

    Returns
    -------
    GeneSelection
        `mask` (bool array over the genes of the table), `offset`, `decay`.

    Raises
    ------
    ValueError
        As `select_variable_genes`.
    """
    check_whole(n_genes, "n_genes")
    statistics = gene_statistics(counts, threshold, min_cells)
    n_detected = int(statistics["zero_rate"].notna().sum())
    if n_genes > n_detected:
        raise ValueError(
            f"n_genes must be between 1 and the {n_detected} genes that at least {min_cells} cells express "
            f"above {threshold}, got {n_genes}"
        )
    return select_above_curve(statistics, n_genes, decay)


def select_above_curve(statistics: pd.DataFrame, n_genes: int, decay: float = 1.5) -> GeneSelection:
    """Move the curve until `n_genes` genes lie above it, or the nearest possible number.

    Parameters
    ----------
    statistics : DataFrame
        From `gene_statistics`.
    n_genes : int
        How many genes to select.
    decay : float
        How fast the curve falls with the mean log2 expression.

    Returns
    -------
    GeneSelection
        `mask` (bool array over the rows of `statistics`), `offset`, `decay`.

    Raises
    ------
    ValueError
        No gene lies above any curve with this decay.
    """
    zero_rate, mean_log = statistics["zero_rate"].to_numpy(), statistics["mean_log"].to_numpy()
    low, offset, high, nearest = 0.0, 5.0, 10.0, None
    for _ in range(100):
        with np.errstate(invalid="ignore", over="ignore"):
            mask = zero_rate > variable_gene_curve(mean_log, offset, decay)
        difference = int(mask.sum()) - n_genes
        if mask.any() and (nearest is None or abs(difference) < nearest[0]):
            nearest = abs(difference), GeneSelection(mask, offset, decay)
        if difference == 0:
            break
        # A larger offset moves the curve to the right, above more genes.
        low, high = (low, offset) if difference < 0 else (offset, high)
        offset = (low + high) / 2
    if nearest is None:
        raise ValueError(f"no gene lies above any curve with decay={decay} and an offset between 0 and 10")
    return nearest[1]


def nearest_number(asked: int, selection: GeneSelection, name: str) -> str | None:
    """Return a warning text if the number of selected genes differs from the number `asked`; else None."""
    found = int(selection.mask.sum())
    if found == asked:
        return None
    return f"{name}={asked}: no curve selects exactly {asked} genes, the nearest selects {found}, which are taken"


def select_variable_genes(
    counts: Counts, n_genes: int = 1000, threshold: float = 0, min_cells: int = MIN_CELLS, decay: float = 1.5
) -> np.ndarray:
    """Select the genes that go undetected more often than their expression level explains.

    A gene is selected if zero_rate > exp(-decay * (mean_log - offset)) + 0.02, where the offset is found by
    bisection in [0, 10] so that `n_genes` genes lie above the curve. If several genes lie on the same curve, no
    offset may give exactly this number: then the nearest is taken, with a warning.

    Parameters
    ----------
    counts : array or scipy CSR / CSC matrix, shape (n_cells, n_genes)
        Counts of reads or molecules; sparse matrices stay sparse.
    n_genes : int
        How many genes to select.
    threshold : float
        A gene is detected in a cell with more than `threshold` counts (30 for full-length reads, 0 for UMIs).
    min_cells : int
        Genes detected in fewer cells are left out.
    decay : float
        How fast the curve falls with the mean log2 expression.

    Returns
    -------
    bool array, shape (n_genes_in_table,)
        True for selected genes.

    Raises
    ------
    ValueError
        The table has too few genes, or holds anything but counts.

    References
    ----------
    Kobak & Berens, "The art of using t-SNE for single-cell transcriptomics", Nature Communications 2019.
    """
    selection = find_variable_genes(counts, n_genes, threshold, min_cells, decay)
    differs = nearest_number(n_genes, selection, "n_genes")
    if differs:
        warn(differs)
    return selection.mask
