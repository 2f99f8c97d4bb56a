"""The estimators do what scikit-learn asks of estimators."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor
from sbnn.models.schedules import Stage

TWO_EPOCHS = (Stage("pruned", 2, 1e-2),)
#: The reason is in the docstring of SparseBottleneckRegressor.
BATCHES = {"check_sample_weight_equivalence_on_dense_data": "learns from batches of cells in single precision"}


def network(**settings):
    return SparseBottleneckRegressor(**{"hidden": (16, 8), "n_selected": 10, "schedule": TWO_EPOCHS, **settings})


@pytest.mark.parametrize(
    ("estimator", "expected_to_fail"),
    [
        # The network is compiled for each of the many shapes of tables: with one hidden layer in least time.
        (network(n_selected=1, hidden=(4,)), BATCHES),
        (ReducedRankRegressor(rank=1, alpha=0.01), {}),
        (ReducedRankRegressor(rank=None, alpha=0.01, l1_ratio=0.5), {}),
        (ReducedRankRegressor(rank=1, alpha=0.01, solver="glmnet"), {}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(estimator, expected_to_fail):
    if getattr(estimator, "solver", None) == "glmnet":
        pytest.importorskip("glmnet", reason="glmnet is not here (pip install glmstar)")
    results = check_estimator(estimator, expected_failed_checks=expected_to_fail, on_fail=None, on_skip=None)
    statuses = {result["check_name"]: result["status"] for result in results}
    assert "failed" not in statuses.values(), {name for name, status in statuses.items() if status == "failed"}
    assert [name for name, status in statuses.items() if status == "xfail"] == list(expected_to_fail)


@pytest.mark.parametrize("estimator", [network(), ReducedRankRegressor(2, 0.2)])
def test_search_pipeline_and_names(small, estimator):
    data, _ = small
    X = pd.DataFrame(data.X, columns=data.gene_names, index=data.cell_names)
    parameter = "group_lasso" if isinstance(estimator, SparseBottleneckRegressor) else "alpha"
    search = GridSearchCV(estimator, {parameter: [0.05, 0.3]}, cv=3).fit(X, data.Y)
    best = clone(estimator).set_params(**search.best_params_)
    by_fold = [clone(best).fit(X.iloc[a], data.Y[a]).score(X.iloc[b], data.Y[b]) for a, b in KFold(3).split(X)]
    assert search.best_score_ == pytest.approx(np.mean(by_fold), abs=1e-5)
    np.testing.assert_allclose(cross_val_score(best, X, data.Y, cv=3), by_fold, atol=1e-5)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), estimator).fit(X, data.Y)
    np.testing.assert_array_equal(pipeline[-1].feature_names_in_, data.gene_names)
    Z = pipeline.set_output(transform="pandas").transform(X)
    assert list(Z.columns) == ["z1", "z2"] == list(pipeline[-1].get_feature_names_out())
    assert list(Z.index) == list(data.cell_names)
    with pytest.raises(ValueError, match="feature names"):
        pipeline[-1].predict(X.iloc[:, ::-1])


def test_one_feature_may_be_a_vector(small):
    data, _ = small
    y = data.Y[:, 0]
    for model in (network(), ReducedRankRegressor(1, 0.05)):
        assert model.fit(data.X, y).predict(data.X).shape == y.shape
        assert model.score(data.X, y) == pytest.approx(
            1 - np.sum((y - model.predict(data.X)) ** 2) / np.sum((y - y.mean()) ** 2), abs=1e-5
        )


@pytest.mark.parametrize("model", [network(), ReducedRankRegressor(1, 0.05)])
def test_a_fit_that_fails_leaves_the_earlier_one_whole(small, model):
    data, _ = small
    table = pd.DataFrame(data.X, columns=data.gene_names)
    before = model.fit(table, data.Y).predict(table)
    reversed_genes = table.iloc[:, ::-1]
    with pytest.raises(ValueError, match="X and Y must have the same cells"):
        model.fit(reversed_genes, data.Y[1:, 0])
    np.testing.assert_array_equal(model.predict(table), before)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(reversed_genes)
