from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from sbnn import SparseBottleneckRegressor, simulate_patchseq
from sbnn.models.clusters import cluster_features, fold_clusters, leave_out_small_clusters
from sbnn.models.devices import on_device
from sbnn.models.engine import Dropout, drop_inputs
from sbnn.models.network import apply_layers, build_network, initial_weights, layer_sizes, network_layers
from sbnn.models.optimisers import adam_step, start_state
from sbnn.models.schedules import SCHEDULES, Schedule, Stage, get_schedule
from sbnn.models.stack_run import pad_rows, padded_length
from sbnn.models.tasks import TrainingTask
from sbnn.models.training import train_numbers, train_stack
from sbnn.validation.folds import Fold, FoldView

ROOT = Path(__file__).parents[2]
HIDDEN = (16, 8)
#: Of networks with six outputs, the features of `small`.
LAYERS = network_layers(6, hidden=HIDDEN)
ONE_EPOCH_EACH = SCHEDULES["paper"].shortened(0.001)


def tasks_of(data, n_networks=3, n_test=30, **settings):
    """Networks with different cells, penalties and seeds."""
    clusters = cluster_features(data.Y, n_init=2)
    tasks = []
    for network in range(n_networks):
        order = np.random.default_rng(network).permutation(data.n_cells)
        train = order[n_test:]
        values = {
            "group_lasso": 0.02 * (network + 1),
            "random_state": network,
            "clusters": clusters[train],
            **settings,
        }
        tasks.append(TrainingTask(train, order[:n_test], fold=network, **values))
    return tasks


def train(data, tasks, schedule=ONE_EPOCH_EACH, **settings):
    return train_stack(data.X, data.Y, tasks, schedule, hidden=HIDDEN, **{"n_selected": 10, **settings})


def test_adam_is_that_of_keras():
    random = np.random.default_rng(0)
    weights = [random.normal(size=shape).astype("float32") for shape in ((4, 3), (3,))]
    variables = [keras.Variable(weight) for weight in weights]
    optimizer = keras.optimizers.Adam(0.01, epsilon=1e-7)
    state = start_state(weights)
    for _ in range(20):
        gradients = [random.normal(size=weight.shape).astype("float32") for weight in weights]
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients], variables)
        state = adam_step(state, [ops.convert_to_tensor(gradient) for gradient in gradients], 0.01)
    for mine, theirs in zip(state.weights, variables, strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), atol=1e-6)


