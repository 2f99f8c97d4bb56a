"""Measure the peak memory of a cross-validation on a large table, as a multiple of the table.

Simulates standard normal tables of the requested sizes, cross-validates for two epochs, and prints the peak of the
resident memory above that after the imports, divided by the size of X and Y. The first network is trained alone, the
others one per core: with two folds one network is in training at a time, with --folds 5 as many as there are cores (up
to four). With --memory-map, X is in a file that is mapped, not read.

Usage: python benchmarks/memory.py [--cells 50000] [--genes 2000] [--features 50] [--folds 2] [--memory-map]
"""

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from sbnn import PairedData, SparseBottleneckRegressor, cross_validate
from sbnn.models.schedules import Stage
from sbnn.validation.workers import start_backend

SCHEDULE = (Stage("finetuned", 1, 1e-3, batch_size=128), Stage("pruned", 1, 1e-3, batch_size=128))


def peak():
    """Return the peak of the resident memory so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def make_tables(n_cells, n_genes, n_features, folder):
    """Return X and Y, X made block by block so that it is the only large table, in a file if a folder is given."""
    random = np.random.default_rng(0)
    blocks = (
        random.standard_normal((min(1000, n_cells - start), n_genes), dtype=np.float32)
        for start in range(0, n_cells, 1000)
    )
    if folder is None:
        X = np.empty((n_cells, n_genes), np.float32)
        for number, block in enumerate(blocks):
            X[1000 * number :][: len(block)] = block
    else:
        with open(Path(folder) / "X.raw", "wb") as file:
            for block in blocks:
                file.write(block.tobytes())
        X = np.memmap(Path(folder) / "X.raw", np.float32, "r", shape=(n_cells, n_genes))
    return X, random.standard_normal((n_cells, n_features), dtype=np.float32)


def main():
    """Print the peak."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--memory-map", action="store_true")
    arguments = parser.parse_args()
    start_backend()
    before = peak()
    folder = tempfile.TemporaryDirectory()
    where = folder.name if arguments.memory_map else None
    X, Y = make_tables(arguments.cells, arguments.genes, arguments.features, where)
    size = X.nbytes + Y.nbytes
    names = {
        "gene_names": [f"g{index}" for index in range(X.shape[1])],
        "feature_names": [f"f{index}" for index in range(Y.shape[1])],
        "cell_names": [f"c{index}" for index in range(len(X))],
    }
    data = PairedData(X, Y, **names)
    part = np.arange(len(X)) * arguments.folds // len(X)
    folds = [(part != number, part == number) for number in range(arguments.folds)]
    network = SparseBottleneckRegressor(schedule=SCHEDULE)
    result = cross_validate(data, {"sBNN-2": network}, folds, keep=[], progress=False)
    above = peak() - before
    print(
        f"{X.shape[0]} cells x {X.shape[1]} genes x {Y.shape[1]} features, {arguments.folds} folds, "
        f"{size / 2**20:.0f} MiB{', memory-mapped' if arguments.memory_map else ''}: "
        f"peak {above / 2**20:.0f} MiB above the imports, "
        f"{above / size:.2f} times the data ({len(result.scores)} scores)"
    )


if __name__ == "__main__":
    main()
