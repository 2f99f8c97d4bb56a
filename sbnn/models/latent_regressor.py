"""Common parts of the network and the linear model as scikit-learn estimators."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sbnn._checks import check_coverage, check_matrix, check_same_cells, check_targets, unmasked
from sbnn.models.cross_conformal import Interval
from sbnn.models.r2 import r2

_Estimator = TypeVar("_Estimator")
_Arguments = ParamSpec("_Arguments")


def all_or_nothing_fit(
    fit: Callable[Concatenate[_Estimator, _Arguments], _Estimator],
) -> Callable[Concatenate[_Estimator, _Arguments], _Estimator]:
    """Wrap a method `fit`: if it fails, or is interrupted, an earlier fit stays as it was."""

    @wraps(fit)
    def fit_or_restore(self, *args, **kwargs):
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            self.__dict__ = before
            raise

    return fit_or_restore


def is_network(estimator: object) -> bool:
    """Whether an estimator is a sparse bottleneck network (determined without importing Keras)."""
    return hasattr(estimator, "stack_settings")


class LatentRegressorMixin(TransformerMixin):
    """Common parts of network and linear model: checks, latent coordinates, predictions decoded from them, pooled R2.

    Expects `_latent`, `_n_latent`, `decode_features` and the fitted `y_mean_`. A new fit must remove `calibration_`.
    """

    def _check_training(self, X: Any, Y: Any, dtype: npt.DTypeLike) -> tuple[np.ndarray, np.ndarray]:
        """Return X and two-dimensional Y as numbers; remember names of genes, and whether Y was one-dimensional."""
        if Y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        X, Y = unmasked(X), unmasked(Y)  # scikit-learn takes what is under the mask
        X = check_matrix(validate_data(self, X, dtype=dtype, ensure_all_finite=False, ensure_min_samples=2), "X", dtype)
        Y = check_array(Y, dtype=dtype, ensure_2d=False, ensure_all_finite=False, input_name="Y")
        self._one_target = Y.ndim == 1
        Y = check_targets(Y[:, None] if self._one_target else Y, dtype)
        check_same_cells(X, Y)
        return X, Y

    def _check_cells(self, X, dtype):
        """Return X as numbers, checked to have the genes that the model was fitted on."""
        check_is_fitted(self, "y_mean_")
        X = validate_data(self, unmasked(X), dtype=dtype, ensure_all_finite=False, reset=False)
        return check_matrix(X, "X", dtype)

    def transform(self, X: npt.ArrayLike) -> np.ndarray:
        """Return the latent coordinates of cells.

        Parameters
        ----------
        X : array or DataFrame, shape (n_cells, n_genes)

        Returns
        -------
        float64 array, shape (n_cells, number of coordinates)
            A DataFrame after `set_output(transform="pandas")`.
        """
        return self._latent(X)

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Return predicted features of cells X (n_cells, n_genes), shape (n_cells, n_features)."""
        predictions = self._predict(X)
        return predictions[:, 0] if getattr(self, "_one_target", False) else predictions

    def predict_interval(self, X: npt.ArrayLike, coverage: float = 0.9) -> Interval:
        """Return bounds between which the features of new cells lie with about the given probability (CV+).

        The model must be calibrated first: `sbnn.validation.intervals.calibrate(model, X, Y, groups=donors)`, with its
        training cells.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)
        coverage : float
            Between 0 and 1, both excluded.

        Returns
        -------
        Interval
            `low`, `high`, of the shape of `predict(X)`; `sbnn.models.cross_conformal.cross_conformal_bounds` has the
            definition. Infinite for features with too few measured training cells, with a warning.

        Raises
        ------
        ValueError
            A coverage out of range, a model that is not calibrated, other genes.
        """
        check_coverage(coverage)
        X = self._check_cells(X, np.float64)
        calibration = getattr(self, "calibration_", None)
        if calibration is None:
            raise ValueError(
                f"this {type(self).__name__} has no intervals yet: call sbnn.validation.intervals.calibrate(model, X, "
                "Y, groups=donors) with the cells that it was fitted on"
            )
        low, high = calibration.interval(X, coverage)
        return Interval(low[:, 0], high[:, 0]) if getattr(self, "_one_target", False) else Interval(low, high)

    def _predict(self, X):
        """Predicted features, two-dimensional."""
        return self.decode_features(self._latent(X))

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return R2 pooled over observed features: 1 - sum (Y - prediction)^2 / sum (Y - training mean)^2.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)
        y : array, shape (n_cells, n_features)
        sample_weight : array, shape (n_cells,), optional

        Returns
        -------
        float

        Raises
        ------
        ValueError
            The features are not those that the model predicts, or predictions are not finite.
        """
        Y, predictions = np.asarray(unmasked(y)), self._predict(X)
        Y = Y[:, None] if Y.ndim == 1 else Y
        check_same_cells(predictions, Y)
        if Y.shape != predictions.shape:
            raise ValueError(
                f"y must have the {predictions.shape[1]} features that the model was fitted on, got shape {Y.shape}"
            )
        if not np.isfinite(predictions).all():
            raise ValueError(
                f"this {type(self).__name__} predicts values that are not finite: z-score X as in training"
            )
        return r2(Y, predictions, self.y_mean_, sample_weight)

    def get_feature_names_out(self, input_features: npt.ArrayLike | None = None) -> np.ndarray:
        """Return the names of the latent coordinates, z1, z2, ..., as in the tables."""
        check_is_fitted(self, "y_mean_")
        return np.array([f"z{index + 1}" for index in range(self._n_latent)], dtype=object)
