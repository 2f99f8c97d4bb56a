"""Train stacks of sparse bottleneck networks through the stages of a schedule."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import check_matrix, check_same_cells
from sbnn.backend import ops
from sbnn.clusters import N_CLUSTERS
from sbnn.compiled import Batches, Dropout, Penalties, StackData, compiled_stack, on_device, start_state
from sbnn.network import initial_weights, layer_activations, layer_sizes
from sbnn.schedules import SCHEDULES, Stage, get_schedule
from sbnn.tasks import TrainedNetwork, TrainingTask

__all__ = ["SCHEDULES", "Stage", "TrainedNetwork", "TrainingTask", "train_stack"]

#: Cells evaluated at once.
EVALUATION_BLOCK = 256
#: Cells averaged at once.
MEAN_BLOCK = 4096


def train_stack(
    X,
    Y,
    tasks,
    schedule="paper",
    bottleneck_dim=2,
    hidden=(512, 128),
    ridge=1e-10,
    n_selected=25,
    on_epoch=None,
):
    """Train M networks at once; what each becomes does not depend on the others.

    Each network minimises, on its own cells, penalty and seed,
    mean (Y - prediction)^2 + group_lasso * sum_i ||W1[i, :]||_2 + ridge * (squares of the other weights).

    Parameters
    ----------
    X : float array, shape (n_cells, n_genes)
        Expression; centred here on the training cells of each network.
    Y : float array, shape (n_cells, n_features)
        Features; centred here; NaN (not measured) is left out of loss and R2.
    tasks : sequence of TrainingTask
        One for each network; their `steps_per_epoch` must agree.
    schedule : str or sequence of Stage
    bottleneck_dim : int
    hidden : tuple of int
    ridge : float
    n_selected : int or None
        Genes kept by the stage "pruned"; None keeps all.
    on_epoch : callable, optional
        Called once an epoch, for some epochs at a time, with (stage name, R2 on test or else training cells of each
        network, None where it is not recorded).

    Returns
    -------
    list of TrainedNetwork
        In the order of `tasks`.

    Raises
    ------
    ValueError
        Where X is not finite, tasks cannot be stacked, or n_selected exceeds the number of genes.

    References
    ----------
    Bernaerts et al., arXiv 2006.10411, section 2.
    """
    X, Y = check_matrix(X, "X", np.float32), check_matrix(Y, "Y", np.float32, allow_nan=True)
    stages = get_schedule(schedule)
    n_selected = X.shape[1] if n_selected is None else n_selected
    check_stack(X, Y, tasks, stages, n_selected)
    run = StackRun(X, Y, tasks, bottleneck_dim, hidden, ridge, n_selected, on_epoch or (lambda *_: None))
    for index, stage in enumerate(stages):
        run.train(stage, index)
    return run.finish()


def check_stack(X, Y, tasks, stages, n_selected):
    """Check that the tasks fit the data and each other."""
    if not tasks:
        raise ValueError("tasks is empty: give at least one TrainingTask")
    check_same_cells(X, Y)
    steps = {task.steps_per_epoch(stages) for task in tasks}
    if len(steps) > 1:
        raise ValueError(f"only networks with equally many steps an epoch can be stacked, got {sorted(steps)}")
    if 0 in next(iter(steps)):
        raise ValueError("a stage is left without training cells: give more cells")
    if any(stage.name == "pruned" for stage in stages) and not 1 <= n_selected <= X.shape[1]:
        raise ValueError(f"n_selected must be between 1 and the {X.shape[1]} genes, got {n_selected}")


class StageTables(NamedTuple):
    """Device tables of a stage, and for each network the row of each of its own cells in them."""

    data: StackData
    input_rows: np.ndarray
    target_rows: np.ndarray


class StackRun:
    """The state that passes from stage to stage: weights and, after pruning, the genes that are left.

    Arguments are those of `train_stack`, checked.
    """

    def __init__(self, X, Y, tasks, bottleneck_dim, hidden, ridge, n_selected, on_epoch):
        self.X, self.tasks, self.hidden, self.ridge = X, tasks, tuple(hidden), ridge
        self.bottleneck_dim, self.n_selected, self.on_epoch = bottleneck_dim, n_selected, on_epoch
        self.n_networks = len(tasks)
        self.observed = np.isfinite(Y).astype(np.float32)
        self.Y = np.nan_to_num(Y)
        # A network's own cells are its training cells followed by its test cells, padded to one length.
        self.n_own = max(len(task.train_cells) + len(task.test_cells) for task in tasks)
        own = [np.concatenate([task.train_cells, task.test_cells]).astype(np.int32) for task in tasks]
        self.own_rows = np.stack([np.resize(rows, self.n_own) for rows in own])
        self.train_weights = np.zeros((self.n_networks, self.n_own), dtype=np.float32)
        self.test_weights = np.zeros_like(self.train_weights)
        for network, task in enumerate(tasks):
            n_train = len(task.train_cells)
            self.train_weights[network, :n_train] = 1 if task.cell_weights is None else task.cell_weights
            self.test_weights[network, n_train : n_train + len(task.test_cells)] = 1
        self.x_mean, self.y_mean = self._means()
        self.train_total, self.test_total = (self._totals(w) for w in (self.train_weights, self.test_weights))
        self.generators = [task.generator(0) for task in tasks]
        self.sizes = layer_sizes(X.shape[1], Y.shape[1], bottleneck_dim, hidden)
        self.weights = initial_weights(self.sizes[:-1], self.generators)
        self.selected = np.tile(np.arange(X.shape[1]), (self.n_networks, 1))
        self.output_kind = None
        self.gene_norms = None
        self.feature_r2 = None
        self.history, self.n_epochs = [], 0
        self.diverged_in = [None] * self.n_networks
        # Along a path of penalties a gene whose row is zero is gone: the networks no longer see it.
        self.hide_zero_genes = False

    def _means(self):
        """Weighted means of X and of observed Y over the training cells of each network."""
        x_means, y_means = [], []
        for network in range(self.n_networks):
            weights, rows = self.train_weights[network], self.own_rows[network]
            train = weights > 0
            weights, rows = weights[train].astype(np.float64), rows[train]
            # In blocks, because the product makes a copy in double precision.
            blocks = [slice(start, start + MEAN_BLOCK) for start in range(0, len(rows), MEAN_BLOCK)]
            x_means.append(sum(weights[block] @ self.X[rows[block]] for block in blocks) / weights.sum())
            observed = weights[:, None] * self.observed[rows]
            y_means.append((observed * self.Y[rows]).sum(axis=0) / np.maximum(observed.sum(axis=0), 1e-12))
        return np.stack(x_means).astype(np.float32), np.stack(y_means).astype(np.float32)

    def _totals(self, cell_weights):
        """Weighted sums of squares (M, n_features) of centred, observed Y."""
        totals = []
        for network in range(self.n_networks):
            rows = self.own_rows[network]
            squares = self.observed[rows] * (self.Y[rows] - self.y_mean[network]).astype(np.float64) ** 2
            totals.append(cell_weights[network].astype(np.float64) @ squares)
        return np.stack(totals)

    def train(self, stage, index):
        """Run one stage: new output where the target changes, prune where the stage says so, then epochs."""
        target = "clusters" if stage.name == "pretrained" else "features"
        if target != self.output_kind:
            self._replace_output(N_CLUSTERS if target == "clusters" else self.Y.shape[1])
            self.output_kind = target
        if stage.name == "pruned":
            self.gene_norms = self.norms()
            self.keep_largest(self.n_selected)
        activations = layer_activations(self.hidden, "softmax" if target == "clusters" else "linear")
        n_frozen = len(self.hidden) if stage.freeze_hidden else 0
        kept = 2 * n_frozen
        stack = compiled_stack(
            self._current_sizes()[n_frozen:],
            activations[n_frozen:],
            self.n_networks,
            penalise_genes=not stage.freeze_hidden and stage.name != "pruned",
            drop_inputs=stage.input_dropout > 0,
            proximal=stage.proximal,
        )
        tables = self._tables(stage, target)
        penalties = Penalties(*tensors([task.group_lasso for task in self.tasks], self.ridge))
        state = start_state(self.weights[kept:], stage.proximal)
        shuffles = [task.generator(1 + index) for task in self.tasks]
        dropout = Dropout.at(stage.input_dropout, [task.dropout_seed(1 + index) for task in self.tasks])
        evaluations = None if target == "clusters" else self._evaluation_batches(tables)
        done = 0
        for n_records, n_between in stage.parts():
            n_epochs = n_records * n_between
            batches = shuffled_batches(self.tasks, stage, tables, shuffles, self.train_weights, n_epochs)
            n_steps = batches.weights.shape[0] // n_epochs
            rates = np.concatenate([stage.learning_rates(done + epoch, n_steps) for epoch in range(n_epochs)])
            residuals = np.zeros((n_records, self.n_networks, 2, tables.data.targets.shape[1]))
            state, residuals = stack.train(
                state, tables.data, batches, penalties, *tensors(rates), dropout, *tensors(residuals), evaluations
            )
            for part in np.asarray(residuals):
                self._record(stage, part, n_between)
            done += n_epochs
        self.weights[kept:] = [np.asarray(weight) for weight in state.weights]
        self._note_divergence(stage, [np.isfinite(weight).reshape(self.n_networks, -1) for weight in self.weights])

    def _note_divergence(self, stage, finite):
        """Remember the stage in which values of a network (arrays of M rows) ceased to be finite."""
        for network in range(self.n_networks):
            if self.diverged_in[network] is None and not all(values[network].all() for values in finite):
                self.diverged_in[network] = stage.name

    def _current_sizes(self):
        """Widths of the layers as the weights have them now."""
        return (self.weights[0].shape[1], *(bias.shape[1] for bias in self.weights[1::2]))

    def _replace_output(self, n_outputs):
        """Put a freshly drawn output layer behind the last hidden layer."""
        n_hidden_layers = 2 * len(self.hidden) + 1
        self.weights[2 * n_hidden_layers :] = initial_weights((self.sizes[-2], n_outputs), self.generators)

    def norms(self):
        """Return the row norms of the first kernel for all genes, shape (M, n_genes); 0 for genes that are dropped."""
        norms = np.zeros((self.n_networks, self.X.shape[1]), dtype=np.float32)
        np.put_along_axis(norms, self.selected, np.linalg.norm(self.weights[0], axis=2), axis=1)
        return norms

    def keep_largest(self, n_genes):
        """Drop all genes but those with the largest row norms of the first kernel."""
        norms = np.linalg.norm(self.weights[0], axis=2)
        # Stable sort: of equal norms the gene that comes first in the table is kept.
        order = np.sort(np.argsort(-norms, axis=1, kind="stable")[:, :n_genes], axis=1)
        self.selected = np.take_along_axis(self.selected, order, axis=1)
        self.weights[0] = np.take_along_axis(self.weights[0], order[:, :, None], axis=1)

    def _tables(self, stage, target):
        """Put on the device what the networks gather from in this stage."""
        own_positions = np.arange(self.n_networks * self.n_own, dtype=np.int32).reshape(self.n_networks, -1)
        if target == "clusters":
            targets = np.zeros((self.n_networks * self.n_own, N_CLUSTERS), dtype=np.float32)
            for network, task in enumerate(self.tasks):
                cells = task.stage_cells(stage)
                targets[own_positions[network, cells], np.asarray(task.clusters)[cells]] = 1
            target_rows, target_means = own_positions, np.zeros((self.n_networks, N_CLUSTERS))
            observed = np.ones_like(targets)
        else:
            targets, target_rows, target_means, observed = self.Y, self.own_rows, self.y_mean, self.observed
        if stage.freeze_hidden:
            inputs, input_rows = self._frozen_activations(), own_positions
        elif self.hide_zero_genes or self.selected.shape[1] < self.X.shape[1]:
            visible = self.weights[0].any(axis=2) | (not self.hide_zero_genes)
            inputs = np.concatenate(
                [
                    (self.X[np.ix_(rows, genes)] - mean[genes]) * seen
                    for rows, genes, mean, seen in zip(self.own_rows, self.selected, self.x_mean, visible, strict=True)
                ]
            )
            input_rows = own_positions
        else:
            inputs, input_rows = self.X, self.own_rows
        shared = inputs is self.X
        input_means = self.x_mean if shared else np.zeros((self.n_networks, inputs.shape[1]))
        data = StackData(*tensors(inputs, input_means[:, None], targets, target_means[:, None], observed))
        return StageTables(data, input_rows, target_rows)

    def _frozen_activations(self):
        """Return the activations before the bottleneck for every network's own cells, which stay as they are."""
        n_frozen = len(self.hidden)
        activations = layer_activations(self.hidden)[:n_frozen]
        stack = compiled_stack(self._current_sizes()[: n_frozen + 1], activations, self.n_networks)
        weights = tensors(*self.weights[: 2 * n_frozen])
        blocks = []
        for start in range(0, self.n_own, EVALUATION_BLOCK):
            rows = self.own_rows[:, start : start + EVALUATION_BLOCK]
            inputs = self.X[rows] - self.x_mean[:, None]
            blocks.append(np.asarray(stack.apply(weights, ops.convert_to_tensor(inputs))))
        activations = np.concatenate(blocks, axis=1)
        return activations.reshape(-1, activations.shape[2])

    def _evaluation_batches(self, tables):
        """All own cells in order, weighted as training cells, and their weights as test cells."""
        n_steps = -(-self.n_own // EVALUATION_BLOCK)
        n_slots = n_steps * EVALUATION_BLOCK if n_steps > 1 else self.n_own
        padding = ((0, 0), (0, n_slots - self.n_own))
        order = np.pad(np.tile(np.arange(self.n_own, dtype=np.int32), (self.n_networks, 1)), padding)
        train_weights, test_weights = np.pad(self.train_weights, padding), np.pad(self.test_weights, padding)
        return _batches(tables, order, train_weights, n_steps), _cut(test_weights, n_steps)

    def _record(self, stage, residuals, n_epochs):
        """Append R2 on training and test cells of every network to the history."""
        if stage.name == "pretrained":
            for _ in range(n_epochs):
                self.on_epoch(stage.name, None)
            return
        self._note_divergence(stage, [np.isfinite(residuals).reshape(self.n_networks, -1)])
        train, test = residuals[:, 0], residuals[:, 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            r2_train = 1 - train.sum(axis=1) / self.train_total.sum(axis=1)
            r2_test = 1 - test.sum(axis=1) / self.test_total.sum(axis=1)
            self.feature_r2 = 1 - test / self.test_total
        diverged = np.array([one is not None for one in self.diverged_in])
        r2_train[diverged], r2_test[diverged], self.feature_r2[diverged] = np.nan, np.nan, np.nan
        self.n_epochs += n_epochs
        self.history.append((stage.name, self.n_epochs, r2_train, r2_test))
        for _ in range(n_epochs - 1):
            self.on_epoch(stage.name, None)
        self.on_epoch(stage.name, np.where(np.isnan(r2_test), r2_train, r2_test))

    def finish(self):
        """Return the networks one by one."""
        if self.gene_norms is None:
            self.gene_norms = self.norms()
        networks = []
        for network in range(self.n_networks):
            history = pd.DataFrame(
                {
                    "stage": [stage for stage, *_ in self.history],
                    "epoch": [epoch for _, epoch, *_ in self.history],
                    "r2_train": [train[network] for *_, train, _ in self.history],
                    "r2_test": [test[network] for *_, test in self.history],
                }
            )
            selected = np.zeros(self.X.shape[1], dtype=bool)
            selected[self.selected[network]] = True
            networks.append(
                TrainedNetwork(
                    weights=[np.array(weight[network]) for weight in self.weights],
                    selected=selected,
                    gene_norms=self.gene_norms[network],
                    x_mean=self.x_mean[network],
                    y_mean=self.y_mean[network],
                    history=history,
                    feature_r2=self.feature_r2[network],
                    diverged_in=self.diverged_in[network],
                )
            )
        return networks


def tensors(*arrays):
    """Put arrays on the device as float32."""
    return tuple(on_device(np.asarray(array, dtype=np.float32)) for array in arrays)


def _cut(array, n_steps):
    """Cut (M, n_steps * batch_size) into steps (n_steps, M, batch_size), on the device."""
    return ops.convert_to_tensor(np.ascontiguousarray(array.reshape(len(array), n_steps, -1).swapaxes(0, 1)))


def _batches(tables, order, weights, n_steps):
    """Translate positions among own cells to rows of the tables, and cut them into steps."""
    return Batches(
        _cut(np.take_along_axis(tables.input_rows, order, axis=1), n_steps),
        _cut(np.take_along_axis(tables.target_rows, order, axis=1), n_steps),
        _cut(weights, n_steps),
    )


def shuffled_batches(tasks, stage, tables, shuffles, train_weights, n_epochs):
    """Shuffle every network's cells for some epochs and cut them into steps; the last of an epoch is padded."""
    cells = [task.stage_cells(stage) for task in tasks]
    n_steps = -(-len(cells[0]) // stage.batch_size)
    order = np.zeros((len(tasks), n_epochs, n_steps * stage.batch_size), dtype=np.int32)
    weights = np.zeros(order.shape, dtype=np.float32)
    for network, (own, shuffle) in enumerate(zip(cells, shuffles, strict=True)):
        for epoch in range(n_epochs):
            shuffled = shuffle.permutation(own)
            order[network, epoch, : len(own)] = shuffled
            weights[network, epoch, : len(own)] = train_weights[network, shuffled]
    order, weights = (array.reshape(len(tasks), -1) for array in (order, weights))
    return _batches(tables, order, weights, n_epochs * n_steps)
