"""Data that several tests share."""

import os
import shutil
from dataclasses import replace

from threadpoolctl import threadpool_limits

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # If every worker had threads of OpenBLAS and OpenMP (k-means) on every core, these would spend most of their time
    # waiting for one another: six and eight times that of one thread.
    threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    threadpool_limits(threads)  # a plugin of pytest may have imported NumPy already

import matplotlib

matplotlib.use("Agg")

import last_bits  # noqa: F401 - before anything else of sbnn is imported
import pytest
from sklearn.dummy import DummyRegressor

from sbnn import ReducedRankRegressor, load_dataset, simulate_patchseq
from sbnn.data.sources import FILES, blob_id, data_folder

#: Models that need no backend.
LINEAR_MODELS = {
    "sRRR-2": [ReducedRankRegressor(2, alpha, relaxed=relaxed) for alpha in (0.2, 5.0) for relaxed in (False, True)],
    "ridge": ReducedRankRegressor(None, 1.0, l1_ratio=0),
    "mean": DummyRegressor(),
}


def require_real(name):
    """Skip, with the reason, where a real data set is not there."""
    if not (data_folder() / name).is_dir():
        pytest.skip(f"the files of {name} are not in {data_folder()} (set SBNN_DATA)")


def accept(monkeypatch, name, path):
    """Take a made file for the published one."""
    monkeypatch.setitem(FILES, name, replace(FILES[name], blob_id=blob_id(path)))


def copy_real(name, folder):
    """Copy the real files of a data set below a folder, writable; returns the folder."""
    require_real(name)
    shutil.copytree(data_folder() / name, folder / name, copy_function=shutil.copyfile)
    (folder / name).chmod(0o755)
    return folder


#: Files that take longest, the longest first.
LONGEST = (
    "test_notebooks.py", "test_figures.py", "test_training.py", "test_store.py", "test_reduced_rank.py",
    "test_workers.py", "test_sklearn.py", "test_network.py", "test_compilation_cache.py", "test_readme_lines.py",
)  # fmt: skip


def pytest_configure(config):
    """Hand out files in the order below: pytest-xdist would begin with those of the most tests."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Start with the files that take longest, so that no worker is left with them at the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def m1():
    """The real data of the paper, motor cortex."""
    require_real("scala_2020")
    return load_dataset("scala_2020")


@pytest.fixture(scope="session")
def small():
    """A small simulated data set and its truth."""
    return simulate_patchseq(n_cells=150, n_genes=60, n_features=6, n_informative=8, n_types=4, random_state=1)
