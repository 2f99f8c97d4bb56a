from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import procrustes
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, cross_validate
from sbnn.models.schedules import SCHEDULES
from sbnn.validation.comparison import (
    agreement_of_maps,
    choose_alpha,
    family_recall,
    fixed_latents,
    gene_frequencies,
    linear_references,
    neighbour_votes,
    principal_component_latents,
    procrustes_r2,
    table_of_scores,
)
from sbnn.validation.folds import make_folds, view_fold

SHORT = SCHEDULES["paper"].shortened(0.02)


def network(**settings):
    return SparseBottleneckRegressor(**{"hidden": (16, 8), "n_selected": 10, "schedule": SHORT, **settings})


@pytest.fixture(scope="module")
def result(small):
    models = {
        "sBNN-2": [network(group_lasso=g) for g in (0.01, 0.1)],
        "sRRR-2": [ReducedRankRegressor(2, a, relaxed=r) for a in (0.2, 5.0) for r in (False, True)],
        "mean": DummyRegressor(),
    }
    return cross_validate(small[0], models, folds=KFold(3, shuffle=True, random_state=0), progress=False)


@pytest.mark.real_data
def test_paper_folds(m1):
    folds = make_folds(m1)
    order = np.random.RandomState(42).permutation(1213)
    assert [(len(fold.train), len(fold.test)) for fold in folds] == [(1092, 121)] * 10
    np.testing.assert_array_equal(np.concatenate([fold.test for fold in folds]), order[:1210])
    np.testing.assert_array_equal(folds[1].train, np.r_[order[:121], order[242:]])


def test_donors_stay_together(small):
    data, _ = small
    folds = make_folds(data, "donor")
    assert len(folds) == 10
    for fold in folds:
        assert not set(data.donors[fold.train]) & set(data.donors[fold.test])
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(150))


def test_all_cells_and_masks(small):
    data, _ = small
    assert len(make_folds(data, "all")[0].train) == 150 and not len(make_folds(data, "all")[0].test)
    mask = np.arange(150) < 100
    fold = make_folds(data, [(mask, ~mask)])[0]
    np.testing.assert_array_equal(fold.train, np.arange(100))


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ("papers", "unknown folds 'papers': expected 'paper', 'donor', 'all'"),
        ([([0, 1], [1, 2])], "fold 0 has cells that are both training and test"),
        ([([0, 1], [150])], "test cells of fold 0 must be rows between 0 and 149, got 150"),
        ([([], [1])], "fold 0 has no training cells"),
    ],
)
def test_bad_folds_are_refused(small, folds, message):
    with pytest.raises(ValueError, match=message):
        make_folds(small[0], folds)


def test_fewer_cells_than_folds_are_refused(small):
    data, _ = small
    with pytest.raises(ValueError, match="10 folds need at least 10 cells, got 9"):
        cross_validate(data.subset(np.arange(9)), {"sRRR-2": ReducedRankRegressor()})
    with pytest.raises(ValueError, match="needs? data.donors"):
        make_folds(replace(data, donors=None), "donor")


def test_scores_are_those_of_models_fitted_by_hand(small, result):
    data, _ = small
    folds = make_folds(data, KFold(3, shuffle=True, random_state=0))
    chosen = "model == 'sRRR-2' and alpha == 0.2 and relaxed == True"
    scores = result.scores.query(chosen).set_index("fold")
    for number, (train, test) in enumerate(folds):
        model = ReducedRankRegressor(2, 0.2, relaxed=True).fit(data.X[train], data.Y[train])
        assert scores.loc[number, "r2_test"] == pytest.approx(model.score(data.X[test], data.Y[test]), abs=1e-6)
        assert scores.loc[number, "r2_train"] == pytest.approx(model.score(data.X[train], data.Y[train]), abs=1e-6)
        assert scores.loc[number, "n_selected"] == model.selected_.sum()
        predictions = result.predictions.query(f"{chosen} and fold == {number}")
        np.testing.assert_allclose(predictions[data.feature_names], model.predict(data.X[test]), atol=1e-6)
        assert predictions["cell"].tolist() == data.cell_names[test].tolist()


