"""Compare the default network of PairedModel with sparse reduced-rank regression on few cells.

Training cells are subsamples of 80, 150, 300 and 600 cells of scala_2020 (ten draws of whole animals; at most 600 cells
of the other animals are predicted), scala_2020_phys_temp (donor folds) and ctcl_2019 (five random folds). z-scores and
clusters are fitted on the training cells. Compared are `sbnn.models.default_network` for as many cells as there are
training cells, a single network of "fast", and reduced-rank regression of two components with the alpha whose number of
genes is nearest to 25, relaxed and not. The draws differ from those on which the schedule "small" was chosen
(choose_small_schedule.py), the cells of scala_2020 and ctcl_2019 do not.

Writes benchmarks/small_data.csv: R2 on the test cells of every set, model and fold.

Usage: python benchmarks/small_data.py [SET ...] [--store FOLDER]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
from choose_small_schedule import linear_scores, random_folds, subsample

from sbnn import SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models.default_network import default_network
from sbnn.validation.comparison import final_scores
from sbnn.validation.folds import make_folds

SIZES, N_DRAWS = (80, 150, 300, 600), 10
OUTPUT = Path(__file__).with_name("small_data.csv")


def list_sets():
    """Return {name: (data, folds)}."""
    scala, own, ctcl = (load_dataset(name) for name in ("scala_2020", "scala_2020_phys_temp", "ctcl_2019"))
    sets = {
        f"scala_2020, {n_cells} cells": (scala, [subsample(scala, n_cells, draw) for draw in range(N_DRAWS)])
        for n_cells in SIZES
    }
    sets["scala_2020_phys_temp"] = own, [(fold.train, fold.test) for fold in make_folds(own, "donor")]
    return sets | {"ctcl_2019": (ctcl, random_folds(ctcl.n_cells, 5, 0))}


def compare(data, folds, store):
    """Return R2 of every model and fold."""
    n_train = min(len(train) for train, _ in folds)
    models = {"PairedModel's network": default_network(n_train), "fast, one network": SparseBottleneckRegressor()}
    result = cross_validate(data, models, folds=folds, within_fold=True, keep=[], store=store, progress=False)
    networks = final_scores(result.scores)[["model", "fold", "n_selected", "r2_test"]]
    found = linear_scores(data, folds)
    linear = [
        pd.DataFrame({"model": name, "fold": found.index, "n_selected": found["sRRR-2 genes"], "r2_test": found[name]})
        for name in ("sRRR-2, relaxed", "sRRR-2")
    ]
    return pd.concat([networks, *linear])


def main():
    """Compare, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", help="names; all if none is named")
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    arguments = parser.parse_args()
    sets = {name: parts for name, parts in list_sets().items() if not arguments.sets or name in arguments.sets}
    tables = []
    for name, (data, folds) in sets.items():
        tables.append(compare(data, folds, arguments.store).assign(set=name))
        print(name, tables[-1].groupby("model", sort=False)["r2_test"].mean().round(4).to_dict(), flush=True)
    table = pd.concat(tables)[["set", "model", "fold", "n_selected", "r2_test"]]
    print(table.pivot_table(index="set", columns="model", values="r2_test", sort=False).round(3).to_string())
    if not arguments.sets:
        table.round(4).to_csv(OUTPUT, index=False)


if __name__ == "__main__":
    main()
