import keras
import numpy as np
import pytest
from sklearn.base import clone

from sbnn import SparseBottleneckRegressor
from sbnn.models.schedules import SCHEDULES

SHORT = SCHEDULES["paper"].shortened(0.02)


def make(**settings):
    return SparseBottleneckRegressor(**{"hidden": (16, 8), "n_selected": 10, "schedule": SHORT, **settings})


@pytest.fixture(scope="module")
def fitted(small):
    data, _ = small
    return make().fit(data.X[:120], data.Y[:120], validation_data=(data.X[120:], data.Y[120:]))


def test_prediction_is_decoded_latent(small, fitted):
    data, _ = small
    Z = fitted.transform(data.X)
    assert Z.shape == (150, 2)
    np.testing.assert_allclose(fitted.predict(data.X), fitted.decode_features(Z), atol=1e-6)
    assert fitted.predict(data.X).shape == data.Y.shape


def test_score_is_that_of_the_last_epoch(small, fitted):
    data, _ = small
    last = fitted.history_.iloc[-1]
    assert fitted.score(data.X[120:], data.Y[120:]) == pytest.approx(last["r2_test"], abs=1e-4)
    assert fitted.score(data.X[:120], data.Y[:120]) == pytest.approx(last["r2_train"], abs=1e-4)


def test_keras_network_takes_selected_genes_and_predicts_the_same(small, fitted, tmp_path):
    data, _ = small
    fitted.network_.save(tmp_path / "network.keras")
    network = keras.models.load_model(tmp_path / "network.keras")
    outputs = np.asarray(network(data.X[:, fitted.selected_]))
    np.testing.assert_allclose(outputs, fitted.predict(data.X), atol=1e-5)


def test_validation_cells_take_no_part_in_training(small, fitted):
    data, _ = small
    without = make().fit(data.X[:120], data.Y[:120])
    np.testing.assert_allclose(without.predict(data.X), fitted.predict(data.X), atol=1e-5)
    assert without.history_["r2_test"].isna().all()


def test_is_deterministic_for_a_seed_and_clones(small, fitted):
    data, _ = small
    again = clone(fitted).fit(data.X[:120], data.Y[:120])
    np.testing.assert_allclose(again.predict(data.X), fitted.predict(data.X), atol=1e-5)
    other = clone(fitted).set_params(random_state=1).fit(data.X[:120], data.Y[:120])
    assert np.abs(other.predict(data.X) - fitted.predict(data.X)).max() > 1e-3


def test_gene_decoder_learns_the_selected_genes(small):
    data, _ = small
    model = make(schedule=SCHEDULES["paper_no_pretraining"].shortened(0.3), group_lasso=0.01).fit(data.X, data.Y)
    genes = model.decode_genes(model.transform(data.X))
    truth = data.X[:, model.selected_]
    assert genes.shape == truth.shape
    assert np.sum((truth - genes) ** 2) < np.sum((truth - truth.mean(0)) ** 2)


def test_history_names_the_stages(fitted):
    assert fitted.history_["stage"].tolist() == ["frozen", "finetuned", "pruned", "pruned"]
    assert fitted.history_["epoch"].tolist() == [1, 2, 3, 4]


def test_bad_input_is_named(small, fitted):
    data, _ = small
    with pytest.raises(ValueError, match="X has 59 features, but SparseBottleneckRegressor is expecting 60"):
        fitted.predict(data.X[:, 1:])
    with pytest.raises(ValueError, match="X holds 150 NaN or infinite"):
        make().fit(np.where(np.arange(60) == 3, np.inf, data.X), data.Y)
    with pytest.raises(ValueError, match="n_selected must be between 1 and the 60 genes, got 100"):
        make(n_selected=100).fit(data.X, data.Y)
    with pytest.raises(ValueError, match="unknown schedule 'fats'"):
        make(schedule="fats").fit(data.X, data.Y)
    with pytest.raises(ValueError, match="X and Y must have the same cells, got 150 and 149"):
        make().fit(data.X, data.Y[1:])
    with pytest.raises(
        ValueError, match=r"sample_weight must have one entry per cell, shape \(150,\), got shape \(3,\)"
    ):
        make().fit(data.X, data.Y, sample_weight=[1, 2, 3])
    with pytest.raises(ValueError, match="validation_data should have 60 genes and 6 features"):
        make().fit(data.X, data.Y, validation_data=(data.X[:, 1:], data.Y))
    with pytest.raises(ValueError, match="group_lasso must be finite and at least 0, got -1"):
        make(group_lasso=-1).fit(data.X, data.Y)


def test_without_a_number_all_genes_are_kept(small):
    data, _ = small
    assert make(n_selected=None).fit(data.X, data.Y).selected_.all()


def test_the_hidden_layers_may_be_of_any_number(small):
    data, _ = small
    model = make(hidden=(8,)).fit(data.X, data.Y)
    assert [weight.shape[-1] for weight in model.weights_[::2]] == [8, 2, 8, 6]


@pytest.mark.parametrize("hidden", [(16, 8), (8,)])
def test_settings_changed_after_the_fit_change_no_prediction(small, hidden):
    data, _ = small
    model = make(hidden=hidden).fit(data.X, data.Y)
    before = model.predict(data.X)
    model.set_params(hidden=(4, 4, 4, 4), bottleneck_dim=5)
    np.testing.assert_array_equal(model.predict(data.X), before)
    Z = model.transform(data.X)
    assert Z.shape == (150, 2) and list(model.get_feature_names_out()) == ["z1", "z2"]
    assert model.decode_genes(Z).shape == (150, 10)
    assert np.asarray(model.network_(data.X[:, model.selected_])).shape == data.Y.shape
