"""Measure R2 against the number of training cells: which model to use for so many cells of scala_2020.

Models are fitted on 150, 300, 600 and all training cells of ten donor folds, whole animals drawn three times
(`sbnn.learning_curve`). sBNN-2 is `sbnn.default_network`, whose settings follow the number of cells; sBNN-64 one
network of the schedule "wide"; sRRR-2 the relaxed linear map whose penalty selects nearest to 25 genes on the
training cells; ridge chooses its penalty by leave-one-out on the training cells; extra trees have usual settings, which
were not tuned on these cells. Networks read about 25 genes, ridge and extra trees all. The schedules of the networks
were chosen on cells of scala_2020 (choose_stable_schedule.py, choose_small_schedule.py). The committed rows of networks
were measured on one H100 with JAX, in seven minutes; the others on two cores.

Writes benchmarks/learning_curve.csv (rows of the other models stay), and draws benchmarks/learning_curve.png and .pdf;
with other sizes or draws only below --output.

Usage: python benchmarks/learning_curve.py [--models NAME ...] [--sizes 150 300 600 all] [--draws 3] [--store FOLDER]
       [--n-jobs N] [--output FOLDER]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from earlier_rows import write_with_earlier_rows
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV

from sbnn import (
    ClassMean,
    SparseBottleneckRegressor,
    default_network,
    learning_curve,
    load_dataset,
)
from sbnn.figures.learning_curve import plot_learning_curve
from sbnn.figures.style import use_style
from sbnn.models.sized_reduced_rank import SizedReducedRank
from sbnn.validation.learning_curve import SIZES, LearningCurve

FOLDER, N_DRAWS = Path(__file__).parent, 3

MODELS = {
    "sBNN-2": default_network,
    "sBNN-64": SparseBottleneckRegressor(64, 0.03, schedule="wide"),
    "sRRR-2": SizedReducedRank(25, solver="glmnet"),
    "ridge": RidgeCV(np.geomspace(10, 1e5, 13)),
    "extra trees": ExtraTreesRegressor(100, max_features=1 / 3, min_samples_leaf=2, n_jobs=-1, random_state=0),
    "family mean": ClassMean("cell_families"),
    "type mean": ClassMean("cell_types"),
}
BASELINES = ("family mean", "type mean")


def main():
    """Fit, print, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--sizes", nargs="+", default=["all" if size is None else str(size) for size in SIZES])
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    parser.add_argument("--n-jobs", type=int)
    parser.add_argument("--output", type=Path, help="another folder for table and figure")
    arguments = parser.parse_args()
    sizes = tuple(None if size == "all" else int(size) for size in arguments.sizes)
    running = {"store": arguments.store, "n_jobs": arguments.n_jobs}
    data, models = load_dataset("scala_2020"), {name: MODELS[name] for name in arguments.models}
    curve = learning_curve(data, models, sizes, arguments.draws, **running)
    print(curve.summary.round(4).to_string(index=False), flush=True)
    folder = arguments.output or (FOLDER if (set(sizes), arguments.draws) == (set(SIZES), N_DRAWS) else None)
    if folder is None:
        print("other sizes or draws: nothing is written without --output")
        return
    folder.mkdir(parents=True, exist_ok=True)
    scores = write_with_earlier_rows(curve.scores.round(4), folder / "learning_curve.csv", {"model": MODELS})
    whole = LearningCurve(scores, pd.DataFrame(), tuple(name for name in BASELINES if name in set(scores["model"])))
    print(whole)
    use_style()
    figure = plot_learning_curve(whole)
    figure.savefig(folder / "learning_curve.png", metadata={"Software": None})
    figure.savefig(folder / "learning_curve.pdf", metadata={"CreationDate": None, "Producer": None})


if __name__ == "__main__":
    main()