def test_a_network_does_not_depend_on_the_models_beside_it(small, result):
    data, _ = small
    alone = cross_validate(
        data, {"sBNN-2": network(group_lasso=0.1)}, folds=KFold(3, shuffle=True, random_state=0), progress=False
    )
    both = result.scores.query("model == 'sBNN-2' and group_lasso == 0.1")
    np.testing.assert_allclose(alone.scores["r2_test"], both["r2_test"], atol=1e-4)


def test_estimator_alone_equals_all_cells(small):
    data, _ = small
    all_cells = cross_validate(data, {"sBNN-2": network()}, folds="all", progress=False)
    alone = network().fit(data.X, data.Y)
    np.testing.assert_allclose(all_cells.estimators[0].predict(data.X), alone.predict(data.X), atol=1e-5)
    assert len(all_cells.predictions) == 150 and not all_cells.latents["held_out"].any()
    assert all_cells.scores["r2_test"].isna().all()


def test_tables_are_tidy(small, result):
    data, _ = small
    keys = ["model", "bottleneck_dim", "group_lasso", "schedule", "alpha", "l1_ratio", "rank", "relaxed", "fold"]
    for name, table in result.tables.items():
        expected = keys if name not in ("curves", "gene_norms") else [key for key in keys if key in table]
        assert set(expected) <= set(table.columns), name
        assert not table.duplicated().any(), name
    assert not result.scores.duplicated([*keys, "stage"]).any()
    stages = result.scores.query("model == 'sBNN-2'")["stage"].unique().tolist()
    assert stages == ["frozen", "finetuned", "pruned"]
    assert result.curves.groupby(["group_lasso", "fold"]).size().eq(4).all()
    last = result.curves.groupby(["group_lasso", "fold"]).tail(1)["r2_test"]
    pruned = result.scores.query("stage == 'pruned'")
    np.testing.assert_array_equal(pruned["r2_test"], last)
    assert (pruned["r2_test_best_epoch"] >= pruned["r2_test"]).all()
    assert len(result.selected.query("model == 'sBNN-2'")) == 2 * 3 * 10
    assert len(result.feature_scores) == len(result.estimators) * data.n_features
    held_out = result.latents.query("model == 'sBNN-2' and group_lasso == 0.1 and held_out")
    assert sorted(held_out["cell"]) == sorted(data.cell_names)


def test_a_fit_with_fewer_genes_than_its_rank_has_no_score(result):
    empty = result.scores.query("alpha == 5.0")
    assert (empty["n_selected"] < 2).all() and empty["r2_test"].isna().all()


def test_full_rank_is_no_limit(small):
    """A lasso with fewer genes than features has the score of its predictions; without any gene it has none."""
    data, _ = small
    lasso = {"lasso": [ReducedRankRegressor(None, alpha, relaxed=r) for alpha in (1.0, 50.0) for r in (False, True)]}
    scores = cross_validate(data, lasso, folds=KFold(2, shuffle=True, random_state=0), progress=False).scores
    few, none = scores.query("alpha == 1"), scores.query("alpha == 50")
    assert few["n_selected"].between(1, data.n_features - 1).all() and (few["r2_test"] > 0.02).all()
    assert (none["n_selected"] == 0).all() and none["r2_test"].isna().all()


def test_the_mean_of_the_training_cells_scores_about_zero(result):
    assert result.scores.query("model == 'mean'")["r2_test"].abs().max() < 0.1


def test_any_scikit_learn_regressor_can_be_compared(small):
    data, _ = small
    result = cross_validate(data, {"ridge": [Ridge(1), Ridge(100)]}, progress=False)
    scores = result.scores.set_index(["alpha", "fold"])["r2_test"]
    assert len(scores) == 20
    for (alpha, number), r2 in scores.items():
        train, test = result.folds[number]
        model = Ridge(alpha).fit(data.X[train], data.Y[train])
        squares = np.sum((data.Y[test] - data.Y[train].mean(axis=0)) ** 2)
        expected = 1 - np.sum((data.Y[test] - model.predict(data.X[test])) ** 2) / squares
        assert r2 == pytest.approx(expected, abs=1e-5)


