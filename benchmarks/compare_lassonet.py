"""Score LassoNet, another sparse network, on the folds of the honest comparison.

LassoNet (Lemhadri, Ruan, Abraham & Tibshirani, JMLR 22:127, 2021; package `lassonet` of its authors, on PyTorch) is a
network with a linear layer beside it that skips the hidden layers: a gene acts through the hidden layers only as far as
its linear weights allow, and a penalty on these weights removes genes. The penalty grows along a path, from a dense
network to one without genes.

Data, folds and values are those of `sbnn.validation.honest_comparison` on scala_2020: ten outer folds of whole animals,
depth and z-scores of the training cells only. In each fold the path is followed on four fifths of the training cells;
the animals of the other fifth (the first of five inner folds of animals) stop each training early and choose among the
models of the path. Test cells play no part in either. Two rows per fold:

- "LassoNet": the model of the path, the dense one included, with the best R2 on the inner validation cells (of equal
  ones the sparser). The sparsest model within one standard error, which the honest comparison takes of its models,
  cannot be had: one validation set has no standard error over folds.
- "LassoNet, 25 genes": the model of the path whose number of genes is nearest to 25; if two numbers are as near, the
  smaller one; of models with the same number that with the best R2 on the inner validation cells.

Neither is fitted again, be it on all training cells (the models of the honest comparison see a quarter more of them) or
without the penalty, which shrinks the linear weights and those of the first layer: scores are those of the path, while
networks of sBNN train on without it once genes are chosen. R2 is pooled over test cells and features, around the
means of the training cells (`sbnn.models.r2`).

Settings, fixed before the first run and not tuned: one network for all 16 features, mean squared error, hidden layers
of 512 and 128 units as in the encoder of sBNN, seed 0. All others are the package's defaults (lassonet 0.0.21):
M=10, no dropout, no L2 penalty, all cells in one batch; the dense network by Adam with learning rate 0.001, at most
1000 epochs, patience 100; then the path by SGD with learning rate 0.001 and momentum 0.9, from a penalty that the
package estimates, 2 % larger at each step, at most 100 epochs a step, patience 10; an epoch counts as better if the
objective on the inner validation cells falls by 1 %.

Writes benchmarks/compare_lassonet.csv, one row per model and fold: number of genes, R2 on the test cells, the genes of
"LassoNet, 25 genes", and the seconds of the path, which both rows share. A trial with fewer folds writes nothing. The
table is of an NVIDIA H200 with PyTorch 2.11.0; another processor may give slightly other numbers. Folds run one after
another: in a trial of ten at a time on one GPU, none had made a step on its path after 50 seconds.

LassoNet is no dependency of sBNN. From the root of the repository, an environment for it:

    python -m venv /tmp/lassonet
    /tmp/lassonet/bin/pip install . torch lassonet==0.0.21

Usage: /tmp/lassonet/bin/python benchmarks/compare_lassonet.py [--data FILE] [--folds N] [--device NAME] [--verbose N]

On a machine without the files of scala_2020 give --data FILE, which another one wrote by
joblib.dump(sbnn.load_dataset("scala_2020"), FILE).
"""

import argparse
import time
from pathlib import Path

import joblib
import pandas as pd
from lassonet import LassoNetRegressor

from sbnn.models.inner_folds import inner_folds
from sbnn.models.r2 import r2
from sbnn.storage.writing import all_or_nothing
from sbnn.validation.folds import donors_of, make_folds, view_fold

N_GENES, HIDDEN_DIMS, SEED = 25, (512, 128), 0
#: Seed of the inner folds, as in the honest comparison.
INNER_SEED, N_INNER = 42, 5
BEST, SMALL = "LassoNet", f"LassoNet, {N_GENES} genes"
OUTPUT = Path(__file__).with_name("compare_lassonet.csv")


def make_regressor(device, verbose):
    """Return an unfitted LassoNet."""
    settings = {"hidden_dims": HIDDEN_DIMS, "random_state": SEED, "torch_seed": SEED}
    return LassoNetRegressor(**settings, device=device, verbose=verbose)


def follow_path(regressor, X, Y, train, validation, centre):
    """Follow the path on training cells; return (genes as a mask, weights) of both chosen models by name."""
    chosen = {}

    def compare(fitted, history):
        genes = history[-1].selected.numpy()
        n_genes = int(genes.sum())
        if not n_genes:
            return
        score = r2(Y[validation], fitted.predict(X[validation]), centre)
        merits = {BEST: (score, -n_genes), SMALL: (-abs(n_genes - N_GENES), -n_genes, score)}
        for name, merit in merits.items():
            if name not in chosen or merit > chosen[name][0]:
                chosen[name] = merit, genes, fitted.model.cpu_state_dict()

    regressor.path(X[train], Y[train], X_val=X[validation], y_val=Y[validation], callback=compare)
    return {name: (genes, weights) for name, (_, genes, weights) in chosen.items()}


def fold_rows(data, number, fold, device, verbose):
    """Return one row per model of an outer fold."""
    view = view_fold(data, fold, within_fold=True)
    inner = inner_folds(len(fold.train), INNER_SEED, donors_of(data, fold.train), N_INNER)
    train, validation = (view.train[rows] for rows in inner[0])
    centre = view.Y[view.train].mean(axis=0)
    regressor = make_regressor(device, verbose)
    start = time.perf_counter()
    chosen = follow_path(regressor, view.X, view.Y, train, validation, centre)
    seconds = time.perf_counter() - start
    names = view.seen(data.gene_names)
    rows = []
    for model, (genes, weights) in chosen.items():
        predictions = regressor.load(weights).predict(view.X[view.test])
        row = {"model": model, "fold": number, "n_genes": int(genes.sum())}
        row["r2_test"] = r2(view.Y[view.test], predictions, centre)
        rows.append(row | {"genes": " ".join(names[genes]) if model == SMALL else "", "seconds": seconds})
    print(f"fold {number}: {len(regressor.path_)} models in {seconds:.0f} s", flush=True)
    return rows


def summarise(table):
    """Return mean and SD over folds."""
    return table.groupby("model")[["r2_test", "n_genes", "seconds"]].agg(["mean", "std"])


def main():
    """Fit, print, and write the table if all folds ran."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="a PairedData pickled by joblib; the files of scala_2020 if left out")
    parser.add_argument("--folds", type=int, help="only the first N, without writing the table: a trial")
    parser.add_argument("--device", help="of PyTorch, such as cpu or cuda; a GPU if there is one")
    parser.add_argument("--verbose", type=int, default=0, help="2: print each step of the path")
    arguments = parser.parse_args()
    if arguments.data:
        data = joblib.load(arguments.data)
    else:
        from sbnn import load_dataset  # here: it imports what downloads files

        data = load_dataset("scala_2020")
    folds = make_folds(data, "donor")
    asked = folds[: arguments.folds]
    rows = []
    for number, fold in enumerate(asked):
        rows += fold_rows(data, number, fold, arguments.device, arguments.verbose)
    table = pd.DataFrame(rows).sort_values(["model", "fold"], ignore_index=True)
    table = table.round({"r2_test": 4, "seconds": 1})
    print(table.drop(columns="genes").to_string(index=False), summarise(table).round(4).to_string(), sep="\n\n")
    if len(asked) == len(folds):
        with all_or_nothing(OUTPUT) as temporary:
            table.to_csv(temporary, index=False)
    else:
        print(f"{len(asked)} of {len(folds)} folds: {OUTPUT.name} is not written")


if __name__ == "__main__":
    main()
