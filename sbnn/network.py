"""The sparse bottleneck network and stacks of it, in Keras 3 (any backend)."""

from itertools import pairwise

import numpy as np

from sbnn.backend import keras, ops

#: Activations: ELU everywhere but linear at the bottleneck and the output.
HIDDEN_ACTIVATION = "elu"


def group_lasso_penalty(kernel, group_lasso, sum_rows=None):
    """Return the sum over networks of group_lasso * sum_i ||kernel[i, :]||_2.

    Parameters
    ----------
    kernel : tensor, shape (..., n_inputs, n_units)
        One row a gene; leading axes are networks of a stack.
    group_lasso : float or tensor of the shape of the leading axes
        Penalty of each network.
    sum_rows : callable, optional
        A faster way to sum along the last axis.

    Returns
    -------
    scalar tensor
        Its gradient is zero where a row is exactly zero.
    """
    squares = ops.square(kernel)
    squared_norms = ops.sum(squares, axis=-1) if sum_rows is None else sum_rows(squares)
    norms = ops.sqrt(ops.maximum(squared_norms, 1e-30))
    return ops.sum(group_lasso * ops.sum(norms, axis=-1))


@keras.saving.register_keras_serializable(package="sbnn")
class GroupLassoRidge(keras.regularizers.Regularizer):
    r"""Penalty that switches off whole rows of a kernel (genes), with a little ridge.

    .. math:: \lambda \sum_i \|W_{i\cdot}\|_2 + \rho \sum_{ij} W_{ij}^2

    Parameters
    ----------
    group_lasso : float or sequence of float
        Strength of the group lasso, not negative; one for each network of a stack.
    ridge : float
        Strength of the ridge penalty, not negative.

    Raises
    ------
    ValueError
        Where a strength is negative.
    """

    def __init__(self, group_lasso=0.0, ridge=0.0):
        self.group_lasso = np.asarray(group_lasso, dtype=np.float32)
        self.ridge = float(ridge)
        if (self.group_lasso < 0).any() or self.ridge < 0:
            raise ValueError(f"penalties must not be negative, got group_lasso={group_lasso}, ridge={ridge}")

    def __call__(self, kernel):
        """Return the penalty of a kernel, summed over networks."""
        return group_lasso_penalty(kernel, self.group_lasso) + self.ridge * ops.sum(ops.square(kernel))

    def get_config(self):
        """Return the arguments that make this penalty again."""
        return {"group_lasso": self.group_lasso.tolist(), "ridge": self.ridge}


