"""What a PairedModel shows of itself: its picture, how often its genes are chosen, and its description."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from sbnn._checks import preview, warn
from sbnn.data.feature_transforms import own_names
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.figures.gene_labels import shown_genes
from sbnn.own_cells.fitted_parts import FittedParts
from sbnn.own_cells.gene_shares import chose_together, gene_shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sbnn.validation.result import CrossValidation

#: Cells are the same if the z-scores of the model's genes are, to this distance.
_SAME_CELL = 1e-3


class PairedPicture(FittedParts):
    """The methods of `sbnn.PairedModel` that draw and describe it."""

    @property
    def gene_frequency_(self) -> pd.Series:
        """Share of the networks of an ensemble that would have chosen a gene for themselves, the largest first.

        Series by gene, of all genes that any network would have chosen; the model reads `selected_genes_`, which the
        networks chose together. Of a single network, or a linear model, 1 for each of its genes: how often these are
        found again is what `sbnn.gene_stability` measures.
        """
        self._check_fitted()
        return gene_shares(self.estimator_, self.gene_names_)

    def plot(
        self, data: PairedData, result: CrossValidation | None = None, *, model: str | None = None, fold: int = 0
    ) -> Figure:
        """Draw cells on the map, genes over it, and the features that are predicted best, measured beside predicted.

        Features are chosen by their R2, which stands in their titles: of held-out cells if a cross-validation is given,
        else of these cells, and the figure says whether the model was fitted on them (training fit). ::

            result = cross_validate(data, {"sBNN-2": default_network(data.n_cells), "type": ClassMean("cell_types")})
            model = PairedModel().fit(data)
            model.plot(data, result)

        Parameters
        ----------
        data : PairedData
            Its types and families, if any, colour and label the cells; cells of unknown type are grey. Features that it
            lacks are shown as predicted only.
        result : CrossValidation, optional
            Of the same data: R2 is then the mean over its folds, predictions are those of models that had not seen the
            cell, the map of one fold is drawn beside that of the model, with its held-out cells, and R2 of the other
            models of the result stands below the figure.
        model : str, optional
            Whose scores are meant, if `result` holds none with the settings of this model, or several.
        fold : int
            Whose held-out cells are shown.

        Returns
        -------
        Figure
            Maps of more than two dimensions as t-SNE. Genes are those with the largest weights, of an ensemble with the
            share of its networks that choose them (`gene_frequency_`).

        Raises
        ------
        ValueError
            A model with a single latent dimension is not a map; data in other units; a result of other data, without
            test cells, or without a model like this one; `model` or `fold` without a result.
        NotFittedError

        Warns
        -----
        UserWarning
            The model of the result has other settings than this one, or this one was fitted on other cells than `data`.
        """
        from sbnn.own_cells.map_picture import draw_map, features_held_out, features_of_model
        from sbnn.own_cells.map_scores import scores_of_map

        check_paired(data)
        if result is None and (model is not None or fold != 0):
            raise ValueError("model= and fold= choose from a cross-validation: give result=, as cross_validate returns")
        aligned = self._align(data, None, False)
        scores = None if result is None else scores_of_map(result, data, self.estimator_, model, fold)
        cells = data.subset(aligned.has_counts)
        predicted = self._as_table(self.estimator_.predict(aligned.X), cells)
        known = self._are_training_cells(aligned)
        features = features_of_model(self._measured(cells), predicted, known)
        if scores is not None:
            _warn_of_other_cells(known)
            features = features_held_out(scores, features, cells.cell_names)
        return draw_map(self.estimator_, aligned.X, cells, self.gene_names_, features, scores)

    def _measured(self, data):
        """Features of cells as z-scores on the scale of the training cells; NaN where they are not known."""
        names = own_names(self.feature_names_, self.feature_transforms_)
        there = own_names(data.feature_names, data.feature_transforms)
        if (self.features_measured_ and data.features is None) or not set(names) & set(there):
            return self._as_table(np.full((data.n_cells, len(names)), np.nan), data)
        return self._as_table(self.preprocessor_.transform_features(self._measured_features(data)), data)

    def _as_table(self, values, data):
        return pd.DataFrame(np.asarray(values, dtype=np.float64), data.cell_names, self.feature_names_)

    def _are_training_cells(self, aligned):
        """Whether each cell is one that the model was fitted on, by its genes."""
        nearest = NearestNeighbors(n_neighbors=1).fit(self.training_genes_)
        distance = nearest.kneighbors(aligned.X[:, self.estimator_.selected_])[0][:, 0]
        return distance <= _SAME_CELL

    def __repr__(self) -> str:
        """Describe the model in a few lines: what was fitted, and which genes it reads, with their frequencies."""
        if not hasattr(self, "outlier_distance_"):
            estimator = "" if self.estimator is None else repr(self.estimator)
            return f"PairedModel({estimator}), not fitted"
        together, n_networks = chose_together(self.estimator_), getattr(self.estimator_, "n_networks", 0)
        kind = f"ensemble of {n_networks} networks" if n_networks > 1 else "network" if n_networks else "linear model"
        shares = self.gene_frequency_[lambda found: found.index.isin(self.selected_genes_)]
        names = shown_genes(shares.index, self.gene_names_)
        if together:
            names = [f"{name} {share:.0%}" for name, share in zip(names, shares, strict=True)]
        listed = ", ".join([*names[:6], *(["..."] if len(names) > 6 else [])])
        more = " (%: of the networks choose it)" if together else ""
        return (
            f"PairedModel: {kind}, {len(self.training_genes_)} cells, {len(self.gene_names_)} genes -> "
            f"{len(self.feature_names_)} features\n"
            f"  reads {len(self.selected_genes_)} genes{more}: {listed}\n"
            f"  features: {preview(self.feature_names_)}"
        )


def _warn_of_other_cells(known):
    """Warn where the map is of a model that has not been fitted on most of the cells of the scores."""
    if known.sum() < len(known) / 2:
        warn(
            f"only {known.sum()} of {len(known)} cells of data are training cells of this model: the large map is that "
            "of a model of other cells, while R2 and held-out cells are of models fitted on data (result). Fit the "
            "model on data, or leave result out"
        )
