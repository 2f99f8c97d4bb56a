"""Run the four notebooks on a simulated file with the layout and size of gouwens_2020, and time each.

One penalty, the 2-D bottleneck, one seed; simulated numbers under the real names of cells and features.

Usage: python benchmarks/gouwens_size.py [FOLDER]   (figures and results go to FOLDER, else to build/gouwens_size)
"""

import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
from IPython.display import display

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from layouts import write_gouwens_file

from sbnn.data.sources import FILES, blob_id, find_file

MAT_FILE = "gouwens_2020/PS_v5_beta_0-4_pc_scaled_ipfx_eqTE.mat"
SETTINGS = {
    "DATASET": "gouwens_2020", "RETRAIN": "True", "GROUP_LASSO": "(0.1,)", "BOTTLENECK_DIMS": "(2,)", "N_SEEDS": "1",
    "ABLATIONS": "False", "HONEST": "False", "ALPHA_STEP": "0.2", "ELASTIC_NET_ALPHAS": "[]", "TOLERANCE": "25",
}  # fmt: skip


def make_data(folder):
    """Write the file, put the real names next to it, and accept it as the published one."""
    names, metadata = (
        find_file(f"gouwens_2020/{name}") for name in ("E_names.json", "20200711_patchseq_metadata_mouse.csv")
    )
    (folder / "gouwens_2020").mkdir(parents=True, exist_ok=True)
    for path in (names, metadata):
        shutil.copyfile(path, folder / "gouwens_2020" / path.name)
    write_gouwens_file(folder / MAT_FILE, names, pd.read_csv(metadata, dtype=str)["transcriptomics_sample_id"][:3411])
    FILES[MAT_FILE] = replace(FILES[MAT_FILE], blob_id=blob_id(folder / MAT_FILE))


def run(name):
    """Execute the code of a notebook in this process, in which the simulated file is accepted as the published one."""
    cells = nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    exec(compile(code, name, "exec"), {"__name__": name, "display": display})


def main():
    """Run the notebooks and print the seconds of each."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "gouwens_size").resolve()
    os.environ.update(SETTINGS)
    os.environ.setdefault("MPLBACKEND", "agg")
    start = time.perf_counter()
    make_data(folder / "data")
    os.environ |= {"SBNN_DATA": str(folder / "data"), "SBNN_OUTPUT": str(folder)}
    seconds = {"writing the file": time.perf_counter() - start}
    for name in ("preprocess", "sBNN_training", "linear_models", "latent_visualisation"):
        start = time.perf_counter()
        run(name)
        seconds[name] = time.perf_counter() - start
    for what, value in {**seconds, "all": sum(seconds.values())}.items():
        print(f"{what}: {value:.0f} s")
    print(f"figures: {len(list((folder / 'figures' / 'gouwens_2020').glob('*.png')))} in {folder / 'figures'}")


if __name__ == "__main__":
    main()
