"""Ensembles: one set of genes, the mean of predictions, one map."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from sbnn import PairedModel, SparseBottleneckRegressor, cross_validate, load_model, regularisation_path
from sbnn.models.ensembles import gene_frequency, mean_norms
from sbnn.models.map_agreement import mean_of_maps, most_central, procrustes_r2, spread_of_maps
from sbnn.models.schedules import Stage
from sbnn.validation.comparison import final_scores

SCHEDULE = [Stage("finetuned", 4, 1e-2, batch_size=64), Stage("pruned", 4, 1e-2, batch_size=64)]
SETTINGS = {"n_selected": 8, "hidden": (16, 8), "schedule": SCHEDULE, "group_lasso": 0.05}


def ensemble(**settings):
    return SparseBottleneckRegressor(**{**SETTINGS, "n_networks": 3, **settings})


@pytest.fixture(scope="module")
def fitted(small):
    data = small[0]
    return data, ensemble().fit(data.X, data.Y)


def members_of(model):
    """The networks as estimators of their own."""
    singles = []
    for number in range(len(model.members_[0])):
        single = SparseBottleneckRegressor(**SETTINGS)
        single.__dict__ |= {**vars(model), "n_networks": 1, "members_": None}
        single.weights_ = [weight[number] for weight in model.members_]
        singles.append(single)
    return singles


def test_the_prediction_is_the_mean(fitted):
    data, model = fitted
    predictions = [one.predict(data.X) for one in members_of(model)]
    np.testing.assert_allclose(model.predict(data.X), np.mean(predictions, axis=0))


def test_the_consensus_network_has_the_mean_map_and_decodes_the_features_from_it(fitted):
    data, model = fitted
    maps = np.stack([one.transform(data.X) for one in members_of(model)])
    mean = mean_of_maps(maps)
    agreement = [procrustes_r2(one, mean) for one in (model.transform(data.X), *maps)]
    assert agreement[0] > max(agreement[1:]) and agreement[0] > 0.99
    decoded = model.decode_features(model.transform(data.X))
    residuals = ((data.Y - decoded) ** 2).sum()
    assert residuals < 1.05 * min(((data.Y - one.predict(data.X)) ** 2).sum() for one in members_of(model))
    np.testing.assert_allclose(model.network_.predict(data.X[:, model.selected_], verbose=0), decoded, atol=1e-4)


def test_cells_without_weight_do_not_shape_the_consensus(small):
    data = small[0]
    weights = np.ones(data.n_cells)
    weights[::3] = 0
    other = np.array(data.Y)
    other[::3] = 0.5
    one, another = (ensemble().fit(data.X, Y, sample_weight=weights) for Y in (data.Y, other))
    np.testing.assert_array_equal(one.transform(data.X), another.transform(data.X))


def test_maps_are_averaged_whatever_their_place_and_scale():
    random = np.random.default_rng(0)
    one = random.standard_normal((40, 2))
    noise = 0.1 * random.standard_normal((4, 40, 2))
    turns = [np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * size for a, size in ((0, 1), (1, 3), (2, 9))]
    maps = np.stack(
        [(one + noise[0]), *((one + extra) @ turn + 7 for extra, turn in zip(noise[1:], turns, strict=True))]
    )
    mean = mean_of_maps(maps)
    assert procrustes_r2(mean, one) > max(procrustes_r2(each, one) for each in maps)
    central = maps[most_central(maps)]
    np.testing.assert_allclose(mean.mean(axis=0), central.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(mean - mean.mean(axis=0)), np.linalg.norm(central - central.mean(axis=0)))
    np.testing.assert_allclose(mean_of_maps(np.stack([one, one])), one)
    assert np.isnan(mean_of_maps(np.stack([one, one * np.nan]))).all()


STARTS = [SCHEDULE[0], Stage("pruned", 4, 1e-2, batch_size=64, n_starts=3)]


def test_a_network_of_several_starts_is_the_consensus_of_an_ensemble(fitted, tmp_path):
    data, several = fitted
    model = ensemble(schedule=STARTS, n_networks=1).fit(data.X, data.Y)
    assert model.members_ is None and model.count_trained() == 3
    for name in ("selected_", "gene_norms_", "gene_frequency_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(several, name))
    np.testing.assert_array_equal(model.transform(data.X), several.transform(data.X))
    np.testing.assert_allclose(model.predict(data.X), several.decode_features(several.transform(data.X)), atol=1e-6)
    assert list(model.history_["stage"].unique()) == ["finetuned", "pruned", "consensus"]
    assert model.history_["r2_train"].iloc[-1] == pytest.approx(model.score(data.X, data.Y), abs=1e-5)
    path = PairedModel(model).fit(data).save(tmp_path / "starts.sbnn")
    np.testing.assert_array_equal(load_model(path).estimator_.gene_frequency_, model.gene_frequency_)
    paired = PairedModel(model).fit(data)
    paired.estimator_.set_params(schedule=SCHEDULE)  # what was fitted is saved, whatever the settings are now
    again = load_model(paired.save(tmp_path / "changed.sbnn")).estimator_
    np.testing.assert_array_equal(again.gene_frequency_, model.gene_frequency_)


def test_an_ensemble_chooses_among_its_own_networks(fitted):
    data, several = fitted
    model = ensemble(schedule=[STARTS[0], Stage("pruned", 4, 1e-2, batch_size=64, n_starts=7)]).fit(data.X, data.Y)
    for mine, other in zip(model.members_, several.members_, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_networks_of_several_starts_are_cross_validated_and_stored(small, tmp_path):
    data = small[0]
    model = ensemble(schedule=STARTS, n_networks=1)
    run = {"folds": KFold(2), "progress": False, "store": tmp_path / "store"}
    found = cross_validate(data, {"one": model}, **run)
    scores = found.scores.query("fold == 1").set_index("stage")
    assert list(scores.index) == ["finetuned", "pruned", "consensus"] and list(scores["n_selected"]) == [60, 8, 8]
    test = found.folds[1].test
    assert scores.loc["consensus", "r2_test"] == pytest.approx(
        found.estimators[1].score(data.X[test], data.Y[test]), abs=1e-5
    )
    assert found.models[0]["stages"][-1]["n_starts"] == 3
    again = cross_validate(data, {"one": model}, **run)
    np.testing.assert_array_equal(again.estimators[1].gene_frequency_, found.estimators[1].gene_frequency_)
    other = cross_validate(data, {"one": ensemble(n_networks=1)}, **run)
    assert not np.array_equal(other.estimators[1].selected_, found.estimators[1].selected_)


def test_members_differ_and_the_first_is_the_network_alone_until_genes_are_shared(small):
    data, unpruned = small[0], SCHEDULE[:1]
    alone = SparseBottleneckRegressor(**{**SETTINGS, "schedule": unpruned}).fit(data.X, data.Y)
    model = ensemble(schedule=unpruned).fit(data.X, data.Y)
    for mine, all_of_them in zip(alone.weights_, model.members_, strict=True):
        np.testing.assert_allclose(all_of_them[0], mine, atol=2e-5)
        assert not np.allclose(all_of_them[0], all_of_them[1], atol=1e-2) or not mine.any()
    other = ensemble(schedule=unpruned, random_state=1).fit(data.X, data.Y)
    for first in range(3):
        assert all(not np.allclose(model.members_[0][first], weights) for weights in other.members_[0])


def test_the_genes_are_those_of_the_largest_mean_norm(fitted):
    _, model = fitted
    assert model.selected_.sum() == 8
    assert model.gene_norms_[model.selected_].min() >= model.gene_norms_[~model.selected_].max()
    assert model.gene_frequency_.sum() == pytest.approx(8) and set(np.unique(model.gene_frequency_ * 3).round(9)) <= {
        0,
        1,
        2,
        3,
    }


def test_norms_of_a_network_count_without_their_scale():
    norms = np.array([[3.0, 0.0, 4.0], [100.0, 200.0, 0.0]])
    expected = (norms[0] / np.sqrt(25 / 3) + norms[1] / np.sqrt(50_000 / 3)) / 2
    np.testing.assert_allclose(mean_norms(norms, 2), [expected])
    np.testing.assert_allclose(mean_norms(np.zeros((2, 3)), 2), np.zeros((1, 3)))
    np.testing.assert_allclose(gene_frequency(norms, 1), [0, 0.5, 0.5])
    np.testing.assert_allclose(gene_frequency(np.ones((2, 3)), 2), [1, 1, 0])  # of equal ones, the first
    np.testing.assert_allclose(gene_frequency(norms, None), [1, 1, 1])


def test_maps_are_compared_whatever_their_place_and_scale():
    random = np.random.default_rng(0)
    one = random.standard_normal((50, 2))
    turned = 3 * one @ np.array([[0.0, 1.0], [1.0, 0.0]]) + 5
    other = random.standard_normal((50, 2))
    assert procrustes_r2(one, turned) == pytest.approx(1)
    assert most_central(np.stack([other, one, turned])) == 1  # the first of equal ones
    np.testing.assert_allclose(spread_of_maps(one[:5], turned[None, :5], one, turned[None]), 0, atol=1e-12)
    shifted = turned[:5] + np.array([3.0, 0.0])  # one unit of the consensus, in a map of three times its scale
    np.testing.assert_allclose(spread_of_maps(one[:5], shifted[None], one, turned[None]), 1)


def test_the_spread_says_where_networks_disagree(fitted):
    data, model = fitted
    spread = model.transform_spread(data.X)
    assert spread.shape == (data.n_cells,) and (spread > 0).all()
    far = np.array(data.X[:5])
    far[:, model.selected_] *= 30
    assert model.transform_spread(far).mean() > spread.mean()
    predictions = [one.predict(data.X) for one in members_of(model)]
    np.testing.assert_allclose(model.predict_spread(data.X), np.std(predictions, axis=0), atol=1e-6)
    for method in ("transform_spread", "predict_spread"):
        with pytest.raises(ValueError, match=f"{method} compares networks: fit with n_networks of at least 2"):
            getattr(members_of(model)[0], method)(data.X)


def test_cross_validation_scores_the_mean_wherever_it_runs(small):
    data = small[0]
    run = {"folds": KFold(2), "progress": False}
    found = cross_validate(data, {"three": ensemble(), "one": SparseBottleneckRegressor(**SETTINGS)}, **run)
    scores = found.scores.query("model == 'three' and fold == 1").set_index("stage")
    assert list(scores.index) == ["finetuned", "pruned", "consensus", "ensemble"]
    assert list(scores["n_selected"]) == [60, 8, 8, 8] and set(scores["n_networks"]) == {3}
    model, (train, test) = found.estimators[1], found.folds[1]
    assert scores.loc["ensemble", "r2_test"] == pytest.approx(model.score(data.X[test], data.Y[test]), abs=1e-5)
    assert scores.loc["ensemble", "r2_train"] == pytest.approx(model.score(data.X[train], data.Y[train]), abs=1e-5)
    members = [one.score(data.X[test], data.Y[test]) for one in members_of(model)]
    assert scores.loc["pruned", "r2_test"] == pytest.approx(np.mean(members), abs=1e-5)
    alone = model.decode_features(model.transform(data.X))
    expected = 1 - ((data.Y - alone)[test] ** 2).sum() / ((data.Y[test] - data.Y[train].mean(axis=0)) ** 2).sum()
    assert scores.loc["consensus", "r2_test"] == pytest.approx(expected, abs=1e-5)
    by_feature = found.feature_scores.query("model == 'three' and fold == 1")
    predicted = found.predictions.query("model == 'three' and fold == 1")[data.feature_names].to_numpy()
    centre = data.Y[train].mean(axis=0)
    expected = 1 - ((data.Y[test] - predicted) ** 2).sum(axis=0) / ((data.Y[test] - centre) ** 2).sum(axis=0)
    np.testing.assert_allclose(by_feature["r2_test"], expected, atol=1e-4)
    assert list(final_scores(found.scores)["stage"]) == ["ensemble"] * 2 + ["pruned"] * 2
    again = cross_validate(data, {"three": ensemble()}, n_jobs=1, **run)
    np.testing.assert_allclose(
        again.predictions[data.feature_names],
        found.predictions.query("model == 'three'")[data.feature_names],
        atol=1e-3,
    )


def test_a_single_network_has_the_tables_it_had(small):
    found = cross_validate(small[0], {"one": SparseBottleneckRegressor(**SETTINGS)}, folds=KFold(2), progress=False)
    assert "n_networks" not in found.scores and "n_networks" not in found.models[0]


def test_a_store_gives_the_ensemble_back(small, tmp_path):
    data = small[0]
    run = {"folds": KFold(2), "progress": False, "store": tmp_path / "store"}
    first, again = (cross_validate(data, {"three": ensemble()}, **run) for _ in range(2))
    assert (first.n_fitted, again.n_fitted) == (2, 0)
    for mine, restored in zip(first.estimators, again.estimators, strict=True):
        np.testing.assert_array_equal(restored.predict(data.X), mine.predict(data.X))
        np.testing.assert_array_equal(restored.transform_spread(data.X), mine.transform_spread(data.X))
        np.testing.assert_array_equal(restored.gene_frequency_, mine.gene_frequency_)


def test_a_file_holds_all_networks(small, tmp_path):
    data = small[0]
    model = PairedModel(ensemble()).fit(data)
    loaded = load_model(model.save(tmp_path / "model.sbnn"))
    np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
    X = model.preprocessor_.transform_genes(data.counts)
    in_units = model.preprocessor_.inverse_transform_features(model.estimator_.predict(X))
    np.testing.assert_allclose(model.predict(data), in_units, rtol=1e-5)
    np.testing.assert_array_equal(loaded.transform(data), model.transform(data))
    np.testing.assert_array_equal(loaded.estimator_.transform_spread(X), model.estimator_.transform_spread(X))


def test_missing_values_and_weights_are_taken_as_by_a_single_network(small):
    data = small[0]
    Y = data.Y.copy()
    Y[:20, 0] = np.nan
    weights = np.repeat([0.0, 1.0], [30, data.n_cells - 30])
    model = ensemble().fit(data.X, Y, sample_weight=weights)
    changed = Y.copy()
    changed[:30] = np.where(np.isnan(Y[:30]), np.nan, 7)
    np.testing.assert_allclose(
        ensemble().fit(data.X, changed, sample_weight=weights).predict(data.X), model.predict(data.X)
    )


def test_an_ensemble_one_of_whose_networks_diverges_is_an_error(small):
    data = small[0]
    with pytest.raises(ValueError, match="training diverged"):
        ensemble(schedule=[Stage("finetuned", 4, 1e30)]).fit(data.X, data.Y)


def test_what_is_no_ensemble_is_refused(small):
    with pytest.raises(ValueError, match="n_networks must be at least 1, got 0"):
        ensemble(n_networks=0).fit(small[0].X, small[0].Y)
    with pytest.raises(ValueError, match="n_networks must be 1, got 3"):
        regularisation_path(small[0], ensemble(), [0.1])