def test_within_folds_nothing_of_the_test_cells_is_seen(small):
    data, _ = small
    fold = make_folds(data)[0]
    counts, features = data.counts.copy(), data.features.copy()
    counts[fold.test] += 1000
    features[fold.test] *= 7
    changed = replace(data, counts=counts, features=features)
    first, second = (view_fold(d, fold, within_fold=True) for d in (data, changed))
    np.testing.assert_array_equal(first.X[fold.train], second.X[fold.train])
    np.testing.assert_array_equal(first.Y[fold.train], second.Y[fold.train])
    np.testing.assert_allclose(first.Y[fold.train].std(0), 1, atol=1e-5)
    models = {"sBNN-2": network()}
    fits = [
        cross_validate(d, models, [fold], within_fold=True, progress=False, keep=()).estimators[0]
        for d in (data, changed)
    ]
    np.testing.assert_array_equal(fits[0].weights_[0], fits[1].weights_[0])


def test_within_folds_stacks_see_their_own_tables(small):
    data, _ = small
    folds = make_folds(data)[:3]
    together = cross_validate(data, {"a": network()}, folds, within_fold=True, progress=False, keep=())
    for number, fold in enumerate(folds):
        seen = view_fold(data, fold, within_fold=True)
        score = together.estimators[number].score(seen.X[fold.test], seen.Y[fold.test])
        expected = together.scores.query("fold == @number and stage == 'pruned'")["r2_test"].iloc[0]
        assert score == pytest.approx(expected, abs=1e-4)


def test_a_memory_mapped_table_gives_the_same(small, tmp_path):
    data, _ = small
    data.X.tofile(tmp_path / "X.raw")
    mapped = replace(data, X=np.memmap(tmp_path / "X.raw", np.float32, "r", shape=data.X.shape))
    assert not mapped.X.flags.writeable
    one, other = (
        cross_validate(table, {"sBNN-2": network()}, folds=KFold(2), progress=False) for table in (data, mapped)
    )
    pd.testing.assert_frame_equal(one.scores, other.scores)


def test_results_join(small, result):
    data, _ = small
    splitter = KFold(3, shuffle=True, random_state=0)
    more = cross_validate(data, {"ridge": Ridge()}, folds=splitter, progress=False)
    joined = result.join(more)
    assert len(joined.scores) == len(result.scores) + 3
    assert len(joined.estimators) == len(result.estimators) + 3
    with pytest.raises(ValueError, match="different folds"):
        result.join(cross_validate(data, {"ridge": Ridge()}, folds=KFold(4), progress=False))
    with pytest.raises(ValueError, match="protocol differs"):
        result.join(cross_validate(data, {"r": Ridge()}, folds=splitter, within_fold=True, progress=False))


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "models is empty"),
        ({"a": []}, r"models\['a'\] is an empty list"),
        ({"a": [3]}, r"models\['a'\] should be an estimator"),
    ],
)
def test_models_must_be_estimators(small, models, message):
    with pytest.raises(ValueError, match=message):
        cross_validate(small[0], models)


def test_alpha_is_chosen_by_the_number_of_genes():
    scores = pd.DataFrame({"alpha": [0.1, 0.2, 0.3] * 2, "n_selected": [50, 27, 24] * 2, "r2_test": [9, 0, 1] * 2})
    assert choose_alpha(scores) == 0.2
    with pytest.raises(ValueError, match=r"selects 100 \+- 3 genes .* range from 24.0 to 50.0"):
        choose_alpha(scores, 100)
    assert choose_alpha(scores, 100, tolerance=None) == 0.1 and choose_alpha(scores, 25, tolerance=None) == 0.3


def test_neighbours_of_separate_families_agree(small):
    data, truth = small
    latents = principal_component_latents(data, make_folds(data))
    labels = dict(zip(data.cell_names, np.where(truth.coordinates[:, 0] > 0, "right", "left"), strict=True))
    perfect = latents.assign(z1=[100.0 if labels[cell] == "right" else 0.0 for cell in latents["cell"]])
    assert neighbour_votes(perfect, labels).eval("family == vote").all()
    votes = neighbour_votes(latents, labels)
    assert votes["cell"].is_unique and len(votes) == 150
    fixed = fixed_latents("truth", truth.coordinates, data, make_folds(data))
    pd.testing.assert_frame_equal(fixed[["fold", "cell", "held_out"]], latents[["fold", "cell", "held_out"]])
    assert family_recall(neighbour_votes(fixed, labels)).loc["truth", "accuracy"] > 0.9


