"""Time our stack of networks against a plain Keras `fit` of the same schedule, in one run.

Both train sBNN-2 of the paper on scala_2020 (simulated data of its size if that is missing) and record R2
on training and test cells after every epoch. Plain Keras: one network of Dense layers, compile(jit_compile=True),
frozen layers not trainable, the better of steps_per_execution 1 and one epoch. Epochs are cut to `--epoch-factor`
of the paper's, and the seconds of a full schedule extrapolated stage by stage from the median seconds of an epoch
once compiled; compilation is timed separately.

Usage: python benchmarks/stack_against_fit.py [--epoch-factor 0.4] [--networks 5]
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from sbnn import load_dataset, simulate_patchseq
from sbnn.models.clusters import N_CLUSTERS, cluster_features
from sbnn.models.network import build_network, initial_weights, layer_sizes, network_layers
from sbnn.models.schedules import SCHEDULES
from sbnn.models.tasks import TrainingTask
from sbnn.models.training import train_stack
from sbnn.validation.folds import make_folds

GROUP_LASSO = 0.1


def load():
    """Load the real data set, or simulate one of its size."""
    try:
        return load_dataset("scala_2020")
    except FileNotFoundError as error:
        print(f"{error}\nTiming on simulated data of the same size.")
        return simulate_patchseq(n_cells=1213, n_genes=1000, n_features=16)[0]


def make_tasks(data, n_networks):
    """Make one task per fold."""
    clusters = cluster_features(data.Y, n_init=3)
    folds = make_folds(data)[:n_networks]
    return [
        TrainingTask(fold.train, fold.test, GROUP_LASSO, fold=number, clusters=clusters[fold.train])
        for number, fold in enumerate(folds)
    ]


def epoch_seconds(stamps):
    """Return the median seconds of an epoch, from the third on, when everything has been compiled."""
    return np.median(np.diff(stamps)[1:])


def seconds_an_epoch(stage, stamps):
    """Return the median seconds of an epoch of ours: of the calls into which a stage is divided, without the first."""
    lengths = np.array([records * between for records, between in stage.parts()])
    if len(lengths) < 2:
        raise ValueError(f"stage {stage.name!r} of {stage.epochs} epochs is a single call: nothing is left to time")
    ends = np.array(stamps)[np.cumsum(lengths) - 1]
    return np.median(np.diff(ends) / lengths[1:])


def time_stack(data, tasks, schedule):
    """Return seconds per epoch and network by stage, and seconds in total."""
    stamps = {stage.name: [] for stage in schedule}
    start = time.perf_counter()
    train_stack(data.X, data.Y, tasks, schedule, on_epoch=lambda stage, _: stamps[stage].append(time.perf_counter()))
    total = time.perf_counter() - start
    return {stage.name: seconds_an_epoch(stage, stamps[stage.name]) / len(tasks) for stage in schedule}, total


class EpochR2(keras.callbacks.Callback):
    """Record R2 of plain Keras on training and test cells after every epoch, and the time."""

    def __init__(self, X, Y, n_train, record):
        super().__init__()
        self.X, self.Y, self.n_train, self.record, self.stamps, self.r2 = X, Y, n_train, record, [], []

    def on_epoch_end(self, epoch, logs=None):
        """Predict all cells in one batch, as fast as Keras can."""
        if self.record:
            outputs = np.asarray(self.model.predict_on_batch(self.X))
            for part in (slice(None, self.n_train), slice(self.n_train, None)):
                residual = np.sum((self.Y[part] - outputs[part]) ** 2)
                self.r2.append(1 - residual / np.sum(self.Y[part] ** 2))
        self.stamps.append(time.perf_counter())


def time_plain_fit(data, task, schedule, whole_epochs):
    """Return seconds per epoch by stage for a plain network trained by `Model.fit`."""
    cells = np.concatenate([task.train_cells, task.test_cells])
    n_train = len(task.train_cells)
    X, Y = data.X[cells] - data.X[task.train_cells].mean(0), data.Y[cells] - data.Y[task.train_cells].mean(0)
    weights = None
    seconds = {}
    for stage in schedule:
        pretrain = stage.name == "pretrained"
        inputs = X
        if stage.name == "pruned":
            chosen = np.sort(np.argsort(-np.linalg.norm(weights[0], axis=1))[:25])
            weights[0], inputs = weights[0][chosen], X[:, chosen]
        network = plain_network(inputs.shape[1], data.n_features, stage, weights)
        chosen_cells = task.stage_cells(stage)
        targets = np.eye(N_CLUSTERS, dtype="f4")[task.clusters] if pretrain else Y[:n_train]
        steps = -(-len(chosen_cells) // stage.batch_size)
        network.compile(
            keras.optimizers.Adam(stage.learning_rate, epsilon=1e-7),
            "categorical_crossentropy" if pretrain else "mse",
            jit_compile=True,
            steps_per_execution=steps if whole_epochs else 1,
        )
        record = EpochR2(inputs, Y, n_train, record=not pretrain)
        network.fit(
            inputs[chosen_cells],
            targets[chosen_cells],
            batch_size=stage.batch_size,
            epochs=stage.epochs,
            verbose=0,
            callbacks=[record],
        )
        seconds[stage.name] = epoch_seconds(record.stamps)
        weights = network.get_weights()
    return seconds


def plain_network(n_inputs, n_features, stage, weights):
    """Build the network of a stage with the weights of the previous stage."""
    pretrain = stage.name == "pretrained"
    n_outputs = N_CLUSTERS if pretrain else n_features
    penalty = 0.0 if stage.name == "pruned" else GROUP_LASSO
    layers = network_layers(n_outputs, output_activation="softmax" if pretrain else "linear")
    network = build_network(layers, n_inputs, group_lasso=penalty, ridge=1e-10)
    drawn = [weight[0] for weight in initial_weights(layer_sizes(n_inputs, layers), [np.random.default_rng(0)])]
    if weights is not None:
        drawn[: len(weights) - 2] = weights[:-2]
        if weights[-1].shape == drawn[-1].shape:
            drawn[-2:] = weights[-2:]
    network.set_weights(drawn)
    for layer in network.layers[1:3] if stage.freeze_hidden else []:
        layer.trainable = False
    return network


def main():
    """Print the table and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epoch-factor", type=float, default=0.4)
    parser.add_argument("--networks", type=int, default=5)
    arguments = parser.parse_args()
    data = load()
    full = SCHEDULES["paper"]
    schedule = full.shortened(arguments.epoch_factor)
    if min(stage.epochs for stage in schedule) < 20:
        parser.error("--epoch-factor must leave at least 20 epochs per stage")
    tasks = make_tasks(data, arguments.networks)
    columns = {}
    columns["ours, stacked"], total = time_stack(data, tasks, schedule)
    columns["fit, 1 step"] = time_plain_fit(data, tasks[0], schedule, whole_epochs=False)
    columns["fit, 1 epoch"] = time_plain_fit(data, tasks[0], schedule, whole_epochs=True)
    again, _ = time_stack(data, tasks, schedule)
    columns["ours, again"] = again

    print(f"\n{data.name}: {data.n_cells} cells x {data.n_genes} genes, {len(tasks)} networks, {schedule.name}")
    print(f"{'ms per epoch, network':24s}" + "".join(f"{name:>15s}" for name in columns))
    for stage in full:
        values = "".join(f"{1e3 * seconds[stage.name]:15.1f}" for seconds in columns.values())
        print(f"{stage.name:24s}{values}")
    whole = {name: sum(stage.epochs * seconds[stage.name] for stage in full) for name, seconds in columns.items()}
    print(f"{'s per network, all stages':24s}" + "".join(f"{value:15.1f}" for value in whole.values()))
    compiling = total - sum(stage.epochs * columns["ours, stacked"][stage.name] * len(tasks) for stage in schedule)
    ours = (whole["ours, stacked"] + whole["ours, again"]) / 2
    plain = min(whole["fit, 1 step"], whole["fit, 1 epoch"])
    print(f"compilation of the stack and start: {compiling:.1f} s once per session")
    print(f"ratio to the better plain fit: {plain / ours:.2f}")


if __name__ == "__main__":
    main()
