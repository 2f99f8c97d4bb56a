"""Exact sparsity: rows of the first kernel become zero, and the number of genes follows from the penalty."""

import numpy as np
import pytest
from keras import ops
from sklearn.model_selection import KFold

from sbnn import PairedData, ReducedRankRegressor, SparseBottleneckRegressor, regularisation_path
from sbnn.models.devices import backend_tools
from sbnn.models.optimisers import proximal_step, start_state
from sbnn.models.schedules import SCHEDULES, Schedule, Stage
from sbnn.validation.penalty_path import active_size

SMALL = Schedule(
    "small",
    (
        Stage("finetuned", 20, 5e-3, batch_size=32, decay="cosine"),
        Stage("pruned", 10, 2e-3, batch_size=32),
    ),
)


def test_a_step_is_adam_with_a_step_size_a_row_and_the_map_of_the_group_lasso():
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(1, 5, 3)).astype("f4"), random.normal(size=(1, 3)).astype("f4")
    kernel[0, 4] = 0.0
    gradients = [random.normal(size=kernel.shape).astype("f4"), random.normal(size=bias.shape).astype("f4")]
    gradients[0][0, 4] = 0.0
    state = start_state([kernel, bias], proximal=True)
    group_lasso = ops.convert_to_tensor(np.array([5.0], "f4"))
    state = proximal_step(state, [ops.convert_to_tensor(g) for g in gradients], 0.1, group_lasso)
    # First step of Adam: both moments, corrected, are those of the gradient itself.
    sizes = 0.1 / (np.sqrt((gradients[0][0] ** 2).mean(axis=1)) + 1e-7)
    moved = kernel[0] - sizes[:, None] * gradients[0][0]
    norms = np.linalg.norm(moved, axis=1)
    expected = moved * np.maximum(1 - sizes * 5.0 / np.maximum(norms, 1e-30), 0)[:, None]
    np.testing.assert_allclose(np.asarray(state.weights[0])[0], expected, atol=1e-4)
    np.testing.assert_allclose(np.asarray(state.weights[1]), bias - 0.1 * np.sign(gradients[1]), atol=1e-4)
    assert 0 < (~np.asarray(state.weights[0])[0].any(axis=1)).sum() < 5


def test_the_optimum_is_that_of_the_group_lasso():
    """On a linear problem with orthogonal columns, whose solution is known: the map of the least squares."""
    random = np.random.default_rng(1)
    X = np.linalg.qr(random.normal(size=(200, 6)))[0] * np.sqrt(200)
    truth = random.normal(size=(6, 4)) * np.array([2, 1, 0.5, 0.25, 0.1, 0])[:, None]
    Y = X @ truth
    penalty = 0.9
    norms = np.linalg.norm(truth, axis=1, keepdims=True)
    expected = truth * np.maximum(1 - penalty / (2 * np.maximum(norms, 1e-30)), 0)
    strength = ops.convert_to_tensor(np.array([penalty], "f4"))
    gram, cross = (ops.convert_to_tensor((2 / 200 * X.T @ table)[None].astype("f4")) for table in (X, Y))

    def step(number, state):
        gradient = ops.matmul(gram, state.weights[0]) - cross
        rate = 0.02 * (1 - ops.cast(number, "float32") / 4000)
        return proximal_step(state, [gradient], rate, strength)

    # Compiled as one loop, as in training: step by step from Python it takes ten times as long.
    descend = backend_tools().jit(lambda state: ops.fori_loop(0, 4000, step, state))
    found = np.asarray(descend(start_state([np.zeros((1, 6, 4), "f4")], proximal=True)).weights[0])[0]
    np.testing.assert_allclose(found, expected, atol=0.01)
    np.testing.assert_array_equal(found.any(axis=1), expected.any(axis=1))


def with_decoys(random_state=0):
    """Cells whose features follow 15 genes; decoys resemble the strongest, and look better than the weak ones."""
    random = np.random.default_rng(random_state)
    n_cells, n_informative, n_genes = 800, 15, 200
    X = random.normal(size=(n_cells, n_genes))
    decoys = np.arange(n_informative, n_informative + 12)
    X[:, decoys] = 0.8 * X[:, decoys % 6] + 0.6 * X[:, decoys]
    strengths = np.where(np.arange(n_informative) < 6, 1.0, 0.45)
    angles = random.uniform(0, 2 * np.pi, n_informative)
    Z = X[:, :n_informative] @ (strengths[:, None] * np.column_stack([np.cos(angles), np.sin(angles)]))
    directions = np.column_stack([np.cos(np.arange(8) * np.pi / 8), np.sin(np.arange(8) * np.pi / 8)])
    Y = np.tanh(Z @ directions.T / 2) + 0.1 * random.normal(size=(n_cells, 8))
    X, Y = ((values - values.mean(axis=0)) / values.std(axis=0) for values in (X, Y))
    names = {
        "gene_names": [f"gene{index}" for index in range(n_genes)],
        "feature_names": [f"feature{index}" for index in range(8)],
        "cell_names": [f"cell{index}" for index in range(n_cells)],
    }
    return PairedData(X, Y, **names), n_informative


