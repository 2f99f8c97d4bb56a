"""Decode genes from latent coordinates, so that expression can be drawn over the map."""

import numpy as np

from sbnn.compiled import Dropout, Penalties, StackData, compiled_stack, start_state
from sbnn.network import initial_weights, layer_activations
from sbnn.schedules import Stage
from sbnn.training import StageTables, TrainingTask, shuffled_batches, tensors


def train_gene_decoder(latents, genes, start, hidden, ridge, random_state, epochs=100, learning_rate=5e-5):
    """Train a decoder from latent coordinates to gene expression.

    Parameters
    ----------
    latents : array, shape (n_cells, bottleneck_dim)
        Latent coordinates of the training cells.
    genes : array, shape (n_cells, n_selected)
        Centred expression to predict.
    start : list of arrays
        Weights behind the bottleneck of the trained network; all but the output layer are the starting point.
    hidden : tuple of int
    ridge : float
    random_state : int
    epochs, learning_rate
        100 epochs at 5e-5 in the paper.

    Returns
    -------
    list of arrays
        kernel and bias of each layer of the decoder.
    """
    latents, genes = np.asarray(latents, dtype=np.float32), np.asarray(genes, dtype=np.float32)
    task = TrainingTask(np.arange(len(latents)), random_state=random_state)
    stage = Stage("finetuned", epochs=epochs, learning_rate=learning_rate)
    output = initial_weights((hidden[0], genes.shape[1]), [task.generator(100)])
    weights = [np.asarray(weight)[None] for weight in start[:-2]] + output
    sizes = (latents.shape[1], *(bias.shape[1] for bias in weights[1::2]))
    stack = compiled_stack(sizes, layer_activations(hidden)[len(hidden) + 1 :], 1, penalise_genes=False)
    zeros = [np.zeros((1, 1, width)) for width in (latents.shape[1], genes.shape[1])]
    own_rows = np.arange(len(latents), dtype=np.int32)[None]
    data = StackData(*tensors(latents, zeros[0], genes, zeros[1], np.ones_like(genes)))
    tables = StageTables(data, own_rows, own_rows)
    state, shuffle = start_state(weights), task.generator(101)
    penalties, dropout = Penalties(*tensors([0.0], ridge)), Dropout.at(0.0, [0])
    train_weights = np.ones((1, len(latents)), dtype=np.float32)
    batches = shuffled_batches([task], stage, tables, [shuffle], train_weights, epochs)
    rates, nothing = tensors(np.full(batches.weights.shape[0], learning_rate), np.zeros((1, 1, 2, genes.shape[1])))
    state, _ = stack.train(state, data, batches, penalties, rates, dropout, nothing, None)
    return [np.asarray(weight)[0] for weight in state.weights]
