"""Measure ensembles of ten networks, and networks of ten starts, against single networks, and how far they agree.

Trained are networks of the schedules "fast" and "stable" (2-D) and "wide" (64-D) on the ten folds of scala_2020, alone
and as ensembles of ten, with random states 0, 1 and 2; and 64-D networks of "fast" that keep all genes. R2 is that of
the last epoch. The schedules were chosen on cells that folds 0 to 2 test (choose_stable_schedule.py,
choose_fast_schedule.py): "folds 3 to 9" is independent of that. And on all cells: single networks of "fast" and
"stable" with ten random states, and ensembles with three, whose networks have no seed in common.

Writes benchmarks/ensembles.csv: R2 of every model, random state and fold, and benchmarks/ensembles_agreement.csv: for
each pair of random states the genes in common, Procrustes R2 and common 30 nearest neighbours of their maps.

Usage: python benchmarks/ensembles.py [fast] [stable] [wide] ['not pruned'] [--random-states 0 1 2] [--store FOLDER]
"""

import argparse
import os
from itertools import combinations
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from choose_stable_schedule import common_neighbours

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models.map_agreement import procrustes_r2
from sbnn.models.schedules import SCHEDULES, Schedule

N_NETWORKS = 10
SETTINGS = {
    "fast": {"bottleneck_dim": 2, "group_lasso": 0.05, "schedule": "fast"},
    "stable": {"bottleneck_dim": 2, "group_lasso": 0.05, "schedule": "stable"},
    "wide": {"bottleneck_dim": 64, "group_lasso": 0.03, "schedule": "wide"},
    "not pruned": {
        "bottleneck_dim": 64,
        "group_lasso": 0.01,
        "schedule": Schedule("not pruned", SCHEDULES["fast"].stages[:3]),
        "n_selected": None,
    },
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


def agreement(data, name, n_networks, random_states, store):
    """Return how far networks, or ensembles, of all cells agree."""
    models = {str(state): model(name, state, n_networks) for state in random_states}
    fitted = cross_validate(data, models, folds="all", store=store, keep=[]).estimators
    print(name, n_networks, "genes common to all:", int(np.all([one.selected_ for one in fitted], axis=0).sum()))
    rows = []
    for (first, one), (second, other) in combinations(zip(random_states, fitted, strict=True), 2):
        maps = one.transform(data.X), other.transform(data.X)
        row = {"model": name, "n_networks": n_networks, "first": first, "second": second}
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
    pairs = [
        agreement(data, name, number, states, arguments.store)
        for name in names
        if SETTINGS[name]["bottleneck_dim"] == 2
        for number, states in ((1, range(10)), (N_NETWORKS, arguments.random_states))
    ]
    late = scores[scores["fold"] > 2].groupby(["model", "stage"], sort=False)["r2_test"].mean()
    summary = scores.groupby(["model", "stage"], sort=False)["r2_test"].agg(["mean", "std"])
    print(summary.assign(**{"folds 3 to 9": late}).round(4).to_string())
    if pairs:
        pairs = pd.concat(pairs)
        print(pairs.groupby(["model", "n_networks"], sort=False).agg(["mean", "min"]).round(3).to_string())
    if not arguments.names:
        scores.round(6).to_csv(SCORES, index=False)
        pairs.round(4).to_csv(AGREEMENT, index=False)


if __name__ == "__main__":
    main()
