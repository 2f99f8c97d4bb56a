"""Each guard has data on which it speaks, and data on which it is silent."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import require_real
from sklearn.model_selection import KFold

from sbnn import (
    ClassMean,
    PairedModel,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    check_data,
    cross_validate,
    load_dataset,
    simulate_patchseq,
)
from sbnn.models.schedules import Schedule, Stage
from sbnn.validation.depth import depth_r2
from sbnn.validation.folds import make_folds
from sbnn.validation.guards import Finding, describe_many_genes
from sbnn.validation.shared_donors import describe_shared_donors, share_of_known_donors

DATA = simulate_patchseq(n_cells=240, n_genes=60, n_features=5, n_informative=10, n_types=4, n_donors=24)[0]
RANDOM = np.random.default_rng(0)


def with_feature(values, name="odd"):
    """The data with one more feature."""
    features = np.column_stack([DATA.features, values])
    names, units = [*DATA.feature_names, name], [*DATA.feature_units, None]
    return replace(DATA, Y=features, features=features, feature_names=names, feature_units=units)


def with_donors(donors):
    return replace(DATA, donors=np.asarray(donors))


DEPTH = np.log(DATA.counts.sum(axis=1))
#: Each type in donors of its own.
OWN_ANIMALS = np.char.add(DATA.cell_types, np.array(["a", "b"])[np.arange(240) % 2])
RARE = replace(DATA, cell_types=["rare"] * 4 + ["type 1"] * 236, type_colors=None)
MANY_GENES = simulate_patchseq(n_cells=110, n_genes=2100, n_donors=20, n_types=3)[0]
READS = replace(DATA, counts=DATA.counts // 8 * 400)
SIZE = DEPTH + 0.1 * RANDOM.standard_normal(240)
#: Where each guard speaks: data, arguments, the argument that it names, part of its message.
FIRES = {
    "skewed features": (with_feature(np.exp(RANDOM.standard_normal(240))), {}, "transform", "'odd'"),
    "detection threshold": (READS, {"detection_threshold": 0}, "detection_threshold", "=30"),
    "shared donors": (DATA, {"folds": "paper"}, "folds", 'Give folds="donor"'),
    "confounded donors": (with_donors(OWN_ANIMALS), {}, "cell_types", "confounded with donors"),
    "constant features": (with_feature(np.full(240, 3.0)), {}, "features", "'odd' have one value"),
    "duplicated features": (with_feature(2 - 3 * DATA.features[:, 1]), {}, "features", "'feature 2 / odd'"),
    "small classes": (RARE, {}, "cell_types", "1 of 2 cell_types have fewer than 5 cells"),
    "many genes": (MANY_GENES, {"depth": False}, "genes", "Give genes=1000"),
    "few cells": (DATA, {"n_selected": 61}, "n_selected", "n_selected=60 or fewer"),
    "normalised counts": (
        replace(DATA, counts=np.log1p(DATA.counts)),
        {"depth": False},
        "counts",
        "it looks like log-normalised expression",
    ),
    "outlying values": (
        with_feature(np.select([np.arange(240) == 7, np.arange(240) % 100 == 3], [40.0, 3.0], 0.0)),
        {},
        "features",
        "of the variance of 1 of 6 features (odd 9",
    ),
    "cells without counts": (
        replace(DATA, counts=np.where(np.arange(240)[:, None] < 3, 0, DATA.counts)),
        {},
        "counts",
        "3 of 240 cells have no count",
    ),
    "features made of counts": (
        with_feature(RANDOM.standard_normal(240), "S_score"),
        {"depth": False},
        "features",
        "'S_score': features",
    ),
    "depth": (with_feature(SIZE, "size"), {}, "counts", "(size 0.9"),
}


@pytest.mark.parametrize("name", FIRES)
def test_a_guard_speaks_and_the_others_are_silent(name):
    data, settings, argument, words = FIRES[name]
    (found,) = [finding for finding in check_data(data, **settings) if finding.name == name]
    assert found.argument == argument and words in found.message and found.numbers
    assert str(found).startswith(f"{name}: ") and str(found).endswith(f"[{argument}]")
    others = {finding.name for finding in check_data(data, **settings)} - {name}
    assert others <= {"few cells"} if name == "many genes" else not others


@pytest.mark.parametrize("folds", [None, "donor"])
def test_good_data_pass_without_a_word(folds):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_data(DATA, folds, detection_threshold=0, warns=True) == []
        bare = replace(DATA, counts=None, features=None, feature_units=None, cell_types=None, cell_families=None)
        assert check_data(replace(bare, donors=None), "paper", detection_threshold=30) == []


def test_nothing_is_said_at_the_limits():
    """Five cells are not few, 2000 genes not many, 4 cells per gene enough, half of a correlated pair is kept."""
    assert not check_data(replace(DATA, cell_types=["rare"] * 5 + ["type 1"] * 235, type_colors=None), depth=False)
    assert describe_many_genes(2000) is None and "2001 genes" in describe_many_genes(2001)
    assert check_data(DATA, n_selected=60) == []
    assert check_data(with_feature(DATA.features[:, 1] + 0.1 * RANDOM.standard_normal(240))) == []
    unknown = np.where(np.arange(240) < 3, "unknown", DATA.cell_types)
    assert check_data(replace(DATA, cell_types=unknown)) == []  # those whose class is not known are no class
    assert check_data(DATA.subset(np.arange(39)), n_selected=5) == []  # too few to assess depth


def test_warnings_are_given_if_asked_for():
    with pytest.warns(UserWarning, match="'odd' have one value"):
        found = check_data(with_feature(np.full(240, 3.0)), warns=True)
    assert all(isinstance(finding, Finding) for finding in found)


def test_classes_of_a_single_animal_are_named():
    donors = np.where(DATA.cell_types == "type 2", "only one", DATA.donors)
    (found,) = check_data(with_donors(donors))
    assert found.name == "confounded donors" and found.numbers["classes"] == ["type 2"]
    assert "'type 2' comes from one donor" in found.message
    unknown = np.where(DATA.cell_types == "type 2", "unknown", DATA.donors)
    assert check_data(with_donors(unknown)) == []
    assert check_data(with_donors(["m"] * 240)) == []  # one donor: nothing to confound


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"data": 3}, "data must be PairedData"),
        ({"folds": "random"}, "unknown folds 'random'"),
        ({"n_selected": 0}, "n_selected must be at least 1"),
        ({"detection_threshold": -1}, "detection_threshold must be"),
        ({"depth": 1}, "depth must be True or False"),
        ({"warns": None}, "warns must be True or False"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_data(**{"data": DATA} | arguments)


def test_shared_donors_are_counted():
    """By hand: which test cells have a training cell of the same donor."""
    folds = make_folds(DATA, KFold(4))
    shared = [[DATA.donors[cell] in set(DATA.donors[fold.train]) for cell in fold.test] for fold in folds]
    assert share_of_known_donors(DATA, folds) == np.mean(np.concatenate(shared)) > 0
    assert share_of_known_donors(DATA, make_folds(DATA, "donor")) == 0
    assert describe_shared_donors(DATA, make_folds(DATA, "donor")) is None
    assert share_of_known_donors(DATA, make_folds(DATA, "all")) == 0
    assert share_of_known_donors(replace(DATA, donors=None), folds) == 0


def test_cross_validate_warns_where_no_folds_are_chosen():
    means = {"mean": ClassMean("cell_types")}
    with pytest.warns(UserWarning, match='same donor .*Give folds="donor"; folds="paper" says'):
        found = cross_validate(DATA, means, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = cross_validate(DATA, means, folds="paper", progress=False)
        cross_validate(replace(DATA, donors=None), means, progress=False)
        cross_validate(DATA, means, folds="donor", progress=False)
    assert found.scores.equals(chosen.scores)


def test_paired_model_warns_of_far_more_genes_than_networks_were_tuned_with():
    data = simulate_patchseq(n_cells=40, n_genes=2100, n_types=2, n_donors=10)[0]
    stages = Schedule("test", (Stage("finetuned", 1, 3e-3), Stage("pruned", 1, 3e-3)))
    network = SparseBottleneckRegressor(hidden=(4,), n_selected=5, schedule=stages)
    with pytest.warns(UserWarning, match="2100 genes, but .* tuned with about 1000"):
        PairedModel(network).fit(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PairedModel(ReducedRankRegressor(1, 0.1)).fit(data)
        PairedModel(network).fit(DATA)


def test_depth_predicts_what_was_made_from_it():
    curved = with_feature((DEPTH - DEPTH.mean()) ** 2 + 0.02 * RANDOM.standard_normal(240))
    curved = replace(curved, features=np.where(np.arange(240)[:, None] % 7 == 0, np.nan, curved.features))
    r2 = depth_r2(curved)
    assert r2[-1] > 0.6 and (r2[:-1] < 0.1).all()  # a line would find nothing
    without = replace(curved, donors=None)
    assert depth_r2(without)[-1] > 0.6
    few = np.where(np.arange(240)[:, None] < 10, DATA.features, np.nan)
    both = np.column_stack([DATA.features[:, 0], few[:, 1]])
    names = {"feature_names": ["a", "b"], "feature_units": None}
    assert np.isnan(depth_r2(replace(DATA, Y=both, features=both, **names))).tolist() == [False, True]
    with pytest.raises(ValueError, match="data.counts is None"):
        depth_r2(replace(DATA, counts=None))
    with pytest.raises(ValueError, match="n_folds must be between 2 and 24"):
        depth_r2(DATA, n_folds=25)


@pytest.mark.real_data
def test_what_is_found_in_published_data():
    require_real("scala_2020")
    found = {
        finding.name: finding for finding in check_data(load_dataset("scala_2020"), "paper", detection_threshold=0)
    }
    assert set(found) == {"skewed features", "detection threshold", "shared donors", "small classes"}
    assert "'R_input', 'Max AP num', 'Tau'" in found["skewed features"].message
    require_real("ctcl_2019")
    (depth,) = [finding for finding in check_data(load_dataset("ctcl_2019"), "paper") if finding.name == "depth"]
    assert max(depth.numbers["r2"].values()) > 0.3
