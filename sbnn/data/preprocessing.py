"""From counts to what the models see: variable genes, depth normalisation, z-scores."""

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_counts, check_matrix, check_number, check_whole, check_width, preview, warn
from sbnn._hints import Counts, Paired, Rows, is_sparse


class GeneSelection(NamedTuple):
    """The curve that separates variable genes from the rest, and on which side each gene lies."""

    mask: np.ndarray
    offset: float
    decay: float


def gene_statistics(counts: Counts, threshold: float = 0, min_cells: int = 10) -> pd.DataFrame:
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
        Counts are not two-dimensional, negative or not finite.
    """
    counts = check_counts(counts)
    n_cells = counts.shape[0]
    if is_sparse(counts):
        counts = counts.tocsc()
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
    counts: Counts, n_genes: int = 1000, threshold: float = 0, min_cells: int = 10, decay: float = 1.5
) -> GeneSelection:
    """Select variable genes as `select_variable_genes` does, without its warning; return the curve's offset as well.

    Returns
    -------
    GeneSelection
        `mask`, `offset`, `decay`.
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
    decay : float

    Returns
    -------
    GeneSelection
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
    counts: Counts, n_genes: int = 1000, threshold: float = 0, min_cells: int = 10, decay: float = 1.5
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


def normalise_counts(counts: Counts, median_depth: float | None = None) -> np.ndarray:
    """Divide counts by the depth of their cell and take logarithms: log2(1 + counts / depth * median depth).

    Parameters
    ----------
    counts : array or scipy sparse matrix, shape (n_cells, n_genes)
        Counts of the selected genes; the depth of a cell is its sum over them.
    median_depth : float, optional
        Depth to scale to; the median over these cells if None.

    Returns
    -------
    float64 array, shape (n_cells, n_genes)

    Raises
    ------
    ValueError
        A cell has no counts at all, or counts are negative or not finite.
    """
    counts = check_counts(counts)
    counts = counts.toarray() if is_sparse(counts) else counts
    depth = counts.sum(axis=1, dtype=np.float64)
    if (depth == 0).any():
        raise ValueError(
            f"counts has {int((depth == 0).sum())} cell(s) with zero counts over the selected genes, the first in "
            f"row {int(np.argmax(depth == 0))}; leave such cells out"
        )
    median_depth = np.median(depth) if median_depth is None else check_number(median_depth, "median_depth", above=True)
    return np.log2(1 + counts / depth[:, None] * median_depth)


