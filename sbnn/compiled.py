"""Epochs of a whole stack as one compiled function: the only place that knows the backends apart.

The functions are pure (weights in, weights out), built from a Keras model's `stateless_call`, so that TensorFlow
(XLA) and JAX run the same code. On the paper's network an epoch compiled as a whole takes about two thirds of
the time of `Model.fit` (see benchmarks/).
"""

import logging
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from sbnn.backend import keras, ops
from sbnn.network import StackedDense, group_lasso_penalty

#: Bytes that an accelerator is taken to have where the backend does not say.
UNKNOWN_MEMORY = 8 * 2**30
#: Adam's constants.
FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-7


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

    inputs: object
    input_means: object
    targets: object
    target_means: object
    observed: object


class Batches(NamedTuple):
    """Which rows each network sees in each step; weight 0 marks padding.

    Attributes
    ----------
    input_rows, target_rows : (n_steps, M, batch_size) int tensors
    weights : (n_steps, M, batch_size) tensor
    """

    input_rows: object
    target_rows: object
    weights: object


class Dropout(NamedTuple):
    """Which inputs are set to zero in a step: a hash of seed, step and place below the threshold.

    Attributes
    ----------
    seeds : (M,) uint32 tensor
    threshold : uint32 scalar tensor, 2^32 times the rate
    scale : scalar tensor, 1 / (1 - rate)
    """

    seeds: object
    threshold: object
    scale: object

    @classmethod
    def at(cls, rate, seeds):
        """Return the tensors for a rate and a seed for each network."""
        threshold = np.uint32(min(round(rate * 2**32), 2**32 - 1))
        return cls(
            *(ops.convert_to_tensor(value) for value in (np.asarray(seeds, np.uint32), threshold)),
            ops.convert_to_tensor(np.float32(1 / (1 - rate))),
        )


class OptimiserState(NamedTuple):
    """Weights and Adam's two moments, each a tuple of tensors, and the number of steps taken."""

    weights: tuple
    first: tuple
    second: tuple
    step: object


class Penalties(NamedTuple):
    """Strengths: group lasso of each network (M,), and ridge."""

    group_lasso: object
    ridge: object


class _BackendTools(NamedTuple):
    """What differs between backends.

    Attributes
    ----------
    jit : callable
        Compiles a function.
    gradient : callable
        Turns a function of weights into that of its gradient.
    sum_rows : callable
        Sums along the last axis.
    take_over : callable
        Makes a tensor of an aligned array on the CPU without a copy.
    """

    jit: object
    gradient: object
    sum_rows: object
    take_over: object


@lru_cache(maxsize=1)
def _backend_tools():
    """Return the tools of the current backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Every shape of stack is compiled once, on purpose: TensorFlow's advice against it would fill notebooks.
        logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in record.getMessage())

        def gradient(function):
            def compute(weights, *arguments):
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    loss = function(weights, *arguments)
                return tape.gradient(loss, weights)

            return compute

        # TensorFlow's XLA does not vectorise a sum along the last axis; as a matrix product it takes a third.
        return _BackendTools(
            jit=lambda function: tf.function(function, jit_compile=True, autograph=False),
            gradient=gradient,
            sum_rows=lambda values: ops.matmul(values, ops.ones((values.shape[-1], 1), values.dtype))[..., 0],
            take_over=lambda array: tf.experimental.dlpack.from_dlpack(array.__dlpack__()),
        )
    if keras.backend.backend() == "jax":
        import jax

        return _BackendTools(
            jit=jax.jit,
            gradient=jax.grad,
            sum_rows=lambda values: ops.sum(values, axis=-1),
            take_over=lambda array: jax.device_put(array, may_alias=True),
        )
    raise RuntimeError(f"Keras runs on {keras.backend.backend()!r}; sbnn trains with tensorflow or jax")


def on_device(array):
    """Return an array as a tensor, at the price of one copy; both backends by themselves make two of a large one."""
    if accelerator_memory() is not None or not array.size:
        return ops.convert_to_tensor(array)
    # Memory that starts at a multiple of 64 bytes is taken over as it is.
    memory = np.empty(array.nbytes + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    aligned = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    aligned[...] = array
    return _backend_tools().take_over(aligned)


def accelerator_memory():
    """Return the bytes that may be filled on the GPU (or TPU) of the backend; None where it computes on the CPU."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "cpu":
            return None
        numbers = device.memory_stats() or {}
        return numbers.get("bytes_limit", UNKNOWN_MEMORY) - numbers.get("bytes_in_use", 0)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return UNKNOWN_MEMORY if tf.config.list_physical_devices("GPU") else None
    return None


