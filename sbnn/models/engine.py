"""The compiled part: epochs of a whole stack as one function.

The functions are pure (weights in, weights out), built from a Keras model's `stateless_call`, so that TensorFlow
(XLA) and JAX run the same code. On the paper's network an epoch compiled as a whole takes about two thirds of
the time of `Model.fit` (see benchmarks/).
"""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import compress
from threading import Lock
from typing import NamedTuple, Self

import numpy as np

from sbnn._hints import Tensor
from sbnn.models.backend import ops
from sbnn.models.devices import backend_tools
from sbnn.models.network import GroupLassoRidge, Layer, build_network, penalised_weights
from sbnn.models.optimisers import OptimiserState, adam_step, proximal_step


class StackData(NamedTuple):
    """Tables on the device from which the cells of every network are gathered by row.

    Attributes
    ----------
    inputs : (n_rows, n_inputs) tensor
    input_means : (M, 1, n_inputs) tensor, subtracted after gathering
    targets : (n_target_rows, n_outputs) tensor, zero where not observed
    target_means : (M, 1, n_outputs) tensor
    observed : (n_target_rows, n_outputs) tensor of 0 and 1
    """

    inputs: Tensor
    input_means: Tensor
    targets: Tensor
    target_means: Tensor
    observed: Tensor


class Batches(NamedTuple):
    """Which rows each network sees in each step; weight 0 marks padding.

    Attributes
    ----------
    input_rows, target_rows : (n_steps, M, batch_size) int tensors
    weights : (n_steps, M, batch_size) tensor
    """

    input_rows: Tensor
    target_rows: Tensor
    weights: Tensor


class Dropout(NamedTuple):
    """Which inputs are set to zero in a step: those whose hash of seed, step and position is below the threshold.

    Attributes
    ----------
    seeds : (M,) uint32 tensor
    threshold : uint32 scalar tensor, 2^32 times the rate
    scale : scalar tensor, 1 / (1 - rate)
    """

    seeds: Tensor
    threshold: Tensor
    scale: Tensor

    @classmethod
    def at(cls, rate: float, seeds: Sequence[int]) -> Self:
        """Return the tensors for a rate and the seeds of all networks."""
        threshold = np.uint32(min(round(rate * 2**32), 2**32 - 1))
        return cls(
            seeds=ops.convert_to_tensor(np.asarray(seeds, np.uint32)),
            threshold=ops.convert_to_tensor(threshold),
            scale=ops.convert_to_tensor(np.float32(1 / (1 - rate))),
        )


class Penalties(NamedTuple):
    """Strengths: group lasso of each network (M,), and ridge."""

    group_lasso: Tensor
    ridge: Tensor


