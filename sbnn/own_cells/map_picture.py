"""The picture of your own cells on their map: genes, features measured beside predicted, held-out cells."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sbnn.data.cell_labels import PLAIN_COLOR, complete_colors
from sbnn.data.paired_data import PairedData
from sbnn.figures.cell_map import MOST_SHOWN, HeldOutMap, plot_cell_map
from sbnn.figures.embedding import tsne
from sbnn.figures.gene_labels import shown_genes
from sbnn.figures.style import use_style
from sbnn.models.latent_regressor import LatentRegressorMixin
from sbnn.models.map_agreement import rotation_onto
from sbnn.models.r2 import feature_r2, r2
from sbnn.own_cells.gene_shares import chose_together
from sbnn.own_cells.map_scores import MapScores


class ShownFeatures(NamedTuple):
    """Features of the cells of a map, and how well they are predicted.

    Attributes
    ----------
    measured, predicted : DataFrame, cells x features
        z-scores; NaN where not known.
    r2 : Series
        By feature.
    overall : float
        R2 of all features together; NaN if none was measured.
    of, hint : str
        Of which cells R2 is, and what else to know of it, each in a few words.
    about : str
        By which models the features are predicted.
    """

    measured: pd.DataFrame
    predicted: pd.DataFrame
    r2: pd.Series
    overall: float
    of: str
    hint: str
    about: str


def features_of_model(measured: pd.DataFrame, predicted: pd.DataFrame, known: np.ndarray) -> ShownFeatures:
    """Return what a model predicts for cells, and R2 around the means of its training cells.

    Parameters
    ----------
    measured, predicted : DataFrame, cells x features
        z-scores on the scale of the training cells.
    known : bool array, shape (n_cells,)
        Which of the cells the model was fitted on.
    """
    zero = np.zeros(measured.shape[1])
    scores = feature_r2(measured.to_numpy(), predicted.to_numpy(), zero)
    n_known = int(known.sum())
    about = "predicted by this model"
    if n_known == len(known):
        of, hint = (
            "training fit",
            ", of cells that the model was fitted on; plot(data, result) has that of held-out cells",
        )
    elif n_known:
        of, hint = "these cells", f": the model was fitted on {n_known} of the {len(known)} (training fit)"
    else:
        of, hint = "these cells", ", on none of which the model was fitted"
    overall = r2(measured.to_numpy(), predicted.to_numpy(), zero)
    return ShownFeatures(measured, predicted, pd.Series(scores, index=measured.columns), overall, of, hint, about)


def features_held_out(scores: MapScores, own: ShownFeatures, cells: np.ndarray) -> ShownFeatures:
    """Return R2 of a cross-validation in place of that of the model, and what was predicted for held-out cells.

    Parameters
    ----------
    scores : MapScores
    own : ShownFeatures
        Of the model itself; its predictions are kept if the cross-validation has none.
    cells : str array
        Names of the cells to show.
    """
    names = own.measured.columns
    r2_by_feature = scores.r2.reindex(names)
    of = f"held-out cells, {scores.n_folds} folds"
    shown = {"r2": r2_by_feature, "overall": scores.overall, "of": of, "hint": "; map: of all cells"}
    if scores.cells is None:
        about = f"{own.about} (training fit: the result has no predictions)"
        return own._replace(**shown, about=about)
    measured, predicted = (table.reindex(index=cells, columns=names) for table in (scores.cells.measured,
                                                                                 scores.cells.predicted))  # fmt: skip
    centre, scale = measured.mean(), measured.std(ddof=0).replace(0, 1)
    measured, predicted = ((table - centre) / scale for table in (measured, predicted))
    about = "each cell predicted by a model that had not seen it"
    return ShownFeatures(measured, predicted, **shown, about=about)


def draw_map(
    estimator: LatentRegressorMixin,
    X: np.ndarray,
    data: PairedData,
    gene_names: np.ndarray,
    features: ShownFeatures,
    scores: MapScores | None = None,
) -> Figure:
    """Draw cells on the map, its t-SNE if it has more than two dimensions; see `sbnn.PairedModel.plot`.

    Parameters
    ----------
    estimator : SparseBottleneckRegressor or ReducedRankRegressor
        Fitted.
    X : array, shape (n_cells, n_genes)
        The cells as it takes them.
    data : PairedData
        The same cells, with their types and families.
    gene_names : str array, shape (n_genes,)
    features : ShownFeatures
        Of the same cells; the nine with the largest R2 are drawn.
    scores : MapScores, optional
        Of a cross-validation, with other models and the map of a fold.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        An estimator with a single latent dimension.
    """
    Z = np.asarray(estimator.transform(X))
    if Z.shape[1] < 2:
        raise ValueError(f"a map needs at least two latent dimensions, the model has {Z.shape[1]}: see transform")
    best = features.r2.sort_values(ascending=False, kind="stable", na_position="last").index[:MOST_SHOWN]
    n_features = len(features.r2)
    chosen = (
        "all, the largest R² first"
        if n_features == len(best)
        else f"the {len(best)} of {n_features} with the largest R²"
    )
    genes, about_genes = _genes_of(estimator, Z, gene_names)
    panel = {
        "title": _title(data.n_cells, int(estimator.selected_.sum()), features.overall),
        "about": f"R²: {features.of}{features.hint}" if np.isfinite(features.overall) else "features were not measured",
        "coordinates": _flat(Z),
        "genes": genes,
        "about_genes": about_genes,
        "measured": features.measured,
        "predicted": features.predicted,
        "r2": features.r2[best],
        "about_features": f"{chosen} ({features.of}); {features.about}",
        "notes": _notes(scores, Z.shape[1]),
    }
    places = pd.DataFrame(panel["coordinates"], data.cell_names)
    held_out = None if scores is None or scores.cells is None else _held_out_map(scores, places)
    with plt.rc_context():  # the user's own settings are not changed
        use_style()
        return plot_cell_map(panel, _table_of(data), held_out)


def _title(n_cells, n_genes, overall):
    score = f": R² {overall:.2f}".replace("-", "−") if np.isfinite(overall) else ""
    return f"{n_cells} cells, {n_genes} genes{score}"


def _flat(Z):
    return Z if Z.shape[1] == 2 else tsne(Z)


def _genes_of(estimator, Z, gene_names):
    """Genes of the largest norms as decoded from the map, and a line about them."""
    selected = estimator.selected_
    genes = estimator.decode_genes(Z)
    if genes.shape[1] > selected.sum():  # a linear model decodes all
        genes = genes[:, selected]
    largest = np.argsort(-estimator.gene_norms_[selected], kind="stable")[:MOST_SHOWN]
    names = shown_genes(gene_names[selected][largest], gene_names)
    about = "those with the largest weights"
    if chose_together(estimator):
        shares = estimator.gene_frequency_[selected][largest]
        names = [f"{name} {share:.0%}" for name, share in zip(names, shares, strict=True)]
        n_networks = f"{estimator.n_networks} networks" if estimator.n_networks > 1 else "the networks"
        about = f"%: of {n_networks} choose the gene"
    return pd.DataFrame(genes[:, largest], columns=names), about


def _notes(scores, n_dims):
    """Sentences below the figure: other models, and what the map is."""
    notes = [] if n_dims == 2 else [f"Maps are t-SNE of {n_dims} dimensions."]
    if scores is not None:
        values = {scores.name: scores.overall} | dict(list(scores.others.items())[:6])
        listed = ", ".join(f"{name} {value:.2f}".replace("-0", "−0") for name, value in values.items())
        alone = "" if scores.others else '; compare with ClassMean("cell_types") and a linear model in cross_validate'
        notes.append(f"R² of held-out cells, all features: {listed}{alone}.")
    return notes


def _held_out_map(scores, places):
    """Map of a fold, turned onto the places of the same cells in the model's map, and which its model had not seen."""
    shown = scores.cells
    coordinates = _flat(shown.coordinates)
    both = np.isin(shown.data.cell_names, places.index)
    target = places.loc[shown.data.cell_names[both]].to_numpy()
    coordinates = coordinates - coordinates[both].mean(axis=0)
    turn = rotation_onto(coordinates[both], target - target.mean(axis=0))[0]
    held_out = np.zeros(shown.data.n_cells, dtype=bool) if shown.held_out is None else shown.held_out
    n_held_out = int(held_out.sum())
    return HeldOutMap(
        coordinates=coordinates @ turn,
        held_out=held_out,
        cells=_table_of(shown.data),
        title=f"held-out cells (fold={scores.fold})",
        about=f"in colour: {n_held_out} held-out cells; grey: {len(held_out) - n_held_out} training cells",
    )


def _table_of(data):
    """Table of cells with colours, as figures take it; grey for all where no classes are known."""
    families = data.cell_families if data.cell_families is not None else data.cell_types
    labels, given = data.cell_types, data.type_colors
    if labels is None:
        labels, given = data.cell_families, data.family_colors
    colors = [PLAIN_COLOR] * data.n_cells
    if labels is not None:
        known = complete_colors(labels, given, "colours")
        colors = [known[name] for name in labels]
    plain = np.full(data.n_cells, "")
    return pd.DataFrame({"type_color": colors, "cell_family": plain if families is None else families})