def _elu(values):
    """ELU without expm1, which costs a twentieth of a pruned network's step; the difference is below 1e-7."""
    return ops.where(values > 0, values, ops.exp(ops.minimum(values, 0)) - 1)


class CompiledStack:
    """Compiled training, evaluation and application of M networks with the same layers.

    Parameters
    ----------
    sizes : tuple of int
        Widths of the layers, input first.
    activations : tuple of str
        Activation of each layer; a softmax at the end makes the loss a cross-entropy.
    n_networks : int
        M.
    penalise_genes : bool
        Whether the first layer is the one whose rows are genes under group lasso.
    drop_inputs : bool
        Whether inputs are dropped in training.
    proximal : bool
        Whether the group lasso acts through its proximal map, which makes rows exactly zero, instead of its gradient.
    """

    def __init__(self, sizes, activations, n_networks, penalise_genes, drop_inputs=False, proximal=False):
        # Products of two axes are faster than a stack of one (a pruned network: by a fifth).
        self.alone = n_networks == 1
        # The weights come with each call: none are drawn for the layers.
        layer = partial(keras.layers.Dense, kernel_initializer="zeros") if self.alone else StackedDense
        inputs = keras.Input(batch_shape=(None, sizes[0]) if self.alone else (n_networks, None, sizes[0]))
        outputs = inputs
        for units, activation in zip(sizes[1:], activations, strict=True):
            outputs = layer(units, activation=_elu if activation == "elu" else activation)(outputs)
        self.model = keras.Model(inputs, outputs)
        self.classify = activations[-1] == "softmax"
        self.penalise_genes, self.drop_inputs, self.proximal = penalise_genes, drop_inputs, proximal
        tools = _backend_tools()
        self._gradient = tools.gradient(self._loss)
        self._sum_rows = tools.sum_rows
        self.train = tools.jit(self._train)
        self.apply = tools.jit(self._apply)

    def _apply(self, weights, inputs):
        """Return outputs (M, n_cells, n_outputs) of inputs (M, n_cells, n_inputs)."""
        if self.alone:
            return self.model.stateless_call([weight[0] for weight in weights], [], inputs[0])[0][None]
        return self.model.stateless_call(list(weights), [], inputs)[0]

    def _gather(self, data, batches, step):
        """Return inputs, targets, and weights of observed targets of one step."""
        rows = ops.take(batches.target_rows, step, axis=0)
        inputs = ops.take(data.inputs, ops.take(batches.input_rows, step, axis=0), axis=0) - data.input_means
        targets = ops.take(data.targets, rows, axis=0) - data.target_means
        cell_weights = ops.expand_dims(ops.take(batches.weights, step, axis=0), axis=-1)
        return inputs, targets, cell_weights * ops.take(data.observed, rows, axis=0)

    def _loss(self, weights, inputs, targets, target_weights, penalties):
        """Sum over networks of weighted mean error and penalties."""
        outputs = self._apply(weights, inputs)
        if self.classify:
            errors = -targets * ops.log(ops.maximum(outputs, 1e-7))
            # One error a cell, spread over its classes: count each cell once.
            n_observed = ops.sum(target_weights[:, :, 0], axis=1)
        else:
            errors = ops.square(targets - outputs)
            n_observed = ops.sum(target_weights, axis=(1, 2))
        total = ops.sum(errors * target_weights, axis=(1, 2))
        return ops.sum(total / ops.maximum(n_observed, 1e-12)) + self._penalty(weights, penalties)

    def _penalty(self, weights, penalties):
        """Group lasso on the genes, ridge on everything but the bias of a linear output."""
        ridged = weights if self.classify else weights[:-1]
        penalty = penalties.ridge * sum(ops.sum(ops.square(weight)) for weight in ridged)
        if self.penalise_genes and not self.proximal:
            penalty = penalty + group_lasso_penalty(weights[0], penalties.group_lasso, self._sum_rows)
        return penalty

    def _train(self, state, data, batches, penalties, learning_rates, dropout, residuals, evaluation):
        """Take steps of Adam through all batches, in equal parts with an evaluation behind each.

        Returns the new state, and `residuals` (n_parts, M, 2, n_outputs), given as zeros, filled by `_residuals` of
        `evaluation` (its batches and test weights; None leaves them zero).
        """
        n_steps = batches.weights.shape[0] // residuals.shape[0]

        def step(index, state):
            inputs, *targets = self._gather(data, batches, index)
            if self.drop_inputs:
                inputs = drop_inputs(inputs, state.step, dropout)
            gradients = self._gradient(list(state.weights), inputs, *targets, penalties)
            rate = ops.take(learning_rates, index)
            if self.proximal:
                return proximal_step(state, gradients, rate, penalties.group_lasso, self._sum_rows)
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
        """Weighted sums of squared errors (M, 2, n_outputs): with the weights of the batches, and of the test."""

        def step(index, total):
            inputs, targets, train = self._gather(data, batches, index)
            observed = ops.take(data.observed, ops.take(batches.target_rows, index, axis=0), axis=0)
            test = observed * ops.expand_dims(ops.take(test_weights, index, axis=0), axis=-1)
            errors = ops.square(targets - self._apply(weights, inputs))
            return total + ops.stack([ops.sum(errors * train, axis=1), ops.sum(errors * test, axis=1)], axis=1)

        start = ops.zeros((batches.weights.shape[1], 2, data.targets.shape[1]), dtype="float32")
        return ops.fori_loop(0, batches.weights.shape[0], step, start)


