"""Train a part of a network, its encoder or its decoder, on its own inputs and targets."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sbnn.models.network import Layer
from sbnn.models.schedules import Stage
from sbnn.models.stack_run import StackRun
from sbnn.models.tasks import TrainingTask


def train_part(
    inputs: npt.ArrayLike,
    targets: npt.ArrayLike,
    layers: tuple[Layer, ...],
    start: Sequence[np.ndarray],
    stage: Stage,
    ridge: float,
    task: TrainingTask,
    stream: int,
) -> list[np.ndarray]:
    """Train layers from given weights to predict targets from inputs, without group lasso.

    Parameters
    ----------
    inputs : array, shape (n_cells, n_inputs)
        Centred.
    targets : array, shape (n_cells, n_outputs)
        Centred; NaN is left out.
    layers : tuple of Layer
    start : list of arrays
        kernel and bias of each layer to start from.
    stage : Stage
        How long and how fast.
    ridge : float
    task : TrainingTask
        Its training cells are rows of `inputs`.
    stream : int
        Stream of random numbers of the order of cells.

    Returns
    -------
    list of arrays
        kernel and bias of each layer.
    """
    inputs, targets = np.asarray(inputs, dtype=np.float32), np.asarray(targets, dtype=np.float32)
    weights = [np.asarray(weight, dtype=np.float32)[None] for weight in start]
    run = StackRun(inputs, targets, [task], layers, ridge, weights=weights, centre=False)
    run.step(stage, stream, group_lasso=0.0)
    return run.weights_of(0)
