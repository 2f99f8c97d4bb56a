"""Predictions from a cell's class alone: the baseline that a map has to beat."""

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sbnn._checks import check_choice, check_length, check_targets, preview
from sbnn._hints import Labels
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData

#: Fields of PairedData that hold classes.
CLASSES = ("cell_families", "cell_types")
#: Names of the means of classes in comparisons.
CLASS_MEANS = {"cell_families": "family mean", "cell_types": "type mean"}


class ClassMean(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Predict the features of a cell by the mean of the training cells of its class.

    In `cross_validate` it reads the classes of the cells, `data.cell_families` or `data.cell_types`, instead of
    genes. Cells of a class without training cells (or of unknown class) get the mean of all training cells.

    Parameters
    ----------
    of : {"cell_families", "cell_types"}
        Which classes to use.

    Attributes
    ----------
    classes_ : str array, shape (n_classes,)
        Classes of the training cells.
    means_ : float64 array, shape (n_classes, n_features)
        Their mean features.
    y_mean_ : float64 array, shape (n_features,)
        Mean of all training cells.
    """

    def __init__(self, of: str = "cell_families"):
        self.of = of

    def check_classes(self, data: PairedData) -> None:
        """Raise ValueError if `of` is not a kind of class, or if the data have no such classes."""
        check_choice(self.of, CLASSES, "of")
        if getattr(data, self.of) is None:
            raise ValueError(f"ClassMean(of={self.of!r}) needs data.{self.of}, which is None")

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Compute the means.

        Parameters
        ----------
        X : sequence of str, shape (n_cells,) or (n_cells, 1)
            Class of each cell.
        y : array, shape (n_cells, n_features)
            Features; NaN where not measured.

        Returns
        -------
        ClassMean
            The fitted instance itself.

        Raises
        ------
        ValueError
            Numbers of cells differ, or a feature has no value.
        """
        Y = check_targets(y)
        labels = _labels(X)
        check_length(labels, len(Y), "X", "cell of y")
        self.y_mean_ = np.nanmean(Y, axis=0)
        self.classes_ = np.setdiff1d(labels, [UNKNOWN])
        observed = ~np.isnan(Y)
        members = labels[:, None] == self.classes_
        counts = members.T.astype(float) @ observed
        sums = members.T.astype(float) @ np.where(observed, Y, 0)
        self.means_ = np.where(counts > 0, sums / np.maximum(counts, 1), self.y_mean_)
        return self

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Return the mean of the class of each cell, shape (n_cells, n_features)."""
        check_is_fitted(self, "means_")
        labels = _labels(X)
        if not len(self.classes_):
            return np.tile(self.y_mean_, (len(labels), 1))
        place = np.minimum(np.searchsorted(self.classes_, labels), len(self.classes_) - 1)
        known = self.classes_[place] == labels
        return np.where(known[:, None], self.means_[place], self.y_mean_)


def class_means(Y: np.ndarray, labels: Labels, new_labels: Labels) -> np.ndarray:
    """Predict the features of new cells by the mean of the training cells of the same class.

    Parameters
    ----------
    Y : array, shape (n_training_cells, n_features)
        z-scored features.
    labels : sequence of str, shape (n_training_cells,)
        Type or family of each training cell.
    new_labels : sequence of str, shape (n_new_cells,)

    Returns
    -------
    array, shape (n_new_cells, n_features)

    Raises
    ------
    ValueError
        A class without training cells.
    """
    check_length(labels, len(Y), "labels", "cell of Y")
    model = ClassMean().fit(labels, Y)
    unknown = sorted(set(map(str, new_labels)) - set(model.classes_))
    if unknown:
        raise ValueError(f"no training cell has the class(es) {preview(unknown)}; known: {preview(model.classes_, 12)}")
    return model.predict(new_labels)


def _labels(X):
    """Classes as a one-dimensional array of text."""
    labels = np.asarray(X).astype(str)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"X must hold one class for each cell, got shape {labels.shape}")
    return labels
