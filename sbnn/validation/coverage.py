"""How often features of held-out cells lie inside their prediction intervals, and how wide these are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import check_choice, check_coverage, preview
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.feature_transforms import from_own_units
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.cross_conformal import N_FOLDS, Interval, order_of_bound
from sbnn.validation.baselines import CLASSES, ClassMean
from sbnn.validation.folds import donors_of
from sbnn.validation.held_out import HeldOutRows, held_out_rows, predictions_of_models
from sbnn.validation.intervals import CrossConformal, features_of
from sbnn.validation.result import CrossValidation

#: Name of the row of `coverage_table` that combines all features and cells.
ALL = "all"


class _Inside(NamedTuple):
    """Whether values are inside (1, 0; NaN without bounds), and widths in SDs of the feature; (n_rows, n_features)."""

    inside: np.ndarray
    width: np.ndarray

    def means(self, use):
        """Share of the values in use that are inside, and their mean width."""
        return (float(self.inside[use].mean()), float(self.width[use].mean())) if use.any() else (np.nan, np.nan)


class _Held(NamedTuple):
    """Rows of data that are held out, which of their features count, and whether they are inside the bounds."""

    cells: np.ndarray
    counted: np.ndarray
    names: np.ndarray
    model: _Inside
    of_class: _Inside | None


def coverage_table(
    model_or_result: Any,
    data: PairedData,
    coverage: float = 0.9,
    training: PairedData | None = None,
    of: str = "cell_families",
    cells: Any = None,
    fill_missing: bool = False,
) -> pd.DataFrame:
    """Return which share of held-out cells lies inside the prediction intervals, and how wide these are.

    Parameters
    ----------
    model_or_result : PairedModel, estimator, CrossConformal or CrossValidation
        A model that is calibrated; estimators and CrossConformal are given `data.X` and compared with `data.Y`. Or a
        cross-validation with its predictions of these data: there, the bounds around the prediction of a held-out cell
        are the quantile of the absolute residuals of the other folds' held-out cells (cross-conformal, without the "+":
        nothing is fitted again, and nothing is known of the cells in question but what those folds' models learnt); one
        setting of each model in a fold.
    data : PairedData
        Cells that the model has not seen, with features in the units it was fitted on (Y on its scale, if it was fitted
        without features as measured); or the cells of the result.
    coverage : float
        That of the intervals; see `predict_interval`.
    training : PairedData, optional
        The cells that the model was fitted on. With it, the interval of the mean of each cell's class, calibrated on as
        many folds, stands beside that of the model. A result needs none.
    of : {"cell_families", "cell_types"}
        Which classes.
    cells : DataFrame or AnnData, optional
        Counts of the cells of `data`, in their order, for a PairedModel some of whose genes `data` lacks.
    fill_missing : bool
        See `PairedModel.predict`.

    Returns
    -------
    DataFrame
        `model`; `by` ("all", "feature" or "family", of the families that are known) and `name`: what a row is about;
        `n_values`, observed values of cells with bounds; `coverage`, the share of them inside; `width`, the mean width
        in SDs of the feature in the training cells (of a result, in all its cells; in units of Y for an estimator
        without `training`), infinite if one bound is;
        `class_coverage` and `class_width`, the same for the class means (NaN if there are none). In a result, a cell
        counts once for each fold that tests it, and a model without a score in some fold, which has no predictions
        there, has neither coverage nor width (NaN): those of the other folds would be of other cells.

    Raises
    ------
    ValueError
        A coverage out of range; a model that is not calibrated, or lacks features or their units in `data`; classes
        that are not known; a result without predictions, of other data, with several settings of a model in a fold, or
        with fewer than two folds that hold cells out.
    """
    check_paired(data)
    coverage = check_coverage(coverage)
    check_choice(of, CLASSES, "of")
    if isinstance(model_or_result, CrossValidation):
        if training is not None or cells is not None:
            raise ValueError("training and cells are for a model: a CrossValidation has its own training cells")
        parts = _held_of_result(model_or_result, data, coverage, of)
    else:
        if not hasattr(model_or_result, "predict_interval") or isinstance(model_or_result, type):
            raise ValueError(
                "model_or_result must be a model with predict_interval or a CrossValidation, got "
                f"{type(model_or_result).__name__}"
            )
        held = _held_of_model(model_or_result, data, coverage, training, of, cells, fill_missing)
        estimator = getattr(model_or_result, "estimator_", model_or_result)
        parts = {type(estimator).__name__: held}
    tables = [_rows(held, data).assign(model=name) for name, held in parts.items()]
    found = pd.concat(tables, ignore_index=True)
    return found[["model", *found.columns.drop("model")]]


def _held_of_model(model, data, coverage, training, of, cells, fill_missing):
    """Bounds of a model for new cells, and those of class means."""
    paired = hasattr(model, "preprocessor_")  # a PairedModel, which this module may not import
    if paired:
        columns = _columns_of(model, data)
        measured = _check_measured(model, data)
        given = data if cells is None else cells
        transforms = model.feature_transforms_
        low, high = (
            pd.DataFrame(from_own_units(bound.to_numpy(), transforms), bound.index)
            for bound in model.predict_interval(given, coverage, fill_missing=fill_missing)
        )
        if list(low.index.astype(str)) != data.cell_names.tolist():
            raise ValueError("cells must be those of data, in their order, by name")
        Y, sds = _features(data, measured)[:, columns], model.preprocessor_.feature_sds_
        names = np.asarray(model.feature_names_)
    else:
        if cells is not None:
            raise ValueError("cells are for a PairedModel: other models are given data.X")
        low, high = model.predict_interval(data.X, coverage)
        measured = False
        Y, names, sds = _features(data, measured), data.feature_names, np.ones(data.n_features)
    if training is not None:
        _check_training(training, names, measured)
        sds = sds if paired else _sds_of(training)
    bounds = Interval(*(np.asarray(bound, dtype=np.float64).reshape(len(Y), -1) for bound in (low, high)))
    if bounds.low.shape != Y.shape:
        raise ValueError(f"the model predicts {bounds.low.shape[1]} features, but data has {Y.shape[1]}")
    held = _Held(
        np.arange(data.n_cells), ~np.isnan(Y) & ~np.isnan(bounds.low), names, _between(bounds, Y, sds), of_class=None
    )
    if training is None:
        return held
    calibration = getattr(model, "calibration_", None)
    n_folds = N_FOLDS if calibration is None else len(calibration.models)
    means = CrossConformal(ClassMean(of), n_folds).fit(
        _labels(training, of), _features(training, measured), groups=donors_of(training)
    )
    return held._replace(of_class=_between(means.predict_interval(_labels(data, of), coverage), Y, sds))


def _check_training(training, names, measured):
    """Raise ValueError unless class means can be fitted on the training cells, on the scale of the model."""
    check_paired(training, "training")
    if training.feature_names.tolist() != names.tolist():
        raise ValueError("training must have the features of the model, in their order")
    if measured and training.features is None:
        raise ValueError("training needs features as measured (training.features), as the model was fitted on")


def _sds_of(training):
    """SDs of the features as they are modelled, of the training cells; 1 for constant ones."""
    sds = np.nanstd(training.Y, axis=0, dtype=np.float64)
    return np.where(sds > 0, sds, 1.0)


def _between(bounds, Y, sds):
    """Which values are inside bounds, and how wide these are."""
    return _Inside(((bounds.low <= Y) & (bounds.high >= Y)).astype(float), (bounds.high - bounds.low) / sds)


def _columns_of(model, data):
    """Columns of the model's features in data, units checked."""
    columns = pd.Index(data.feature_names).get_indexer(model.feature_names_)
    if (columns < 0).any():
        raise ValueError(f"data lacks features of the model: {preview(np.asarray(model.feature_names_)[columns < 0])}")
    units = model.feature_units_
    if units is not None and data.feature_units is not None:
        for name, unit, column in zip(model.feature_names_, units, columns, strict=True):
            if data.feature_units[column] != unit:
                raise ValueError(
                    f"feature {str(name)!r} is in {unit!r} in the model but in {data.feature_units[column]!r} in data"
                )
    return columns


