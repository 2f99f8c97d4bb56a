"""Measure whether `PairedModel.shift` recognises another cohort, and what `recalibrate` gains there.

False alarms: 20 times, a random tenth of the animals of scala_2020 is held out, a linear model is fitted on the others,
and the held-out cells are tested against its training cells: with their donors, without them (a table of counts), and
in the quick form that `predict` uses. Power: the model of all cells of scala_2020 tests scala_2020_phys_temp (other
mice, 33-34 instead of 25 C), and as many random cells of it as a first experiment has.

Recalibration: 10, 20 or 40 random cells of scala_2020_phys_temp with their features, 20 draws; R2 of the other cells
(features z-scored with moments of the training cells; "centred on the cohort": R2 = 1 - sum of squared errors / sum of
squares around the mean of these cells) before and after, and with the mean of the measured cells for all others.

Writes benchmarks/shift.csv (one row per draw) and benchmarks/shift_recalibration.csv.

Usage: python benchmarks/shift.py
"""

import os
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from earlier_rows import write_whole

from sbnn import PairedModel, ReducedRankRegressor, load_dataset
from sbnn.data.count_tables import rows_of
from sbnn.data.published.scala import read_count_table
from sbnn.own_cells.cohort_shift import QUICK_CELLS, QUICK_PERMUTATIONS
from sbnn.validation.transfer import align_cohort

REFERENCE, COHORT = "scala_2020", "scala_2020_phys_temp"
ESTIMATOR = ReducedRankRegressor(2, 0.4, relaxed=True)
N_DRAWS, LEVEL = 20, 0.01
CELL_NUMBERS = (10, 20, 40)
OUTPUT = Path(__file__).with_name("shift.csv")
RECALIBRATION = Path(__file__).with_name("shift_recalibration.csv")


def counts_of(data, table, genes):
    """Return counts of the cells of a cohort, of those genes that its whole table has."""
    known = np.isin(table.gene_names, genes)
    return pd.DataFrame(np.asarray(rows_of(table, data.cell_names))[:, known], data.cell_names, table.gene_names[known])


def tested(model, cells, donors, about):
    """Return p values of the three forms of the test."""
    forms = {
        "donors": model.shift(cells, donors=donors, fill_missing=True),
        "donors unknown": model.shift(cells, fill_missing=True),
        "in predict": model._shift(
            model._align(cells, None, True), None, QUICK_PERMUTATIONS, QUICK_CELLS, random_state=0
        ),
    }
    rows = []
    for form, found in forms.items():
        n_genes = int((found.genes["q"] < LEVEL).sum())
        numbers = {"p": found.p, "distance": round(found.distance, 4), "n_genes": n_genes, "n_read": len(found.genes)}
        rows.append(about | {"form": form, "n_cells": found.n_cells, "n_donors": len(np.unique(donors))} | numbers)
    return rows


def of_the_same_cohort(data):
    """Return rows of random tenths of the animals."""
    animals, rows = np.unique(data.donors), []
    table = pd.DataFrame(np.asarray(data.counts), data.cell_names, data.gene_names)
    for draw in range(N_DRAWS):
        random = np.random.default_rng(draw)
        held = np.isin(data.donors, random.choice(animals, len(animals) // 10, replace=False))
        model = PairedModel(ESTIMATOR).fit(data.subset(~held))
        rows += tested(model, table[held], data.donors[held], {"cohort": "a tenth of its animals", "draw": draw})
    return rows


def of_the_other_cohort(model, cohort, table):
    """Return rows of all cells of the other cohort, and of a few."""
    rows = tested(model, table, cohort.donors, {"cohort": COHORT, "draw": 0})
    for n_cells in CELL_NUMBERS:
        for draw in range(N_DRAWS):
            chosen = np.random.default_rng(draw).choice(cohort.n_cells, n_cells, replace=False)
            about = {"cohort": f"{n_cells} cells of {COHORT}", "draw": draw}
            rows += tested(model, table.iloc[chosen], cohort.donors[chosen], about)
    return rows


def r2_of(predicted, Y):
    """Return R2 of cells on the scale of the training features, and centred on these cells."""
    squares = ((Y - predicted) ** 2).sum()
    return {"r2": 1 - squares / (Y**2).sum(), "r2_centred": 1 - squares / ((Y - Y.mean(axis=0)) ** 2).sum()}


def recalibrated(model, cohort, table, Y):
    """Return R2 before and after recalibration with a few cells, and that of the mean of these cells, without genes."""
    rows, moments = [], model.preprocessor_
    for n_cells in CELL_NUMBERS:
        for draw in range(N_DRAWS):
            chosen = np.random.default_rng(draw).choice(cohort.n_cells, n_cells, replace=False)
            others = ~np.isin(np.arange(cohort.n_cells), chosen)
            adapted = model.recalibrate(cohort.subset(chosen), table.iloc[chosen], fill_missing=True)
            row = {"n_cells": n_cells, "draw": draw}
            for when, one in (("before", model), ("after", adapted)):
                z_scores = moments.transform_features(one.predict(table[others], fill_missing=True))
                row |= {f"{name}_{when}": value for name, value in r2_of(z_scores, Y[others]).items()}
            means = np.broadcast_to(Y[chosen].mean(axis=0), Y[others].shape)
            row |= {f"{name}_of_their_mean": value for name, value in r2_of(means, Y[others]).items()}
            rows.append(row)
    return pd.DataFrame(rows).round(4)


def main():
    """Measure, print and write both tables."""
    warnings.simplefilter("ignore")
    data, cohort, table = load_dataset(REFERENCE), load_dataset(COHORT), read_count_table(COHORT)
    model = PairedModel(ESTIMATOR).fit(data)
    counts = counts_of(cohort, table, data.gene_names)
    rows = pd.DataFrame(of_the_same_cohort(data) + of_the_other_cohort(model, cohort, counts))
    write_whole(rows, OUTPUT)
    by_cohort = rows.groupby(["cohort", "form"], sort=False)["p"]
    pd.set_option("display.width", 160, "display.max_columns", 20)
    table_of_p = pd.DataFrame({"n_draws": by_cohort.size(), "median p": by_cohort.median()})
    for level in (LEVEL, 0.05):
        table_of_p[f"p < {level:g}"] = (rows["p"] < level).groupby([rows["cohort"], rows["form"]], sort=False).sum()
    print(table_of_p)
    Y = align_cohort(data, cohort, table, "training").Y
    found = recalibrated(model, cohort, counts, Y)
    write_whole(found, RECALIBRATION)
    print(found.drop(columns="draw").groupby("n_cells").agg(["mean", "std"]).round(3).T)


if __name__ == "__main__":
    main()