def test_an_epoch_is_that_of_keras_fit(small):
    """The same batches through Model.fit of a plain network of Dense layers lead to the same weights."""
    data, _ = small
    schedule = Schedule("own", [Stage("finetuned", epochs=1, learning_rate=1e-3)])
    task = TrainingTask(np.arange(150), group_lasso=0.05)
    trained = train(data, [task], schedule, ridge=1e-3)[0]

    network = build_network(LAYERS, 60, group_lasso=0.05, ridge=1e-3)
    sizes = layer_sizes(60, LAYERS)
    generator = task.generator(0)
    weights = initial_weights(sizes[:-1], [generator]) + initial_weights(sizes[-2:], [generator])
    network.set_weights([weight[0] for weight in weights])
    network.compile(keras.optimizers.Adam(1e-3), "mse")
    order = task.generator(1).permutation(150)
    X, Y = data.X - data.X.mean(0), data.Y - data.Y.mean(0)
    network.fit(X[order], Y[order], batch_size=32, shuffle=False, verbose=0)
    for mine, theirs in zip(trained.weights, network.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_stack_equals_its_networks_trained_alone(small):
    data, _ = small
    tasks = tasks_of(data)
    together = train(data, tasks)
    for task, stacked in zip(tasks, together, strict=True):
        alone = train(data, [task])[0]
        np.testing.assert_array_equal(stacked.selected, alone.selected)
        for mine, theirs in zip(stacked.weights, alone.weights, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
        np.testing.assert_allclose(stacked.history["r2_test"], alone.history["r2_test"], atol=1e-4)


@pytest.mark.real_data
def test_a_stack_of_the_papers_networks_equals_them_alone(m1):
    tasks = tasks_of(m1, n_networks=3, n_test=121, group_lasso=0.1)
    together = train_stack(m1.X, m1.Y, tasks, ONE_EPOCH_EACH)
    for task, stacked in zip(tasks, together, strict=True):
        alone = train_stack(m1.X, m1.Y, [task], ONE_EPOCH_EACH)[0]
        np.testing.assert_array_equal(stacked.selected, alone.selected)
        for mine, theirs in zip(stacked.weights, alone.weights, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_history_is_r2_of_the_weights_at_the_end_of_each_epoch(small):
    data, _ = small
    task = tasks_of(data, 1)[0]
    for n_epochs in (1, 2):
        schedule = [Stage("finetuned", epochs=n_epochs, learning_rate=1e-3)]
        trained = train(data, [task], schedule)[0]
        outputs = apply_layers(LAYERS, trained.weights, data.X - trained.x_mean)
        for cells, column in ((task.train_cells, "r2_train"), (task.test_cells, "r2_test")):
            truth = data.Y[cells] - trained.y_mean
            expected = 1 - np.sum((truth - outputs[cells]) ** 2) / np.sum(truth**2)
            assert trained.history[column].iloc[-1] == pytest.approx(expected, abs=1e-4)
        assert len(trained.history) == n_epochs


def test_means_are_those_of_the_training_cells(small):
    data, _ = small
    task = tasks_of(data, 1)[0]
    trained = train(data, [task])[0]
    np.testing.assert_allclose(trained.x_mean, data.X[task.train_cells].mean(0), atol=1e-6)
    np.testing.assert_allclose(trained.y_mean, data.Y[task.train_cells].mean(0), atol=1e-6)


def test_frozen_layers_do_not_move_and_the_others_do(small):
    data, _ = small
    tasks = tasks_of(data, 2)
    before = train(data, tasks, [Stage("frozen", epochs=1, learning_rate=1e-12, freeze_hidden=True)])
    after = train(data, tasks, [Stage("frozen", epochs=3, learning_rate=1e-3, freeze_hidden=True)])
    for first, second in zip(before, after, strict=True):
        for index in range(4):
            np.testing.assert_array_equal(first.weights[index], second.weights[index])
        for index in range(4, 12):
            assert np.abs(first.weights[index] - second.weights[index]).max() > 1e-4


def test_cached_activations_change_nothing(small):
    """The frozen stage runs from cached activations: the same as training all layers but the frozen ones."""
    data, _ = small
    task = TrainingTask(np.arange(150), group_lasso=0.0)
    trained = train(data, [task], [Stage("frozen", epochs=1, learning_rate=1e-3, freeze_hidden=True)], ridge=0.0)[0]
    network = build_network(LAYERS, 60)
    sizes, generator = layer_sizes(60, LAYERS), task.generator(0)
    weights = initial_weights(sizes[:-1], [generator]) + initial_weights(sizes[-2:], [generator])
    network.set_weights([weight[0] for weight in weights])
    for name in ("hidden_1", "hidden_2"):
        network.get_layer(name).trainable = False
    network.compile(keras.optimizers.Adam(1e-3), "mse")
    order = task.generator(1).permutation(150)
    X, Y = data.X - data.X.mean(0), data.Y - data.Y.mean(0)
    network.fit(X[order], Y[order], batch_size=32, shuffle=False, verbose=0)
    theirs = {layer.name: layer.get_weights() for layer in network.layers[1:]}
    for index, name in enumerate(["hidden_1", "hidden_2", "bottleneck", "hidden_3", "hidden_4", "output"]):
        np.testing.assert_allclose(trained.weights[2 * index], theirs[name][0], atol=1e-5)
        np.testing.assert_allclose(trained.weights[2 * index + 1], theirs[name][1], atol=1e-5)


def test_pruning_keeps_the_largest_rows_and_equals_setting_the_others_to_zero(small):
    data, _ = small
    task = tasks_of(data, 1)[0]
    stages = [Stage("finetuned", epochs=2, learning_rate=1e-3)]
    full = train(data, [task], stages)[0]
    pruned = train(data, [task], [*stages, Stage("pruned", epochs=1, learning_rate=1e-12)])[0]
    assert pruned.selected.sum() == 10
    assert full.gene_norms[pruned.selected].min() >= full.gene_norms[~pruned.selected].max()
    np.testing.assert_allclose(full.gene_norms, np.linalg.norm(full.weights[0], axis=1), rtol=1e-6)
    emptied = [full.weights[0] * pruned.selected[:, None], *full.weights[1:]]
    np.testing.assert_allclose(
        apply_layers(LAYERS, pruned.weights, (data.X - pruned.x_mean)[:, pruned.selected]),
        apply_layers(LAYERS, emptied, data.X - full.x_mean),
        atol=1e-5,
    )


def test_a_cell_of_weight_two_counts_twice(small):
    """In one batch of everything, weights are repetitions."""
    data, _ = small
    stage = [Stage("finetuned", epochs=1, learning_rate=1e-3, batch_size=200)]
    rows = np.arange(100)
    weighted = train(data, [TrainingTask(rows, cell_weights=np.where(rows < 30, 2.0, 1.0))], stage)[0]
    repeated = train(data, [TrainingTask(np.concatenate([rows, rows[:30]]))], stage)[0]
    for mine, theirs in zip(weighted.weights, repeated.weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_missing_features_are_left_out_of_loss_and_r2(small):
    """A feature that no training cell misses but that is absent elsewhere must not change with the filler."""
    data, _ = small
    Y = data.Y.copy()
    Y[::3, 2] = np.nan
    task = tasks_of(data, 1)[0]
    trained = train_stack(data.X, Y, [task], ONE_EPOCH_EACH, hidden=HIDDEN, n_selected=10)[0]
    np.testing.assert_allclose(trained.y_mean, np.nanmean(Y[task.train_cells], axis=0), atol=1e-5)
    outputs = apply_layers(LAYERS, trained.weights, (data.X - trained.x_mean)[task.test_cells][:, trained.selected])
    truth = Y[task.test_cells] - trained.y_mean
    expected = 1 - np.nansum((truth - outputs) ** 2) / np.nansum(truth**2)
    assert trained.history["r2_test"].iloc[-1] == pytest.approx(expected, abs=1e-4)


def test_cells_outside_a_networks_own_change_nothing(small):
    data, _ = small
    task = TrainingTask(np.arange(100), np.arange(100, 120), clusters=cluster_features(data.Y[:100], n_init=2))
    X, Y = data.X.copy(), data.Y.copy()
    X[120:], Y[120:] = 50, np.nan
    first = train(data, [task])[0]
    second = train_stack(X, Y, [task], ONE_EPOCH_EACH, hidden=HIDDEN, n_selected=10)[0]
    for mine, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_schedules_are_those_of_the_paper():
    paper = {stage.name: (stage.epochs, stage.learning_rate) for stage in SCHEDULES["paper"]}
    expected = {"pretrained": (50, 1e-4), "frozen": (50, 1e-4), "finetuned": (50, 5e-5), "pruned": (100, 5e-5)}
    assert paper == expected
    assert [stage.name for stage in SCHEDULES["paper_no_pretraining"]] == ["finetuned", "pruned"]
    assert [stage.name for stage in SCHEDULES["paper_no_frozen"]] == ["pretrained", "finetuned", "pruned"]
    assert SCHEDULES["paper"].shortened(0.1).stages[3].epochs == 10


def test_steps_of_the_paper():
    task = TrainingTask(np.arange(1092), clusters=np.zeros(1092, dtype=int))
    assert task.steps_per_epoch("paper") == (21, 35, 35, 35)


def test_small_clusters_are_left_out_of_pretraining():
    clusters = leave_out_small_clusters(np.repeat([0, 1, 2], [30, 9, 10]))
    assert (clusters == -1).sum() == 9
    task = TrainingTask(np.arange(49), clusters=clusters)
    chosen = task.stage_cells(SCHEDULES["paper"].stages[0])
    assert len(chosen) == 24 and (clusters[chosen] >= 0).all()


def test_small_clusters_are_kept_in_a_fold_without_test_cells():
    Y = np.random.default_rng(0).normal(size=(200, 3))
    Y[7] = 1000  # a cluster of its own
    everything = Fold(np.arange(200), np.empty(0, dtype=int))
    (kept,) = fold_clusters([FoldView(None, Y, *everything)], n_init=2)
    np.testing.assert_array_equal(kept, cluster_features(Y, n_init=2))
    folds = [Fold(np.arange(150), np.arange(150, 200)), Fold(np.arange(50, 200), np.arange(50))]
    first, second = fold_clusters([FoldView(None, Y, *fold) for fold in folds], n_init=2)
    expected = leave_out_small_clusters(cluster_features(Y, n_init=2))
    assert expected[7] == -1 and kept[7] >= 0
    np.testing.assert_array_equal(first, expected[:150])
    np.testing.assert_array_equal(second, expected[50:])


def test_clusters_are_fewer_for_few_cells_and_take_missing_values(small):
    data, _ = small
    Y = data.Y.copy()
    Y[0, 0] = np.nan
    assert len(np.unique(cluster_features(Y, n_init=1))) == 150 // 20


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "papr",
            "unknown schedule 'papr': expected one of 'fast', 'stable', 'small', 'wide', 'paper', 'paper_no_pre",
        ),
        ([], "needs a sequence of Stage"),
        (["pruned"], "needs a sequence of Stage"),
        ([Stage("pruned", 1, 1e-3), Stage("frozen", 1, 1e-3)], "must come in the order pretrained, frozen"),
        ([Stage("pretrained", 1, 1e-3)], "end on features, got pretrained"),
    ],
)
def test_unknown_schedules_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        get_schedule(name)


def test_unknown_stages_are_refused():
    with pytest.raises(ValueError, match="unknown stage 'tuned': expected one of 'pretrained', 'frozen'"):
        Stage("tuned", 1, 1e-3)
    with pytest.raises(ValueError, match="epochs of stage 'pruned' must be at least 1, got 0"):
        Stage("pruned", 0, 1e-3)


def test_what_cannot_be_trained_is_named(small):
    data, _ = small
    task = tasks_of(data, 1)[0]
    with pytest.raises(ValueError, match="n_selected must be between 1 and the 60 genes, got 61"):
        train(data, [task], n_selected=61)
    with pytest.raises(ValueError, match="only networks with the same number of steps per epoch can be stacked"):
        train(data, [task, TrainingTask(np.arange(20), clusters=np.zeros(20, dtype=int))])
    with pytest.raises(ValueError, match="pre-trains on clusters, but the task has none"):
        train(data, [TrainingTask(np.arange(100))])
    with pytest.raises(ValueError, match="tasks is empty"):
        train(data, [])
    with pytest.raises(ValueError, match="X holds 1 NaN or infinite"):
        X = data.X.copy()
        X[0, 0] = np.nan
        train_stack(X, data.Y, [task])


def test_planted_genes_are_found():
    data, truth = simulate_patchseq(n_cells=400, n_genes=120, n_informative=10, random_state=2)
    schedule = Schedule(
        "own",
        [
            Stage("finetuned", epochs=40, learning_rate=2e-3),
            Stage("pruned", epochs=20, learning_rate=1e-3),
        ],
    )
    model = SparseBottleneckRegressor(group_lasso=0.02, n_selected=10, hidden=(64, 32), schedule=schedule)
    model.fit(data.X[:320], data.Y[:320], validation_data=(data.X[320:], data.Y[320:]))
    assert truth.informative[model.selected_].sum() >= 8
    assert model.history_["r2_test"].iloc[-1] > 0.5


def test_learning_rates_fall_along_half_a_cosine():
    stage = Stage("finetuned", epochs=4, learning_rate=0.1, decay="cosine")
    rates = np.concatenate([stage.learning_rates(epoch, 5) for epoch in range(4)])
    np.testing.assert_allclose(rates, 0.1 * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2)
    assert (Stage("finetuned", 4, 0.1).learning_rates(2, 5) == 0.1).all()


@pytest.mark.parametrize(
    ("epochs", "every", "parts"),
    [
        (100, 1, [(10, 1)] * 10),
        (14, 1, [(7, 1)] * 2),
        (1, 1, [(1, 1)]),
        (20, 5, [(2, 5)] * 2),
        (23, 10, [(1, 10)] * 2 + [(1, 3)]),
        (3, 5, [(1, 3)]),
    ],
)
def test_a_stage_is_cut_into_equal_calls(epochs, every, parts):
    stage = Stage("finetuned", epochs, 1e-3, evaluate_every=every)
    assert stage.parts() == parts
    assert sum(records * between for records, between in parts) == epochs


def test_recording_less_often_changes_nothing_else(small):
    data, _ = small
    tasks = tasks_of(data, 2)
    every, third = (
        train(data, tasks, [Stage("finetuned", epochs=7, learning_rate=1e-3, evaluate_every=number)])
        for number in (1, 3)
    )
    for often, seldom in zip(every, third, strict=True):
        for mine, theirs in zip(often.weights, seldom.weights, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)
        assert seldom.history["epoch"].tolist() == [3, 6, 7]
        kept = often.history.set_index("epoch").loc[[3, 6, 7], "r2_test"]
        np.testing.assert_allclose(seldom.history["r2_test"], kept, atol=1e-5)


def test_every_epoch_is_announced(small):
    data, _ = small
    seen = []
    clusters = tasks_of(data, 1)
    stages = [
        Stage("pretrained", 3, 1e-3, cluster_starts=2),
        Stage("finetuned", 7, 1e-3, evaluate_every=3),
        Stage("pruned", 2, 1e-3),
    ]
    train(data, clusters, stages, on_epoch=lambda stage, r2: seen.append((stage, r2 is not None)))
    assert [stage for stage, _ in seen] == ["pretrained"] * 3 + ["finetuned"] * 7 + ["pruned"] * 2
    assert sum(known for stage, known in seen if stage == "finetuned") == 3


def dropped(shape, step, rate=0.4, seeds=(1, 2)):
    inputs = ops.ones((len(seeds), *shape))
    mask = drop_inputs(inputs, ops.convert_to_tensor(np.float32(step)), Dropout.at(rate, seeds))
    return np.asarray(mask)


def test_dropped_inputs_are_random_and_the_others_scaled_up():
    first, second = dropped((64, 500), 0), dropped((64, 500), 1)
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.6], rtol=1e-6)
    for masks in (first, second):
        np.testing.assert_allclose((masks > 0).mean(axis=(1, 2)), 0.6, atol=0.01)
        assert (masks > 0).mean(axis=1).std() == pytest.approx(np.sqrt(0.24 / 64), rel=0.15)  # genes
        assert (masks > 0).mean(axis=2).std() == pytest.approx(np.sqrt(0.24 / 500), rel=0.3)  # cells
    pairs = [(first[0], first[1]), (first[0], second[0]), (first[0, 1:], first[0, :-1])]
    pairs.append((first[0, :, 1:], first[0, :, :-1]))
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(dropped((64, 500), 0, seeds=(2,))[0], first[1])