def drop_inputs(inputs, step, dropout):
    """Set inputs to zero at random and scale the others up.

    The random numbers are a hash of the place and the step ("lowbias32", C. Wellons 2018), so that a network's do not
    depend on its stack, on the backend or on the device.

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


def adam_step(state, gradients, learning_rate):
    """Return the state after one step of Adam (Kingma & Ba 2015), with the constants of Keras.

    Keras's own optimiser offers no pure function under TensorFlow, so the update is written out here; the tests
    hold it against `keras.optimizers.Adam`. A second moment with one column belongs to whole rows: it is the mean of
    the squares.
    """
    step = state.step + 1
    corrected = _second_corrected(learning_rate, step) / (1 - ops.power(FIRST_DECAY, step))
    first = [m + (1 - FIRST_DECAY) * (g - m) for m, g in zip(state.first, gradients, strict=True)]
    squares = [
        ops.square(g) if g.shape == v.shape else ops.mean(ops.square(g), axis=-1, keepdims=True)
        for v, g in zip(state.second, gradients, strict=True)
    ]
    second = [v + (1 - SECOND_DECAY) * (square - v) for v, square in zip(state.second, squares, strict=True)]
    weights = [
        weight - corrected * m / (ops.sqrt(v) + EPSILON)
        for weight, m, v in zip(state.weights, first, second, strict=True)
    ]
    return OptimiserState(tuple(weights), tuple(first), tuple(second), step)


def _second_corrected(learning_rate, step):
    """Learning rate with Adam's correction for a second moment that starts at zero."""
    return learning_rate * ops.sqrt(1 - ops.power(SECOND_DECAY, step))


def proximal_step(state, gradients, learning_rate, group_lasso, sum_rows):
    """Return the state after one step of Adam and the proximal map of the group lasso on the first kernel.

    The first kernel has one step size s_i for each row (gene), so that the map is that of the penalty itself: a row of
    norm r is multiplied by max(0, 1 - s_i * group_lasso / r), and is exactly zero where the gradient cannot hold it.

    Parameters
    ----------
    state : OptimiserState
        From `start_state(weights, proximal=True)`.
    gradients : list of tensors
        Of the loss without the group lasso.
    learning_rate : scalar tensor
    group_lasso : tensor, shape (M,)
    sum_rows : callable
        Sums along the last axis.

    Returns
    -------
    OptimiserState

    References
    ----------
    Parikh & Boyd 2014, Proximal algorithms, section 6.5.4.
    """
    state = adam_step(state, gradients, learning_rate)
    sizes = _second_corrected(learning_rate, state.step) / (ops.sqrt(state.second[0]) + EPSILON)
    kernel = state.weights[0]
    norms = ops.expand_dims(ops.sqrt(sum_rows(ops.square(kernel))), axis=-1)
    shrinkage = 1 - sizes * ops.reshape(group_lasso, (-1, 1, 1)) / ops.maximum(norms, 1e-30)
    return state._replace(weights=(kernel * ops.maximum(shrinkage, 0), *state.weights[1:]))


def start_state(weights, proximal=False):
    """Return a fresh optimiser state around arrays of weights, for `adam_step` or `proximal_step`."""
    weights = tuple(ops.convert_to_tensor(weight, dtype="float32") for weight in weights)
    zeros = tuple(ops.zeros_like(weight) for weight in weights)
    second = (zeros[0][..., :1], *zeros[1:]) if proximal else zeros
    return OptimiserState(weights, zeros, second, ops.convert_to_tensor(np.float32(0)))


@lru_cache(maxsize=32)
def compiled_stack(sizes, activations, n_networks, penalise_genes=True, drop_inputs=False, proximal=False):
    """Return the compiled functions for these layers, compiling them once a session."""
    return CompiledStack(sizes, activations, n_networks, penalise_genes, drop_inputs, proximal)