class Preprocessor:
    """Depth normalisation and z-scores, fitted on some cells and applied to any.

    X = zscore(log2(1 + counts / depth * median depth)) and Y = zscore(features), with the population
    standard deviation (ddof 0); missing features (NaN) are left out of their mean and SD and stay missing.

    Parameters
    ----------
    allow_constant : bool
        If False, a gene or feature without variance is an error; if True it becomes zero (for small folds).

    Attributes
    ----------
    median_depth_ : float or None
        Counts per cell; None if fitted on values that are already normalised.
    gene_shares_ : array, shape (n_genes,), or None
        Share of each gene in all counts.
    gene_means_, gene_sds_ : arrays, shape (n_genes,)
    feature_means_, feature_sds_ : arrays, shape (n_features,)
    """

    def __init__(self, allow_constant: bool = False):
        self.allow_constant = allow_constant

    def fit(self, counts: Counts | None = None, features: npt.ArrayLike | None = None,
            expression: npt.ArrayLike | None = None, gene_names: npt.ArrayLike | None = None,
            feature_names: npt.ArrayLike | None = None) -> Self:  # fmt: skip
        """Learn depth, means and SDs.

        Parameters
        ----------
        counts : array or sparse matrix, shape (n_cells, n_genes)
            Counts of the genes to be modelled.
        features : array, shape (n_cells, n_features)
            Features in their own units; may hold NaN.
        expression : array, shape (n_cells, n_genes)
            Instead of `counts`: expression that is already normalised and log-transformed.
        gene_names, feature_names : sequences of str, optional
            Used in error messages.

        Returns
        -------
        Preprocessor
            The fitted instance itself.
        """
        if (counts is None) == (expression is None):
            raise ValueError("give either counts or expression, one of the two")
        if counts is not None:
            depth = np.asarray(check_counts(counts).sum(axis=1, dtype=np.float64)).ravel()
            self.median_depth_: Any = float(np.median(depth))
            totals = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
            self.gene_shares_: Any = totals / totals.sum()
            expression = normalise_counts(counts, self.median_depth_)
        else:
            self.median_depth_ = self.gene_shares_ = None
            expression = check_matrix(expression, "expression")
        features = check_matrix(features, "features", allow_nan=True)
        self.gene_means_, self.gene_sds_ = self._moments(expression, "gene", gene_names)
        self.feature_means_, self.feature_sds_ = self._moments(features, "feature", feature_names)
        return self

    def _moments(self, values, what, names):
        """Mean and SD of each column; columns without variance are refused or get SD 1."""
        if np.isnan(values).all(axis=0).any() or not len(values):
            raise ValueError(f"{what} {int(np.argmax(np.isnan(values).all(axis=0)))} has no observed value at all")
        means, sds = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        if not np.isfinite(sds).all():
            raise ValueError(f"{what} {int(np.argmax(~np.isfinite(sds)))} has values whose squares overflow")
        constant = sds <= 1e-12 * np.abs(means)
        if constant.any() and not self.allow_constant:
            columns = np.flatnonzero(constant)
            shown = columns if names is None else np.asarray(names)[columns]
            raise ValueError(f"{what}s with zero variance cannot be z-scored: {preview(shown)}; leave them out")
        return means, np.where(constant, 1.0, sds)

    def normalise(self, counts: Counts, present: np.ndarray | None = None) -> np.ndarray:
        """Divide counts by the depth of their cell and take logarithms, scaled to the depth of the training cells.

        If genes are missing, the depth is scaled down by the share of the present genes in all counts of the training
        cells.

        Parameters
        ----------
        counts : array or sparse matrix, shape (n_cells, n_present)
            Of the genes that are present, in the order of the training genes.
        present : bool array, shape (n_genes,), optional
            Which genes these are; all if None.

        Returns
        -------
        float64 array, shape (n_cells, n_present)
        """
        if self.median_depth_ is None:
            raise ValueError("this Preprocessor was fitted on expression, so it knows no depth to scale counts to")
        share = 1.0 if present is None or present.all() else self.gene_shares_[present].sum()
        return normalise_counts(counts, self.median_depth_ * share)

    def transform_genes(
        self, counts: Counts | None = None, expression: npt.ArrayLike | None = None, present: np.ndarray | None = None
    ) -> np.ndarray:
        """Return X: log-normalised and z-scored with the fitted moments.

        Parameters
        ----------
        counts, expression : arrays, shape (n_cells, n_genes or n_present)
            One of the two: the kind it was fitted on.
        present : bool array, shape (n_genes,), optional
            Which genes are present (see `align_genes`); all if None.

        Returns
        -------
        float32 array, shape (n_cells, n_genes)
            0, the mean of the training cells, for genes that are missing.
        """
        if (counts is None) != (self.median_depth_ is None) or (expression is None) != (self.median_depth_ is not None):
            expected = "expression" if self.median_depth_ is None else "counts"
            raise ValueError(f"this Preprocessor was fitted on {expected}: give {expected}, and nothing else")
        if counts is not None:
            expression = self.normalise(counts, present)
        expression = check_matrix(expression, "expression")
        if present is None:
            present = np.ones(len(self.gene_means_), dtype=bool)
        check_width(expression, self.gene_means_[present], "genes")
        X = np.zeros((len(expression), len(present)), dtype=np.float32)
        X[:, present] = (expression - self.gene_means_[present]) / self.gene_sds_[present]
        return X

    def transform_features(self, features: npt.ArrayLike) -> np.ndarray:
        """Return Y, float32 (n_cells, n_features): z-scored with the fitted moments."""
        features = check_matrix(features, "features", allow_nan=True)
        check_width(features, self.feature_means_, "features")
        return ((features - self.feature_means_) / self.feature_sds_).astype(np.float32)

    def inverse_transform_features(self, Y: npt.ArrayLike) -> np.ndarray:
        """Return features in their own units from z-scores Y (n_cells, n_features)."""
        Y = check_matrix(Y, "Y", allow_nan=True)
        check_width(Y, self.feature_means_, "features")
        return Y * self.feature_sds_ + self.feature_means_


def fit_preprocessor(data: Paired, cells: Rows = slice(None)) -> tuple[Preprocessor, np.ndarray, np.ndarray]:
    """Fit depth, means and SDs to some cells of PairedData, and apply them to all.

    Counts and features as measured are used; X and Y if those are not known.

    Parameters
    ----------
    data : PairedData
    cells : int array or slice
        Rows to fit on.

    Returns
    -------
    preprocessor : Preprocessor
    X, Y : float32 arrays
        Of all cells.
    """
    genes = {"expression": data.X} if data.counts is None else {"counts": data.counts}
    features = data.Y if data.features is None else data.features
    fitted_on = {name: values[cells] for name, values in genes.items()}
    preprocessor = Preprocessor(allow_constant=True).fit(features=features[cells], **fitted_on)
    return preprocessor, preprocessor.transform_genes(**genes), preprocessor.transform_features(features)


class AlignedGenes(NamedTuple):
    """Where training genes lie among those of new cells.

    Attributes
    ----------
    columns : int array, shape (n_present,)
        Columns of the new cells that hold the training genes, in the order of the latter.
    present : bool array, shape (n_genes,)
        Which of the training genes are present.
    """

    columns: np.ndarray
    present: np.ndarray


def align_genes(gene_names: npt.ArrayLike, new_names: npt.ArrayLike) -> AlignedGenes:
    """Find the genes of training cells among those of new cells, by name.

    Parameters
    ----------
    gene_names : str array, shape (n_genes,)
        Of the training cells.
    new_names : str array
        Of the new cells, in any order; the training genes among them must be unique.

    Returns
    -------
    AlignedGenes
        For `Preprocessor.transform_genes(counts[:, columns], present=present)`.
    """
    places = pd.Index(new_names).get_indexer(gene_names)
    return AlignedGenes(places[places >= 0], places >= 0)
