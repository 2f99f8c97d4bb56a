import sys
import types

import numpy as np
import pytest
from sklearn.linear_model import Lasso, MultiTaskElasticNet, Ridge

from sbnn import ReducedRankRegressor, cross_validate
from sbnn.linear import biplot_tables, reduced_rank_path, relax


@pytest.fixture(scope="module")
def tables():
    random = np.random.default_rng(0)
    X = random.normal(size=(120, 30))
    B = np.zeros((30, 5))
    B[:6] = random.normal(size=(6, 2)) @ random.normal(size=(2, 5))
    return X, X @ B + 0.5 * random.normal(size=(120, 5)) + 3


def centred(X, Y):
    return X - X.mean(0), Y - Y.mean(0)


def objective(X, Y, W, V, alpha, l1_ratio):
    penalty = l1_ratio * np.linalg.norm(W, axis=1).sum() + (1 - l1_ratio) / 2 * np.sum(W**2)
    return np.sum((Y - X @ W @ V.T) ** 2) / (2 * len(X)) + alpha * penalty


def proximal_rows(X, target, alpha, l1_ratio, tolerance=1e-10):
    """Row-wise elastic net by accelerated proximal gradient steps: shares nothing with coordinate descent."""
    n = len(X)
    gram, cross = X.T @ X / n, X.T @ target / n
    step = 1 / (np.linalg.eigvalsh(gram)[-1] + alpha * (1 - l1_ratio))
    W = previous = np.zeros((X.shape[1], target.shape[1]))
    momentum = 1.0
    for _ in range(100_000):
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = W + (momentum - 1) / following * (W - previous)
        moved = ahead - step * (gram @ ahead - cross + alpha * (1 - l1_ratio) * ahead)
        norms = np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-300)
        new = moved * np.maximum(0, 1 - step * alpha * l1_ratio / norms)
        # Restart where momentum leads uphill.
        momentum = 1.0 if np.sum((ahead - new) * (new - W)) > 0 else following
        previous, W = W, new
        if np.linalg.norm(W - previous) <= tolerance * max(1.0, np.linalg.norm(W)):
            break
    return W


def independent_rrr(X, Y, rank, alpha, l1_ratio):
    """Alternate to 1e-10 from the leading right singular vectors of X'Y."""
    V = np.linalg.svd(X.T @ Y, full_matrices=False)[2][:rank].T
    value = np.inf
    for _ in range(1 if rank == Y.shape[1] else 500):
        W = proximal_rows(X, Y @ V, alpha, l1_ratio)
        if rank < Y.shape[1]:
            left, _, right = np.linalg.svd(Y.T @ X @ W, full_matrices=False)
            V = left @ right
        before, value = value, objective(X, Y, W, V, alpha, l1_ratio)
        if before - value < 1e-10 * value:
            break
    return value


KNOWN = [
    (2, 0.4, 1.0, 24.2, 0.3046, 0.3504),
    (16, 0.5, 1.0, 24.1, 0.3154, 0.3981),
    (2, 1.0, 0.5, 31.9, 0.2729, 0.3421),
    (16, 0.8, 0.5, 49.7, 0.3385, 0.4130),
    (2, 1.0, 0.0, 1000, 0.3724, 0.3724),
    (16, 1.0, 0.0, 1000, 0.4379, 0.4379),
]


