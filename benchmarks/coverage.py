"""Measure how often features of cells of other donors lie inside the prediction intervals, nominally 90 %.

On scala_2020, ten folds of donors: a `PairedModel` is fitted and calibrated (CV+, five inner folds of donors) on the
training cells of each, so that depth, z-scores, clusters and genes are theirs, and nothing is known of the held-out
donors; what is inside is counted over all cells of all folds. On scala_2020_phys_temp, cells of other mice at another
temperature: models fitted and calibrated on all cells of scala_2020; genes that the cohort lacks are set to their mean.
Beside each model stands the interval of the mean of the cells' family, calibrated on the same folds.

Settings are fixed before: alpha of sRRR is the one that leaves about 25 genes, networks have the settings of
ensembles.py, alpha of ridge is the middle of the grid of linear_models.ipynb. Coverage is calibrated whatever the
penalty; widths depend on it.

Writes benchmarks/coverage.csv: for each cohort and model the share of cells inside and the mean width (in SDs of the
training cells) of all values, by feature and by family. Rows of models that a run leaves out are kept.

Usage: python benchmarks/coverage.py [--models sRRR-2 ridge ...] [--cohorts COHORT ...] [--store FOLDER]
"""

import argparse
import os
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from earlier_rows import write_with_earlier_rows
from sklearn.base import clone

from sbnn import PairedModel, ReducedRankRegressor, SparseBottleneckRegressor, coverage_table, load_dataset
from sbnn.data.count_tables import rows_of
from sbnn.data.published.scala import read_count_table
from sbnn.validation.folds import make_folds

COVERAGE, N_INNER = 0.9, 5
REFERENCE, COHORT = "scala_2020", "scala_2020_phys_temp"
MODELS = {
    "sRRR-2": ReducedRankRegressor(2, 0.4, relaxed=True),
    "ridge": ReducedRankRegressor(None, 1.0, l1_ratio=0),
    "sBNN-2": SparseBottleneckRegressor(),
    "sBNN-64": SparseBottleneckRegressor(64, 0.03, schedule="wide"),
}
OUTPUT = Path(__file__).with_name("coverage.csv")


def calibrated(estimator, data, store):
    """Return a PairedModel of these cells with intervals."""
    model = PairedModel(clone(estimator)).fit(data)
    return model.calibrate(data, N_INNER, store=store, progress=False)


def held_out_donors(estimator, data, store):
    """Return the coverage of cells of held-out donors, over all folds, with every cell counted once."""
    tables = []
    for fold in make_folds(data, "donor"):
        training = data.subset(fold.train)
        model = calibrated(estimator, training, store)
        tables.append(coverage_table(model, data.subset(fold.test), COVERAGE, training=training))
    return pool(tables)


def pool(tables):
    """Return the mean over folds of shares and widths, weighted with the number of values."""
    table = pd.concat(tables, ignore_index=True)
    values = ["coverage", "width", "class_coverage", "class_width"]
    table[values] = table[values].mul(table["n_values"], axis=0)
    sums = table.groupby(["by", "name"], sort=False)[["n_values", *values]].sum()
    sums[values] = sums[values].div(sums["n_values"], axis=0)
    return sums.reset_index()


def other_cohort(estimator, data, store):
    """Return the coverage of cells of another cohort."""
    cohort, counts = load_dataset(COHORT), read_count_table(COHORT)
    model = calibrated(estimator, data, store)
    rows = rows_of(counts, cohort.cell_names)
    known = np.isin(counts.gene_names, data.gene_names)
    cells = pd.DataFrame(np.asarray(rows)[:, known], cohort.cell_names, counts.gene_names[known])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the cells lack")
        table = coverage_table(model, cohort, COVERAGE, training=data, cells=cells, fill_missing=True)
    return table.drop(columns="model")


COHORTS = {f"{REFERENCE}, held-out donors": held_out_donors, COHORT: other_cohort}
ORDERS = {"cohort": COHORTS, "model": MODELS}


def main():
    """Measure, print and write the table, model by model, so that an interrupted run keeps what is finished."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--cohorts", nargs="+", choices=list(COHORTS), default=list(COHORTS))
    parser.add_argument("--store", type=Path, help="folder for finished fits of the calibrations, to resume a run")
    arguments = parser.parse_args()
    data = load_dataset(REFERENCE)
    for cohort in arguments.cohorts:
        for name in arguments.models:
            table = COHORTS[cohort](MODELS[name], data, arguments.store)
            table = pd.DataFrame({"cohort": cohort, "model": name}, index=table.index).join(table)
            print(table[table["by"] != "feature"].drop(columns="by").round(3).to_string(), flush=True)
            write_with_earlier_rows(table.round(4), OUTPUT, ORDERS)


if __name__ == "__main__":
    main()