def test_genes_are_dropped_in_training_only(small):
    data, _ = small
    task = TrainingTask(np.arange(100), np.arange(100, 150), group_lasso=0.0)
    stages = {rate: [Stage("finetuned", 30, 5e-3, input_dropout=rate)] for rate in (0.0, 0.5)}
    plain, noisy = (train(data, [task], stages[rate])[0].history.iloc[-1] for rate in (0.0, 0.5))
    assert noisy["r2_train"] < plain["r2_train"] - 0.02  # it cannot learn the training cells by heart
    with pytest.raises(ValueError, match=r"needs input_dropout in \[0, 1\), and 0 where it freezes"):
        Stage("frozen", 1, 1e-3, freeze_hidden=True, input_dropout=0.1)
    with pytest.raises(ValueError, match="evaluate_every of stage 'pruned' must be at least 1, got 0"):
        Stage("pruned", 1, 1e-3, evaluate_every=0)


def test_the_fast_schedule_is_made_of_settings_that_were_tried():
    """The committed trials hold every setting of it; R2 there is that of held-out training cells."""
    trials = pd.read_csv(ROOT / "benchmarks/fast_schedule_trials.csv")
    stages = {stage.name: stage for stage in SCHEDULES["fast"]}
    assert {stage.learning_rate for stage in stages.values()} == {1e-3}
    settings = {
        "bottleneck_dim": 2,
        "group_lasso": SparseBottleneckRegressor().group_lasso,
        "batch_size": stages["finetuned"].batch_size,
        "pretrain_epochs": stages["pretrained"].epochs,
        "pretrain_dropout": stages["pretrained"].input_dropout,
        "frozen_epochs": stages["frozen"].epochs,
        "finetune_epochs": stages["finetuned"].epochs,
        "dropout": stages["finetuned"].input_dropout,
        "prune_epochs": stages["pruned"].epochs,
        "prune_dropout": stages["pruned"].input_dropout,
    }
    row = trials[(trials[list(settings)] == pd.Series(settings)).all(axis=1)]
    assert len(row) == 1
    alike = trials[trials["bottleneck_dim"] == 2]["r2_25_genes"]
    assert row["r2_25_genes"].item() > alike.max() - 0.005


