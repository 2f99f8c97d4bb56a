"""Decode genes from latent coordinates, to draw expression over the map."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sbnn.models.network import decoder_of, initial_weights, network_layers
from sbnn.models.network_parts import train_part
from sbnn.models.schedules import Stage
from sbnn.models.tasks import TrainingTask

#: Streams of random numbers, beyond those of a schedule: for the output layer, and for the order of cells.
_OUTPUT, _ORDER = 100, 100


def train_gene_decoder(
    latents: npt.ArrayLike,
    genes: npt.ArrayLike,
    start: Sequence[np.ndarray],
    hidden: Sequence[int],
    ridge: float,
    random_state: int,
    epochs: int = 100,
    learning_rate: float = 5e-5,
) -> list[np.ndarray]:
    """Train a decoder from latent coordinates to gene expression.

    Parameters
    ----------
    latents : array, shape (n_cells, bottleneck_dim)
        Latent coordinates of the training cells.
    genes : array, shape (n_cells, n_selected)
        Centred expression to predict.
    start : list of arrays
        Weights after the bottleneck of the trained network; all but the output layer are the starting point.
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
    layers = decoder_of(network_layers(genes.shape[1], latents.shape[1], hidden))
    output = [weight[0] for weight in initial_weights((hidden[0], genes.shape[1]), [task.generator(_OUTPUT)])]
    stage = Stage("finetuned", epochs=epochs, learning_rate=learning_rate, evaluate_every=epochs)
    return train_part(latents, genes, layers, [*start[:-2], *output], stage, ridge, task, _ORDER)
