"""A fitted map of your own cells: takes counts, matches genes by name, predicts in units, detects outliers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sbnn._checks import warn
from sbnn._hints import PathLike
from sbnn.data.containers import put_in_obsm
from sbnn.data.feature_transforms import own_names, to_own_units
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models.default_network import default_network
from sbnn.models.gene_number import chooses_number
from sbnn.models.latent_regressor import LatentRegressorMixin, is_network
from sbnn.own_cells.aligned_cells import align_cells
from sbnn.own_cells.cohort_shift import PairedShift
from sbnn.own_cells.model_file import read_model, write_model
from sbnn.own_cells.outliers import distances, outlier_distance
from sbnn.own_cells.paired_intervals import PairedIntervals
from sbnn.own_cells.paired_picture import PairedPicture
from sbnn.own_cells.recalibration import PairedRecalibration
from sbnn.validation.folds import donors_of
from sbnn.validation.guards import describe_many_genes

if TYPE_CHECKING:
    from anndata import AnnData


class PairedModel(PairedShift, PairedRecalibration, PairedIntervals, PairedPicture):
    """A network or linear model of paired data, with everything needed to apply it to other cells.

    Parameters
    ----------
    estimator : SparseBottleneckRegressor or ReducedRankRegressor, optional
        What is fitted; if None, an ensemble of ten networks, whose settings follow the number of cells
        (`sbnn.models.default_network`). Anything else is a ValueError.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on z-scores.
    preprocessor_ : Preprocessor
        Depth, means and SDs of the training cells.
    gene_names_, feature_names_ : str arrays
        The genes it was fitted on (all of which are needed for the depth of a cell), and the features.
    selected_genes_ : str array
        The genes that it reads.
    feature_units_ : tuple of str or None
    feature_transforms_ : tuple of str or None
        "log10" for the features of which `transform` took logarithms: they are called "log10(...)" in `feature_names_`,
        and predicted in their own units, under their own names (the median, not the mean, of a log-normal feature).
    features_measured_ : bool or None
        Whether it was fitted on features as measured, not on Y; None if its file is of a version that did not say.
    training_genes_ : array, shape (n_cells, n_selected)
        The training cells, z-scored.
    training_donors_ : int array, shape (n_cells,), or None
        Which training cells come from the same animal, for `shift`; None unless the donors of all are known.
    outlier_distance_ : float
        Distance above which a cell is far outside the training data.
    calibration_ : sbnn.models.cross_conformal.Calibration or None
        Set by `calibrate`, for `predict_interval`.
    recalibration_ : DataFrame or None
        What `recalibrate` changed.
    """

    def __init__(self, estimator: LatentRegressorMixin | None = None):
        if estimator is not None and not isinstance(estimator, LatentRegressorMixin):
            shown = estimator.__name__ if isinstance(estimator, type) else repr(estimator)
            raise ValueError(
                f"estimator must be a SparseBottleneckRegressor() or a ReducedRankRegressor(), got {shown}: only these "
                "have a map and select genes"
            )
        self.estimator = estimator

    def fit(self, data: PairedData) -> Self:
        """Fit the estimator on all cells of PairedData.

        Parameters
        ----------
        data : PairedData
            If it has counts and features as measured, these are normalised and z-scored here, and X and Y are not
            used. If not, new cells must be given on the scale of X, and predictions are on the scale of Y. A network
            with `n_selected="auto"` chooses its number of genes on folds that keep the cells of a donor together, where
            the donors of all cells are known.

        Returns
        -------
        PairedModel
            The fitted instance itself.

        Raises
        ------
        ValueError
            Not PairedData, settings that cannot be fitted, or a penalty so large that no gene is selected.
        """
        check_paired(data)
        if self.estimator is not None:
            self.estimator.check_settings(data.n_genes)
        preprocessor, X, Y = fit_preprocessor(data)
        estimator = default_network(data.n_cells) if self.estimator is None else clone(self.estimator)
        if is_network(estimator) and (described := describe_many_genes(data.n_genes)):
            warn(described)
        estimator.fit(X, Y, **({"groups": donors_of(data)} if chooses_number(estimator) else {}))
        if not estimator.selected_.any():
            raise ValueError("the model selects no gene: lower its penalty")
        threshold = outlier_distance(training_genes := X[:, estimator.selected_])
        # Only now: an earlier fit stays whole if this one fails.
        self.preprocessor_, self.estimator_ = preprocessor, estimator
        self.gene_names_, self.feature_names_ = data.gene_names, data.feature_names
        units = None if data.features is None else data.feature_units
        self.feature_units_ = None if units is None else tuple(units)
        self.features_measured_ = data.features is not None
        self.feature_transforms_ = data.feature_transforms
        self.training_genes_, self.outlier_distance_ = training_genes, threshold
        donors = donors_of(data)
        self.training_donors_ = None if donors is None else np.unique(donors, return_inverse=True)[1]
        self.calibration_ = self.recalibration_ = None  # those of an earlier fit
        return self

    @property
    def selected_genes_(self) -> np.ndarray:
        """Names of the genes that the model reads."""
        self._check_fitted()
        return self.gene_names_[self.estimator_.selected_]

    def predict(
        self, cells: pd.DataFrame | AnnData | PairedData, layer: str | None = None, fill_missing: bool = False
    ) -> pd.DataFrame:
        """Predict features of cells, in their own units.

        Parameters
        ----------
        cells : DataFrame (cells x genes), AnnData or PairedData
            Counts, or expression if the model was fitted without counts; genes are found by name, in any order.
        layer : str, optional
            Layer of an AnnData that holds the counts; None: the layer "counts" if there is one, else its X; "X" for its
            X. A model that was fitted without counts takes X.
        fill_missing : bool
            Set genes that `cells` lack to the mean of the training cells, instead of raising an error.

        Returns
        -------
        DataFrame, cells x features
            NaN for cells without any count of the model's genes.

        Raises
        ------
        ValueError
            Cells of another kind, without the names, counts or layer; genes that are lacking (unless filled) or double;
            no cell with a count of the model's genes.
        NotFittedError

        Warns
        -----
        UserWarning
            The cells seem to come from another population than the training cells: see `shift`, of which this is a
            quick form, and `recalibrate`.
        """
        aligned = self._align(cells, layer, fill_missing)
        self._warn_of_shift(aligned, cells)
        return self._predict(aligned)

    def _predict(self, aligned):
        Y = self.preprocessor_.inverse_transform_features(self.estimator_.predict(aligned.X))
        transforms = self.feature_transforms_
        return aligned.table(to_own_units(Y, transforms), own_names(self.feature_names_, transforms))

    def transform(
        self, cells: pd.DataFrame | AnnData | PairedData, layer: str | None = None, fill_missing: bool = False
    ) -> pd.DataFrame:
        """Return the latent coordinates of cells; arguments as for `predict`.

        Returns
        -------
        DataFrame
            One row per cell, columns z1, z2, ...

        Raises
        ------
        ValueError, NotFittedError
            As for `predict`.
        """
        return self._transform(self._align(cells, layer, fill_missing))

    def _transform(self, aligned):
        Z = np.asarray(self.estimator_.transform(aligned.X))
        return aligned.table(Z, list(self.estimator_.get_feature_names_out()))

    def transform_spread(
        self, cells: pd.DataFrame | AnnData | PairedData, layer: str | None = None, fill_missing: bool = False
    ) -> pd.Series:
        """Return how far the networks of an ensemble disagree about the place of each cell; arguments as for `predict`.

        Returns
        -------
        Series
            "spread" by cell: root of the mean squared distance from its place in the map, in the units of `transform`,
            once all maps are aligned on the training cells; NaN for cells without any count of the model's genes.

        Raises
        ------
        ValueError
            The model has one map: a single network, or a linear model; otherwise as for `predict`.
        NotFittedError
        """
        self._check_fitted()
        if not self._has_members:
            raise ValueError(
                "transform_spread compares the networks of an ensemble, this model has one map: fit "
                "PairedModel(SparseBottleneckRegressor(n_networks=10))"
            )
        return self._transform_spread(self._align(cells, layer, fill_missing))

    def _transform_spread(self, aligned):
        spread = self.estimator_.transform_spread(aligned.X)
        return aligned.table(spread[:, None], ["spread"])["spread"]

    @property
    def _has_members(self):
        """Whether the estimator is an ensemble of networks."""
        return getattr(self.estimator_, "members_", None) is not None

    def outliers(
        self, cells: pd.DataFrame | AnnData | PairedData, layer: str | None = None, fill_missing: bool = False
    ) -> pd.DataFrame:
        """Assess how far cells are from the training cells; arguments as for `predict`.

        The distance of a cell is the mean Euclidean distance to its ten nearest training cells, in z-scores of the
        selected genes that were measured. A cell is an outlier if its distance exceeds that of 99 % of held-out
        training cells (five folds). Training cells are among their own neighbours: they seem nearer than they are.

        Returns
        -------
        DataFrame
            `distance`, `is_outlier`; cells without any count of the model's genes are outliers without distance (NaN).

        Raises
        ------
        ValueError, NotFittedError
            As for `predict`.
        """
        return self._outliers(self._align(cells, layer, fill_missing))

    def _outliers(self, aligned):
        used = aligned.present[self.estimator_.selected_]
        training, limit = self.training_genes_[:, used], self.outlier_distance_
        if not used.all():  # fewer genes, smaller distances
            limit = outlier_distance(training)
        distance = distances(training, aligned.X[:, self.estimator_.selected_][:, used])
        found = aligned.table(distance[:, None], ["distance"])
        return found.assign(is_outlier=~(found["distance"] <= limit))

    def annotate(self, adata: AnnData, layer: str | None = None, fill_missing: bool = False) -> None:
        """Write coordinates, predictions and outliers of the cells of an AnnData into it.

        `.obsm["X_sbnn"]` (coordinates, which `scanpy.pl.embedding(adata, "sbnn")` draws),
        `.obsm["sbnn_predictions"]` (features in their own units), `.obs["sbnn_outlier"]`, for ensembles
        `.obs["sbnn_spread"]` (`transform_spread`), `.var["sbnn_selected"]` and `.var["sbnn_norm"]` (row norms of the
        first layer; NaN for genes unknown to the model).

        Parameters
        ----------
        adata : anndata.AnnData
            Changed in memory; the file of a backed AnnData is not.
        layer, fill_missing
            As for `predict`.

        Raises
        ------
        ValueError, NotFittedError
            As for `predict`; a view of a backed AnnData, which cannot be changed.
        """
        if not hasattr(adata, "obsm"):
            raise ValueError(f"adata must be an AnnData, got {type(adata).__name__}")
        if adata.isbacked and adata.is_view:
            raise ValueError("adata is a view of a file, which cannot be changed: give adata.to_memory()")
        aligned = self._align(adata, layer, fill_missing)
        norms = pd.Series(self.estimator_.gene_norms_, index=self.gene_names_)
        latents, predictions, outliers = self._transform(aligned), self._predict(aligned), self._outliers(aligned)
        spread = self._transform_spread(aligned) if self._has_members else None
        adata.obsm["X_sbnn"] = latents.to_numpy()
        put_in_obsm(adata, "sbnn_predictions", predictions)
        adata.obs["sbnn_outlier"] = outliers["is_outlier"]
        if spread is not None:
            adata.obs["sbnn_spread"] = spread
        elif "sbnn_spread" in adata.obs:  # of another model
            del adata.obs["sbnn_spread"]
        adata.var["sbnn_selected"] = adata.var_names.isin(self.selected_genes_)
        adata.var["sbnn_norm"] = norms.reindex(adata.var_names).to_numpy()

    def _align(self, cells, layer, fill_missing):
        """Return cells as the estimator takes them, in the order of its genes."""
        self._check_fitted()
        return align_cells(self, cells, layer, fill_missing)

    def _check_fitted(self):
        if not hasattr(self, "outlier_distance_"):  # what `fit` sets last
            raise NotFittedError("this PairedModel is not fitted yet: call fit(data) first")

    def save(self, path: PathLike) -> Path:
        """Write the model to one file, all or nothing; `sbnn.load_model` reads it, under either backend.

        Parameters
        ----------
        path : path-like
            Target, for example "map.sbnn": a zip of JSON and NumPy arrays. A `random_state` that is not a number is
            not saved.

        Returns
        -------
        Path
        """
        self._check_fitted()
        return write_model(self, path)


def load_model(path: PathLike) -> PairedModel:
    """Read a model written by `PairedModel.save`.

    Nothing in the file is executed, and every number, name and shape in it is checked for consistency: a loaded model
    predicts the same as the model that was saved.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    PairedModel

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is truncated, damaged, not a model, or was written by another major version.
    """
    model = PairedModel(clone((parts := read_model(path)).estimator))
    model.estimator_, model.preprocessor_ = parts.estimator, parts.preprocessor
    model.gene_names_, model.feature_names_, model.feature_units_ = parts.gene_names, parts.feature_names, parts.units
    model.features_measured_, model.feature_transforms_ = parts.features_measured, parts.transforms
    model.training_genes_, model.outlier_distance_ = parts.training_genes, parts.outlier_distance
    model.training_donors_ = parts.training_donors
    model.calibration_, model.recalibration_ = parts.calibration, parts.recalibration
    return model
