"""Try settings of the schedule "small", for data sets of a few hundred cells, on subsamples, simulations and CITE-seq.

Sets of training cells: 80, 150 and 300 cells of scala_2020, whole animals drawn at random until there are as many
(three draws; at most 600 cells of the other animals are predicted); 80 and 300 of 700 simulated cells, the others are
predicted (three simulations); and ctcl_2019 (500 cells, five random folds). z-scores and clusters are fitted on the
training cells. Each trial is an ensemble of five networks, scored by R2 of their mean prediction ("r2_ensemble"), and
after each stage as the mean over networks. Beside it stands sparse reduced-rank regression of two components with the
alpha whose number of genes is nearest to 25 on the same training cells, relaxed and not.

The draws differ from those that benchmarks/small_data.py reports; the cells do not.

Usage: python benchmarks/choose_small_schedule.py [SET ...] [--output benchmarks/small_schedule_trials.csv]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from choose_stable_schedule import FAST, make_schedule

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset, simulate_patchseq
from sbnn.models.r2 import r2
from sbnn.models.reduced_rank import reduced_rank_path, relax
from sbnn.validation.folds import make_folds, view_fold
from sbnn.validation.learning_curve import draw_animals

FIRST_DRAW, N_DRAWS, N_NETWORKS, N_GENES, MOST_TEST_CELLS = 1000, 3, 5, 25, 600
LONG = {
    "group_lasso": 0.1,
    "pretrain_epochs": 40,
    "pretrain_dropout": 0.3,
    "finetune_epochs": 60,
    "prune_epochs": 120,
    "prune_dropout": 0.5,
}
#: Settings that differ from those of "fast", by the name of the trial.
TRIALS = {
    "fast": {},
    "dropout, 120 epochs": {"prune_dropout": 0.5, "prune_epochs": 120},
    "long": LONG,  # the schedule "small"
    "long, 60 epochs": LONG | {"prune_epochs": 60},
    "long, more dropout": LONG | {"pretrain_dropout": 0.5, "dropout": 0.5},
    "long, penalty .05": LONG | {"group_lasso": 0.05},
}
ALPHAS = np.geomspace(0.05, 1.2, 30)


def subsample(data, n_cells, draw):
    """Draw whole animals until there are n_cells, the last in part; return (training cells, cells of other animals)."""
    random = np.random.default_rng([draw, n_cells])
    train = draw_animals(data.donors, n_cells, random)
    others = np.flatnonzero(~np.isin(data.donors, data.donors[train]))
    return np.sort(train), np.sort(random.permutation(others)[:MOST_TEST_CELLS])


def random_folds(n_cells, n_folds, random_state):
    """Return (train, test) of random folds."""
    parts = np.array_split(np.random.default_rng(random_state).permutation(n_cells), n_folds)
    return [(np.setdiff1d(np.arange(n_cells), part), np.sort(part)) for part in parts]


def list_sets():
    """Return {name: list of (data, folds)}."""
    scala, ctcl = load_dataset("scala_2020"), load_dataset("ctcl_2019")
    draws = range(FIRST_DRAW, FIRST_DRAW + N_DRAWS)
    sets = {
        f"scala_2020, {n_cells} cells": [(scala, [subsample(scala, n_cells, draw) for draw in draws])]
        for n_cells in (80, 150, 300)
    }
    for n_cells in (80, 300):
        split = [(np.arange(n_cells), np.arange(300, 700))]
        made = [simulate_patchseq(700, 1000, 16, 30, random_state=draw)[0] for draw in draws]
        sets[f"simulated, {n_cells} cells"] = [(data, split) for data in made]
    return sets | {"ctcl_2019": [(ctcl, random_folds(ctcl.n_cells, 5, FIRST_DRAW))]}


def linear_scores(data, folds, n_genes=N_GENES):
    """Return R2 of sparse reduced-rank regression with about n_genes, relaxed and not, and the number, by fold."""
    rows = []
    for fold in make_folds(data, folds):
        view = view_fold(data, fold, within_fold=True)
        X, Y = (np.asarray(table[view.train], dtype=float) for table in (view.X, view.Y))
        fits = reduced_rank_path(X, Y, ALPHAS, rank=2)
        nearest = int(np.argmin([abs(fit.selected.sum() - n_genes) for fit in fits]))
        final = relax(X, Y, fits[nearest], ALPHAS[nearest])
        row = {"sRRR-2 genes": int(fits[nearest].selected.sum())}
        centred, centre = view.X[view.test] - X.mean(axis=0), np.nanmean(Y, axis=0)
        for name, fit in (("sRRR-2, relaxed", final), ("sRRR-2", fits[nearest])):
            row[name] = r2(view.Y[view.test], centred @ fit.W @ fit.V.T + centre + fit.offset, centre)
        rows.append(row)
    return pd.DataFrame(rows)


def network_scores(data, folds, models):
    """Return R2 of every model, fold and stage."""
    return cross_validate(data, models, folds=folds, within_fold=True, keep=[], progress=False).scores


def main():
    """Run the trials and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", help="names; all if none is named")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("small_schedule_trials.csv"))
    arguments = parser.parse_args()
    models = {
        name: SparseBottleneckRegressor(
            group_lasso=(FAST | changes)["group_lasso"], schedule=make_schedule(FAST | changes), n_networks=N_NETWORKS
        )
        for name, changes in TRIALS.items()
    }
    sets = {name: parts for name, parts in list_sets().items() if not arguments.sets or name in arguments.sets}
    rows = pd.read_csv(arguments.output).to_dict("records") if arguments.output.exists() else []
    for name, parts in sets.items():
        if any(row["set"] == name for row in rows):
            continue
        scores = pd.concat([network_scores(data, folds, models) for data, folds in parts])
        linear = pd.concat([linear_scores(data, folds) for data, folds in parts]).mean()
        table = scores.pivot_table(index="model", columns="stage", values="r2_test", sort=False).add_prefix("r2_")
        found = pd.DataFrame(TRIALS).T.reindex(table.index).fillna(FAST).assign(**table, **linear)
        rows += [{"set": name, "trial": trial, **row} for trial, row in found.to_dict("index").items()]
        pd.DataFrame(rows).round(4).to_csv(arguments.output, index=False)
        print(name, linear.round(4).to_dict(), table.round(4).to_string(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
