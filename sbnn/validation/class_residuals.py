"""Class means, residuals from them, and predictions of both from the nearest cells in a map."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from sbnn.data.cell_labels import UNKNOWN
from sbnn.validation.folds import Fold
from sbnn.validation.held_out import HeldOutRows

#: Neighbours of a cell that predict it.
N_NEIGHBOURS = 30


class MapPredictions(NamedTuple):
    """What the nearest training cells in a map predict.

    Attributes
    ----------
    alone : array, shape (n_rows, n_features)
        Mean features of the neighbours of each held-out cell.
    residual : array, shape (n_rows, n_features)
        Mean of the neighbours' residuals from their class means.
    fitted : list of arrays, shape (n_train, n_features)
        As `alone`, for the training cells of each fold, each its own first neighbour.
    """

    alone: np.ndarray
    residual: np.ndarray
    fitted: list[np.ndarray]


def mean_of_neighbours(
    coordinates: np.ndarray, values: np.ndarray, new_coordinates: np.ndarray, n_neighbours: int = N_NEIGHBOURS
) -> np.ndarray:
    """Predict new cells by the mean of their nearest neighbours.

    Parameters
    ----------
    coordinates : array, shape (n_cells, n_dims)
    values : array, shape (n_cells, n_features)
        NaN where missing: left out of the means.
    new_coordinates : array, shape (n_new_cells, n_dims)
    n_neighbours : int
        All cells if there are fewer.

    Returns
    -------
    float64 array, shape (n_new_cells, n_features)
        The mean of all cells where no neighbour has a value.
    """
    nearest = NearestNeighbors(n_neighbors=min(n_neighbours, len(coordinates))).fit(coordinates)
    near = values[nearest.kneighbors(new_coordinates, return_distance=False)].astype(np.float64)
    number = (~np.isnan(near)).sum(axis=1)
    return np.where(number > 0, np.nansum(near, axis=1) / np.maximum(number, 1), np.nanmean(values, axis=0))


def means_by_class(values: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Means of each known class, as a DataFrame; NaN where none of its cells has a value."""
    return pd.DataFrame(values)[labels != UNKNOWN].groupby(labels[labels != UNKNOWN]).mean()


def look_up(means: Sequence[pd.DataFrame], labels: np.ndarray, rows: HeldOutRows) -> np.ndarray:
    """Mean of the class of each held-out cell in its fold; NaN where there is none."""
    looked_up = np.full(rows.Y.shape, np.nan)
    for number, table in enumerate(means):
        here = rows.folds == number
        looked_up[here] = table.reindex(labels[rows.cells[here]]).to_numpy()
    return looked_up


def map_predictions(
    folds: Sequence[Fold],
    rows: HeldOutRows,
    places: Sequence[tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
    means: Sequence[pd.DataFrame],
    n_neighbours: int = N_NEIGHBOURS,
) -> MapPredictions:
    """Predict held-out cells, and residuals from their class means, by their neighbours in the map of each fold.

    Parameters
    ----------
    folds : list of Fold
    rows : HeldOutRows
    places : list of pairs of arrays
        Coordinates of the training and of the test cells of each fold (`held_out.maps_of_models`).
    labels : str array, shape (n_cells,)
        Class of each cell.
    means : list of DataFrames
        `means_by_class` the training cells of each fold.
    n_neighbours : int

    Returns
    -------
    MapPredictions
    """
    alone, residual, fitted = np.empty_like(rows.Y), np.empty_like(rows.Y), []
    for number, (fold, (training, test)) in enumerate(zip(folds, places, strict=True)):
        here, Y = rows.folds == number, rows.targets[number][fold.train]
        alone[here] = mean_of_neighbours(training, Y, test, n_neighbours)
        fitted.append(mean_of_neighbours(training, Y, training, n_neighbours))
        known = labels[fold.train] != UNKNOWN
        if known.any():
            left = Y[known] - means[number].loc[labels[fold.train][known]].to_numpy()
            residual[here] = mean_of_neighbours(training[known], left, test, n_neighbours)
        else:
            residual[here] = np.nan
    return MapPredictions(alone, residual, fitted)


def centred_on_training_cells(
    predicted: np.ndarray, fitted: Sequence[np.ndarray], rows: HeldOutRows, folds: Sequence[Fold], labels: np.ndarray
) -> np.ndarray:
    """Subtract from predictions their mean over the training cells of the class whose feature was observed.

    These are the cells of the mean that is subtracted from the feature.

    Parameters
    ----------
    predicted : array, shape (n_rows, n_features)
    fitted : list of arrays, shape (n_train, n_features)
        What the model of each fold predicts for its training cells.
    rows : HeldOutRows
    folds : list of Fold
    labels : str array, shape (n_cells,)

    Returns
    -------
    array, shape (n_rows, n_features)
        NaN for cells whose class has no training cell.
    """
    means = []
    for number, (values, fold) in enumerate(zip(fitted, folds, strict=True)):
        observed = ~np.isnan(rows.targets[number][fold.train])
        means.append(means_by_class(np.where(observed, values, np.nan), labels[fold.train]))
    return predicted - look_up(means, labels, rows)


def centred_on_test_cells(
    predicted: np.ndarray, counted: np.ndarray, rows: HeldOutRows, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Subtract from features and predictions their means over the test cells of the class in the same fold.

    Parameters
    ----------
    predicted : array, shape (n_rows, n_features)
    counted : bool array, shape (n_rows, n_features)
    rows : HeldOutRows
    labels : str array, shape (n_cells,)

    Returns
    -------
    counted : bool array
        Without values that are the only one of their class in the fold.
    residual, predicted : arrays, shape (n_rows, n_features)
    """
    groups = [rows.folds, labels[rows.cells]]
    number = pd.DataFrame(counted).groupby(groups).transform("sum").to_numpy()
    counted = counted & (number > 1)

    def centred(values):
        values = pd.DataFrame(np.where(counted, values, np.nan))
        return (values - values.groupby(groups).transform("mean")).to_numpy()

    return counted, centred(rows.Y), centred(predicted)
