"""Compare both solvers of the reduced-rank models with each other and with glmnet's Fortran, on scala_2020.

Printed, for the paper folds:

  times           of the path of 19 alphas, one fold, one thread: median of three, solvers alternating
  known answers   genes selected and R2 on test cells (mean over folds) of glmnet 2 (Fortran), "sklearn" and "glmnet"
  differences     the largest of any coefficient over 19 alphas, three folds: in the first elastic net of each alpha (on
                  Y V with the V at which the alternation starts) and in W V' of the whole fit; with tight thresholds,
                  then with those in use

Usage: python benchmarks/glmnet_agrees.py
"""

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from sbnn import ReducedRankRegressor, cross_validate, load_dataset
from sbnn.models import elastic_net
from sbnn.models import reduced_rank as linear
from sbnn.models.elastic_net import SOLVERS
from sbnn.models.reduced_rank import reduced_rank_path
from sbnn.validation.folds import make_folds

ALPHAS = np.round(np.arange(0.1, 1.95, 0.1), 1)
RANKS = (2, 16)
#: Numbers of glmnet 2 (Fortran): rank, alpha, l1_ratio, genes, R2, R2 relaxed.
FORTRAN = [
    tuple(row)
    for row in pd.read_csv(Path(__file__).parent.parent / "data/glmnet_known_answers.csv").itertuples(index=False)
]
COLUMNS = ["genes", "R2", "R2 relaxed"]


@contextmanager
def tolerances(sklearn, glmnet, alternation):
    """Set the thresholds of both solvers and of the alternation temporarily."""
    named = [(elastic_net, "SOLVER_TOLERANCE", sklearn), (elastic_net, "GLMNET_TOLERANCE", glmnet)]
    named.append((linear, "ALTERNATION_TOLERANCE", alternation))
    before = [getattr(module, name) for module, name, _ in named]
    for module, name, value in named:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(named, before, strict=True):
            setattr(module, name, value)


def known_answers(data):
    """Return the table of known answers with those of both solvers."""
    settings = [tuple(row[:3]) for row in FORTRAN]
    index = pd.MultiIndex.from_tuples(settings, names=["rank", "alpha", "l1_ratio"])
    tables = {"Fortran": pd.DataFrame([row[3:] for row in FORTRAN], index, COLUMNS)}
    for solver in SOLVERS:
        models = {
            str(setting): [ReducedRankRegressor(*setting, relaxed, solver) for relaxed in (False, True)]
            for setting in settings
        }
        scores = cross_validate(data, models, folds="paper", keep=(), progress=False).scores
        mean = scores.groupby(["model", "relaxed"])[["n_selected", "r2_test"]].mean()
        rows = [
            (*mean.loc[(name, False), ["n_selected", "r2_test"]], mean.loc[(name, True), "r2_test"]) for name in models
        ]
        tables[solver] = pd.DataFrame(rows, index, COLUMNS)
    return pd.concat(tables, axis=1)


def training_tables(data, fold):
    """X and Y of the training cells in double precision, centred."""
    X, Y = data.X[fold.train].astype(np.float64), data.Y[fold.train].astype(np.float64)
    return X - X.mean(axis=0), Y - Y.mean(axis=0)


def first_rows(X, Y, rank, solver):
    """First W of every alpha."""
    V = np.linalg.svd(X.T @ Y, full_matrices=False)[2][:rank].T
    return np.array(elastic_net.solve_rows(X, Y @ V, ALPHAS[::-1], 1.0, solver))


def coefficients(X, Y, rank, solver):
    """W V' of every alpha."""
    return np.array([fit.W @ fit.V.T for fit in reduced_rank_path(X, Y, ALPHAS, rank, solver=solver)])


def differences(data, folds):
    """Return the largest difference in a coefficient between both solvers, by rank and fold."""
    rows = []
    for number, fold in enumerate(folds):
        X, Y = training_tables(data, fold)
        for rank in RANKS:
            row = {"rank": rank, "fold": number}
            for name, compute in (("first W", first_rows), ("W V'", coefficients)):
                ours, theirs = (compute(X, Y, rank, solver) for solver in SOLVERS)
                row[name] = np.abs(ours - theirs).max()
                row[f"largest {name}"] = np.abs(theirs).max()
            row["genes that differ"] = int(np.sum(np.any(ours != 0, axis=2) != np.any(theirs != 0, axis=2)))
            rows.append(row)
    return pd.DataFrame(rows).set_index(["rank", "fold"]).sort_index()


def times(data, fold):
    """Return the seconds of a path: the median of three, solvers alternating."""
    X, Y = training_tables(data, fold)
    seconds = {(rank, solver): [] for rank in RANKS for solver in SOLVERS}
    for _ in range(3):
        for rank, solver in seconds:
            start = time.perf_counter()
            reduced_rank_path(X, Y, ALPHAS, rank, solver=solver)
            seconds[rank, solver].append(time.perf_counter() - start)
    table = pd.Series({key: np.median(values) for key, values in seconds.items()}).unstack()[list(SOLVERS)]
    table.index.name = "rank"
    return table.assign(ratio=table["sklearn"] / table["glmnet"])


def main():
    """Print the tables."""
    data = load_dataset("scala_2020")
    folds = make_folds(data)
    for solver in SOLVERS:
        elastic_net.check_solver(solver)  # imported before anything is timed
    print(times(data, folds[0]).round(2).to_string(), "(seconds)\n", flush=True)
    print(known_answers(data).round(4).to_string(), "\n", flush=True)
    with tolerances(sklearn=1e-12, glmnet=1e-18, alternation=1e-6):
        print("thresholds: sklearn 1e-12, glmnet 1e-18")
        print(differences(data, folds[:3]).map("{:.2g}".format).to_string(), "\n", flush=True)
    print(f"thresholds as used: sklearn {elastic_net.SOLVER_TOLERANCE:g}, glmnet {elastic_net.GLMNET_TOLERANCE:g}")
    print(differences(data, folds[:3]).map("{:.2g}".format).to_string())


if __name__ == "__main__":
    main()
