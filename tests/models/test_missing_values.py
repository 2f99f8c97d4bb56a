"""Features that were not measured in every cell."""

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold

from sbnn import PairedData, ReducedRankRegressor, SparseBottleneckRegressor, cross_validate
from sbnn.models.reduced_rank import reduced_rank_path, relax
from sbnn.models.schedules import SCHEDULES


def holes(Y, share=0.2, seed=0):
    """Remove a share of the values, but none of the first cells of each feature."""
    missing = np.random.default_rng(seed).random(Y.shape) < share
    missing[:, 0] &= ~missing.all(axis=1)
    return np.where(missing, np.nan, Y)


def replaced(data, Y):
    return PairedData(data.X, Y, data.gene_names, data.feature_names, data.cell_names, name=data.name)


def observed_error(X, Y, fit):
    predicted = (X - X.mean(axis=0)) @ fit.W @ fit.V.T + np.nanmean(Y, axis=0) + fit.offset
    return np.nansum((Y - predicted) ** 2)


@pytest.mark.parametrize("solver", ["sklearn", "glmnet"])
@pytest.mark.parametrize(("rank", "l1_ratio"), [(2, 1.0), (None, 0.5), (2, 0.0)])
def test_a_linear_fit_minimises_the_error_over_observed_values(small, rank, l1_ratio, solver):
    if solver == "glmnet":
        pytest.importorskip("glmnet", reason="glmnet is not here (pip install glmstar)")
    data, _ = small
    X, Y = data.X.astype(float), holes(data.Y.astype(float))
    fit = reduced_rank_path(X, Y, [0.1], rank, l1_ratio, solver)[0]

    def objective(W, V, offset):
        predicted = (X - X.mean(axis=0)) @ W @ V.T + np.nanmean(Y, axis=0) + offset
        penalty = l1_ratio * np.linalg.norm(W, axis=1).sum() + (1 - l1_ratio) / 2 * np.sum(W**2)
        return np.nansum((Y - predicted) ** 2) / (2 * len(X)) + 0.1 * penalty

    best = objective(*fit)
    dropped = reduced_rank_path(X, np.where(np.isnan(Y), np.nanmean(Y, axis=0), Y), [0.1], rank, l1_ratio)[0]
    assert best < objective(*dropped)
    # No small step of the encoder leads further down, but for the tolerance of the alternation.
    for seed in range(5):
        step = np.random.default_rng(seed).normal(size=fit.W.shape) * (fit.W != 0)
        for size in (-1e-2, 1e-2):
            assert objective(fit.W + size * step, fit.V, fit.offset) > best - 1e-5


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_values_missing_where_they_are_low_do_not_bend_the_line(l1_ratio):
    X = np.random.default_rng(0).normal(size=(300, 3))
    truth = 2 * X[:, 0] + 0.1 * np.random.default_rng(1).normal(size=300)
    Y = np.column_stack([np.where(X[:, 0] < 0, np.nan, truth), truth])
    model = ReducedRankRegressor(None, 1e-3, l1_ratio).fit(X, Y)
    np.testing.assert_allclose(model.predict(X), 2 * X[:, [0, 0]], atol=0.15)


def test_with_none_missing_nothing_changes_and_relaxation_takes_holes(small):
    data, _ = small
    X, Y = data.X.astype(float), data.Y.astype(float)
    whole = reduced_rank_path(X, Y, [0.3, 0.1])
    few = reduced_rank_path(X, holes(Y, 0.001), [0.3, 0.1])
    for one, other in zip(whole, few, strict=True):
        np.testing.assert_allclose(one.W @ one.V.T, other.W @ other.V.T, atol=0.02)
    sparse = reduced_rank_path(X, holes(Y), [0.3])[0]
    relaxed = relax(X, holes(Y), sparse, 0.3)
    assert observed_error(X, holes(Y), relaxed) < observed_error(X, holes(Y), sparse)


def test_cross_validation_takes_holes(small):
    data, _ = small
    models = {
        "sBNN-2": SparseBottleneckRegressor(
            hidden=(16, 8), n_selected=10, schedule=SCHEDULES["fast"].shortened(0.2), group_lasso=0.01
        ),
        "sRRR-2": ReducedRankRegressor(2, 0.1, relaxed=True),
        "mean": DummyRegressor(),
    }
    folds = KFold(3, shuffle=True, random_state=0)
    whole, holed = (
        cross_validate(table, models, folds, progress=False) for table in (data, replaced(data, holes(data.Y)))
    )
    scores = [result.scores.groupby(["model", "stage"])["r2_test"].mean() for result in (whole, holed)]
    assert holed.scores["r2_test"].notna().all()
    assert (scores[1].drop("mean") > scores[0].drop("mean") - 0.1).all()
    model = holed.estimators[-1]
    assert isinstance(model, DummyRegressor) and np.isfinite(model.constant_).all()


@pytest.mark.parametrize("estimator", [SparseBottleneckRegressor(n_selected=5), ReducedRankRegressor()])
def test_what_was_never_measured_is_named(small, estimator):
    data, _ = small
    Y = data.Y.copy()
    Y[:, 2] = np.nan
    with pytest.raises(ValueError, match=r"Y has no value at all for feature\(s\) '2'"):
        estimator.fit(data.X, Y)
    with pytest.raises(ValueError, match=rf"Y has no value at all for feature\(s\) '{data.feature_names[2]}'"):
        cross_validate(replaced(data, Y), {"model": estimator}, progress=False)
    Y = data.Y.copy()
    Y[7] = np.nan
    with pytest.raises(ValueError, match=rf"Y has no value at all for cell\(s\) '{data.cell_names[7]}'"):
        cross_validate(replaced(data, Y), {"model": estimator}, progress=False)


def test_a_feature_without_values_in_a_fold_is_named(small):
    data, _ = small
    Y = data.Y.copy()
    Y[50:, 1] = np.nan
    with pytest.raises(ValueError, match=rf"fold 0 has no training cell with a value of '{data.feature_names[1]}'"):
        cross_validate(replaced(data, Y), {"sRRR": ReducedRankRegressor()}, folds=KFold(3), progress=False)
