"""Measure which genes and which maps models of scala_2020 find again with other seeds, and with other animals.

Networks are trained on all cells with 20 random states (0 to 19), networks and linear models on 20 bootstraps of the
animals (`sbnn.gene_stability`). The alphas of the linear models are those with which the notebooks compare them: about
25 genes, on average over the paper's folds. Models are added in MODELS.

Writes benchmarks/stability.csv (index, numbers of genes, agreement of maps), benchmarks/stability_frequencies.csv (how
often each gene is selected) and benchmarks/stability.png and .pdf; with fewer runs or models only what --output names.

Usage: python benchmarks/stability.py [--n 20] [--models NAME ...] [--resample seed donor] [--store FOLDER]
       [--n-jobs N] [--output FOLDER]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, gene_stability, load_dataset, load_results
from sbnn.figures.stability import plot_stability
from sbnn.figures.style import use_style
from sbnn.models.latent_regressor import is_network

FOLDER = Path(__file__).parent
ALPHAS = load_results(FOLDER.parent / "KerasSavedModels/scala_2020/linear_latent.pickle")["chosen_alpha"]
N_RUNS, RESAMPLES = 20, ("seed", "donor")
MODELS = {
    "sBNN-2, paper": SparseBottleneckRegressor(schedule="paper", group_lasso=0.1),
    "sBNN-2, fast": SparseBottleneckRegressor(schedule="fast"),
    "sBNN-2, stable": SparseBottleneckRegressor(schedule="stable"),
    "sRRR-2": ReducedRankRegressor(2, ALPHAS["sRRR-2"], relaxed=True),
    "sRRR-full": ReducedRankRegressor(None, ALPHAS["sRRR-full"], relaxed=True),
}


def models_for(resample, names):
    """Return the models by name; linear ones do not depend on a seed."""
    return {name: MODELS[name] for name in names if resample == "donor" or is_network(MODELS[name])}


def tables_of(results):
    """Return one row per model and resampling, and the frequencies of genes."""
    rows = [
        result.index.merge(result.maps, on="model", how="left").assign(resample=result.resample, n_runs=result.n_runs)
        for result in results
    ]
    genes = [result.frequencies.assign(resample=result.resample) for result in results]
    summary, frequencies = pd.concat(rows, ignore_index=True), pd.concat(genes, ignore_index=True)
    first = ["resample", "n_runs", "model"]
    return summary[first + [name for name in summary if name not in first]], frequencies[
        ["resample", "model", "gene", "frequency"]
    ]


def main():
    """Fit, print and write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=N_RUNS, help="runs of each kind")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--resample", nargs="+", choices=RESAMPLES, default=list(RESAMPLES))
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    parser.add_argument("--n-jobs", type=int)
    parser.add_argument("--output", type=Path, help="another folder for tables and figure")
    arguments = parser.parse_args()
    data = load_dataset("scala_2020")
    running = {"n": arguments.n, "store": arguments.store, "n_jobs": arguments.n_jobs}
    results = []
    for resample in arguments.resample:
        models = models_for(resample, arguments.models)
        if models:
            results.append(gene_stability(data, models, resample, **running))
            print(results[-1], flush=True)
    summary, frequencies = tables_of(results)
    print(summary.round(3).to_string(index=False))
    for result in results:
        for model in result.index["model"]:
            print(f"substitutes, {result.resample}, {model}:")
            print(result.substitutes(model, n=2).round(2).head(8).to_string(index=False))
    whole = arguments.n == N_RUNS and set(arguments.models) == set(MODELS) and set(arguments.resample) == set(RESAMPLES)
    folder = arguments.output or (FOLDER if whole else None)
    if folder is None:
        print("not everything was run: nothing is written without --output")
        return
    folder.mkdir(parents=True, exist_ok=True)
    summary.round(4).to_csv(folder / "stability.csv", index=False)
    frequencies.round(4).to_csv(folder / "stability_frequencies.csv", index=False)
    use_style()
    figure = plot_stability(results)
    figure.savefig(folder / "stability.png", metadata={"Software": None})
    figure.savefig(folder / "stability.pdf", metadata={"CreationDate": None, "Producer": None})


if __name__ == "__main__":
    main()