class CompiledStack:
    """Compiled training, evaluation and application of M networks with the same layers.

    Parameters
    ----------
    layers : tuple of Layer
        With a softmax at the end the loss is the cross-entropy.
    n_inputs : int
        Columns of the first layer's inputs.
    n_networks : int
        M.
    penalise_genes : bool
        Whether the rows of the first layer are genes under group lasso.
    drop_inputs : bool
        Whether inputs are dropped in training.
    proximal : bool
        Whether the group lasso acts through its proximal map, which makes rows exactly zero, rather than its gradient.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        n_inputs: int,
        n_networks: int,
        penalise_genes: bool,
        drop_inputs: bool = False,
        proximal: bool = False,
    ):
        # Products of matrices are faster than those of a stack of one (by a fifth for a pruned network).
        self.alone = n_networks == 1
        self.model = build_network(layers, n_inputs, None if self.alone else n_networks, for_training=True)
        self.layers = layers
        self.classify = layers[-1].activation == "softmax"
        self.penalise_genes, self.drop_inputs, self.proximal = penalise_genes, drop_inputs, proximal
        tools = backend_tools()
        self._gradient = tools.gradient(self._loss)
        self.train = tools.jit(self._train)
        self.apply = tools.jit(self._apply)
        self._take = tools.take

    def weights_for(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return weights as the layers take them: without the axis of networks if M is 1.

        Parameters
        ----------
        weights : sequence of arrays
            kernel (M, n_in, n_out) and bias (M, n_out) of each layer.

        Returns
        -------
        list of arrays
            The same; if M is 1, (n_in, n_out) and (n_out,).
        """
        return [np.asarray(weight, np.float32)[0] for weight in weights] if self.alone else list(weights)

    def weights_of(self, state: OptimiserState) -> list[np.ndarray]:
        """Return the weights of a state.

        Parameters
        ----------
        state : OptimiserState

        Returns
        -------
        list of arrays
            kernel (M, n_in, n_out) and bias (M, n_out) of each layer, also if M is 1.
        """
        weights = [np.asarray(weight) for weight in state.weights]
        return [weight[None] for weight in weights] if self.alone else weights

    def _apply(self, weights, inputs):
        """Return outputs (M, n_cells, n_outputs) of inputs (M, n_cells, n_inputs)."""
        if self.alone:
            return self.model.stateless_call(list(weights), [], inputs[0])[0][None]
        return self.model.stateless_call(list(weights), [], inputs)[0]

    def _gather(self, data, batches, step):
        """Return inputs, targets, and weights of observed targets of one step."""
        rows = self._take(batches.target_rows, step)
        inputs = self._take(data.inputs, self._take(batches.input_rows, step)) - data.input_means
        targets = self._take(data.targets, rows) - data.target_means
        cell_weights = ops.expand_dims(self._take(batches.weights, step), axis=-1)
        return inputs, targets, cell_weights * self._take(data.observed, rows)

    def _loss(self, weights, inputs, targets, target_weights, penalties):
        """Sum over networks of weighted mean error and penalties."""
        outputs = self._apply(weights, inputs)
        if self.classify:
            errors = -targets * ops.log(ops.maximum(outputs, 1e-7))
            # One error per cell, spread over its classes: count each cell once.
            n_observed = ops.sum(target_weights[:, :, 0], axis=1)
        else:
            errors = ops.square(targets - outputs)
            n_observed = ops.sum(target_weights, axis=(1, 2))
        total = ops.sum(errors * target_weights, axis=(1, 2))
        return ops.sum(total / ops.maximum(n_observed, 1e-12)) + self._penalty(weights, penalties)

    def _penalty(self, weights, penalties):
        """Sum of the penalties that act through their gradient."""
        group_lasso = penalties.group_lasso if self.penalise_genes and not self.proximal else None
        penalised = compress(weights, penalised_weights(self.layers))
        return GroupLassoRidge(group_lasso, penalties.ridge)(*penalised)

    def _train(self, state, data, batches, penalties, learning_rates, dropout, residuals, evaluation):
        """Take steps of Adam through all batches, in equal parts with an evaluation after each.

        Returns the new state, and `residuals` (n_parts, M, 2, n_outputs), passed in as zeros and filled by `_residuals`
        of `evaluation` (its batches and test weights; None leaves them zero).
        """
        n_steps = batches.weights.shape[0] // residuals.shape[0]

        def step(index, state):
            inputs, *targets = self._gather(data, batches, index)
            if self.drop_inputs:
                inputs = drop_inputs(inputs, state.step, dropout)
            gradients = self._gradient(list(state.weights), inputs, *targets, penalties)
            rate = self._take(learning_rates, index)
            if self.proximal:
                return proximal_step(state, gradients, rate, penalties.group_lasso)
            return adam_step(state, gradients, rate)

        def part(index, carried):
            state, residuals = carried
            state = ops.fori_loop(index * n_steps, (index + 1) * n_steps, step, state)
            if evaluation is not None:
                found = self._residuals(state.weights, data, *evaluation)
                residuals = ops.slice_update(residuals, (index, 0, 0, 0), found[None])
            return state, residuals

        return ops.fori_loop(0, residuals.shape[0], part, (state, residuals))

    def _residuals(self, weights, data, batches, test_weights):
        """Weighted sums of squared errors (M, 2, n_outputs): with the weights of the batches, and those of the test."""

        def step(index, total):
            inputs, targets, train = self._gather(data, batches, index)
            observed = self._take(data.observed, self._take(batches.target_rows, index))
            test = observed * ops.expand_dims(self._take(test_weights, index), axis=-1)
            errors = ops.square(targets - self._apply(weights, inputs))
            return total + ops.stack([ops.sum(errors * train, axis=1), ops.sum(errors * test, axis=1)], axis=1)

        start = ops.zeros((batches.weights.shape[1], 2, data.targets.shape[1]), dtype="float32")
        return ops.fori_loop(0, batches.weights.shape[0], step, start)


def drop_inputs(inputs: Tensor, step: Tensor, dropout: Dropout) -> Tensor:
    """Set inputs to zero at random and scale up the others.

    The random numbers are a hash of the position and the step ("lowbias32", C. Wellons 2018), so that those of a
    network do not depend on its stack, on the backend or on the device.

    Parameters
    ----------
    inputs : tensor, shape (M, n_cells, n_inputs)
    step : scalar tensor
        Number of the step.
    dropout : Dropout
    """
    n_cells, n_inputs = inputs.shape[1:]

    def constant(value):
        return ops.convert_to_tensor(np.uint32(value))

    def mixed(bits):
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            bits = ops.bitwise_xor(bits, ops.right_shift(bits, constant(shift))) * constant(factor)
        return ops.bitwise_xor(bits, ops.right_shift(bits, constant(16)))

    streams = mixed(dropout.seeds + mixed(ops.cast(step, "uint32") + constant(1)))
    places = ops.cast(ops.reshape(ops.arange(n_cells * n_inputs), (1, n_cells, n_inputs)), "uint32")
    hashed = mixed(ops.bitwise_xor(places * constant(0x9E3779B9), ops.reshape(streams, (-1, 1, 1))))
    return ops.where(hashed >= dropout.threshold, inputs * dropout.scale, ops.zeros_like(inputs))


#: Builds a stack, once per session for each combination of arguments.
_build = lru_cache(maxsize=32)(CompiledStack)
#: One lock for each of these combinations.
_locks: dict[tuple[Hashable, ...], Lock] = {}


def compiled_stack(
    layers: tuple[Layer, ...],
    n_inputs: int,
    n_networks: int,
    penalise_genes: bool = True,
    drop_inputs: bool = False,
    proximal: bool = False,
) -> CompiledStack:
    """Return the compiled functions for these layers, the same object whenever and in whatever thread they are needed.

    Parameters
    ----------
    layers, n_inputs, n_networks, penalise_genes, drop_inputs, proximal
        See `CompiledStack`.

    Returns
    -------
    CompiledStack
    """
    arguments = layers, n_inputs, n_networks, penalise_genes, drop_inputs, proximal
    with _locks.setdefault(arguments, Lock()):  # lru_cache alone lets two threads build (and compile) the same stack
        return _build(*arguments)
