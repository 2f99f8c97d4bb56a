"""Try settings of the schedules "stable" and "wide", and of ensembles, on cells that three of the paper's folds test.

The schedule "stable" is the first trial of the round "starts". The round "layout" learns a layout before the features.

Trained is on all cells of scala_2020 but the test cells of two of the folds 0, 1 and 2, which are predicted: three
splits, whose test cells are those of folds 0 to 2 only, so that R2 on folds 3 to 9 is independent of this choice.
z-scores, clusters and layouts are fitted on the training cells. Settings are changed one after another (rounds); each
trial trains networks of six seeds in every split.

After every trial one row is written: its settings; R2 of a network before and after pruning to 25 genes, and of the
mean of the six seeds ("r2_mean"); and of the six seeds of each split, on average: Procrustes R2 of two maps of the
training cells, the share of their 30 nearest neighbours in common, how many genes all six share, and Nogueira's index.
With "shared" the six seeds are an ensemble that keeps one set of genes.

In the round "starts" ten networks choose their genes together, as in a schedule with n_starts = 10, for three seeds in
every split: "r2_25_genes" is that of the most central of the ten, "r2_mean" that of their mean prediction; the maps are
those of the most central ones.

The ranges were narrowed before, on the same splits, by 382 trials on a GPU of a version of the code that was not kept
(benchmarks/stable_schedule_first_trials.csv).

Usage: python benchmarks/choose_stable_schedule.py [ROUND ...] [--output benchmarks/stable_schedule_trials.csv]
"""

import argparse
import os
import time
from itertools import combinations
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models.ensembles import encode_all
from sbnn.models.map_agreement import nearest_cells, procrustes_r2
from sbnn.models.r2 import r2
from sbnn.models.schedules import Schedule, Stage
from sbnn.validation.folds import make_folds, view_fold
from sbnn.validation.stability import nogueira_index

SEEDS = range(6)
FAST = {
    "bottleneck_dim": 2,
    "group_lasso": 0.05,
    "layout": "clusters",
    "pretrain_epochs": 10,
    "pretrain_dropout": 0.0,
    "frozen_epochs": 5,
    "finetune_epochs": 20,
    "dropout": 0.3,
    "learning_rate": 1e-3,
    "prune_epochs": 60,
    "prune_dropout": 0.1,
    "prune_rate": 1e-3,
    "shared": False,
    "n_starts": 1,
}
STARTS = FAST | {"n_starts": 10, "prune_epochs": 120, "prune_dropout": 0.2}
LAYOUT = FAST | {
    "layout": "pca",
    "group_lasso": 0.08,
    "pretrain_epochs": 40,
    "pretrain_dropout": 0.3,
    "prune_epochs": 100,
    "learning_rate": 5e-4,
}
WIDE = FAST | {
    "bottleneck_dim": 64,
    "group_lasso": 0.03,
    "pretrain_epochs": 20,
    "pretrain_dropout": 0.3,
    "prune_epochs": 100,
    "prune_dropout": 0.4,
    "prune_rate": 2e-3,
}
#: Changes of a starting point, tried one by one.
ROUNDS = {
    "starts": (
        STARTS,
        [
            {},
            {"prune_epochs": 60, "prune_dropout": 0.1},
            {"prune_epochs": 200},
            {"layout": "tsne", "pretrain_epochs": 20, "pretrain_dropout": 0.3},
        ],
    ),
    "fast": (FAST, [{}, {"shared": True}, {"bottleneck_dim": 64, "group_lasso": 0.01}]),
    "layout": (
        LAYOUT,
        [
            {},
            {"shared": True},
            {"layout": "tsne"},
            {"group_lasso": 0.05},
            {"group_lasso": 0.12},
            {"pretrain_epochs": 20},
            {"pretrain_epochs": 80},
            {"pretrain_dropout": 0.2},
            {"pretrain_dropout": 0.5},
            {"frozen_epochs": 20},
            {"finetune_epochs": 40},
            {"dropout": 0.2},
            {"dropout": 0.4},
            {"learning_rate": 1e-3},
            {"prune_epochs": 60},
            {"prune_dropout": 0.05},
            {"prune_rate": 5e-4},
        ],
    ),
    "wide": (
        WIDE,
        [
            {},
            {"shared": True},
            {"group_lasso": 0.02},
            {"group_lasso": 0.05},
            {"pretrain_epochs": 10},
            {"dropout": 0.4},
            {"dropout": 0.5},
            {"finetune_epochs": 40},
            {"prune_epochs": 60},
            {"prune_epochs": 150},
            {"prune_dropout": 0.3},
            {"prune_dropout": 0.5},
            {"prune_rate": 1e-3},
        ],
    ),
}


def make_schedule(trial):
    """Return the schedule of a trial."""
    common = {"batch_size": 128, "decay": "cosine", "evaluate_every": 5}
    layout = {"cluster_starts": 20} if trial["layout"] == "clusters" else {"layout": trial["layout"]}
    rate, dropout = trial["learning_rate"], trial["pretrain_dropout"]
    return Schedule(
        "trial",
        (
            Stage("pretrained", trial["pretrain_epochs"], rate, input_dropout=dropout, **layout, **common),
            Stage("frozen", trial["frozen_epochs"], rate, freeze_hidden=True, **common),
            Stage("finetuned", trial["finetune_epochs"], rate, input_dropout=trial["dropout"], **common),
            Stage("pruned", trial["prune_epochs"], trial["prune_rate"], input_dropout=trial["prune_dropout"], **common),
        ),
    )