@keras.saving.register_keras_serializable(package="sbnn")
class StackedDense(keras.layers.Layer):
    """The same dense layer of M networks: activation(inputs @ kernel + bias), network by network.

    Inputs have shape (M, n_cells, n_inputs), kernel (M, n_inputs, units), bias (M, units), outputs
    (M, n_cells, units).

    Parameters
    ----------
    units : int
        Number of outputs of each network.
    activation : str or callable, optional
    kernel_regularizer, bias_regularizer : keras Regularizer, optional
        Applied to the weights of the whole stack.
    """

    def __init__(self, units, activation=None, kernel_regularizer=None, bias_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape):
        """Make kernel and bias; `initial_weights` gives the values."""
        n_networks, _, n_inputs = input_shape
        self.kernel = self.add_weight(
            shape=(n_networks, n_inputs, self.units),
            initializer="zeros",
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(n_networks, self.units),
            initializer="zeros",
            regularizer=self.bias_regularizer,
            name="bias",
        )

    def call(self, inputs):
        """Apply the layer of each network to its own cells."""
        return self.activation(ops.matmul(inputs, self.kernel) + ops.expand_dims(self.bias, axis=1))

    def compute_output_shape(self, input_shape):
        """Return (M, n_cells, units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Return the arguments that make this layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }


def layer_sizes(n_genes, n_outputs, bottleneck_dim=2, hidden=(512, 128)):
    """Return the widths of all layers, from genes through the bottleneck to the output."""
    return (n_genes, *hidden, bottleneck_dim, *hidden[::-1], n_outputs)


def layer_names(hidden):
    """Return the names of the layers, e.g. hidden_1, hidden_2, bottleneck, hidden_3, hidden_4, output."""
    depth = len(hidden)
    before = [f"hidden_{index + 1}" for index in range(depth)]
    after = [f"hidden_{index + 1}" for index in range(depth, 2 * depth)]
    return [*before, "bottleneck", *after, "output"]


def layer_activations(hidden, output_activation="linear"):
    """Return the activation of each layer."""
    return (
        *(HIDDEN_ACTIVATION,) * len(hidden),
        "linear",
        *(HIDDEN_ACTIVATION,) * len(hidden),
        output_activation,
    )


def build_network(
    n_genes,
    n_outputs,
    n_networks=None,
    bottleneck_dim=2,
    hidden=(512, 128),
    group_lasso=0.1,
    ridge=1e-10,
    output_activation="linear",
):
    """Build a sparse bottleneck network, or a stack of them, as a Keras model with its penalties.

    genes -> 512 -> 128 -> bottleneck -> 128 -> 512 -> output, group lasso on the rows of the first kernel, ridge
    on all kernels and on all biases but that of a linear output. Weights are zero until they are set; see
    `initial_weights`.

    Parameters
    ----------
    n_genes, n_outputs : int
        Widths of input and output.
    n_networks : int or None
        None for one network of ordinary Dense layers, which takes (n_cells, n_genes); M for a stack, which takes
        (M, n_cells, n_genes).
    bottleneck_dim : int
        Dimension of the latent space (2, or 64 in the paper's comparison).
    hidden : tuple of int
        Widths of the layers before the bottleneck, mirrored behind it.
    group_lasso : float, or one for each network
    ridge : float
    output_activation : {"linear", "softmax"}
        "linear" for features, "softmax" for the clusters of pre-training.

    Returns
    -------
    keras.Model
        Uncompiled, with layers named as `layer_names` says.

    References
    ----------
    Bernaerts et al., arXiv 2006.10411, section 2.
    """
    sizes = layer_sizes(n_genes, n_outputs, bottleneck_dim, hidden)
    names, activations = layer_names(hidden), layer_activations(hidden, output_activation)
    ridge_alone = keras.regularizers.L2(ridge) if ridge else None
    on_genes = GroupLassoRidge(group_lasso, ridge) if ridge or np.any(group_lasso) else None
    inputs = keras.Input(
        batch_shape=(None, n_genes) if n_networks is None else (n_networks, None, n_genes), name="genes"
    )
    layer = keras.layers.Dense if n_networks is None else StackedDense
    outputs = inputs
    for index, (units, name, activation) in enumerate(zip(sizes[1:], names, activations, strict=True)):
        outputs = layer(
            units,
            activation=activation,
            kernel_regularizer=on_genes if index == 0 else ridge_alone,
            bias_regularizer=None if name == "output" and activation == "linear" else ridge_alone,
            name=name,
        )(outputs)
    return keras.Model(inputs, outputs, name="sbnn" if n_networks is None else "sbnn_stack")


def initial_weights(sizes, generators):
    """Draw Glorot-uniform kernels and zero biases, each network from a generator of its own.

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


def apply_layers(weights, activations, inputs):
    """Apply the layers of one network to cells, in double precision and without a backend.

    Parameters
    ----------
    weights : list of arrays
        kernel (n_in, n_out) and bias (n_out,) of each layer in turn.
    activations : sequence of {"elu", "linear"}
        Activation of each layer.
    inputs : array, shape (n_cells, n_in)

    Returns
    -------
    float64 array, shape (n_cells, n_out)
    """
    outputs = np.asarray(inputs, dtype=np.float64)
    for kernel, bias, activation in zip(weights[::2], weights[1::2], activations, strict=True):
        outputs = outputs @ np.asarray(kernel, dtype=np.float64) + bias
        if activation == "elu":
            outputs = np.where(outputs > 0, outputs, np.expm1(np.minimum(outputs, 0)))
    return outputs
