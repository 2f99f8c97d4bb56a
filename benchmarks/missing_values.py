"""Measure the effect of missing features: R2 of the ten paper folds with values of Y removed at random.

Values are removed from all cells of scala_2020 by numpy.random.default_rng(0), and restored for scoring. sBNN-2 with
the schedule "fast" (seeds 0, 1, 2) and sRRR-2 (alpha 0.4, relaxed) are trained with

  nothing removed
  20 % removed, masked           loss, means, clusters and R2 from the remaining values
  5 % removed, masked
  5 % removed, complete cells    on training cells without missing values, as in the paper; the same test cells

Printed: mean R2 over folds (and seeds) on the remaining test values, and on all test values.

Usage: python benchmarks/missing_values.py [--n-jobs -1]
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dataclasses import replace

import numpy as np
import pandas as pd

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.models.r2 import r2
from sbnn.validation.folds import make_folds

SEEDS = (0, 1, 2)


def with_holes(data, share):
    """Return the data with a fraction of Y removed, but never all values of a cell."""
    random = np.random.default_rng(0)
    missing = random.random(data.Y.shape) < share
    missing[missing.all(axis=1), 0] = False
    return replace(data, Y=np.where(missing, np.nan, data.Y), features=None)


def score(holed, whole, folds, n_jobs):
    """Return R2 on the observed test values of `holed`, and on all test values, by model."""
    models = {
        "sBNN-2": [SparseBottleneckRegressor(random_state=seed) for seed in SEEDS],
        "sRRR-2": ReducedRankRegressor(2, 0.4, relaxed=True),
    }
    result = cross_validate(holed, models, folds, n_jobs=n_jobs, keep=["predictions"], progress=False)
    scores = result.scores[result.scores["stage"].isin(["pruned", "fitted"])]
    rows = {cell: row for row, cell in enumerate(whole.cell_names)}
    complete = []
    for (model, fold, seed), part in result.predictions.groupby(["model", "fold", "random_state"], dropna=False):
        cells = part["cell"].map(rows).to_numpy()
        centre = np.nanmean(holed.Y[folds[fold].train], axis=0)
        value = r2(whole.Y[cells], part[list(whole.feature_names)].to_numpy(), centre)
        complete.append({"model": model, "fold": fold, "seed": seed, "all values": value})
    return pd.DataFrame(
        {
            "observed values": scores.groupby("model")["r2_test"].mean(),
            "all values": pd.DataFrame(complete).groupby("model")["all values"].mean(),
        }
    )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-jobs", type=int, default=-1)
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    folds = make_folds(data)
    few = with_holes(data, 0.05)
    is_complete = ~np.isnan(few.Y).any(axis=1)
    complete = [fold._replace(train=fold.train[is_complete[fold.train]]) for fold in folds]
    tables = {
        "nothing removed": score(data, data, folds, arguments.n_jobs),
        "20 % removed, masked": score(with_holes(data, 0.2), data, folds, arguments.n_jobs),
        "5 % removed, masked": score(few, data, folds, arguments.n_jobs),
        "5 % removed, complete cells": score(few, data, complete, arguments.n_jobs),
    }
    print(f"{int(is_complete.sum())} of {data.n_cells} cells are complete with 5 % removed")
    print(pd.concat(tables, names=["training"]).round(4).to_string())


if __name__ == "__main__":
    main()