def make_splits(data):
    """Hold out the test cells of two of the paper's first three folds, in every combination."""
    tests = [fold.test for fold in make_folds(data, "paper")[:3]]
    splits = []
    for pair in combinations(tests, 2):
        held_out = np.concatenate(pair)
        splits.append((np.setdiff1d(np.arange(data.n_cells), held_out), held_out))
    return splits


def common_neighbours(one, other, n_neighbours=30):
    """Return the share of nearest neighbours that two maps have in common."""
    first, second = (nearest_cells(Z, n_neighbours) for Z in (one, other))
    return (first & second).sum() / first.sum()


def members_maps(networks, X):
    """Return the maps of the members of an ensemble, or of single networks."""
    if len(networks) > 1:
        return [network.transform(X) for network in networks]
    ensemble = networks[0]
    return list(encode_all(ensemble._layers(), ensemble.members_, ensemble._centred(X)))


def score_split(view, networks, maps=None):
    """Return the scores of the networks of one split; maps are theirs, or their members', if not given."""
    X, Y, train, test = view.X, view.Y, view.train, view.test
    predictions = np.mean([network.predict(X[test]) for network in networks], axis=0)
    selected = np.array([network.selected_ for network in networks])
    row = {"r2_mean": r2(Y[test], predictions, Y[train].mean(axis=0)), "common_genes": selected.all(axis=0).sum()}
    row["nogueira"] = nogueira_index(selected).value if len(networks) > 1 else 1.0
    maps = members_maps(networks, X[train]) if maps is None else maps
    if maps[0].shape[1] == 2:
        pairs = list(combinations(maps, 2))
        row["procrustes_r2"] = np.mean([procrustes_r2(*pair) for pair in pairs])
        row["common_neighbours"] = np.mean([common_neighbours(*pair) for pair in pairs[:5]])
    return row


def score_starts(view, ensembles):
    """Return the scores of the ensembles of one split, and of the most central network of each."""
    test, centre = view.Y[view.test], view.Y[view.train].mean(axis=0)
    maps = [ensemble.transform(view.X) for ensemble in ensembles]
    central = [ensemble.decode_features(Z[view.test]) for ensemble, Z in zip(ensembles, maps, strict=True)]
    return {
        **score_split(view, ensembles, [Z[view.train] for Z in maps]),
        "r2_25_genes": np.mean([r2(test, predicted, centre) for predicted in central]),
        "r2_mean": np.mean([r2(test, ensemble.predict(view.X[view.test]), centre) for ensemble in ensembles]),
    }


def run_trial(data, splits, trial):
    """Train the networks of a trial; return its row."""
    settings = {"group_lasso": trial["group_lasso"], "schedule": make_schedule(trial)}
    together = trial["n_starts"] > 1
    seeds = [0] if trial["shared"] else SEEDS[:3] if together else SEEDS
    n_networks = len(SEEDS) if trial["shared"] else trial["n_starts"]
    models = {
        f"seed {seed}": SparseBottleneckRegressor(
            trial["bottleneck_dim"], random_state=seed, n_networks=n_networks, **settings
        )
        for seed in seeds
    }
    start = time.perf_counter()
    result = cross_validate(data, models, folds=splits, within_fold=True, keep=[], progress=False)
    seconds = (time.perf_counter() - start) / (len(splits) * len(seeds) * n_networks)
    by_stage = result.scores.groupby("stage")["r2_test"].mean()
    networks = np.array(result.estimators, dtype=object).reshape(len(models), len(splits))
    views = [view_fold(data, split, within_fold=True) for split in result.folds]
    score = score_starts if together else score_split
    rows = pd.DataFrame([score(view, list(networks[:, number])) for number, view in enumerate(views)])
    return {
        **trial,
        "r2_all_genes": by_stage["finetuned"],
        "r2_25_genes": by_stage["pruned"],
        **rows.mean().to_dict(),
        "seconds_per_network": seconds,
    }


def main():
    """Run the rounds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rounds", nargs="*", help=f"of {', '.join(ROUNDS)}; all if none is named")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("stable_schedule_trials.csv"))
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    splits = make_splits(data)
    rows = pd.read_csv(arguments.output).to_dict("records") if arguments.output.exists() else []
    for name in arguments.rounds or ROUNDS:
        start, changes = ROUNDS[name]
        for change in changes:
            trial = {"round": name, **start, **change}
            if any(all(row[key] == value for key, value in trial.items()) for row in rows):
                continue
            rows.append(run_trial(data, splits, trial))
            found = {key: round(float(value), 4) for key, value in rows[-1].items() if key not in trial}
            rows[-1] |= found
            print(name, change, found, flush=True)
            pd.DataFrame(rows).to_csv(arguments.output, index=False)


if __name__ == "__main__":
    main()
