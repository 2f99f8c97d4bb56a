"""Compare three pools of genes: chosen on all cells, chosen within folds, and all there are.

Does it matter that the paper's 1000 genes were chosen on all cells, test cells included? On scala_2020_wide (1192
cells, 1978 genes; donor folds; z-scores, clusters and depth of the training cells) models see

- "scala_2020": the 1000 genes of scala_2020, chosen on all cells,
- "within folds": in each fold the 1000 genes of the 1978 that are most variable on its training cells,
- "all": all 1978.

The pool of 1978 is itself no whole transcriptome: 1000 of its genes were chosen as variable on all cells, and the
choice within folds finds most of these again. A small difference between the first two pools says that the order
among these genes hardly depends on the test cells; it cannot say what another choice among all 42184 genes would give.

Models: sBNN-2 with the schedule "fast", and "stable" if asked for by --models; sparse reduced-rank regression of two
components, relaxed, with the alpha of ALPHAS that selects nearest to 25 genes on average over training folds (R2 plays
no part); ridge, with the penalty that is best in leave-one-out on the training cells (RidgeCV).

Writes benchmarks/wide_pool.csv, one row per pool, model and fold: number of genes seen and selected, R2 on the test
cells, and the genes selected; and benchmarks/wide_pool_summary.csv: mean and SD of R2 over folds, mean difference in R2
from the first pool and its SD over folds, and how stable the genes are over folds: Nogueira index among 1978 genes with
its interval, genes that all folds select, and each gene with the number of folds that select it. Any two folds share
most of their training cells: the index is larger than that of other animals would be. Rows of pools and models that are
not run again stay.

Usage: python benchmarks/wide_pool.py [--pools NAME ...] [--models NAME ...] [--store FOLDER] [--n-jobs N]
       [--output FOLDER]
"""

import argparse
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from earlier_rows import write_whole, write_with_earlier_rows
from sklearn.linear_model import RidgeCV

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, cross_validate, load_dataset
from sbnn.validation.comparison import choose_alpha, final_scores
from sbnn.validation.protocol import FoldProtocol, view_folds
from sbnn.validation.stability import nogueira_index

N_SHARED, N_GENES, THRESHOLD = 1000, 25, 30
#: Of sRRR-2, from few genes to many.
ALPHAS = np.geomspace(0.8, 0.25, 12).round(3)
POOLS = {"scala_2020": {}, "within folds": {"n_variable_genes": 1000, "detection_threshold": THRESHOLD}, "all": {}}
MODELS = {
    "sBNN-2, fast": SparseBottleneckRegressor(schedule="fast"),
    "sBNN-2, stable": SparseBottleneckRegressor(schedule="stable"),
    "sRRR-2": None,  # its alpha depends on the pool
    "ridge": RidgeCV(np.geomspace(10, 1e5, 13)),
}
ORDERS = {"pool": POOLS, "model": MODELS}


def restrict(data, pool):
    """Return the data with the genes of a pool; z-scores are made anew within folds."""
    if pool != "scala_2020":
        return data
    return replace(
        data, X=data.X[:, :N_SHARED], counts=data.counts[:, :N_SHARED], gene_names=data.gene_names[:N_SHARED]
    )


def validate(data, models, pool, running):
    """Cross-validate within donor folds."""
    settings = {"folds": "donor", "within_fold": True, "keep": [], "progress": False, **POOLS[pool], **running}
    return cross_validate(data, models, **settings)


def linear_model(data, pool, running):
    """Return sRRR-2, relaxed, with the alpha that selects nearest to 25 genes on average over folds."""
    grid = {"sRRR-2": [ReducedRankRegressor(2, float(alpha), solver="glmnet") for alpha in ALPHAS]}
    alpha = choose_alpha(validate(data, grid, pool, running).scores, N_GENES, tolerance=None)
    if alpha in (ALPHAS[0], ALPHAS[-1]):
        raise ValueError(f"{pool}: about {N_GENES} genes are selected at an end of ALPHAS, {alpha}: extend the grid")
    return ReducedRankRegressor(2, alpha, relaxed=True, solver="glmnet")


def fold_rows(data, pool, names, running):
    """Return one row per model and fold of a pool."""
    data = restrict(data, pool)
    models = {name: linear_model(data, pool, running) if MODELS[name] is None else MODELS[name] for name in names}
    result = validate(data, models, pool, running)
    rows = final_scores(result.scores)[["model", "fold", "n_selected", "r2_test"]].assign(pool=pool)
    views = view_folds(data, result.folds, FoldProtocol.read(result.protocol))
    rows["n_seen"] = [views[fold].X.shape[1] for fold in rows["fold"]]
    genes = result.selected.groupby(["model", "fold"])["gene"].agg(" ".join) if len(result.selected) else pd.Series()
    rows["genes"] = [genes.get((row.model, row.fold), "") for row in rows.itertuples()]
    columns = ["pool", "model", "fold", "n_seen", "n_selected", "r2_test", "genes"]
    return rows.sort_values("fold", kind="stable")[columns]


def summarise(rows, n_genes):
    """Return one row per pool and model."""
    first = rows[rows["pool"] == "scala_2020"].set_index(["model", "fold"])["r2_test"]
    summary = []
    for (pool, model), part in rows.groupby(["pool", "model"], sort=False):
        gain = part.set_index(["model", "fold"])["r2_test"] - first
        row = {"pool": pool, "model": model, "r2": part["r2_test"].mean(), "r2_sd": part["r2_test"].std()}
        row |= {"difference": gain.mean(), "difference_sd": gain.std(), "n_selected": part["n_selected"].mean()}
        sets = [genes.split(" ") for genes in part["genes"] if isinstance(genes, str) and genes]
        if len(sets) == len(part):
            times = Counter(gene for genes in sets for gene in genes)
            # Only genes that some fold selects have names here; the others add rows of False to the table.
            table = np.zeros((len(sets), n_genes), dtype=bool)
            for fold, genes in enumerate(sets):
                table[fold, [list(times).index(gene) for gene in genes]] = True
            index = nogueira_index(table)
            row |= {"nogueira": index.value, "low": index.low, "high": index.high}
            row["in_all_folds"] = sum(number == len(sets) for number in times.values())
            ordered = sorted(times, key=lambda gene: (-times[gene], gene))
            row["genes"] = " ".join(f"{gene}:{times[gene]}" for gene in ordered)
        summary.append(row)
    return pd.DataFrame(summary)


def main():
    """Fit, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pools", nargs="+", choices=POOLS, default=list(POOLS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["sBNN-2, fast", "sRRR-2", "ridge"])
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    parser.add_argument("--n-jobs", type=int)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder of the tables")
    arguments = parser.parse_args()
    data = load_dataset("scala_2020_wide")
    running = {"store": arguments.store, "n_jobs": arguments.n_jobs}
    path = arguments.output / "wide_pool.csv"
    arguments.output.mkdir(parents=True, exist_ok=True)
    for pool in arguments.pools:
        rows = fold_rows(data, pool, arguments.models, running).round({"r2_test": 4})
        rows = write_with_earlier_rows(rows, path, ORDERS)
        summary = summarise(rows, data.n_genes)
        write_whole(summary.round(4), path.with_name("wide_pool_summary.csv"))
        print(
            pool, summary.drop(columns="genes", errors="ignore").round(3).to_string(index=False), sep="\n", flush=True
        )


if __name__ == "__main__":
    main()
