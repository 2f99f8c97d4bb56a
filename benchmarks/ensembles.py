"""Measure ensembles of ten networks against single networks on the paper's folds, and how far ensembles agree.

Trained are networks of the schedules "fast" (2-D) and "wide" (64-D) on the ten folds of scala_2020, alone and as
ensembles of ten, with random states 0, 1 and 2; and on all cells, ensembles with random states 0, 1 and 2, whose
networks have no seed in common. R2 is that of the last epoch. The schedules were chosen on cells that folds 0 to 2
test (choose_stable_schedule.py, choose_fast_schedule.py): "folds 3 to 9" is independent of that.

Writes benchmarks/ensembles.csv: R2 of every model, random state and fold, and benchmarks/ensembles_agreement.csv: for
each pair of ensembles the genes in common, Procrustes R2 and common 30 nearest neighbours of their maps.

Usage: python benchmarks/ensembles.py [fast] [wide] [--random-states 0 1 2] [--store FOLDER]
"""

import argparse
import os
from itertools import combinations
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
from choose_stable_schedule import common_neighbours

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models.map_agreement import procrustes_r2

N_NETWORKS = 10
SETTINGS = {
    "fast": {"bottleneck_dim": 2, "group_lasso": 0.05, "schedule": "fast"},
    "wide": {"bottleneck_dim": 64, "group_lasso": 0.03, "schedule": "wide"},
}
SCORES, AGREEMENT = (Path(__file__).with_name(f"ensembles{end}.csv") for end in ("", "_agreement"))


def model(name, random_state, n_networks):
    """Return the network, or ensemble, of a schedule."""
    return SparseBottleneckRegressor(**SETTINGS[name], random_state=random_state, n_networks=n_networks)


def score(data, name, random_states, store):
    """Return R2 in every fold, of single networks and ensembles."""
    models = {
        f"{name}, {number} network{'s' * (number > 1)}": [model(name, state, number) for state in random_states]
        for number in (1, N_NETWORKS)
    }
    scores = cross_validate(data, models, store=store, keep=[]).scores
    kept = ["model", "random_state", "fold", "stage", "n_selected", "r2_train", "r2_test"]
    return scores[~scores["stage"].eq("frozen")][kept]


def agreement(data, name, random_states, store):
    """Return how far ensembles of all cells agree."""
    models = {str(state): model(name, state, N_NETWORKS) for state in random_states}
    fitted = cross_validate(data, models, folds="all", store=store, keep=[]).estimators
    rows = []
    for (first, one), (second, other) in combinations(zip(random_states, fitted, strict=True), 2):
        maps = one.transform(data.X), other.transform(data.X)
        row = {"model": name, "first": first, "second": second}
        row["common_genes"] = int((one.selected_ & other.selected_).sum())
        row |= {"procrustes_r2": procrustes_r2(*maps), "common_neighbours": common_neighbours(*maps)}
        rows.append(row)
    return pd.DataFrame(rows)


def main():
    """Train, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETTINGS)}; all if none is named")
    parser.add_argument("--random-states", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    names = arguments.names or list(SETTINGS)
    scores = pd.concat([score(data, name, arguments.random_states, arguments.store) for name in names])
    pairs = pd.concat([agreement(data, name, arguments.random_states, arguments.store) for name in names])
    late = scores[scores["fold"] > 2].groupby(["model", "stage"], sort=False)["r2_test"].mean()
    summary = scores.groupby(["model", "stage"], sort=False)["r2_test"].agg(["mean", "std"])
    print(summary.assign(**{"folds 3 to 9": late}).round(4).to_string())
    print(pairs.round(4).to_string(index=False))
    if not arguments.names:
        scores.round(6).to_csv(SCORES, index=False)
        pairs.round(4).to_csv(AGREEMENT, index=False)


if __name__ == "__main__":
    main()
