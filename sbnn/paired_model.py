"""A fitted map of one's own cells: counts in, units out, genes by name, new cells judged."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors

from sbnn._checks import check_unique, preview, warn_of_fractions
from sbnn.containers import counts_of, read_table
from sbnn.paired_data import PairedData
from sbnn.preprocessing import Preprocessor

#: Neighbours over which the distance of a cell is averaged.
N_NEIGHBOURS = 10
#: Colour of cells of data without types.
PLAIN_COLOR = "#4477AA"
#: Share of held-out training cells that are called outliers.
OUTLIER_RATE = 0.01


class _AlignedCells(NamedTuple):
    """Cells as the estimator takes them: X, whose they are, and which genes were there (not filled)."""

    X: np.ndarray
    names: np.ndarray
    present: np.ndarray


class PairedModel:
    """A network or linear model of paired data, with everything that it takes to use it on other cells.

    Parameters
    ----------
    estimator : SparseBottleneckRegressor or ReducedRankRegressor, optional
        What is fitted; a SparseBottleneckRegressor as it is if None.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on z-scores.
    preprocessor_ : Preprocessor
        Depth, means and SDs of the training cells.
    gene_names_, feature_names_ : str arrays
        The genes it was fitted on (all are needed for the depth of a cell), and the features.
    selected_genes_ : str array
        The genes that it reads.
    feature_units_ : tuple of str or None
    gene_shares_ : array, shape (n_genes,)
        Share of each gene in all counts.
    training_genes_ : array, shape (n_cells, n_selected)
        The training cells, z-scored.
    outlier_distance_ : float
        Distance above which a cell is far outside the training data.
    """

    def __init__(self, estimator=None):
        self.estimator = estimator

    def fit(self, data):
        """Fit the estimator on all cells of PairedData.

        Parameters
        ----------
        data : PairedData
            With counts and features as measured; without, new cells must come as X came, and Y goes out.

        Returns
        -------
        PairedModel
            Itself.
        """
        features = data.Y if data.features is None else data.features
        genes = {"expression": data.X} if data.counts is None else {"counts": data.counts}
        self.preprocessor_ = Preprocessor(allow_constant=True).fit(features=features, **genes)
        X, Y = self.preprocessor_.transform_genes(**genes), self.preprocessor_.transform_features(features)
        self.estimator_ = (_default_estimator() if self.estimator is None else clone(self.estimator)).fit(X, Y)
        self.gene_names_, self.feature_names_ = data.gene_names, data.feature_names
        self.feature_units_ = None if data.features is None else data.feature_units
        if not self.estimator_.selected_.any():
            raise ValueError("the model selects no gene: lower its penalty")
        # What genes contribute to the depth of a cell: stands in for those that other cells lack.
        self.gene_shares_ = _gene_shares(data.counts)
        self.training_genes_ = X[:, self.estimator_.selected_]
        self.outlier_distance_ = _calibrate(self.training_genes_)
        return self

    @property
    def selected_genes_(self):
        """Names of the genes that the model reads."""
        return self.gene_names_[self.estimator_.selected_]

    def predict(self, cells, layer=None, fill_missing=False):
        """Predict features of cells, in their own units.

        Parameters
        ----------
        cells : DataFrame (cells x genes), AnnData or PairedData
            Counts, or expression where the model was fitted without counts; genes are found by name, in any order.
        layer : str, optional
            Layer of an AnnData that holds the counts; its X if None.
        fill_missing : bool
            Let the mean of the training cells stand in for genes that `cells` lack, instead of refusing them.

        Returns
        -------
        DataFrame, cells x features
        """
        return self._predict(self._align(cells, layer, fill_missing))

    def _predict(self, aligned):
        Y = self.preprocessor_.inverse_transform_features(self.estimator_.predict(aligned.X))
        return pd.DataFrame(Y, index=aligned.names, columns=self.feature_names_)

    def transform(self, cells, layer=None, fill_missing=False):
        """Return the latent coordinates of cells; arguments as for `predict`.

        Returns
        -------
        DataFrame
            One row a cell, columns z1, z2, ...
        """
        return self._transform(self._align(cells, layer, fill_missing))

    def _transform(self, aligned):
        Z = np.asarray(self.estimator_.transform(aligned.X))
        return pd.DataFrame(Z, index=aligned.names, columns=list(self.estimator_.get_feature_names_out()))

    def outliers(self, cells, layer=None, fill_missing=False):
        """Judge how far cells are from the training cells; arguments as for `predict`.

        The distance of a cell is the mean Euclidean distance to its ten nearest training cells, in z-scores of the
        selected genes that are there. It is an outlier above what 99 % of held-out training cells stay below (five
        folds). Training cells find themselves among their neighbours: they seem nearer than they would be.

        Returns
        -------
        DataFrame
            `distance`, `is_outlier`.
        """
        return self._outliers(self._align(cells, layer, fill_missing))

    def _outliers(self, aligned):
        used = aligned.present[self.estimator_.selected_]
        training, limit = self.training_genes_[:, used], self.outlier_distance_
        if not used.all():  # fewer genes, smaller distances
            limit = _calibrate(training)
        distance = _distances(training, aligned.X[:, self.estimator_.selected_][:, used])
        return pd.DataFrame({"distance": distance, "is_outlier": distance > limit}, index=aligned.names)

    def annotate(self, adata, layer=None, fill_missing=False):
        """Write what the model says of the cells of an AnnData into it, where scanpy plots it from.

        `.obsm["X_sbnn"]` (coordinates), `.obsm["sbnn_predictions"]` (features in their own units),
        `.obs["sbnn_outlier"]`, `.var["sbnn_selected"]` and `.var["sbnn_norm"]` (row norms of the first layer; NaN for
        genes it never saw).

        Parameters
        ----------
        adata : anndata.AnnData
        layer, fill_missing
            As for `predict`.
        """
        aligned = self._align(adata, layer, fill_missing)
        norms = pd.Series(self.estimator_.gene_norms_, index=self.gene_names_)
        latents, predictions, outliers = self._transform(aligned), self._predict(aligned), self._outliers(aligned)
        adata.obsm["X_sbnn"], adata.obsm["sbnn_predictions"] = latents.to_numpy(), predictions
        adata.obs["sbnn_outlier"] = outliers["is_outlier"]
        adata.var["sbnn_selected"] = adata.var_names.isin(self.selected_genes_)
        adata.var["sbnn_norm"] = norms.reindex(adata.var_names).to_numpy()

    def plot(self, data):
        """Draw cells on the map (t-SNE of it where it has more than two dimensions), genes and features over it.

        Shown are the nine genes with the largest norms, and the nine features that the model predicts to vary most.

        Parameters
        ----------
        data : PairedData
            Its types and families, where it has any, colour and label the cells.

        Returns
        -------
        Figure

        Raises
        ------
        ValueError
            A model with a single latent dimension is no map.
        """
        import matplotlib.pyplot as plt

        from sbnn.embedding import tsne
        from sbnn.maps import plot_latent_space
        from sbnn.plotting import use_style

        X = self._align(data, None, False).X
        Z, estimator = np.asarray(self.estimator_.transform(X)), self.estimator_
        if Z.shape[1] < 2:
            raise ValueError(f"a map needs at least two latent dimensions, the model has {Z.shape[1]}: see transform")
        genes, features = estimator.decode_genes(Z), pd.DataFrame(estimator.predict(X), columns=self.feature_names_)
        if genes.shape[1] > len(self.selected_genes_):  # a linear model decodes all
            genes = genes[:, estimator.selected_]
        largest = np.argsort(-estimator.gene_norms_[estimator.selected_], kind="stable")[:9]
        panel = {
            "title": f"{data.n_cells} cells, {len(self.selected_genes_)} genes",
            "coordinates": Z if Z.shape[1] == 2 else tsne(Z),
            "genes": pd.DataFrame(genes, columns=self.selected_genes_).iloc[:, largest],
            "features": features[features.var().nlargest(9).index],
        }
        plain = np.full(data.n_cells, "")
        families = data.cell_families if data.cell_families is not None else data.cell_types
        colors = [PLAIN_COLOR] * data.n_cells
        if data.cell_types is not None and data.type_colors is not None:
            colors = [data.type_colors[name] for name in data.cell_types]
        cells = pd.DataFrame({"type_color": colors, "cell_family": plain if families is None else families})
        with plt.rc_context():  # the reader's own settings stay as they are
            use_style()
            return plot_latent_space([panel], cells)

    def _align(self, cells, layer, fill_missing):
        """Return cells as the estimator takes them, in the order of its genes."""
        self._check_fitted()
        raw = self.preprocessor_.median_depth_ is not None
        values, genes, names = _cells(cells, layer, raw)
        places = pd.Index(check_unique(genes, "genes")).get_indexer(self.gene_names_)
        present = places >= 0
        if not present.any():
            raise ValueError(
                f"the cells have none of the {len(present)} genes of the model ({preview(self.gene_names_, 3)}); they "
                f"have {preview(genes, 3)}: give cells as rows and genes as columns, named alike"
            )
        if not present[self.estimator_.selected_].any():
            raise ValueError(f"the cells lack every gene that the model reads: {preview(self.selected_genes_)}")
        if not present.all() and not fill_missing:
            lacking = self.gene_names_[~present]
            n_selected = int(np.isin(lacking, self.selected_genes_).sum())
            raise ValueError(
                f"the cells lack {len(lacking)} of the {len(present)} genes of the model, {n_selected} of them "
                f"selected: {preview(lacking)}; fill_missing=True sets them to their training mean"
            )
        chosen = values[:, places[present]]
        chosen = chosen.toarray() if sparse.issparse(chosen) else np.asarray(chosen)
        empty = chosen.sum(axis=1) == 0
        if raw and empty.any():
            raise ValueError(f"the cells {preview(names[empty])} have no count of the model's genes: leave them out")
        if raw:
            warn_of_fractions(chosen, "cells")
        return _AlignedCells(self._standardised(chosen, present), names, present)

    def _check_fitted(self):
        if not hasattr(self, "outlier_distance_"):  # what `fit` sets last
            raise NotFittedError("this PairedModel is not fitted yet: call fit(data) first")

    def _standardised(self, values, present):
        """Z-scores of the genes that are there, 0 (the training mean) for the others."""
        fitted = self.preprocessor_
        partial = Preprocessor()
        partial.gene_means_, partial.gene_sds_ = fitted.gene_means_[present], fitted.gene_sds_[present]
        X = np.zeros((len(values), len(present)), dtype=np.float32)
        if fitted.median_depth_ is None:
            X[:, present] = partial.transform_genes(expression=values)
        else:
            # Fewer genes, less depth: by the share that these genes have in the training cells.
            partial.median_depth_ = fitted.median_depth_ * self.gene_shares_[present].sum()
            X[:, present] = partial.transform_genes(counts=values)
        return X

    def save(self, path):
        """Write the model to one file, all or nothing; `sbnn.load_model` reads it, under either backend.

        Parameters
        ----------
        path : path-like
            Target, for example "map.sbnn": a zip of JSON, NumPy arrays and the network in Keras' format.

        Returns
        -------
        Path
        """
        from sbnn.model_file import save_model

        self._check_fitted()
        return save_model(self, path)


def _default_estimator():
    """Return a network as it is; imported here, so that linear models do without Keras."""
    from sbnn.estimator import SparseBottleneckRegressor

    return SparseBottleneckRegressor()


def _cells(cells, layer, raw):
    """Return values (cells x genes), gene names and cell names of whatever holds cells."""
    if isinstance(cells, PairedData):
        values = cells.counts if raw else cells.X
        if values is None:
            raise ValueError(f"the model takes counts, but PairedData {cells.name!r} has none")
        return values, cells.gene_names, cells.cell_names
    if isinstance(cells, pd.DataFrame):
        table = read_table(cells, "cells")
        return table.to_numpy(), table.columns.to_numpy(str), table.index.to_numpy(str)
    if hasattr(cells, "mod"):
        raise ValueError(f"cells is a MuData: give the modality that holds the genes, one of {preview(cells.mod)}")
    if hasattr(cells, "obs_names") and hasattr(cells, "var_names"):
        return counts_of(cells, layer), cells.var_names.to_numpy(str), cells.obs_names.to_numpy(str)
    raise ValueError(
        f"cells must be a DataFrame, an AnnData or PairedData, which name their genes, got {type(cells).__name__}"
    )


def _gene_shares(counts):
    """Share of each gene in all counts of the training cells; None where there are no counts."""
    if counts is None:
        return None
    total = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
    return total / total.sum()


def _distances(training, cells):
    """Mean distance of each cell to its nearest training cells."""
    neighbours = NearestNeighbors(n_neighbors=min(N_NEIGHBOURS, len(training))).fit(training)
    return neighbours.kneighbors(cells)[0].mean(axis=1)


def _calibrate(training):
    """Distance that all but a share of held-out training cells stay below."""
    folds = KFold(min(5, len(training)), shuffle=True, random_state=0).split(training)
    held_out = np.concatenate([_distances(training[kept], training[left]) for kept, left in folds])
    return float(np.quantile(held_out, 1 - OUTLIER_RATE))
