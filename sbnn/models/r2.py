"""R2 as defined in the paper: pooled over features, around the means of the training cells."""

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_matrix, check_weights, unmasked


def r2(
    Y: npt.ArrayLike, predictions: npt.ArrayLike, centre: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Return R2 pooled over features: 1 - sum (Y - predictions)^2 / sum (Y - centre)^2.

    Parameters
    ----------
    Y : array, shape (n_cells, n_features)
        True values; missing ones (NaN) are left out of both sums.
    predictions : array, shape (n_cells, n_features)
    centre : array, shape (n_features,)
        Means of the training cells.
    sample_weight : array, shape (n_cells,), optional

    Returns
    -------
    float
        NaN if there are no cells, if Y does not vary around `centre`, or if a prediction for an observed value is not
        finite.

    Raises
    ------
    ValueError
        Shapes differ, or weights are negative, not finite or all zero.

    References
    ----------
    arXiv 2006.10411, section 2.
    """
    residual, total = _sums(Y, predictions, centre, sample_weight)
    return float(r2_from_sums(residual.sum(), total.sum()))


def feature_r2(
    Y: npt.ArrayLike, predictions: npt.ArrayLike, centre: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> np.ndarray:
    """Return R2 of each feature, shape (n_features,); arguments as for `r2`."""
    return r2_from_sums(*_sums(Y, predictions, centre, sample_weight))


def r2_from_sums(residual: np.ndarray | float, total: np.ndarray | float) -> np.ndarray:
    """Return 1 - residual / total, or NaN if that is not finite: the R2 of every score in this package.

    Parameters
    ----------
    residual, total : arrays of one shape, or float
        Sums of squares around the predictions, and around the mean they are compared with.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        score = 1 - residual / total
    return np.where(np.isfinite(score), score, np.nan)


def _sums(Y, predictions, centre, sample_weight):
    """Weighted sums of squares around predictions and centre, feature by feature; only missing Y is left out."""
    Y = check_matrix(Y, "Y", allow_nan=True)
    predictions = as_columns(predictions, Y.shape)
    weight = np.ones(len(Y)) if sample_weight is None or not len(Y) else check_weights(sample_weight, len(Y))
    observed = ~np.isnan(Y)
    centre = check_matrix(np.asarray(unmasked(centre))[None], "centre", allow_nan=True)[0]
    if centre.shape != Y.shape[1:]:
        raise ValueError(f"centre must have one entry per feature, shape {Y.shape[1:]}, got {centre.shape}")

    def sum_of_squares(values):
        with np.errstate(over="ignore", invalid="ignore"):
            return np.sum(np.where(observed, weight[:, None] * (Y - values) ** 2, 0), axis=0)

    return sum_of_squares(predictions), sum_of_squares(centre)


def as_columns(predictions: npt.ArrayLike, shape: tuple[int, ...], what: str = "predictions") -> np.ndarray:
    """Return predictions as an array of the shape of Y; raise ValueError if they have another shape.

    Regressors may predict a single feature as a one-dimensional array, which NumPy would broadcast over all cells.
    """
    predictions = np.asarray(unmasked(predictions))
    if predictions.ndim == 1 and shape[1] == 1:
        predictions = predictions[:, None]
    if predictions.shape != tuple(shape):
        raise ValueError(f"{what} must have the shape of Y (cells x features), {shape}, got {predictions.shape}")
    return predictions