def _check_measured(model, data):
    """Whether a PairedModel predicts features as measured; not, it predicts the z-scores it was given as Y."""
    measured = model.features_measured_
    if measured and data.features is None:
        raise ValueError("data needs features as measured (data.features): the model predicts them in their units")
    if measured is None:
        raise ValueError(
            "model_or_result is from a file that does not say whether it predicts features as measured or Y: calibrate "
            "it again, with the cells that it was fitted on"
        )
    return measured


def _features(data, measured):
    """Features as measured, or Y; float64."""
    return np.asarray(data.features if measured else data.Y, dtype=np.float64)


def _labels(data, of):
    """Classes of the cells, as ClassMean takes them."""
    labels = getattr(data, of)
    if labels is None:
        raise ValueError(f"the interval of class means needs {of} of {data.name!r}, which is None")
    return np.asarray(labels)[:, None]


def _held_of_result(result, data, coverage, of):
    """Bounds around the out-of-fold predictions of each model of a result: model -> _Held."""
    rows = held_out_rows(result, data)
    if len(np.unique(rows.folds)) < 2:
        raise ValueError("intervals need at least two folds with held-out cells")
    predictions = predictions_of_models(result, data, rows)
    if not predictions:
        raise ValueError('the result has no predictions: call cross_validate with keep=["predictions"]')
    scales = _scales(rows, data)
    of_class = None
    if getattr(data, of) is not None:
        labels = _labels(data, of)
        means = [ClassMean(of).fit(labels[fold.train], Y[fold.train]).predict(labels[fold.test])
                 for fold, Y in zip(result.folds, rows.targets, strict=True)]  # fmt: skip
        of_class = _within_reach(np.concatenate(means), rows, scales, coverage)
    return {
        name: _Held(
            rows.cells,
            rows.observed,
            data.feature_names,
            _within_reach(predicted, rows, scales, coverage),
            of_class,
        )
        for name, predicted in predictions.items()
    }


