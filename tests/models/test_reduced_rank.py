import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Lasso, MultiTaskElasticNet, Ridge
from sklearn.model_selection import KFold

from sbnn import PairedModel, ReducedRankRegressor, cross_validate, load_model
from sbnn.figures.biplot import biplot_tables
from sbnn.models import elastic_net
from sbnn.models.reduced_rank import reduced_rank_path, relax
from sbnn.models.sized_reduced_rank import SizedReducedRank

needs_glmnet = pytest.mark.skipif(find_spec("glmnet") is None, reason="glmnet is not here (pip install glmstar)")


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
    """Row-wise elastic net of one target, from zero."""
    gram, cross = X.T @ X / len(X), X.T @ target / len(X)
    return proximal_steps(gram, cross, np.linalg.eigvalsh(gram)[-1], alpha, l1_ratio, np.zeros_like(cross), tolerance)


def proximal_steps(gram, cross, curvature, alpha, l1_ratio, start, tolerance=1e-10):
    """Accelerated proximal gradient steps: share nothing with coordinate descent."""
    step = 1 / (curvature + alpha * (1 - l1_ratio))
    W = previous = start
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
    """Alternate to 1e-10 from the leading right singular vectors of X'Y; each W starts at the one before."""
    V = np.linalg.svd(X.T @ Y, full_matrices=False)[2][:rank].T
    gram, cross = X.T @ X / len(X), X.T @ Y / len(X)
    curvature = np.linalg.eigvalsh(gram)[-1]
    W, value = np.zeros((X.shape[1], rank)), np.inf
    for _ in range(1 if rank == Y.shape[1] else 500):
        W = proximal_steps(gram, cross @ V, curvature, alpha, l1_ratio, W)
        if rank < Y.shape[1]:
            left, _, right = np.linalg.svd(Y.T @ X @ W, full_matrices=False)
            V = left @ right
        before, value = value, objective(X, Y, W, V, alpha, l1_ratio)
        if before - value < 1e-10 * value:
            break
    return value


#: rank, alpha, l1_ratio, genes, R2, R2 relaxed, of glmnet 2 (Fortran).
KNOWN = [
    tuple(row)
    for row in pd.read_csv(Path(__file__).parents[2] / "data/glmnet_known_answers.csv").itertuples(index=False)
]


