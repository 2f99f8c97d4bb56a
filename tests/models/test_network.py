import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.base import clone

from sbnn import SparseBottleneckRegressor
from sbnn.models import engine
from sbnn.models import network as definition
from sbnn.models.network import (
    GroupLassoRidge,
    Layer,
    StackedDense,
    apply_layers,
    build_network,
    initial_weights,
    layer_sizes,
    network_layers,
)
from sbnn.models.schedules import Stage

HIDDEN = (7, 5)


def drawn(sizes, n_networks=3):
    return initial_weights(sizes, [np.random.default_rng(seed) for seed in range(n_networks)])


def test_penalty_is_one_line_of_numpy():
    kernel = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    expected = 0.3 * np.sqrt((kernel**2).sum(1)).sum() + 0.02 * (kernel**2).sum()
    assert float(GroupLassoRidge(0.3, 0.02)(kernel)) == pytest.approx(expected, rel=1e-5)


def test_penalty_of_a_stack_is_the_sum_over_networks():
    kernels = np.random.default_rng(0).normal(size=(3, 20, 6)).astype("float32")
    strengths = [0.1, 0.5, 2.0]
    expected = sum(float(GroupLassoRidge(s, 0.1)(k)) for s, k in zip(strengths, kernels, strict=True))
    assert float(GroupLassoRidge(strengths, 0.1)(kernels)) == pytest.approx(expected, rel=1e-5)


def test_one_unit_makes_group_lasso_the_lasso():
    kernel = np.random.default_rng(0).normal(size=(20, 1)).astype("float32")
    assert float(GroupLassoRidge(0.3)(kernel)) == pytest.approx(0.3 * np.abs(kernel).sum(), rel=1e-5)


def test_a_row_of_zeros_has_a_finite_gradient():
    from sbnn.models.devices import backend_tools

    gradient = backend_tools().gradient
    kernel = ops.convert_to_tensor(np.array([[0.0, 0.0], [3.0, 4.0]], dtype="float32"))
    value = gradient(lambda weights: GroupLassoRidge(2.0)(weights[0]))([kernel])[0]
    np.testing.assert_allclose(np.asarray(value), [[0, 0], [1.2, 1.6]], atol=1e-6)


def test_penalty_survives_its_config_and_refuses_negative_strengths():
    again = GroupLassoRidge.from_config(GroupLassoRidge([0.1, 0.2], 0.3).get_config())
    np.testing.assert_allclose(again.group_lasso, [0.1, 0.2])
    assert again.ridge == 0.3
    with pytest.raises(ValueError, match="penalties must not be negative, got group_lasso=-1"):
        GroupLassoRidge(-1)


def test_network_has_the_papers_layers():
    network = build_network(network_layers(16), 1000, group_lasso=0.1, ridge=1e-10)
    assert [layer.name for layer in network.layers] == [
        "genes", "hidden_1", "hidden_2", "bottleneck", "hidden_3", "hidden_4", "output",
    ]  # fmt: skip
    assert [layer.units for layer in network.layers[1:]] == [512, 128, 2, 128, 512, 16]
    activations = [layer.activation.__name__ for layer in network.layers[1:]]
    assert activations == ["elu", "elu", "linear", "elu", "elu", "linear"]
    assert network.get_layer("output").bias_regularizer is None
    classifier = build_network(network_layers(4, output_activation="softmax"), 10, group_lasso=0.1, ridge=1e-10)
    assert classifier.get_layer("output").bias_regularizer is not None
    assert not build_network(network_layers(16), 1000).losses  # what readers save brings no penalty along


def test_a_stack_is_its_networks_side_by_side():
    layers = network_layers(4, hidden=HIDDEN)
    weights = drawn(layer_sizes(11, layers))
    stack = build_network(layers, 11, n_networks=3, group_lasso=0.1, ridge=1e-3)
    stack.set_weights(weights)
    inputs = np.random.default_rng(9).normal(size=(3, 8, 11)).astype("float32")
    outputs = np.asarray(stack(inputs))
    for network in range(3):
        single = build_network(layers, 11)
        own = [weight[network] for weight in weights]
        single.set_weights(own)
        np.testing.assert_allclose(outputs[network], np.asarray(single(inputs[network])), atol=1e-5)
        np.testing.assert_allclose(outputs[network], apply_layers(layers, own, inputs[network]), atol=1e-5)
    assert float(sum(stack.losses)) > 0


def test_stacked_dense_matches_numpy():
    layer = StackedDense(4, activation="elu")
    inputs = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    layer.build(inputs.shape)
    kernel, bias = np.random.default_rng(1).normal(size=(2, 3, 4)), np.random.default_rng(2).normal(size=(2, 4))
    layer.set_weights([kernel, bias])
    linear = inputs @ kernel + bias[:, None]
    np.testing.assert_allclose(np.asarray(layer(inputs)), np.where(linear > 0, linear, np.expm1(linear)), atol=1e-5)


