"""Time `sbnn report`, and write down what it recommends: where the truth is known, and on measured cells.

- scala_2020_phys_temp: its CSV files (184 cells of 8 mice, some without a type; 1000 variable genes).
- simulated, 300 cells and 1000 genes each (`sbnn.simulate_patchseq`, seed 0, 10 donors): features that vary much within
  types, with the genes ("strong"); by type and noise alone ("type alone"); and features of other cells, in random order
  ("none").

Each is `sbnn report` in a process of its own, start and compilation included; the second of two equal calls finds
compiled code on disk ("warm"). Writes benchmarks/report_answers.csv: seconds, the headline of the answer, R2 by model.

Usage: python benchmarks/report_answers.py [--cases CASE ...] [--mode quick] [--output FILE]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from earlier_rows import write_whole

from sbnn import simulate_patchseq
from sbnn.data.sources import find_file

OUTPUT = Path(__file__).with_name("report_answers.csv")
SIMULATED = {"strong": 2.0, "type alone": 0.0, "none": 1.0}  # SD within types
CASES = ("scala_2020_phys_temp", *(f"simulated, {name}" for name in SIMULATED))


def tables_of(case, folder):
    """Return the arguments of `sbnn report` for a case; simulated tables are written first."""
    if case == "scala_2020_phys_temp":
        start = "scala_2020_phys_temp/m1_patchseq_phys_temp_"
        counts, features, cells = (
            str(find_file(f"{start}{name}")) for name in ("exon_counts.csv.gz", "ephys_features.csv", "meta_data.csv")
        )
        columns = ["--donors", "Mouse", "--types", "RNA type", "--families", "RNA family"]
        return [counts, features, "--cells", cells, *columns]
    kind = case.removeprefix("simulated, ")
    data = simulate_patchseq(300, 1000, within_type=SIMULATED[kind], n_donors=10, random_state=0)[0]
    features = data.features
    if kind == "none":
        features = np.random.default_rng(0).permutation(features)
    known = pd.DataFrame({"donor": data.donors, "type": data.cell_types}, data.cell_names)
    written = {
        "counts": pd.DataFrame(data.counts, data.cell_names, data.gene_names),
        "features": pd.DataFrame(features, data.cell_names, data.feature_names),
        "cells": known.rename_axis("cell"),
    }
    for name, table in written.items():
        table.to_csv(folder / f"{name}.csv")
    paths = [str(folder / f"{name}.csv") for name in ("counts", "features")]
    return [*paths, "--cells", str(folder / "cells.csv"), "--donors", "donor", "--types", "type"]


def main():
    """Run every case twice, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--mode", default="quick")
    parser.add_argument("--output", type=Path, help="another file for the table")
    arguments = parser.parse_args()
    rows = []
    for case in arguments.cases:
        with tempfile.TemporaryDirectory() as name:
            folder, seconds = Path(name), []
            command = [sys.executable, "-m", "sbnn", "report", *tables_of(case, folder), "--mode", arguments.mode]
            for _ in ("first", "warm"):
                start = time.perf_counter()
                done = subprocess.run(
                    [*command, "-o", str(folder / "report.html")], check=True, capture_output=True, text=True
                )
                seconds.append(round(time.perf_counter() - start))
            answer = next(line for line in done.stdout.splitlines() if "Recommended: " in line or "recommended" in line)
            scores = pd.read_csv(folder / "report_tables/scores.csv").set_index("model")["r2"].round(3)
        listed = ", ".join(f"{model} {r2:.3f}" for model, r2 in scores.items())
        times = dict(zip(("seconds_first", "seconds_warm"), seconds, strict=True))
        rows.append({"case": case, **times, "answer": answer, "r2": listed})
        print(*rows[-1].values(), sep="\n  ", flush=True)
    whole = (tuple(arguments.cases), arguments.mode) == (CASES, "quick")
    if arguments.output is not None or whole:
        write_whole(pd.DataFrame(rows), arguments.output or OUTPUT)


if __name__ == "__main__":
    main()