@pytest.mark.real_data
def test_known_answers_of_glmnet(m1):
    models = {
        f"{rank} {alpha} {l1_ratio}": [
            ReducedRankRegressor(rank, alpha, l1_ratio, relaxed=relaxed) for relaxed in (False, True)
        ]
        for rank, alpha, l1_ratio, *_ in KNOWN
    }
    scores = cross_validate(m1, models, folds="paper", keep=(), progress=False).scores
    mean = scores.groupby(["model", "relaxed"])[["n_selected", "r2_test"]].mean()
    for rank, alpha, l1_ratio, n_genes, r2, relaxed_r2 in KNOWN:
        name = f"{rank} {alpha} {l1_ratio}"
        assert mean.loc[(name, False), "n_selected"] == pytest.approx(n_genes, abs=0.1 + 1e-9), name
        assert mean.loc[(name, False), "r2_test"] == pytest.approx(r2, abs=0.0005), name
        assert mean.loc[(name, True), "r2_test"] == pytest.approx(relaxed_r2, abs=0.0005), name


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("rank", "alpha", "l1_ratio", "fold"),
    [(2, 0.4, 1.0, 0), (2, 0.4, 1.0, 4), (2, 0.4, 1.0, 9), (16, 0.5, 1.0, 0), (2, 1.0, 0.5, 0)],
)
def test_objective_is_that_of_an_independent_solver(m1, rank, alpha, l1_ratio, fold):
    order = np.random.RandomState(42).permutation(1213)
    train = np.setdiff1d(order, order[121 * fold : 121 * (fold + 1)])
    X, Y = centred(m1.X[train].astype(float), m1.Y[train].astype(float))
    fit = reduced_rank_path(X, Y, [alpha], rank, l1_ratio)[0]
    ours = objective(X, Y, fit.W, fit.V, alpha, l1_ratio)
    assert ours <= independent_rrr(X, Y, rank, alpha, l1_ratio) * (1 + 1e-5)


def assert_same_genes(norms, reference, margin=1e-3):
    """Two solvers may differ in a gene that is barely in, at most: what one leaves out is small in the other."""
    assert (norms[reference == 0] < margin).all() and (reference[norms == 0] < margin).all()
    assert (reference > margin).any() or not norms.any()


def test_full_rank_is_the_unconstrained_elastic_net(tables):
    X, Y = tables
    model = ReducedRankRegressor(None, alpha=0.2, l1_ratio=0.7).fit(X, Y)
    reference = MultiTaskElasticNet(alpha=0.2, l1_ratio=0.7, tol=1e-10, max_iter=100_000).fit(X, Y)
    np.testing.assert_allclose(model.W_ @ model.V_.T, reference.coef_.T, atol=1e-3)
    np.testing.assert_allclose(model.predict(X), reference.predict(X), atol=5e-3)


@pytest.mark.parametrize(("n_cells", "alpha"), [(120, 0.01), (20, 0.01), (20, 0.3), (120, 2.0)])
def test_genes_that_come_in_one_by_one_are_those_of_all_at_once(tables, n_cells, alpha):
    X, Y = centred(*(table[:n_cells] for table in tables))
    fit = reduced_rank_path(X, Y, [alpha], None)[0]
    reference = MultiTaskElasticNet(alpha=alpha, l1_ratio=1.0, tol=1e-10, max_iter=100_000).fit(X, Y).coef_.T
    np.testing.assert_allclose(fit.W @ fit.V.T, reference, atol=1e-4)
    assert_same_genes(fit.norms, np.linalg.norm(reference, axis=1))


@pytest.mark.real_data
@pytest.mark.parametrize("rank", [2, 16])
def test_a_path_is_one_scikit_learn_fit_an_alpha(m1, rank):
    X, Y = centred(m1.X[:600].astype(float), m1.Y[:600].astype(float))
    alphas = [1.3, 0.7, 0.4]
    for alpha, fit in zip(alphas, reduced_rank_path(X, Y, alphas, rank), strict=True):
        target = Y if rank == 16 else Y @ fit.V
        reference = MultiTaskElasticNet(alpha=alpha, l1_ratio=1.0, fit_intercept=False, tol=1e-8).fit(X, target)
        expected = reference.coef_.T if rank == 16 else reference.coef_.T @ fit.V.T
        # At rank 2 the last V is half a round ahead of W.
        np.testing.assert_allclose(fit.W @ fit.V.T, expected, atol=1e-4 if rank == 16 else 1e-3)


