"""One step of training, written out because Keras's optimisers offer no pure function under TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sbnn._hints import Tensor
from sbnn.models.backend import ops
from sbnn.models.network import row_norms

#: Adam's constants.
FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-7


class OptimiserState(NamedTuple):
    """Weights and Adam's two moments, each a tuple of tensors, and the number of steps taken."""

    weights: tuple[Tensor, ...]
    first: tuple[Tensor, ...]
    second: tuple[Tensor, ...]
    step: Tensor


def adam_step(state: OptimiserState, gradients: Sequence[Tensor], learning_rate: Tensor) -> OptimiserState:
    """Return the state after one step of Adam (Kingma & Ba 2015), with the constants of Keras.

    The tests compare it with `keras.optimizers.Adam`. A second moment with one column is shared by whole rows: it is
    the mean of the squares.
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


def proximal_step(
    state: OptimiserState, gradients: Sequence[Tensor], learning_rate: Tensor, group_lasso: Tensor
) -> OptimiserState:
    """Return the state after one step of Adam and the proximal map of the group lasso on the first kernel.

    The first kernel has one step size s_i for each row (gene), so that the map is that of the penalty itself: a row of
    norm r is multiplied by max(0, 1 - s_i * group_lasso / r), and becomes exactly zero where the gradient is too weak.

    Parameters
    ----------
    state : OptimiserState
        From `start_state(weights, proximal=True)`.
    gradients : list of tensors
        Of the loss without the group lasso.
    learning_rate : scalar tensor
    group_lasso : tensor, shape (M,)
        For kernels (M, n_genes, n_units); for one kernel without the axis of networks, shape (1,).

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
    norms = ops.expand_dims(row_norms(kernel), axis=-1)
    strengths = ops.reshape(group_lasso, (-1, *(1,) * (len(kernel.shape) - 1)))
    shrinkage = 1 - sizes * strengths / norms
    return state._replace(weights=(kernel * ops.maximum(shrinkage, 0), *state.weights[1:]))


def start_state(weights: Sequence[np.ndarray], proximal: bool = False) -> OptimiserState:
    """Return a fresh optimiser state for arrays of weights, for `adam_step` or `proximal_step`."""
    weights = tuple(ops.convert_to_tensor(weight, dtype="float32") for weight in weights)
    zeros = tuple(ops.zeros_like(weight) for weight in weights)
    second = (zeros[0][..., :1], *zeros[1:]) if proximal else zeros
    return OptimiserState(weights, zeros, second, ops.convert_to_tensor(np.float32(0)))