@pytest.mark.parametrize("shape", [(7, 3), (1000, 3), (5, 0), ()])
def test_arrays_come_to_the_device_as_they_are(shape):
    array = np.random.default_rng(0).standard_normal((*shape, 2)).astype(np.float32)[..., 0]
    tensor = on_device(array)
    assert tuple(tensor.shape) == shape
    np.testing.assert_array_equal(np.asarray(tensor), array)
    copy = array.copy()
    array[...] = 0
    np.testing.assert_array_equal(np.asarray(tensor), copy)


def test_means_are_those_of_all_blocks(small, monkeypatch):
    data, _ = small
    tasks = tasks_of(data, 1, cell_weights=np.linspace(0.5, 2, 120))
    whole = train(data, tasks)[0].x_mean
    monkeypatch.setattr("sbnn.models.stack_run.MEAN_BLOCK", 33)
    np.testing.assert_allclose(train(data, tasks)[0].x_mean, whole, atol=1e-6)


def test_a_network_that_diverges_says_so_and_leaves_the_others_as_they_are(small):
    data, _ = small
    tasks = [TrainingTask(np.arange(100), np.arange(100, 150), group_lasso=strength) for strength in (0.01, 1e38, 0.1)]
    stages = [Stage("finetuned", 4, 1e-3), Stage("pruned", 2, 1e-3)]
    with np.errstate(all="ignore"):
        first, diverged, last = train(data, tasks, stages)
    assert diverged.diverged_in == "finetuned" and diverged.history[["r2_train", "r2_test"]].isna().all(axis=None)
    assert np.isnan(diverged.feature_r2).all()
    for trained, task in ((first, tasks[0]), (last, tasks[2])):
        (alone,) = train(data, [task], stages)
        assert trained.diverged_in is None and np.isfinite(trained.history["r2_test"]).all()
        np.testing.assert_allclose(trained.history["r2_test"], alone.history["r2_test"], atol=1e-4)