def test_one_response_is_the_lasso(tables):
    X, Y = tables
    model = ReducedRankRegressor(1, alpha=0.1).fit(X, Y[:, :1])
    reference = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(X, Y[:, 0])
    np.testing.assert_allclose((model.W_ @ model.V_.T).ravel(), reference.coef_, atol=1e-3)
    assert_same_genes(model.gene_norms_, np.abs(reference.coef_))


def test_without_lasso_it_is_ridge(tables):
    X, Y = tables
    full = ReducedRankRegressor(None, alpha=0.3, l1_ratio=0).fit(X, Y)
    reference = Ridge(alpha=0.3 * len(X)).fit(X, Y)
    np.testing.assert_allclose(full.predict(X), reference.predict(X), atol=1e-8)
    narrow = ReducedRankRegressor(2, alpha=0.3, l1_ratio=0).fit(X, Y)
    fitted = reference.predict(X) - Y.mean(0)
    left, values, right = np.linalg.svd(fitted, full_matrices=False)
    np.testing.assert_allclose(narrow.predict(X) - Y.mean(0), left[:, :2] * values[:2] @ right[:2], atol=1e-8)


def test_wide_and_narrow_gram_matrices_agree(tables):
    X, Y = tables
    wide = np.hstack([X, np.zeros((120, 200))])
    a, b = (ReducedRankRegressor(2, 0.3, 0).fit(table, Y) for table in (X, wide))
    np.testing.assert_allclose(a.predict(X), b.predict(wide), atol=1e-8)


def test_from_alpha_max_on_nothing_is_selected(tables):
    X, Y = centred(*tables)
    alpha_max = np.linalg.norm(X.T @ Y, axis=1).max() / len(X)
    assert not ReducedRankRegressor(None, alpha_max * 1.0001).fit(X, Y).selected_.any()
    assert ReducedRankRegressor(None, alpha_max * 0.98).fit(X, Y).selected_.any()
    empty = ReducedRankRegressor(2, alpha_max * 2).fit(X, Y)
    assert not empty.V_.any()
    np.testing.assert_allclose(empty.predict(X), 0, atol=1e-12)


def test_path_with_warm_starts_equals_single_fits(tables):
    alphas = [0.5, 0.1, 0.3, 0.05]
    path = reduced_rank_path(*tables, alphas)
    for alpha, fit in zip(alphas, path, strict=True):
        alone = reduced_rank_path(*tables, [alpha])[0]
        np.testing.assert_allclose(fit.W @ fit.V.T, alone.W @ alone.V.T, atol=2e-3)


def test_v_is_orthonormal_and_signs_are_fixed(tables):
    for rank, l1_ratio in [(2, 1.0), (None, 1.0), (3, 0.0)]:
        V = ReducedRankRegressor(rank, 0.1, l1_ratio).fit(*tables).V_
        np.testing.assert_allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-10)
        assert (V.max(axis=0) >= -V.min(axis=0) - 1e-9).all()  # the largest entry is positive, near ties aside


def test_relaxation_refits_the_selected_genes(tables):
    X, Y = tables
    sparse = ReducedRankRegressor(2, 0.4).fit(X, Y)
    relaxed = ReducedRankRegressor(2, 0.4, relaxed=True).fit(X, Y)
    chosen = sparse.selected_
    np.testing.assert_array_equal(chosen, relaxed.selected_)
    by_hand = ReducedRankRegressor(2, 0.4, l1_ratio=0).fit(X[:, chosen], Y)
    np.testing.assert_allclose(relaxed.predict(X), by_hand.predict(X[:, chosen]), atol=1e-9)
    nothing = reduced_rank_path(X, Y, [1e3])[0]
    assert relax(X, Y, nothing, 1e3) is nothing


