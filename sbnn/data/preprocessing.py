"""From counts to what the models see: depth normalisation, z-scores, genes in the order of a model."""

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_counts, check_matrix, check_number, check_same_cells, check_unique, check_width, preview
from sbnn._hints import Counts, Paired, Rows, is_sparse


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

        Raises
        ------
        ValueError
            Both or neither of `counts` and `expression`; cells that differ in number or have no counts; values that
            are not finite; genes or features without any value, or without variance unless `allow_constant`.
        """
        if (counts is None) == (expression is None):
            raise ValueError("give either counts or expression, one of the two")
        median_depth = gene_shares = None
        if counts is not None:
            counts = check_counts(counts)
            median_depth = float(np.median(np.asarray(counts.sum(axis=1, dtype=np.float64))))
            totals = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
            gene_shares = totals / totals.sum()
            expression = normalise_counts(counts, median_depth)
        else:
            expression = check_matrix(expression, "expression")
        features = check_matrix(features, "features", allow_nan=True)
        check_same_cells(expression, features, "counts or expression", "features")
        of_genes = self._moments(expression, "gene", gene_names)
        of_features = self._moments(features, "feature", feature_names)
        # Only now: an earlier fit stays whole if this one fails.
        self.median_depth_: Any = median_depth
        self.gene_shares_: Any = gene_shares
        self.gene_means_, self.gene_sds_ = of_genes
        self.feature_means_, self.feature_sds_ = of_features
        return self

    def _moments(self, values, what, names):
        """Mean and SD of each column; columns without variance are refused or get SD 1."""
        names = np.arange(values.shape[1]) if names is None else np.asarray(names)
        empty = np.isnan(values).all(axis=0)
        if empty.any() or not len(values):
            raise ValueError(f"{what}s without any observed value: {preview(names[empty])}; leave them out")
        means, sds = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        if not np.isfinite(sds).all():
            raise ValueError(f"{what}s with values whose squares overflow: {preview(names[~np.isfinite(sds)])}")
        constant = sds <= 1e-12 * np.abs(means)
        if constant.any() and not self.allow_constant:
            raise ValueError(
                f"{what}s with zero variance cannot be z-scored: {preview(names[constant])}; leave them out"
            )
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

        Raises
        ------
        ValueError
            Fitted on expression; `present` is not such a mask, or no training cell has counts of these genes; a cell
            has no counts.
        """
        if self.median_depth_ is None:
            raise ValueError("this Preprocessor was fitted on expression, so it knows no depth to scale counts to")
        present = self._check_present(present)
        share = 1.0 if present.all() else self.gene_shares_[present].sum()
        if share == 0:
            raise ValueError("the genes that are present had no counts in the training cells: depth cannot be scaled")
        return normalise_counts(counts, self.median_depth_ * share)

    def _check_present(self, present):
        """Return which genes are present, shape (n_genes,)."""
        if present is None:
            return np.ones(len(self.gene_means_), dtype=bool)
        present = np.asarray(present)
        if present.dtype != bool or present.shape != self.gene_means_.shape:
            raise ValueError(
                f"present must be a bool array of shape {self.gene_means_.shape}, got {present.dtype} {present.shape}"
            )
        return present

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

        Raises
        ------
        ValueError
            Not what it was fitted on, values that are not finite, another number of genes; as `normalise` for counts.
        """
        if (counts is None) != (self.median_depth_ is None) or (expression is None) != (self.median_depth_ is not None):
            expected = "expression" if self.median_depth_ is None else "counts"
            raise ValueError(f"this Preprocessor was fitted on {expected}: give {expected}, and nothing else")
        if counts is not None:
            expression = self.normalise(counts, present)
        expression = check_matrix(expression, "expression")
        present = self._check_present(present)
        check_width(expression, self.gene_means_[present], "genes")
        X = np.zeros((len(expression), len(present)), dtype=np.float32)
        X[:, present] = (expression - self.gene_means_[present]) / self.gene_sds_[present]
        return X

    def transform_features(self, features: npt.ArrayLike) -> np.ndarray:
        """Return Y: features z-scored with the fitted moments.

        Parameters
        ----------
        features : array, shape (n_cells, n_features)
            In their own units; NaN stays NaN.

        Returns
        -------
        float32 array, shape (n_cells, n_features)

        Raises
        ------
        ValueError
            Another number of features than fitted, or infinite values.
        """
        features = check_matrix(features, "features", allow_nan=True)
        check_width(features, self.feature_means_, "features")
        return ((features - self.feature_means_) / self.feature_sds_).astype(np.float32)

    def inverse_transform_features(self, Y: npt.ArrayLike) -> np.ndarray:
        """Return features in their own units.

        Parameters
        ----------
        Y : array, shape (n_cells, n_features)
            z-scores, as `transform_features` returns them.

        Returns
        -------
        array, shape (n_cells, n_features)

        Raises
        ------
        ValueError
            Another number of features than fitted, or infinite values.
        """
        Y = check_matrix(Y, "Y", allow_nan=True)
        check_width(Y, self.feature_means_, "features")
        return Y * self.feature_sds_ + self.feature_means_


def fit_preprocessor(
    data: Paired, cells: Rows = slice(None), genes: np.ndarray | None = None
) -> tuple[Preprocessor, np.ndarray, np.ndarray]:
    """Fit depth, means and SDs to some cells of PairedData, and apply them to all.

    Counts and features as measured are used; X and Y if those are not known.

    Parameters
    ----------
    data : PairedData
    cells : int array or slice
        Rows to fit on.
    genes : bool array, shape (n_genes,), optional
        Genes to keep, over which depth is counted as well; all if None.

    Returns
    -------
    preprocessor : Preprocessor
        Of the genes that are kept.
    X, Y : float32 arrays, shape (n_cells, n_kept) and (n_cells, n_features)
        Of all cells.

    Raises
    ------
    ValueError
        A cell has no counts, or a feature has no value among the cells to fit on.
    """
    name, values = ("expression", data.X) if data.counts is None else ("counts", data.counts)
    of_genes = {name: values if genes is None else values[:, genes]}
    features = data.Y if data.features is None else data.features
    fitted_on = {name: values[cells] for name, values in of_genes.items()}
    preprocessor = Preprocessor(allow_constant=True).fit(features=features[cells], **fitted_on)
    return preprocessor, preprocessor.transform_genes(**of_genes), preprocessor.transform_features(features)


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

    Raises
    ------
    ValueError
        New cells have two genes with the name of one training gene.
    """
    names = pd.Index(new_names)
    shared = np.flatnonzero(names.isin(gene_names))
    places = pd.Index(check_unique(names[shared], "genes in cells")).get_indexer(gene_names)
    return AlignedGenes(shared[places[places >= 0]], places >= 0)
