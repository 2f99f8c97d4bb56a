"""Try settings of the schedule "fast" on inner splits of the paper's training folds.

A fifth of the training cells of the first five folds of scala_2020 is held out; z-scores and clusters are fitted on
the rest (`within_fold`). No network saw a test cell of its fold; but the held-out cells of one fold are test cells of
others: here only of folds 0, 1 and 2, because the first cells of the permuted order are taken, so that R2 on folds 3
to 9 is independent of this choice. Settings are changed one after another (rounds); each trial trains five networks.
After every trial one row is written: its settings, R2 on the held-out cells with all genes and with 25, how many of
the 25 genes two networks share, and seconds per network.

Usage: python benchmarks/choose_fast_schedule.py [--output benchmarks/fast_schedule_trials.csv]
"""

import argparse
import itertools
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models.schedules import Schedule, Stage
from sbnn.validation.folds import make_folds

N_SPLITS = 5
START = {
    "bottleneck_dim": 2,
    "group_lasso": 0.05,
    "learning_rate": 1e-3,
    "batch_size": 128,
    "pretrain_epochs": 10,
    "pretrain_dropout": 0.0,
    "frozen_epochs": 5,
    "finetune_epochs": 30,
    "dropout": 0.4,
    "prune_epochs": 30,
    "prune_dropout": 0.1,
}
WIDE = {**START, "bottleneck_dim": 64, "pretrain_epochs": 0, "frozen_epochs": 0, "dropout": 0.5, "group_lasso": 0.03}
#: Changes of the starting point, tried one by one, then together.
ROUNDS = {
    "2-D, one by one": (
        START,
        [
            {},
            {"group_lasso": 0.02},
            {"group_lasso": 0.1},
            {"group_lasso": 0.2},
            {"dropout": 0.2},
            {"dropout": 0.3},
            {"dropout": 0.5},
            {"prune_dropout": 0.0},
            {"prune_dropout": 0.2},
            {"pretrain_epochs": 0, "frozen_epochs": 0},
            {"pretrain_epochs": 20, "frozen_epochs": 10},
            {"pretrain_dropout": 0.4},
            {"learning_rate": 5e-4},
            {"learning_rate": 2e-3},
            {"batch_size": 64},
            {"finetune_epochs": 20},
            {"finetune_epochs": 50},
            {"prune_epochs": 20},
            {"prune_epochs": 60},
        ],
    ),
    "64-D, one by one": (
        WIDE,
        [
            {},
            {"group_lasso": 0.01},
            {"group_lasso": 0.05},
            {"group_lasso": 0.1},
            {"dropout": 0.4},
            {"dropout": 0.6},
            {"prune_dropout": 0.2},
            {"finetune_epochs": 50},
            {"prune_epochs": 60},
            {"pretrain_epochs": 10, "frozen_epochs": 5},
        ],
    ),
    "2-D, together": (
        {**START, "prune_epochs": 60},
        [
            {"dropout": 0.3},
            {"dropout": 0.2},
            {"dropout": 0.3, "prune_dropout": 0.0},
            {"dropout": 0.3, "finetune_epochs": 20},
            {"dropout": 0.3, "group_lasso": 0.1},
            {"dropout": 0.3, "finetune_epochs": 20, "group_lasso": 0.1},
            {"dropout": 0.3, "frozen_epochs": 0},
            {"dropout": 0.3, "frozen_epochs": 0, "finetune_epochs": 20},
            {"dropout": 0.3, "frozen_epochs": 0, "finetune_epochs": 20, "prune_epochs": 40},
        ],
    ),
    "64-D, together": (
        {**WIDE, "prune_epochs": 60},
        [
            {"dropout": 0.4},
            {"dropout": 0.3},
            {"dropout": 0.4, "pretrain_epochs": 10, "frozen_epochs": 5},
            {"dropout": 0.4, "group_lasso": 0.01},
            {"dropout": 0.3, "group_lasso": 0.01},
            {"dropout": 0.4, "group_lasso": 0.003},
            {"dropout": 0.3, "pretrain_epochs": 10},
            {"dropout": 0.3, "pretrain_epochs": 10, "finetune_epochs": 20},
            {"dropout": 0.3, "pretrain_epochs": 10, "group_lasso": 0.05},
            {"dropout": 0.3, "pretrain_epochs": 10, "group_lasso": 0.01},
        ],
    ),
}


def make_schedule(trial):
    """Return the schedule of a trial."""
    common = {"batch_size": trial["batch_size"], "decay": "cosine", "evaluate_every": 10}
    rate = trial["learning_rate"]
    stages = []
    if trial["pretrain_epochs"]:
        dropout = trial["pretrain_dropout"]
        stages.append(
            Stage("pretrained", trial["pretrain_epochs"], rate, cluster_starts=20, input_dropout=dropout, **common)
        )
    if trial["frozen_epochs"]:
        stages.append(Stage("frozen", trial["frozen_epochs"], rate, freeze_hidden=True, **common))
    stages.append(Stage("finetuned", trial["finetune_epochs"], rate, input_dropout=trial["dropout"], **common))
    stages.append(Stage("pruned", trial["prune_epochs"], rate, input_dropout=trial["prune_dropout"], **common))
    return Schedule("trial", stages)


def inner_splits(data):
    """Hold out the first fifth of the training cells, in the paper's permuted order, of the first five folds."""
    splits = []
    for fold in make_folds(data, "paper")[:N_SPLITS]:
        n_held_out = len(fold.train) // 5
        splits.append((fold.train[n_held_out:], fold.train[:n_held_out]))
    return splits


def shared_genes(selected):
    """Return how many of the genes of two networks are the same, on average over pairs."""
    genes = [set(table["gene"]) for _, table in selected.groupby("fold")]
    return np.mean([len(first & second) for first, second in itertools.combinations(genes, 2)])


def run_trial(data, splits, trial):
    """Train the networks of a trial; return its row."""
    network = SparseBottleneckRegressor(
        trial["bottleneck_dim"], trial["group_lasso"], schedule=make_schedule(trial), random_state=0
    )
    start = time.perf_counter()
    result = cross_validate(data, {"trial": network}, folds=splits, within_fold=True, keep=[], progress=False)
    seconds = (time.perf_counter() - start) / len(splits)
    r2 = result.scores.groupby("stage")["r2_test"].mean()
    return {
        **trial,
        "r2_all_genes": round(r2["finetuned"], 4),
        "r2_25_genes": round(r2["pruned"], 4),
        "shared_genes": round(shared_genes(result.selected), 1),
        "seconds": round(seconds, 2),
    }


def main():
    """Run the rounds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("fast_schedule_trials.csv"))
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    splits = inner_splits(data)
    rows = pd.read_csv(arguments.output).to_dict("records") if arguments.output.exists() else []
    for name, (start, changes) in ROUNDS.items():
        for change in changes:
            trial = {"round": name, **start, **change}
            if any(all(row[key] == value for key, value in trial.items()) for row in rows):
                continue
            rows.append(run_trial(data, splits, trial))
            print({**change, **{key: rows[-1][key] for key in list(rows[-1])[-4:]}}, flush=True)
            pd.DataFrame(rows).to_csv(arguments.output, index=False)


if __name__ == "__main__":
    main()
