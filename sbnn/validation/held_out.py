"""Held-out cells of a cross-validation: their features, and what every model predicts for them, fold by fold."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import preview
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.r2 import as_columns, r2_from_sums
from sbnn.validation.baselines import ClassMean
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.folds import FoldView
from sbnn.validation.protocol import FoldProtocol, view_folds
from sbnn.validation.result import CrossValidation

#: R2 of a fold may differ by this much from that of the result, which was computed elsewhere.
SAME_R2 = 1e-3
#: Predictions may differ by this much, in SDs of the feature, if the number of cells that are predicted at once does.
SAME_PREDICTION = 1e-3


class HeldOutRows(NamedTuple):
    """Test cells of all folds: one row for each fold and cell, in the order of the folds.

    Attributes
    ----------
    cells : int array, shape (n_rows,)
        Row of the cell in the data; a cell that several folds test has several rows.
    folds : int array, shape (n_rows,)
        Number of the fold.
    Y : float64 array, shape (n_rows, n_features)
        Features on the scale that the models of the fold saw; NaN where not measured.
    centres : float64 array, shape (n_folds, n_features)
        Means of the training cells of each fold.
    targets : list of float64 arrays, shape (n_cells, n_features)
        Features of all cells on the scale of each fold.
    views : list of FoldView
        What the models of each fold saw.
    """

    cells: np.ndarray
    folds: np.ndarray
    Y: np.ndarray
    centres: np.ndarray
    targets: list[np.ndarray]
    views: list[FoldView]

    @property
    def observed(self) -> np.ndarray:
        """Where features were measured, bool array, shape (n_rows, n_features)."""
        return ~np.isnan(self.Y)

    @property
    def deviations(self) -> np.ndarray:
        """Y minus the means of the fold's training cells; NaN where not measured."""
        return self.Y - self.centres[self.folds]


def check_holds_out(result: CrossValidation, data: PairedData) -> None:
    """Raise ValueError if it is no cross-validation of these data, or no cell was held out."""
    check_made_from(result, data)
    if not any(len(fold.test) for fold in result.folds):
        raise ValueError('result has no test cells (folds="all"): call cross_validate with folds that hold cells out')


def held_out_rows(result: CrossValidation, data: PairedData) -> HeldOutRows:
    """Return the features of the test cells of all folds as the models of their fold saw them.

    Parameters
    ----------
    result : CrossValidation
        Fitted, or loaded with `CrossValidation.from_results`.
    data : PairedData
        The data that it was made from.

    Returns
    -------
    HeldOutRows

    Raises
    ------
    ValueError
        Not a cross-validation, other data, or no test cells.
    """
    check_holds_out(result, data)
    tested = [fold.test for fold in result.folds]
    views = view_folds(data, result.folds, FoldProtocol.read(result.protocol))
    targets = [view.Y.astype(np.float64) for view in views]
    return HeldOutRows(
        cells=np.concatenate(tested),
        folds=np.repeat(np.arange(len(tested)), [len(cells) for cells in tested]),
        Y=np.concatenate([Y[cells] for Y, cells in zip(targets, tested, strict=True)]),
        centres=np.stack([np.nanmean(Y[fold.train], axis=0) for Y, fold in zip(targets, result.folds, strict=True)]),
        targets=targets,
        views=views,
    )


def predictions_of_models(result: CrossValidation, data: PairedData, rows: HeldOutRows) -> dict[str, np.ndarray]:
    """Return what every model predicts for the held-out cells.

    Rows of `result.predictions` belong to a model by its name and fold: its settings may differ between folds, as in a
    nested cross-validation.

    Parameters
    ----------
    result : CrossValidation
    data : PairedData
    rows : HeldOutRows

    Returns
    -------
    dict
        Model -> float64 array, shape (n_rows, n_features), in the order of the table. NaN in folds in which
        `result.scores` gives no score (training diverged, or fewer genes than the rank). Empty without the table.

    Raises
    ------
    ValueError
        Several predictions of one model for a cell in a fold, cells without a prediction, or predictions that score
        differently from `result.scores`, because the data are others.
    """
    found = {}
    names = list(map(str, data.feature_names))
    for model, tables in _by_fold(result, "predictions").items():
        known = _final_scores(result, model)
        parts = []
        for number, fold in enumerate(result.folds):
            table = _cells_of(tables.get(number), data.cell_names[fold.test], model, number, "predictions")
            predictions = table[names].to_numpy(dtype=np.float64)
            if number in known:
                here = rows.folds == number
                errors = np.nansum((rows.Y[here] - predictions) ** 2), np.nansum(rows.deviations[here] ** 2)
                check_same_score(model, number, float(r2_from_sums(*errors)), known[number])
            unscored = number in known and np.isnan(known[number])
            parts.append(np.full_like(predictions, np.nan) if unscored else predictions)
        predictions = np.concatenate(parts)
        found[model] = np.where(np.isfinite(predictions), predictions, np.nan)
    return found


