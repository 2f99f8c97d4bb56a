"""A stack of networks in training: its stages one by one, pruning, branches, and what was recorded."""

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from sbnn.models.backend import ops
from sbnn.models.batches import StageTables, batches_of, cut_into_steps, shuffled_batches, tensors
from sbnn.models.clusters import N_CLUSTERS
from sbnn.models.engine import Dropout, Penalties, StackData, compiled_stack
from sbnn.models.ensembles import mean_norms
from sbnn.models.network import Layer, encoder_of, initial_weights, layer_sizes
from sbnn.models.optimisers import start_state
from sbnn.models.r2 import r2_from_sums
from sbnn.models.schedules import Stage
from sbnn.models.tasks import TrainedNetwork, TrainingTask, pretraining_targets

#: Cells evaluated at once.
EVALUATION_BLOCK = 256
#: Cells averaged at once.
MEAN_BLOCK = 4096
#: Tables are padded to a multiple of so many rows, unless they are large: what is compiled for the cells of one fold
#: then serves another, of a few animals more.
ROWS_AT_ONCE = 128
LARGE_TABLE = 16384


def padded_length(n_rows: int) -> int:
    """Return the number of rows that a table has on the device: a multiple of ROWS_AT_ONCE, unless it is large."""
    return n_rows if n_rows > LARGE_TABLE else -(-n_rows // ROWS_AT_ONCE) * ROWS_AT_ONCE


def pad_rows(table: np.ndarray) -> np.ndarray:
    """Return a table with rows of zeros added up to its `padded_length`."""
    n_missing = padded_length(len(table)) - len(table)
    return np.pad(table, ((0, n_missing), (0, 0))) if n_missing else table


class StageScore(NamedTuple):
    """R2 of every network of a stack at the end of some epochs."""

    stage: str
    epoch: int
    r2_train: np.ndarray
    r2_test: np.ndarray


class StackRun:
    """A stack in training: `step` trains a stage, `keep_largest` prunes, `fork` branches off a copy, `finish` ends.

    Parameters
    ----------
    X, Y : float32 arrays
        As `train_stack` takes them, checked.
    tasks : sequence of TrainingTask
    layers : tuple of Layer
        With a linear output.
    ridge : float
    n_selected : int, optional
        Genes kept by a stage "pruned".
    on_epoch : callable, optional
        See `train_stack`.
    weights : list of arrays, optional
        kernel (M, n_in, n_out) and bias (M, n_out) of each layer to start from; drawn if None.
    centre : bool
        Subtract the means of the training cells.
    hide_zero_genes : bool
        Hide genes whose rows are zero from the networks: along a path of penalties they do not return.
    n_sharing : int
        Networks, one after the other, that keep the same genes when they are pruned.
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        tasks: Sequence[TrainingTask],
        layers: tuple[Layer, ...],
        ridge: float,
        n_selected: int | None = None,
        on_epoch: Callable[[str, np.ndarray | None], object] | None = None,
        weights: Sequence[np.ndarray] | None = None,
        centre: bool = True,
        hide_zero_genes: bool = False,
        n_sharing: int = 1,
    ):
        self.X, self.tasks, self.layers, self.ridge = X, tasks, layers, ridge
        self.n_selected, self.on_epoch = n_selected, on_epoch or (lambda *_: None)
        self.hide_zero_genes, self.n_sharing = hide_zero_genes, n_sharing
        self.n_networks = len(tasks)
        self.observed = np.isfinite(Y).astype(np.float32)
        self.Y = np.nan_to_num(Y)
        # A network's own cells are its training cells followed by its test cells, padded to one length.
        self.n_own = padded_length(max(len(task.train_cells) + len(task.test_cells) for task in tasks))
        own = [np.concatenate([task.train_cells, task.test_cells]).astype(np.int32) for task in tasks]
        self.own_rows = np.stack([np.resize(rows, self.n_own) for rows in own])
        self.train_weights = np.zeros((self.n_networks, self.n_own), dtype=np.float32)
        self.test_weights = np.zeros_like(self.train_weights)
        for network, task in enumerate(tasks):
            n_train = len(task.train_cells)
            self.train_weights[network, :n_train] = 1 if task.cell_weights is None else task.cell_weights
            self.test_weights[network, n_train : n_train + len(task.test_cells)] = 1
        self.x_mean, self.y_mean = self._means(centre)
        self.train_total, self.test_total = (self._totals(w) for w in (self.train_weights, self.test_weights))
        self.generators = [task.generator(0) for task in tasks]
        self.sizes = layer_sizes(X.shape[1], layers)
        # The output layer is drawn when the first stage determines its size.
        self.weights = initial_weights(self.sizes[:-1], self.generators) if weights is None else list(weights)
        self.target = None if weights is None else "features"
        self.selected = np.tile(np.arange(X.shape[1]), (self.n_networks, 1))
        self.norms_before_pruning: np.ndarray | None = None
        self.feature_r2: np.ndarray | None = None
        self.history: list[StageScore] = []
        self.n_epochs = 0
        self.diverged_in = [None] * self.n_networks

    def _means(self, centre):
        """Weighted means of X and of observed Y over the training cells of each network; zeros without centring."""
        if not centre:
            return tuple(np.zeros((self.n_networks, table.shape[1]), dtype=np.float32) for table in (self.X, self.Y))
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

    def step(self, stage: Stage, stream: int, group_lasso: float | None = None) -> StageScore | None:
        """Train a stage: draw a new output layer if the target changes, prune if the stage does so, train its epochs.

        Parameters
        ----------
        stage : Stage
        stream : int
            Gives this step random numbers that differ from those of other steps.
        group_lasso : float, optional
            Penalty of all networks; if None, that of each network's task.

        Returns
        -------
        StageScore or None
            At the end of the stage; None if it does not learn features.
        """
        self._aim_at(stage.target)
        if stage.name == "pruned":
            self.norms_before_pruning = self.gene_norms()
            self.keep_largest(self.n_selected)
        n_frozen = len(encoder_of(self.layers)) - 1 if stage.freeze_hidden else 0
        layers = self._current_layers()
        part = slice(2 * n_frozen, 2 * len(layers))
        stack = compiled_stack(
            layers[n_frozen:],
            self.weights[2 * n_frozen].shape[1],
            self.n_networks,
            penalise_genes=not stage.freeze_hidden and stage.name != "pruned",
            drop_inputs=stage.input_dropout > 0,
            proximal=stage.proximal,
        )
        strengths = [task.group_lasso if group_lasso is None else group_lasso for task in self.tasks]
        state = start_state(stack.weights_for(self.weights[part]), stage.proximal)
        state = self._train_epochs(stage, stream, stack, Penalties(*tensors(strengths, self.ridge)), state)
        self.weights[part] = stack.weights_of(state)
        self._note_divergence(stage, [np.isfinite(weight).reshape(self.n_networks, -1) for weight in self.weights])
        return self.history[-1] if self.target == "features" else None

    def fork(self) -> Self:
        """Return an independent run that continues from here; this one is not changed by it."""
        fork = copy(self)
        for name in ("weights", "history", "diverged_in", "generators"):
            setattr(fork, name, deepcopy(getattr(self, name)) if name == "generators" else list(getattr(self, name)))
        return fork

    def weights_of(self, network: int = 0) -> list[np.ndarray]:
        """Return the weights of one network: kernel and bias of each layer."""
        return [np.array(weight[network]) for weight in self.weights]

    def _train_epochs(self, stage, stream, stack, penalties, state):
        """Train all epochs of a stage, some in each call of the compiled function; return the state at its end."""
        tables = self._tables(stage)
        shuffles = [task.generator(1 + stream) for task in self.tasks]
        dropout = Dropout.at(stage.input_dropout, [task.dropout_seed(1 + stream) for task in self.tasks])
        evaluations = None if self.target != "features" else self._evaluation_batches(tables)
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
        return state

    def _note_divergence(self, stage, finite):
        """Record the stage in which values of a network (arrays of M rows) ceased to be finite."""
        for network in range(self.n_networks):
            if self.diverged_in[network] is None and not all(values[network].all() for values in finite):
                self.diverged_in[network] = stage.name

    def _current_layers(self):
        """Return the layers as currently trained, with the output layer of the target."""
        if self.target == "features":
            return self.layers
        if self.target == "layout":
            return encoder_of(self.layers)
        return (*self.layers[:-1], Layer("output", N_CLUSTERS, "softmax"))

    def _aim_at(self, target):
        """Draw a new output layer after the last hidden layer if the target changes."""
        if target == self.target:
            return
        self.target = target
        if target == "layout":
            return
        sizes = (self.sizes[-2], self._current_layers()[-1].units)
        self.weights[2 * len(self.layers) - 2 :] = initial_weights(sizes, self.generators)

    def gene_norms(self) -> np.ndarray:
        """Return the row norms of the first kernel for all genes, shape (M, n_genes); 0 for genes that are dropped."""
        norms = np.zeros((self.n_networks, self.X.shape[1]), dtype=np.float32)
        np.put_along_axis(norms, self.selected, np.linalg.norm(self.weights[0], axis=2), axis=1)
        return norms

    def keep_largest(self, n_genes: int | None) -> None:
        """Drop all genes but those whose rows of the first kernel have the largest norms (shared: on average)."""
        norms = np.linalg.norm(self.weights[0], axis=2)
        if self.n_sharing > 1:
            norms = np.repeat(mean_norms(norms, self.n_sharing), self.n_sharing, axis=0)
        # Stable sort: among equal norms, the gene that comes first in the table is kept.
        order = np.sort(np.argsort(-norms, axis=1, kind="stable")[:, :n_genes], axis=1)
        self.selected = np.take_along_axis(self.selected, order, axis=1)
        self.weights[0] = np.take_along_axis(self.weights[0], order[:, :, None], axis=1)

    def _tables(self, stage):
        """Put the tables from which the networks gather in this stage on the device."""
        own_positions = np.arange(self.n_networks * self.n_own, dtype=np.int32).reshape(self.n_networks, -1)
        if self.target != "features":
            targets = pretraining_targets(stage, self.tasks, self.n_own)
            target_rows, target_means = own_positions, np.zeros((self.n_networks, targets.shape[1]))
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
        inputs, targets, observed = map(pad_rows, (inputs, targets, observed))
        input_means = self.x_mean if shared else np.zeros((self.n_networks, inputs.shape[1]))
        data = StackData(*tensors(inputs, input_means[:, None], targets, target_means[:, None], observed))
        return StageTables(data, input_rows, target_rows)

    def _frozen_activations(self):
        """Return the activations before the bottleneck for every network's own cells, which do not change."""
        frozen = encoder_of(self.layers)[:-1]
        stack = compiled_stack(frozen, self.weights[0].shape[1], self.n_networks)
        weights = tensors(*stack.weights_for(self.weights[: 2 * len(frozen)]))
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
        return batches_of(tables, order, train_weights, n_steps), cut_into_steps(test_weights, n_steps)

    def _record(self, stage, residuals, n_epochs):
        """Append R2 on training and test cells of every network to the history."""
        if stage.name == "pretrained":
            for _ in range(n_epochs):
                self.on_epoch(stage.name, None)
            return
        self._note_divergence(stage, [np.isfinite(residuals).reshape(self.n_networks, -1)])
        train, test = residuals[:, 0], residuals[:, 1]
        r2_train = r2_from_sums(train.sum(axis=1), self.train_total.sum(axis=1))
        r2_test = r2_from_sums(test.sum(axis=1), self.test_total.sum(axis=1))
        self.feature_r2 = r2_from_sums(test, self.test_total)
        diverged = np.array([one is not None for one in self.diverged_in])
        r2_train[diverged], r2_test[diverged], self.feature_r2[diverged] = np.nan, np.nan, np.nan
        self.n_epochs += n_epochs
        self.history.append(StageScore(stage.name, self.n_epochs, r2_train, r2_test))
        for _ in range(n_epochs - 1):
            self.on_epoch(stage.name, None)
        self.on_epoch(stage.name, np.where(np.isnan(r2_test), r2_train, r2_test))

    def finish(self) -> list[TrainedNetwork]:
        """Return the networks one by one."""
        norms = self.gene_norms() if self.norms_before_pruning is None else self.norms_before_pruning
        return [self._network(network, norms[network]) for network in range(self.n_networks)]

    def _network(self, network, gene_norms):
        """One network of the stack."""
        history = pd.DataFrame(self.history, columns=StageScore._fields)
        selected = np.zeros(self.X.shape[1], dtype=bool)
        selected[self.selected[network]] = True
        return TrainedNetwork(
            weights=self.weights_of(network),
            selected=selected,
            gene_norms=gene_norms,
            x_mean=self.x_mean[network],
            y_mean=self.y_mean[network],
            history=history.assign(**{r2: [values[network] for values in history[r2]] for r2 in history.columns[2:]}),
            feature_r2=self.feature_r2[network],
            diverged_in=self.diverged_in[network],
        )
