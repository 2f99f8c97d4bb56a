"""Measure the peak memory of reading a large AnnData: sparse or dense, in memory or backed by a file.

Writes 20000 cells x 20000 genes of which 5 % are not zero, takes the 1000 most variable genes with
`PairedData.from_anndata`, and prints the peak of the resident memory above that after the imports. Each way runs in a
separate process. The size of the table, sparse and dense, is printed for comparison.

Usage: python benchmarks/containers_memory.py [--cells 20000] [--genes 20000] [--filled 0.05]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import anndata
import h5py
import numpy as np
from memory import peak
from scipy import sparse

#: Cells generated at a time.
BLOCK = 1000


def write_file(path, n_cells, n_genes, filled, dense):
    """Write an AnnData block by block, so that writing it takes little memory."""
    random = np.random.default_rng(0)
    blocks = []
    for start in range(0, n_cells, BLOCK):
        shape = min(BLOCK, n_cells - start), n_genes
        block = sparse.random_array(shape, density=filled, format="csr", dtype=np.float32, rng=random)
        block.data = np.ceil(20 * block.data)
        blocks.append(sparse.csr_matrix(block))
    features = {"features": random.normal(size=(n_cells, 10))}
    counts = sparse.vstack(blocks, format="csr")
    table = {"shape": counts.shape} if dense else {"X": counts}
    anndata.AnnData(**table, obsm=features).write_h5ad(path)
    if dense:
        with h5py.File(path, "a") as file:
            file.pop("X", None)
            table = file.create_dataset("X", counts.shape, np.float32, chunks=(100, n_genes), compression="lzf")
            table.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            for number, block in enumerate(blocks):
                table[number * BLOCK : number * BLOCK + block.shape[0]] = block.toarray()


def measure(path, backed):
    """Read the file and print the peak of the memory, in MiB."""
    import sbnn.data.containers
    import sbnn.models.latent_regressor  # noqa: F401 - imports come before the measurement
    from sbnn import PairedData

    before = peak()
    data = PairedData.from_anndata(anndata.read_h5ad(path, backed="r" if backed else None), "features")
    assert data.n_genes == 1000
    print(f"{(peak() - before) / 2**20:.0f}")


def main():
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--filled", type=float, default=0.05)
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        warnings.simplefilter("ignore")
        return measure(arguments.measure[0], arguments.measure[1] == "backed")
    n_values = arguments.cells * arguments.genes
    print(
        f"{arguments.cells} cells x {arguments.genes} genes, {arguments.filled:.0%} filled: "
        f"{8 * n_values * arguments.filled / 2**20:.0f} MiB sparse, {4 * n_values / 2**20:.0f} MiB dense (float32)"
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sparse", "dense"):
            path = Path(folder) / f"{kind}.h5ad"
            write_file(path, arguments.cells, arguments.genes, arguments.filled, kind == "dense")
            for way in ("in memory", "backed") if kind == "sparse" else ("backed",):
                command = [sys.executable, __file__, "--measure", str(path), way]
                found = subprocess.run(command, capture_output=True, text=True, check=True)
                print(f"{kind}, {way}: peak {found.stdout.strip()} MiB above the imports")


if __name__ == "__main__":
    main()
