"""How often features of held-out cells lie inside their prediction intervals, and how wide these are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import check_choice, preview
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models.cross_conformal import N_FOLDS, Interval, check_coverage, order_of_bound
from sbnn.validation.baselines import CLASSES, ClassMean
from sbnn.validation.folds import donors_of
from sbnn.validation.intervals import CrossConformal, features_of
from sbnn.validation.provenance import select_rows
from sbnn.validation.result import CrossValidation

#: Name of the row of `coverage_table` that combines all features and cells.
ALL = "all"


class _Held(NamedTuple):
    """Values of held-out cells, bounds of model and class mean around them, and SDs of the training cells."""

    Y: np.ndarray
    bounds: Interval
    class_bounds: Interval | None
    sds: np.ndarray
    names: np.ndarray


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
        nothing is fitted again, and nothing is known of the cells in question but what those folds' models learnt).
    data : PairedData
        Cells that the model has not seen, with features in the units it was fitted on; or the cells of the result.
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
        `model`; `by` ("all", "feature" or "family") and `name`: what a row is about; `n_values`, observed values of
        cells with bounds; `coverage`, the share of them inside; `width`, the mean width in SDs of the feature in the
        training cells (of a result, in all its cells), infinite if one bound is; `class_coverage` and `class_width`,
        the same for the class means (NaN if there are none). A cell counts once per feature.

    Raises
    ------
    ValueError
        A coverage out of range; a model that is not calibrated, or lacks features or their units in `data`; classes
        that are not known; a result without predictions, of other data, or with fewer than two folds.
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
        parts = [(type(estimator).__name__, np.arange(data.n_cells), held)]
    tables = [_rows(held, data, rows).assign(model=name) for name, rows, held in parts]
    found = pd.concat(tables, ignore_index=True)
    return found[["model", *found.columns.drop("model")]]


def _held_of_model(model, data, coverage, training, of, cells, fill_missing):
    """Bounds of a model for new cells, and those of class means."""
    paired = hasattr(model, "preprocessor_")  # a PairedModel, which this module may not import
    if paired:
        columns = _columns_of(model, data)
        given = data if cells is None else cells
        low, high = model.predict_interval(given, coverage, fill_missing=fill_missing)
        if list(low.index.astype(str)) != data.cell_names.tolist():
            raise ValueError("cells must be those of data, in their order, by name")
        Y, sds = features_of(data)[:, columns], model.preprocessor_.feature_sds_
        names = np.asarray(model.feature_names_)
    else:
        if cells is not None:
            raise ValueError("cells are for a PairedModel: other models are given data.X")
        low, high = model.predict_interval(data.X, coverage)
        Y, sds, names = np.asarray(data.Y, dtype=np.float64), np.ones(data.n_features), data.feature_names
        columns = np.arange(data.n_features)
    bounds = Interval(*(np.asarray(bound, dtype=np.float64).reshape(len(Y), -1) for bound in (low, high)))
    if bounds.low.shape != Y.shape:
        raise ValueError(f"the model predicts {bounds.low.shape[1]} features, but data has {Y.shape[1]}")
    if training is None:
        return _Held(Y, bounds, None, sds, names)
    check_paired(training, "training")
    if training.feature_names.tolist() != names.tolist():
        raise ValueError("training must have the features of the model, in their order")
    calibration = getattr(model, "calibration_", None)
    learnt = features_of(training) if paired else np.asarray(training.Y, dtype=np.float64)
    n_folds = N_FOLDS if calibration is None else len(calibration.models)
    means = CrossConformal(ClassMean(of), n_folds).fit(_labels(training, of), learnt, groups=donors_of(training))
    return _Held(Y, bounds, means.predict_interval(_labels(data, of), coverage), sds, names)


def _columns_of(model, data):
    """Columns of the model's features in data, units checked."""
    columns = pd.Index(data.feature_names).get_indexer(model.feature_names_)
    if (columns < 0).any():
        raise ValueError(f"data lacks features of the model: {preview(np.asarray(model.feature_names_)[columns < 0])}")
    units = model.feature_units_
    if units is not None and data.features is None:
        raise ValueError("data needs features as measured (data.features): the model predicts them in their units")
    if units is not None and data.feature_units is not None:
        for name, unit, column in zip(model.feature_names_, units, columns, strict=True):
            if data.feature_units[column] != unit:
                raise ValueError(
                    f"feature {str(name)!r} is in {unit!r} in the model but in {data.feature_units[column]!r} in data"
                )
    return columns


def _labels(data, of):
    """Classes of the cells, as ClassMean takes them."""
    labels = getattr(data, of)
    if labels is None:
        raise ValueError(f"the interval of class means needs {of} of {data.name!r}, which is None")
    return np.asarray(labels)[:, None]


