"""What is fitted together: networks that differ in their number of genes share what comes before pruning."""

import numpy as np
import pandas as pd

from sbnn import SparseBottleneckRegressor, cross_validate
from sbnn.models.clusters import fold_clusters
from sbnn.models.schedules import SCHEDULES
from sbnn.validation.execution import Job, Plan, count_epochs, count_trained, cut_into_chunks, run_chunk
from sbnn.validation.folds import make_folds
from sbnn.validation.protocol import FoldProtocol, view_folds


def test_networks_that_differ_in_their_number_of_genes_share_what_comes_before(small):
    data = small[0]
    schedule = SCHEDULES["fast"].shortened(0.03)
    numbers = [3, 7, 5]
    networks = [
        SparseBottleneckRegressor(hidden=(8, 4), n_selected=number, group_lasso=penalty, schedule=schedule)
        for penalty in (0.1, 0.05)
        for number in numbers
    ]
    named = {f"network {number}": network for number, network in enumerate(networks)}
    folds = [(np.arange(50, 100), np.arange(50)), (np.arange(50), np.arange(50, 100))]
    settings = {"folds": folds, "progress": False, "n_jobs": 1}
    together = cross_validate(data, named, **settings)
    for name, network in named.items():
        alone = cross_validate(data, {name: network}, **settings)
        for table, rows in alone.tables.items():
            mine = getattr(together, table)
            pd.testing.assert_frame_equal(mine[mine["model"] == name].reset_index(drop=True), rows, check_dtype=False)

    views = view_folds(data, make_folds(data, folds), FoldProtocol())
    clusters = {schedule.cluster_starts: fold_clusters(views, schedule.cluster_starts)}
    plan = Plan(data, list(named.items()), views, clusters, ())
    jobs = [Job(model, fold) for model in range(6) for fold in range(2)]
    chunks = cut_into_chunks(plan, jobs, lambda _: 3)
    assert sorted(job for chunk in chunks for job in chunk) == jobs
    places = [[(job.fold, job.model // 3) for job in chunk] for chunk in chunks]
    assert [len(set(own)) for own in places] == [3, 1] and all(own.count(own[0]) == 3 for own in places)
    epochs = [stage.epochs for stage in schedule]
    assert count_epochs(plan, chunks[0]) == 3 * (sum(epochs[:-1]) + 3 * epochs[-1])
    # Of the second penalty one number is missing: it has the places of its own, and the rest goes on.
    fewer = [job for job in jobs if job.model != 4]
    chunks = cut_into_chunks(plan, fewer, lambda _: 2)
    assert [len(chunk) for chunk in chunks] == [6, 4]
    told = []
    for chunk in chunks:
        counted = []
        run_chunk(plan, chunk, lambda stage, _, counted=counted: counted.append(stage))
        told.append(len(counted) * count_trained(plan, chunk))
    assert told == [count_epochs(plan, chunk) for chunk in chunks]
