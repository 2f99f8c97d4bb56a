"""Count how often the answer of a report is "yes" where the truth is "no", and where it is "yes".

Simulated cells (`sbnn.simulate_patchseq`: 180 cells and 300 genes, 12 types of uneven size in families), of 8 or of 40
donors; every donor shifts its cells' features by 0.5 SD. Truths: features of other cells of the same donors, in random
order ("nothing"); features by type and noise alone ("type alone"); features that vary with the genes within types
("within types"). Models are the fast ones of a quick report: means of classes, linear models of classes and genes, and
ridge, on five folds of donors; decisions are those of the answer
(`sbnn.reporting.evidence.Evidence`).

Writes benchmarks/report_errors.csv: for each truth and number of donors, in how many of the draws genes were said to
predict, to predict better than the class, and to add to it. With fewer draws only what --output names.

Usage: python benchmarks/report_errors.py [--draws 100] [--n-jobs N] [--output FILE]
"""

import argparse
import os
import warnings
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from earlier_rows import write_whole
from joblib import Parallel, delayed

from sbnn import simulate_patchseq
from sbnn.reporting.contest import contestants, outer_folds
from sbnn.reporting.evidence import Evidence
from sbnn.reporting.modes import get_mode
from sbnn.reporting.scores import difference_table, score_models, score_table

OUTPUT = Path(__file__).with_suffix(".csv")
N_DRAWS, N_CELLS, N_TYPES = 100, 180, 12
TRUTHS = {"nothing": 1.0, "type alone": 0.0, "within types": 1.5}  # SD within types
DONORS = (8, 40)
DONOR_SD = 0.5


def simulated(truth, n_donors, seed):
    """Return the cells of a draw; types have from about 4 to 30 cells."""
    sizes = dict(n_cells=3 * N_CELLS, n_genes=300, n_features=8, n_informative=30, n_types=N_TYPES, n_donors=n_donors)
    data = simulate_patchseq(**sizes, within_type=TRUTHS[truth], noise=1.0, random_state=seed)[0]
    random = np.random.default_rng([seed, n_donors])
    names, types = np.unique(data.cell_types, return_inverse=True)
    weights = np.geomspace(1, 8, len(names))[random.permutation(len(names))][types]
    data = data.subset(np.sort(random.choice(data.n_cells, N_CELLS, replace=False, p=weights / weights.sum())))
    donors = np.unique(data.donors, return_inverse=True)[1]
    features = np.array(data.features)
    if truth == "nothing":
        features = features[random.permutation(N_CELLS)]
    features = features + DONOR_SD * features.std(axis=0) * random.standard_normal((donors.max() + 1, 8))[donors]
    return replace(data, features=features, Y=(features - features.mean(axis=0)) / features.std(axis=0))


def one_draw(truth, n_donors, seed):
    """Return what is decided on one data set."""
    data, mode = simulated(truth, n_donors, seed), get_mode("quick")
    splits = outer_folds(data, None, mode.n_outer, 42)
    models = {name: one for name, one in contestants(data, mode, 42).items() if name not in ("sRRR-2", "sBNN-2")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = score_models(data, models, splits, mode, 42, n_jobs=1, progress=False).result
    tables = {
        "scores": score_table(result, data, splits, mode.n_bootstrap),
        "differences": difference_table(result, data, splits, mode.n_bootstrap),
    }
    found = Evidence(data, splits, tables)
    decided = {
        "predict": found.told() == 1,
        "better_than_class": found.against_class() == 1,
        "add_to_class": found.adds,
    }
    return {"truth": truth, "n_donors": n_donors, "seed": seed, **decided}


def main():
    """Draw, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    parser.add_argument("--n-jobs", type=int, default=-1)
    parser.add_argument("--output", type=Path, help="another file for the table")
    arguments = parser.parse_args()
    asked = [(truth, n, seed) for truth in TRUTHS for n in DONORS for seed in range(arguments.draws)]
    rows = pd.DataFrame(Parallel(arguments.n_jobs)(delayed(one_draw)(*one) for one in asked))
    table = rows.drop(columns="seed").groupby(["truth", "n_donors"], sort=False).agg("sum")
    table.insert(0, "n_draws", arguments.draws)
    print(table.to_string())
    if arguments.output is not None or arguments.draws == N_DRAWS:
        write_whole(table.reset_index(), arguments.output or OUTPUT)


if __name__ == "__main__":
    main()