def predictions_of_training_cells(
    result: CrossValidation, data: PairedData, rows: HeldOutRows, model: str, predictions: np.ndarray
) -> list[np.ndarray] | None:
    """Return what the fitted model of each fold predicts for its own training cells.

    Parameters
    ----------
    result : CrossValidation
    data : PairedData
    rows : HeldOutRows
    model : str
    predictions : array, shape (n_rows, n_features)
        Of the held-out cells, from `predictions_of_models`.

    Returns
    -------
    list of float64 arrays, shape (n_train, n_features), or None
        None if the result does not hold the fitted models: those that it holds predict the held-out cells as the table
        does.
    """
    named = [number for number, entry in enumerate(result.models) if entry["model"] == model]
    n_folds = len(result.folds)
    if len(named) != 1 or len(result.estimators) != len(result.models) * n_folds:
        return None
    found = []
    for number, fold in enumerate(result.folds):
        estimator = result.estimators[named[0] * n_folds + number]
        if estimator is None:
            return None
        if isinstance(estimator, ClassMean):
            X = getattr(data, estimator.of)
        else:
            X = rows.views[number].X
            X = estimator.add_classes(data, X) if isinstance(estimator, ClassRidge) else X
        shape = len(fold.train) + len(fold.test), data.n_features
        predicted = as_columns(estimator.predict(X[np.concatenate([fold.train, fold.test])]), shape).astype(np.float64)
        known = predictions[rows.folds == number]
        if not np.allclose(predicted[len(fold.train) :], known, atol=SAME_PREDICTION, equal_nan=True):
            return None
        found.append(predicted[: len(fold.train)])
    return found


def maps_of_models(result: CrossValidation, data: PairedData) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the coordinates of the training and of the test cells in the map of every model and fold.

    Parameters
    ----------
    result : CrossValidation
    data : PairedData

    Returns
    -------
    dict
        Model -> for each fold two float64 arrays, shapes (n_train, n_dims) and (n_test, n_dims), in the order of the
        fold's cells. Empty without the table `latents`.

    Raises
    ------
    ValueError
        Several maps of one model in a fold, cells without a place, or coordinates that are not finite.
    """
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for model, tables in _by_fold(result, "latents").items():
        found[model] = []
        for number, fold in enumerate(result.folds):
            cells = np.concatenate([fold.train, fold.test])
            table = _cells_of(tables.get(number), data.cell_names[cells], model, number, "latents")
            # Maps of other models in the table may have more dimensions.
            Z = table.filter(regex=r"^z\d+$").dropna(axis=1, how="all").to_numpy(dtype=np.float64)
            if not Z.shape[1] or not np.isfinite(Z).all():
                raise ValueError(
                    f"the map of {model!r} in fold {number} has coordinates that are not finite: did its training "
                    "diverge? Leave it out with result.select"
                )
            found[model].append((Z[: len(fold.train)], Z[len(fold.train) :]))
    return found


def check_made_from(result: Any, data: PairedData) -> None:
    """Raise ValueError unless `result` is a cross-validation of these data."""
    check_paired(data)
    if not hasattr(result, "estimators") or not hasattr(result, "folds"):
        hint = "; make one of a loaded result with CrossValidation.from_results" if isinstance(result, dict) else ""
        raise ValueError(
            f"result must be a CrossValidation, as cross_validate returns it, got {type(result).__name__}{hint}"
        )
    if result.fingerprint != data.fingerprint:
        raise ValueError(f"result must be of these data, {data.name!r}, but was made from others, {result.dataset!r}")


def check_same_score(model: str, fold: int, found: float, known: float) -> None:
    """Raise ValueError if a model does not predict the cells of a fold as it did when it was fitted.

    The fingerprint of data does not hold counts and features as measured, from which z-scores are made within folds.
    """
    if abs(found - known) > SAME_R2:
        raise ValueError(
            f"result must be of these data, but in fold {fold} {model!r} predicts them with an R2 of {found:.3f}, and "
            f"{known:.3f} when it was fitted: give the data, with the counts and features, that were given to "
            "cross_validate"
        )


def sums_over_units(values: np.ndarray, units: np.ndarray, n_units: int) -> np.ndarray:
    """Sum the rows of each animal (or cell).

    Parameters
    ----------
    values : array, shape (n_rows, n_columns)
    units : int array, shape (n_rows,)
    n_units : int

    Returns
    -------
    float64 array, shape (n_units, n_columns)
    """
    sums = np.zeros((n_units, values.shape[1]))
    np.add.at(sums, units, values)
    return sums


def _by_fold(result, name):
    """Rows of a table: model -> number of the fold -> DataFrame in which every cell occurs once."""
    groups: dict[str, dict[int, pd.DataFrame]] = {}
    table = getattr(result, name)
    for (model, fold), part in table.groupby(["model", "fold"], sort=False) if len(table) else ():
        if part["cell"].duplicated().any():
            raise ValueError(
                f"result.{name} holds cells of fold {fold} several times for {model!r}, which has several settings: "
                "select one, not by its test R2, with result.select([entry of result.models]), or give each a name "
                "of its own in cross_validate"
            )
        groups.setdefault(model, {})[fold] = part
    return groups


def _cells_of(table, names, model, fold, what):
    """Rows of the named cells, in their order."""
    missing = names if table is None else np.setdiff1d(names, table["cell"])
    if len(missing):
        raise ValueError(
            f"result.{what} of {model!r} lacks {len(missing)} of {len(names)} cells of fold {fold}: "
            f"{preview(missing, 3)}"
        )
    return table.set_index("cell").loc[names]


def _final_scores(result, model):
    """Test R2 of the final model by fold, as it was computed when the model was fitted."""
    if not len(result.scores):
        return {}
    last = result.scores[result.scores["model"] == model].groupby("fold", sort=True).tail(1)
    return dict(zip(last["fold"], last["r2_test"], strict=True))