def test_planted_genes_are_found(small):
    data, truth = small
    model = ReducedRankRegressor(2, 0.25).fit(data.X, data.Y)
    top = np.argsort(-model.gene_norms_)[:8]
    assert truth.informative[top].sum() >= 6


def test_score_is_pooled_r2(tables):
    X, Y = tables
    model = ReducedRankRegressor(2, 0.1).fit(X[:100], Y[:100])
    residual = np.sum((Y[100:] - model.predict(X[100:])) ** 2)
    expected = 1 - residual / np.sum((Y[100:] - Y[:100].mean(0)) ** 2)
    assert model.score(X[100:], Y[100:]) == pytest.approx(expected)


def test_biplot_arrows_are_correlations(small):
    data, _ = small
    model = ReducedRankRegressor(2, 0.2).fit(data.X, data.Y)
    tables = biplot_tables(model, data)
    gene = tables["gene_arrows"].iloc[0]
    column = data.X[:, data.gene_names == gene["name"]].ravel()
    assert gene["r1"] == pytest.approx(np.corrcoef(column, model.transform(data.X)[:, 0])[0, 1], abs=1e-5)
    np.testing.assert_allclose(tables["biplot"].std(ddof=0), 1, atol=1e-4)
    assert len(tables["feature_arrows"]) == data.n_features


def test_glmnet_python_is_used_where_it_can_be_imported(tables, monkeypatch):
    calls = []

    def glmnet(**arguments):
        """Answer as glmnet_python documents: one coefficient matrix (n_genes, n_lambdas) a response."""
        calls.append(arguments)
        net = MultiTaskElasticNet(
            alpha=arguments["lambdau"][0],
            l1_ratio=arguments["alpha"],
            fit_intercept=False,
            tol=1e-10,
            max_iter=10**5,
        )
        return {"beta": [row[:, None] for row in net.fit(arguments["x"], arguments["y"]).coef_]}

    monkeypatch.setitem(sys.modules, "glmnet_python", types.SimpleNamespace(glmnet=glmnet))
    ours = ReducedRankRegressor(2, 0.3).fit(*tables)
    theirs = ReducedRankRegressor(2, 0.3, solver="glmnet_python").fit(*tables)
    np.testing.assert_allclose(ours.predict(tables[0]), theirs.predict(tables[0]), atol=1e-2)
    assert calls[0]["family"] == "mgaussian"
    assert calls[0]["standardize"] is calls[0]["standardize_resp"] is calls[0]["intr"] is False


def test_glmnet_python_that_is_not_there_is_explained(tables, monkeypatch):
    monkeypatch.setitem(sys.modules, "glmnet_python", None)
    with pytest.raises(ImportError, match='needs SciPy < 1.9 .* solver="sklearn" solves the same'):
        ReducedRankRegressor(solver="glmnet_python").fit(*tables)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 6}, "rank must be between 1 and 5, got 6"),
        ({"alpha": 0}, "alpha must be finite and more than 0, got 0"),
        ({"l1_ratio": 1.5}, "l1_ratio must be at least 0 and at most 1, got 1.5"),
        ({"solver": "glmnet"}, "unknown solver 'glmnet': expected one of 'sklearn', 'glmnet_python'"),
    ],
)
def test_bad_settings_are_named(tables, settings, message):
    with pytest.raises(ValueError, match=message):
        ReducedRankRegressor(**settings).fit(*tables)


def test_bad_tables_are_named(tables):
    X, Y = tables
    with pytest.raises(ValueError, match="X holds 1 NaN or infinite"):
        ReducedRankRegressor().fit(np.where(X[3, 4] == X, np.nan, X), Y)
    with pytest.raises(ValueError, match="X and Y must have the same cells, got 119 and 120 rows"):
        ReducedRankRegressor().fit(X[1:], Y)
    with pytest.raises(ValueError, match="X has 29 features, but ReducedRankRegressor is expecting 30"):
        ReducedRankRegressor().fit(X, Y).predict(X[:, 1:])
