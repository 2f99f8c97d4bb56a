"""Ensembles: networks that differ in their seed and read the same genes, and what their maps have in common."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sbnn.models.map_agreement import most_central
from sbnn.models.network import Layer, apply_layers, encoder_of
from sbnn.models.r2 import feature_r2, r2
from sbnn.models.schedules import Schedule
from sbnn.models.tasks import TrainedNetwork, TrainingTask

#: Stage of the history that holds R2 of the mean prediction, after the members' own stages.
ENSEMBLE_STAGE = "ensemble"
#: Stage before it: R2 of the network whose map is shown, alone.
CONSENSUS_STAGE = "consensus"


def count_members(n_networks: int, schedule: Schedule) -> int:
    """Return how many networks are trained for one: its ensemble, or those that choose its genes with it."""
    return n_networks if n_networks > 1 else schedule.n_starts


def list_members(tasks: Sequence[TrainingTask], n_members: int) -> list[TrainingTask]:
    """Return the tasks of all members, those of an ensemble one after the other."""
    return [replace(task, member=member) for task in tasks for member in range(n_members)]


def mean_norms(norms: np.ndarray, n_networks: int) -> np.ndarray:
    """Return the mean of the members' gene norms, each network's norms divided by their root mean square.

    Parameters
    ----------
    norms : array, shape (n_ensembles * n_networks, n_genes)
        Row norms of the first kernels, the members of an ensemble one after the other.
    n_networks : int

    Returns
    -------
    array, shape (n_ensembles, n_genes)
        Without a scale: a member with twice as large weights counts as much as the others.
    """
    scales = np.sqrt(np.mean(np.square(norms, dtype=np.float64), axis=1, keepdims=True))
    scaled = norms / np.where(scales > 0, scales, 1)
    return scaled.reshape(-1, n_networks, norms.shape[1]).mean(axis=1)


def gene_frequency(norms: np.ndarray, n_selected: int | None) -> np.ndarray:
    """Return the share of members in which a gene is among their own `n_selected` genes of largest norm.

    Parameters
    ----------
    norms : array, shape (n_networks, n_genes)
    n_selected : int or None
        None: all genes are.

    Returns
    -------
    array, shape (n_genes,)
    """
    ranks = np.argsort(np.argsort(-norms, axis=1, kind="stable"), axis=1, kind="stable")
    return (ranks < (norms.shape[1] if n_selected is None else n_selected)).mean(axis=0)


def join_members(
    members: Sequence[TrainedNetwork],
    layers: tuple[Layer, ...],
    n_selected: int | None,
    X: np.ndarray,
    Y: np.ndarray,
    task: TrainingTask,
) -> TrainedNetwork:
    """Join networks that read the same genes into one whose prediction is their mean.

    Parameters
    ----------
    members : list of TrainedNetwork
    layers : tuple of Layer
    n_selected : int or None
        Number of genes that each member would have kept for itself.
    X, Y : arrays, shapes (n_cells, n_genes) and (n_cells, n_features)
    task : TrainingTask
        What the networks were trained on.

    Returns
    -------
    TrainedNetwork
        `weights` are those of the consensus network: the one whose map agrees most with the others' on the training
        cells, by mean Procrustes R2 (the first of equal ones, to a millionth). `history` is the members' mean, and ends
        with the stages "consensus", R2 of that network, and "ensemble", R2 of the mean prediction. `gene_norms` are
        `mean_norms`.
    """
    first = members[0]
    stacked, diverged_in = stack_weights(members), first_divergence(members)
    history = first.history.assign(
        **{name: np.mean([member.history[name] for member in members], axis=0) for name in ("r2_train", "r2_test")}
    )
    scores, by_feature = (np.nan, np.nan), np.full(len(first.y_mean), np.nan)
    if diverged_in is None:
        genes = X[:, first.selected] - first.x_mean[first.selected]
        train, test = ((Y[cells], predict_mean(layers, stacked, genes[cells]) + first.y_mean, first.y_mean)
                       for cells in (task.train_cells, task.test_cells))  # fmt: skip
        scores = r2(*train, task.cell_weights), r2(*test)
        by_feature = feature_r2(*test)
    consensus = keep_consensus(members, layers, n_selected, X, Y, task)
    epoch, *alone = consensus.history[["epoch", "r2_train", "r2_test"]].iloc[-1]
    last = [(CONSENSUS_STAGE, int(epoch), *alone), (ENSEMBLE_STAGE, int(epoch), *scores)]
    joined = pd.concat([history, pd.DataFrame(last, columns=history.columns)], ignore_index=True)
    return replace(consensus, history=joined, feature_r2=by_feature, members=stacked)


def keep_consensus(
    members: Sequence[TrainedNetwork],
    layers: tuple[Layer, ...],
    n_selected: int | None,
    X: np.ndarray,
    Y: np.ndarray,
    task: TrainingTask,
) -> TrainedNetwork:
    """Return the one of networks that read the same genes whose map agrees most with the others'.

    Arguments as for `join_members`. Its `gene_norms` are `mean_norms`, its `gene_frequency` is that of all networks.
    """
    norms = np.stack([member.gene_norms for member in members])
    first, consensus, diverged_in = members[0], 0, first_divergence(members)
    if diverged_in is None:
        genes = X[np.ix_(task.train_cells, first.selected)] - first.x_mean[first.selected]
        consensus = most_central(encode_all(layers, stack_weights(members), genes))
    return replace(
        members[consensus],
        gene_norms=mean_norms(norms, len(members))[0].astype(np.float32),
        gene_frequency=gene_frequency(norms, n_selected),
        diverged_in=diverged_in,
    )


def stack_weights(members: Sequence[TrainedNetwork]) -> list[np.ndarray]:
    """Return all weights stacked: kernel (n_networks, n_in, n_out) and bias (n_networks, n_out) of each layer."""
    return [np.stack(weights) for weights in zip(*(member.weights for member in members), strict=True)]


def first_divergence(members: Sequence[TrainedNetwork]) -> str | None:
    """Return the stage in which the first network that diverged did so, or None."""
    return next((member.diverged_in for member in members if member.diverged_in is not None), None)


def encode_all(layers: tuple[Layer, ...], members: Sequence[np.ndarray], centred: np.ndarray) -> np.ndarray:
    """Return the latent coordinates of every member, shape (n_networks, n_cells, bottleneck_dim).

    Parameters
    ----------
    layers : tuple of Layer
    members : list of arrays
        kernel (n_networks, n_in, n_out) and bias (n_networks, n_out) of each layer.
    centred : array, shape (n_cells, n_selected)
    """
    encoder = encoder_of(layers)
    return np.stack([
        apply_layers(encoder, [weight[network] for weight in members[: 2 * len(encoder)]], centred)
        for network in range(len(members[0]))
    ])  # fmt: skip


def predict_mean(layers: tuple[Layer, ...], members: Sequence[np.ndarray], centred: np.ndarray) -> np.ndarray:
    """Return the mean of the members' centred predictions, shape (n_cells, n_features); see `encode_all`."""
    return predict_all(layers, members, centred).mean(axis=0)


def predict_all(layers: tuple[Layer, ...], members: Sequence[np.ndarray], centred: np.ndarray) -> np.ndarray:
    """Return the members' centred predictions, shape (n_networks, n_cells, n_features); see `encode_all`."""
    return np.stack([
        apply_layers(layers, [weight[network] for weight in members], centred) for network in range(len(members[0]))
    ])  # fmt: skip