@pytest.mark.real_data
@pytest.mark.parametrize("solver", ["sklearn", pytest.param("glmnet", marks=needs_glmnet)])
def test_known_answers_of_glmnet(m1, solver):
    models = {
        f"{rank} {alpha} {l1_ratio}": [
            ReducedRankRegressor(rank, alpha, l1_ratio, relaxed, solver) for relaxed in (False, True)
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


def test_a_few_genes_are_relaxed_at_full_rank(tables):
    """Of fewer genes than features: full rank limits nothing, unlike a number of components that genes do not reach."""
    X, Y = tables
    for model in (ReducedRankRegressor(None, 1.0, relaxed=True), SizedReducedRank(3, rank=None, relaxed=True)):
        chosen = model.fit(X, Y).selected_
        assert 0 < chosen.sum() < Y.shape[1]
        alpha = getattr(model, "alpha_", 1.0)
        by_hand = Ridge(alpha * len(X)).fit(X[:, chosen], Y)
        np.testing.assert_allclose(model.predict(X), by_hand.predict(X[:, chosen]), atol=1e-9)
    Y = np.hstack([Y, Y])
    few = reduced_rank_path(X, Y, [1.0], rank=8)[0]
    assert 0 < few.selected.sum() < 8 and not few.reaches_rank and relax(X, Y, few, 1.0) is few


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


@pytest.fixture
def tight(monkeypatch):
    """Both solvers as exact as double precision allows."""
    monkeypatch.setattr(elastic_net, "SOLVER_TOLERANCE", 1e-13)
    monkeypatch.setattr(elastic_net, "GLMNET_TOLERANCE", 1e-18)


def coefficients(path):
    return np.array([fit.W @ fit.V.T for fit in path])


@needs_glmnet
@pytest.mark.parametrize("missing", [False, True])
def test_full_rank_with_fewer_genes_than_features_is_the_full_linear_map(tables, missing):
    """Of three genes and five features: the minimum that proximal gradient steps find, in three components."""
    X, Y = tables[0][:, :3], tables[1].copy()
    if missing:
        Y[::7, 0] = np.nan
    for l1_ratio in (0.0, 0.5, 1.0):
        model = ReducedRankRegressor(None, 0.05, l1_ratio).fit(X, Y)
        assert model.W_.shape == (3, 3) and model.V_.shape == (5, 3)
        np.testing.assert_allclose(model.V_.T @ model.V_, np.eye(3), atol=1e-10)
        if not missing:
            expected = proximal_rows(*centred(X, Y), 0.05, l1_ratio)
            np.testing.assert_allclose(model.W_ @ model.V_.T, expected, atol=1e-4)
        same = ReducedRankRegressor(3, 0.05, l1_ratio).fit(X, Y)
        np.testing.assert_array_equal(same.predict(X), model.predict(X))
    with pytest.raises(ValueError, match="rank must be between 1 and 3, got 4"):
        ReducedRankRegressor(4).fit(X, Y)


@pytest.mark.parametrize("rank", [2, None])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("missing", [False, True])
def test_both_solvers_find_the_same(tables, tight, rank, l1_ratio, missing):
    X, Y = tables
    if missing:
        Y = np.where(np.random.default_rng(1).random(Y.shape) < 0.1, np.nan, Y)
    alphas = [1.5, 0.7, 0.3, 0.1, 0.03]
    ours, theirs = (reduced_rank_path(X, Y, alphas, rank, l1_ratio, solver) for solver in ("sklearn", "glmnet"))
    assert np.abs(coefficients(ours)).max() > 1
    np.testing.assert_allclose(coefficients(theirs), coefficients(ours), atol=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        assert_same_genes(one.norms, other.norms, margin=1e-5)
        np.testing.assert_allclose(one.offset, other.offset, atol=1e-5)


@needs_glmnet
@pytest.mark.parametrize("rank", [2, None])
def test_glmnet_as_it_is_used_is_exact_to_five_digits(tables, monkeypatch, rank):
    X, Y = tables
    alphas = [1.5, 0.7, 0.3, 0.1, 0.03]
    as_used = coefficients(reduced_rank_path(X, Y, alphas, rank, solver="glmnet"))
    monkeypatch.setattr(elastic_net, "GLMNET_TOLERANCE", 1e-18)
    np.testing.assert_allclose(as_used, coefficients(reduced_rank_path(X, Y, alphas, rank, solver="glmnet")), atol=1e-5)


@needs_glmnet
@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
def test_glmnet_solves_the_problem_that_proximal_steps_solve(tables, l1_ratio):
    X, Y = tables  # Y has a mean of 3, which no intercept takes
    (found,) = elastic_net.solve_rows(X, Y, [0.2], l1_ratio, "glmnet")
    np.testing.assert_allclose(found, proximal_rows(X, Y, 0.2, l1_ratio), atol=1e-5)


@needs_glmnet
@pytest.mark.parametrize("rank", [2, None])
def test_glmnet_leaves_tables_alone_and_keeps_nothing(tables, rank):
    X, Y = (np.asfortranarray(table) for table in tables)
    before = X.copy(), Y.copy()
    for table in (X, Y):
        table.flags.writeable = False
    first = coefficients(reduced_rank_path(X, Y, [0.3, 0.1], rank, solver="glmnet"))
    reduced_rank_path(X[::2], 3 * Y[::2], [0.2], rank, solver="glmnet")
    np.testing.assert_array_equal(first, coefficients(reduced_rank_path(X, Y, [0.3, 0.1], rank, solver="glmnet")))
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])
    # The rows are solved on the very arrays given, without the copies that a path makes.
    elastic_net.solve_rows(X, Y, [0.1], 1.0, "glmnet")
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


@pytest.mark.parametrize("solver", ["sklearn", pytest.param("glmnet", marks=needs_glmnet)])
@pytest.mark.parametrize("rank", [2, None])
def test_the_order_of_alphas_does_not_matter(tables, rank, solver):
    alphas = np.array([0.5, 0.1, 0.3, 0.05, 0.1])
    descending = coefficients(reduced_rank_path(*tables, np.sort(alphas)[::-1], rank, solver=solver))
    shuffled = coefficients(reduced_rank_path(*tables, alphas, rank, solver=solver))
    np.testing.assert_array_equal(shuffled, descending[[0, 2, 1, 4, 2]])
    assert not np.array_equal(shuffled[0], shuffled[1])


@needs_glmnet
def test_glmnet_takes_what_its_package_would_refuse(tables):
    """One response; a gene that never varies; nothing to explain, and nothing to explain it with."""
    X, Y = tables
    one = ReducedRankRegressor(1, alpha=0.1, solver="glmnet").fit(X, Y[:, :1])
    reference = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(X, Y[:, 0])
    np.testing.assert_allclose((one.W_ @ one.V_.T).ravel(), reference.coef_, atol=1e-5)
    constant = np.column_stack([X, np.full(len(X), 7.0)])
    wider = ReducedRankRegressor(None, alpha=0.1, solver="glmnet").fit(constant, Y)
    assert not wider.selected_[-1]
    alone = ReducedRankRegressor(None, alpha=0.1, solver="glmnet").fit(X, Y)
    np.testing.assert_allclose(wider.predict(constant), alone.predict(X), atol=1e-5)
    for genes, features in ((X, np.ones_like(Y)), (np.ones_like(X), Y)):
        model = ReducedRankRegressor(2, alpha=0.1, solver="glmnet").fit(genes, features)
        assert not model.selected_.any()
        np.testing.assert_allclose(model.predict(genes), features.mean(axis=0)[None].repeat(len(genes), axis=0))


@needs_glmnet
@pytest.mark.filterwarnings("ignore:.*Convergence for .* lambda value not reached", "ignore:an empty model")
def test_glmnet_that_does_not_converge_is_an_error(tables, monkeypatch):
    monkeypatch.setattr(elastic_net, "GLMNET_PASSES", 5)
    with pytest.raises(RuntimeError, match=r"not converged at alpha=0.001 after 10 passes over the genes: raise alpha"):
        reduced_rank_path(*tables, [1e-3, 2.0], None, solver="glmnet")
    with pytest.raises(RuntimeError, match=r"not converged at alpha=0.001 after 5 passes over the genes: raise alpha"):
        ReducedRankRegressor(2, 1e-3, solver="glmnet").fit(*tables)


@pytest.mark.parametrize("module", [None, types.ModuleType("glmnet")], ids=["not there", "another package"])
def test_glmnet_that_is_not_there_is_said_before_anything_is_computed(small, tables, monkeypatch, module):
    monkeypatch.setitem(sys.modules, "glmnet", module)
    monkeypatch.delitem(sys.modules, "glmnet.paths.fastnet", raising=False)
    model = ReducedRankRegressor(solver="glmnet")
    message = r'solver="glmnet" needs the package glmstar, .*: pip install glmstar, or the extra sbnn\[glmnet\]'

    class Spy(Ridge):
        def fit(self, X, y):
            raise AssertionError("fitted before the settings of every model were looked at")

    asked = [
        model.check_settings,
        lambda: model.fit(*tables),
        lambda: ReducedRankRegressor(l1_ratio=0, solver="glmnet").fit(*tables),
        lambda: reduced_rank_path(*tables, [0.1], solver="glmnet"),
        lambda: reduced_rank_path(*tables, [0.1], l1_ratio=0, solver="glmnet"),
        lambda: cross_validate(small[0], {"first": Spy(), "then": model}, folds=KFold(2), progress=False),
    ]
    for ask in asked:
        with pytest.raises(ImportError, match=message):
            ask()
    ReducedRankRegressor().fit(*tables)


@needs_glmnet
def test_a_model_of_glmnet_is_loaded_where_glmnet_is_not(small, tmp_path, monkeypatch):
    model = PairedModel(ReducedRankRegressor(2, 0.2, solver="glmnet")).fit(small[0])
    model.save(tmp_path / "model.sbnn")
    monkeypatch.setitem(sys.modules, "glmnet", None)
    loaded = load_model(tmp_path / "model.sbnn")
    assert loaded.estimator_.solver == "glmnet"
    np.testing.assert_array_equal(loaded.predict(small[0]).to_numpy(), model.predict(small[0]).to_numpy())


def test_glmnet_is_imported_when_it_is_asked_for_only():
    code = (
        "import sys, sbnn, sbnn.models.elastic_net, sbnn.models.reduced_rank, sbnn.validation.cross_validation\n"
        "sbnn.ReducedRankRegressor(solver='glmnet'); sbnn.ReducedRankRegressor().check_settings()\n"
        "print('glmnet' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 6}, "rank must be between 1 and 5, got 6"),
        ({"alpha": 0}, "alpha must be finite and more than 0, got 0"),
        ({"l1_ratio": 1.5}, "l1_ratio must be at least 0 and at most 1, got 1.5"),
        ({"solver": "glmnet_python"}, "unknown solver 'glmnet_python': expected one of 'sklearn', 'glmnet'$"),
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