def _held_of_result(result, data, coverage, of):
    """Bounds around the out-of-fold predictions of each model of a result: [(model, rows of data, _Held)]."""
    if not len(result.predictions):
        raise ValueError('the result has no predictions: call cross_validate with keep=["predictions"]')
    if result.fingerprint != data.fingerprint:
        raise ValueError(f"the result is of other data ({result.dataset!r}) than data ({data.name!r})")
    if len(result.folds) < 2 or not all(len(fold.test) for fold in result.folds):
        raise ValueError("intervals need at least two folds with held-out cells")
    scaled = [_scaled_fold(result, data, fold) for fold in result.folds]
    tested = np.concatenate([fold.test for fold in result.folds])
    number = np.repeat(np.arange(len(result.folds)), [len(fold.test) for fold in result.folds])
    Y = np.concatenate([values[fold.test] for fold, (values, *_) in zip(result.folds, scaled, strict=True)])
    sds = scaled[0][2]
    around = None
    if getattr(data, of) is not None:
        labels = _labels(data, of)
        means = [ClassMean(of).fit(labels[fold.train], values[fold.train]).predict(labels[fold.test])
                 for fold, (values, *_) in zip(result.folds, scaled, strict=True)]  # fmt: skip
        around = _bounds_of_others(Y, np.concatenate(means), tested, number, coverage)
    parts = []
    for described in result.models:
        table = select_rows(result.predictions, [described])
        predictions = []
        for fold, (split, (_, back, _)) in enumerate(zip(result.folds, scaled, strict=True)):
            of_fold = table[table["fold"] == fold].set_index("cell")
            predictions.append(back(of_fold.loc[data.cell_names[split.test], data.feature_names].to_numpy(np.float64)))
        bounds = _bounds_of_others(Y, np.concatenate(predictions), tested, number, coverage)
        parts.append((described["model"], tested, _Held(Y, bounds, around, sds, data.feature_names)))
    return parts


def _scaled_fold(result, data, fold):
    """Values on one scale in all folds, what brings predictions of this fold to it, and SDs in it."""
    if result.protocol == "all cells":
        return np.asarray(data.Y, np.float64), lambda predictions: predictions, np.ones(data.n_features)
    preprocessor, _, _ = fit_preprocessor(data, fold.train)
    values = features_of(data)
    return values, preprocessor.inverse_transform_features, np.nanstd(values, axis=0)


def _bounds_of_others(Y, predictions, tested, number, coverage):
    """Return predictions -/+ the quantile of the absolute residuals of other cells in other folds."""
    residuals = np.abs(Y - predictions)
    low, high = (np.full(Y.shape, bound) for bound in (-np.inf, np.inf))
    for fold in np.unique(number):
        own = number == fold
        others = ~own & ~np.isin(tested, tested[own])
        for feature in range(Y.shape[1]):
            known = np.sort(residuals[others, feature])
            known = known[~np.isnan(known)]
            order = order_of_bound(len(known), coverage)
            if order <= len(known):
                low[own, feature] = predictions[own, feature] - known[order - 1]
                high[own, feature] = predictions[own, feature] + known[order - 1]
    return Interval(low, high)


def _rows(held, data, rows):
    """Shares and widths: of all values, by feature, and by family."""
    everything = np.ones(len(rows), dtype=bool)
    features = np.arange(len(held.names))
    groups = [(ALL, ALL, everything, features)]
    groups += [("feature", str(name), everything, [place]) for place, name in enumerate(held.names)]
    if data.cell_families is not None:
        families = np.asarray(data.cell_families)[rows]
        groups += [("family", str(name), families == name, features) for name in np.unique(families)]
    measured = ~np.isnan(held.Y) & ~np.isnan(held.bounds.low)
    found = []
    for by, name, of_group, columns in groups:
        use = np.zeros_like(measured)
        use[np.ix_(of_group, columns)] = measured[np.ix_(of_group, columns)]
        row = {"by": by, "name": name, "n_values": int(use.sum())}
        row["coverage"], row["width"] = _share_and_width(held, held.bounds, use)
        row["class_coverage"], row["class_width"] = _share_and_width(held, held.class_bounds, use)
        found.append(row)
    return pd.DataFrame(found)


def _share_and_width(held, bounds, use):
    """Share of values inside bounds, and mean width in SDs, of the values in use."""
    if bounds is None or not use.any():
        return np.nan, np.nan
    inside = (bounds.low <= held.Y) & (bounds.high >= held.Y)
    width = (bounds.high - bounds.low) / held.sds
    return float(inside[use].mean()), float(width[use].mean())
