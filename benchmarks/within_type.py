"""Check that `sbnn.beyond_class` finds what varies within cell types where there is something, and nothing elsewhere.

Simulated cells (`sbnn.simulate_patchseq`) in which every gene follows the hidden map, so that a model of all genes
reads a cell's type nearly without error: features differ within types only by noise (within_type=0), or with the place
of the cell as well (within_type=1). The noise is such that type means explain about half of the variance, as in
scala_2020. Five folds of donors. Models have fixed settings, chosen on the draw of seed 1000, and read all genes: one
that reads the type from a few noisy genes, or learns the noise of the features, predicts differences within a type
where there are none, and its R2 within types is below 0. The network therefore drops 80 % of its inputs; with the
dropout of "fast" it learns noise. The mean of k neighbours on a map, whatever the map, has R2 of about -1/k there.

Writes benchmarks/within_type.csv: for each draw and model R2 within types of its predictions and, if it has a map, of
the nearest neighbours there, and the gain of class and map over the class mean with its interval; found: its lower end
is above 0. With fewer draws or models only what --output names.

Usage: python benchmarks/within_type.py [--draws 20] [--within-type 0 1] [--models NAME ...] [--n-jobs N]
       [--output FILE]
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
from earlier_rows import write_whole
from joblib import Parallel, delayed
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, beyond_class, cross_validate, simulate_patchseq
from sbnn.models.schedules import Schedule, get_schedule

FILE = Path(__file__).with_suffix(".csv")
N_DRAWS, WITHIN_TYPES = 20, (0.0, 1.0)
SIMULATION = {"n_cells": 1200, "n_genes": 600, "n_informative": 600, "noise": 1.0}
DROPOUT = Schedule(
    "dropout",
    tuple(stage if stage.freeze_hidden else replace(stage, input_dropout=0.8) for stage in get_schedule("fast").stages),
)
MODELS = {
    "linear map": ReducedRankRegressor(2, 5.0, l1_ratio=0),
    "ridge": ReducedRankRegressor(None, 5.0, l1_ratio=0),
    "PCA + kNN": make_pipeline(PCA(2, random_state=0), KNeighborsRegressor(100)),
    "kernel ridge": KernelRidge(kernel="rbf", gamma=1e-4, alpha=3.0),
    "extra trees": ExtraTreesRegressor(100, min_samples_leaf=10, max_features=0.3, random_state=0),
    "sBNN-2": SparseBottleneckRegressor(2, 0.01, n_selected=None, schedule=DROPOUT),
}
BOUND = 0.02  # of R2 within types where there is nothing


def one_draw(within_type, seed, models):
    """Return rows of R2 within types, and of the gain, of one simulated data set."""
    data, _ = simulate_patchseq(**SIMULATION, within_type=within_type, random_state=seed)
    folds = GroupKFold(5, shuffle=True, random_state=seed)
    result = cross_validate(data, models, folds=folds, progress=False)
    found = beyond_class(result, data, "cell_types", random_state=seed)
    within = found.within.drop_duplicates(["model", "predicted_by"])
    within = within.pivot(index="model", columns="predicted_by", values="within_r2").add_prefix("within_r2_")
    gains = found.overall.set_index("model")[["r2_class", "gain", "low", "high", "p"]]
    table = within.join(gains).reindex(list(models))
    table["found"] = (table["low"] > 0).astype(float).where(table["low"].notna())
    return table.reset_index().assign(within_type=within_type, seed=seed)


def main():
    """Draw, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    parser.add_argument("--within-type", type=float, nargs="+", default=list(WITHIN_TYPES))
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--n-jobs", type=int, default=1, help="processes, which share the draws")
    parser.add_argument("--output", type=Path, help="another file for the table")
    arguments = parser.parse_args()
    models, tables = {name: MODELS[name] for name in arguments.models}, []
    draws = [(within_type, seed) for within_type in arguments.within_type for seed in range(arguments.draws)]
    run = Parallel(arguments.n_jobs, return_as="generator")
    for draw, table in zip(draws, run(delayed(one_draw)(*draw, models) for draw in draws), strict=True):
        tables.append(table)
        print(*draw, table.round(4).to_string(index=False), sep="\n", flush=True)
    table = pd.concat(tables, ignore_index=True)
    table = table[["within_type", "seed", *table.columns.drop(["within_type", "seed"])]]
    groups = table.groupby(["within_type", "model"], sort=False)
    print(groups[["within_r2_model", "within_r2_map", "gain"]].agg(["min", "max"]).round(4).to_string())
    print(groups["found"].agg(["sum", "count"]).to_string())
    nothing = table.loc[table["within_type"] == 0, "within_r2_model"]
    beyond = int((nothing.abs() > BOUND).sum())
    print(f"within_type=0, R2 within types of predictions beyond ±{BOUND}: {beyond} of {len(nothing)} models and draws")
    whole = (arguments.draws, tuple(arguments.within_type), arguments.models) == (N_DRAWS, WITHIN_TYPES, list(MODELS))
    output = arguments.output or (FILE if whole else None)
    if output is None:
        print("not everything was run: nothing is written without --output")
    else:
        write_whole(table.round(5), output)


if __name__ == "__main__":
    main()
