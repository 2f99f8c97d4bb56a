"""Compare the 25 genes that ten networks chose in each fold of scala_2020 with random genes of the same expression.

The genes are those of "sBNN-2, ten networks, 25 genes" in KerasSavedModels/scala_2020/honest.pickle, selected on the
training cells of ten folds of animals; each is matched in mean log expression and detection rate (counts above 30) on
these training cells, in 100 sets, and models are fitted again on each set (`sbnn.matched_controls`). Networks are
trained on the genes they are given from the start, without group lasso: the schedule "fast" without what comes before
its stage "pruned".

Writes benchmarks/controls.csv (one row per model and feature; rows of the other models stay) and, for each model,
benchmarks/controls_<model>.png and .pdf; with fewer sets only below --output.

Usage: python benchmarks/controls.py [--models NAME ...] [--sets 100] [--store FOLDER] [--n-jobs N] [--output FOLDER]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from earlier_rows import write_with_earlier_rows
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV

from sbnn import SparseBottleneckRegressor, load_dataset, load_results, matched_controls
from sbnn.figures.controls import plot_matched_controls
from sbnn.figures.style import use_style
from sbnn.models.schedules import SCHEDULES, Schedule

FOLDER, N_SETS, DETECTION_THRESHOLD = Path(__file__).parent, 100, 30
RESULT = FOLDER.parent / "KerasSavedModels/scala_2020/honest.pickle"
SELECTED_BY = "sBNN-2, ten networks, 25 genes"
MODELS = {
    "ridge": RidgeCV(np.geomspace(1, 1e4, 13)),
    "extra trees": ExtraTreesRegressor(100, max_features=1 / 3, min_samples_leaf=2, n_jobs=-1, random_state=0),
    "sBNN-2": SparseBottleneckRegressor(2, 0.0, schedule=Schedule("pruned only", SCHEDULES["fast"].stages[-1:])),
}


def selected_genes(data):
    """Return the table of selected genes, and the folds in which they were selected."""
    result = load_results(RESULT)
    if result["names"] != data.names_hash:
        raise SystemExit(f"{RESULT} was made from other data: run examples/honest_numbers.ipynb again")
    table = result["selected"]
    table = table[table["model"] == SELECTED_BY]
    if not len(table):
        raise SystemExit(f"{RESULT} has no genes of {SELECTED_BY!r}: run examples/honest_numbers.ipynb with all models")
    return table, [(fold["train"], fold["test"]) for fold in result["folds"]]


def row_per_feature(found):
    """Return the summary with the name of the model and how well controls match."""
    match = {f"{name}_difference": row["difference"] for name, row in found.match.iterrows()}
    rows = found.summary.reset_index().assign(model=found.model, n_sets=found.n_sets, **match)
    return rows[["model", *rows.columns.drop("model")]]


def main():
    """Fit, print, and write the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["ridge", "sBNN-2"])
    parser.add_argument("--sets", type=int, default=N_SETS)
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    parser.add_argument("--n-jobs", type=int)
    parser.add_argument("--output", type=Path, help="another folder for table and figures")
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    genes, folds = selected_genes(data)
    running = {"store": arguments.store, "n_jobs": arguments.n_jobs, "detection_threshold": DETECTION_THRESHOLD}
    folder = arguments.output or (FOLDER if arguments.sets == N_SETS else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    use_style()
    for name in arguments.models:
        found = matched_controls(data, genes, MODELS[name], arguments.sets, folds, name=name, **running)
        print(found, found.match.round(3), found.summary.round(3).to_string(), sep="\n", flush=True)
        if folder is None:
            continue
        write_with_earlier_rows(row_per_feature(found).round(4), folder / "controls.csv", {"model": MODELS})
        figure, stem = plot_matched_controls(found), folder / f"controls_{name.replace(' ', '_')}"
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None})
        figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None})
    if folder is None:
        print("fewer sets: nothing is written without --output")


if __name__ == "__main__":
    main()
