"""What the interactive map shows of cells: coordinates, features measured and predicted, from any kind of model."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import check_whole, preview
from sbnn.data.feature_transforms import own_names, own_units, to_own_units
from sbnn.data.paired_data import PairedData
from sbnn.models.r2 import as_columns
from sbnn.validation.held_out import check_made_from, held_out_rows, maps_of_models, predictions_of_models
from sbnn.validation.protocol import FoldProtocol, view_folds
from sbnn.validation.result import CrossValidation

#: Unit of features that are known as z-scores only.
Z_SCORE = "z-score"
#: Scales are the same if values differ by no more than this many SDs.
_SAME_SCALE = 1e-3
_OF_THE_MODEL = (
    "Map and predictions are those of the model itself: of cells that it was fitted on, residuals are smaller than of "
    "new ones."
)


class ExploredCells(NamedTuple):
    """Cells on a map, with what was measured and what is predicted.

    Attributes
    ----------
    data : PairedData
        The cells that have a place on the map.
    coordinates : float64 array, shape (n_cells, n_dimensions)
    genes : list of str
        Those that the model reads, the one with the largest norm first.
    measured, predicted : DataFrame, cells x features
        On the same scale; NaN where not known.
    units : dict
        Feature -> unit or None.
    notes : dict
        Feature -> how well it is predicted, in words.
    spread : float64 array, shape (n_cells,), or None
        How far the networks of an ensemble disagree about each cell's place.
    held_out : bool array, shape (n_cells,), or None
        Whether the model of the map was fitted without the cell.
    about : str
        Of which model map and predictions are.
    """

    data: PairedData
    coordinates: np.ndarray
    genes: list[str]
    measured: pd.DataFrame
    predicted: pd.DataFrame
    units: dict[str, str | None]
    notes: dict[str, str]
    spread: np.ndarray | None
    held_out: np.ndarray | None
    about: str


def cells_of_model(model: Any, data: PairedData) -> ExploredCells:
    """Return cells on the map of a `sbnn.PairedModel`, in the units of its features.

    Raises
    ------
    ValueError
        Cells without the model's genes; features as measured, which it predicts, are not known.
    NotFittedError
    """
    Z = model.transform(data)
    placed = Z.notna().all(axis=1).to_numpy()
    if not placed.all():  # said in a warning by transform
        data, Z = data.subset(placed), Z[placed]
    if model.features_measured_ and data.features is None:
        raise ValueError(
            "data has no features as measured (data.features), but the model predicts these in their units: give "
            "PairedData that holds them"
        )
    units: dict[str, str | None]
    if model.features_measured_ is False or data.features is None:
        measured = _table(data.Y, data)
        units = dict.fromkeys([*data.feature_names.tolist(), *model.feature_names_.tolist()], Z_SCORE)
    else:  # in the units in which the model predicts: not as logarithms
        names = own_names(data.feature_names, data.feature_transforms)
        measured = _table(to_own_units(data.features, data.feature_transforms), data).set_axis(names, axis=1)
        units = _by_name(names, own_units(data.feature_units, data.feature_transforms))
        theirs = own_units(model.feature_units_, model.feature_transforms_)
        own = _by_name(own_names(model.feature_names_, model.feature_transforms_), theirs)
        units |= {name: unit for name, unit in own.items() if unit}
    is_ensemble = getattr(model.estimator_, "members_", None) is not None
    return ExploredCells(
        data=data,
        coordinates=Z.to_numpy(),
        genes=_by_norm(model.estimator_, model.gene_names_),
        measured=measured,
        predicted=model.predict(data),
        units=units,
        notes={},
        spread=model.transform_spread(data).to_numpy() if is_ensemble else None,
        held_out=None,
        about=_OF_THE_MODEL,
    )


def cells_of_estimator(estimator: Any, data: PairedData) -> ExploredCells:
    """Return cells on the map of an estimator that was fitted on X and Y.

    Raises
    ------
    ValueError
        Predictions of another shape than Y; another number of genes.
    NotFittedError
    """
    Z, predicted = np.asarray(estimator.transform(data.X)), as_columns(estimator.predict(data.X), data.Y.shape)
    target, units = _features_of(data)
    is_ensemble = getattr(estimator, "members_", None) is not None
    return ExploredCells(
        data=data,
        coordinates=Z.reshape(len(Z), -1).astype(np.float64),
        genes=_by_norm(estimator, data.gene_names),
        measured=_table(target, data),
        predicted=_table(_rescaled(predicted, data.Y, target), data),
        units=units,
        notes={},
        spread=estimator.transform_spread(data.X) if is_ensemble else None,
        held_out=None,
        about=_OF_THE_MODEL,
    )


def cells_of_result(result: CrossValidation, data: PairedData, model: str | None, fold: int) -> ExploredCells:
    """Return cells on the map of one fold's model, with predictions for held-out cells of all folds.

    Every prediction is by a model that had not seen the cell (their mean, if several folds test it). If no fold tests
    any cell (`folds="all"`), predictions are those of the fold's model.

    Raises
    ------
    ValueError
        Other data, no such model or fold, no coordinates or predictions.
    """
    check_made_from(result, data)
    check_whole(fold, "fold", least=0, most=len(result.folds) - 1)
    for name in ("latents", "predictions"):
        if not len(getattr(result, name)):
            raise ValueError(f'result has no {name}: call cross_validate with keep=("predictions", "latents")')
    model = _chosen_model(result, model)
    places = [place for place, one in enumerate(result.models) if one["model"] == model]
    # A model whose settings were chosen in every fold may have several entries of its name.
    alone = result.select([result.models[places[0]]]) if len(places) == 1 else result
    split = result.folds[fold]
    trained, tested = maps_of_models(alone, data)[model][fold]
    coordinates = np.full((data.n_cells, trained.shape[1]), np.nan)
    coordinates[split.train], coordinates[split.test] = trained, tested
    shown = np.unique(np.concatenate([split.train, split.test]))  # folds need not hold every cell
    target, units = _features_of(data)
    predicted, view, about = _predictions_of_result(alone, data, model, fold, target)
    held_out = np.isin(shown, split.test)
    order = _best_first(result, model, data.feature_names)
    return ExploredCells(
        data=data.subset(shown),
        coordinates=coordinates[shown],
        genes=_genes_of_fold(result, model, fold),
        measured=_table(target, data).iloc[shown][order],
        predicted=_table(predicted, data).iloc[shown][order],
        units=units,
        notes=_notes_of(result, model),
        spread=_spread_of_fold(result, places[0], fold, view, shown),
        held_out=held_out if held_out.any() else None,
        about=about,
    )


def _predictions_of_result(result, data, model, fold, target):
    """Predictions of all cells on the scale of `target`, what the model of the fold saw, and a sentence about both."""
    if any(len(one.test) for one in result.folds):
        rows = held_out_rows(result, data)
        predicted = _mean_by_cell(predictions_of_models(result, data, rows)[model], rows, target)
        about = f"Map: {model} in one of {len(result.folds)} folds (fold={fold}). Predictions are of held-out cells, "
        return predicted, rows.views[fold], f"{about}each by a model that had not seen it."
    view = view_folds(data, result.folds, FoldProtocol.read(result.protocol))[fold]
    table = result.predictions[(result.predictions["model"] == model) & (result.predictions["fold"] == fold)]
    values = table.set_index("cell").reindex(data.cell_names)[data.feature_names.tolist()].to_numpy(np.float64)
    about = f"Map and predictions: {model}, which was fitted on these cells: residuals are smaller than of new ones."
    return _rescaled(values, view.Y, target), view, about


def _genes_of_fold(result, model, fold):
    """Genes of the model of a fold, the one with the largest norm first."""
    table = result.selected
    if not len(table):
        return []
    table = table[(table["model"] == model) & (table["fold"] == fold)]
    return table.sort_values("norm", ascending=False, kind="stable")["gene"].tolist()


def _scores_of(result, model):
    """R2 of each feature of held-out cells, the mean over folds; empty if there is none."""
    table = result.feature_scores
    return table[table["model"] == model].groupby("feature")["r2_test"].mean() if len(table) else pd.Series(dtype=float)


def _best_first(result, model, names):
    """Names of features, the one that is predicted best first."""
    scores = _scores_of(result, model).reindex(names)
    return scores.sort_values(ascending=False, kind="stable").index.tolist()


def _notes_of(result, model):
    """How well each feature of held-out cells is predicted, in words."""
    scores = _scores_of(result, model)
    return {
        name: f"R² {score:.2f} in held-out cells (mean over folds)"
        for name, score in scores.items()
        if np.isfinite(score)
    }


def _chosen_model(result, model):
    """Name of the model whose map is shown: the one asked for, or the only one that has a map."""
    names = result.latents["model"].unique().tolist()
    if model is None and len(names) == 1:
        return names[0]
    if model is None:
        raise ValueError(f"result holds maps of {len(names)} models: say which, model= one of {preview(names)}")
    if model not in names:
        raise ValueError(f"model {model!r} has no map in result: expected one of {preview(names)}")
    return model


def _mean_by_cell(predictions, rows, target):
    """Mean prediction for each cell over the folds that test it, on the scale of `target`, shape (n_cells, n)."""
    sums, numbers = np.zeros(target.shape), np.zeros(target.shape)
    for number, Y in enumerate(rows.targets):
        here = rows.folds == number
        values = _rescaled(predictions[here], Y, target)
        cells, known = rows.cells[here], np.isfinite(values)
        np.add.at(sums, cells, np.where(known, values, 0))
        np.add.at(numbers, cells, known)
    return np.divide(sums, numbers, out=np.full(target.shape, np.nan), where=numbers > 0)


def _spread_of_fold(result, place, fold, view, shown):
    """How far the networks of a fold disagree, if the result still holds them."""
    number = place * len(result.folds) + fold
    fitted = len(result.estimators) == len(result.models) * len(result.folds)
    estimator = result.estimators[number] if fitted else None
    if estimator is None or getattr(estimator, "members_", None) is None:
        return None
    return estimator.transform_spread(view.X)[shown]


def _features_of(data):
    """Features in their own units, where Y is the same on another scale; else Y. And the units by name."""
    if data.features is not None and _scale(data.Y, data.features) is not None:
        return data.features, _by_name(data.feature_names, data.feature_units)
    return data.Y.astype(np.float64), dict.fromkeys(data.feature_names.tolist(), Z_SCORE)


def _rescaled(values, of, to):
    """Values that are on the scale of some features, on that of others, which are the same but for mean and SD."""
    scale = _scale(of, to)
    if scale is None:
        raise ValueError("the features that the model saw are not those of data: give the data that it was fitted on")
    return np.asarray(values, dtype=np.float64) * scale[0] + scale[1]


def _scale(of, to):
    """Slope and intercept that lead from one scale to another, for each feature; None if there are none."""
    of, to = np.asarray(of, dtype=np.float64), np.asarray(to, dtype=np.float64)
    both = np.isfinite(of) & np.isfinite(to)
    of, to = np.where(both, of, np.nan), np.where(both, to, np.nan)
    if not both.any(axis=0).all():
        return None
    centres = np.nanmean(of, axis=0), np.nanmean(to, axis=0)
    variance = np.nanmean((of - centres[0]) ** 2, axis=0)
    covariance = np.nanmean((of - centres[0]) * (to - centres[1]), axis=0)
    slope = np.divide(covariance, variance, out=np.ones_like(variance), where=variance > 0)
    intercept = centres[1] - slope * centres[0]
    off = np.nanmax(np.abs(of * slope + intercept - to), axis=0)
    return (slope, intercept) if (off <= _SAME_SCALE * np.nanstd(to, axis=0)).all() else None


def _by_norm(estimator, gene_names):
    """Names of the genes that an estimator reads, the one with the largest norm first; none if it does not say."""
    selected = getattr(estimator, "selected_", None)
    if selected is None or len(selected) != len(gene_names):
        return []
    norms = np.asarray(getattr(estimator, "gene_norms_", np.ones(len(selected))))
    order = np.argsort(-norms, kind="stable")
    return np.asarray(gene_names)[order[np.asarray(selected, dtype=bool)[order]]].tolist()


def _table(values, data):
    return pd.DataFrame(np.asarray(values, dtype=np.float64), index=data.cell_names, columns=data.feature_names)


def _by_name(names, units):
    return {} if units is None else dict(zip(np.asarray(names).tolist(), units, strict=True))
