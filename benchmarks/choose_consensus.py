"""Try ways to make one network of the ten that choose genes together, on cells that three of the paper's folds test.

Ensembles of ten networks of "stable" with three seeds are trained on the three splits of choose_stable_schedule.py.
From the same ensembles are made:

- "most central": the network whose map agrees most with the others';
- "mean of maps": the mean of the aligned maps, which is no network and predicts nothing;
- networks that learn the mean of the maps (`sbnn.models.consensus.distil`), with dropout in the encoder or not; their
  decoder then learns the features, or the mean prediction of the ensemble. Used is: no dropout, features.

Written is, averaged over splits and seeds, R2 on the test cells ("r2_test"; "r2_ensemble" is that of the mean
prediction), and for the maps of the training cells of pairs of seeds Procrustes R2 and the share of common neighbours.

Usage: python benchmarks/choose_consensus.py [--output benchmarks/consensus_trials.csv]
"""

import argparse
import os
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from choose_stable_schedule import common_neighbours, make_splits

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models import consensus
from sbnn.models.ensembles import encode_all, predict_mean
from sbnn.models.map_agreement import mean_of_maps, most_central, procrustes_r2
from sbnn.models.network import apply_layers, encoder_of
from sbnn.models.r2 import r2
from sbnn.models.tasks import TrainedNetwork, TrainingTask
from sbnn.validation.folds import view_fold

SEEDS = range(3)
VARIANTS = tuple(product((0.0, 0.2), ("features", "mean prediction")))


def distilled(ensemble, networks, layers, view, seed, dropout, target, predictions):
    """Return the weights of a network distilled from an ensemble."""
    targets = view.Y if target == "features" else predictions + ensemble.y_mean_
    stage = replace(consensus._ENCODER, input_dropout=dropout)
    with mock.patch.object(consensus, "_ENCODER", stage):
        task = TrainingTask(view.train, view.test, random_state=seed)
        return consensus.distil(networks, layers, np.float32(view.X), np.float32(targets), task, ensemble.ridge)


def compare(ensemble, view, seed):
    """Return {what: (map of all cells, R2 on the test cells or None)} and R2 of the ensemble."""
    layers, members, genes = ensemble._layers(), ensemble.members_, ensemble._centred(view.X)
    weights = [[weight[number] for weight in members] for number in range(len(members[0]))]
    networks = [
        TrainedNetwork(own, ensemble.selected_, ensemble.gene_norms_, ensemble.x_mean_, ensemble.y_mean_, None, None)
        for own in weights
    ]
    encoder, predictions = encoder_of(layers), predict_mean(layers, members, genes)

    def score(predicted):
        return r2(view.Y[view.test], predicted[view.test] + ensemble.y_mean_, ensemble.y_mean_)

    def network(own):
        return apply_layers(encoder, own[: 2 * len(encoder)], genes), score(apply_layers(layers, own, genes))

    maps = encode_all(layers, members, genes)[:, view.train]
    found = {"most central": network(weights[most_central(maps)])}
    everywhere = np.zeros((len(view.X), maps.shape[2]))
    everywhere[view.train] = mean_of_maps(maps)
    found["mean of maps"] = everywhere, None
    for dropout, target in VARIANTS:
        own = distilled(ensemble, networks, layers, view, seed, dropout, target, predictions)
        found[f"distilled, dropout {dropout:g}, decoder of {target}"] = network(own)
    return found, score(predictions)


def main():
    """Compare, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("consensus_trials.csv"))
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    models = {
        f"seed {seed}": SparseBottleneckRegressor(schedule="stable", n_networks=10, random_state=seed) for seed in SEEDS
    }
    splits = make_splits(data)
    result = cross_validate(data, models, folds=splits, within_fold=True, keep=[], progress=False)
    ensembles = np.array(result.estimators, dtype=object).reshape(len(models), len(splits))
    rows = []
    for number, fold in enumerate(result.folds):
        view = view_fold(data, fold, within_fold=True)
        compared, scores = zip(*(compare(ensembles[seed, number], view, seed) for seed in SEEDS), strict=True)
        for what in compared[0]:
            maps = [found[what][0][view.train] for found in compared]
            pairs = list(combinations(maps, 2))
            known = [found[what][1] for found in compared if found[what][1] is not None]
            rows.append({
                "consensus": what,
                "split": number,
                "r2_test": np.mean(known) if known else np.nan,
                "r2_ensemble": np.mean(scores),
                "procrustes_r2": np.mean([procrustes_r2(*pair) for pair in pairs]),
                "common_neighbours": np.mean([common_neighbours(*pair) for pair in pairs]),
            })  # fmt: skip
    table = pd.DataFrame(rows).drop(columns="split").groupby("consensus", sort=False).mean().round(4)
    print(table.to_string())
    table.to_csv(arguments.output)


if __name__ == "__main__":
    main()
