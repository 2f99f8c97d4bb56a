"""The consensus of networks that read the same genes: their mean map as one network, and their mean prediction."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sbnn.models.ensembles import (
    encode_all,
    first_divergence,
    gene_frequency,
    mean_norms,
    predict_mean,
    stack_weights,
)
from sbnn.models.map_agreement import mean_of_maps, most_central
from sbnn.models.network import Layer, apply_layers, decoder_of, encoder_of
from sbnn.models.network_parts import train_part
from sbnn.models.r2 import feature_r2, r2
from sbnn.models.schedules import Stage
from sbnn.models.tasks import TrainedNetwork, TrainingTask

#: Stage of the history that holds R2 of the mean prediction, after the members' own stages.
ENSEMBLE_STAGE = "ensemble"
#: Stage before it: R2 of the network whose map is shown, alone.
CONSENSUS_STAGE = "consensus"
#: Latent dimensions of maps whose mean is learnt: more cannot be drawn, and aligning many maps takes long.
MAP_DIMS = (2, 3)
#: How the encoder learns the mean map, and the decoder the features (benchmarks/choose_consensus.py).
_DISTILLED: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 128, "decay": "cosine", "evaluate_every": 50}
_ENCODER = Stage("finetuned", epochs=100, **_DISTILLED)
_DECODER = Stage("finetuned", epochs=50, **_DISTILLED)
#: Streams of random numbers, beyond those of a schedule and of the gene decoder.
_STREAMS = 200, 201


def find_consensus(
    members: Sequence[TrainedNetwork],
    layers: tuple[Layer, ...],
    n_selected: int | None,
    X: np.ndarray,
    Y: np.ndarray,
    task: TrainingTask,
    ridge: float,
) -> TrainedNetwork:
    """Return one network that stands for networks that read the same genes.

    With two or three latent dimensions, which are drawn as a map, it is one network more: its encoder starts from that
    of the network whose map agrees most with the others', by mean Procrustes R2, and is trained to give each training
    cell its place in the mean of all maps (`sbnn.models.map_agreement.mean_of_maps`); its decoder is then trained to
    predict the features from these places. With one or with more dimensions it is the network that agrees most.

    Parameters
    ----------
    members : list of TrainedNetwork
    layers : tuple of Layer
    n_selected : int or None
        Number of genes that each member would have kept for itself.
    X, Y : arrays, shapes (n_cells, n_genes) and (n_cells, n_features)
    task : TrainingTask
        What the networks were trained on.
    ridge : float

    Returns
    -------
    TrainedNetwork
        `history` is the members' mean, and ends with the stage "consensus", R2 of this network. `gene_norms` are
        `mean_norms`, `gene_frequency` is that of all networks.
    """
    norms = np.stack([member.gene_norms for member in members])
    first, diverged_in = members[0], first_divergence(members)
    history = first.history.assign(
        **{name: np.mean([member.history[name] for member in members], axis=0) for name in ("r2_train", "r2_test")}
    )
    weights, scores, by_feature = first.weights, (np.nan, np.nan), np.full(len(first.y_mean), np.nan)
    if diverged_in is None:
        weights = distil(members, layers, X, Y, task, ridge)
        scores, by_feature = _scores(lambda genes: apply_layers(layers, weights, genes), X, Y, first, task)
    return replace(
        first,
        weights=weights,
        gene_norms=mean_norms(norms, len(members))[0].astype(np.float32),
        history=_with_stage(history, CONSENSUS_STAGE, scores),
        feature_r2=by_feature,
        diverged_in=diverged_in,
        gene_frequency=gene_frequency(norms, n_selected),
    )


def add_members(
    consensus: TrainedNetwork,
    members: Sequence[TrainedNetwork],
    layers: tuple[Layer, ...],
    X: np.ndarray,
    Y: np.ndarray,
    task: TrainingTask,
) -> TrainedNetwork:
    """Return the consensus of networks as their ensemble, whose prediction is their mean.

    Parameters
    ----------
    consensus : TrainedNetwork
        From `find_consensus`, with the same other arguments.

    Returns
    -------
    TrainedNetwork
        With all `members`; the history ends with the stage "ensemble", R2 of their mean prediction.
    """
    stacked = stack_weights(members)
    scores, by_feature = (np.nan, np.nan), np.full_like(consensus.feature_r2, np.nan)
    if consensus.diverged_in is None:
        scores, by_feature = _scores(lambda genes: predict_mean(layers, stacked, genes), X, Y, consensus, task)
    return replace(
        consensus,
        history=_with_stage(consensus.history, ENSEMBLE_STAGE, scores),
        feature_r2=by_feature,
        members=stacked,
    )


def distil(
    members: Sequence[TrainedNetwork],
    layers: tuple[Layer, ...],
    X: np.ndarray,
    Y: np.ndarray,
    task: TrainingTask,
    ridge: float,
) -> list[np.ndarray]:
    """Return the weights of the consensus network, kernel and bias of each layer; see `find_consensus`."""
    stacked, selected = stack_weights(members), members[0].selected
    counted = np.ones(len(task.train_cells), dtype=bool) if task.cell_weights is None else task.cell_weights > 0
    cells = task.train_cells[counted]
    genes = X[np.ix_(cells, selected)] - members[0].x_mean[selected]
    maps = encode_all(layers, stacked, genes)
    start = members[most_central(maps)].weights
    if maps.shape[2] not in MAP_DIMS:
        return start
    encoder, decoder = encoder_of(layers), decoder_of(layers)
    weights = None if task.cell_weights is None else task.cell_weights[counted]
    own = TrainingTask(np.arange(len(cells)), random_state=task.random_state, fold=task.fold, cell_weights=weights)
    train = partial(train_part, ridge=ridge, task=own)
    encoding = train(genes, mean_of_maps(maps), encoder, start[: 2 * len(encoder)], _ENCODER, stream=_STREAMS[0])
    latents, features = apply_layers(encoder, encoding, genes), Y[cells] - members[0].y_mean
    decoding = train(latents, features, decoder, start[2 * len(encoder) :], _DECODER, stream=_STREAMS[1])
    return [*encoding, *decoding]


def _scores(predict, X, Y, network, task):
    """R2 of centred predictions from centred genes: (of all features on training and test cells), by feature."""
    genes = X[:, network.selected] - network.x_mean[network.selected]
    train, test = ((Y[cells], predict(genes[cells]) + network.y_mean, network.y_mean)
                   for cells in (task.train_cells, task.test_cells))  # fmt: skip
    return (r2(*train, task.cell_weights), r2(*test)), feature_r2(*test)


def _with_stage(history, stage, scores):
    """History with R2 of one more stage, at the last epoch."""
    row = pd.DataFrame([(stage, int(history["epoch"].iloc[-1]), *scores)], columns=history.columns)
    return pd.concat([history, row], ignore_index=True)
