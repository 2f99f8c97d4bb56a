"""Train stacks of sparse bottleneck networks through the stages of a schedule."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_matrix
from sbnn.models.consensus import add_members, find_consensus
from sbnn.models.ensembles import count_members, list_members
from sbnn.models.network import network_layers
from sbnn.models.schedules import Schedule, Stage, get_schedule
from sbnn.models.stack_run import StackRun
from sbnn.models.tasks import TrainedNetwork, TrainingTask, check_stack


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
    schedule : str or sequence of Stage
    bottleneck_dim : int
    hidden : tuple of int
    ridge : float
    n_selected : int or None
        Genes kept by the stage "pruned"; None keeps all.
    n_networks : int
        Networks in an ensemble. They differ in their seed and keep the same genes: those with the largest
        `sbnn.models.ensembles.mean_norms`. With 1, a network is the consensus of as many as its schedule starts.
    on_epoch : callable, optional
        Called once per epoch, for some epochs at a time, with (stage name, R2 of each network on its test cells, or
        training cells if it has none; None if R2 is not recorded).

    Returns
    -------
    list of TrainedNetwork
        In the order of `tasks`.

    Raises
    ------
    ValueError
        X is not finite, tasks cannot be stacked, or n_selected exceeds the number of genes.

    References
    ----------
    Bernaerts et al., arXiv 2006.10411, section 2.
    """
    X, Y = check_matrix(X, "X", np.float32), check_matrix(Y, "Y", np.float32, allow_nan=True)
    stages = get_schedule(schedule)
    n_selected = X.shape[1] if n_selected is None else n_selected
    check_stack(X, Y, tasks, stages, n_selected)
    layers = network_layers(Y.shape[1], bottleneck_dim, tuple(hidden))
    n_members = count_members(n_networks, stages)
    run = StackRun(X, Y, list_members(tasks, n_members), layers, ridge, n_selected, on_epoch, n_sharing=n_members)
    for index, stage in enumerate(stages):
        run.step(stage, stream=index)
    trained = run.finish()
    if n_members == 1:
        return trained
    joined = []
    for place, task in enumerate(tasks):
        own = trained[place * n_members : (place + 1) * n_members]
        network = find_consensus(own, layers, n_selected, X, Y, task, ridge)
        joined.append(network if n_networks == 1 else add_members(network, own, layers, X, Y, task))
    return joined
