"""Reads or UMIs, and thresholds of detection that do not fit them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import require_real
from scipy import sparse

from sbnn import PairedData, cross_validate, load_dataset
from sbnn.data.count_kinds import count_kind, describe_threshold
from sbnn.models.reduced_rank import ReducedRankRegressor

RANDOM = np.random.default_rng(0)
MEANS = np.exp(RANDOM.normal(0, 1, (120, 60)))
UMIS = RANDOM.poisson(0.6 * MEANS)
#: Each molecule is read about 100 times.
READS = RANDOM.poisson(100 * UMIS)


@pytest.mark.parametrize("made", [np.asarray, sparse.csr_matrix, sparse.csc_array], ids=["dense", "csr", "csc"])
def test_reads_are_large_and_yet_often_zero(made):
    reads, umis = count_kind(made(READS)), count_kind(made(UMIS))
    assert reads.kind == "reads" and reads.median == np.median(READS[READS > 0])
    assert reads.zeros == pytest.approx((READS == 0).mean())
    assert umis.kind == "UMIs" and umis.median == np.median(UMIS[UMIS > 0])
    assert count_kind(made(READS + 100)).kind == "unclear"  # deep, and never zero
    assert count_kind(made(RANDOM.poisson(8.0, (50, 50)))).kind == "unclear"
    assert count_kind(made(np.zeros((3, 4), dtype=int))).kind == "unclear"


def test_thresholds_that_fit_are_not_remarked_on():
    assert describe_threshold(READS, 30) is None
    assert describe_threshold(UMIS, 0) is None and describe_threshold(UMIS, 1) is None
    assert "give detection_threshold=30" in describe_threshold(READS, 0)
    assert "give detection_threshold=0" in describe_threshold(UMIS, 30)


def table(counts):
    cells = [f"cell{number}" for number in range(len(counts))]
    features = pd.DataFrame(RANDOM.standard_normal((len(counts), 2)), cells, ["a", "b"])
    return pd.DataFrame(counts, cells, [f"gene{number}" for number in range(counts.shape[1])]), features


def test_it_is_said_where_variable_genes_are_chosen():
    counts, features = table(READS)
    with pytest.warns(UserWarning, match="look like reads .* give detection_threshold=30"):
        PairedData.from_tables(counts, features, genes=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PairedData.from_tables(counts, features, genes=30, detection_threshold=30)
        data = PairedData.from_tables(counts, features, genes=counts.columns.tolist())  # chooses none by detection
    models = {"linear": ReducedRankRegressor(1, 0.01)}
    settings = {"folds": "paper", "within_fold": True, "n_variable_genes": 30, "progress": False}
    with pytest.warns(UserWarning, match="look like reads"):
        cross_validate(data, models, **settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "detection_threshold")
        cross_validate(data, models, **settings, detection_threshold=30)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name, kind", [("scala_2020", "reads"), ("scala_2020_phys_temp", "reads"), ("ctcl_2019", "UMIs")]
)
def test_published_counts_are_told_apart(name, kind):
    require_real(name)
    assert count_kind(load_dataset(name).counts).kind == kind
