"""Training tasks of the networks of a stack, and the trained networks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from sbnn._checks import check_length, check_number, check_same_cells
from sbnn.models.clusters import N_CLUSTERS, View
from sbnn.models.schedules import Schedule, Stage, get_schedule

_T = TypeVar("_T")
#: Networks that one process trains at once if it is the only one: on a CPU larger stacks are not faster.
STACK_SIZE = 5


class Tables(View, Protocol):
    """What is read of `sbnn.validation.folds.FoldView`."""

    @property
    def X(self) -> np.ndarray: ...  # noqa: D102, N802


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """What one network of a stack is trained on.

    Attributes
    ----------
    train_cells : int array
        Rows of X and Y to train on, in the order that `Stage.cell_fraction` refers to.
    test_cells : int array
        Rows on which R2 is recorded; may be empty.
    group_lasso : float
    random_state, fold : int
        Determine initial weights and the order of cells; folds start from different weights.
    clusters : int array, shape (len(train_cells),), optional
        Cluster of each training cell for pre-training; -1 leaves a cell out of it.
    cell_weights : array, shape (len(train_cells),), optional
        Weight of each training cell in loss and means; 1 if None.
    layout : array, shape (len(train_cells), bottleneck_dim), optional
        Coordinates of each training cell for pre-training.
    member : int
        Number of the network in its ensemble: the first is the network that would be trained alone.
    """

    train_cells: np.ndarray
    test_cells: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    group_lasso: float = 0.1
    random_state: int = 0
    fold: int = 0
    clusters: np.ndarray | None = None
    cell_weights: np.ndarray | None = None
    layout: np.ndarray | None = None
    member: int = 0

    def __post_init__(self) -> None:
        """Check strengths and lengths."""
        check_number(self.group_lasso, "group_lasso")
        for name in ("clusters", "cell_weights", "layout"):
            if getattr(self, name) is not None:
                check_length(getattr(self, name), len(self.train_cells), name, "training cell")

    def generator(self, stream: int) -> np.random.Generator:
        """Return the random generator of one stream: 0 draws weights, 1 + index shuffles the cells of a stage."""
        member = [self.member] if self.member else []
        return np.random.default_rng([self.random_state, self.fold, stream, *member])

    def dropout_seed(self, stream: int) -> np.uint32:
        """Return the seed for dropping inputs in a stage."""
        return self.generator(1000 + stream).integers(2**32, dtype=np.uint32)

    def stage_cells(self, stage: Stage) -> np.ndarray:
        """Return the positions within `train_cells` that a stage trains on.

        Parameters
        ----------
        stage : Stage

        Returns
        -------
        int array, ascending
            The first `stage.cell_fraction` of all training cells; for "pretrained", of those that have a cluster.

        Raises
        ------
        ValueError
            The stage learns clusters, and the task has none.
        """
        cells = np.arange(len(self.train_cells))
        if stage.target == "layout" and self.layout is None:
            raise ValueError("the schedule pre-trains on a layout, but the task has none: give layout")
        if stage.target == "clusters":
            if self.clusters is None:
                raise ValueError("the schedule pre-trains on clusters, but the task has none: give clusters")
            cells = cells[np.asarray(self.clusters) >= 0]
        return cells[: round(stage.cell_fraction * len(cells))]

    def steps_per_epoch(self, schedule: str | Schedule | Sequence[Stage]) -> tuple[int, ...]:
        """Return the number of steps per epoch in each stage; networks can be stacked if these agree."""
        return tuple(-(-len(self.stage_cells(stage)) // stage.batch_size) for stage in get_schedule(schedule))


def check_stack(
    X: np.ndarray,
    Y: np.ndarray,
    tasks: Sequence[TrainingTask],
    stages: Schedule | Sequence[Stage],
    numbers: Sequence[int],
) -> None:
    """Check that the tasks match the data and each other.

    Parameters
    ----------
    X : array, shape (n_cells, n_genes)
    Y : array, shape (n_cells, n_features)
    tasks : sequence of TrainingTask
    stages : Schedule or sequence of Stage
    numbers : sequence of int
        Genes that a stage "pruned" keeps, each in a copy.

    Raises
    ------
    ValueError
        No tasks, X and Y of other cells, tasks with different numbers of steps per epoch or a stage without cells,
        a number beyond that of the genes.
    """
    if not tasks:
        raise ValueError("tasks is empty: give at least one TrainingTask")
    check_same_cells(X, Y)
    steps = {task.steps_per_epoch(stages) for task in tasks}
    if len(steps) > 1:
        raise ValueError(f"only networks with the same number of steps per epoch can be stacked, got {sorted(steps)}")
    if 0 in next(iter(steps)):
        raise ValueError("a stage is left without training cells: give more cells")
    if any(stage.name == "pruned" for stage in stages):
        for number in numbers:
            if not 1 <= number <= X.shape[1]:
                raise ValueError(f"n_selected must be between 1 and the {X.shape[1]} genes, got {number}")


def cut_stack(stack: list[_T], size: int) -> list[list[_T]]:
    """Cut a list into lists of at most `size`."""
    return [stack[start : start + size] for start in range(0, len(stack), size)]


def joint_tables(
    tasks: Sequence[TrainingTask], views: Sequence[Tables]
) -> tuple[np.ndarray, np.ndarray, Sequence[TrainingTask]]:
    """Return X and Y with the cells of all tasks, and the tasks with the corresponding rows.

    Parameters
    ----------
    tasks : sequence of TrainingTask
    views : list of FoldView
        What the network of each fold sees; a task belongs to `views[task.fold]`.

    Returns
    -------
    tuple
        If all folds see the same X, its rows are those of the tasks already.
    """
    numbers = sorted({task.fold for task in tasks})
    if all(views[number].X is views[numbers[0]].X for number in numbers):
        return views[numbers[0]].X, views[numbers[0]].Y, tasks
    offset = {number: place * len(views[number].X) for place, number in enumerate(numbers)}
    moved = [
        replace(
            task,
            train_cells=task.train_cells + offset[task.fold],
            test_cells=task.test_cells + offset[task.fold],
        )
        for task in tasks
    ]
    return (
        np.concatenate([views[number].X for number in numbers]),
        np.concatenate([views[number].Y for number in numbers]),
        moved,
    )


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """One network after its last stage.

    Attributes
    ----------
    weights : list of arrays
        kernel and bias of each layer; the first kernel has one row for each selected gene.
    selected : bool array, shape (n_genes,)
        Genes that the network reads.
    gene_norms : array, shape (n_genes,)
        Row norms of the first kernel before pruning.
    x_mean, y_mean : arrays
        Means of the training cells, subtracted from the input and added to the output of the network.
    history : DataFrame
        `stage`, `epoch` (from 1, pre-training not counted), `r2_train`, `r2_test` at the end of every epoch
        that the schedule evaluates.
    feature_r2 : array, shape (n_features,)
        R2 of each feature on the test cells at the end (NaN without test cells).
    diverged_in : str or None
        Stage in which weights or errors ceased to be finite; every later R2 is NaN.
    members : list of arrays, optional
        Of an ensemble: kernel (n_networks, n_in, n_out) and bias (n_networks, n_out) of each layer; `weights` are then
        those of their consensus (`sbnn.models.consensus.find_consensus`).
    gene_frequency : array, shape (n_genes,), optional
        Share of the networks that would have kept a gene for themselves, if several chose together.
    """

    weights: list[np.ndarray]
    selected: np.ndarray
    gene_norms: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    history: pd.DataFrame
    feature_r2: np.ndarray
    diverged_in: str | None = None
    members: list[np.ndarray] | None = None
    gene_frequency: np.ndarray | None = None


def pretraining_targets(stage: Stage, tasks: Sequence[TrainingTask], n_own: int) -> np.ndarray:
    """Return what a stage "pretrained" learns.

    Parameters
    ----------
    stage : Stage
    tasks : sequence of TrainingTask
    n_own : int
        Rows per network; its training cells come first, rows of other cells are zero.

    Returns
    -------
    float32 array, shape (len(tasks) * n_own, N_CLUSTERS or bottleneck_dim)
        The cluster of each cell as 0 and 1, or its coordinates in the layout.
    """
    n_outputs = N_CLUSTERS if stage.target == "clusters" else tasks[0].layout.shape[1]  # type: ignore[union-attr]
    targets = np.zeros((len(tasks), n_own, n_outputs), dtype=np.float32)
    for own, task in zip(targets, tasks, strict=True):
        if stage.target == "layout":
            own[: len(task.train_cells)] = task.layout
        else:
            cells = task.stage_cells(stage)
            own[cells, np.asarray(task.clusters)[cells]] = 1
    return targets.reshape(-1, n_outputs)
