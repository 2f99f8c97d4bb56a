"""Measure the peak memory of a cross-validation on a large table, as a multiple of the table.

Simulates standard normal tables of the sizes asked for, cross-validates two folds for two epochs, and prints the peak
of the resident memory above that after the imports, divided by the size of X and Y. With --memory-map, X lies in a
file that is mapped, not read.

Usage: python benchmarks/memory.py [--cells 50000] [--genes 2000] [--features 50] [--memory-map]
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from sbnn import PairedData, SparseBottleneckRegressor, cross_validate
from sbnn.parallel import start_backend
from sbnn.schedules import Stage

SCHEDULE = (Stage("finetuned", 1, 1e-3, batch_size=128), Stage("pruned", 1, 1e-3, batch_size=128))


def peak():
    """Return the peak of the resident memory so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def make_tables(n_cells, n_genes, n_features, memory_map):
    """Return X and Y, X in blocks so that it is the only large table."""
    random = np.random.default_rng(0)
    if memory_map:
        path = Path(tempfile.mkdtemp()) / "X.npy"
        X = np.lib.format.open_memmap(path, "w+", np.float32, (n_cells, n_genes))
    else:
        X = np.empty((n_cells, n_genes), np.float32)
    for start in range(0, n_cells, 1000):
        X[start : start + 1000] = random.standard_normal((min(1000, n_cells - start), n_genes), dtype=np.float32)
    if memory_map:
        X.flush()
        X = np.load(path, mmap_mode="r")
    return X, random.standard_normal((n_cells, n_features), dtype=np.float32)


def main():
    """Print the peak."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--memory-map", action="store_true")
    arguments = parser.parse_args()
    start_backend()
    before = peak()
    X, Y = make_tables(arguments.cells, arguments.genes, arguments.features, arguments.memory_map)
    size = X.nbytes + Y.nbytes
    names = {
        "gene_names": [f"g{index}" for index in range(X.shape[1])],
        "feature_names": [f"f{index}" for index in range(Y.shape[1])],
        "cell_names": [f"c{index}" for index in range(len(X))],
    }
    data = PairedData(X, Y, **names)
    half = np.arange(len(X)) < len(X) // 2
    network = SparseBottleneckRegressor(schedule=SCHEDULE)
    result = cross_validate(data, {"sBNN-2": network}, [(half, ~half), (~half, half)], keep=[], progress=False)
    above = peak() - before
    print(
        f"{X.shape[0]} cells x {X.shape[1]} genes x {Y.shape[1]} features, {size / 2**20:.0f} MiB"
        f"{', memory-mapped' if arguments.memory_map else ''}: peak {above / 2**20:.0f} MiB above the imports, "
        f"{above / size:.2f} times the data ({len(result.scores)} scores)"
    )


if __name__ == "__main__":
    main()
