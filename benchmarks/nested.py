"""Score all models of `sbnn.validation.contestants.honest_models` in a nested cross-validation, on the same folds.

Ten outer folds of animals (scala_2020; of cells where animals are not known, as in ctcl_2019), five inner folds of the
training cells of each; the one-standard-error rule chooses settings; depth, z-scores, clusters, genes and weights are
those of training cells. Each model is scored

- with the genes it likes: all, or as many as it chooses,
- with the 25 genes of its own choice on the training cells (", 25 genes"; scala_2020),
- with the 25 genes that ten networks chose on the training cells of the fold (", the networks' genes"; scala_2020):
  those of "sBNN-2, ten networks, 25 genes". Inner folds see genes that were chosen with their test cells, so that the
  choice among few settings may suffer; outer folds do not.

Ten networks have, in each fold, the penalty and the number of genes that the single network of as many dimensions
chose there: choosing anew would take ten times as long. "sBNN-64, all genes" is not pruned, and has no choice. The 1000
genes of scala_2020 were chosen as variable on all cells (wide_pool.py: what this changes). The schedules of networks
were chosen on cells of scala_2020 that folds 0 to 2 of the paper test (choose_stable_schedule.py); the grids of all
models were fixed before they were run.

Writes KerasSavedModels/<data set>/honest.pickle: scores, choices, predictions, two-dimensional latents, selected genes
and feature scores.

Usage: python benchmarks/nested.py [--datasets scala_2020 ctcl_2019] [--models NAME ...] [--genes any own networks]
       [--store FOLDER] [--n-jobs N] [--shorten FACTOR] [--output FOLDER]
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sklearn.base import clone
from sklearn.model_selection import KFold

from sbnn import SparseBottleneckRegressor, load_dataset, nested_cross_validate, save_results
from sbnn.models.schedules import get_schedule
from sbnn.validation.contestants import honest_models
from sbnn.validation.folds import make_folds

ROOT = Path(__file__).resolve().parent.parent
N_GENES, N_FOLDS, RANDOM_STATE = 25, 10, 42
CHOSEN_BY = "sBNN-2, ten networks"
#: Single networks, and ten of each.
PAIRS = ("sBNN-2", "sBNN-64"), ("sBNN-2, ten networks", "sBNN-64, ten networks")
#: Which genes models read -> what is added to their names.
GENES = {"any": "", "own": f", {N_GENES} genes", "networks": ", the networks' genes"}
DATASETS = {"scala_2020": tuple(GENES), "ctcl_2019": ("any",)}


def outer_folds(data):
    """Return folds of animals, or of cells if animals are not known."""
    if data.donors is not None:
        return make_folds(data, "donor")
    return make_folds(data, KFold(N_FOLDS, shuffle=True, random_state=RANDOM_STATE))


def unpruned_networks(shorten):
    """Return networks that read all genes."""
    schedule = get_schedule("wide") if shorten == 1 else get_schedule("wide").shortened(shorten)
    wide = SparseBottleneckRegressor(64, 0.03, n_selected=None, schedule=schedule, random_state=0)
    ten = SparseBottleneckRegressor(**wide.get_params() | {"n_networks": 10})
    return {"sBNN-64, all genes": wide, "sBNN-64, all genes, ten networks": ten}


def ten_networks(result, data, settings):
    """Return, for each outer fold, ten networks with the settings that a single network chose there."""
    singles, tens = ({name: honest_models(data, names=[name], **settings)[name] for name in names} for names in PAIRS)
    chosen = result.choices.set_index(["model", "fold"])["candidate"]
    return [
        {
            ten: clone(tens[ten][0]).set_params(
                **{name: getattr(singles[single][chosen[single, fold]], name) for name in ("n_selected", "group_lasso")}
            )
            for single, ten in zip(*PAIRS, strict=True)
            if (single, fold) in chosen.index
        }
        for fold in range(len(result.folds))
    ]


def genes_of_fold(result):
    """Return the genes that ten networks selected in each fold."""
    selected = result.selected[result.selected["model"] == f"{CHOSEN_BY}{GENES['own']}"]
    return [selected.loc[selected["fold"] == fold, "gene"].tolist() for fold in range(len(result.folds))]


def run(data, genes, arguments, own=None):
    """Return the nested cross-validation of all models that read some genes."""
    settings = {"solver": "glmnet", "shorten": arguments.shorten}
    if genes == "own":
        return score(data, honest_models(data, n_genes=N_GENES, **settings), genes, arguments)
    if genes == "networks":
        by_fold = [honest_models(data, genes=chosen, **settings) for chosen in genes_of_fold(own)]
        return score(data, by_fold, genes, arguments)
    models = honest_models(data, **settings)
    singles = {name: candidates for name, candidates in models.items() if name not in PAIRS[1]}
    result = score(data, singles, genes, arguments)
    for more in (ten_networks(result, data, settings), unpruned_networks(arguments.shorten)):
        found = score(data, more, genes, arguments)
        result = result if found is None else result.join(found)
    return result


def score(data, models, genes, arguments):
    """Return the nested cross-validation of models, all or those of each outer fold; None if none is asked for."""
    by_fold = [only(one, genes, arguments.models) for one in (models if isinstance(models, list) else [models])]
    if not by_fold[0]:
        return None
    running = {"store": arguments.store, "n_jobs": arguments.n_jobs, "random_state": RANDOM_STATE}
    found = nested_cross_validate(data, by_fold if len(by_fold) > 1 else by_fold[0], outer_folds(data), **running)
    return replace(found, estimators=[])


def only(models, genes, names):
    """Return the models that are asked for, under the names that say which genes they read."""
    needed = {CHOSEN_BY} if genes == "own" else set()
    return {
        f"{name}{GENES[genes]}": estimators
        for name, estimators in models.items()
        if (names is None or name in {*names, *needed}) and (genes != "networks" or "mean" not in name)
    }


def measure(dataset, arguments):
    """Run what is asked for, and save it."""
    data, started, result, own = load_dataset(dataset), time.perf_counter(), None, None
    for genes in DATASETS[dataset]:
        if genes not in arguments.genes:
            continue
        found = run(data, genes, arguments, own)
        own = found if genes == "own" else own
        result = found if result is None else result.join(found)
        print(f"{dataset}, genes: {genes}, {time.perf_counter() - started:.0f} s", flush=True)
        print(found.summary().round(3).to_string(), flush=True)
    drawn = result.latents[result.latents.filter(regex="^z[3-9]").isna().all(axis=1)].dropna(axis=1, how="all")
    tables = {**result.tables, "latents": drawn}
    tables = {name: table for name, table in tables.items() if name not in ("curves", "gene_norms") and len(table)}
    folder = arguments.output or ROOT / "KerasSavedModels" / dataset
    path = save_results(
        folder / "honest.pickle",
        tables,
        dataset=data.name,
        fingerprint=data.fingerprint,
        protocol=result.protocol,
        models=result.models,
        folds=[fold._asdict() for fold in result.folds],
        names=data.names_hash,
    )
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def main():
    """Run the data sets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--datasets", nargs="+", choices=list(DATASETS), default=list(DATASETS))
    parser.add_argument("--models", nargs="+", help="names in honest_models; all if left out")
    parser.add_argument("--genes", nargs="+", choices=list(GENES), default=list(GENES))
    parser.add_argument("--store", type=Path, help="folder for finished fits, to resume an interrupted run")
    parser.add_argument("--n-jobs", type=int)
    parser.add_argument("--shorten", type=float, default=1.0, help="of epochs and trees, for trials")
    parser.add_argument("--output", type=Path, help="another folder for the result")
    arguments = parser.parse_args()
    whole = arguments.models is None and arguments.shorten == 1 and set(arguments.genes) == set(GENES)
    if arguments.output is None and not whole:
        parser.error("not everything is run: give --output, so that the committed result stays")
    for dataset in arguments.datasets:
        measure(dataset, arguments)


if __name__ == "__main__":
    main()