def test_balanced_accuracy_is_the_mean_recall_of_families():
    votes = pd.DataFrame({
        "model": "map", "fold": [0, 0, 0, 1, 1, 1], "family": list("aaabab"), "vote": list("aaaaab"),
    })  # fmt: skip
    row = family_recall(votes).loc["map"]
    assert row["accuracy"] == pytest.approx(5 / 6) and row["balanced accuracy"] == pytest.approx(0.75)
    assert (row["a"], row["b"]) == (1.0, 0.5) and list(row.index[-2:]) == ["a", "b"]
    assert row["SD over folds"] == pytest.approx(np.std([1, 2 / 3], ddof=1))


def test_maps_that_are_turned_mirrored_and_scaled_agree():
    random = np.random.default_rng(0)
    one = random.normal(size=(60, 2))
    turned = 5 * one @ np.array([[0.6, 0.8], [0.8, -0.6]]) + 3
    assert procrustes_r2(one, turned) == pytest.approx(1)
    other = random.normal(size=(60, 2))
    # As scipy.spatial.procrustes has it, whose disparity is what is not explained.
    assert procrustes_r2(one, other) == pytest.approx(1 - procrustes(one, other)[2])
    maps = {0: one, 1: turned, 2: other}
    latents = pd.concat([
        pd.DataFrame(Z, columns=["z1", "z2"]).assign(random_state=seed, cell=[f"c{i}" for i in range(60)])
        for seed, Z in maps.items()
    ])  # fmt: skip
    shuffled = latents.sample(frac=1, random_state=0)  # cells are matched by name
    for table in (latents, shuffled):
        agreement = agreement_of_maps(table, 10).set_index(["first", "second"])
        assert agreement.loc[(0, 1), "common_neighbours"] == 1 and agreement.loc[(0, 1), "procrustes_r2"] > 0.999
        assert agreement.loc[(0, 2), "common_neighbours"] < 0.4 and agreement.loc[(0, 2), "procrustes_r2"] < 0.3
    by_run = agreement_of_maps(latents.rename(columns={"random_state": "run"}), 10, by="run")
    pd.testing.assert_frame_equal(by_run, agreement_of_maps(latents, 10))


def test_lines_of_figures_are_means_over_folds():
    scores = pd.DataFrame({
        "model": ["sRRR-2", "sRRR-2", "family mean", "family mean"], "alpha": [0.4, 0.4, np.nan, np.nan],
        "relaxed": [True, True, np.nan, np.nan], "fold": [0, 1, 0, 1], "r2_test": [0.2, 0.4, 0.5, 0.7],
    })  # fmt: skip
    lines = linear_references(scores, {"sRRR-2": 0.4}, ["family mean"])
    assert lines == {"sRRR-2": pytest.approx(0.3), "family mean": pytest.approx(0.6)}


def test_gene_frequencies_count_runs():
    selected = pd.DataFrame({"gene": list("babc"), "random_state": [0, 0, 1, 1], "norm": [0.1, 0.2, 0.1, 0.3]})
    frequencies = gene_frequencies(selected)
    assert frequencies.to_dict() == {"b": 2, "a": 1, "c": 1}
    assert frequencies.index.tolist() == ["b", "c", "a"]


def test_table_of_scores_has_mean_and_sd(result):
    table = table_of_scores(result.scores.query("stage == 'fitted'"), by=["model", "alpha", "relaxed"])
    part = result.scores.query("alpha == 0.2 and relaxed == False")["r2_test"]
    row = table.loc[("sRRR-2", 0.2, False)]
    assert row["mean"] == pytest.approx(part.mean(), abs=1e-4) and row["SD"] == pytest.approx(part.std(), abs=1e-4)
