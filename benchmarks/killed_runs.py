"""Kill a full-size cross-validation ten times, at random moments, and check that nothing is lost.

Cross-validates 40 networks (scala_2020, ten folds, four penalties, schedule "fast") and the paths of sparse
reduced-rank regression: once undisturbed, and once in processes that are killed with SIGKILL ten times, the first time
after a first chunk is finished, then at moments drawn uniformly between half the time to a first chunk and an eighth
of the work after it. Then the last process completes the work. Prints for each kill how many fits were finished, and
fails if the file of a finished fit has changed or a table differs.

Usage: python benchmarks/killed_runs.py [--n-jobs -1]
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

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, cross_validate, load_dataset

N_KILLS = 10
#: Seed of the moments.
SEED = 0


def validate(store, n_jobs):
    """Cross-validate networks and linear models."""
    models = {
        "sBNN-2": [SparseBottleneckRegressor(group_lasso=penalty) for penalty in (0.01, 0.05, 0.1, 0.5)],
        "sRRR-2": [ReducedRankRegressor(2, alpha) for alpha in np.geomspace(0.01, 1, 10)],
    }
    return cross_validate(load_dataset("scala_2020"), models, folds="paper", store=store, n_jobs=n_jobs, progress=False)


def written(store):
    """Return the finished fits and when their files were written."""
    return {path: path.stat().st_mtime_ns for path in store.glob("chunk-*/*.pickle")}


def start(store, n_jobs):
    """Start the cross-validation in a separate process."""
    return subprocess.Popen([sys.executable, __file__, "--store", store, "--n-jobs", str(n_jobs)])


def kill_ten_times(store, n_jobs, duration):
    """Start and kill the cross-validation, and print how many fits were finished at each kill."""
    random, begin = np.random.default_rng(SEED), time.perf_counter()
    before, start_up = {}, None
    for number in range(N_KILLS):
        process = start(store, n_jobs)
        if number == 0:
            while not written(store):
                time.sleep(0.05)
            start_up = time.perf_counter() - begin
        else:
            time.sleep(random.uniform(start_up / 2, start_up + duration / 8))
        if process.poll() is not None:
            raise RuntimeError("the cross-validation ended before it was killed")
        process.kill()
        process.wait()
        after = written(store)
        if any(after.get(name) != moment for name, moment in before.items()):
            raise RuntimeError("a finished fit lost its file")
        before = after
        print(f"kill {number + 1}: {len(after)} fits finished", flush=True)


def main():
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-jobs", type=int, default=-1)
    parser.add_argument("--store", type=Path, help="only cross-validate, into this store")
    arguments = parser.parse_args()
    if arguments.store:
        validate(arguments.store, arguments.n_jobs)
        return
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        expected = validate(None, arguments.n_jobs)
        duration = time.perf_counter() - begin
        print(f"undisturbed: {duration:.0f} s", flush=True)
        store = Path(folder) / "store"
        kill_ten_times(store, arguments.n_jobs, duration)
        before = written(store)
        found = validate(store, arguments.n_jobs)
        if any(written(store)[name] != moment for name, moment in before.items()):
            raise RuntimeError("a finished fit was written again")
        for name, table in expected.tables.items():
            pd.testing.assert_frame_equal(found.tables[name], table, check_dtype=False, obj=name)
        print(f"{len(written(store))} fits, of which {len(before)} before the last start: all tables equal")


if __name__ == "__main__":
    main()
