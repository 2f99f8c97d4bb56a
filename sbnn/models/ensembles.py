"""Ensembles: networks that differ in their seed and read the same genes, and what their maps have in common."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sbnn.models.network import Layer, apply_layers, encoder_of
from sbnn.models.schedules import Schedule
from sbnn.models.tasks import TrainedNetwork, TrainingTask


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
