"""Train stacks of sparse bottleneck networks through the stages of a schedule."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_matrix
from sbnn.models.consensus import add_members, find_consensus
from sbnn.models.ensembles import count_members, list_members
from sbnn.models.network import network_layers
from sbnn.models.schedules import Schedule, Stage, get_schedule
from sbnn.models.stack_run import StackRun
from sbnn.models.tasks import TrainedNetwork, TrainingTask, check_stack, cut_stack


def train_stack(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    tasks: Sequence[TrainingTask],
    schedule: str | Schedule | Sequence[Stage] = "paper",
    bottleneck_dim: int = 2,
    hidden: Sequence[int] = (512, 128),
    ridge: float = 1e-10,
    n_selected: int | None = 25,
    n_networks: int = 1,
    on_epoch: Callable[[str, np.ndarray | None], object] | None = None,
) -> list[TrainedNetwork]:
    """Train M networks, or ensembles of networks, at once; each is independent of the others.

    Arguments and errors are those of `train_numbers`, with a single number of genes.

    Parameters
    ----------
    X, Y, tasks, schedule, bottleneck_dim, hidden, ridge, n_networks, on_epoch
        See `train_numbers`.
    n_selected : int or None
        Genes kept by the stage "pruned"; None keeps all.

    Returns
    -------
    list of TrainedNetwork
        In the order of `tasks`.
    """
    settings = (schedule, bottleneck_dim, hidden, ridge, n_networks, on_epoch)
    return next(train_numbers(X, Y, tasks, [n_selected], *settings))


def train_numbers(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    tasks: Sequence[TrainingTask],
    numbers: Sequence[int | None],
    schedule: str | Schedule | Sequence[Stage] = "paper",
    bottleneck_dim: int = 2,
    hidden: Sequence[int] = (512, 128),
    ridge: float = 1e-10,
    n_networks: int = 1,
    on_epoch: Callable[[str, np.ndarray | None], object] | None = None,
) -> Iterator[list[TrainedNetwork]]:
    """Train M networks, or ensembles of networks, to each of several numbers of genes.

    The stages before "pruned" are trained once, and a copy goes on for each number. Networks are those that would be
    trained for each number alone, and each is independent of the others.

    Each network minimises, on its own cells, penalty and seed,
    mean (Y - prediction)^2 + group_lasso * sum_i ||W1[i, :]||_2 + ridge * (squares of the other weights).

    Parameters
    ----------
    X : float array, shape (n_cells, n_genes)
        Expression; centred here on the training cells of each network.
    Y : float array, shape (n_cells, n_features)
        Features; centred here; NaN (not measured) is left out of loss and R2.
    tasks : sequence of TrainingTask
        One for each network or ensemble; their `steps_per_epoch` must agree.
    numbers : sequence of int or None
        Genes kept by the stage "pruned"; None keeps all.
    schedule : str or sequence of Stage
    bottleneck_dim : int
    hidden : tuple of int
    ridge : float
    n_networks : int
        Networks in an ensemble. They differ in their seed and keep the same genes: those with the largest
        `sbnn.models.ensembles.mean_norms`. With 1, a network is the consensus of as many as its schedule starts.
    on_epoch : callable, optional
        Called once per epoch, for some epochs at a time, with (stage name, R2 of each network on its test cells, or
        training cells if it has none; None if R2 is not recorded).

    Yields
    ------
    list of TrainedNetwork
        For each number, in the order of `tasks`.

    Raises
    ------
    ValueError
        X is not finite, tasks cannot be stacked, or a number exceeds the number of genes.

    References
    ----------
    Bernaerts et al., arXiv 2006.10411, section 2.
    """
    X, Y = check_matrix(X, "X", np.float32), check_matrix(Y, "Y", np.float32, allow_nan=True)
    stages = get_schedule(schedule)
    kept = [X.shape[1] if number is None else number for number in numbers]
    check_stack(X, Y, tasks, stages, kept)
    layers = network_layers(Y.shape[1], bottleneck_dim, tuple(hidden))
    n_members = count_members(n_networks, stages)
    run = StackRun(X, Y, list_members(tasks, n_members), layers, ridge, on_epoch=on_epoch, n_sharing=n_members)
    *first, last = stages
    for index, stage in enumerate(first):
        run.step(stage, stream=index)
    for number in kept:
        branch = run.fork() if len(kept) > 1 else run
        branch.n_selected = number
        branch.step(last, stream=len(first))
        found = branch.finish()
        if n_members > 1:
            found = [
                _join(members, layers, number, X, Y, task, ridge, n_networks)
                for members, task in zip(cut_stack(found, n_members), tasks, strict=True)
            ]
        yield found


def _join(members, layers, n_selected, X, Y, task, ridge, n_networks):
    """One network of several that read the same genes: their consensus, with or without them."""
    network = find_consensus(members, layers, n_selected, X, Y, task, ridge)
    return network if n_networks == 1 else add_members(network, members, layers, X, Y, task)
