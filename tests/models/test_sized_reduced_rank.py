"""Sparse reduced-rank regression with a number of genes: the penalty is found without a look at predictions."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_parameters_default_constructible

from sbnn import ReducedRankRegressor, simulate_patchseq
from sbnn.models.sized_reduced_rank import SizedReducedRank


@pytest.fixture(scope="module")
def tables():
    data, _ = simulate_patchseq(n_cells=120, n_genes=40, n_features=5, n_informative=12, n_types=4, random_state=2)
    return data.X.astype(float), data.Y.astype(float)


@pytest.mark.parametrize("settings", [{}, {"rank": None, "relaxed": False}, {"l1_ratio": 0.5}])
@pytest.mark.parametrize("number", [3, 8, 20])
def test_it_is_the_model_of_the_penalty_that_selects_the_number(tables, settings, number):
    X, Y = tables
    model = SizedReducedRank(number, **settings).fit(X, Y)
    alone = ReducedRankRegressor(**{"rank": 2, "relaxed": True, **settings}, alpha=model.alpha_).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))
    np.testing.assert_array_equal(model.selected_, alone.selected_)
    assert abs(int(model.selected_.sum()) - number) <= 2
    # More genes with a smaller penalty, fewer with a larger one.
    for factor, more in ((0.8, True), (1.25, False)):
        other = ReducedRankRegressor(**{"rank": 2, "relaxed": True, **settings}, alpha=model.alpha_ * factor).fit(X, Y)
        assert (other.selected_.sum() >= model.selected_.sum()) == more or (
            other.selected_.sum() == model.selected_.sum()
        )


def test_all_genes_and_one_gene(tables):
    X, Y = tables
    assert SizedReducedRank(1, rank=1).fit(X, Y).selected_.sum() == 1
    assert SizedReducedRank(2, rank=None).fit(X, Y * 1000).alpha_ == pytest.approx(
        1000 * SizedReducedRank(2, rank=None).fit(X, Y).alpha_
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_selected": 0}, "n_selected must be at least 1, got 0"),
        ({"n_selected": 41}, "n_selected must be between 1 and the 40 genes, got 41"),
        ({"l1_ratio": 0}, "l1_ratio must be"),
        ({"rank": 6}, "rank must be between 1 and 5, got 6"),
        ({"solver": "R"}, "solver"),
        ({"relaxed": "yes"}, "relaxed"),
    ],
)
def test_bad_settings_are_refused(tables, settings, message):
    with pytest.raises(ValueError, match=message):
        SizedReducedRank(**settings).fit(*tables)


def test_tables_that_have_nothing_to_select(tables):
    X, Y = tables
    with pytest.raises(ValueError, match="no gene of X varies with y"):
        SizedReducedRank(3).fit(np.ones_like(X), Y)
    with pytest.raises(ValueError, match="X and y must have the same cells, got 120 and 100 rows"):
        SizedReducedRank(3).fit(X, Y[:100])
    check_parameters_default_constructible("SizedReducedRank", SizedReducedRank())
