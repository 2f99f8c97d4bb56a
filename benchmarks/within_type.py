"""Check that `sbnn.beyond_class` finds what varies within cell types where there is something, and nothing elsewhere.

Simulated cells (`sbnn.simulate_patchseq`) in which every gene follows the hidden map, so that a linear model reads a
cell's type nearly without error: features differ within types only by noise (within_type=0), or with the place of the
cell as well (within_type=1). The map is that of a linear model of rank 2 with a ridge penalty; five folds of donors.

Writes benchmarks/within_type.csv: for each draw R2 within types of the model's predictions and of the nearest
neighbours in its map, and the gain of class and map over the class mean with its interval; found: its lower end is
above 0. With fewer draws only what --output names.

Usage: python benchmarks/within_type.py [--draws 20] [--within-type 0 1] [--output FILE]
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.model_selection import GroupKFold

from sbnn import ReducedRankRegressor, beyond_class, cross_validate, simulate_patchseq

FILE = Path(__file__).with_suffix(".csv")
N_DRAWS, WITHIN_TYPES = 20, (0.0, 1.0)
SIZES = {"n_cells": 400, "n_genes": 600, "n_informative": 600}
MODELS = {"linear map": ReducedRankRegressor(2, 5.0, l1_ratio=0)}


def one_draw(within_type, seed):
    """Return R2 within types, and the gain, of one simulated data set."""
    data, _ = simulate_patchseq(**SIZES, within_type=within_type, random_state=seed)
    folds = GroupKFold(5, shuffle=True, random_state=seed)
    result = cross_validate(data, MODELS, folds=folds, progress=False)
    found = beyond_class(result, data, "cell_types", random_state=seed)
    gain = found.overall.iloc[0]
    within = found.within.drop_duplicates("predicted_by").set_index("predicted_by")["within_r2"]
    scores = {"r2_class": gain["r2_class"], "within_r2_model": within["model"], "within_r2_map": within["map"]}
    kept = {name: gain[name] for name in ("gain", "low", "high", "p")}
    return {"within_type": within_type, "seed": seed, **scores, **kept, "found": bool(gain["low"] > 0)}


def main():
    """Draw, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    parser.add_argument("--within-type", type=float, nargs="+", default=list(WITHIN_TYPES))
    parser.add_argument("--output", type=Path, help="another file for the table")
    arguments = parser.parse_args()
    rows = []
    for within_type in arguments.within_type:
        for seed in range(arguments.draws):
            rows.append(one_draw(within_type, seed))
            print({name: round(float(value), 4) for name, value in rows[-1].items()}, flush=True)
    table = pd.DataFrame(rows)
    print(table.groupby("within_type")[["within_r2_model", "within_r2_map", "gain"]].agg(["min", "max"]).round(4))
    print(table.groupby("within_type")["found"].agg(["sum", "size"]))
    whole = arguments.draws == N_DRAWS and tuple(arguments.within_type) == WITHIN_TYPES
    output = arguments.output or (FILE if whole else None)
    if output is None:
        print("not everything was run: nothing is written without --output")
    else:
        table.round(5).to_csv(output, index=False)


if __name__ == "__main__":
    main()
