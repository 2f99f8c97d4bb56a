"""The honest comparison: which models it scores, on which genes, and that ten networks take the choice of one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold

from sbnn import nested_cross_validate, simulate_patchseq
from sbnn.models.schedules import get_schedule
from sbnn.validation.contestants import honest_models
from sbnn.validation.folds import make_folds
from sbnn.validation.honest_comparison import GENES, honest_comparison, split_name

NAMES = ["type mean", "ridge", "sRRR-2", "sBNN-2, ten networks"]
SETTINGS = {"outer": GroupKFold(2), "n_genes": 6, "inner": 2, "shorten": 0.005, "n_jobs": 1, "progress": False}
OTHERS = {name: value for name, value in SETTINGS.items() if name != "outer"}


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(n_cells=120, n_genes=30, n_features=4, n_informative=8, n_types=3, n_donors=4)[0]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def result(data, store):
    return honest_comparison(data, names=NAMES, store=store, **SETTINGS)


def test_models_read_all_genes_their_own_and_shared_ones(data, result):
    assert list(dict.fromkeys(result.scores["model"])) == [
        "type mean",
        "ridge",
        "sRRR-2",
        "sBNN-2",  # its choice is that of ten networks
        "sBNN-2, ten networks",
        "ridge, 6 genes",
        "sRRR-2, 6 genes",
        "sBNN-2, ten networks, 6 genes",
        "ridge, the networks' genes",
        "sRRR-2, the networks' genes",
        "sBNN-2, ten networks, the networks' genes",
    ]
    assert np.isfinite(result.scores["r2_test"]).all() and len(result.folds) == 2
    assert result.protocol == "training cells" and not result.estimators
    latents = result.latents.groupby("model").size()
    assert set(latents.index) == {
        "sRRR-2",
        "sRRR-2, the networks' genes",
        "sBNN-2",
        "sBNN-2, ten networks",
        "sBNN-2, ten networks, 6 genes",
        "sBNN-2, ten networks, the networks' genes",
    }
    networks = result.selected[result.selected["model"] == "sBNN-2, ten networks, 6 genes"]
    assert (networks.groupby("fold").size() == 6).all()


def test_ten_networks_have_the_settings_that_one_chose(data, result):
    choices = result.choices[result.choices["model"] == "sBNN-2"].set_index("fold")
    candidates = honest_models(data, names=["sBNN-2"], shorten=0.005)["sBNN-2"]
    assert choices["n_candidates"].eq(len(candidates)).all()
    described = {one["model"]: one for one in result.models}["sBNN-2, ten networks"]["candidates"]
    described = {one.get("fold", 0): one for one in described}
    for fold, choice in choices.iterrows():
        chosen = candidates[choice["candidate"]]
        ten = described.get(fold, described[0])
        assert (ten["n_selected"], ten["group_lasso"]) == (chosen.n_selected, chosen.group_lasso)
        assert ten["n_networks"] == 10


def test_shared_genes_are_those_of_ten_networks_on_the_training_cells(data, result):
    networks = result.selected[result.selected["model"] == "sBNN-2, ten networks, 6 genes"]
    for fold, split in enumerate(make_folds(data, GroupKFold(2))):
        genes = networks.loc[networks["fold"] == fold, "gene"].tolist()
        models = {"ridge": honest_models(data, genes=genes, names=["ridge"])["ridge"]}
        alone = nested_cross_validate(data, models, [split], 2, n_jobs=1, progress=False)
        mine = result.scores[(result.scores["model"] == "ridge, the networks' genes") & (result.scores["fold"] == fold)]
        np.testing.assert_allclose(mine["r2_test"], alone.scores["r2_test"], rtol=1e-12)


def test_a_second_call_fits_nothing(data, result, store):
    again = honest_comparison(data, names=NAMES, store=store, **SETTINGS)
    assert again.n_fitted == 0 and result.n_fitted > 0
    for name, table in again.tables.items():
        pd.testing.assert_frame_equal(table, getattr(result, name), check_dtype=False)


def test_the_other_rule_chooses_among_the_same_fits(data, result, store):
    """Of the inner folds nothing is fitted again, and every model has its best settings."""
    best = honest_comparison(data, genes=["any"], names=["ridge"], rule="best", store=store, **SETTINGS)
    pd.testing.assert_frame_equal(
        best.inner_scores, result.inner_scores[result.inner_scores["model"] == "ridge"].reset_index(drop=True)
    )
    assert (best.choices["candidate"] == best.choices["best_candidate"]).all() and best.n_fitted <= 2
    with pytest.raises(ValueError, match="rule"):
        honest_comparison(data, rule="worst", **SETTINGS)


def test_networks_that_keep_all_genes_and_cells_without_animals(data):
    alone = replace(data, donors=None)
    names = ["ridge", "sBNN-64, all genes"]
    found = honest_comparison(alone, None, ["any"], names, **{**OTHERS, "shorten": 0.001})
    assert list(dict.fromkeys(found.scores["model"])) == names and len(found.folds) == 10
    final = found.scores[found.scores["model"] == names[1]].groupby("fold").tail(1)
    assert (final["n_selected"] == 30).all() and not len(found.latents)
    described = {one["model"]: one for one in found.models}["sBNN-64, all genes"]["candidates"][0]
    assert described["schedule"] == get_schedule("wide").shortened(0.001).name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ridge", ("ridge", "all genes, or as many as it chooses")),
        ("sBNN-2, ten networks", ("sBNN-2, ten networks", "all genes, or as many as it chooses")),
        ("sBNN-64, all genes", ("sBNN-64, all genes", "all genes, or as many as it chooses")),
        ("sBNN-2, ten networks, 25 genes", ("sBNN-2, ten networks", "25 genes, its own")),
        ("ridge, the networks' genes", ("ridge", "the genes of ten networks")),
    ],
)
def test_names_say_which_genes(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"genes": ["some"]}, "unknown genes 'some'"),
        ({"genes": ["shared"]}, 'genes has "shared".*ask for "own" as well'),
        ({"names": ["rigde"]}, "names has 'rigde': with these data there are 'family mean'"),
        ({"names": ["ridge", "rigde"], "genes": ["own"]}, "names has 'rigde': with these data there are 'family mean'"),
        ({"names": "ridge"}, "names must be a list of names of models, got the text 'ridge'"),
        ({"names": ["type mean"], "genes": ["own"]}, "no model to score: none of names=.'type mean'. can be had"),
        ({"n_genes": 31}, "n_genes must be between 1 and the 30 genes"),
        ({"n_genes": 0}, "n_genes must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(data, change, message):
    with pytest.raises(ValueError, match=message):
        honest_comparison(data, **{"genes": GENES, **SETTINGS, **change})


def test_names_may_be_any_iterable_and_few_genes_may_be_read_whole(data):
    settings = {**SETTINGS, "inner": 2, "n_genes": 31}
    found = honest_comparison(data, genes=["any"], **{**settings, "names": (name for name in ["ridge", "lasso"])})
    assert set(found.scores["model"]) == {"ridge", "lasso"}


def test_data_must_be_paired(data):
    with pytest.raises(ValueError, match="data must be PairedData"):
        honest_comparison(data.X)
