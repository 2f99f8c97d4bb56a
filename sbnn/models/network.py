"""The sparse bottleneck network: the single definition of its layers, activations, penalties and initial weights.

Training (`sbnn.models.engine`), prediction in NumPy (`apply_layers`) and the Keras model for users
(`build_network`) are made from the layers that `network_layers` lists.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sbnn._hints import Tensor
from sbnn.models.backend import keras, ops

#: Activation of the hidden layers; the bottleneck and the output are linear.
HIDDEN_ACTIVATION = "elu"


class Layer(NamedTuple):
    """One dense layer: activation(inputs @ kernel + bias).

    Attributes
    ----------
    name : str
        hidden_1, hidden_2, bottleneck, hidden_3, hidden_4, output.
    units : int
        Number of outputs.
    activation : str
        Its name in Keras.
    """

    name: str
    units: int
    activation: str


def network_layers(
    n_outputs: int, bottleneck_dim: int = 2, hidden: Sequence[int] = (512, 128), output_activation: str = "linear"
) -> tuple[Layer, ...]:
    """List the layers: genes -> hidden -> bottleneck -> hidden, mirrored -> output.

    Parameters
    ----------
    n_outputs : int
        Number of features or clusters.
    bottleneck_dim : int
        Dimension of the latent space (2, or 64 in the paper's comparison).
    hidden : tuple of int
        Widths of the layers before the bottleneck, mirrored after it.
    output_activation : {"linear", "softmax"}
        "linear" for features, "softmax" for the clusters of pre-training.

    Returns
    -------
    tuple of Layer

    References
    ----------
    Bernaerts et al., arXiv 2006.10411, section 2.
    """
    before = [Layer(f"hidden_{place + 1}", units, HIDDEN_ACTIVATION) for place, units in enumerate(hidden)]
    behind = [
        Layer(f"hidden_{place + 1 + len(hidden)}", units, HIDDEN_ACTIVATION)
        for place, units in enumerate(reversed(hidden))
    ]
    bottleneck, output = Layer("bottleneck", bottleneck_dim, "linear"), Layer("output", n_outputs, output_activation)
    return (*before, bottleneck, *behind, output)


def encoder_of(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the layers from genes to the bottleneck, inclusive."""
    return layers[: _bottleneck_place(layers) + 1]


def decoder_of(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the layers after the bottleneck."""
    return layers[_bottleneck_place(layers) + 1 :]


def _bottleneck_place(layers):
    return [layer.name for layer in layers].index("bottleneck")


def layer_sizes(n_inputs: int, layers: Sequence[Layer]) -> tuple[int, ...]:
    """Return the widths of input and layers, shape (n_layers + 1,)."""
    return (n_inputs, *(layer.units for layer in layers))


def activate(name: str, values: np.ndarray | Tensor, namespace: ModuleType) -> np.ndarray | Tensor:
    """Apply an activation to a NumPy array or a tensor of the backend.

    Parameters
    ----------
    name : str
        Its name in Keras.
    values : array or tensor
    namespace : module
        numpy or keras.ops.
    """
    if name == "linear":
        return values
    if name == "elu":  # without expm1, which takes a twentieth of a pruned network's step; differs by less than 1e-7
        return namespace.where(values > 0, values, namespace.exp(namespace.minimum(values, 0)) - 1)
    return keras.activations.get(name)(values)


def apply_layers(layers: Sequence[Layer], weights: Sequence[np.ndarray], inputs: npt.ArrayLike) -> np.ndarray:
    """Apply the layers of one network to cells, in double precision and without the backend.

    Parameters
    ----------
    layers : sequence of Layer
    weights : list of arrays
        kernel (n_in, n_out) and bias (n_out,) of each layer in turn.
    inputs : array, shape (n_cells, n_in)

    Returns
    -------
    float64 array, shape (n_cells, n_out)
    """
    outputs = np.asarray(inputs, dtype=np.float64)
    for layer, kernel, bias in zip(layers, weights[::2], weights[1::2], strict=True):
        outputs = outputs @ np.asarray(kernel, dtype=np.float64) + bias
        outputs = np.asarray(activate(layer.activation, outputs, np))
    return outputs


def row_norms(kernel: Tensor) -> Tensor:
    """Return the Euclidean norms of the rows (genes) of kernels (..., n_inputs, n_units), at least 1e-15."""
    squares = ops.square(kernel)
    # As a matrix product, in a third of the time: TensorFlow's XLA does not vectorise a sum along the last axis.
    squared_norms = ops.matmul(squares, ops.ones((kernel.shape[-1], 1), kernel.dtype))[..., 0]
    return ops.sqrt(ops.maximum(squared_norms, 1e-30))


@keras.saving.register_keras_serializable(package="sbnn")
class GroupLassoRidge(keras.regularizers.Regularizer):
    r"""Penalty that switches off whole rows of a kernel (genes), with a small ridge penalty.

    .. math:: \lambda \sum_i \|W_{i\cdot}\|_2 + \rho \sum_{ij} W_{ij}^2

    Its gradient is zero where a row is exactly zero.

    Parameters
    ----------
    group_lasso : float, or sequence or tensor with one value for each network of a stack
        Not negative; None for ridge only.
    ridge : float or scalar tensor
        Not negative.

    Raises
    ------
    ValueError
        A strength is negative.
    """

    def __init__(self, group_lasso: float | Sequence[float] | Tensor | None = 0.0, ridge: float | Tensor = 0.0):
        for strength in (group_lasso, ridge):
            if not (strength is None or ops.is_tensor(strength)) and (np.asarray(strength) < 0).any():
                raise ValueError(f"penalties must not be negative, got group_lasso={group_lasso}, ridge={ridge}")
        self.group_lasso, self.ridge = group_lasso, ridge

    def __call__(self, kernel: Tensor, *others: Tensor) -> Tensor:
        """Return the penalty of kernels (..., n_inputs, n_units) and of `others` (ridge only), summed over networks."""
        penalty = self.ridge * sum(ops.sum(ops.square(weight)) for weight in (kernel, *others))
        if self.group_lasso is not None:
            strengths = ops.convert_to_tensor(self.group_lasso, dtype="float32")
            penalty = penalty + ops.sum(strengths * ops.sum(row_norms(kernel), axis=-1))
        return penalty

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate this penalty."""
        group_lasso = None if self.group_lasso is None else np.asarray(self.group_lasso).tolist()
        return {"group_lasso": group_lasso, "ridge": float(self.ridge)}


def penalised_weights(layers: Sequence[Layer]) -> list[bool]:
    """Return for each weight (kernel and bias of each layer in turn) whether it has a ridge penalty.

    All but the bias of a linear output have one; the first kernel, that of the genes, also has the group lasso
    (arXiv 2006.10411, section 2).
    """
    return [True] * (2 * len(layers) - 1) + [layers[-1].activation != "linear"]


def build_network(
    layers: Sequence[Layer],
    n_inputs: int,
    n_networks: int | None = None,
    group_lasso: float | None = None,
    ridge: float = 0.0,
    for_training: bool = False,
) -> keras.Model:
    """Build a network, or a stack of them, as a Keras model. Weights are zero until set.

    Parameters
    ----------
    layers : sequence of Layer
    n_inputs : int
    n_networks : int or None
        None for a single network of Keras's Dense layers, which takes (n_cells, n_inputs); M for a stack, which takes
        (M, n_cells, n_inputs).
    group_lasso, ridge : float
        Penalties that are part of the model, for training with Keras; none by default.
    for_training : bool
        Use the activations of `activate` instead of Keras's; these cannot be saved to a file.

    Returns
    -------
    keras.Model
        Uncompiled, with layers named as in `layers`.
    """
    penalties: list[GroupLassoRidge | None] = [None] * (2 * len(layers))
    if group_lasso is not None or ridge:
        penalties = [GroupLassoRidge(None, ridge) if penalised else None for penalised in penalised_weights(layers)]
        penalties[0] = GroupLassoRidge(group_lasso, ridge)
    kind = keras.layers.Dense if n_networks is None else StackedDense
    shape = (None, n_inputs) if n_networks is None else (n_networks, None, n_inputs)
    inputs = outputs = keras.Input(batch_shape=shape, name="genes")
    for place, layer in enumerate(layers):
        outputs = kind(
            layer.units,
            activation=_for_training(layer.activation) if for_training else layer.activation,
            kernel_initializer="zeros",
            kernel_regularizer=penalties[2 * place],
            bias_regularizer=penalties[2 * place + 1],
            name=layer.name,
        )(outputs)
    return keras.Model(inputs, outputs, name="sbnn" if n_networks is None else "sbnn_stack")


def _for_training(name):
    """Return an activation as a function of tensors."""
    return lambda values: activate(name, values, ops)


@keras.saving.register_keras_serializable(package="sbnn")
class StackedDense(keras.layers.Layer):
    """One dense layer of M networks: activation(inputs @ kernel + bias), network by network.

    Inputs have shape (M, n_cells, n_inputs), kernel (M, n_inputs, units), bias (M, units), outputs
    (M, n_cells, units).

    Parameters
    ----------
    units : int
        Number of outputs of each network.
    activation : str or callable, optional
    kernel_initializer : str
        As in Keras.
    kernel_regularizer, bias_regularizer : keras Regularizer, optional
        Applied to the weights of the whole stack.
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        kernel_initializer: str = "zeros",
        kernel_regularizer: keras.regularizers.Regularizer | None = None,
        bias_regularizer: keras.regularizers.Regularizer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel and bias; their values come from `initial_weights`."""
        n_networks, _, n_inputs = input_shape
        self.kernel = self.add_weight(
            shape=(n_networks, n_inputs, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(n_networks, self.units),
            initializer="zeros",
            regularizer=self.bias_regularizer,
            name="bias",
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Apply the layer of each network to its own cells."""
        return self.activation(ops.matmul(inputs, self.kernel) + ops.expand_dims(self.bias, axis=1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (M, n_cells, units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate this layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }


def initial_weights(sizes: Sequence[int], generators: Sequence[np.random.Generator]) -> list[np.ndarray]:
    """Draw Glorot-uniform kernels and zero biases, with a separate generator for each network.

    Parameters
    ----------
    sizes : sequence of int
        Widths of the layers, input first.
    generators : sequence of numpy.random.Generator
        One for each network, so that a network does not depend on the stack it is in.

    Returns
    -------
    list of float32 arrays
        kernel (M, n_in, n_out) and bias (M, n_out) of each layer in turn, the order of `Model.get_weights`.
    """
    weights = []
    for n_in, n_out in pairwise(sizes):
        limit = np.sqrt(6 / (n_in + n_out))
        kernels = [generator.uniform(-limit, limit, (n_in, n_out)) for generator in generators]
        weights.append(np.stack(kernels).astype(np.float32))
        weights.append(np.zeros((len(generators), n_out), dtype=np.float32))
    return weights