@pytest.mark.parametrize("n_networks", [1, 2])
@pytest.mark.parametrize("stages", [("pretrained", "finetuned", "pruned"), ("finetuned",)])
def test_networks_pruned_to_several_numbers_are_those_of_each_number(small, stages, n_networks):
    data = small[0]
    schedule = Schedule("short", [stage for stage in ONE_EPOCH_EACH if stage.name in stages])
    settings = {"schedule": schedule, "hidden": HIDDEN, "n_networks": n_networks}
    tasks, numbers = tasks_of(data, 2), (7, None, 3)
    counted = []
    together = train_numbers(
        data.X, data.Y, tasks, numbers, **settings, on_epoch=lambda stage, _: counted.append(stage)
    )
    for number, networks in zip(numbers, together, strict=True):
        alone = train_stack(data.X, data.Y, tasks, n_selected=number, **settings)
        for one, other in zip(networks, alone, strict=True):
            for mine, theirs in zip(
                (*one.weights, *(one.members or ())), (*other.weights, *(other.members or ())), strict=True
            ):
                np.testing.assert_array_equal(mine, theirs)
            np.testing.assert_array_equal(one.selected, other.selected)
            np.testing.assert_array_equal(one.gene_norms, other.gene_norms)
            pd.testing.assert_frame_equal(one.history, other.history)
    assert len(counted) == len(stages) - 1 + len(numbers)  # what comes before is trained once


def test_padded_tables_train_the_same_network(small):
    """What is compiled for the cells of one fold serves another with a few more; no bit depends on the padding."""
    data, settings = small[0], {"schedule": SCHEDULES["fast"].shortened(0.02), "hidden": (5, 3), "n_selected": 7}
    weights = {}
    for n_cells in (140, 150):  # 128 < n <= 256
        task = TrainingTask(np.arange(30, 130), np.arange(30), group_lasso=0.05, clusters=np.arange(100) % 5)
        weights[n_cells] = train_stack(data.X[:n_cells], data.Y[:n_cells], [task], **settings)[0].weights
    for one, other in zip(*weights.values(), strict=True):
        np.testing.assert_array_equal(one, other)
    lengths = [padded_length(n_rows) for n_rows in (1, 128, 129, 1075, 1102, 16384, 16385)]
    assert lengths == [128, 128, 256, 1152, 1152, 16384, 16385]
    assert pad_rows(data.X).shape == (256, 60) and not pad_rows(data.X)[150:].any()
