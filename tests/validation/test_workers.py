"""Chunks run in other processes of this machine, or on a Dask cluster, as they do here."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import LINEAR_MODELS
from sklearn.model_selection import KFold

from sbnn import SparseBottleneckRegressor, cross_validate, simulate_patchseq
from sbnn.models.schedules import SCHEDULES, Stage
from sbnn.validation import dispatch, execution, workers
from sbnn.validation.execution import Job, Plan, cut_into_chunks, fitting_stack
from sbnn.validation.folds import make_folds, view_fold
from sbnn.validation.workers import run_in_threads, runs_here

NETWORKS = [
    SparseBottleneckRegressor(
        group_lasso=penalty, hidden=(16, 8), n_selected=10, schedule=SCHEDULES["paper"].shortened(0.02)
    )
    for penalty in (0.01, 0.1)
]
MODELS = {"sBNN-2": NETWORKS, **LINEAR_MODELS}


def validate(data, **settings):
    return cross_validate(data, MODELS, folds=KFold(2), progress=False, **settings)


@pytest.fixture(scope="module")
def here(small):
    return validate(small[0], n_jobs=1)


def assert_same(found, expected):
    """The same tables; a network trained alone differs from one in a stack by rounding."""
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(found.tables[name], table, check_dtype=False, atol=1e-4, obj=name)


def test_processes_of_this_machine(small, here, tmp_path):
    assert_same(validate(small[0], n_jobs=2, store=tmp_path / "two"), here)
    validate(small[0], n_jobs=1, store=tmp_path / "one")
    n_chunks = {name: len(list((tmp_path / name).glob("chunk-*"))) for name in ("one", "two")}
    assert n_chunks["two"] == n_chunks["one"] + 3  # four networks one by one, instead of one stack of four


def test_a_dask_cluster_of_two_workers(small, here):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        found = validate(small[0])
        workers = client.run(lambda: "keras" in sys.modules)
    assert_same(found, here)
    assert any(workers.values())  # the networks were trained there


def test_who_trains_is_what_joblib_says():
    assert runs_here(None)
    assert not runs_here(2)
    with joblib.parallel_config(n_jobs=2):
        assert not runs_here(None)
        assert runs_here(1)


def test_a_worker_takes_backend_and_threads_before_it_imports_keras():
    script = """
        import sys
        {before}
        from sbnn.validation.workers import prepare_worker
        prepare_worker("jax", 3)
        import os, keras
        print(keras.backend.backend(), os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["NPROC"])
    """
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}

    def run(before):
        code = textwrap.dedent(script.format(before=before))
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    pytest.importorskip("jax")
    assert run("").stdout.split() == ["jax", "3", "3"]
    assert "start the workers with KERAS_BACKEND=jax" in run("import keras").stderr


def test_threads_report_to_the_one_that_waits_and_stop_when_it_does():
    shown, reports = [], []

    def count(up_to, report):
        for number in range(up_to):
            reports.append(number)
            report(number)
            time.sleep(0.001)
        return up_to

    done = run_in_threads(count, [(3,), (2,), (10**6,)], 2, lambda place, number: shown.append((place, number)))
    assert {next(done), next(done)} == {(0, 3), (1, 2)}
    done.close()
    assert {place for place, _ in shown} >= {0, 1} and len(reports) < 10**5

    def fail(report):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(run_in_threads(fail, [()], 2, print))


def test_by_default_every_core_trains_a_network_in_this_process(small, here, monkeypatch):
    threads = set()
    run_chunk = execution.run_chunk

    def run(plan, chunk, *arguments):
        threads.add((os.getpid(), threading.get_ident()))
        assert len(chunk) == 1 or not execution.holds_networks(plan, chunk)
        return run_chunk(plan, chunk, *arguments)

    monkeypatch.setattr(workers, "cpu_count", lambda: 2)
    monkeypatch.setattr(dispatch, "run_chunk", run)
    found = validate(small[0])
    assert_same(found, here)
    assert {process for process, _ in threads} == {os.getpid()} and len(threads) == 3  # two, and this one


def test_a_stack_fits_the_memory_of_an_accelerator():
    data = simulate_patchseq(n_cells=300, n_genes=200, n_features=6)[0]
    splits = make_folds(data, KFold(5))
    network = SparseBottleneckRegressor(schedule="paper_no_pretraining")
    plan = Plan(data, [("sBNN-2", network)], [view_fold(data, split) for split in splits], {}, ())
    assert fitting_stack(plan, network, 0) == 1
    sizes = [fitting_stack(plan, network, memory) for memory in (10**8, 10**9, 10**10)]
    assert sizes == sorted(sizes)
    assert sizes[2] // sizes[1] in (9, 10, 11)
    jobs = [Job(0, fold) for fold in range(5)]
    assert [len(chunk) for chunk in cut_into_chunks(plan, jobs, lambda estimator: 3)] == [3, 2]


def test_stack_size_is_checked(small):
    for stack_size in (0, 2.5):
        with pytest.raises(ValueError, match=f"stack_size must be (a whole number, )?at least 1, got {stack_size}"):
            validate(small[0], stack_size=stack_size)


def test_schedules_with_other_clusters_share_a_call(small):
    schedules = [
        (Stage("pretrained", 1, 1e-3, cluster_starts=starts), Stage("finetuned", 1, 1e-3)) for starts in (1, 2)
    ]
    networks = [SparseBottleneckRegressor(hidden=(16, 8), schedule=schedule) for schedule in schedules]
    models = dict(zip("ab", networks, strict=True))
    together = cross_validate(small[0], models, folds=KFold(2), progress=False).scores["r2_test"]
    alone = [
        cross_validate(small[0], {"a": network}, folds=KFold(2), progress=False).scores["r2_test"]
        for network in networks
    ]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-4)


def test_threads_do_not_change_the_tables(small, here):
    with joblib.parallel_config("threading", n_jobs=2):
        found = validate(small[0])
    assert_same(found, here)