def _scales(rows, data):
    """SDs of the features on the scale of each fold, in SDs of all cells: residuals of folds become comparable."""
    if rows.views[0].feature_sds is None:
        return np.ones((len(rows.views), data.n_features))
    sds = np.nanstd(features_of(data), axis=0)
    return np.stack([view.feature_sds for view in rows.views]) / np.where(sds > 0, sds, 1)


def _within_reach(predicted: np.ndarray, rows: HeldOutRows, scales: np.ndarray, coverage: float) -> _Inside:
    """Which values are as near to their predictions as the quantile of the residuals of other cells in other folds."""
    if np.isnan(predicted[rows.observed]).any():  # the other folds are other cells
        return _Inside(*np.full((2, *predicted.shape), np.nan))
    residuals = np.abs(rows.Y - predicted) * scales[rows.folds]
    reach = np.full(residuals.shape, np.inf)
    for fold in np.unique(rows.folds):
        own = rows.folds == fold
        others = ~own & ~np.isin(rows.cells, rows.cells[own])
        for feature in range(residuals.shape[1]):
            known = np.sort(residuals[others, feature])
            known = known[~np.isnan(known)]
            order = order_of_bound(len(known), coverage)
            if order <= len(known):
                reach[own, feature] = known[order - 1]
    return _Inside((residuals <= reach).astype(float), 2 * reach)


def _rows(held, data):
    """Shares and widths: of all values, by feature, and by family."""
    everything = np.ones(len(held.cells), dtype=bool)
    features = np.arange(len(held.names))
    groups = [(ALL, ALL, everything, features)]
    groups += [("feature", str(name), everything, [place]) for place, name in enumerate(held.names)]
    if data.cell_families is not None:
        families = np.asarray(data.cell_families)[held.cells]
        groups += [("family", str(name), families == name, features) for name in np.unique(families) if name != UNKNOWN]
    found = []
    for by, name, of_group, columns in groups:
        use = np.zeros_like(held.counted)
        use[np.ix_(of_group, columns)] = held.counted[np.ix_(of_group, columns)]
        row = {"by": by, "name": name, "n_values": int(use.sum())}
        row["coverage"], row["width"] = held.model.means(use)
        of_class = (np.nan, np.nan) if held.of_class is None else held.of_class.means(use)
        row["class_coverage"], row["class_width"] = of_class
        found.append(row)
    return pd.DataFrame(found)
