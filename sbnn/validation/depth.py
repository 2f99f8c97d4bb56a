"""How well sequencing depth alone predicts the features: what a model of genes may owe to the quality of cells."""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from sbnn._checks import check_whole
from sbnn.data.paired_data import PairedData
from sbnn.models.r2 import r2_from_sums
from sbnn.validation.folds import donors_of
from sbnn.validation.intervals import features_of

#: Fewest training cells of a feature that a spline is fitted to.
_LEAST = 12


def depth_r2(data: PairedData, n_folds: int = 5, random_state: int = 0) -> np.ndarray:
    """Return the cross-validated R2 with which a spline of log depth predicts each feature.

    Parameters
    ----------
    data : PairedData
        With counts: the depth of a cell is their sum.
    n_folds : int
        Folds keep the cells of a donor together where the donors of all are known.
    random_state : int

    Returns
    -------
    float64 array, shape (n_features,)
        1 - sum (y - prediction)^2 / sum (y - training mean)^2 over held-out cells; below 0 if depth predicts nothing.
        NaN for features with fewer than 12 values among the training cells of a fold.

    Raises
    ------
    ValueError
        No counts, or fewer cells or donors than folds.

    References
    ----------
    Splines: cubic, five knots at quantiles, ridge penalty chosen by leave-one-out.
    """
    if data.counts is None:
        raise ValueError("depth is the sum of counts, but data.counts is None")
    donors = donors_of(data)
    n_units = data.n_cells if donors is None else len(np.unique(donors))
    check_whole(n_folds, "n_folds", least=2, most=n_units)
    depth = np.asarray(data.counts.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    depth = np.log(np.maximum(depth, 1))  # of a cell without counts, too
    options = {"n_splits": n_folds, "shuffle": True, "random_state": random_state}
    splitter = KFold(**options) if donors is None else GroupKFold(**options)
    Y = np.asarray(features_of(data), dtype=np.float64)
    residual, total = np.zeros(data.n_features), np.zeros(data.n_features)
    for train, test in splitter.split(depth, groups=donors):
        for feature, values in enumerate(Y.T):
            known, asked = (rows[~np.isnan(values[rows])] for rows in (train, test))
            if len(known) < _LEAST:
                residual[feature] = np.nan
                continue
            spline = SplineTransformer(n_knots=5, knots="quantile", extrapolation="constant")
            model = make_pipeline(spline, RidgeCV(np.logspace(-3, 3, 7))).fit(depth[known], values[known])
            if len(asked):
                residual[feature] += ((values[asked] - model.predict(depth[asked])) ** 2).sum()
                total[feature] += ((values[asked] - values[known].mean()) ** 2).sum()
    return r2_from_sums(residual, total)