@pytest.mark.parametrize("random_state", [0, 1, 2])
def test_the_path_finds_genes_that_screening_one_by_one_misses(random_state):
    """Screening finds 6 of 15, the path all 15; the smallest penalty leaves some 90 genes, the largest at most 4."""
    data, n_informative = with_decoys(random_state)
    marginal = ((data.X.T @ data.Y / data.n_cells) ** 2).sum(axis=1)
    screened = np.argsort(-marginal)[:n_informative]
    assert (screened < n_informative).sum() <= 11
    network = SparseBottleneckRegressor(hidden=(64, 32), schedule=SMALL)
    path = regularisation_path(
        data, network, np.geomspace(0.005, 20, 20), folds="all", epochs=10, refit_epochs=0, progress=False
    )
    found = path.choose(n_informative)
    informative = set(data.gene_names[:n_informative])
    assert len(informative.intersection(found)) >= 13
    numbers = path.scores["n_selected"]
    assert numbers.is_monotonic_decreasing
    assert numbers.iloc[-1] < n_informative - 5 and numbers.iloc[0] > n_informative + 5


@pytest.fixture(scope="module")
def path(small):
    network = SparseBottleneckRegressor(hidden=(16, 8), schedule=SMALL)
    return regularisation_path(
        small[0], network, np.geomspace(0.01, 1, 6), folds=KFold(3), epochs=4, refit_epochs=4, progress=False
    )


def test_tables_of_a_path(path, small):
    data, _ = small
    assert len(path.scores) == 3 * 6 and path.scores["fold"].nunique() == 3
    for _, scores in path.scores.groupby("fold"):
        assert scores["n_selected"].is_monotonic_decreasing
    counts = path.selected.groupby(["fold", "group_lasso"]).size()
    expected = path.scores.set_index(["fold", "group_lasso"])["n_selected"]
    assert (counts == expected[expected > 0]).all()
    assert (path.selected["norm"] > 0).all() and set(path.selected["gene"]) <= set(data.gene_names)
    values = path.scores[["r2_train", "r2_test", "r2_train_refitted", "r2_test_refitted"]]
    assert np.isfinite(values).all().all()
    best = path.scores.groupby("group_lasso")["r2_test_refitted"].mean().max()
    assert best > 0.1


def test_any_number_of_genes_can_be_chosen(path):
    ranking = path.ranking(fold=1)
    for number in (1, 7, len(ranking)):
        assert path.choose(number, fold=1) == ranking.index[:number].tolist()
    assert ranking.is_monotonic_decreasing and ranking.index.is_unique
    with pytest.raises(ValueError, match="n_selected must be between 1 and the"):
        path.choose(10_000)
    with pytest.raises(ValueError, match="the path has no fold 9"):
        path.choose(3, fold=9)


def test_penalties_must_grow(small):
    for penalties in ([0.1, 0.1], [], [-1.0, 1.0], [0.2, 0.1]):
        with pytest.raises(ValueError, match="group_lasso should be increasing penalties"):
            regularisation_path(small[0], group_lasso=penalties)
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        regularisation_path(small[0], epochs=0)


def test_folds_of_other_sizes_are_not_stacked(small):
    """71 cells are three steps of 32, 60 are two: each fold follows the path that it follows alone."""
    data, _ = small
    cells = np.arange(data.n_cells)
    folds = [(cells[:71], cells[100:]), (cells[:60], cells[100:])]
    network = SparseBottleneckRegressor(hidden=(16, 8), schedule=SMALL)
    settings = {"group_lasso": [0.01, 0.1], "epochs": 2, "refit_epochs": 0, "progress": False}
    both = regularisation_path(data, network, folds=folds, **settings).scores
    assert both["fold"].tolist() == [0, 0, 1, 1]
    first = regularisation_path(data, network, folds=folds[:1], **settings).scores
    np.testing.assert_allclose(both["r2_test"][:2], first["r2_test"], atol=1e-4)


def test_an_estimator_that_has_no_path_is_refused(small):
    with pytest.raises(ValueError, match="estimator should be a SparseBottleneckRegressor"):
        regularisation_path(small[0], ReducedRankRegressor(2, 0.5))
    frozen = SparseBottleneckRegressor(schedule=[Stage("frozen", 1, 1e-3, freeze_hidden=True)])
    with pytest.raises(ValueError, match='needs a schedule with a stage "finetuned", got frozen'):
        regularisation_path(small[0], frozen)


def test_the_computation_shrinks_with_the_genes():
    assert [active_size(n, 1000) for n in (1000, 501, 500, 250, 40, 0)] == [1000, 1000, 500, 250, 62, 62]
    assert active_size(3, 20) == 20


def test_only_fine_tuning_can_be_proximal():
    for stage in ({"name": "pruned"}, {"name": "finetuned", "freeze_hidden": True}):
        with pytest.raises(ValueError, match='only the stage "finetuned" that trains all layers can be proximal'):
            Stage(**stage, epochs=1, learning_rate=1e-3, proximal=True)
    assert not any(stage.proximal for schedule in SCHEDULES.values() for stage in schedule)