def test_initial_weights_are_glorot_uniform_and_belong_to_the_network():
    kernel, bias = drawn((300, 200), 2)
    assert np.abs(kernel).max() <= np.sqrt(6 / 500) and kernel.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    assert not bias.any()
    alone = initial_weights((300, 200), [np.random.default_rng(1)])[0]
    np.testing.assert_array_equal(kernel[1], alone[0])


@pytest.mark.parametrize("n_networks", [None, 2])
def test_saved_networks_load_in_a_new_process_without_custom_objects(tmp_path, n_networks):
    layers = network_layers(3, hidden=HIDDEN)
    network = build_network(layers, 6, n_networks=n_networks)
    weights = drawn(layer_sizes(6, layers), n_networks or 1)
    network.set_weights(weights if n_networks else [weight[0] for weight in weights])
    inputs = np.random.default_rng(0).normal(size=(n_networks or 1, 4, 6)).astype("float32")
    inputs = inputs if n_networks else inputs[0]
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "inputs.npy", inputs)
    code = (
        "import sys, numpy, keras, sbnn.models.network\n"
        "network = keras.models.load_model('network.keras')\n"
        "numpy.save('outputs.npy', numpy.asarray(network(numpy.load('inputs.npy'))))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), np.asarray(network(inputs)), atol=1e-6)
    assert keras.models.load_model(tmp_path / "network.keras").count_params() == network.count_params()


@pytest.fixture(scope="module")
def before(small):
    """A network with the activation as it is."""
    data, _ = small
    stages = [Stage("finetuned", 1, 1e-3), Stage("pruned", 1, 1e-3)]
    return SparseBottleneckRegressor(hidden=HIDDEN, n_selected=10, schedule=stages).fit(data.X, data.Y)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_activation_stands_in_one_place(monkeypatch, small, before, activation):
    """Changed there, it changes what is trained, what NumPy predicts, and the exported model."""
    data, _ = small
    monkeypatch.setattr(definition, "HIDDEN_ACTIVATION", activation)
    after = clone(before).fit(data.X, data.Y)
    assert np.abs(after.gene_norms_ - before.gene_norms_).max() > 1e-4
    names = [layer.activation.__name__ for layer in after.network_.layers[1:]]
    assert names == [activation] * 2 + ["linear"] + [activation] * 2 + ["linear"]
    selected = data.X[:, after.selected_]
    np.testing.assert_allclose(np.asarray(after.network_(selected)), after.predict(data.X), atol=1e-4)
    # The R2 that training recorded is that of these predictions.
    residual = np.sum((data.Y - after.predict(data.X)) ** 2) / np.sum((data.Y - data.Y.mean(0)) ** 2)
    assert after.history_["r2_train"].iloc[-1] == pytest.approx(1 - residual, abs=1e-4)


def test_the_penalty_stands_in_one_place(monkeypatch, small):
    """Changed there, it changes what is trained."""
    data, _ = small
    settings = {"hidden": HIDDEN, "schedule": [Stage("finetuned", 2, 1e-2)], "group_lasso": 1.0}
    before = SparseBottleneckRegressor(**settings).fit(data.X, data.Y)
    engine._build.cache_clear()
    monkeypatch.setattr(GroupLassoRidge, "__call__", lambda self, kernel, *others: ops.sum(0 * kernel))
    after = SparseBottleneckRegressor(**settings).fit(data.X, data.Y)
    engine._build.cache_clear()
    assert after.gene_norms_.sum() > 1.05 * before.gene_norms_.sum()


def test_layers_and_penalties_are_constructed_in_one_file():
    folder = Path(definition.__file__).parents[1]
    for what in (r"layers\.Dense\(|StackedDense\(|keras\.layers\.", r"GroupLassoRidge\([^)]*ridge\b|regularizers\."):
        places = {path.name for path in folder.rglob("*.py") if re.search(what, path.read_text())}
        assert places <= {"network.py", "engine.py"} and "network.py" in places


def test_threads_that_need_the_same_stack_build_it_once(monkeypatch):
    """And stacks of other layers at the same time."""
    engine._build.cache_clear()
    build, built, both = engine.build_network, [], Barrier(2)

    def slowly(layers, *arguments, **settings):
        built.append(layers)
        both.wait(20)  # a thread that had to wait for another stack would not get here
        return build(layers, *arguments, **settings)

    monkeypatch.setattr(engine, "build_network", slowly)
    stacks = [(Layer("output", units, "linear"),) for units in (3, 5)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda layers: engine.compiled_stack(layers, 4, 1), stacks * 3))
    assert sorted(built) == stacks
    assert found[::2] == [found[0]] * 3 and found[1::2] == [found[1]] * 3 and found[0] is not found[1]
    engine._build.cache_clear()
