"""Cells in batches: which rows of the tables each network of a stack sees in each step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sbnn._hints import Tensor
from sbnn.models.backend import ops
from sbnn.models.devices import on_device
from sbnn.models.engine import Batches, StackData
from sbnn.models.schedules import Stage
from sbnn.models.tasks import TrainingTask


class StageTables(NamedTuple):
    """Device tables of a stage, and for each network the rows of its own cells in them."""

    data: StackData
    input_rows: np.ndarray
    target_rows: np.ndarray


def tensors(*arrays: npt.ArrayLike) -> tuple[Tensor, ...]:
    """Put arrays on the device as float32."""
    return tuple(on_device(np.asarray(array, dtype=np.float32)) for array in arrays)


def cut_into_steps(array: np.ndarray, n_steps: int) -> Tensor:
    """Cut (M, n_steps * batch_size) into steps (n_steps, M, batch_size), on the device."""
    return ops.convert_to_tensor(np.ascontiguousarray(array.reshape(len(array), n_steps, -1).swapaxes(0, 1)))


def batches_of(tables: StageTables, order: np.ndarray, weights: np.ndarray, n_steps: int) -> Batches:
    """Translate positions among a network's own cells to rows of the tables, and cut them into steps."""
    return Batches(
        cut_into_steps(np.take_along_axis(tables.input_rows, order, axis=1), n_steps),
        cut_into_steps(np.take_along_axis(tables.target_rows, order, axis=1), n_steps),
        cut_into_steps(weights, n_steps),
    )


def shuffled_batches(
    tasks: Sequence[TrainingTask],
    stage: Stage,
    tables: StageTables,
    shuffles: Sequence[np.random.Generator],
    train_weights: np.ndarray,
    n_epochs: int,
) -> Batches:
    """Shuffle every network's cells for some epochs and cut them into steps; the last step of an epoch is padded."""
    cells = [task.stage_cells(stage) for task in tasks]
    n_steps = -(-len(cells[0]) // stage.batch_size)
    order: np.ndarray = np.zeros((len(tasks), n_epochs, n_steps * stage.batch_size), dtype=np.int32)
    weights: np.ndarray = np.zeros(order.shape, dtype=np.float32)
    for network, (own, shuffle) in enumerate(zip(cells, shuffles, strict=True)):
        for epoch in range(n_epochs):
            shuffled = shuffle.permutation(own)
            order[network, epoch, : len(own)] = shuffled
            weights[network, epoch, : len(own)] = train_weights[network, shuffled]
    order, weights = (array.reshape(len(tasks), -1) for array in (order, weights))
    return batches_of(tables, order, weights, n_epochs * n_steps)
