"""Measure ensembles of ten networks, and networks of ten starts, against single networks, and how far they agree.

Trained on the ten folds of scala_2020, with random states 0, 1 and 2: single networks of the schedules "fast" (2-D) and
"wide" (64-D), and ensembles of ten of "stable" (2-D), "wide", and of "fast" with 64 dimensions and all genes. The
consensus network of an ensemble of "stable" (stage "consensus") is the single network of "stable" with the same random
state (tests/models/test_ensembles.py). R2 is that of the last epoch. The schedules were chosen on cells that folds 0 to
2 test (choose_stable_schedule.py, choose_fast_schedule.py): "folds 3 to 9" is independent of that. And on all cells:
single networks of "fast" and "stable" with ten random states; those of "stable" are the consensus networks of ensembles
of ten without a common seed.

Writes benchmarks/ensembles.csv: R2 of every model, random state and fold, and benchmarks/ensembles_agreement.csv: for
each pair of random states the genes in common, Procrustes R2 and common 30 nearest neighbours of their maps.

Usage: python benchmarks/ensembles.py [--random-states 0 1 2] [--store FOLDER]
"""

import argparse
import os
from itertools import combinations
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from choose_stable_schedule import common_neighbours
from sklearn.base import clone

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models.map_agreement import procrustes_r2
from sbnn.models.schedules import SCHEDULES, Schedule
from sbnn.validation.stability import nogueira_index

N_NETWORKS = 10
NOT_PRUNED = Schedule("not pruned", SCHEDULES["fast"].stages[:3])
MODELS = {
    "fast, one network": SparseBottleneckRegressor(),
    "stable, ten networks": SparseBottleneckRegressor(schedule="stable", n_networks=N_NETWORKS),
    "wide, one network": SparseBottleneckRegressor(64, 0.03, schedule="wide"),
    "wide, ten networks": SparseBottleneckRegressor(64, 0.03, schedule="wide", n_networks=N_NETWORKS),
    "all genes, ten networks": SparseBottleneckRegressor(
        64, 0.01, n_selected=None, schedule=NOT_PRUNED, n_networks=N_NETWORKS
    ),
}
OF_ALL_CELLS = {"fast": SparseBottleneckRegressor(), "stable": SparseBottleneckRegressor(schedule="stable")}
SCORES, AGREEMENT = (Path(__file__).with_name(f"ensembles{end}.csv") for end in ("", "_agreement"))


def with_states(model, random_states):
    """Return the model once for each random state."""
    return [clone(model).set_params(random_state=state) for state in random_states]


def score(data, random_states, store):
    """Return R2 in every fold."""
    models = {name: with_states(model, random_states) for name, model in MODELS.items()}
    scores = cross_validate(data, models, folds="paper", store=store, keep=[]).scores
    kept = ["model", "random_state", "fold", "stage", "n_selected", "r2_train", "r2_test"]
    return scores[~scores["stage"].eq("frozen")][kept]


def agreement(data, name, store):
    """Return how far networks of all cells agree that differ in their random state."""
    states = range(10)
    models = {str(state): model for state, model in zip(states, with_states(OF_ALL_CELLS[name], states), strict=True)}
    fitted = cross_validate(data, models, folds="all", store=store, keep=[]).estimators
    chosen = np.array([one.selected_ for one in fitted])
    print(f"{name}: {int(chosen.all(axis=0).sum())} genes common to all, Nogueira index {nogueira_index(chosen)}")
    rows = []
    for (first, one), (second, other) in combinations(zip(states, fitted, strict=True), 2):
        maps = one.transform(data.X), other.transform(data.X)
        row = {"model": name, "first": first, "second": second}
        row["common_genes"] = int((one.selected_ & other.selected_).sum())
        row |= {"procrustes_r2": procrustes_r2(*maps), "common_neighbours": common_neighbours(*maps)}
        rows.append(row)
    return pd.DataFrame(rows)


def main():
    """Train, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--random-states", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    pairs = pd.concat([agreement(data, name, arguments.store) for name in OF_ALL_CELLS])
    print(pairs.groupby("model", sort=False).agg(["mean", "min"]).round(3).to_string(), flush=True)
    scores = score(data, arguments.random_states, arguments.store)
    late = scores[scores["fold"] > 2].groupby(["model", "stage"], sort=False)["r2_test"].mean()
    summary = scores.groupby(["model", "stage"], sort=False)["r2_test"].agg(["mean", "std"])
    print(summary.assign(**{"folds 3 to 9": late}).round(4).to_string())
    scores.round(6).to_csv(SCORES, index=False)
    pairs.round(4).to_csv(AGREEMENT, index=False)


if __name__ == "__main__":
    main()
