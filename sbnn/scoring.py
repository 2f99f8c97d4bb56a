"""R2 as the paper defines it: pooled over features, around the means of the training cells."""

import numpy as np

from sbnn._checks import check_matrix


def r2(Y, predictions, centre, sample_weight=None):
    """Return R2 pooled over features: 1 - sum (Y - predictions)^2 / sum (Y - centre)^2.

    Parameters
    ----------
    Y : array, shape (n_cells, n_features)
        Truth; values that are missing (NaN) are left out of both sums.
    predictions : array, shape (n_cells, n_features)
    centre : array, shape (n_features,)
        Means of the training cells.
    sample_weight : array, shape (n_cells,), optional

    Returns
    -------
    float
        NaN without cells.

    References
    ----------
    arXiv 2006.10411, section 2.
    """
    residual, total = _sums(Y, predictions, centre, sample_weight)
    return float(1 - residual.sum() / total.sum()) if len(Y) else np.nan


def feature_r2(Y, predictions, centre, sample_weight=None):
    """Return R2 of each feature, shape (n_features,); arguments as for `r2`."""
    residual, total = _sums(Y, predictions, centre, sample_weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - residual / total


def _sums(Y, predictions, centre, sample_weight):
    """Weighted sums of squares around predictions and centre, feature by feature."""
    Y = check_matrix(Y, "Y", allow_nan=True)
    weight = np.ones((len(Y), 1)) if sample_weight is None else np.asarray(sample_weight, dtype=float)[:, None]
    return tuple(np.nansum(weight * (Y - values) ** 2, axis=0) for values in (np.asarray(predictions), centre))


class LatentRegressorMixin:
    """What network and linear model share: they predict by decoding latent coordinates, and score pooled R2.

    Expects `transform`, `decode_features` and the fitted `y_mean_`.
    """

    def predict(self, X):
        """Return predicted features of cells X (n_cells, n_genes), shape (n_cells, n_features)."""
        return self.decode_features(self.transform(X))

    def score(self, X, Y, sample_weight=None):
        """Return R2 pooled over observed features: 1 - sum (Y - prediction)^2 / sum (Y - training mean)^2.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)
        Y : array, shape (n_cells, n_features)
        sample_weight : array, shape (n_cells,), optional

        Returns
        -------
        float
        """
        return r2(Y, self.predict(X), self.y_mean_, sample_weight)
